//! Cutting a section that is too long: which of its boundaries become the edges of chunks.
//!
//! A section is first broken into units - sentences, code blocks - each with its cost in tokens and the strength of the
//! boundary before it. Chunks are then filled from the front: as many units as fit, cut back to the strongest boundary
//! in the second half. A unit is broken further (code into lines, sentences into words, words into pieces) only when it
//! is too long for a chunk of its own, or when the chunk before it would stay too small.

use std::collections::VecDeque;
use std::ops::Range;

use super::Limits;
use super::section::ceil_char_boundary;
use super::tokens::{BYTES_PER_TOKEN, TokenMap};
use crate::text::boundaries;
use crate::text::document::{Block, BlockKind};

/// How good a place for a cut is; better ones are greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Boundary {
    Piece,
    Word,
    /// Between two sentences or lines, or behind a colon.
    Sentence,
    /// Between two list items, or at a blank line in code.
    Item,
    Block,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Grain {
    Heading,
    Code,
    Line,
    Sentence,
    Word,
    Piece,
}

/// A stretch of text that is not cut unless it must be.
#[derive(Debug, Clone)]
struct Unit {
    range: Range<usize>,
    cost: usize,
    before: Boundary,
    grain: Grain,
}

/// The ranges of `text` that become chunks, in order: each at most `max_body` by `map`, and each but the last at least
/// `min`. Neighbours may share sentences worth up to `overlap` tokens.
pub(super) fn pack(text: &str, blocks: &[Block], map: &TokenMap, limits: &Limits) -> Vec<Range<usize>> {
    let splitter = Splitter { text, map };
    let ahead = splitter.units(blocks, limits).into();
    Packer { splitter, limits, ahead, window: Vec::new(), repeated: 0 }.run()
}

struct Packer<'a> {
    splitter: Splitter<'a>,
    limits: &'a Limits,
    /// Units not looked at yet.
    ahead: VecDeque<Unit>,
    /// The units the next chunk is taken from; the first `repeated` of them were in the last chunk too.
    window: Vec<Unit>,
    repeated: usize,
}

impl Packer<'_> {
    fn run(mut self) -> Vec<Range<usize>> {
        let mut chunks = Vec::new();
        loop {
            self.fill();
            if self.window.len() == self.repeated {
                return chunks;
            }
            let Some(end) = self.end() else { continue };
            let (first, last) = (&self.window[0], &self.window[end - 1]);
            chunks.push(first.range.start..last.range.end);
            let overlap = self.overlap(end);
            self.window.drain(..end - overlap);
            self.repeated = overlap;
        }
    }

    /// Looks far enough ahead to see whether what is left after this chunk would be too little for one.
    fn fill(&mut self) {
        let mut cost = cost(&self.window);
        while cost <= self.limits.max_body + self.limits.min
            && let Some(unit) = self.ahead.pop_front()
        {
            cost += unit.cost;
            self.window.push(unit);
        }
    }

    /// How many units of the window make the next chunk; `None` when the window was changed and has to be looked at again.
    fn end(&mut self) -> Option<usize> {
        let Limits { body, max_body, min, .. } = *self.limits;
        let all = cost(&self.window);
        let last = self.ahead.is_empty();
        if last && all <= max_body {
            return Some(self.window.len());
        }
        if last && all - cost(&self.window[..self.repeated]) <= max_body {
            return self.forget_overlap();
        }
        // `ends[i]`: the cost of a chunk that ends before unit `i`.
        let mut so_far = 0;
        let mut ends = vec![0];
        ends.extend(self.window.iter().map(|unit| {
            so_far += unit.cost;
            so_far
        }));
        let furthest = ends.partition_point(|&end| end <= body) - 1;
        if furthest <= self.repeated {
            if self.repeated > 0 {
                return self.forget_overlap();
            }
            // A single unit between `body` and `max_body`.
            return Some(1);
        }
        if ends[furthest] < min {
            // Too little: rather repeat nothing than break the next unit, but rather break it than stay too small.
            if self.repeated > 0 && ends[furthest + 1] - ends[self.repeated] <= body {
                return self.forget_overlap();
            }
            if self.split(furthest) {
                return None;
            }
        }
        let rest_is_enough = |end: usize| !last || all - ends[end] >= min;
        let best = |least: usize, good: &dyn Fn(usize) -> bool| {
            let candidates = (self.repeated + 1..=furthest).filter(|&end| ends[end] >= least && good(end));
            candidates.max_by_key(|&end| (self.window[end].before, end))
        };
        best(body / 2, &rest_is_enough)
            .or_else(|| best(min, &rest_is_enough))
            .or_else(|| best(min, &|_| true))
            .or(Some(furthest))
    }

    fn forget_overlap(&mut self) -> Option<usize> {
        self.window.drain(..self.repeated);
        self.repeated = 0;
        None
    }

    /// Breaks unit `at` of the window; `false` when it cannot be broken.
    fn split(&mut self, at: usize) -> bool {
        let mut finer = self.splitter.finer(&self.window[at]);
        // Code of one line, a sentence of one word.
        while let [only] = finer.as_slice() {
            finer = self.splitter.finer(only);
        }
        let broken = !finer.is_empty();
        if broken {
            self.window.splice(at..=at, finer);
        }
        broken
    }

    /// How many units before `end` the next chunk repeats: whole sentences and items only, and never all of this chunk.
    fn overlap(&self, end: usize) -> usize {
        let starts_cleanly = |unit: &Unit| unit.before >= Boundary::Sentence;
        if self.window.get(end).is_none_or(|next| !starts_cleanly(next)) {
            return 0;
        }
        let mut cost = 0;
        let mut repeated = 0;
        for (back, unit) in self.window[self.repeated + 1..end].iter().rev().enumerate() {
            cost += unit.cost;
            if cost > self.limits.overlap || matches!(unit.grain, Grain::Heading | Grain::Code | Grain::Line)
            {
                break;
            }
            if starts_cleanly(unit) {
                repeated = back + 1;
            }
        }
        repeated
    }
}

fn cost(units: &[Unit]) -> usize {
    units.iter().map(|unit| unit.cost).sum()
}

struct Splitter<'a> {
    text: &'a str,
    map: &'a TokenMap,
}

impl Splitter<'_> {
    /// The units of `blocks`, none of them longer than a chunk.
    fn units(&self, blocks: &[Block], limits: &Limits) -> Vec<Unit> {
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
    fn finer(&self, unit: &Unit) -> Vec<Unit> {
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
