//! Vectors that were computed before, on disk, by what was embedded and by which encoder.
//!
//! ```text
//! <home>/cache/embeddings/v1/<encoder's fingerprint>/<blake3 of the segment>.vectors
//!
//! segment   dimension u32, count u32, count x (blake3 of the text 32 bytes, dimension x f32), blake3 of all that 32 bytes
//! ```
//!
//! Numbers are little-endian. A segment is written aside and renamed, named by its content and never changed, so programs
//! may add to one folder at a time. One that is cut short or damaged does not match its last 32 bytes: it is removed, and
//! its texts are embedded again. Nothing here is the only copy of anything: the folder may be deleted at any time.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::{Embedder, Overflow};
use crate::error::{IoContext, Result};
use crate::files;

/// The layout above. Another one gets another folder.
const VERSION: &str = "v1";
const EXTENSION: &str = "vectors";
const DIGEST: usize = blake3::OUT_LEN;

/// Texts of a segment: what a process that is killed has to embed again, at most.
const SEGMENT: usize = 1024;

type Key = [u8; DIGEST];

/// Vectors of one encoder.
pub struct Cache<'a> {
    embedder: &'a Embedder,
    dir: PathBuf,
    vectors: HashMap<Key, Vec<f32>>,
}

impl<'a> Cache<'a> {
    /// What the folder `dir` holds of `embedder`; it need not exist yet.
    ///
    /// # Errors
    /// `Io` when it cannot be read.
    pub fn open(dir: &Path, embedder: &'a Embedder) -> Result<Self> {
        let dir = dir.join(VERSION).join(embedder.fingerprint());
        let mut cache = Self { embedder, dir, vectors: HashMap::new() };
        if !cache.dir.exists() {
            return Ok(cache);
        }
        for entry in std::fs::read_dir(&cache.dir).at("read", &cache.dir)? {
            let path = entry.at("read", &cache.dir)?.path();
            if path.extension().is_none_or(|extension| extension != EXTENSION) {
                continue;
            }
            match segment(&std::fs::read(&path).at("read", &path)?, embedder.dimension()) {
                Some(vectors) => cache.vectors.extend(vectors),
                None => std::fs::remove_file(&path).at("remove", &path)?,
            }
        }
        Ok(cache)
    }

    /// A unit vector for each text, in order; a text beyond the window is read as far as that reaches. Only what was not
    /// embedded before is, and kept. `progress` hears of the bytes of text that are done, more and more.
    ///
    /// # Errors
    /// As [`Embedder::embed`], and `Io` when the folder cannot be written to.
    pub fn embed(&mut self, texts: &[&str], mut progress: impl FnMut(u64)) -> Result<Vec<Vec<f32>>> {
        let keys: Vec<Key> = texts.iter().map(|text| *blake3::hash(text.as_bytes()).as_bytes()).collect();
        let mut wanted: HashMap<Key, &str> = HashMap::new();
        let mut missing: Vec<(Key, &str)> = Vec::new();
        for (key, text) in keys.iter().zip(texts) {
            if !self.vectors.contains_key(key) && wanted.insert(*key, text).is_none() {
                missing.push((*key, text));
            }
        }
        let mut done = (texts.iter().map(|text| text.len()).sum::<usize>()
            - missing.iter().map(|(_, text)| text.len()).sum::<usize>()) as u64;
        progress(done);
        for batch in missing.chunks(SEGMENT) {
            let texts: Vec<&str> = batch.iter().map(|(_, text)| *text).collect();
            let vectors = self.embedder.embed(&texts, Overflow::Truncate)?;
            let bytes = bytes(batch.iter().map(|(key, _)| key).zip(&vectors), self.embedder.dimension());
            let name = blake3::hash(&bytes).to_hex();
            files::replace(&self.dir.join(format!("{name}.{EXTENSION}")), &bytes)?;
            self.vectors.extend(batch.iter().map(|(key, _)| *key).zip(vectors));
            done += texts.iter().map(|text| text.len() as u64).sum::<u64>();
            progress(done);
        }
        Ok(keys.iter().map(|key| self.vectors.get(key).cloned().unwrap_or_default()).collect())
    }
}

