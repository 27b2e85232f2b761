//! Files -> a collection that holds what they say now.
//!
//! Incremental: a file of the same size and date costs nothing, one of the same content is not embedded again, a changed
//! one is replaced, one that is gone is removed. Batches are small, so that a killed run keeps what it finished and the
//! next one goes on from there.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use rayon::prelude::*;
use serde::Serialize;

use crate::bytes::MEGABYTE;
use crate::embed::{Embedder, Overflow};
use crate::error::{Error, Result};
use crate::index::{Change, DocumentMeta, Home, Known, Patience, Profile, Writer, server};
use crate::text::chunk::{Chunk, chunk};
use crate::text::document::{Document, Flaws};
use crate::text::load::{self, File, Readers, Walk, display_path, walk};

/// Chunks embedded and stored at a time.
const BATCH: usize = 128;

/// Bytes of the largest file that is read unless somebody says otherwise: above any book, below what would keep two cores
/// busy for a quarter of an hour because a log or a dump lay among the documents.
pub const MAX_FILE: u64 = 16 * MEGABYTE;

/// The date of a file with [`Flaws`]: it equals no file's, so such a file is looked at, and its flaws are named, each time.
const LOOK_AGAIN: i64 = i64::MIN;

/// What to ingest, and where to.
pub struct Ingest<'a> {
    pub home: &'a Home,
    pub collection: &'a str,
    pub paths: &'a [PathBuf],
    /// How to build the collection; its embedder is filled in from `embedder`.
    pub profile: Profile,
    pub embedder: &'a Embedder,
    /// Empty the collection first and build it as `profile` says.
    pub rebuild: bool,
    /// Who reads which file.
    pub readers: &'a Readers,
    /// Bytes a file may have, such as [`MAX_FILE`]; a larger one is refused by name.
    pub max_file: u64,
}

/// What happened, in documents unless it says otherwise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    pub added: usize,
    pub updated: usize,
    pub unchanged: usize,
    pub removed: usize,
    /// Could not be read as what their names promise; of a JSON Lines file, each line that could not.
    pub failed: usize,
    /// Files in folders whose names say nothing we can read.
    pub skipped: usize,
    /// Chunks embedded in this run.
    pub chunks: usize,
    /// Tokens embedded in this run.
    pub tokens: u64,
}

/// What the person may want to see while it runs.
pub enum Event<'a> {
    /// Bytes of the files that have to be read.
    Started {
        bytes: u64,
    },
    /// Bytes of files done so far.
    Progress {
        bytes: u64,
    },
    Failed {
        error: &'a Error,
    },
    /// An earlier run was cut short; what it left behind was cleaned up.
    Recovered {
        deleted: usize,
        stale: usize,
    },
}

