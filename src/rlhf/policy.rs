//! A policy that learns from its own answers: which tokens were better than expected becomes likelier, by steps that are cut
//! short (PPO), and perhaps not far from a reference.
//!
//! PPO averages over tokens; the ways of averaging of GRPO and its heirs are [`Reduction`]'s.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::clipped;
use super::divergence::Estimator;
use super::surrogate::{Weighed, numbers, through};
use crate::error::Result;
use crate::models::Model;
use crate::nn::loss;
use crate::train::{Measured, Metrics, Micro, Objective, Row, Seen, Target};

/// What is known of an answer that was drawn, a number a token.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Experience {
    /// Log-probabilities when it was drawn.
    pub old: Vec<f64>,
    /// Those under the reference; not looked at where divergence costs nothing.
    pub reference: Vec<f64>,
    pub advantages: Vec<f64>,
}

/// What the loss is a mean over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reduction {
    /// All tokens of the step: PPO; DAPO (Yu et al. 2025, arXiv 2503.14476).
    #[default]
    Tokens,
    /// The tokens of each answer, then the answers: GRPO (Shao et al. 2024, arXiv 2402.03300).
    Answers,
    /// The answers, each a sum over its tokens by so many: Dr. GRPO (Liu et al. 2025, arXiv 2503.20783).
    Length(usize),
}

/// To make better tokens likelier.
pub struct Policy<'a> {
    /// Of each row.
    pub experience: &'a [Experience],
    /// What answers were drawn at.
    pub temperature: f64,
    /// How far below and above one a ratio counts.
    pub clip: (f64, f64),
    /// What a unit of divergence from the reference costs.
    pub beta: f64,
    pub reduction: Reduction,
}

/// Log-probabilities of a piece's targets at `temperature`, `(n,)`.
///
/// # Errors
/// As computing them fails.
pub fn log_probabilities(model: &Model, piece: &Micro, hidden: &Tensor, temperature: f64) -> Result<Tensor> {
    let head = model.transformer.head();
    match temperature == 1.0 || head.bias.is_none() {
        // Without a bias, logits of a part of the states are that part of the logits.
        true => loss::log_probabilities(&(hidden / temperature)?, &piece.targets, head),
        false => loss::log_probabilities(hidden, &piece.targets, |hidden: &Tensor| {
            Ok((head.frozen(hidden)? / temperature)?)
        }),
    }
}

impl Policy<'_> {
    /// Of one token, now of log-probability `said`: loss, its derivative by that, the ratio, and whether it was cut.
    fn of_token(&self, said: f64, at: usize, known: &Experience) -> (f64, f64, f64, bool) {
        let ratio = (said - known.old[at]).exp();
        let step = clipped::policy(known.advantages[at], ratio, self.clip);
        let (mut value, mut slope) = (step.value, step.slope * ratio);
        if self.beta != 0.0 {
            let reference = known.reference[at];
            value += self.beta * Estimator::K3.of(said, reference);
            slope += self.beta * (1.0 - (reference - said).exp());
        }
        (value, slope, ratio, step.clipped)
    }
}

