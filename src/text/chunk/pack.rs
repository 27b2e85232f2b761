//! Cutting a section that is too long: which of its boundaries become the edges of chunks.
//!
//! Chunks are filled from the front with [`units`](super::units): as many as fit, cut back to the strongest boundary in
//! the second half. A unit is broken into finer ones only when it is too long for a chunk of its own, or when the chunk
//! before it would stay too small.

use std::collections::VecDeque;
use std::ops::Range;

use super::Limits;
use super::tokens::TokenMap;
use super::units::{Boundary, Grain, Splitter, Unit};
use crate::text::document::Block;

/// The ranges of `text` that become chunks, in order: each at most `max_body` by `map`, and each but the last at least
/// `min`. Neighbours may share sentences worth up to `overlap` tokens.
pub(super) fn pack(text: &str, blocks: &[Block], map: &TokenMap, limits: &Limits) -> Vec<Range<usize>> {
    let splitter = Splitter::new(text, map);
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
