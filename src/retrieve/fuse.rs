//! Two ranked lists -> one.
//!
//! Reciprocal rank fusion looks at ranks only and needs no tuning (Cormack et al. 2009, k = 60; some engines default to
//! 2, which is another method). A convex combination of scores also knows by how much one passage is ahead of the next
//! (Bruch et al. 2023, <https://arxiv.org/abs/2210.11934>). What it makes of the scores matters more than its weight.
//! Stretched to the same range, a leg that cannot tell passages apart speaks as loudly as one that can: an English
//! encoder that reads Chinese puts its hundred nearest passages 0.14 apart, and in its own language 0.4. [`Scale::Natural`]
//! leaves cosines as far apart as they are, so the dense leg is heard by what it is worth for each question, without
//! anybody's judgement. Either way a fused score orders one result list and means nothing across questions: whether a
//! question is answerable is `gate`'s to say.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Leg, Legs};
use crate::index::ChunkId;
use crate::index::profile::Scale;

/// How two legs become one list.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "lowercase", deny_unknown_fields)]
pub enum Fusion {
    /// A leg adds `1 / (k + rank)`, rank from 1.
    Rrf { k: f32 },
    /// The dense leg adds `alpha * s`, the lexical leg `(1 - alpha) * s`, where `s` is the score as `scale` has it.
    Convex {
        alpha: f32,
        #[serde(default)]
        scale: Scale,
    },
}

impl Default for Fusion {
    fn default() -> Self {
        Self::Rrf { k: 60.0 }
    }
}

/// A candidate with its place in both legs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fused {
    pub id: ChunkId,
    /// The sum of the legs' shares.
    pub score: f32,
    pub legs: Legs,
}

impl Fusion {
    /// Best first. Legs are put in order here (score, then id), so the result depends on what they hold and not on how
    /// they came; a chunk named twice in a leg counts once, with its better score, and a score that is not a number
    /// comes last. `asked` is how many candidates a leg was asked for: one that names fewer has no others to name.
    pub fn fuse(self, dense: &[(ChunkId, f32)], lexical: &[(ChunkId, f32)], asked: usize) -> Vec<Fused> {
        let (dense_weight, lexical_weight) = match self {
            Self::Rrf { .. } => (1.0, 1.0),
            Self::Convex { alpha, .. } => (alpha, 1.0 - alpha),
        };
        let mut found: BTreeMap<ChunkId, Legs> = BTreeMap::new();
        for (id, leg) in self.leg(dense, dense_weight, |scored| Natural::cosines(scored, asked)) {
            found.entry(id).or_default().dense = Some(leg);
        }
        for (id, leg) in self.leg(lexical, lexical_weight, |scored| Natural::words(scored, asked)) {
            found.entry(id).or_default().lexical = Some(leg);
        }
        let share = |leg: Option<Leg>| leg.map_or(0.0, |leg| leg.share);
        let fused = |(id, legs): (ChunkId, Legs)| {
            let score = share(legs.dense) + share(legs.lexical);
            Fused { id, score, legs }
        };
        let mut fused: Vec<Fused> = found.into_iter().map(fused).collect();
        fused.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.id.cmp(&b.id)));
        fused
    }

    fn leg(
        self,
        scored: &[(ChunkId, f32)],
        weight: f32,
        natural: impl Fn(&[(ChunkId, f32)]) -> Natural,
    ) -> Vec<(ChunkId, Leg)> {
        let ranked = ranked(scored);
        let (stretched, natural) = (stretch(&ranked), natural(&ranked));
        let leg = |(at, (id, score)): (usize, (ChunkId, f32))| {
            let rank = at + 1;
            let share = match self {
                Self::Rrf { k } => weight / (k + rank as f32),
                Self::Convex { scale: Scale::MinMax, .. } => weight * stretched(score),
                Self::Convex { scale: Scale::Natural, .. } => weight * natural.of(score),
            };
            (id, Leg { rank, score, share })
        };
        ranked.iter().copied().enumerate().map(leg).collect()
    }
}

/// Best first, each chunk once.
fn ranked(scored: &[(ChunkId, f32)]) -> Vec<(ChunkId, f32)> {
    let mut ranked = scored.to_vec();
    let by_score = |a: f32, b: f32| match (a.is_nan(), b.is_nan()) {
        (false, false) => b.total_cmp(&a),
        (a, b) => a.cmp(&b),
    };
    ranked.sort_by(|a, b| by_score(a.1, b.1).then(a.0.cmp(&b.0)));
    let mut seen = std::collections::BTreeSet::new();
    ranked.retain(|(id, _)| seen.insert(*id));
    ranked
}

