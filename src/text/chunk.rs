//! Document -> chunks: passages an encoder can read whole, cut where a reader would, each knowing its place in the file.
//!
//! ```text
//! blocks -> sections (under one heading) -> ranges (at most `max_body` tokens) -> chunks (header, text, bytes, lines)
//! ```
//!
//! Sizes are counted by the encoder's own tokenizer. The document is tokenized once to decide where to cut; every finished
//! chunk is counted again as the encoder will see it, because a silent truncation there would be found by nobody.

mod pack;
mod section;
mod tokens;
mod units;

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::boundaries::trimmed;
use super::document::{Document, Origin, line_span, line_starts};
use super::tokenizer::Tokenizer;
use crate::error::{Error, Result};

/// A passage: what is embedded, found, shown to the model and cited.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// Position in its document, from 0.
    pub ordinal: u32,
    /// `title > H1 > H2`, at most 40 tokens, cut from the left; empty when the document has none.
    pub header: String,
    /// The passage itself, a slice of the document's text.
    pub text: String,
    /// Bytes of the file it came from.
    pub bytes: Range<usize>,
    /// Lines of the file, first and last, from 1.
    pub lines: (u32, u32),
    /// Tokens of header and text together as the encoder sees them, without special tokens.
    pub tokens: u32,
    /// Leads from ranges of `text` (starting at 0) back to bytes of the file, see [`Origin`]. For `Origin::Same` the
    /// source byte is `bytes.start + offset`.
    pub origin: Origin,
    /// The file's bytes at `bytes`, kept only where they differ from `text`.
    pub source: Option<String>,
}

impl Chunk {
    /// What the encoder reads.
    pub fn embedded_text(&self) -> String {
        with_header(&self.header, &self.text)
    }

    /// Where `range` of [`Chunk::text`] is in the file.
    pub fn source_range(&self, range: Range<usize>) -> Range<usize> {
        match &self.origin {
            Origin::Same | Origin::Extracted { .. } => {
                self.bytes.start + range.start..self.bytes.start + range.end
            }
            pieces => pieces.source_range(range),
        }
    }

    /// The page on which the byte `at` of [`Chunk::text`] stands, in a format that has pages.
    pub fn page(&self, at: usize) -> Option<u32> {
        self.origin.page(at)
    }

    /// The file's own bytes for `range` of [`Chunk::text`]: what a citation quotes.
    pub fn quote(&self, range: Range<usize>) -> &str {
        let at = self.source_range(range);
        let source = self.source.as_deref().unwrap_or(&self.text);
        &source[at.start - self.bytes.start..at.end - self.bytes.start]
    }
}

/// `text` as it is embedded and searched below `header`, which may be empty.
pub fn with_header(header: &str, text: &str) -> String {
    if header.is_empty() { text.to_owned() } else { format!("{header}\n{text}") }
}

/// How large chunks are, in tokens of the encoder's tokenizer. The defaults suit an encoder that reads 256 word pieces,
/// two of them its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// A chunk's text grows to this,
    pub body: usize,
    /// and up to this where that keeps a code block whole or leaves no small rest.
    pub max_body: usize,
    /// The header is cut from the left to this.
    pub header: usize,
    /// Header, line end and text together never exceed this.
    pub total: usize,
    /// Smaller chunks are merged forward inside their section.
    pub min: usize,
    /// What a chunk may repeat of the one before, in whole sentences, where a section had to be split.
    pub overlap: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { body: 200, max_body: 214, header: 40, total: 254, min: 48, overlap: 32 }
    }
}

impl Limits {
    /// # Errors
    /// `Invalid` when the numbers contradict each other; it names the two that do.
    pub fn check(&self) -> Result<()> {
        let Self { body, max_body, header, total, min, overlap } = *self;
        let contradiction = if body == 0 {
            "body is 0".to_owned()
        } else if body > max_body {
            format!("body {body} is above max_body {max_body}")
        } else if header + max_body > total {
            format!("header {header} and max_body {max_body} together are above total {total}")
        } else if min + overlap > body {
            format!("min {min} and overlap {overlap} together are above body {body}")
        } else {
            return Ok(());
        };
        let advice = "the defaults are body 200, max_body 214, header 40, total 254, min 48, overlap 32";
        Err(Error::invalid(format!("chunk limits: {contradiction}")).hint(advice))
    }
}

