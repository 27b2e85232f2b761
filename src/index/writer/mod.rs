//! A collection, as a writer changes it: batch by batch, so that a process may be killed at any moment.
//!
//! The order is everything. A batch that adds or replaces:
//!
//! ```text
//!   reserve ids         manifest     from here on these ids are never used again
//!   add vectors, flush  vectors      unknown to the manifest, hence invisible
//!   add words, commit   words        likewise
//!   record              manifest     ONE transaction: the new chunks exist, the old ones do not
//!   delete the old      vectors, words
//! ```
//!
//! A removal starts at *record*. Killed before it, nothing has happened but leftovers; killed after it, everything has
//! but leftovers. [`Writer::open`] deletes leftovers: whatever the manifest does not know. The other way round, chunks
//! whose vectors or words are gone (somebody deleted a folder), cannot come from a killed process; their documents are
//! marked stale, to be ingested again.
//!
//! One writer at a time holds `write.lock`. Readers are kept out (`data.lock`) only while a batch is applied, and the
//! vector shard is open only then.
//!
//! A Qdrant server takes vectors and words in one step, and readers need not wait for it: what it has been given is unknown to
//! the manifest, hence invisible, and what it has yet to forget likewise. They are kept out while the batch is recorded.

mod recover;

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

pub use recover::Recovery;

use crate::error::{Error, IoContext, Result};
use crate::text::chunk::Chunk;

use super::ChunkId;
use super::layout::{
    PROFILE, copy_folder, current_profile, make_stores, open_store, prefix_on_server, settings, sweep,
    vectors_dir, words_dir, write_profile,
};
use super::lexical::WordsWriter;
use super::lock::{Lock, Mode, Patience};
use super::manifest::{self, DocumentMeta, Entry, Folders, Known, Manifest};
use super::profile::Profile;
use super::space;
use super::store::{Point, Store};

/// What happens to one document.
#[derive(Debug, Clone)]
pub enum Change {
    /// Adds the document, or replaces the one at its path. Each chunk comes with its vector.
    Put { document: DocumentMeta, chunks: Vec<(Chunk, Vec<f32>)> },
    /// Removes the document at `path`, if there is one.
    Remove { path: String },
    /// The same content with another date: spares the next scan from reading it.
    Touch { path: String, size: u64, mtime: i64 },
}

/// The places in [`Writer::apply`] between which a process may die.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Reserved,
    VectorsAdded,
    VectorsFlushed,
    WordsCommitted,
    Recorded,
    VectorsDeleted,
    WordsDeleted,
}

const SMALLEST_BATCH: usize = 128;
const LARGEST_BATCH: usize = 4096;

/// New chunks' vectors, under the ids they were given.
type Vectors = Vec<(ChunkId, Vec<f32>)>;

type Hook = Box<dyn FnMut(Step) -> Result<()> + Send>;

/// The one writer of a collection.
pub struct Writer {
    dir: PathBuf,
    profile: Profile,
    manifest: Manifest,
    /// Kept open between batches, so that merges go on beside them.
    words: Option<WordsWriter>,
    recovery: Recovery,
    /// A batch failed half-way: clean up before the next.
    unfinished: bool,
    /// Called at every step; lets a test die there.
    hook: Option<Hook>,
    _lock: Lock,
}

impl Writer {
    /// Opens the collection in the folder `dir` to change it, or makes an empty one there as `profile` says, and cleans
    /// up after a writer that was killed. With `rebuild` a collection that is there is emptied and built as `profile`
    /// says.
    ///
    /// # Errors
    /// [`Error::Busy`] naming the other writer when patience runs out; [`Error::Mismatch`] when the collection was built
    /// with another embedder or chunker and `rebuild` is not set.
    pub fn open(dir: &Path, profile: &Profile, rebuild: bool, mut patience: Patience<'_>) -> Result<Self> {
        std::fs::create_dir_all(dir).at("create", dir)?;
        space::ensure(dir, 0)?;
        let lock = Lock::acquire(&dir.join("write.lock"), Mode::Exclusive, &mut patience)?;
        let path = dir.join(manifest::FILE);
        let opened = match Manifest::open(&path) {
            Err(Error::Corrupt(_)) if rebuild => {
                recover::discard(dir, &path)?;
                None
            }
            opened => opened?,
        };
        let manifest = match opened {
            None => {
                let profile = &named(dir, profile);
                // First the stores: once there is a manifest there is a collection, and it can be searched.
                make_stores(dir, profile, Folders { vectors: 0, words: 0 })?;
                let manifest = Manifest::create(&path, profile)?;
                write_profile(dir, profile)?;
                manifest
            }
            Some(manifest) if rebuild => emptied(dir, manifest, &named(dir, profile))?,
            Some(manifest) => {
                manifest.profile()?.check(profile)?;
                manifest
            }
        };
        let wanted = profile.server.as_ref();
        let mut profile = current_profile(dir, &manifest)?;
        let moved = match (&mut profile.server, wanted) {
            (Some(server), Some(wanted)) if server.url != wanted.url => {
                server.url.clone_from(&wanted.url);
                true
            }
            _ => false,
        };
        if moved || !dir.join(PROFILE).exists() {
            write_profile(dir, &profile)?;
        }
        let recovery = Recovery::default();
        let (words, unfinished, hook) = (None, false, None);
        let dir = dir.to_owned();
        let mut writer = Self { dir, profile, manifest, words, recovery, unfinished, hook, _lock: lock };
        writer.recovery = writer.recover()?;
        Ok(writer)
    }