/// [`Scale::Natural`] for one leg.
#[derive(Clone, Copy)]
struct Natural {
    floor: f32,
    unit: f32,
}

impl Natural {
    fn cosines(ranked: &[(ChunkId, f32)], asked: usize) -> Self {
        Self { floor: floor(ranked, asked), unit: 1.0 }
    }

    fn words(ranked: &[(ChunkId, f32)], asked: usize) -> Self {
        Self { floor: floor(ranked, asked), unit: bounds(ranked).1 }
    }

    /// 0 for what is no number, and where there is no best to measure by.
    fn of(self, score: f32) -> f32 {
        let share = (score - self.floor) / self.unit;
        if share.is_finite() { share.max(0.0) } else { 0.0 }
    }
}

/// What a passage has at most that a leg did not name: as much as the last it named, or nothing if it named all it had.
fn floor(ranked: &[(ChunkId, f32)], asked: usize) -> f32 {
    let (least, _) = bounds(ranked);
    if ranked.len() < asked { least.min(0.0) } else { least }
}

/// The least and the most of a leg's finite scores.
fn bounds(ranked: &[(ChunkId, f32)]) -> (f32, f32) {
    let finite = || ranked.iter().map(|(_, score)| *score).filter(|score| score.is_finite());
    (finite().fold(f32::INFINITY, f32::min), finite().fold(f32::NEG_INFINITY, f32::max))
}

