//! What the legs found -> one list, as the mode and the profile say. Who asks the legs is above: `engine` a collection,
//! `eval` judged documents.

use serde::{Deserialize, Serialize};

use super::fuse::Fusion;
use super::{Leg, Legs};
use crate::index::ChunkId;
use crate::index::profile::{self, Method};

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

impl Mode {
    /// As `--mode` has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dense => "dense",
            Self::Lexical => "lexical",
            Self::Hybrid => "hybrid",
        }
    }
}

/// What the legs found as one list, best first; `asked` is how many candidates they were asked for.
pub fn rank(
    mode: Mode,
    fusion: &profile::Fusion,
    asked: usize,
    dense: &[(ChunkId, f32)],
    lexical: &[(ChunkId, f32)],
) -> Vec<(ChunkId, f32, Legs)> {
    match mode {
        Mode::Dense => alone(dense, |leg| Legs { dense: Some(leg), lexical: None }),
        Mode::Lexical => alone(lexical, |leg| Legs { dense: None, lexical: Some(leg) }),
        Mode::Hybrid => {
            let fused = method(fusion).fuse(dense, lexical, asked);
            fused.into_iter().map(|fused| (fused.id, fused.score, fused.legs)).collect()
        }
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
        Method::Convex => Fusion::Convex { alpha: fusion.alpha, scale: fusion.scale },
    }
}
