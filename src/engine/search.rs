//! Question -> hits: both legs, fused, with what each leg said.

use serde::{Deserialize, Serialize};

use crate::embed::{Embedder, Overflow};
use crate::error::{Error, Result};
use crate::index::profile::{self, Method};
use crate::index::{ChunkId, Reader};
use crate::retrieve::fuse::Fusion;
use crate::retrieve::{Hit, Leg, Legs};

/// Which legs look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// By meaning: cosine of the vectors.
    Dense,
    /// By words: BM25.
    Lexical,
    /// Both, fused as the profile says.
    #[default]
    Hybrid,
}

/// Candidates of both legs, best first, and their fusion.
pub struct Found {
    pub dense: Vec<(ChunkId, f32)>,
    pub lexical: Vec<(ChunkId, f32)>,
    /// Best first, all candidates.
    pub ranked: Vec<(ChunkId, f32, Legs)>,
    /// The question's vector; empty in lexical mode.
    pub vector: Vec<f32>,
}

/// Asks the legs that `mode` names for `fusion.candidates` each (at least `k`).
///
/// # Errors
/// `Invalid` for a question without a letter or digit, and in a mode that needs an embedder when there is none.
pub fn search(
    reader: &Reader,
    embedder: Option<&Embedder>,
    fusion: &profile::Fusion,
    question: &str,
    mode: Mode,
    k: usize,
) -> Result<Found> {
    if !question.chars().any(char::is_alphanumeric) {
        return Err(Error::invalid("the question is empty").hint("ask in words"));
    }
    let candidates = fusion.candidates.max(k);
    let mut found = Found { dense: Vec::new(), lexical: Vec::new(), ranked: Vec::new(), vector: Vec::new() };
    if mode != Mode::Lexical {
        let embedder = embedder.ok_or_else(|| {
            Error::invalid("searching by meaning needs the collection's embedder")
                .hint("or use --mode lexical")
        })?;
        found.vector = embedder.embed(&[question], Overflow::Truncate)?.pop().unwrap_or_default();
        found.dense = reader.dense(&found.vector, candidates)?;
    }
    if mode != Mode::Dense {
        found.lexical = reader.lexical(question, candidates)?;
    }
    found.ranked = match mode {
        Mode::Dense => alone(&found.dense, |leg| Legs { dense: Some(leg), lexical: None }),
        Mode::Lexical => alone(&found.lexical, |leg| Legs { dense: None, lexical: Some(leg) }),
        Mode::Hybrid => {
            let fused = method(fusion).fuse(&found.dense, &found.lexical);
            fused.into_iter().map(|fused| (fused.id, fused.score, fused.legs)).collect()
        }
    };
    Ok(found)
}

impl Found {
    /// The first `k` with their passages.
    pub fn hits(&self, reader: &Reader, k: usize) -> Result<Vec<Hit>> {
        let best = &self.ranked[..k.min(self.ranked.len())];
        let ids: Vec<ChunkId> = best.iter().map(|(id, ..)| *id).collect();
        let passages = reader.passages(&ids)?;
        let hits = passages.into_iter().zip(best).enumerate();
        Ok(hits
            .map(|(at, (passage, &(_, score, legs)))| Hit { passage, rank: at + 1, score, legs })
            .collect())
    }
}

/// One leg's order as it is: its score is the whole score.
fn alone(leg: &[(ChunkId, f32)], legs: impl Fn(Leg) -> Legs) -> Vec<(ChunkId, f32, Legs)> {
    let ranked = leg.iter().enumerate();
    ranked.map(|(at, &(id, score))| (id, score, legs(Leg { rank: at + 1, score, share: score }))).collect()
}

fn method(fusion: &profile::Fusion) -> Fusion {
    match fusion.method {
        Method::Rrf => Fusion::Rrf { k: fusion.k },
        Method::Convex => Fusion::Convex { alpha: fusion.alpha },
    }
}