/// Maps a leg's scores to `[0, 1]`; all the same score is all 1: each was the best there was.
fn stretch(ranked: &[(ChunkId, f32)]) -> impl Fn(f32) -> f32 + use<> {
    let (least, most) = bounds(ranked);
    move |score| match score.partial_cmp(&least) {
        None => 0.0,
        Some(Ordering::Equal) if most == least => 1.0,
        Some(_) if score == most => 1.0,
        Some(_) if most > least => ((score - least) / (most - least)).clamp(0.0, 1.0),
        Some(_) => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn minmax(alpha: f32) -> Fusion {
        Fusion::Convex { alpha, scale: Scale::MinMax }
    }

    fn ids(fused: &[Fused]) -> Vec<ChunkId> {
        fused.iter().map(|fused| fused.id).collect()
    }

    #[test]
    fn reciprocal_ranks_are_added_and_found_twice_beats_found_once() {
        let fused = Fusion::default().fuse(&[(1, 0.9), (2, 0.8), (3, 0.7)], &[(3, 12.0), (4, 3.0)], 100);
        assert_eq!(ids(&fused), [3, 1, 2, 4]);
        assert_eq!(fused[0].score, 1.0 / 63.0 + 1.0 / 61.0);
        assert_eq!(fused[0].legs.dense, Some(Leg { rank: 3, score: 0.7, share: 1.0 / 63.0 }));
        assert_eq!(fused[1].legs.lexical, None);
    }

    #[test]
    fn convex_scales_each_leg_to_its_own_best_and_worst() {
        let fused = minmax(0.75).fuse(&[(1, 0.9), (2, 0.7), (3, 0.5)], &[(2, 10.0), (4, 5.0)], 100);
        assert_eq!(ids(&fused), [1, 2, 3, 4]);
        let scores: Vec<f32> = fused.iter().map(|fused| fused.score).collect();
        for (score, expected) in scores.iter().zip([0.75, 0.375 + 0.25, 0.0, 0.0]) {
            assert!((score - expected).abs() < 1e-6, "{scores:?}");
        }
    }

    #[test]
    fn a_leg_with_one_score_only_counts_fully() {
        let fused = minmax(0.5).fuse(&[(1, 0.3)], &[(2, 4.0), (3, 4.0)], 100);
        assert_eq!(fused.iter().map(|fused| fused.score).collect::<Vec<_>>(), [0.5, 0.5, 0.5]);
    }

    #[test]
    fn a_leg_that_cannot_tell_passages_apart_does_not_outvote_one_that_can() {
        let natural = Fusion::Convex { alpha: 0.7, scale: Scale::Natural };
        let words = [(1, 9.0), (2, 3.0)];
        let (knowing, lost) = ([(2, 0.7), (3, 0.2)], [(2, 0.55), (3, 0.5)]);
        let close =
            |score: f32, expected: f32| assert!((score - expected).abs() < 1e-6, "{score} {expected}");
        let fused = natural.fuse(&knowing, &words, 2);
        assert_eq!(ids(&fused), [2, 1, 3]);
        close(fused[0].score, 0.7 * (0.7 - 0.2));
        close(fused[1].score, 0.3 * (9.0 - 3.0) / 9.0);
        close(fused[2].score, 0.0);
        assert_eq!(ids(&natural.fuse(&lost, &words, 2)), [1, 2, 3]);
        assert_eq!(ids(&minmax(0.7).fuse(&lost, &words, 2)), [2, 1, 3], "stretched, it does");
    }

    #[test]
    fn a_leg_that_named_all_it_had_is_measured_from_nothing_and_a_full_one_from_its_last() {
        let natural = Fusion::Convex { alpha: 0.7, scale: Scale::Natural };
        let shares = |words: &[(ChunkId, f32)], asked| -> Vec<f32> {
            let fused = natural.fuse(&[], words, asked);
            fused.iter().filter_map(|fused| Some((fused.legs.lexical?.share / 0.3 * 100.0).round())).collect()
        };
        assert_eq!(shares(&[(1, 8.0)], 100), [100.0], "the only passage with the word");
        assert_eq!(shares(&[(1, 8.0), (2, 6.0)], 100), [100.0, 75.0]);
        assert_eq!(shares(&[(1, 8.0), (2, 6.0)], 2), [25.0, 0.0]);
        assert_eq!(shares(&[(1, 0.0), (2, f32::NAN)], 100), [0.0, 0.0]);
        let cosines = natural.fuse(&[(1, 0.5), (2, -0.1)], &[], 100);
        let share = |at: usize| (cosines[at].score * 100.0).round();
        assert_eq!([share(0), share(1)], [42.0, 0.0], "opposites stay apart, too");
    }

    #[test]
    fn ties_go_to_the_smaller_id_and_a_repeated_chunk_counts_once() {
        let fused = Fusion::default().fuse(&[(9, 0.5), (2, 0.5), (9, 0.4), (5, f32::NAN)], &[], 100);
        assert_eq!(ids(&fused), [2, 9, 5]);
    }

    #[test]
    fn profiles_name_the_method_and_nothing_else() {
        let parse = |text: &str| toml::from_str::<Fusion>(text);
        assert_eq!(parse("method = \"convex\"\nalpha = 0.4").unwrap(), minmax(0.4));
        let natural = parse("method = \"convex\"\nalpha = 0.4\nscale = \"natural\"").unwrap();
        assert_eq!(natural, Fusion::Convex { alpha: 0.4, scale: Scale::Natural });
        assert!(parse("method = \"rrf\"\nk = 60\nalpha = 1").unwrap_err().to_string().contains("alpha"));
    }

    fn leg() -> impl Strategy<Value = Vec<(ChunkId, f32)>> {
        prop::collection::vec((0u64..30, -1.0f32..20.0), 0..30)
    }

    proptest! {
        #[test]
        fn shares_sum_to_the_score_and_order_of_arrival_does_not_matter(
            dense in leg(), lexical in leg(), alpha in 0.0f32..=1.0, asked in 1usize..40,
        ) {
            for fusion in [Fusion::default(), minmax(alpha), Fusion::Convex { alpha, scale: Scale::Natural }] {
                let fused = fusion.fuse(&dense, &lexical, asked);
                for one in &fused {
                    let share = |leg: Option<Leg>| leg.map_or(0.0, |leg| leg.share);
                    prop_assert_eq!(one.score, share(one.legs.dense) + share(one.legs.lexical));
                    prop_assert!(one.score.is_finite());
                }
                prop_assert!(fused.windows(2).all(|w| w[0].score >= w[1].score));
                let backwards = |leg: &[(ChunkId, f32)]| leg.iter().rev().copied().collect::<Vec<_>>();
                prop_assert_eq!(&fused, &fusion.fuse(&backwards(&dense), &backwards(&lexical), asked));
            }
        }

        #[test]
        fn every_candidate_comes_back_once(dense in leg(), lexical in leg()) {
            let mut expected: Vec<ChunkId> = dense.iter().chain(&lexical).map(|(id, _)| *id).collect();
            expected.sort_unstable();
            expected.dedup();
            let mut got = ids(&Fusion::default().fuse(&dense, &lexical, 100));
            got.sort_unstable();
            prop_assert_eq!(got, expected);
        }
    }
}
