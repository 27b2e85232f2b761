//! Files -> Documents: which files, how each is read, and the one door they all come through.
//!
//! The *name* of a file decides how it is read ([`format_of`]); its bytes only decide whether it is what the name says.
//! Every loader keeps the way back to the file's own bytes where they can be read, because a citation has to open at the
//! right place. A loader reads one file and looks at nothing else: no links are followed, nothing is fetched, nothing is
//! run but what the person's own command line names ([`Readers`]).

mod archive;
pub mod child;
mod code;
mod docx;
mod epub;
mod extracted;
mod format;
mod html;
mod json;
mod json_lines;
mod json_places;
pub mod markdown;
mod notebook;
mod paths;
mod pdf;
mod plain;
mod readers;
mod rst;
mod table;
mod text_builder;
mod walk;
mod xml;

use std::fs::File as Handle;
use std::io::Read;
use std::path::Path;

pub use format::format_of;
pub use json_lines::record_id;
pub use paths::display_path;
pub use readers::Readers;
pub use walk::{File, Walk, walk};

use super::boundaries::trimmed;
use super::document::{Document, Format};
use crate::bytes::size;
use crate::error::{Error, IoContext, Result};

/// The byte order mark some editors write; it stays in the source and belongs to no block.
pub(crate) const BOM: &str = "\u{feff}";

/// A NUL among this many first bytes means "not text" before the whole file is looked at.
const SNIFFED: usize = 8 * 1024;

/// The bytes of the file at `path` if there are no more than `most`: whatever it claims to be long, and however long it
/// grows meanwhile, no more are held in memory.
///
/// # Errors
/// `Io` when it cannot be read, `TooLong` when there are more.
pub fn read(path: &Path, most: u64) -> Result<Vec<u8>> {
    let mut file = Handle::open(path).at("read", path)?;
    let claimed = file.metadata().map_or(0, |meta| meta.len());
    let mut bytes = Vec::new();
    if claimed <= most {
        file.by_ref().take(most.saturating_add(1)).read_to_end(&mut bytes).at("read", path)?;
    }
    let length = claimed.max(bytes.len() as u64);
    if length <= most {
        return Ok(bytes);
    }
    Err(Error::too_long(format!(
        "`{}` has {}, a document at most {}",
        path.display(),
        size(length),
        size(most)
    )))
}

/// Reads `bytes`, the content of a file called `name`, in this process; a name of no known kind is read as plain text.
/// Files that may do harm are better read by [`Readers`].
///
/// # Errors
/// `Invalid` when the bytes are not UTF-8 text or not what the name promises; it names the file and the place.
pub fn parse(name: &str, bytes: Vec<u8>) -> Result<Document> {
    parse_as(format_of(Path::new(name)).unwrap_or(Format::Text), name, bytes)
}

fn parse_as(format: Format, name: &str, bytes: Vec<u8>) -> Result<Document> {
    let document = match format {
        Format::Pdf => taken_out(format, name, bytes, pdf::read),
        Format::Docx => taken_out(format, name, bytes, docx::read),
        Format::Epub => taken_out(format, name, bytes, epub::read),
        _ => decode(bytes).and_then(|source| parse_text(format, name, source)),
    };
    document.map_err(|error| error.within(format_args!("`{name}`")))
}

/// The document `name` whose text `read` takes out of `bytes`.
fn taken_out(
    format: Format,
    name: &str,
    bytes: Vec<u8>,
    read: impl FnOnce(Vec<u8>) -> Result<extracted::Extracted>,
) -> Result<Document> {
    let file = blake3::hash(&bytes).to_hex().to_string();
    read(bytes)?.document(name, format, file)
}

fn parse_text(format: Format, name: &str, source: String) -> Result<Document> {
    Ok(match format {
        Format::Markdown => markdown::read(name, source),
        Format::Html => html::read(name, source),
        Format::JsonLines => json_lines::read(name, source)?,
        Format::Code => code::read(name, source),
        Format::Table => table::read(name, source)?,
        Format::Json => json::read(name, source)?,
        Format::Notebook => notebook::read(name, source)?,
        Format::Rst => rst::read(name, source),
        _ => plain::read(name, source),
    })
}

/// The bytes as text, or where they stop being text.
fn decode(bytes: Vec<u8>) -> Result<String> {
    const SAVE_AS: &str = "save it as UTF-8 text, or leave it out with a line in .ignore";
    if let Some(at) = bytes.iter().take(SNIFFED).position(|&byte| byte == 0) {
        return Err(Error::invalid(format!("not text: NUL at byte {at}")).hint(SAVE_AS));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Error::invalid(format!("not UTF-8: byte {at} starts no character")).hint(SAVE_AS)
    })
}

/// Where the text of `source` starts: after a byte order mark, if there is one.
fn after_bom(source: &str) -> usize {
    if source.starts_with(BOM) { BOM.len() } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_text_is_refused_by_name_and_byte() {
        let error = parse("a.md", b"ok \xff".to_vec()).unwrap_err();
        assert!(matches!(error, Error::Invalid(_)));
        assert_eq!(error.to_string(), "`a.md`: not UTF-8: byte 3 starts no character");
        let error = parse("a.md", b"a\0b".to_vec()).unwrap_err();
        assert_eq!(error.to_string(), "`a.md`: not text: NUL at byte 1");
        assert!(error.advice().is_some());
    }

    #[test]
    fn a_byte_order_mark_stays_in_the_source_and_out_of_the_blocks() {
        for name in ["a.md", "a.txt", "a.rs", "a.html", "a.jsonl"] {
            let body = if name == "a.jsonl" { "{\"text\":\"one\"}" } else { "one" };
            let document = parse(name, format!("{BOM}{body}").into_bytes()).unwrap();
            assert!(document.source.starts_with(BOM), "{name}");
            let block = document.blocks.last().unwrap();
            assert_eq!(&document.text[block.range.clone()], "one", "{name}");
            let back = document.origin.source_range(block.range.clone());
            assert_eq!(&document.source[back], "one", "{name}");
        }
    }

    #[test]
    fn carriage_returns_stay_and_are_not_part_of_a_block() {
        let document = parse("a.txt", b"one\r\ntwo\r\n\r\nthree\r\n".to_vec()).unwrap();
        let blocks: Vec<_> = document.blocks.iter().map(|b| &document.text[b.range.clone()]).collect();
        assert_eq!(blocks, ["one\r\ntwo", "three"]);
        assert_eq!(document.text, document.source);
    }
}
