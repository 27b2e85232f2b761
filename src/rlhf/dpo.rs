//! Direct preference optimisation: the policy learns from preferences without a reward model or sampling (Rafailov et al. 2023,
//! arXiv 2305.18290).
//!
//! ```text
//! u(y) = log p(y | x) - log p_ref(y | x)       over the answer's tokens, its end included
//! h    = u(chosen) - u(rejected)               loss of h: -log sigmoid(beta h)
//! ```
//!
//! `beta u` is the reward that the policy amounts to. The reference never changes, so its log-probabilities are computed once.

use std::collections::BTreeMap;
use std::ops::Range;

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::reward::{is_preference, metrics, over_rows, pairs};
use super::surrogate::{Weighed, numbers, sigmoid, softplus, through};
use crate::error::Result;
use crate::models::Model;
use crate::nn::loss;
use crate::train::{Measured, Metrics, Micro, Objective, Row, Seen};

/// What is made of `h`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Variant {
    /// `-(1 - s) log sigmoid(beta h) - s log sigmoid(-beta h)`, where a share `s` of judgements may be wrong (Mitchell 2023).
    #[default]
    Sigmoid,
    /// `max(0, 1 - beta h)` (Zhao et al. 2023, arXiv 2305.10425).
    Hinge,
    /// `(h - 1 / (2 beta))²`, with `u` a mean over tokens (Azar et al. 2023, arXiv 2310.12036).
    Ipo,
}

/// To make the better answer likelier than the reference does, and the worse one less likely.
pub struct Dpo {
    pub beta: f64,
    pub variant: Variant,
    /// The share of judgements that are taken to be wrong; for [`Variant::Sigmoid`].
    pub label_smoothing: f64,
    /// Log-probabilities of each row's answers under the reference.
    pub reference: Vec<Vec<f64>>,
}

impl Dpo {
    /// Loss of `h` and its derivative.
    pub fn of(&self, h: f64) -> (f64, f64) {
        let (beta, wrong) = (self.beta, self.label_smoothing);
        match self.variant {
            Variant::Sigmoid => (
                (1.0 - wrong) * softplus(-beta * h) + wrong * softplus(beta * h),
                beta * (wrong * sigmoid(beta * h) - (1.0 - wrong) * sigmoid(-beta * h)),
            ),
            Variant::Hinge if beta * h < 1.0 => (1.0 - beta * h, -beta),
            Variant::Hinge => (0.0, 0.0),
            Variant::Ipo => {
                let off = h - 0.5 / beta;
                (off * off, 2.0 * off)
            }
        }
    }

    /// Of one prompt's answers, the best first: log-probabilities `said` and those of the reference, and how many tokens each
    /// answer has. The mean over all pairs.
    fn of_row(&self, said: &[f64], reference: &[f64], tokens: &[usize]) -> (Weighed, Metrics) {
        let scale = |at: usize| match self.variant {
            Variant::Ipo => 1.0 / tokens[at].max(1) as f64,
            _ => 1.0,
        };
        let u: Vec<f64> = (0..said.len()).map(|at| said[at] - reference[at]).collect();
        let mut loss = Weighed { value: 0.0, slopes: vec![0.0; said.len()] };
        let share = 1.0 / pairs(said.len()).count().max(1) as f64;
        for (better, worse) in pairs(said.len()) {
            let (value, slope) = self.of(scale(better) * u[better] - scale(worse) * u[worse]);
            loss.value += share * value;
            loss.slopes[better] += share * slope * scale(better);
            loss.slopes[worse] -= share * slope * scale(worse);
        }
        let rewards: Vec<f64> = u.iter().map(|u| self.beta * u).collect();
        let mut metrics = metrics(&rewards);
        metrics.insert("logps/chosen".to_owned(), said[0]);
        metrics.insert("logps/rejected".to_owned(), said[said.len() - 1]);
        (loss, metrics)
    }
}

/// The log-probability of each answer of a piece, a sum over its tokens, and how many those are. `(S,)`
///
/// # Errors
/// As computing it fails.
pub fn log_probabilities_of_answers(
    model: &Model,
    piece: &Micro,
    hidden: &Tensor,
) -> Result<(Tensor, Vec<usize>)> {
    let said = loss::log_probabilities(hidden, &piece.targets, model.transformer.head())?; // (n,)
    let sums =
        piece.of_sequences.iter().map(|range| said.narrow(0, range.start, range.len())?.sum_keepdim(0));
    let sums = sums.collect::<Result<Vec<_>, candle_core::Error>>()?;
    Ok((Tensor::cat(&sums, 0)?, piece.of_sequences.iter().map(Range::len).collect()))
}

impl Objective for Dpo {
    fn measure(&self, seen: &Seen) -> Result<Measured> {
        let (said, tokens) = log_probabilities_of_answers(seen.model, seen.piece, seen.hidden)?;
        let values = numbers(&said)?;
        let sequences: BTreeMap<usize, Range<usize>> =
            seen.piece.rows.iter().copied().zip(seen.piece.sequences.iter().cloned()).collect();
        let (loss, metrics) = over_rows(seen.piece, &values, |row, said| {
            let tokens = &tokens[sequences[&row].clone()];
            self.of_row(said, &self.reference[row], tokens)
        });
        Ok(Measured { loss: through(&said, &loss)?, metrics })
    }

    fn targets(&self, piece: &Micro) -> usize {
        piece.rows.len()
    }

    fn check(&self, row: &Row, model: &Model) -> Result<(), String> {
        match model.transformer.config.causal {
            true => is_preference(row),
            false => Err("is for a model that writes".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dpo(variant: Variant, label_smoothing: f64) -> Dpo {
        Dpo { beta: 0.1, variant, label_smoothing, reference: Vec::new() }
    }

    #[test]
    fn the_loss_equals_the_reference_and_begins_at_log_2() {
        let plain = dpo(Variant::Sigmoid, 0.0);
        let (loss, _) = plain.of_row(&[-12.0, -15.0], &[-12.5, -14.0], &[3, 3]);
        assert!((loss.value - 0.620957).abs() < 1e-6, "{loss:?}");
        assert!((loss.slopes[0] + 0.046257).abs() < 1e-6 && loss.slopes[0] == -loss.slopes[1]);
        let (value, slope) = plain.of(0.0);
        assert!((value - std::f64::consts::LN_2).abs() < 1e-12 && (slope + 0.05).abs() < 1e-12);
    }

    #[test]
    fn slopes_are_derivatives_of_every_variant() {
        for (variant, smoothing) in
            [(Variant::Sigmoid, 0.0), (Variant::Sigmoid, 0.2), (Variant::Hinge, 0.0), (Variant::Ipo, 0.0)]
        {
            let dpo = dpo(variant, smoothing);
            for at in [-31.0, -3.0, 0.5, 4.0, 17.0] {
                let difference = (dpo.of(at + 1e-5).0 - dpo.of(at - 1e-5).0) / 2e-5;
                assert!((dpo.of(at).1 - difference).abs() < 1e-6, "{variant:?} at {at}");
            }
            let of = |said: &[f64]| dpo.of_row(said, &[-3.0, -4.0, -5.0], &[2, 3, 4]).0;
            let at = [-2.5, -4.5, -3.0];
            for (i, slope) in of(&at).slopes.iter().enumerate() {
                let moved = |by: f64| {
                    let mut at = at;
                    at[i] += by;
                    of(&at).value
                };
                let difference = (moved(1e-5) - moved(-1e-5)) / 2e-5;
                assert!((slope - difference).abs() < 1e-6, "{variant:?} {i}");
            }
        }
    }
}