impl Ingest<'_> {
    /// Brings the collection up to date with the files under the paths. Documents ingested from elsewhere stay. Where no
    /// file can be read, no collection is made.
    ///
    /// # Errors
    /// `NotFound` for a path that neither exists nor was ingested before, `Mismatch` when the collection was built in
    /// another way, `Busy` when another process keeps writing to it, `Interrupted` when `on_event` breaks: the batches
    /// that are finished stay, and the next run goes on from there. A file that cannot be read is counted and reported,
    /// and the others go on.
    pub fn run(
        mut self,
        patience: Patience,
        mut on_event: impl FnMut(Event) -> ControlFlow<()>,
    ) -> Result<Summary> {
        let on_event = &mut |event: Event| match on_event(event) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Error::interrupted("stopped; what was finished is kept")
                .hint("the same `incontext ingest` goes on from there")),
        };
        self.profile.embedder.name = self.embedder.name().to_owned();
        self.profile.embedder.dimension = self.embedder.dimension();
        self.profile.embedder.fingerprint = self.embedder.fingerprint().to_owned();
        let dir = self.home.collection(self.collection)?;
        let is_new = !dir.join("manifest.sqlite").exists();
        if is_new || self.rebuild {
            // Before anything is made or emptied: a mistyped path should neither leave an empty collection behind nor
            // cost a full one. What is there and stays has a say of its own on profiles that do not fit.
            self.check_window()?;
            self.profile.server.as_ref().map_or(Ok(()), server::reach)?;
            self.existing(&BTreeMap::new())?;
        }
        if is_new && let Some(summary) = self.nothing_to_read(on_event)? {
            return Ok(summary);
        }
        self.home.create()?;
        let mut writer = Writer::open(&dir, &self.profile, self.rebuild, patience)?;
        let recovery = writer.recovery();
        if recovery.deleted > 0 || recovery.stale > 0 {
            on_event(Event::Recovered { deleted: recovery.deleted, stale: recovery.stale })?;
        }
        let known: BTreeMap<String, Known> =
            writer.documents()?.into_iter().map(|known| (known.meta.path.clone(), known)).collect();
        let found = walk(&self.existing(&known)?, self.home.root(), self.readers)?;
        let mut summary =
            Summary { skipped: found.skipped, failed: found.failed.len(), ..Summary::default() };
        for error in &found.failed {
            on_event(Event::Failed { error })?;
        }

        let scan = Scan::of(&found.files, &known)?;
        summary.unchanged = scan.unchanged;
        let gone = self.gone(&found, &known);
        summary.removed = gone.len();
        let removals = gone.into_iter().map(|path| Change::Remove { path }).collect();
        writer.apply(removals)?;
        on_event(Event::Started { bytes: scan.to_read.iter().map(|file| file.size).sum() })?;

        let mut done = 0;
        for files in batches(&scan.to_read) {
            let bytes = files.iter().map(|file| file.size).sum::<u64>();
            let mut batch = self.cut(files, &known);
            for error in &batch.failed {
                on_event(Event::Failed { error })?;
            }
            self.embed(&mut batch, &mut |share| {
                on_event(Event::Progress { bytes: done + (share * bytes as f64) as u64 })
            })?;
            summary.add(&batch);
            writer.apply(batch.into_changes())?;
            done += bytes;
            on_event(Event::Progress { bytes: done })?;
        }
        writer.finish()?;
        Ok(summary)
    }

    /// What there is to say where no file under the paths can be read: then there is nothing to make a collection for.
    fn nothing_to_read(&self, on_event: &mut dyn FnMut(Event) -> Result<()>) -> Result<Option<Summary>> {
        let known = BTreeMap::new();
        let found = walk(&self.existing(&known)?, self.home.root(), self.readers)?;
        let scan = Scan::of(&found.files, &known)?;
        let mut failed = found.failed;
        let mut count = failed.len();
        for files in batches(&scan.to_read) {
            let batch = self.cut(files, &known);
            if !batch.fresh.is_empty() {
                return Ok(None);
            }
            count += batch.flaws;
            failed.extend(batch.failed);
        }
        failed.iter().try_for_each(|error| on_event(Event::Failed { error }))?;
        Ok(Some(Summary { skipped: found.skipped, failed: count, ..Summary::default() }))
    }

    /// Chunks as large as the profile allows must fit the encoder's window, two special tokens included.
    fn check_window(&self) -> Result<()> {
        let (total, window) = (self.profile.chunker.total, self.embedder.window());
        if total + 2 > window {
            return Err(Error::mismatch(format!(
                "the profile allows chunks of {total} tokens, the encoder `{}` reads {window} at most, 2 of them its own",
                self.embedder.name()
            ))
            .hint("lower `total`, `max_body` and `body` in the index profile"));
        }
        Ok(())
    }

    /// The paths that are there. One that is not stands for documents to remove, if there are any.
    fn existing(&self, known: &BTreeMap<String, Known>) -> Result<Vec<PathBuf>> {
        // What cannot be looked at may well be there; the walk says why it cannot.
        let may_exist = |path: &PathBuf| path.try_exists().unwrap_or(true);
        let (there, missing): (Vec<_>, Vec<_>) = self.paths.iter().cloned().partition(may_exist);
        for path in missing {
            let name = display_path(&path, self.home.root());
            if !known.keys().any(|document| is_under(document, &name)) {
                return Err(Error::not_found(format!("`{}` does not exist", path.display()))
                    .hint("give files or folders, relative to the current folder or absolute"));
            }
        }
        Ok(there)
    }

    /// Documents under the given paths whose files are no longer there (or no longer wanted, by .gitignore).
    fn gone(&self, found: &Walk, known: &BTreeMap<String, Known>) -> Vec<String> {
        let scopes: Vec<String> =
            self.paths.iter().map(|path| display_path(path, self.home.root())).collect();
        let there: BTreeSet<&str> = found.files.iter().map(|file| file.name.as_str()).collect();
        let in_scope = |path: &&String| scopes.iter().any(|scope| is_under(path, scope));
        // A folder that could not be looked at says nothing about what lies in it.
        let unseen = |path: &&String| found.unseen.iter().any(|folder| is_under(path, folder));
        let gone = known.keys().filter(in_scope).filter(|path| !there.contains(path.as_str()));
        gone.filter(|path| !unseen(path)).cloned().collect()
    }

    /// Reads and cuts `files`. A file that turned unreadable takes its old content along, unless it is only out of reach.
    fn cut(&self, files: &[ToRead], known: &BTreeMap<String, Known>) -> Batch {
        let read: Vec<Result<(Read, Flaws)>> =
            files.par_iter().map(|file| self.read(file, known.get(&file.file.name))).collect();
        let mut batch = Batch::default();
        for (file, read) in files.iter().zip(read) {
            let name = &file.file.name;
            match read {
                Ok((read, flaws)) => {
                    batch.flaw(name, flaws);
                    match read {
                        Read::Unchanged { mtime } => {
                            let (path, size) = (name.clone(), file.size);
                            batch.changes.push(Change::Touch { path, size, mtime });
                        }
                        Read::Fresh(meta, chunks) => {
                            batch.updated += usize::from(known.contains_key(name));
                            batch.fresh.push((meta, chunks));
                        }
                    }
                }
                Err(error) => {
                    if known.contains_key(name) && !matches!(error, Error::Io { .. }) {
                        batch.changes.push(Change::Remove { path: name.clone() });
                    }
                    batch.flaws += 1;
                    batch.failed.push(error);
                }
            }
        }
        batch
    }

    /// Embeds the chunks of `batch`, telling after each part which share is done: a single long file is many parts.
    fn embed(&self, batch: &mut Batch, on_part: &mut dyn FnMut(f64) -> Result<()>) -> Result<()> {
        let texts: Vec<String> =
            batch.fresh.iter().flat_map(|(_, chunks)| chunks).map(Chunk::embedded_text).collect();
        for part in texts.chunks(BATCH) {
            let part: Vec<&str> = part.iter().map(String::as_str).collect();
            batch.vectors.extend(self.embedder.embed(&part, Overflow::Refuse)?);
            on_part(batch.vectors.len() as f64 / texts.len() as f64)?;
        }
        Ok(())
    }

    fn read(&self, file: &ToRead, known: Option<&Known>) -> Result<(Read, Flaws)> {
        let bytes = load::read(&file.file.path, self.max_file).map_err(|error| match error {
            Error::TooLong(_) => {
                error.hint("split it, leave it out with a line in .ignore, or allow it with `--max-file MB`")
            }
            error => error,
        })?;
        let parse = |bytes| self.readers.read(&file.file.path, &file.file.name, bytes);
        let hash = blake3::hash(&bytes).to_hex().to_string();
        if let Some(known) = known.filter(|known| known.meta.hash == hash && !known.stale) {
            let again = known.meta.mtime == LOOK_AGAIN;
            let flaws = if again { parse(bytes)?.flaws } else { Flaws::default() };
            let mtime = if again { LOOK_AGAIN } else { file.mtime };
            return Ok((Read::Unchanged { mtime }, flaws));
        }
        let mut document = parse(bytes)?;
        let chunks = chunk(&document, self.embedder.tokenizer(), &self.profile.chunker)?;
        let flaws = std::mem::take(&mut document.flaws);
        let mtime = if flaws.count > 0 { LOOK_AGAIN } else { file.mtime };
        Ok((Read::Fresh(meta(document, hash, file.size, mtime), chunks), flaws))
    }
}

