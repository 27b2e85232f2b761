//! A collection on disk, as a reader sees it.
//!
//! ```text
//! <home>/collections/<name>/
//!   manifest.sqlite    the truth: documents, chunks, which folders below are current
//!   profile.toml       how it was built; its ranking and fusion may be edited
//!   vectors/<n>/       Qdrant
//!   words/<n>/         tantivy
//!   write.lock  data.lock  turn.lock  vectors/<n>.lock
//! ```
//!
//! Where a Qdrant server keeps vectors and words, the two folders are not there.
//!
//! A [`Reader`] holds the data lock, shared, so that what it sees belongs together: hits, passages and vectors of one
//! moment. Writers wait for it, so it is made for the length of a retrieval and dropped before a model speaks. After a
//! crash a store may hold ids that the manifest does not know; readers pass over them.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crate::error::{Error, Result};
use crate::text::slip::closest;

use super::filter::Filter;
use super::layout::{current_profile, name_on_server, settings, vectors_dir, words_dir, write_profile};
use super::lexical::Words;
use super::lock::{Lock, Mode, Patience};
use super::manifest::{self, Folders, Known, Manifest, Stats};
use super::profile::{Fusion, Gate, Profile};
use super::server::Server;
use super::store::{Chosen, Store, document_key};
use super::{ChunkId, Passage};

/// A collection that exists.
#[derive(Debug, Clone)]
pub struct Collection {
    dir: PathBuf,
    profile: Profile,
    filter: Filter,
}

impl Collection {
    /// Opens the collection in the folder `dir`.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is none, [`Error::Mismatch`] when a later version wrote it or its `profile.toml`
    /// asks for what it was not built with.
    pub fn open(dir: &Path) -> Result<Self> {
        let manifest = Manifest::open(&dir.join(manifest::FILE))?.ok_or_else(|| missing(dir))?;
        let profile = current_profile(dir, &manifest)?;
        Ok(Self { dir: dir.to_owned(), profile, filter: Filter::default() })
    }

    /// The same collection with its server at `url`, if a server keeps it.
    #[must_use]
    pub fn at(mut self, url: &str) -> Self {
        if let Some(server) = &mut self.profile.server {
            url.clone_into(&mut server.url);
        }
        self
    }

    /// The same collection, in which only the documents that `filter` chooses can be found.
    #[must_use]
    pub fn only(self, filter: Filter) -> Self {
        Self { filter, ..self }
    }

    /// How it was built, and how it ranks.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Ranks by `fusion` from now on: writes it to `profile.toml`, in one step, and the rest as that has it now.
    ///
    /// # Errors
    /// [`Error::Busy`] when patience runs out, and as [`Collection::open`].
    pub fn set_fusion(&mut self, fusion: Fusion, patience: Patience<'_>) -> Result<()> {
        self.edit_profile(|profile| profile.fusion = fusion, patience)
    }

    /// Puts another gate into the profile, durably; only answers to come are decided by it.
    ///
    /// # Errors
    /// As [`Collection::set_fusion`].
    pub fn set_gate(&mut self, gate: Gate, patience: Patience<'_>) -> Result<()> {
        self.edit_profile(|profile| profile.gate = Some(gate), patience)
    }

    fn edit_profile(&mut self, edit: impl FnOnce(&mut Profile), mut patience: Patience<'_>) -> Result<()> {
        let _write = Lock::acquire(&self.dir.join("write.lock"), Mode::Exclusive, &mut patience)?;
        let mut profile = Self::open(&self.dir)?.profile;
        edit(&mut profile);
        write_profile(&self.dir, &profile)?;
        self.profile = profile;
        Ok(())
    }

    /// Waits until no batch is being applied, then shows the collection as it is until the reader is dropped.
    ///
    /// # Errors
    /// [`Error::Busy`] when patience runs out, [`Error::Mismatch`] when it was rebuilt in another way meanwhile,
    /// [`Error::Invalid`] when its filter asks for what no document has.
    pub fn read(&self, mut patience: Patience<'_>) -> Result<Reader> {
        if !self.dir.is_dir() {
            return Err(missing(&self.dir));
        }
        let lock = Lock::data(&self.dir, Mode::Shared, &mut patience)?;
        let manifest = Manifest::open(&self.dir.join(manifest::FILE))?.ok_or_else(|| missing(&self.dir))?;
        manifest.profile()?.check(&self.profile)?;
        let folders = manifest.folders()?;
        let chosen = match self.filter.is_empty() {
            true => None,
            false => Some(Findable::of(&self.filter, &manifest, self.profile.server.is_some())?),
        };
        Ok(Reader {
            chosen,
            store: OnceLock::new(),
            words: OnceLock::new(),
            opening: Mutex::new(()),
            manifest: Mutex::new(manifest),
            collection: self.clone(),
            folders,
            _lock: lock,
        })
    }
}

