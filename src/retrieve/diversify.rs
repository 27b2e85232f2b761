//! From good passages to a good *set* of passages: not the same thing said twice.
//!
//! Maximal marginal relevance (Carbonell & Goldstein 1998) trades relevance against likeness to what is already chosen;
//! near-duplicates (one text in two files) are dropped outright. Both work on positions in a list that is sorted best
//! first, so they fit any list with vectors beside it.

use super::cosine;

/// Weight of relevance against novelty.
pub const LAMBDA: f32 = 0.7;

/// Above this cosine two passages say the same.
pub const NEAR_DUPLICATE: f32 = 0.95;

/// Positions of the `take` passages chosen by maximal marginal relevance, in the order they were chosen.
///
/// `relevance[i]` and `vectors[i]` belong to the same passage. Relevance is scaled to `[0, 1]` over the list, because fused
/// scores (around 0.03 for reciprocal ranks) would otherwise drown in cosines. Ties go to the earlier passage; surplus
/// entries of the longer slice are ignored.
pub fn mmr<V: AsRef<[f32]>>(relevance: &[f32], vectors: &[V], lambda: f32, take: usize) -> Vec<usize> {
    let relevance = scaled(relevance);
    let mut left: Vec<usize> = (0..relevance.len().min(vectors.len())).collect();
    // Likeness of each passage to the closest one chosen so far.
    let mut likeness = vec![0.0f32; left.len()];
    let mut chosen = Vec::new();
    while chosen.len() < take {
        let value = |at: usize| lambda * relevance[at] - (1.0 - lambda) * likeness[at];
        let better = |best: usize, next: usize| if value(next) > value(best) { next } else { best };
        let Some(best) = left.iter().copied().reduce(better) else { break };
        left.retain(|&at| at != best);
        for &at in &left {
            likeness[at] = likeness[at].max(cosine(vectors[at].as_ref(), vectors[best].as_ref()));
        }
        chosen.push(best);
    }
    chosen
}

/// Positions, in order, of passages unlike every one kept before them: cosine at most `threshold`.
pub fn distinct<V: AsRef<[f32]>>(vectors: &[V], threshold: f32) -> Vec<usize> {
    let mut kept: Vec<usize> = Vec::new();
    for (at, vector) in vectors.iter().enumerate() {
        let seen = kept.iter().any(|&kept| cosine(vectors[kept].as_ref(), vector.as_ref()) > threshold);
        if !seen {
            kept.push(at);
        }
    }
    kept
}

fn scaled(scores: &[f32]) -> Vec<f32> {
    let finite = || scores.iter().copied().filter(|score| score.is_finite());
    let most = finite().fold(f32::NEG_INFINITY, f32::max);
    let least = finite().fold(f32::INFINITY, f32::min);
    let scale = |&score: &f32| match () {
        _ if !score.is_finite() => 0.0,
        _ if most > least => (score - least) / (most - least),
        _ => 1.0,
    };
    scores.iter().map(scale).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_second_copy_waits_for_something_new() {
        let vectors = [[1.0, 0.0], [0.999, 0.02], [0.0, 1.0]];
        assert_eq!(mmr(&[0.033, 0.032, 0.030], &vectors, 0.5, 3), [0, 2, 1]);
        assert_eq!(mmr(&[0.033, 0.032, 0.030], &vectors, 1.0, 3), [0, 1, 2]);
    }

    #[test]
    fn near_duplicates_are_dropped_in_favour_of_the_better_ranked() {
        let vectors = [[1.0, 0.0], [0.8, 0.6], [0.999, 0.02], [0.81, 0.59]];
        assert_eq!(distinct(&vectors, NEAR_DUPLICATE), [0, 1]);
    }

    #[test]
    fn cosine_forgives_zero_vectors_and_unequal_lengths() {
        assert_eq!(cosine(&[0.0, 0.0], &[1.0, 0.0]), 0.0);
        assert_eq!(cosine(&[1.0], &[1.0, 0.0]), 0.0);
        assert_eq!(cosine(&[3.0, 0.0], &[2.0, 0.0]), 1.0);
    }

    proptest! {
        #[test]
        fn mmr_chooses_each_passage_once_and_starts_with_the_best(
            scores in prop::collection::vec(-1.0f32..1.0, 1..12), lambda in 0.1f32..=1.0, take in 1usize..15,
        ) {
            let vectors: Vec<[f32; 2]> = scores.iter().map(|s| [s.cos(), s.sin()]).collect();
            let chosen = mmr(&scores, &vectors, lambda, take);
            prop_assert_eq!(chosen.len(), take.min(scores.len()));
            prop_assert!(scores.iter().all(|&score| score <= scores[chosen[0]]));
            let unique: std::collections::BTreeSet<_> = chosen.iter().collect();
            prop_assert_eq!(unique.len(), chosen.len());
        }

        #[test]
        fn with_no_weight_on_novelty_mmr_keeps_the_order(count in 1usize..12) {
            let scores: Vec<f32> = (0..count).rev().map(|score| score as f32).collect();
            let vectors = vec![[1.0, 0.0]; count];
            prop_assert_eq!(mmr(&scores, &vectors, 1.0, count), (0..count).collect::<Vec<_>>());
        }
    }
}
