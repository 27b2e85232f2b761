//! Which weights a model has, to the bit: an adapter means something on these and on no others.

use std::path::Path;

use super::weights::weight_files;
use crate::error::{IoContext, Result};

/// blake3 of the weights at `path`, a directory or a GGUF file, in hex; 16 digits, which nobody hits by chance.
///
/// # Errors
/// `NotFound` without weights, `Io` when they cannot be read.
pub fn fingerprint(path: &Path) -> Result<String> {
    let files = if path.is_dir() { weight_files(path)? } else { vec![path.to_owned()] };
    let mut hasher = blake3::Hasher::new();
    for file in files {
        let bytes = std::fs::read(&file).at("read", &file)?;
        hasher.update_rayon(&bytes);
    }
    Ok(hasher.finalize().to_hex()[..16].to_owned())
}
