//! Choose what the model reads: two legs (dense vectors, words), fused, diversified, and judged answerable or not.

use serde::Serialize;

use crate::index::Passage;

/// One found passage, best first in a list.
#[derive(Debug, Clone)]
pub struct Hit {
    pub passage: Passage,
    /// From 1.
    pub rank: usize,
    /// The score the list is sorted by; its meaning depends on the mode (cosine, BM25, fused).
    pub score: f32,
    pub legs: Legs,
}

/// What each retriever said about a passage; `None` when it was not among that leg's candidates.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Legs {
    pub dense: Option<Leg>,
    pub lexical: Option<Leg>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Leg {
    /// From 1, within this leg.
    pub rank: usize,
    /// Cosine similarity (dense) or BM25 (lexical).
    pub score: f32,
    /// What this leg adds to the fused score.
    pub share: f32,
}
