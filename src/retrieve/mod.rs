//! Choose what the model reads: two legs (dense vectors, words), fused, read again by a cross-encoder where there is one,
//! diversified, and judged answerable or not; and worked examples to learn from.

pub mod coverage;
pub mod demos;
pub mod diversify;
pub mod extract;
pub mod fuse;
pub mod gate;
mod neighbours;
pub mod rank;
pub mod rerank;

pub use neighbours::merge_neighbours;

use serde::Serialize;

use crate::index::Passage;

/// One found passage, best first in a list.
#[derive(Debug, Clone)]
pub struct Hit {
    pub passage: Passage,
    /// From 1.
    pub rank: usize,
    /// The score the list was sorted by when it was found; its meaning depends on the mode (cosine, BM25, fused).
    pub score: f32,
    pub legs: Legs,
    /// What a cross-encoder said, by which the list is sorted then; `None` where none read the passage.
    pub relevance: Option<f32>,
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

/// Cosine similarity; 0 when either vector is zero or the lengths differ. Vectors need not be normalised.
pub fn cosine(a: &[f32], b: &[f32]) -> f32 {
    if a.len() != b.len() {
        return 0.0;
    }
    let (mut dot, mut aa, mut bb) = (0.0f64, 0.0f64, 0.0f64);
    for (&x, &y) in a.iter().zip(b) {
        let (x, y) = (f64::from(x), f64::from(y));
        dot += x * y;
        aa += x * x;
        bb += y * y;
    }
    let length = (aa * bb).sqrt();
    if length > 0.0 && length.is_finite() { (dot / length).clamp(-1.0, 1.0) as f32 } else { 0.0 }
}
