//! Text that is shorter than its source, put together while remembering where every character came from.

use std::ops::Range;

use crate::text::document::{Origin, Piece};

/// Grows a text and the pieces that lead back to its source.
///
/// A decoded character (an entity, an escape) is always a piece of its own, so no later cut at a character boundary can
/// fall inside a piece whose bytes differ from the source's.
#[derive(Debug, Default)]
pub(super) struct TextBuilder {
    text: String,
    pieces: Vec<Piece>,
}

impl TextBuilder {
    pub(super) fn len(&self) -> usize {
        self.text.len()
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Appends `source[range]` as it is.
    pub(super) fn copy(&mut self, source: &str, range: Range<usize>) {
        if range.is_empty() {
            return;
        }
        let (text, len) = (self.text.len(), range.len());
        self.text.push_str(&source[range.clone()]);
        match self.pieces.last_mut() {
            Some(last)
                if last.text_len == last.source_len
                    && last.text + last.text_len == text
                    && last.source + last.source_len == range.start =>
            {
                last.text_len += len;
                last.source_len += len;
            }
            _ => self.pieces.push(Piece { text, text_len: len, source: range.start, source_len: len }),
        }
    }

    /// Appends a character that is written differently in the source, at `range`.
    pub(super) fn decoded(&mut self, character: char, range: Range<usize>) {
        let (text, text_len) = (self.text.len(), character.len_utf8());
        self.text.push(character);
        self.pieces.push(Piece { text, text_len, source: range.start, source_len: range.len() });
    }

    /// Appends whitespace that is nowhere in the source.
    pub(super) fn insert(&mut self, whitespace: &str) {
        self.text.push_str(whitespace);
    }

    pub(super) fn finish(self) -> (String, Origin) {
        (self.text, Origin::Pieces(self.pieces))
    }
}