impl Objective for Policy<'_> {
    fn measure(&self, seen: &Seen) -> Result<Measured> {
        let outputs = log_probabilities(seen.model, seen.piece, seen.hidden, self.temperature)?;
        let said = numbers(&outputs)?;
        let mut loss = Weighed { value: 0.0, slopes: vec![0.0; said.len()] };
        let (mut ratios, mut squares, mut cut, mut moved) = (0.0, 0.0, 0.0, 0.0);
        let answers = seen.piece.rows.len().max(1) as f64;
        for (&row, range) in seen.piece.rows.iter().zip(&seen.piece.of_sequences) {
            let share = match self.reduction {
                Reduction::Tokens => 1.0 / said.len().max(1) as f64,
                Reduction::Answers => 1.0 / (answers * range.len().max(1) as f64),
                Reduction::Length(length) => 1.0 / (answers * length.max(1) as f64),
            };
            for (at, place) in range.clone().enumerate() {
                let known = &self.experience[row];
                let (value, slope, ratio, clipped) = self.of_token(said[place], at, known);
                loss.value += share * value;
                loss.slopes[place] = share * slope;
                ratios += ratio;
                squares += ratio * ratio;
                cut += f64::from(u8::from(clipped));
                moved += 0.5 * (said[place] - known.old[at]).powi(2);
            }
        }
        let mean = |sum: f64| sum / said.len().max(1) as f64;
        let metrics = Metrics::from([
            ("policy/approxkl".to_owned(), mean(moved)),
            ("policy/clipfrac".to_owned(), mean(cut)),
            // Of a token, as far as those that were drawn tell it.
            ("policy/entropy".to_owned(), -mean(said.iter().sum())),
            ("val/ratio".to_owned(), mean(ratios)),
            ("val/ratio_var".to_owned(), mean(squares) - mean(ratios).powi(2)),
        ]);
        Ok(Measured { loss: through(&outputs, &loss)?, metrics })
    }

    fn targets(&self, piece: &Micro) -> usize {
        match self.reduction {
            Reduction::Tokens => piece.targets.ids.len(),
            Reduction::Answers | Reduction::Length(_) => piece.rows.len(),
        }
    }

    fn check(&self, row: &Row, model: &Model) -> Result<(), String> {
        match &row.target {
            _ if !model.transformer.config.causal => Err("is for a model that writes".to_owned()),
            Target::Tokens(_) => Ok(()),
            _ => Err("is no answer that was drawn".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::Model;
    use crate::train::testing::tiny;
    use crate::train::{Learner, NextTokens, Subject, TrainConfig, look};
    use candle_core::Device;

    fn rows() -> Vec<Row> {
        vec![
            Row::from_ids(&[5, 6], &[7, 8, 9]),
            Row::from_ids(&[4], &[3]),
            Row::from_ids(&[9, 8, 7], &[5, 5]),
        ]
    }

    fn said(subject: &Subject, rows: &[Row], temperature: f64) -> Vec<Vec<f64>> {
        let of = |seen: &Seen| {
            let said = numbers(&log_probabilities(seen.model, seen.piece, seen.hidden, temperature)?)?;
            Ok(seen.piece.of_sequences.iter().map(|range| said[range.clone()].to_vec()).collect())
        };
        look(subject, rows, 64, &of, &mut |_, _| true).unwrap().unwrap()
    }

    #[test]
    fn the_first_ratio_is_one_and_better_tokens_become_likelier() {
        for temperature in [1.0, 0.7] {
            let (model, params) = Model::load_trainable(&tiny("llama"), &Device::Cpu).unwrap();
            let rows = rows();
            let plain = Subject::new("policy", &model, &params);
            let old = said(&plain, &rows, temperature);
            let signs = [1.0, -1.0, 1.0];
            let experience: Vec<Experience> = old
                .iter()
                .zip(signs)
                .map(|(old, sign)| Experience {
                    old: old.clone(),
                    reference: old.clone(),
                    advantages: vec![sign; old.len()],
                })
                .collect();
            let objective = Policy {
                experience: &experience,
                temperature,
                clip: (0.2, 0.2),
                beta: 0.1,
                reduction: Reduction::Answers,
            };
            let subject = Subject { objective: &objective, ..plain.clone() };
            let mut learner = Learner::new(&params).unwrap();
            let config = TrainConfig { weight_decay: 0.0, micro_tokens: 6, ..TrainConfig::default() };
            let first = learner.update(&subject, &rows, &[0, 1, 2], None, &config, (0, 1e-3)).unwrap();
            assert!((first.metrics["val/ratio"] - 1.0).abs() < 1e-5, "{first:?}");
            assert!(first.metrics["policy/clipfrac"] == 0.0 && first.metrics["val/ratio_var"].abs() < 1e-9);
            assert!((first.loss + 1.0 / 3.0).abs() < 1e-6, "the mean of -A over answers: {}", first.loss);
            let sum = |of: &[Vec<f64>], row: usize| of[row].iter().sum::<f64>();
            let now = said(&plain, &rows, temperature);
            for (row, sign) in signs.into_iter().enumerate() {
                assert!(sign * (sum(&now, row) - sum(&old, row)) > 0.0, "answer {row} at {temperature}");
            }
        }
    }

    #[test]
    fn slopes_of_a_token_are_derivatives() {
        let known = Experience { old: vec![-1.0], reference: vec![-1.3], advantages: vec![0.8] };
        let objective = Policy {
            experience: &[],
            temperature: 1.0,
            clip: (0.2, 0.2),
            beta: 0.3,
            reduction: Reduction::Tokens,
        };
        for at in [-2.0, -1.05, -1.0, -0.9, -0.5] {
            let by = |said: f64| objective.of_token(said, 0, &known).0;
            let difference = (by(at + 1e-6) - by(at - 1e-6)) / 2e-6;
            assert!((objective.of_token(at, 0, &known).1 - difference).abs() < 1e-6, "{at}");
        }
    }

    #[test]
    fn rows_of_other_kinds_are_refused() {
        let (model, _) = Model::load_trainable(&tiny("llama"), &Device::Cpu).unwrap();
        let objective = Policy {
            experience: &[],
            temperature: 1.0,
            clip: (0.2, 0.2),
            beta: 0.0,
            reduction: Reduction::Length(4),
        };
        assert!(objective.check(&Row::of_class(vec![1], 0), &model).is_err());
        assert!(objective.check(&rows()[0], &model).is_ok());
        assert!(NextTokens.check(&Row::of_answers(&[1], &[[2], [3]], 0.0), &model).is_err());
    }
}
