//! Whether the disk has room for what is about to be written.
//!
//! Qdrant writes through mapped files, and a mapped page for which the disk has no room ends the process at once (SIGBUS),
//! without a word and without a way to catch it. So room is made sure of *before* a batch; a disk that another process
//! fills in between is the one case left, and then the index is what it is after a `kill -9`: whole.

use std::path::Path;

use crate::bytes::{MEGABYTE, size};
use crate::error::{Error, Result};
use crate::text::chunk::Chunk;

/// What the stores need for themselves: log files and the pages they lay out in advance.
const RESERVE: u64 = 64 * MEGABYTE;

/// Bytes that a chunk and its vector come to: text in the manifest, its log and the word index; the vector in Qdrant and
/// in its log. Counted high, because being wrong the other way ends the process.
pub(super) fn bytes_of(chunk: &Chunk, vector: &[f32]) -> u64 {
    (4 * (chunk.header.len() + chunk.text.len()) + 3 * size_of_val(vector) + 512) as u64
}

/// # Errors
/// `Io` of kind `StorageFull`, saying how much is missing, when `bytes` and a reserve would not fit where `dir` is. A file
/// system that does not say how full it is counts as roomy.
pub(super) fn ensure(dir: &Path, bytes: u64) -> Result<()> {
    let free = fs4::available_space(dir).unwrap_or(u64::MAX);
    let wanted = bytes.saturating_add(RESERVE);
    if free >= wanted {
        return Ok(());
    }
    let what = format!("`{}` has {} left, writing needs {}", dir.display(), size(free), size(wanted));
    Err(full(what))
}

/// What a full disk is called, wherever it shows.
pub(super) fn full(what: impl Into<String>) -> Error {
    Error::io(what, std::io::ErrorKind::StorageFull.into()).hint(
        "free some space, or name a folder on another disk with --home, and run it again: what was there is kept",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_without_room_is_named_with_what_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        ensure(dir.path(), 0).unwrap();
        let error = ensure(dir.path(), u64::MAX / 2).unwrap_err();
        assert!(
            matches!(&error, Error::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull)
        );
        assert!(error.to_string().contains("GB left, writing needs "), "{error}");
        assert!(error.advice().unwrap().contains("free some space"));
    }
}
