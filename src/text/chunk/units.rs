//! What a section is made of when it has to be cut: units, each with its cost in tokens and the strength of the boundary
//! before it.
//!
//! Units are sentences and whole code blocks. Finer ones are made on demand: code into lines, sentences into words, and
//! words longer than any chunk into pieces.

use std::ops::Range;

use super::Limits;
use super::section::ceil_char_boundary;
use super::tokens::{BYTES_PER_TOKEN, TokenMap};
use crate::text::boundaries;
use crate::text::document::{Block, BlockKind};

/// How good a place for a cut is; better ones are greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Boundary {
    Piece,
    Word,
    /// Between two sentences or lines, or behind a colon.
    Sentence,
    /// Between two list items, or at a blank line in code.
    Item,
    Block,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Grain {
    Heading,
    Code,
    Line,
    Sentence,
    Word,
    Piece,
}

/// A stretch of text that is not cut unless it must be.
#[derive(Debug, Clone)]
pub(super) struct Unit {
    pub(super) range: Range<usize>,
    pub(super) cost: usize,
    pub(super) before: Boundary,
    pub(super) grain: Grain,
}

/// Breaks blocks into units, and units into finer ones.
pub(super) struct Splitter<'a> {
    text: &'a str,
    map: &'a TokenMap,
}

impl<'a> Splitter<'a> {
    pub(super) fn new(text: &'a str, map: &'a TokenMap) -> Self {
        Self { text, map }
    }

    /// The units of `blocks`, none of them longer than a chunk.
    pub(super) fn units(&self, blocks: &[Block], limits: &Limits) -> Vec<Unit> {
        let mut units = Vec::new();
        let mut before: Option<&Block> = None;
        for block in blocks.iter().filter(|block| !block.range.is_empty()) {
            let boundary = before.map_or(Boundary::Block, |before| self.boundary(before, block));
            let range = block.range.clone();
            let whole = |grain| vec![self.unit(range.clone(), boundary, grain)];
            let block_units = match block.kind {
                BlockKind::Code => whole(Grain::Code),
                BlockKind::Heading(_) | BlockKind::Record => whole(Grain::Heading),
                BlockKind::Paragraph | BlockKind::ListItem => {
                    let sentences = boundaries::sentences(&self.text[range.clone()]).into_iter();
                    let sentences = sentences.map(|at| range.start + at.start..range.start + at.end);
                    self.parts(sentences.map(|at| (at, Boundary::Sentence)), boundary, Grain::Sentence)
                }
            };
            for unit in block_units {
                let longest = if unit.grain == Grain::Code { limits.max_body } else { limits.body };
                self.fit(unit, longest, limits.body, &mut units);
            }
            before = Some(block);
        }
        units
    }

    /// Adds `unit`, broken into finer ones until none costs more than `longest` (and its parts `body`).
    fn fit(&self, unit: Unit, longest: usize, body: usize, units: &mut Vec<Unit>) {
        let finer = if unit.cost > longest { self.finer(&unit) } else { Vec::new() };
        if finer.is_empty() {
            units.push(unit);
        } else {
            finer.into_iter().for_each(|unit| self.fit(unit, body, body, units));
        }
    }

    fn boundary(&self, before: &Block, block: &Block) -> Boundary {
        let (above, below) = (&self.text[before.range.clone()], &self.text[block.range.clone()]);
        let opens_tag = || above.starts_with('<') && !above.contains("</") && !above.ends_with("-->");
        let announces = || above.ends_with([':', '：']) || opens_tag();
        match (before.kind, block.kind) {
            // A heading is kept with what it heads, a closing tag with what it closes, an announcement with what it
            // announces.
            (BlockKind::Heading(_) | BlockKind::Record, _) => Boundary::Word,
            (_, BlockKind::Paragraph) if below.starts_with("</") => Boundary::Word,
            (BlockKind::ListItem, BlockKind::ListItem) => Boundary::Item,
            (BlockKind::Paragraph | BlockKind::ListItem, _) if announces() => Boundary::Sentence,
            _ => Boundary::Block,
        }
    }

    /// The parts of `unit` at the next finer grain, nothing lost; empty when there is no finer grain.
    pub(super) fn finer(&self, unit: &Unit) -> Vec<Unit> {
        let range = unit.range.clone();
        match unit.grain {
            Grain::Code => {
                let lines = boundaries::lines(self.text, range).into_iter();
                let strength = |blank| if blank { Boundary::Item } else { Boundary::Sentence };
                self.parts(lines.map(|(at, blank)| (at, strength(blank))), unit.before, Grain::Line)
            }
            Grain::Heading | Grain::Line | Grain::Sentence => {
                let words = boundaries::words(self.text, range).into_iter();
                self.parts(words.map(|at| (at, Boundary::Word)), unit.before, Grain::Word)
            }
            Grain::Word => self.pieces(unit),
            Grain::Piece => Vec::new(),
        }
    }

    fn parts(
        &self,
        parts: impl Iterator<Item = (Range<usize>, Boundary)>,
        first: Boundary,
        grain: Grain,
    ) -> Vec<Unit> {
        let strengths = std::iter::once(Some(first)).chain(std::iter::repeat(None));
        let parts = parts.zip(strengths);
        parts.map(|((range, own), first)| self.unit(range, first.unwrap_or(own), grain)).collect()
    }

    fn unit(&self, range: Range<usize>, before: Boundary, grain: Grain) -> Unit {
        Unit { cost: self.map.cost(&range), range, before, grain }
    }

    /// A word without spaces that is longer than a chunk (base64, a sentence of Chinese): cut where tokens start, and
    /// inside tokens of unknown words every few characters.
    fn pieces(&self, word: &Unit) -> Vec<Unit> {
        const PIECE: usize = 16 * BYTES_PER_TOKEN;
        let mut edges = vec![word.range.start];
        let mut edge = |at: usize| {
            let last = edges[edges.len() - 1];
            if at > last && at < word.range.end && self.text.is_char_boundary(at) {
                edges.push(at);
            }
        };
        let starts = self.map.starts(&word.range);
        for (index, &start) in starts.iter().enumerate() {
            edge(start);
            let end = starts.get(index + 1).copied().unwrap_or(word.range.end);
            let mut at = start + PIECE;
            while at < end {
                edge(ceil_char_boundary(self.text, at));
                at += PIECE;
            }
        }
        edges.push(word.range.end);
        let piece = |(index, pair): (usize, &[usize])| {
            let range = pair[0]..pair[1];
            let cost = self.map.cost(&range).min(range.len()).max(1);
            let inside_a_giant = range.len().div_ceil(BYTES_PER_TOKEN);
            Unit {
                cost: if range.len() > PIECE / 2 { inside_a_giant } else { cost },
                range,
                before: if index == 0 { word.before } else { Boundary::Piece },
                grain: Grain::Piece,
            }
        };
        edges.windows(2).enumerate().map(piece).collect()
    }
}
