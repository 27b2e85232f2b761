//! A file of records, one a line: JSON Lines or a table, gzipped or not; a JSON array of records is read as well.
//!
//! Whoever reads data of a person's (questions, judgements, examples) reads it through here, so that every complaint names
//! the file and the line, and every result can carry the hash of what it was computed from. What a record means is for
//! others to say.

use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use serde::de::DeserializeOwned;

use crate::error::{Error, IoContext, Result};

/// What a gzip file begins with (RFC 1952).
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// A text file, read whole.
#[derive(Debug)]
pub struct Source {
    path: PathBuf,
    /// Without a byte order mark.
    text: String,
    /// Whether it is one JSON array, whose elements are counted instead of lines.
    array: bool,
    /// blake3 of the file's bytes as they lie on disk, in hex.
    pub hash: String,
}

impl Source {
    /// Reads `path`, unpacked if it is gzipped, whatever its name.
    ///
    /// # Errors
    /// `Io` when it cannot be read, `Corrupt` for a damaged gzip file, `Invalid` for text that is not UTF-8.
    pub fn read(path: &Path) -> Result<Self> {
        let packed = std::fs::read(path).at("read", path)?;
        let hash = blake3::hash(&packed).to_hex().to_string();
        let bytes = match packed.starts_with(&GZIP) {
            false => packed,
            true => {
                let mut bytes = Vec::new();
                MultiGzDecoder::new(&packed[..]).read_to_end(&mut bytes).map_err(|error| {
                    Error::corrupt(format!("`{}` is a damaged gzip file: {error}", path.display()))
                        .hint("copy or fetch it again")
                })?;
                bytes
            }
        };
        let text = String::from_utf8(bytes).map_err(|error| {
            let good = error.utf8_error().valid_up_to();
            let line = error.as_bytes()[..good].iter().filter(|byte| **byte == b'\n').count() + 1;
            Error::invalid(format!("`{}` line {line}: not UTF-8", path.display())).hint("save it as UTF-8")
        })?;
        let text = text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text);
        let array = text.trim_start().starts_with('[');
        Ok(Self { path: path.to_owned(), text, array, hash })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Lines with something on them, with their numbers from 1.
    pub fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.text.lines()).filter(|(_, line)| !line.trim().is_empty())
    }

    /// `error` as one of `line`.
    pub fn at(&self, line: usize, error: Error) -> Error {
        let what = if self.array { "row" } else { "line" };
        error.within(format!("`{}` {what} {line}", self.path.display()))
    }

    /// Every line's JSON object, with the line's number; of an array, every element with its own.
    ///
    /// # Errors
    /// `Invalid` for the first line that is no such object.
    pub fn json_lines<T: DeserializeOwned>(&self) -> Result<Vec<(usize, T)>> {
        if self.array {
            let wrong = |error| Error::invalid(format!("`{}`: {error}", self.path.display()));
            let all: Vec<serde_json::Value> = serde_json::from_str(&self.text).map_err(wrong)?;
            let one = |(number, value)| {
                let parsed = serde_json::from_value(value).map_err(|error| Error::invalid(error.to_string()));
                parsed.map(|value| (number, value)).map_err(|error| self.at(number, error))
            };
            return (1..).zip(all).map(one).collect();
        }
        let parsed = self.lines().map(|(number, line)| match serde_json::from_str(line) {
            Ok(value) => Ok((number, value)),
            Err(error) => {
                // serde_json saw one line only: its own "at line 1" would contradict ours.
                let (why, column) = (error.to_string(), error.column());
                let why = why.split(" at line ").next().unwrap_or_default();
                Err(self.at(number, Error::invalid(format!("{why} (column {column})"))))
            }
        });
        parsed.collect()
    }
}
