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

use std::path::{Path, PathBuf};

use crate::error::{Error, IoContext, Result};
use crate::files;
use crate::text::chunk::Chunk;

use super::ChunkId;
use super::collection::{Difference, PROFILE, current_profile, settings, vectors_dir, words_dir};
use super::lexical::{Words, WordsWriter};
use super::lock::{Lock, Mode, Patience};
use super::manifest::{self, DocumentMeta, Entry, Folders, Known, Manifest};
use super::profile::Profile;
use super::space;
use super::store::Store;

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

/// What [`Writer::open`] found left behind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Vectors and words of no chunk, deleted.
    pub deleted: usize,
    /// Documents whose vectors or words were lost: they are stale now.
    pub stale: usize,
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
                discard(dir, &path)?;
                None
            }
            opened => opened?,
        };
        let manifest = match opened {
            None => {
                // First the stores: once there is a manifest there is a collection, and it can be searched.
                make_stores(dir, profile, Folders { vectors: 0, words: 0 })?;
                let manifest = Manifest::create(&path, profile)?;
                write_profile(dir, profile)?;
                manifest
            }
            Some(manifest) if rebuild => emptied(dir, manifest, profile)?,
            Some(manifest) => {
                manifest.profile()?.check(profile)?;
                manifest
            }
        };
        let profile = current_profile(dir, &manifest)?;
        if !dir.join(PROFILE).exists() {
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
            let points: Vec<_> = vectors.iter().map(|(id, vector)| (*id, vector.as_slice())).collect();
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
        Store::edge(&vectors_dir(&self.dir, self.manifest.folders()?), settings(&self.profile))
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

    /// Makes vectors and words agree with the manifest.
    fn recover(&mut self) -> Result<Recovery> {
        let _data = Lock::data(&self.dir, Mode::Exclusive, &mut Patience::default())?;
        // What was added but not committed goes with it.
        self.words = None;
        let known = self.manifest.ids()?;
        let mut folders = self.manifest.folders()?;

        let opened = self.store().and_then(|store| store.ids().map(|ids| (store, ids)));
        let (mut store, vectors) = match opened {
            Err(Error::Corrupt(_)) => {
                folders.vectors += 1;
                self.manifest.set_folders(folders)?;
                (self.store()?, Vec::new())
            }
            opened => opened?,
        };
        let vectors = Difference::between(&known, &vectors);
        if !vectors.unknown.is_empty() {
            store.delete(&vectors.unknown)?;
            store.flush()?;
        }

        let lexical = self.profile.lexical.clone();
        let read = |writer: &mut Self| {
            writer.words()?;
            Words::open(&words_dir(&writer.dir, writer.manifest.folders()?), &lexical)
                .map(|words| words.ids())
        };
        let words = match read(self) {
            Err(Error::Corrupt(_)) => {
                self.words = None;
                folders.words += 1;
                self.manifest.set_folders(folders)?;
                read(self)?
            }
            words => words?,
        };
        let words = Difference::between(&known, &words);
        if !words.unknown.is_empty() {
            let writer = self.words()?;
            writer.delete(&words.unknown);
            writer.commit()?;
        }

        drop(store);
        sweep(&self.dir.join("vectors"), folders.vectors)?;
        sweep(&self.dir.join("words"), folders.words)?;
        let lost = [vectors.missing, words.missing].concat();
        let stale = if lost.is_empty() { 0 } else { self.manifest.mark_stale(&lost)? };
        self.unfinished = false;
        Ok(Recovery { deleted: vectors.unknown.len() + words.unknown.len(), stale })
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
    let toml = dir.join(PROFILE);
    if toml.exists() {
        std::fs::remove_file(&toml).at("delete", &toml)?;
    }
    let Folders { vectors, words } = manifest.folders()?;
    let folders = Folders { vectors: vectors + 1, words: words + 1 };
    make_stores(dir, profile, folders)?;
    manifest.reset(profile, folders)?;
    write_profile(dir, profile)?;
    Ok(manifest)
}

/// Removes a manifest that cannot be read. Its log goes first: SQLite would play it back into the next manifest.
fn discard(dir: &Path, manifest: &Path) -> Result<()> {
    let _data = Lock::data(dir, Mode::Exclusive, &mut Patience::default())?;
    for end in ["-wal", "-shm", ""] {
        let mut name = manifest.as_os_str().to_owned();
        name.push(end);
        match std::fs::remove_file(&name) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            removed => removed.at("delete", Path::new(&name))?,
        }
    }
    Ok(())
}

/// Makes empty stores in `folders`, which the manifest does not name yet: whatever is there is the half-made work of a
/// process that was killed.
fn make_stores(dir: &Path, profile: &Profile, folders: Folders) -> Result<()> {
    let (vectors, words) = (vectors_dir(dir, folders), words_dir(dir, folders));
    for left in [&vectors, &words].into_iter().filter(|left| left.exists()) {
        std::fs::remove_dir_all(left).at("delete", left)?;
    }
    Store::edge(&vectors, settings(profile))?.flush()?;
    WordsWriter::open(&words, &profile.lexical)?.commit()
}

/// Written aside, synced, renamed.
pub(super) fn write_profile(dir: &Path, profile: &Profile) -> Result<()> {
    let note = "# How this collection was built. [fusion] and [lexical.ranking] may be edited at any time; the rest\n\
                # decides what is stored: change it with `incontext ingest --rebuild`.\n\n";
    files::replace(&dir.join(PROFILE), format!("{note}{}", profile.to_toml()?).as_bytes())
}

/// Deletes what lies in `dir` besides the folder `current` and its lock.
fn sweep(dir: &Path, current: u64) -> Result<()> {
    let keep = [current.to_string(), format!("{current}.lock")];
    for entry in std::fs::read_dir(dir).at("read", dir)? {
        let path = entry.at("read", dir)?.path();
        if path.file_name().is_some_and(|name| keep.iter().any(|kept| name == kept.as_str())) {
            continue;
        }
        let deleted =
            if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
        deleted.at("delete", &path)?;
    }
    Ok(())
}

/// Copies the files below `from` to `to`, where nothing of value is.
fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    if to.exists() {
        std::fs::remove_dir_all(to).at("delete", to)?;
    }
    let mut folders = vec![(from.to_owned(), to.to_owned())];
    while let Some((from, to)) = folders.pop() {
        std::fs::create_dir_all(&to).at("create", &to)?;
        for entry in std::fs::read_dir(&from).at("read", &from)? {
            let (from, name) = entry.map(|entry| (entry.path(), entry.file_name())).at("read", &from)?;
            match from.is_dir() {
                true => folders.push((from, to.join(name))),
                false => std::fs::copy(&from, to.join(name)).map(drop).at("copy", &from)?,
            }
        }
    }
    Ok(())
}
