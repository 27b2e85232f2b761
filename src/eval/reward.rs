//! Does a reward model score better answers higher, and does it know how sure it may be?
//!
//! Accuracy is the share of pairs whose better answer scores higher, a tie counting half. How sure a model is of a pair is what
//! Bradley and Terry's (1952) reading of scores says: `sigmoid(|difference|)`. It is calibrated where of the pairs it is 80 % sure of it
//! has 80 % right; how far it is from that on average is the expected calibration error (Naeini et al. 2015; Guo et al. 2017,
//! arXiv 1706.04599). Pairs of one prompt are judged by the same words, so that intervals draw prompts and not pairs.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use serde::Serialize;

use super::stats::{Bootstrap, Estimate};
use crate::rlhf::reward::pairs;
use crate::rlhf::surrogate::{sigmoid, softplus};

/// Parts that confidence, which is from a half to one, is cut into.
const BINS: usize = 10;

/// Answers to one prompt and what they score.
#[derive(Debug, Clone, PartialEq)]
pub struct Ranked {
    /// Where it belongs; the name of a source, for example.
    pub group: String,
    /// What tells its prompt from others.
    pub prompt: String,
    /// The best answer's first.
    pub scores: Vec<f64>,
}

/// How pairs are told.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Told {
    /// `None` for all together.
    pub group: Option<String>,
    pub prompts: usize,
    pub pairs: usize,
    /// Share of pairs whose better answer scores higher.
    pub accuracy: Estimate,
    /// Mean difference between the better and the worse answer's score.
    pub margin: f64,
    /// Mean of `-log sigmoid(difference)`; log 2 where nothing is told.
    pub loss: f64,
}

/// What a model knows of its own errors.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Calibration {
    /// Those that have pairs, from the least sure.
    pub bins: Vec<Bin>,
    /// Mean distance between confidence and accuracy.
    pub expected_error: f64,
}

/// Pairs that a model is about as sure of.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Bin {
    pub pairs: usize,
    /// Means.
    pub confidence: f64,
    pub accuracy: f64,
}

/// All that is said of a reward model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// By name; none where nothing tells groups apart.
    pub groups: Vec<Told>,
    pub all: Told,
    pub calibration: Calibration,
    /// Of all answers: least, mean and most.
    pub scores: [f64; 3],
}

/// Of each pair of `scores`, the best answer's first: the better one's less the worse one's.
fn differences(scores: &[f64]) -> impl Iterator<Item = f64> {
    pairs(scores.len()).map(move |(better, worse)| scores[better] - scores[worse])
}

fn right(difference: f64) -> f64 {
    match difference {
        0.0 => 0.5,
        difference => f64::from(u8::from(difference > 0.0)),
    }
}

/// Pairs of one prompt that are right, of how many.
#[derive(Debug, Clone, Copy, Default)]
struct Share {
    right: f64,
    pairs: f64,
}

impl AddAssign<&Self> for Share {
    fn add_assign(&mut self, other: &Self) {
        self.right += other.right;
        self.pairs += other.pairs;
    }
}

impl Told {
    fn of(group: Option<String>, rows: &[&Ranked], bootstrap: Bootstrap) -> Self {
        let mut prompts: BTreeMap<&str, Share> = BTreeMap::new();
        let (mut margin, mut loss) = (0.0, 0.0);
        for row in rows {
            for difference in differences(&row.scores) {
                *prompts.entry(&row.prompt).or_default() += &Share { right: right(difference), pairs: 1.0 };
                margin += difference;
                loss += softplus(-difference);
            }
        }
        let shares: Vec<Share> = prompts.into_values().collect();
        let pairs: f64 = shares.iter().map(|share| share.pairs).sum();
        let share = |share: &Share| share.right / share.pairs.max(1.0);
        let alike = |of: f64| shares.iter().all(|one| share(one) == of);
        let accuracy = match alike(0.0) || alike(1.0) {
            // Resamples would all be the same and make it certain.
            true => bootstrap.mean(&shares.iter().map(share).collect::<Vec<_>>()),
            false => bootstrap.figure(&shares, share),
        };
        Self {
            group,
            prompts: shares.len(),
            pairs: pairs as usize,
            accuracy,
            margin: margin / pairs.max(1.0),
            loss: loss / pairs.max(1.0),
        }
    }
}

impl Calibration {
    fn of(rows: &[Ranked]) -> Self {
        let mut sums = [(0usize, 0.0, 0.0); BINS];
        for difference in rows.iter().flat_map(|row| differences(&row.scores)) {
            let confidence = sigmoid(difference.abs());
            let at = ((confidence - 0.5) * 2.0 * BINS as f64) as usize;
            let (pairs, confident, correct) = &mut sums[at.min(BINS - 1)];
            (*pairs, *confident, *correct) =
                (*pairs + 1, *confident + confidence, *correct + right(difference));
        }
        let bins: Vec<Bin> = sums
            .into_iter()
            .filter(|(pairs, ..)| *pairs > 0)
            .map(|(pairs, confident, correct)| Bin {
                pairs,
                confidence: confident / pairs as f64,
                accuracy: correct / pairs as f64,
            })
            .collect();
        let all: usize = bins.iter().map(|bin| bin.pairs).sum();
        let off = |bin: &Bin| bin.pairs as f64 * (bin.confidence - bin.accuracy).abs();
        let expected_error = bins.iter().map(off).sum::<f64>() / all.max(1) as f64;
        Self { bins, expected_error }
    }
}