impl Summary {
    fn add(&mut self, batch: &Batch) {
        let touched = batch.changes.iter().filter(|change| matches!(change, Change::Touch { .. }));
        self.unchanged += touched.count();
        self.updated += batch.updated;
        self.added += batch.fresh.len() - batch.updated;
        self.failed += batch.flaws;
        for chunk in batch.fresh.iter().flat_map(|(_, chunks)| chunks) {
            self.chunks += 1;
            self.tokens += u64::from(chunk.tokens);
        }
    }
}

/// What reading a file came to.
enum Read {
    /// Another date, the same content.
    Unchanged {
        mtime: i64,
    },
    Fresh(DocumentMeta, Vec<Chunk>),
}

/// Some files on their way into the collection.
#[derive(Default)]
struct Batch {
    changes: Vec<Change>,
    /// New content, and how many of it replace an older one.
    fresh: Vec<(DocumentMeta, Vec<Chunk>)>,
    updated: usize,
    /// Of the chunks of `fresh`, in order.
    vectors: Vec<Vec<f32>>,
    /// Files and lines that could not be read, and what is said about them.
    flaws: usize,
    failed: Vec<Error>,
}

impl Batch {
    /// Notes what of the file `name` could not be read although the rest could.
    fn flaw(&mut self, name: &str, flaws: Flaws) {
        let more = flaws.count - flaws.named.len();
        self.flaws += flaws.count;
        self.failed
            .extend(flaws.named.into_iter().map(|report| Error::Invalid(report).within(format!("`{name}`"))));
        if more > 0 {
            self.failed.push(Error::invalid(format!("`{name}`: {more} more lines that cannot be read")));
        }
    }

