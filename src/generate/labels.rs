//! From the log-probabilities of labels to the label: how they are compared, and how a bias is taken out.
//!
//! The rules are those of lm-evaluation-harness (Gao et al., `acc`, `acc_norm`, `acc_bytes`, `acc_mutual_info`); the
//! calibrations are contextual (Zhao et al. 2021, arXiv 2102.09690) and batch calibration (Zhou et al. 2023, arXiv
//! 2309.17249). Pure arithmetic: no model is asked here.

use serde::{Deserialize, Serialize};

use super::Scored;

/// Inputs that say nothing, on which contextual calibration measures what a model answers to the prompt alone.
pub const CONTENT_FREE: [&str; 3] = ["N/A", "", "[MASK]"];

/// By what labels are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scoring {
    /// The log-probability.
    #[default]
    Acc,
    /// The log-probability divided by the label's characters.
    AccNorm,
    /// The log-probability divided by the label's bytes in UTF-8.
    AccBytes,
    /// The log-probability less that without a prompt: pointwise mutual information.
    AccPmi,
}

/// What is held against the probabilities of labels before the most probable one is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Calibration {
    #[default]
    None,
    /// The mean of the probabilities for [`CONTENT_FREE`] inputs in the same prompt.
    Contextual,
    /// The mean of the probabilities over all inputs of the batch.
    Batch,
}

impl Scoring {
    pub const ALL: [Self; 4] = [Self::Acc, Self::AccNorm, Self::AccBytes, Self::AccPmi];

    /// As options, files and reports have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Acc => "acc",
            Self::AccNorm => "acc_norm",
            Self::AccBytes => "acc_bytes",
            Self::AccPmi => "acc_pmi",
        }
    }

    /// Whether [`Self::scores`] needs what the labels score without a prompt.
    pub fn needs_unconditional(self) -> bool {
        self == Self::AccPmi
    }

    /// One score a label, larger for the better. `unconditional` is looked at where it is needed, and has a score for each label;
    /// without it nothing is taken off.
    pub fn scores(self, labels: &[Scored], unconditional: &[Scored]) -> Vec<f64> {
        let score = |(at, label): (usize, &Scored)| match self {
            Self::Acc => label.log_probability,
            Self::AccNorm => label.log_probability / label.characters as f64,
            Self::AccBytes => label.log_probability / label.bytes as f64,
            Self::AccPmi => {
                label.log_probability - unconditional.get(at).map_or(0.0, |label| label.log_probability)
            }
        };
        labels.iter().enumerate().map(score).collect()
    }
}

impl Calibration {
    pub const ALL: [Self; 3] = [Self::None, Self::Contextual, Self::Batch];

    /// As options, files and reports have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Contextual => "contextual",
            Self::Batch => "batch",
        }
    }
}

/// `softmax(scores)`: one probability a label, 1 in all.
pub fn probabilities(scores: &[f64]) -> Vec<f64> {
    let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    normalised(scores.iter().map(|score| (score - most).exp()).collect())
}

/// The mean of rows of probabilities, label by label: the prior that [`calibrated`] takes out. Empty without rows.
pub fn mean<R: AsRef<[f64]>>(rows: &[R]) -> Vec<f64> {
    let labels = rows.first().map_or(0, |row| row.as_ref().len());
    let sum = |label: usize| rows.iter().map(|row| row.as_ref()[label]).sum::<f64>();
    (0..labels).map(|label| sum(label) / rows.len() as f64).collect()
}

/// `p / prior`, made to sum to 1: contextual calibration where `prior` is the [`mean`] over content-free inputs, batch
/// calibration where it is the mean over the batch. A prior of fewer labels leaves the others as they are.
pub fn calibrated(probabilities: &[f64], prior: &[f64]) -> Vec<f64> {
    let by = |label: usize| prior.get(label).map_or(1.0, |prior| prior.max(f64::MIN_POSITIVE));
    normalised(probabilities.iter().enumerate().map(|(label, p)| p / by(label)).collect())
}

/// The label with the largest value, the earlier one of equals. 0 where there is none.
pub fn choose(values: &[f64]) -> usize {
    (1..values.len()).fold(0, |best, label| if values[label] > values[best] { label } else { best })
}