impl Report {
    pub fn of(rows: &[Ranked], bootstrap: Bootstrap) -> Self {
        let mut groups: BTreeMap<&str, Vec<&Ranked>> = BTreeMap::new();
        for row in rows {
            groups.entry(&row.group).or_default().push(row);
        }
        let several = groups.len() > 1;
        let told = |(name, rows): (&str, Vec<&Ranked>)| Told::of(Some(name.to_owned()), &rows, bootstrap);
        let scores = || rows.iter().flat_map(|row| row.scores.iter().copied());
        let count = scores().count().max(1) as f64;
        Self {
            groups: if several { groups.into_iter().map(told).collect() } else { Vec::new() },
            all: Told::of(None, &rows.iter().collect::<Vec<_>>(), bootstrap),
            calibration: Calibration::of(rows),
            scores: [
                scores().fold(f64::INFINITY, f64::min),
                scores().sum::<f64>() / count,
                scores().fold(f64::NEG_INFINITY, f64::max),
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranked(group: &str, prompt: &str, scores: &[f64]) -> Ranked {
        Ranked { group: group.into(), prompt: prompt.into(), scores: scores.to_vec() }
    }

    #[test]
    fn pairs_are_counted_and_ties_are_halves() {
        let rows = [
            ranked("a", "1", &[2.0, 1.0, 3.0]),
            ranked("a", "2", &[1.0, 1.0]),
            ranked("b", "3", &[1.0, 0.0]),
            ranked("b", "4", &[5.0, 0.0]),
        ];
        let report = Report::of(&rows, Bootstrap::default());
        assert_eq!((report.all.pairs, report.all.prompts, report.groups.len()), (6, 4, 2));
        assert!((report.all.accuracy.mean - 3.5 / 6.0).abs() < 1e-12);
        let [a, b] = &report.groups[..] else { panic!() };
        assert_eq!((a.group.as_deref(), a.pairs), (Some("a"), 4));
        assert!((a.accuracy.mean - 1.5 / 4.0).abs() < 1e-12);
        assert!((a.margin - (1.0 - 1.0 - 2.0) / 4.0).abs() < 1e-12);
        // Two of two is not certain.
        assert!(b.accuracy.mean == 1.0 && b.accuracy.low < 0.9, "{:?}", b.accuracy);
        assert_eq!(report.scores, [0.0, 14.0 / 9.0, 5.0]);
    }

    #[test]
    fn pairs_of_one_prompt_are_one_draw() {
        let many: Vec<Ranked> =
            (0..200).map(|at| ranked("", "one", &[1.0, f64::from(at % 2) * 2.0])).collect();
        let one = Report::of(&many, Bootstrap::default()).all;
        assert_eq!((one.prompts, one.pairs), (1, 200));
        let apart: Vec<Ranked> =
            (0..200).map(|at| ranked("", &at.to_string(), &[1.0, f64::from(at % 2) * 2.0])).collect();
        let apart = Report::of(&apart, Bootstrap::default()).all;
        assert!((apart.accuracy.mean - 0.5).abs() < 1e-12);
        assert!(apart.accuracy.low > 0.4 && apart.accuracy.high < 0.6, "{:?}", apart.accuracy);
    }

    #[test]
    fn a_model_that_is_as_sure_as_it_is_right_is_calibrated() {
        // Sure to 0.7311 of a difference of one: 731 of 1,000 right.
        let rows: Vec<Ranked> = (0..1000)
            .map(|at| ranked("", &at.to_string(), if at < 731 { &[1.0, 0.0] } else { &[0.0, 1.0] }))
            .collect();
        let report = Report::of(&rows, Bootstrap::default());
        assert_eq!(report.calibration.bins.len(), 1);
        assert!(report.calibration.expected_error < 1e-3, "{:?}", report.calibration);
        let sure: Vec<Ranked> = rows
            .iter()
            .map(|row| Ranked { scores: row.scores.iter().map(|score| score * 8.0).collect(), ..row.clone() })
            .collect();
        let report = Report::of(&sure, Bootstrap::default());
        assert!((report.calibration.expected_error - 0.269).abs() < 1e-2, "{:?}", report.calibration);
        assert!(report.all.loss > 2.0, "to be sure and wrong costs: {}", report.all.loss);
    }

    #[test]
    fn nothing_comes_to_nothing() {
        let report = Report::of(&[], Bootstrap::default());
        assert_eq!((report.all.pairs, report.calibration.bins.len()), (0, 0));
    }
}
