//! What a loader returns and a chunker cuts: the readable text of one file, its outline, and the way back to the
//! bytes of the file.
//!
//! A citation has to open at the right place in the file a person has, so every range here can be led back to the
//! *source* (the file's own bytes). For Markdown, plain text and code the text *is* the source; for HTML, JSON and tables
//! the text is shorter (no tags, no escapes) and [`Origin`] remembers which piece came from where. The bytes of a PDF, a
//! DOCX or an EPUB are nothing to look at: there the source is the text that was taken out of it, and what a citation is
//! held against is the file as a whole.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::error::Report;

/// How a file is read, decided by its name, see [`crate::text::load`]; for a document, how its text is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    Markdown,
    Text,
    Html,
    JsonLines,
    Code,
    Pdf,
    Docx,
    Epub,
    /// Rows under a line of names: CSV and TSV.
    Table,
    Json,
    /// Jupyter; its text is [`Format::Markdown`].
    Notebook,
    /// reStructuredText.
    Rst,
    /// What a command of the person's own printed.
    Command,
}

impl Format {
    /// The source is not the file's bytes but the text that was taken out of them, see [`Origin::Extracted`].
    pub fn is_extracted(self) -> bool {
        matches!(self, Self::Pdf | Self::Docx | Self::Epub | Self::Command)
    }
}

/// One file, ready to be cut into chunks.
#[derive(Debug, Clone)]
pub struct Document {
    /// As ingested, relative to the working folder, with `/` between parts.
    pub path: String,
    pub format: Format,
    /// From front matter, `<title>` or the first heading; `None` when the file has no name for itself.
    pub title: Option<String>,
    /// The file as it is on disk (UTF-8); for [`Origin::Extracted`] the text again.
    pub source: String,
    /// What is embedded, searched and shown to the model.
    pub text: String,
    /// Leads from ranges of `text` back to ranges of `source`.
    pub origin: Origin,
    /// The outline, in order; blocks do not overlap. Whitespace between them belongs to nobody.
    pub blocks: Vec<Block>,
    /// Front-matter fields, as strings.
    pub fields: BTreeMap<String, String>,
    /// What of the file could not be read while the rest could.
    pub flaws: Flaws,
}

/// Parts of a file that were left out because they are not what the file's name promises: bad lines of JSON Lines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flaws {
    /// How many there are.
    pub count: usize,
    /// The first of them, each with its place.
    pub named: Vec<Report>,
}

impl Flaws {
    /// More are counted, not named: a file that is something else altogether has one flaw a line.
    const NAMED: usize = 5;

    pub(crate) fn add(&mut self, report: impl FnOnce() -> Report) {
        self.count += 1;
        if self.named.len() < Self::NAMED {
            self.named.push(report());
        }
    }
}

/// A stretch of text that should stay together if it fits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    pub kind: BlockKind,
    /// Bytes of [`Document::text`].
    pub range: Range<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum BlockKind {
    /// Starts a section; the level is 1 for the outermost.
    Heading(u8),
    Paragraph,
    ListItem,
    /// Kept whole unless it is longer than a chunk, then cut at line ends.
    Code,
    /// Starts a section of its own: one record of a JSON Lines file. The range is its title, empty when it has none.
    Record,
}

/// A stretch of text and where it came from.
///
/// When both lengths are equal the bytes are equal too, so any range inside can be led back exactly. When they differ
/// (an entity, an escape) the piece is led back as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    pub text: usize,
    pub text_len: usize,
    pub source: usize,
    pub source_len: usize,
}

/// Leads from text back to source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    /// The text is the source.
    Same,
    /// Pieces in text order; text between pieces was inserted by the loader (a line break for `<p>`).
    Pieces(Vec<Piece>),
    /// The text was taken out of a file whose bytes say it in another way, and is its own source.
    Extracted {
        /// blake3 of that file, as hexadecimal digits: as long as it is the same, so is its text.
        file: String,
        /// Where in the text which page starts, in order; empty where there are no pages.
        pages: Vec<PageStart>,
    },
}

/// From `text` on, it stands on page `number`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageStart {
    pub text: usize,
    /// From 1, in the order of the file, whatever is printed on the page.
    pub number: u32,
}

impl Origin {
    /// The smallest source range that holds everything `text` came from; empty, and behind what comes before it, when
    /// nothing there has a source.
    pub fn source_range(&self, text: Range<usize>) -> Range<usize> {
        let pieces = match self {
            Self::Same | Self::Extracted { .. } => return text,
            Self::Pieces(pieces) => pieces,
        };
        let first = pieces.partition_point(|piece| piece.text + piece.text_len <= text.start);
        let touched = pieces[first..].iter().take_while(|piece| piece.text < text.end);
        let mut range: Option<Range<usize>> = None;
        for piece in touched {
            let (mut start, mut end) = (piece.source, piece.source + piece.source_len);
            if piece.text_len == piece.source_len {
                start += text.start.saturating_sub(piece.text);
                end -= (piece.text + piece.text_len).saturating_sub(text.end);
            }
            range = Some(match range {
                None => start..end,
                Some(so_far) => so_far.start.min(start)..so_far.end.max(end),
            });
        }
        range.unwrap_or_else(|| {
            let before = pieces[..first].last().map(|piece| piece.source + piece.source_len);
            let at = before.or_else(|| pieces.first().map(|piece| piece.source)).unwrap_or(0);
            at..at
        })
    }
}

