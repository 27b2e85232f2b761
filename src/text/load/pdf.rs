//! PDF: letters with places on pages, put together to lines, paragraphs and headings in reading order.
//!
//! Nothing of a page's pictures is read, so a scan without a text layer has no text and is refused by name. Which letters
//! stand where is worked out by `hayro`; everything behind that is here: [`letters`], [`lines`], [`margins`], [`hyphens`],
//! [`paragraphs`]. A file may be made to harm: whoever reads one that is not their own does so in a [`super::child`].

mod hyphens;
mod letters;
mod lines;
mod margins;
mod paragraphs;

use std::panic::{AssertUnwindSafe, catch_unwind};

use hayro_interpret::InterpreterCache;
use hayro_interpret::hayro_syntax::{DecryptionError, LoadPdfError, Pdf};

use super::extracted::Extracted;
use crate::error::{Error, Result};
use crate::text::document::BlockKind;

/// The text of the PDF `bytes`.
///
/// # Errors
/// `Invalid`, with what to do, for what is no PDF, is damaged or cut off, is locked by a password, or holds no text.
pub(super) fn read(bytes: Vec<u8>) -> Result<Extracted> {
    // A fault of the library is the file's: it is made of bytes from anywhere.
    catch_unwind(AssertUnwindSafe(|| extract(bytes))).unwrap_or_else(|_| Err(damaged()))
}

fn damaged() -> Error {
    Error::invalid("a damaged PDF").hint("open it in a viewer and save or print it as a new PDF")
}

fn cut_off() -> Error {
    Error::invalid("a PDF that is cut off: its end is missing").hint("copy or download it again")
}

fn extract(bytes: Vec<u8>) -> Result<Extracted> {
    const START: usize = 1024;
    let start = &bytes[..bytes.len().min(START)];
    if !start.windows(5).any(|at| at == b"%PDF-") {
        return Err(Error::invalid("not a PDF: it does not begin with `%PDF-`")
            .hint("give it the ending of what it is, or leave it out with a line in .ignore"));
    }
    let complete = bytes[bytes.len().saturating_sub(START)..].windows(5).any(|at| at == b"%%EOF");
    let pdf = Pdf::new(bytes).map_err(|error| match error {
        LoadPdfError::Decryption(DecryptionError::PasswordProtected) => {
            Error::invalid("locked by a password").hint("save a copy without one, and ingest that")
        }
        LoadPdfError::Decryption(_) => {
            Error::invalid("encrypted in a way that cannot be read").hint("save a copy without encryption")
        }
        LoadPdfError::Invalid if !complete => cut_off(),
        LoadPdfError::Invalid => damaged(),
    })?;
    if !complete {
        return Err(cut_off());
    }
    if pdf.pages().is_empty() {
        return Err(damaged());
    }
    let cache = InterpreterCache::new();
    let (mut known, mut unknown) = (0, 0);
    let mut pages = Vec::new();
    for page in pdf.pages().iter() {
        let letters = letters::letters(page, &cache);
        let nameless = letters.iter().filter(|letter| letter.text.is_empty()).count();
        (known, unknown) = (known + letters.len() - nameless, unknown + nameless);
        pages.push(lines::lines(&letters));
    }
    if unknown > known {
        return Err(Error::invalid("a PDF that does not say which letters its signs are").hint(
            "make it anew from what it was made of, or read it by OCR, such as with `ocrmypdf --force-ocr`",
        ));
    }
    if known == 0 {
        return Err(Error::invalid(format!(
            "a PDF of {} pages without text: pictures of pages",
            pages.len()
        ))
        .hint("add the text by OCR, such as with `ocrmypdf`"));
    }
    margins::remove(&mut pages);
    let mut extracted = paragraphs::read(&pages);
    extracted.title =
        pdf.metadata().title.as_deref().and_then(sensible).or_else(|| first_heading(&extracted));
    Ok(extracted)
}

/// A title that somebody gave, not the name of the file some program made it from.
fn sensible(raw: &[u8]) -> Option<String> {
    let title = match raw {
        [0xfe, 0xff, wide @ ..] => {
            let units = wide.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
            char::decode_utf16(units).map(|letter| letter.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
        }
        [0xef, 0xbb, 0xbf, utf8 @ ..] => String::from_utf8_lossy(utf8).into_owned(),
        // Where it is not UTF-8, it is nearly Latin-1.
        raw => {
            String::from_utf8(raw.to_vec()).unwrap_or_else(|_| raw.iter().copied().map(char::from).collect())
        }
    };
    let title = title.split_whitespace().collect::<Vec<_>>().join(" ");
    let lower = title.to_lowercase();
    let is_file = [".doc", ".docx", ".tex", ".dvi", ".indd", ".pdf", ".odt", ".rtf", ".ppt", ".pptx", ".xls"]
        .iter()
        .any(|ending| lower.ends_with(ending));
    let is_nothing = title.len() < 3
        || title.contains(|letter: char| letter.is_control() || letter == char::REPLACEMENT_CHARACTER)
        || lower.starts_with("untitled")
        || lower.starts_with("microsoft ")
        || !title.contains(char::is_alphabetic);
    (!is_file && !is_nothing).then_some(title)
}

/// The largest heading of the first page; of several, the first.
fn first_heading(extracted: &Extracted) -> Option<String> {
    let second = extracted.pages.iter().find(|page| page.number > 1).map_or(usize::MAX, |page| page.text);
    let headings = extracted.blocks.iter().filter(|block| block.range.start < second);
    let levelled = headings.filter_map(|block| match block.kind {
        BlockKind::Heading(level) => Some((level, block)),
        _ => None,
    });
    levelled.min_by_key(|(level, _)| *level).map(|(_, block)| extracted.text[block.range.clone()].to_owned())
}

#[cfg(test)]
mod tests;