/// One moment of a collection. Vectors and words are opened when first asked for.
pub struct Reader {
    // Dropped in this order: whatever reads files before the lock that guards them.
    store: OnceLock<Store>,
    words: OnceLock<Words>,
    /// Held while either is opened: a second opening of the same shard would wait for the first for ever.
    opening: Mutex<()>,
    manifest: Mutex<Manifest>,
    collection: Collection,
    /// All, unless there is a filter.
    chosen: Option<Findable>,
    folders: Folders,
    _lock: Lock,
}

/// What a filter leaves to be found.
struct Findable {
    documents: usize,
    chosen: Chosen,
}

impl Findable {
    /// With `by_document`, for a store that knows documents: of these there are fewer to name.
    fn of(filter: &Filter, manifest: &Manifest, by_document: bool) -> Result<Self> {
        let documents = manifest.documents()?;
        let paths = filter.choose(&documents)?;
        let chosen = match by_document {
            true => Chosen::Documents(paths.iter().map(|path| document_key(path)).collect()),
            false => {
                let mut chunks = Vec::new();
                for path in &paths {
                    chunks.extend(manifest.chunks_of(path)?);
                }
                chunks.sort_unstable();
                Chosen::Chunks(chunks)
            }
        };
        Ok(Self { documents: paths.len(), chosen })
    }
}

impl Reader {
    /// The `k` chunks nearest to `vector` with their cosines, best first, equal ones by id.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a vector of another length, [`Error::Corrupt`] when vectors cannot be read.
    pub fn dense(&self, vector: &[f32], k: usize) -> Result<Vec<(ChunkId, f32)>> {
        settings(&self.collection.profile).check(vector)?;
        let store = self.store()?;
        self.known(k, |count| store.search_among(self.chosen(), vector, count, false))
    }

    /// The `k` chunks that BM25 ranks first for `question` with their scores, best first, equal ones by id.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when words cannot be read.
    pub fn lexical(&self, question: &str, k: usize) -> Result<Vec<(ChunkId, f32)>> {
        if let Some(server) = self.on_server()? {
            return self.known(k, |count| server.lexical(self.chosen(), question, count));
        }
        let words = self.words()?;
        let chosen = match self.chosen() {
            Some(Chosen::Chunks(ids)) => Some(&ids[..]),
            _ => None,
        };
        self.known(k, |count| words.search_among(chosen, question, count))
    }

    /// The distinct words of `text` in order, each with its inverse document frequency here.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when words cannot be read.
    pub fn query_terms(&self, text: &str) -> Result<Vec<(String, f32)>> {
        if let Some(server) = self.on_server()? {
            return server.query_terms(text);
        }
        self.words()?.query_terms(text)
    }

    fn on_server(&self) -> Result<Option<&Server>> {
        match self.collection.profile.server {
            Some(_) => Ok(self.store()?.as_server()),
            None => Ok(None),
        }
    }

    fn words(&self) -> Result<&Words> {
        let dir = words_dir(&self.collection.dir, self.folders);
        self.once(&self.words, || match dir.is_dir() {
            true => Words::open(&dir, &self.collection.profile.lexical),
            false => Err(lost(&dir)),
        })
    }

    /// The chunks `ids` with their documents, in that order; those that are not there are left out.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the manifest cannot be read.
    pub fn passages(&self, ids: &[ChunkId]) -> Result<Vec<Passage>> {
        let manifest = self.manifest();
        ids.iter().filter_map(|&id| manifest.passage(id).transpose()).collect()
    }

    /// The vectors of `ids`, in that order, of length 1; `None` where there is none.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when vectors cannot be read.
    pub fn vectors(&self, ids: &[ChunkId]) -> Result<Vec<Option<Vec<f32>>>> {
        self.store()?.vectors(ids)
    }

    /// The ids of the chunks of the document at `path`, in its order; empty when there is none.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the manifest cannot be read.
    pub fn chunks_of(&self, path: &str) -> Result<Vec<ChunkId>> {
        self.manifest().chunks_of(path)
    }

    /// Every document, by path.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the manifest cannot be read.
    pub fn documents(&self) -> Result<Vec<Known>> {
        self.manifest().documents()
    }

    /// How many documents can be found: those its collection's filter chooses, or all.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the manifest cannot be read.
    pub fn findable(&self) -> Result<u64> {
        match &self.chosen {
            Some(findable) => Ok(findable.documents as u64),
            None => Ok(self.stats()?.documents),
        }
    }

    /// How much there is.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the manifest cannot be read.
    pub fn stats(&self) -> Result<Stats> {
        self.manifest().stats()
    }