fn bytes<'v>(records: impl ExactSizeIterator<Item = (&'v Key, &'v Vec<f32>)>, dimension: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(8 + records.len() * (DIGEST + 4 * dimension) + DIGEST);
    bytes.extend((dimension as u32).to_le_bytes());
    bytes.extend((records.len() as u32).to_le_bytes());
    for (key, vector) in records {
        bytes.extend(key);
        bytes.extend(vector.iter().flat_map(|value| value.to_le_bytes()));
    }
    let digest = blake3::hash(&bytes);
    bytes.extend(digest.as_bytes());
    bytes
}

/// What a segment holds; `None` unless it is whole and of that dimension.
fn segment(bytes: &[u8], dimension: usize) -> Option<Vec<(Key, Vec<f32>)>> {
    let (content, digest) = bytes.split_at_checked(bytes.len().checked_sub(DIGEST)?)?;
    if blake3::hash(content).as_bytes() != digest {
        return None;
    }
    let (head, records) = content.split_first_chunk::<8>()?;
    let number =
        |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]) as usize;
    let size = DIGEST + 4 * dimension;
    if number(0) != dimension || records.len() != number(4).checked_mul(size)? {
        return None;
    }
    let record = |record: &[u8]| {
        let (key, vector) = record.split_first_chunk::<DIGEST>()?;
        let value = |bytes: &[u8]| Some(f32::from_le_bytes(bytes.try_into().ok()?));
        Some((*key, vector.chunks_exact(4).map(value).collect::<Option<_>>()?))
    };
    records.chunks_exact(size).map(record).collect()
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::embed::LocalEncoder;

    fn tiny() -> Embedder {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/tiny/bert");
        Embedder::Local(LocalEncoder::load("tiny", &dir, &Device::Cpu).unwrap())
    }

    fn segments(dir: &Path, embedder: &Embedder) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(dir.join(VERSION).join(embedder.fingerprint())).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    const TEXTS: [&str; 3] = ["green tea", "black tea", "green tea"];

    #[test]
    fn what_was_embedded_once_comes_back_to_the_bit_and_only_the_rest_is_computed() {
        let (dir, embedder) = (tempfile::tempdir().unwrap(), tiny());
        let fresh = embedder.embed(&TEXTS, Overflow::Truncate).unwrap();
        let mut seen = Vec::new();
        let mut cache = Cache::open(dir.path(), &embedder).unwrap();
        let first = cache.embed(&TEXTS, |bytes| seen.push(bytes)).unwrap();
        assert_eq!(seen, [9, 27], "the third text is the first");
        assert_eq!(first[0], first[2]);
        for (cached, fresh) in first.iter().zip(&fresh) {
            assert!(cached.iter().zip(fresh).all(|(a, b)| (a - b).abs() < 1e-4));
        }
        seen.clear();
        let mut again = Cache::open(dir.path(), &embedder).unwrap();
        assert_eq!(again.embed(&TEXTS, |bytes| seen.push(bytes)).unwrap(), first);
        assert_eq!(seen, [27]);
        assert_eq!(segments(dir.path(), &embedder).len(), 1);
        again.embed(&["white tea"], |_| {}).unwrap();
        assert_eq!(segments(dir.path(), &embedder).len(), 2);
    }

    #[test]
    fn a_segment_cut_anywhere_or_changed_is_removed_and_made_again() {
        let (dir, embedder) = (tempfile::tempdir().unwrap(), tiny());
        let whole = Cache::open(dir.path(), &embedder).unwrap().embed(&TEXTS, |_| {}).unwrap();
        let file = segments(dir.path(), &embedder).remove(0);
        let bytes = std::fs::read(&file).unwrap();
        assert!(segment(&bytes, embedder.dimension()).is_some());
        for length in 0..bytes.len() {
            assert!(segment(&bytes[..length], embedder.dimension()).is_none(), "{length}");
        }
        let mut flipped = bytes.clone();
        flipped[50] ^= 1;
        for damaged in [&bytes[..bytes.len() / 2], &flipped] {
            std::fs::write(&file, damaged).unwrap();
            let mut cache = Cache::open(dir.path(), &embedder).unwrap();
            assert!(!file.exists());
            assert_eq!(cache.embed(&TEXTS, |_| {}).unwrap(), whole);
            assert_eq!(std::fs::read(&file).unwrap(), bytes);
        }
    }
}