    /// What was cleaned up when it was opened.
    pub fn recovery(&self) -> Recovery {
        self.recovery
    }

    /// How the collection is built.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Every document, by path.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the manifest cannot be read.
    pub fn documents(&self) -> Result<Vec<Known>> {
        self.manifest.documents()
    }

    /// Chunks that make a batch worth its while: some, so that little is lost with a process that is killed, and more when
    /// there are many, because opening the stores takes the longer the more they hold.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the manifest cannot be read.
    pub fn batch_size(&self) -> Result<usize> {
        let there = if self.profile.server.is_some() { 0 } else { self.manifest.count()? };
        Ok((there / 256).clamp(SMALLEST_BATCH, LARGEST_BATCH))
    }

    /// Applies all changes of `batch`, in order, or none: readers see the collection before or after it, and so does
    /// whoever opens it after a crash. Batches of some hundred chunks keep readers waiting only briefly.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a vector that does not belong here; otherwise what stopped it, and then nothing of the
    /// batch, or all of it, has happened.
    pub fn apply(&mut self, batch: Vec<Change>) -> Result<()> {
        let accepted = settings(&self.profile);
        for change in &batch {
            if let Change::Put { document, chunks } = change {
                let check = chunks.iter().try_for_each(|(_, vector)| accepted.check(vector));
                check.map_err(|error| error.within(format!("`{}`", document.path)))?;
            }
        }
        if batch.is_empty() {
            return Ok(());
        }
        space::ensure(&self.dir, added_bytes(&batch))?;
        if self.unfinished {
            self.recover()?;
        }
        self.unfinished = true;
        self.apply_checked(batch)?;
        self.unfinished = false;
        Ok(())
    }

    fn apply_checked(&mut self, batch: Vec<Change>) -> Result<()> {
        let (entries, vectors) = self.numbered(batch)?;
        self.reached(Step::Reserved)?;
        if self.profile.server.is_some() {
            return self.apply_on_server(&entries, &vectors);
        }
        // Analysing words takes longest and is not seen before the commit: done while readers may still read.
        for entry in &entries {
            if let Entry::Put { chunks, .. } = entry {
                for (id, chunk) in chunks {
                    self.words()?.add(*id, &chunk.embedded_text())?;
                }
            }
        }

        let _data = Lock::data(&self.dir, Mode::Exclusive, &mut Patience::default())?;
        let mut store: Option<Store> = None;
        if !vectors.is_empty() {
            let store = store.insert(self.store()?);
            let points: Vec<_> = vectors.iter().map(|(id, vector)| Point::bare(*id, vector)).collect();
            store.upsert(&points)?;
            self.reached(Step::VectorsAdded)?;
            store.flush()?;
            self.reached(Step::VectorsFlushed)?;
            self.words()?.commit()?;
            self.reached(Step::WordsCommitted)?;
        }

        let gone = self.manifest.record(&entries)?;
        self.reached(Step::Recorded)?;

        if !gone.is_empty() {
            let store = match &mut store {
                Some(store) => store,
                None => store.insert(self.store()?),
            };
            store.delete(&gone)?;
            store.flush()?;
            self.reached(Step::VectorsDeleted)?;
            let words = self.words()?;
            words.delete(&gone);
            words.commit()?;
            self.reached(Step::WordsDeleted)?;
        }
        Ok(())
    }

    /// The same where vectors and words are one step.
    fn apply_on_server(&mut self, entries: &[Entry], vectors: &Vectors) -> Result<()> {
        let mut store = self.store()?;
        let texts: Vec<(&str, String)> = entries
            .iter()
            .flat_map(|entry| match entry {
                Entry::Put { document, chunks } => {
                    let path = document.path.as_str();
                    chunks.iter().map(|(_, chunk)| (path, chunk.embedded_text())).collect()
                }
                Entry::Remove { .. } | Entry::Touch { .. } => Vec::new(),
            })
            .collect();
        let points = vectors.iter().zip(&texts);
        let points: Vec<Point> =
            points.map(|((id, vector), (path, text))| Point { id: *id, vector, text, path }).collect();
        store.upsert(&points)?;
        self.reached(Step::VectorsAdded)?;

        let data = Lock::data(&self.dir, Mode::Exclusive, &mut Patience::default())?;
        let gone = self.manifest.record(entries)?;
        drop(data);
        self.reached(Step::Recorded)?;

        store.delete(&gone)?;
        self.reached(Step::VectorsDeleted)
    }