    /// Holds the three against each other. A store that is lost counts as empty.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the manifest cannot be read.
    pub fn verify(&self) -> Result<Agreement> {
        let known = self.manifest().ids()?;
        let or_empty = |ids: Result<Vec<ChunkId>>| match ids {
            Err(Error::Corrupt(_)) => Ok(Vec::new()),
            ids => ids,
        };
        let vectors = or_empty(self.store().and_then(Store::ids))?;
        let vectors = Difference::between(&known, &vectors);
        // On a server they are parts of the same points.
        let words = match self.collection.profile.server {
            Some(_) => vectors.clone(),
            None => Difference::between(&known, &or_empty(self.words().map(Words::ids))?),
        };
        Ok(Agreement { chunks: known.len(), vectors, words })
    }

    fn chosen(&self) -> Option<&Chosen> {
        self.chosen.as_ref().map(|findable| &findable.chosen)
    }

    fn store(&self) -> Result<&Store> {
        let profile = &self.collection.profile;
        self.once(&self.store, || {
            if let Some(server) = &profile.server {
                let name = name_on_server(server, self.folders);
                return Store::server(&name, server, settings(profile), &profile.lexical, false);
            }
            let dir = vectors_dir(&self.collection.dir, self.folders);
            match dir.is_dir() {
                true => Store::edge(&dir, settings(profile)),
                false => Err(lost(&dir)),
            }
        })
    }

    fn once<'a, T>(&self, cell: &'a OnceLock<T>, open: impl FnOnce() -> Result<T>) -> Result<&'a T> {
        if let Some(value) = cell.get() {
            return Ok(value);
        }
        let _opening = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        match cell.get() {
            Some(value) => Ok(value),
            None => open().map(|value| cell.get_or_init(|| value)),
        }
    }

    fn manifest(&self) -> MutexGuard<'_, Manifest> {
        self.manifest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first `k` of what `search` finds that the manifest knows: asks for more while some were unknown.
    fn known(
        &self,
        k: usize,
        search: impl Fn(usize) -> Result<Vec<(ChunkId, f32)>>,
    ) -> Result<Vec<(ChunkId, f32)>> {
        let mut count = k;
        loop {
            let found = search(count)?;
            let complete = found.len() < count;
            let manifest = self.manifest();
            let mut known = Vec::with_capacity(k.min(found.len()));
            for hit in found {
                if manifest.knows(hit.0)? {
                    known.push(hit);
                }
            }
            if complete || known.len() >= k {
                known.truncate(k);
                return Ok(known);
            }
            count = count.saturating_mul(2);
        }
    }
}

/// Whether vectors and words are those of the manifest's chunks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Agreement {
    /// In the manifest.
    pub chunks: usize,
    pub vectors: Difference,
    pub words: Difference,
}

impl Agreement {
    pub fn agrees(&self) -> bool {
        self.vectors == Difference::default() && self.words == Difference::default()
    }
}

/// How a store differs from the manifest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Difference {
    /// In the manifest only.
    pub missing: Vec<ChunkId>,
    /// In the store only.
    pub unknown: Vec<ChunkId>,
}

impl Difference {
    /// Both sides ascending.
    pub(super) fn between(known: &[ChunkId], there: &[ChunkId]) -> Self {
        let without = |a: &[ChunkId], b: &[ChunkId]| -> Vec<ChunkId> {
            a.iter().copied().filter(|id| b.binary_search(id).is_err()).collect()
        };
        Self { missing: without(known, there), unknown: without(there, known) }
    }
}

fn missing(dir: &Path) -> Error {
    let name =
        dir.file_name().map_or_else(|| dir.display().to_string(), |name| name.to_string_lossy().into_owned());
    let error = Error::not_found(format!("there is no collection `{name}`"));
    let others = siblings(dir);
    let make = format!("make it with `incontext ingest PATH -c {name}`");
    error.hint(match closest(&name, others.iter().map(String::as_str)) {
        Some(meant) => format!("did you mean `{meant}`? Or {make}"),
        None if others.is_empty() => make,
        None => format!("collections here: {}; or {make}", others.join(", ")),
    })
}

/// The collections beside the one in `dir`, sorted.
fn siblings(dir: &Path) -> Vec<String> {
    let beside = dir.parent().and_then(|all| std::fs::read_dir(all).ok());
    let there =
        beside.into_iter().flatten().flatten().filter(|entry| entry.path().join(manifest::FILE).exists());
    let mut names: Vec<String> = there.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.retain(|name| !name.starts_with('.'));
    names.sort();
    names
}

fn lost(dir: &Path) -> Error {
    Error::corrupt(format!("`{}` is gone", dir.display()))
        .hint("`incontext ingest` again rebuilds what is missing")
}