impl Origin {
    /// The same for `text` alone: what led back from `text.start` now leads back from 0.
    ///
    /// `text` must not cut through a piece whose bytes differ from its source's; loaders make those one character long.
    pub fn slice(&self, text: &Range<usize>) -> Self {
        let pieces = match self {
            Self::Same => return Self::Same,
            Self::Extracted { file, pages } => {
                let first = pages.partition_point(|page| page.text <= text.start).saturating_sub(1);
                let touched =
                    pages[first..].iter().take_while(|page| page.text < text.end.max(text.start + 1));
                let from =
                    |page: &PageStart| PageStart { text: page.text.saturating_sub(text.start), ..*page };
                return Self::Extracted { file: file.clone(), pages: touched.map(from).collect() };
            }
            Self::Pieces(pieces) => pieces,
        };
        let first = pieces.partition_point(|piece| piece.text + piece.text_len <= text.start);
        let touched = pieces[first..].iter().take_while(|piece| piece.text < text.end);
        let clipped = touched.map(|piece| {
            let start = piece.text.max(text.start);
            let end = (piece.text + piece.text_len).min(text.end);
            let exact = piece.text_len == piece.source_len;
            Piece {
                text: start - text.start,
                text_len: end - start,
                source: if exact { piece.source + (start - piece.text) } else { piece.source },
                source_len: if exact { end - start } else { piece.source_len },
            }
        });
        Self::Pieces(clipped.collect())
    }

    /// The page on which the byte `at` of the text stands.
    pub fn page(&self, at: usize) -> Option<u32> {
        let Self::Extracted { pages, .. } = self else { return None };
        let before = pages.partition_point(|page| page.text <= at).checked_sub(1)?;
        Some(pages[before].number)
    }
}

/// Line numbers (from 1) of the first and last byte of `range` in `source`.
pub fn line_span(line_starts: &[usize], range: &Range<usize>) -> (u32, u32) {
    let line = |byte: usize| line_starts.partition_point(|&start| start <= byte).max(1) as u32;
    (line(range.start), line(range.end.saturating_sub(1).max(range.start)))
}

/// The byte at which each line of `source` starts.
pub fn line_starts(source: &str) -> Vec<usize> {
    std::iter::once(0).chain(source.match_indices('\n').map(|(at, _)| at + 1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_lead_back_through_pieces() {
        // source: `<b>a&amp;b</b> c`   text: `a&b c`
        let origin = Origin::Pieces(vec![
            Piece { text: 0, text_len: 1, source: 3, source_len: 1 },
            Piece { text: 1, text_len: 1, source: 4, source_len: 5 },
            Piece { text: 2, text_len: 1, source: 9, source_len: 1 },
            Piece { text: 3, text_len: 2, source: 14, source_len: 2 },
        ]);
        assert_eq!(origin.source_range(0..1), 3..4);
        assert_eq!(origin.source_range(1..3), 4..10);
        assert_eq!(origin.source_range(4..5), 15..16);
        assert_eq!(origin.source_range(0..5), 3..16);
        assert_eq!(origin.source_range(5..9), 16..16);
    }

    #[test]
    fn a_slice_knows_the_pages_it_stands_on() {
        let pages = [(0, 1), (10, 2), (20, 4)].map(|(text, number)| PageStart { text, number }).into();
        let origin = Origin::Extracted { file: "ab".into(), pages };
        assert_eq!([0, 9, 10, 25].map(|at| origin.page(at)), [1, 1, 2, 4].map(Some));
        let slice = origin.slice(&(12..22));
        assert_eq!([0, 7, 8, 9].map(|at| slice.page(at)), [2, 2, 4, 4].map(Some));
        assert_eq!(origin.slice(&(3..10)).page(6), Some(1));
        assert_eq!(slice.source_range(3..5), 3..5);
        assert_eq!(Origin::Same.page(3), None);
    }

    #[test]
    fn lines_count_from_one_and_a_line_end_belongs_to_its_line() {
        let source = "ab\ncd\n";
        let starts = line_starts(source);
        assert_eq!(line_span(&starts, &(0..2)), (1, 1));
        assert_eq!(line_span(&starts, &(0..3)), (1, 1));
        assert_eq!(line_span(&starts, &(1..4)), (1, 2));
        assert_eq!(line_span(&starts, &(3..3)), (2, 2));
    }
}
