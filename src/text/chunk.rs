//! Document -> chunks.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::document::Origin;

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
        if self.header.is_empty() { self.text.clone() } else { format!("{}\n{}", self.header, self.text) }
    }

    /// Where `range` of [`Chunk::text`] is in the file.
    pub fn source_range(&self, range: Range<usize>) -> Range<usize> {
        match &self.origin {
            Origin::Same => self.bytes.start + range.start..self.bytes.start + range.end,
            pieces => pieces.source_range(range),
        }
    }

    /// The file's own bytes for `range` of [`Chunk::text`]: what a citation quotes.
    pub fn quote(&self, range: Range<usize>) -> &str {
        let at = self.source_range(range);
        let source = self.source.as_deref().unwrap_or(&self.text);
        &source[at.start - self.bytes.start..at.end - self.bytes.start]
    }
}
