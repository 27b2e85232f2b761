//! A model's folder in the cache: which of its files are here and known to be right, and who may change it.
//!
//! Hashing 90 MB at every start would be felt, so what was once verified is remembered in a stamp: for each file its
//! sha256, size and modification time. A file that no longer matches its stamp is hashed again. The stamp guards
//! against damage and half-finished copies, not against somebody who can write to the cache.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use super::aside::{part_of, sha256_of};
use super::catalogue::{Entry, Layout, Pinned};
use super::{ModelPath, Progress};
use crate::error::{IoContext, Result};
use crate::files;

const STAMP: &str = ".verified.json";

pub(super) struct Folder {
    pub entry: &'static Entry,
    /// The cache that holds this folder among others.
    root: PathBuf,
    pub path: PathBuf,
}

/// What was verified, by [`Pinned::path`].
type Stamp = BTreeMap<String, Verified>;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Verified {
    sha256: String,
    size: u64,
    /// Nanoseconds since 1970; a number of its own because JSON readers disagree on dates.
    modified: u64,
}

/// Which pinned files are not as they should be.
#[derive(Debug, Default)]
pub(super) struct Gaps {
    pub absent: Vec<&'static Pinned>,
    pub damaged: Vec<&'static Pinned>,
}

impl Gaps {
    pub fn all(self) -> Vec<&'static Pinned> {
        self.absent.into_iter().chain(self.damaged).collect()
    }
}

impl Folder {
    pub fn new(root: PathBuf, entry: &'static Entry) -> Self {
        let path = root.join(entry.name);
        Self { entry, root, path }
    }

    pub fn file(&self, pinned: &Pinned) -> PathBuf {
        self.path.join(pinned.path)
    }

    /// The model as its users name it, whether or not it is here.
    pub fn model(&self) -> ModelPath {
        let path = match self.entry.layout {
            Layout::Directory => self.path.clone(),
            Layout::Gguf => self.file(self.entry.weights()),
        };
        let Entry { name, kind, layout, .. } = *self.entry;
        ModelPath { name: name.to_owned(), path, kind: Some(kind), layout }
    }

    /// Whether every file is here and as it was when it was verified; a few `stat` calls, no hashing.
    pub fn is_verified(&self) -> bool {
        let stamp = self.stamp();
        self.entry.files.iter().all(|pinned| self.matches(&stamp, pinned))
    }

    /// Bytes of this model that are here, verified or not, finished or not.
    pub fn bytes(&self) -> u64 {
        let size = |path: PathBuf| fs::metadata(path).map(|meta| meta.len()).unwrap_or(0);
        let here = |pinned: &Pinned| {
            let target = self.file(pinned);
            size(part_of(&target)).max(size(target)).min(pinned.size)
        };
        self.entry.files.iter().map(here).sum()
    }

    /// Hashes whatever the stamp does not vouch for, and remembers what was right.
    pub fn check(&self) -> Result<Gaps> {
        let stamp = self.stamp();
        self.hash(|pinned| !self.matches(&stamp, pinned))
    }

    /// Forgets what was verified and hashes everything.
    pub fn rehash(&self) -> Result<Gaps> {
        // Else a damaged file that kept its size and date would go on being trusted.
        let _ = fs::remove_file(self.path.join(STAMP));
        self.hash(|_| true)
    }

    fn hash(&self, suspect: impl Fn(&Pinned) -> bool) -> Result<Gaps> {
        let mut gaps = Gaps::default();
        for pinned in self.entry.files.iter().filter(|pinned| suspect(pinned)) {
            let path = self.file(pinned);
            match fs::metadata(&path) {
                Err(_) => gaps.absent.push(pinned),
                Ok(meta) if meta.len() == pinned.size && sha256_of(&path)? == pinned.sha256 => {
                    // In a cache that we may read but not write, every start hashes anew; that is no reason to fail.
                    let _ = self.vouch_for(pinned);
                }
                Ok(_) => gaps.damaged.push(pinned),
            }
        }
        Ok(gaps)
    }

    /// Remembers that the file now in place has the pinned bytes.
    pub fn vouch_for(&self, pinned: &Pinned) -> Result<()> {
        let path = self.file(pinned);
        let meta = fs::metadata(&path).at("read", &path)?;
        let mut stamp = self.stamp();
        let verified =
            Verified { sha256: pinned.sha256.to_owned(), size: meta.len(), modified: modified(&meta) };
        stamp.insert(pinned.path.to_owned(), verified);
        // A name nobody else uses: two that verify at once must not write into each other's file. No fsync: a stamp
        // lost with the power costs one hashing.
        static WRITTEN: AtomicU64 = AtomicU64::new(0);
        let number = WRITTEN.fetch_add(1, Ordering::Relaxed);
        let aside = self.path.join(format!("{STAMP}.{}.{number}", std::process::id()));
        let target = self.path.join(STAMP);
        fs::write(&aside, serde_json::to_vec_pretty(&stamp).unwrap_or_default()).at("write", &aside)?;
        fs::rename(&aside, &target).at("write", &target)
    }

    /// Waits until nobody else changes this folder; the lock ends with the returned file, also when the process dies.
    pub fn lock(&self, progress: &mut dyn FnMut(Progress<'_>)) -> Result<File> {
        fs::create_dir_all(&self.path).at("create", &self.path)?;
        let path = self.root.join(format!(".{}.lock", self.entry.name));
        if let Some(lock) = files::try_lock(&path)? {
            return Ok(lock);
        }
        progress(Progress::Waiting { name: self.entry.name });
        let file = File::open(&path).at("open", &path)?;
        file.lock().at("lock", &path)?;
        Ok(file)
    }

    /// A place for the package client to work in: beside the folder, hence on the same file system, and always the
    /// same, so that what a killed process left behind is found and removed by the next. Only under the lock.
    pub fn scratch(&self) -> PathBuf {
        self.root.join(format!(".{}.wheel", self.entry.name))
    }

    fn stamp(&self) -> Stamp {
        // A stamp that cannot be read vouches for nothing; the price is hashing once more.
        let bytes = fs::read(self.path.join(STAMP)).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    fn matches(&self, stamp: &Stamp, pinned: &Pinned) -> bool {
        let Some(verified) = stamp.get(pinned.path).filter(|verified| verified.sha256 == pinned.sha256)
        else {
            return false;
        };
        let same = |meta: Metadata| meta.len() == verified.size && modified(&meta) == verified.modified;
        fs::metadata(self.file(pinned)).is_ok_and(same)
    }
}

fn modified(meta: &Metadata) -> u64 {
    let since = meta.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since.map_or(0, |age| age.as_nanos() as u64)
}