    /// Waits for merges under way and, when many vectors have come, builds the graph over them. The work is done on a
    /// copy while readers go on with the old one.
    ///
    /// # Errors
    /// What stopped it; the collection is complete without it.
    pub fn finish(mut self) -> Result<()> {
        if self.unfinished {
            self.recover()?;
        }
        if let Some(words) = self.words.take() {
            words.close()?;
        }
        if self.profile.server.is_some() {
            return Ok(());
        }
        let before = self.manifest.folders()?;
        let old = vectors_dir(&self.dir, before);
        if !self.store()?.wants_optimizing() {
            return Ok(());
        }
        let after = Folders { vectors: before.vectors + 1, ..before };
        let new = vectors_dir(&self.dir, after);
        {
            // A reader that opened the shard meanwhile could change files under the copy.
            let _shard =
                Lock::acquire(&old.with_extension("lock"), Mode::Exclusive, &mut Patience::default())?;
            copy_folder(&old, &new).inspect_err(|_| {
                // Half a copy is of no use to anybody, least of all on a full disk.
                let _ = std::fs::remove_dir_all(&new);
            })?;
        }
        Store::edge(&new, settings(&self.profile))?.optimize()?;
        let _data = Lock::data(&self.dir, Mode::Exclusive, &mut Patience::default())?;
        self.manifest.set_folders(after)?;
        sweep(&self.dir.join("vectors"), after.vectors)
    }

    /// Calls `hook` at every step of [`Writer::apply`].
    #[cfg(test)]
    pub(crate) fn on_step(&mut self, hook: impl FnMut(Step) -> Result<()> + Send + 'static) {
        self.hook = Some(Box::new(hook));
    }

    fn reached(&mut self, step: Step) -> Result<()> {
        self.hook.as_mut().map_or(Ok(()), |hook| hook(step))
    }

    fn store(&self) -> Result<Store> {
        open_store(&self.dir, &self.profile, self.manifest.folders()?, false)
    }

    fn words(&mut self) -> Result<&mut WordsWriter> {
        let words = match self.words.take() {
            Some(words) => words,
            None => {
                WordsWriter::open(&words_dir(&self.dir, self.manifest.folders()?), &self.profile.lexical)?
            }
        };
        Ok(self.words.insert(words))
    }

    /// Gives every new chunk an id of its own; vectors apart.
    fn numbered(&mut self, batch: Vec<Change>) -> Result<(Vec<Entry>, Vectors)> {
        let count =
            batch.iter().map(|change| if let Change::Put { chunks, .. } = change { chunks.len() } else { 0 });
        let mut ids = match count.sum() {
            0 => 0..0,
            count => self.manifest.reserve(count)?,
        };
        let mut vectors = Vec::with_capacity(ids.clone().count());
        let entry = |change| match change {
            Change::Put { document, chunks } => {
                let numbered = ids.by_ref().zip(chunks).map(|(id, (chunk, vector))| {
                    vectors.push((id, vector));
                    (id, chunk)
                });
                Entry::Put { document, chunks: numbered.collect() }
            }
            Change::Remove { path } => Entry::Remove { path },
            Change::Touch { path, size, mtime } => Entry::Touch { path, size, mtime },
        };
        let entries = batch.into_iter().map(entry).collect();
        Ok((entries, vectors))
    }
}

/// Bytes that the stores will grow by.
fn added_bytes(batch: &[Change]) -> u64 {
    let chunks = batch.iter().filter_map(|change| match change {
        Change::Put { chunks, .. } => Some(chunks),
        Change::Remove { .. } | Change::Touch { .. } => None,
    });
    chunks.flatten().map(|(chunk, vector)| space::bytes_of(chunk, vector)).sum()
}

/// The collection without documents, built as `profile` says. Its `profile.toml` goes first: while there is none, the
/// manifest's own copy counts, so no moment is without a valid one.
fn emptied(dir: &Path, mut manifest: Manifest, profile: &Profile) -> Result<Manifest> {
    let _data = Lock::data(dir, Mode::Exclusive, &mut Patience::default())?;
    let before = current_profile(dir, &manifest).or_else(|_| manifest.profile())?;
    let toml = dir.join(PROFILE);
    if toml.exists() {
        std::fs::remove_file(&toml).at("delete", &toml)?;
    }
    let Folders { vectors, words } = manifest.folders()?;
    let folders = Folders { vectors: vectors + 1, words: words + 1 };
    make_stores(dir, profile, folders)?;
    manifest.reset(profile, folders)?;
    write_profile(dir, profile)?;
    if let Some(server) = before.server.as_ref().filter(|_| before.server != profile.server) {
        // Swept by nobody else: it is another server's now, or none's.
        Store::remove_from_server(server, &prefix_on_server(server))?;
    }
    Ok(manifest)
}

/// `profile`, its collection on a server with a name that is nobody else's.
fn named(dir: &Path, profile: &Profile) -> Profile {
    let mut profile = profile.clone();
    if let Some(server) = profile.server.as_mut().filter(|server| server.collection.is_empty()) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        let seed = format!("{}{now}{}", dir.display(), std::process::id());
        let unique = &blake3::hash(seed.as_bytes()).to_hex()[..12];
        let name = dir.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        server.collection = format!("incontext-{name}-{unique}");
    }
    profile
}
