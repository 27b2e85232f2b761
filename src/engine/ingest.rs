//! Files -> a collection that holds what they say now.
//!
//! Incremental: a file of the same size and date costs nothing, one of the same content is not embedded again, a changed
//! one is replaced, one that is gone is removed. Batches are small, so that a killed run keeps what it finished and the
//! next one goes on from there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use rayon::prelude::*;
use serde::Serialize;

use crate::embed::{Embedder, Overflow};
use crate::error::{Error, IoContext, Result};
use crate::index::{Change, DocumentMeta, Home, Known, Patience, Profile, Writer};
use crate::text::chunk::{Chunk, chunk};
use crate::text::document::Document;
use crate::text::load::{File, display_path, parse, walk};

/// Chunks embedded and stored at a time.
const BATCH: usize = 128;

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
}

/// What happened, in documents unless it says otherwise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    pub added: usize,
    pub updated: usize,
    pub unchanged: usize,
    pub removed: usize,
    /// Could not be read as what their names promise.
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
    /// Brings the collection up to date with the files under the paths. Documents ingested from elsewhere stay.
    ///
    /// # Errors
    /// `NotFound` for a path that neither exists nor was ingested before, `Mismatch` when the collection was built in
    /// another way, `Busy` when another process keeps writing to it. A file that cannot be read is counted and reported,
    /// and the others go on.
    pub fn run(mut self, patience: Patience, mut on_event: impl FnMut(Event)) -> Result<Summary> {
        self.profile.embedder.name = self.embedder.name().to_owned();
        self.profile.embedder.dimension = self.embedder.dimension();
        self.profile.embedder.fingerprint = self.embedder.fingerprint().to_owned();
        let dir = self.home.collection(self.collection)?;
        let is_new = !dir.join("manifest.sqlite").exists();
        if is_new || self.rebuild {
            // Before anything is made or emptied: a mistyped path should neither leave an empty collection behind nor
            // cost a full one. What is there and stays has a say of its own on profiles that do not fit.
            self.check_window()?;
            self.existing(&BTreeMap::new())?;
        }
        self.home.create()?;
        let mut writer = Writer::open(&dir, &self.profile, self.rebuild, patience)?;
        let recovery = writer.recovery();
        if recovery.deleted > 0 || recovery.stale > 0 {
            on_event(Event::Recovered { deleted: recovery.deleted, stale: recovery.stale });
        }
        let known: BTreeMap<String, Known> =
            writer.documents()?.into_iter().map(|known| (known.meta.path.clone(), known)).collect();
        let found = walk(&self.existing(&known)?, self.home.root())?;
        let mut summary =
            Summary { skipped: found.skipped, failed: found.failed.len(), ..Summary::default() };
        for error in &found.failed {
            on_event(Event::Failed { error });
        }

        let scan = Scan::of(&found.files, &known)?;
        summary.unchanged = scan.unchanged;
        let gone = self.gone(&found.files, &known);
        summary.removed = gone.len();
        let removals = gone.into_iter().map(|path| Change::Remove { path }).collect();
        writer.apply(removals)?;
        on_event(Event::Started { bytes: scan.to_read.iter().map(|file| file.size).sum() });

        let mut done = 0;
        for files in batches(&scan.to_read) {
            let (changes, failed) = self.prepare(files, &known, &mut summary)?;
            failed.iter().for_each(|error| on_event(Event::Failed { error }));
            writer.apply(changes)?;
            done += files.iter().map(|file| file.size).sum::<u64>();
            on_event(Event::Progress { bytes: done });
        }
        writer.finish()?;
        Ok(summary)
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
        let (there, missing): (Vec<_>, Vec<_>) = self.paths.iter().cloned().partition(|path| path.exists());
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
    fn gone(&self, files: &[File], known: &BTreeMap<String, Known>) -> Vec<String> {
        let scopes: Vec<String> =
            self.paths.iter().map(|path| display_path(path, self.home.root())).collect();
        let there: BTreeSet<&str> = files.iter().map(|file| file.name.as_str()).collect();
        let in_scope = |path: &&String| scopes.iter().any(|scope| is_under(path, scope));
        known.keys().filter(in_scope).filter(|path| !there.contains(path.as_str())).cloned().collect()
    }

    /// Reads, cuts and embeds `files`. A file that turned unreadable takes its old content along.
    fn prepare(
        &self,
        files: &[ToRead],
        known: &BTreeMap<String, Known>,
        summary: &mut Summary,
    ) -> Result<(Vec<Change>, Vec<Error>)> {
        let read: Vec<Result<Read>> =
            files.par_iter().map(|file| self.read(file, known.get(&file.file.name))).collect();
        let mut changes = Vec::new();
        let mut failed = Vec::new();
        let mut fresh: Vec<(DocumentMeta, Vec<Chunk>)> = Vec::new();
        for (file, read) in files.iter().zip(read) {
            let name = &file.file.name;
            match read {
                Ok(Read::Unchanged) => {
                    summary.unchanged += 1;
                    changes.push(Change::Touch { path: name.clone(), size: file.size, mtime: file.mtime });
                }
                Ok(Read::Fresh(meta, chunks)) => {
                    match known.contains_key(name) {
                        true => summary.updated += 1,
                        false => summary.added += 1,
                    }
                    fresh.push((meta, chunks));
                }
                Err(error) => {
                    summary.failed += 1;
                    if known.contains_key(name) && !matches!(error, Error::Io { .. }) {
                        changes.push(Change::Remove { path: name.clone() });
                    }
                    failed.push(error);
                }
            }
        }
        let texts: Vec<String> =
            fresh.iter().flat_map(|(_, chunks)| chunks).map(Chunk::embedded_text).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let mut vectors = self.embedder.embed(&texts, Overflow::Refuse)?.into_iter();
        for (document, chunks) in fresh {
            summary.chunks += chunks.len();
            summary.tokens += chunks.iter().map(|chunk| u64::from(chunk.tokens)).sum::<u64>();
            let chunks = chunks.into_iter().zip(vectors.by_ref()).collect();
            changes.push(Change::Put { document, chunks });
        }
        Ok((changes, failed))
    }

    fn read(&self, file: &ToRead, known: Option<&Known>) -> Result<Read> {
        let bytes = std::fs::read(&file.file.path).at("read", &file.file.path)?;
        let hash = blake3::hash(&bytes).to_hex().to_string();
        if known.is_some_and(|known| known.meta.hash == hash && !known.stale) {
            return Ok(Read::Unchanged);
        }
        let document = parse(&file.file.name, bytes)?;
        let chunks = chunk(&document, self.embedder.tokenizer(), &self.profile.chunker)?;
        Ok(Read::Fresh(meta(document, hash, file), chunks))
    }
}

/// What reading a file came to.
enum Read {
    /// Another date, the same content.
    Unchanged,
    Fresh(DocumentMeta, Vec<Chunk>),
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

fn meta(document: Document, hash: String, file: &ToRead) -> DocumentMeta {
    let Document { path, format, title, fields, .. } = document;
    DocumentMeta { path, hash, size: file.size, mtime: file.mtime, format, title, fields }
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
