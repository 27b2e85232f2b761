//! The share of the dense leg that ranks a collection's own documents best, by questions somebody judged.
//!
//! Bruch et al. 2023 (arXiv 2210.11934) find some fifty judged questions enough for the one number there is to fit. Every
//! share from 0 to 1 in steps of 0.05 is tried on what the legs found, which is looked up once. Documents are named by
//! their paths, as ingested; of several hits in one document the first counts.

use std::collections::{BTreeMap, BTreeSet};

use super::data::{Judgements, Question};
use super::metrics::Metric;
use super::stats::{Bootstrap, Difference, Estimate};
use crate::error::Result;
use crate::index::profile::{Fusion, Method, Scale};
use crate::index::{ChunkId, Reader};
use crate::retrieve::rank::{Mode, rank};

/// Steps from 0 to 1.
const STEPS: u16 = 20;

/// Fewer judged questions than this say little.
pub const ENOUGH: usize = 50;

/// What shares are compared by.
pub const METRIC: Metric = Metric::Ndcg(10);

/// What was found.
pub struct Fit {
    /// As the collection ranks now.
    pub now: Estimate,
    /// The best of those tried; of equal ones, the one nearest to the collection's.
    pub best: Fusion,
    /// Every share tried, with its mean.
    pub tried: Vec<(f32, f64)>,
    /// The best over now.
    pub gain: Difference,
}

/// A question's candidates of both legs.
struct Candidates {
    dense: Vec<(ChunkId, f32)>,
    lexical: Vec<(ChunkId, f32)>,
}

/// Fits the share to `questions`, whose vectors are `vectors`, in that order.
///
/// # Errors
/// When the collection cannot be read.
pub fn fit(
    reader: &Reader,
    now: &Fusion,
    questions: &[Question],
    vectors: &[Vec<f32>],
    judgements: &Judgements,
) -> Result<Fit> {
    let asked = now.candidates;
    let mut paths: BTreeMap<ChunkId, String> = BTreeMap::new();
    let mut found = Vec::with_capacity(questions.len());
    for (question, vector) in questions.iter().zip(vectors) {
        let (dense, lexical) = (reader.dense(vector, asked)?, reader.lexical(&question.text, asked)?);
        let ids: Vec<ChunkId> = dense.iter().chain(&lexical).map(|hit| hit.0).collect();
        let new: Vec<ChunkId> = ids.into_iter().filter(|id| !paths.contains_key(id)).collect();
        paths.extend(reader.passages(&new)?.into_iter().map(|passage| (passage.id, passage.path)));
        found.push(Candidates { dense, lexical });
    }
    let values = |fusion: &Fusion| -> Vec<f64> {
        let value = |(question, candidates): (&Question, &Candidates)| {
            let of = judgements.get(&question.id);
            let score = |path: &str| of.and_then(|of| of.get(path)).map_or(0, |judgement| judgement.score);
            let judged: Vec<i64> = of.into_iter().flatten().map(|(_, judgement)| judgement.score).collect();
            let Candidates { dense, lexical } = candidates;
            let mut seen = BTreeSet::new();
            let ranked = rank(Mode::Hybrid, fusion, asked, dense, lexical);
            let documents =
                ranked.iter().filter_map(|(id, ..)| paths.get(id)).filter(|path| seen.insert(*path));
            METRIC.of(&documents.map(|path| score(path)).collect::<Vec<_>>(), &judged)
        };
        questions.iter().zip(&found).map(value).collect()
    };
    let bootstrap = Bootstrap::default();
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
    let before = values(now);
    let natural = |alpha| Fusion { method: Method::Convex, scale: Scale::Natural, alpha, ..*now };
    let (mut best, mut after, mut tried) = (*now, before.clone(), Vec::new());
    for step in 0..=STEPS {
        let fusion = natural(f32::from(step) / f32::from(STEPS));
        let these = values(&fusion);
        tried.push((fusion.alpha, mean(&these)));
        let (this, that) = (mean(&these), mean(&after));
        let nearer = (fusion.alpha - now.alpha).abs() < (best.alpha - now.alpha).abs();
        if this > that || (this == that && nearer) {
            (best, after) = (fusion, these);
        }
    }
    let gain = bootstrap.difference(&after, &before);
    Ok(Fit { now: bootstrap.mean(&before), best, tried, gain })
}
