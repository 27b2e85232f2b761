//! Cleaning up after a writer that was killed, and noticing what somebody deleted.

use std::path::Path;

use super::Writer;
use crate::error::{Error, IoContext, Result};
use crate::index::ChunkId;
use crate::index::collection::Difference;
use crate::index::layout::{open_store, sweep_stores, words_dir};
use crate::index::lexical::Words;
use crate::index::lock::{Lock, Mode, Patience};
use crate::index::manifest::Folders;

/// What [`Writer::open`] found left behind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Vectors and words of no chunk, deleted.
    pub deleted: usize,
    /// Documents whose vectors or words were lost: they are stale now.
    pub stale: usize,
}

impl Writer {
    /// Makes vectors and words agree with the manifest.
    pub(super) fn recover(&mut self) -> Result<Recovery> {
        let _data = Lock::data(&self.dir, Mode::Exclusive, &mut Patience::default())?;
        // What was added but not committed goes with it.
        self.words = None;
        let known = self.manifest.ids()?;
        let vectors = self.recover_vectors(&known)?;
        let words = match self.profile.server {
            Some(_) => Difference::default(),
            None => self.recover_words(&known)?,
        };
        let folders = self.manifest.folders()?;
        sweep_stores(&self.dir, &self.profile, folders)?;
        let lost = [vectors.missing, words.missing].concat();
        let stale = if lost.is_empty() { 0 } else { self.manifest.mark_stale(&lost)? };
        self.unfinished = false;
        Ok(Recovery { deleted: vectors.unknown.len() + words.unknown.len(), stale })
    }

    fn recover_vectors(&mut self, known: &[ChunkId]) -> Result<Difference> {
        let opened = self.store().and_then(|store| {
            // Asking a server for the ids of ten million chunks takes minutes, for their number no time. Only a process that
            // was killed leaves some behind, and then there are more.
            let as_many = self.profile.server.is_some() && store.count()? == known.len();
            let ids = if as_many { known.to_vec() } else { store.ids()? };
            Ok((store, ids))
        });
        let (mut store, vectors) = match opened {
            Err(Error::Corrupt(_)) => {
                let before = self.manifest.folders()?;
                let folders = Folders { vectors: before.vectors + 1, ..before };
                let store = open_store(&self.dir, &self.profile, folders, true)?;
                self.manifest.set_folders(folders)?;
                (store, Vec::new())
            }
            opened => opened?,
        };
        let difference = Difference::between(known, &vectors);
        if !difference.unknown.is_empty() {
            store.delete(&difference.unknown)?;
            store.flush()?;
        }
        Ok(difference)
    }

    fn recover_words(&mut self, known: &[ChunkId]) -> Result<Difference> {
        let lexical = self.profile.lexical.clone();
        let read = |writer: &mut Self| {
            writer.words()?;
            Words::open(&words_dir(&writer.dir, writer.manifest.folders()?), &lexical)
                .map(|words| words.ids())
        };
        let words = match read(self) {
            Err(Error::Corrupt(_)) => {
                self.words = None;
                let before = self.manifest.folders()?;
                self.manifest.set_folders(Folders { words: before.words + 1, ..before })?;
                read(self)?
            }
            words => words?,
        };
        let difference = Difference::between(known, &words);
        if !difference.unknown.is_empty() {
            let writer = self.words()?;
            writer.delete(&difference.unknown);
            writer.commit()?;
        }
        Ok(difference)
    }
}

/// Removes a manifest that cannot be read. Its log goes first: SQLite would play it back into the next manifest.
pub(super) fn discard(dir: &Path, manifest: &Path) -> Result<()> {
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
