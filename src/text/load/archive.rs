//! The files inside a zip, read with limits: an archive of a few kilobytes may claim to hold a terabyte, and may even do so.

use std::io::{Cursor, Read};

use zip::ZipArchive;
use zip::result::ZipError;

use crate::bytes::{MEGABYTE, size};
use crate::error::{Error, Result};

/// Files inside.
const FILES: usize = 20_000;
/// Bytes of all files together that are read, unpacked: some times the text of the longest book.
const UNPACKED: u64 = 64 * MEGABYTE;
/// Marked-up text is packed to a tenth, at the very most to a hundredth.
const RATIO: u64 = 200;
/// Below this nobody is harmed by any ratio.
const SMALL: u64 = MEGABYTE;

/// A zip in memory.
pub(super) struct Archive {
    zip: ZipArchive<Cursor<Vec<u8>>>,
    /// Bytes that may still be unpacked.
    left: u64,
}

impl Archive {
    /// # Errors
    /// `Invalid` for bytes that are no zip, or a damaged one, or one of too many files.
    pub(super) fn open(bytes: Vec<u8>) -> Result<Self> {
        // What a word processor writes when a password is set is a store of another kind.
        const LOCKED: &[u8] = b"\xd0\xcf\x11\xe0";
        if bytes.starts_with(LOCKED) {
            return Err(Error::invalid("locked by a password, or of an older format")
                .hint("save it anew in the current format and without a password"));
        }
        let zip = ZipArchive::new(Cursor::new(bytes)).map_err(damaged)?;
        if zip.len() > FILES {
            return Err(Error::invalid(format!("holds {} files, at most {FILES} are looked at", zip.len()))
                .hint("leave it out with a line in .ignore"));
        }
        Ok(Self { zip, left: UNPACKED })
    }

    /// The text of the file `name` inside; `None` when there is none of this name.
    ///
    /// # Errors
    /// `Invalid` when it is damaged, locked, no UTF-8, or unpacks to more than anybody writes.
    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>> {
        let file = match self.zip.by_name(name) {
            Err(ZipError::FileNotFound) => return Ok(None),
            file => file.map_err(damaged)?,
        };
        let packed = file.compressed_size();
        let most = self.left.min(packed.saturating_mul(RATIO).max(SMALL));
        let mut bytes = Vec::new();
        file.take(most + 1).read_to_end(&mut bytes).map_err(|error| damaged(ZipError::Io(error)))?;
        if bytes.len() as u64 > most {
            return Err(Error::invalid(format!(
                "`{name}` inside, of {}, unpacks to more than {}",
                size(packed),
                size(most)
            ))
            .hint(
                "it may be made to fill your memory; if it is yours, save it in parts or convert it to text",
            ));
        }
        self.left -= bytes.len() as u64;
        // A byte order mark is not text.
        let text = String::from_utf8(bytes).map_err(|_| damage(format!("`{name}` inside is not UTF-8")))?;
        Ok(Some(text.trim_start_matches(super::BOM).to_owned()))
    }
}

fn damaged(error: ZipError) -> Error {
    match error {
        ZipError::UnsupportedArchive(ZipError::PASSWORD_REQUIRED) => {
            Error::invalid("locked by a password").hint("save it without one")
        }
        error => damage(format!("not a whole zip archive, which this format is: {error}")),
    }
}

/// What cannot be read, and the way out.
pub(super) fn damage(what: impl Into<String>) -> Error {
    Error::invalid(what)
        .hint("open it in the program it comes from and save it anew, or leave it out with a line in .ignore")
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Write;

    use super::*;

    /// A zip of `files`, packed.
    pub fn zipped(files: &[(&str, &str)]) -> Vec<u8> {
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (name, content) in files {
            zip.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
            zip.write_all(content.as_bytes()).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }

    #[test]
    fn a_bomb_is_refused_before_it_is_unpacked() {
        let bytes = zipped(&[("a", &"0".repeat(8_000_000)), ("b", "fine")]);
        assert!(bytes.len() < 20_000);
        let mut archive = Archive::open(bytes).unwrap();
        let error = archive.text("a").unwrap_err().to_string();
        assert!(error.contains("unpacks to more than"), "{error}");
        assert_eq!(archive.text("b").unwrap().as_deref(), Some("fine"));
        assert_eq!(archive.text("c").unwrap(), None);
    }

    #[test]
    fn what_is_no_zip_is_refused() {
        for bytes in [&b""[..], b"PK\x03\x04 and then nothing", b"\xd0\xcf\x11\xe0 old"] {
            let error = Archive::open(bytes.to_vec()).err().unwrap();
            assert!(error.advice().is_some(), "{error}");
        }
    }
}
