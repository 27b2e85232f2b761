//! How good a ranked list is, as trec_eval counts it.
//!
//! Each measure looks at one question: the scores its judges gave to what was found, best first (0 for what nobody
//! judged), and all the scores they gave. A score above 0 is relevant; a negative one counts as 0, as in trec_eval.

use serde::Serialize;

/// What is measured of every question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Metric {
    Ndcg(usize),
    Recall(usize),
    ReciprocalRank(usize),
}

impl Metric {
    /// Those that are reported, the first being what modes are compared by.
    pub const ALL: [Self; 6] = [
        Self::Ndcg(10),
        Self::Recall(1),
        Self::Recall(5),
        Self::Recall(10),
        Self::Recall(100),
        Self::ReciprocalRank(10),
    ];

    pub fn name(self) -> String {
        match self {
            Self::Ndcg(k) => format!("nDCG@{k}"),
            Self::Recall(k) => format!("recall@{k}"),
            Self::ReciprocalRank(k) => format!("MRR@{k}"),
        }
    }

    /// Its value for a question whose first hits were judged `found`, and all of whose judgements are `judged`.
    pub fn of(self, found: &[i64], judged: &[i64]) -> f64 {
        match self {
            Self::Ndcg(k) => ndcg(found, judged, k),
            Self::Recall(k) => recall(found, judged, k),
            Self::ReciprocalRank(k) => reciprocal_rank(found, k),
        }
    }
}

impl Serialize for Metric {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.name())
    }
}

/// Normalised discounted cumulative gain of the first `k`: the sum of `score / log2(rank + 1)` over that of the best
/// possible order (Järvelin & Kekäläinen 2002, with trec_eval's linear gain). 0 when nothing is relevant.
pub fn ndcg(found: &[i64], judged: &[i64], k: usize) -> f64 {
    let mut ideal = judged.to_vec();
    ideal.sort_unstable_by(|a, b| b.cmp(a));
    let best = gain(&ideal, k);
    if best > 0.0 { gain(found, k) / best } else { 0.0 }
}

fn gain(scores: &[i64], k: usize) -> f64 {
    let gained = |(at, &score): (usize, &i64)| score.max(0) as f64 / ((at + 2) as f64).log2();
    scores.iter().take(k).enumerate().map(gained).sum()
}

/// The share of what is relevant that is among the first `k`. 0 when nothing is relevant.
pub fn recall(found: &[i64], judged: &[i64], k: usize) -> f64 {
    let relevant = |scores: &[i64]| scores.iter().filter(|score| **score > 0).count();
    match relevant(judged) {
        0 => 0.0,
        all => relevant(&found[..k.min(found.len())]) as f64 / all as f64,
    }
}

/// 1 over the rank of the first relevant one among the first `k`; 0 when there is none.
pub fn reciprocal_rank(found: &[i64], k: usize) -> f64 {
    found.iter().take(k).position(|score| *score > 0).map_or(0.0, |at| 1.0 / (at + 1) as f64)
}

/// The chance that a positive scores above a negative, ties counting half: the area under the ROC curve (Mann & Whitney
/// 1947; Fawcett 2006). `None` when there are none of either.
pub fn auroc(positives: &[f64], negatives: &[f64]) -> Option<f64> {
    if positives.is_empty() || negatives.is_empty() {
        return None;
    }
    let mut sorted = negatives.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let below = |score: &f64| {
        let less = sorted.partition_point(|other| other < score);
        let ties = sorted.partition_point(|other| other <= score) - less;
        less as f64 + 0.5 * ties as f64
    };
    Some(positives.iter().map(below).sum::<f64>() / (positives.len() * negatives.len()) as f64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_worked_out_by_hand() {
        // Gains 3/log2(2) + 0 + 1/log2(4), of at best 3/log2(2) + 2/log2(3) + 1/log2(4).
        let (found, judged) = ([3, 0, 1, -2], [1, 3, 2, -2]);
        let expected = (3.0 + 0.5) / (3.0 + 2.0 / 3f64.log2() + 0.5);
        assert!((ndcg(&found, &judged, 10) - expected).abs() < 1e-12);
        assert!((ndcg(&found, &judged, 1) - 1.0).abs() < 1e-12);
        assert_eq!(recall(&found, &judged, 1), 1.0 / 3.0);
        assert_eq!(recall(&found, &judged, 100), 2.0 / 3.0);
        assert_eq!(reciprocal_rank(&[0, -1, 2, 1], 10), 1.0 / 3.0);
        assert_eq!(reciprocal_rank(&[0, -1, 2, 1], 2), 0.0);
    }

    #[test]
    fn a_question_without_anything_relevant_scores_nothing() {
        for metric in Metric::ALL {
            assert_eq!(metric.of(&[0, -1], &[0, -1]), 0.0, "{metric:?}");
            assert_eq!(metric.of(&[], &[1]), 0.0, "{metric:?}");
        }
    }

    proptest! {
        #[test]
        fn the_best_order_scores_one_and_no_order_scores_more(
            judged in prop::collection::vec(-1i64..4, 1..20), k in 1usize..12, seed in any::<u64>(),
        ) {
            prop_assume!(judged.iter().any(|score| *score > 0));
            let mut best = judged.clone();
            best.sort_unstable_by(|a, b| b.cmp(a));
            prop_assert!((ndcg(&best, &judged, k) - 1.0).abs() < 1e-12);
            let mut other = judged.clone();
            other.rotate_left(seed as usize % judged.len());
            for metric in [Metric::Ndcg(k), Metric::Recall(k), Metric::ReciprocalRank(k)] {
                let value = metric.of(&other, &judged);
                prop_assert!((0.0..=1.0 + 1e-12).contains(&value));
                prop_assert!(value <= metric.of(&best, &judged) + 1e-12);
            }
            prop_assert_eq!(recall(&other, &judged, judged.len()), 1.0);
        }
    }

    #[test]
    fn auroc_is_the_chance_to_score_higher() {
        assert_eq!(auroc(&[0.9, 0.8], &[0.1, 0.2]), Some(1.0));
        assert_eq!(auroc(&[0.5, 0.1], &[0.5, 0.3]), Some((0.5 + 1.0) / 4.0));
        assert_eq!(auroc(&[], &[0.5]), None);
    }
}