    fn into_changes(self) -> Vec<Change> {
        let Self { mut changes, fresh, vectors, .. } = self;
        let mut vectors = vectors.into_iter();
        changes.extend(fresh.into_iter().map(|(document, chunks)| {
            let chunks = chunks.into_iter().zip(vectors.by_ref()).collect();
            Change::Put { document, chunks }
        }));
        changes
    }
}

/// A file whose size or date differs from what is known.
struct ToRead {
    file: File,
    size: u64,
    mtime: i64,
}

/// Which files have to be read at all.
struct Scan {
    to_read: Vec<ToRead>,
    unchanged: usize,
}

impl Scan {
    fn of(files: &[File], known: &BTreeMap<String, Known>) -> Result<Self> {
        let mut scan = Self { to_read: Vec::new(), unchanged: 0 };
        for file in files {
            // A file that vanished or cannot be looked at fails when it is read, with its name.
            let (size, mtime) =
                std::fs::metadata(&file.path).map_or((0, 0), |meta| (meta.len(), mtime(&meta)));
            let same = |known: &Known| known.meta.size == size && known.meta.mtime == mtime && !known.stale;
            match known.get(&file.name).is_some_and(same) {
                true => scan.unchanged += 1,
                false => scan.to_read.push(ToRead { file: file.clone(), size, mtime }),
            }
        }
        Ok(scan)
    }
}

/// Nanoseconds since the Unix epoch.
pub(super) fn mtime(meta: &std::fs::Metadata) -> i64 {
    let since = meta.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since.and_then(|since| i64::try_from(since.as_nanos()).ok()).unwrap_or(0)
}

fn meta(document: Document, hash: String, size: u64, mtime: i64) -> DocumentMeta {
    let Document { path, format, title, fields, .. } = document;
    DocumentMeta { path, hash, size, mtime, format, title, fields }
}

/// Whether the document `path` is `scope` or lies in it.
fn is_under(path: &str, scope: &str) -> bool {
    match path.strip_prefix(scope) {
        Some(rest) => rest.is_empty() || rest.starts_with('/') || scope.ends_with('/'),
        None => scope == "." && !path.starts_with("../") && !Path::new(path).is_absolute(),
    }
}

/// Files that will make about [`BATCH`] chunks together.
fn batches(files: &[ToRead]) -> impl Iterator<Item = &[ToRead]> {
    /// Bytes of an ordinary chunk; a guess, good enough to size batches.
    const CHUNK: u64 = 600;
    let mut rest = files;
    std::iter::from_fn(move || {
        let mut size = 0;
        let fits = rest.iter().take_while(|file| {
            size += file.size.max(CHUNK);
            size <= BATCH as u64 * CHUNK
        });
        let (batch, later) = rest.split_at(fits.count().max(1).min(rest.len()));
        rest = later;
        (!batch.is_empty()).then_some(batch)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_holds_itself_and_what_lies_in_it() {
        assert!(is_under("docs/a.md", "docs"));
        assert!(is_under("docs", "docs"));
        assert!(!is_under("docs2/a.md", "docs"));
        assert!(is_under("a.md", "."));
        assert!(!is_under("../a.md", "."));
        assert!(is_under("../b/a.md", "../b"));
        assert!(is_under("/x/a.md", "/"));
    }

    #[test]
    fn batches_hold_every_file_once_and_a_large_file_alone() {
        let file = |size| ToRead { file: File { path: PathBuf::new(), name: String::new() }, size, mtime: 0 };
        let files: Vec<_> = [10, 10, 1_000_000, 10].map(file).into();
        let sizes: Vec<Vec<u64>> = batches(&files).map(|b| b.iter().map(|f| f.size).collect()).collect();
        assert_eq!(sizes, [vec![10, 10], vec![1_000_000], vec![10]]);
    }
}
