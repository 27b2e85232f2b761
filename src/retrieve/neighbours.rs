//! Adjacent chunks of one section, found together, become one passage again.
//!
//! The merged chunk is as exact as its parts: its text is what stands in the document, its bytes, lines and origin lead to
//! the same places, and what the parts shared (the overlap) is in it once. Chunks that are near each other but whose gap
//! we cannot prove to be blank stay apart, since a passage with invented bytes in it could not be quoted.

use std::ops::Range;

use super::Hit;
use crate::text::chunk::Chunk;
use crate::text::document::{Origin, Piece};

/// Joins hits that follow each other in one section (same file, consecutive ordinals, same header). A merged hit stands
/// where its best part stood, with that part's id, score and legs; ranks are counted anew.
///
/// The `tokens` of a merged chunk are the sum of its parts': an upper bound, as header and overlap count more than once.
pub fn merge_neighbours(hits: Vec<Hit>) -> Vec<Hit> {
    let mut merged: Vec<Hit> = Vec::new();
    // In reading order, each hit can only join the one before it.
    let mut reading: Vec<(usize, Hit)> = hits.into_iter().enumerate().collect();
    reading.sort_by(|(_, a), (_, b)| {
        (&a.passage.path, a.passage.chunk.ordinal).cmp(&(&b.passage.path, b.passage.chunk.ordinal))
    });
    let mut order: Vec<usize> = Vec::new();
    let mut last_ordinal = 0;
    for (at, mut hit) in reading {
        let ordinal = hit.passage.chunk.ordinal;
        if let (Some(before), Some(best)) = (merged.last_mut(), order.last_mut())
            && before.passage.path == hit.passage.path
            && last_ordinal + 1 == ordinal
            && let Some(chunk) = joined(&before.passage.chunk, &hit.passage.chunk)
        {
            if at < *best {
                std::mem::swap(before, &mut hit);
                *best = at;
            }
            before.passage.chunk = chunk;
        } else {
            merged.push(hit);
            order.push(at);
        }
        last_ordinal = ordinal;
    }
    let mut ranked: Vec<(usize, Hit)> = order.into_iter().zip(merged).collect();
    ranked.sort_by_key(|(at, _)| *at);
    let renumber = |(at, (_, hit)): (usize, (usize, Hit))| Hit { rank: at + 1, ..hit };
    ranked.into_iter().enumerate().map(renumber).collect()
}

/// `first` and `second` as one chunk; `None` when what lies between them is not known.
fn joined(first: &Chunk, second: &Chunk) -> Option<Chunk> {
    if first.header != second.header || second.bytes.start < first.bytes.start {
        return None;
    }
    let (text, origin, source) = match (&first.origin, &second.origin) {
        (Origin::Same, Origin::Same) => {
            let text = joined_source(&first.text, &second.text, first, second)?;
            (text, Origin::Same, None)
        }
        (Origin::Pieces(before), Origin::Pieces(after)) => {
            let overlap = text_overlap(first, second)?;
            let pieces = joined_pieces(before, after, first.text.len(), overlap)?;
            let source = joined_source(first.source()?, second.source()?, first, second)?;
            (first.text.clone() + &second.text[overlap..], Origin::Pieces(pieces), Some(source))
        }
        _ => return None,
    };
    Some(Chunk {
        ordinal: first.ordinal,
        header: first.header.clone(),
        text,
        bytes: first.bytes.start..first.bytes.end.max(second.bytes.end),
        lines: (first.lines.0, first.lines.1.max(second.lines.1)),
        tokens: first.tokens.saturating_add(second.tokens),
        origin,
        source,
    })
}

impl Chunk {
    /// The file's bytes at `bytes`, if they are all there.
    fn source(&self) -> Option<&str> {
        let source = self.source.as_deref().unwrap_or(&self.text);
        (source.len() == self.bytes.len()).then_some(source)
    }
}

/// The file from the start of `first` to the end of `second`, out of the two stretches of it that we have.
fn joined_source(before: &str, after: &str, first: &Chunk, second: &Chunk) -> Option<String> {
    if before.len() != first.bytes.len() || after.len() != second.bytes.len() {
        return None;
    }
    if let Some(overlap) = first.bytes.end.checked_sub(second.bytes.start) {
        let overlap = overlap.min(after.len());
        let shared = after.get(..overlap)?;
        let there = second.bytes.start - first.bytes.start;
        return (before.get(there..there + overlap)? == shared)
            .then(|| before.to_owned() + &after[overlap..]);
    }
    // As many bytes between them as line ends: so they are line ends and nothing else.
    let gap = second.bytes.start - first.bytes.end;
    let ended = usize::from(before.ends_with('\n'));
    let lines = second.lines.0.checked_sub(first.lines.1)? as usize;
    let blank = matches!(first.origin, Origin::Same) && lines.checked_sub(ended) == Some(gap);
    blank.then(|| before.to_owned() + &"\n".repeat(gap) + after)
}

/// How much of the start of `second`'s text is the end of `first`'s: the same words *and* from the same bytes.
fn text_overlap(first: &Chunk, second: &Chunk) -> Option<usize> {
    if second.bytes.start >= first.bytes.end {
        return Some(0);
    }
    let same = |len: &usize| {
        let tail = first.text.len() - len..first.text.len();
        second.text.is_char_boundary(*len)
            && first.text.is_char_boundary(tail.start)
            && first.text[tail.clone()] == second.text[..*len]
            && first.source_range(tail) == second.source_range(0..*len)
    };
    (1..=first.text.len().min(second.text.len())).rev().find(same)
}

/// `after`, without its first `overlap` bytes of text, put behind `before`.
fn joined_pieces(before: &[Piece], after: &[Piece], len: usize, overlap: usize) -> Option<Vec<Piece>> {
    let mut pieces = before.to_vec();
    for piece in after {
        let Range { start, end } = piece.text..piece.text + piece.text_len;
        if end <= overlap {
            continue;
        }
        let cut = overlap.saturating_sub(start);
        if cut > 0 && piece.text_len != piece.source_len {
            return None; // an entity or escape cannot be cut in two
        }
        pieces.push(Piece {
            text: len + start.max(overlap) - overlap,
            text_len: piece.text_len - cut,
            source: piece.source + cut,
            source_len: piece.source_len - cut,
        });
    }
    Some(pieces)
}

#[cfg(test)]
#[path = "neighbours_tests.rs"]
mod tests;