/// Cuts `document` into chunks of at most `limits`, counted by `tokenizer`. A document without text has none.
///
/// The chunks are in order and together hold every character of every block. The same document gives the same chunks.
///
/// # Errors
/// `Invalid` for limits that contradict each other; `TooLong` when a single character has more tokens than a chunk may.
pub fn chunk(document: &Document, tokenizer: &Tokenizer, limits: &Limits) -> Result<Vec<Chunk>> {
    limits.check()?;
    let map = tokens::TokenMap::new(document, tokenizer)?;
    let mut cutter = Cutter {
        document,
        tokenizer,
        limits,
        line_starts: line_starts(&document.source),
        chunks: Vec::new(),
    };
    for section in section::sections(document) {
        let blocks = &document.blocks[section.blocks];
        let text = section::header(&section.path, limits.header, tokenizer)?;
        let header = Header { tokens: tokenizer.count(&text)?, text };
        for range in pack::pack(&document.text, blocks, &map, limits) {
            cutter.add(&header, range).map_err(|error| error.within(format_args!("`{}`", document.path)))?;
        }
    }
    Ok(cutter.chunks)
}

struct Header {
    text: String,
    tokens: usize,
}

/// Turns ranges of a document's text into chunks, counting each as the encoder will.
struct Cutter<'a> {
    document: &'a Document,
    tokenizer: &'a Tokenizer,
    limits: &'a Limits,
    line_starts: Vec<usize>,
    chunks: Vec<Chunk>,
}

impl Cutter<'_> {
    /// Adds `range` as a chunk; as two or more when it has more tokens alone than it had inside the document, which
    /// happens where a word had to be cut.
    fn add(&mut self, header: &Header, range: Range<usize>) -> Result<()> {
        let Some(range) = self.without_blank_edges(range) else { return Ok(()) };
        let Limits { max_body, total, .. } = *self.limits;
        let text = &self.document.text[range.clone()];
        let tokens = self.tokenizer.count(&with_header(&header.text, text))?;
        if tokens <= max_body + header.tokens && tokens <= total {
            let chunk = self.chunk(&header.text, range, tokens);
            self.chunks.push(chunk);
            return Ok(());
        }
        match halfway(text) {
            Some(half) => {
                self.add(header, range.start..range.start + half)?;
                self.add(header, range.start + half..range.end)
            }
            None => Err(Error::too_long(format!("`{text}` has {tokens} tokens, a chunk at most {total}"))
                .hint("raise the chunk limits in the index profile, or use an encoder that knows these characters")),
        }
    }

    /// `range` without whitespace at its ends, but with the indentation of its first line.
    fn without_blank_edges(&self, range: Range<usize>) -> Option<Range<usize>> {
        let text = &self.document.text;
        let inner = trimmed(text, range.clone())?;
        let skipped = &text[range.start..inner.start];
        let start = range.start + skipped.rfind('\n').map_or(0, |line_end| line_end + 1);
        Some(start..inner.end)
    }

    fn chunk(&self, header: &str, range: Range<usize>, tokens: usize) -> Chunk {
        let document = self.document;
        let text = &document.text[range.clone()];
        let bytes = document.origin.source_range(range.clone());
        let source = &document.source[bytes.clone()];
        // What was taken out of a file keeps its pages even though the text is its own source.
        let same = source == text;
        let plain = same && !matches!(document.origin, Origin::Extracted { .. });
        Chunk {
            ordinal: self.chunks.len() as u32,
            header: header.to_owned(),
            text: text.to_owned(),
            lines: line_span(&self.line_starts, &bytes),
            tokens: tokens as u32,
            origin: if plain { Origin::Same } else { document.origin.slice(&range) },
            source: (!same).then(|| source.to_owned()),
            bytes,
        }
    }
}

/// A place near the middle of `text` to cut it at: behind whitespace if there is any, between characters otherwise;
/// `None` for a single character.
fn halfway(text: &str) -> Option<usize> {
    let middle = section::ceil_char_boundary(text, text.len() / 2);
    let behind =
        text[..middle].rfind(char::is_whitespace).map(|at| section::ceil_char_boundary(text, at + 1));
    let cut = behind.filter(|&at| !text[..at].trim().is_empty()).unwrap_or(middle);
    let cut = if cut < text.len() { cut } else { text.char_indices().next_back()?.0 };
    (cut > 0).then_some(cut)
}

#[cfg(test)]
mod tests;