fn normalised(mut values: Vec<f64>) -> Vec<f64> {
    let total: f64 = values.iter().sum();
    values.iter_mut().for_each(|value| *value /= total);
    values
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn label(log_probability: f64, text: &str) -> Scored {
        Scored {
            log_probability,
            tokens: 1,
            characters: text.chars().count(),
            bytes: text.len(),
            greedy: false,
        }
    }

    fn assert_near(ours: &[f64], expected: &[f64]) {
        assert_eq!(ours.len(), expected.len());
        let near = ours.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12);
        assert!(near, "{ours:?} instead of {expected:?}");
    }

    #[test]
    fn each_rule_prefers_another_label() {
        // Three characters in nine bytes, four in four, two in two.
        let labels = [label(-4.5, "日本語"), label(-4.0, "four"), label(-3.0, "no")];
        let alone = [label(-8.0, "日本語"), label(-4.4, "four"), label(-3.5, "no")];
        let scores = |scoring: Scoring| scoring.scores(&labels, &alone);
        assert_near(&scores(Scoring::Acc), &[-4.5, -4.0, -3.0]);
        assert_near(&scores(Scoring::AccNorm), &[-1.5, -1.0, -1.5]);
        assert_near(&scores(Scoring::AccBytes), &[-0.5, -1.0, -1.5]);
        assert_near(&scores(Scoring::AccPmi), &[3.5, 0.4, 0.5]);
        assert_eq!(Scoring::ALL.map(|scoring| choose(&scores(scoring))), [2, 1, 0, 0]);
    }

    #[test]
    fn probabilities_are_those_worked_by_hand() {
        // e^0 : e^(ln 3) : e^(ln 4) = 1 : 3 : 4
        assert_near(&probabilities(&[0.0, 3f64.ln(), 4f64.ln()]), &[0.125, 0.375, 0.5]);
        assert_near(&probabilities(&[-5000.0, -5000.0]), &[0.5, 0.5]);
    }

    #[test]
    fn contextual_calibration_takes_out_what_a_model_says_to_nothing() {
        // Zhao et al., section 5: p = (0.7, 0.3) where nothing at all gives (0.9, 0.1): 7/9 : 3 = 7 : 27.
        let prior = mean(&[[0.85, 0.15], [0.9, 0.1], [0.95, 0.05]]);
        assert_near(&prior, &[0.9, 0.1]);
        let calibrated = calibrated(&[0.7, 0.3], &prior);
        assert_near(&calibrated, &[7.0 / 34.0, 27.0 / 34.0]);
        assert_eq!((choose(&[0.7, 0.3]), choose(&calibrated)), (0, 1));
    }

    #[test]
    fn batch_calibration_takes_out_the_mean_of_the_batch() {
        let batch = [[0.9, 0.1], [0.6, 0.4], [0.75, 0.25]];
        let prior = mean(&batch);
        assert_near(&prior, &[0.75, 0.25]);
        let chosen = batch.map(|row| choose(&calibrated(&row, &prior)));
        assert_eq!(chosen, [0, 1, 0], "the last is the mean itself, a tie");
        assert_near(&calibrated(&batch[1], &prior), &[0.8 / 2.4, 1.6 / 2.4]);
    }

    #[test]
    fn a_label_that_nothing_ever_gets_is_no_division_by_zero() {
        let calibrated = calibrated(&[0.5, 0.5, 0.0], &[0.5, 0.0, 0.0]);
        assert!(calibrated.iter().all(|p| p.is_finite()), "{calibrated:?}");
        assert_eq!(choose(&calibrated), 1);
    }

    #[test]
    fn equals_go_to_the_earlier_label() {
        assert_eq!(choose(&[1.0, 2.0, 2.0]), 1);
        assert_eq!(choose(&[0.0, 0.0]), 0);
    }

    #[test]
    fn names_are_those_of_files() {
        for scoring in Scoring::ALL {
            assert_eq!(serde_json::to_value(scoring).unwrap(), scoring.name());
        }
        for calibration in Calibration::ALL {
            assert_eq!(serde_json::to_value(calibration).unwrap(), calibration.name());
        }
    }

    proptest! {
        #[test]
        fn probabilities_and_calibrated_ones_sum_to_one(
            rows in prop::collection::vec(prop::collection::vec(-300.0..0.0, 5), 1..6),
        ) {
            let rows: Vec<Vec<f64>> = rows.iter().map(|scores| probabilities(scores)).collect();
            for row in rows.iter().chain(rows.iter().map(|row| calibrated(row, &mean(&rows))).collect::<Vec<_>>().iter()) {
                prop_assert!((row.iter().sum::<f64>() - 1.0).abs() < 1e-9);
            }
        }

        #[test]
        fn a_uniform_prior_changes_nothing(scores in prop::collection::vec(-50.0..0.0, 1..8)) {
            let p = probabilities(&scores);
            let uniform = vec![1.0 / p.len() as f64; p.len()];
            for (calibrated, p) in calibrated(&p, &uniform).iter().zip(&p) {
                prop_assert!((calibrated - p).abs() < 1e-12);
            }
        }

        #[test]
        fn labels_in_another_order_get_the_same(
            scores in prop::collection::vec((-50.0..0.0, 0.01..1.0), 1..8),
            turn in 0usize..8,
        ) {
            let turned = |values: &[f64]| {
                let mut values = values.to_vec();
                values.rotate_left(turn % scores.len());
                values
            };
            let (scores, prior): (Vec<f64>, Vec<f64>) = scores.iter().copied().unzip();
            let one = turned(&calibrated(&probabilities(&scores), &prior));
            let other = calibrated(&probabilities(&turned(&scores)), &turned(&prior));
            for (a, b) in one.iter().zip(other) {
                prop_assert!((a - b).abs() < 1e-12);
            }
        }
    }
}
