//! Does the gate open for what a collection answers and stay shut for the rest? Fitted to judged questions, and judged on
//! others than it was fitted to.

use serde::Serialize;

use super::metrics::auroc;
use crate::retrieve::gate::{Features, Gate};

/// Of each kind, fewer judged questions than this say little.
pub const ENOUGH: usize = 25;

/// Parts the questions are cut into; each is judged by a gate fitted to the others.
const FOLDS: usize = 5;

/// A question as retrieval saw it, and whether the collection answers it.
pub type Case = (Features, bool);

/// How a gate does. Shares are `None` where there is nothing to take a share of.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Verdict {
    /// Of the answerable questions, those that are refused.
    pub false_refusals: Option<f64>,
    /// Of the unanswerable ones, those that are refused.
    pub refusal_recall: Option<f64>,
    /// How well confidence tells the two apart, whatever the threshold.
    pub auroc: Option<f64>,
}

/// What was fitted.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Calibration {
    pub answerable: usize,
    pub unanswerable: usize,
    /// The gate as it is.
    pub before: Verdict,
    /// The fitted gate on questions it was not fitted to, by cross-validation.
    pub after: Verdict,
    pub gate: Gate,
}

impl Calibration {
    /// Fits `gate` to `examples`.
    pub fn fit(gate: Gate, examples: &[Case]) -> Self {
        let answerable = examples.iter().filter(|(_, answerable)| *answerable).count();
        let judged = |gate: Gate, examples: &[Case]| -> Vec<(f64, bool, bool)> {
            let row = |(features, answerable): &Case| {
                (f64::from(gate.confidence(features)), gate.is_answerable(features), *answerable)
            };
            examples.iter().map(row).collect()
        };
        let held_out = (0..FOLDS).flat_map(|fold| {
            // Every fifth question: kinds stay mixed however the file is sorted.
            let is_held = |at: &usize| at % FOLDS == fold;
            let pick = |held: bool| -> Vec<Case> {
                (0..examples.len()).filter(|at| is_held(at) == held).map(|at| examples[at]).collect()
            };
            judged(gate.fit(&pick(false)), &pick(true))
        });
        Self {
            answerable,
            unanswerable: examples.len() - answerable,
            before: Verdict::of(&judged(gate, examples)),
            after: Verdict::of(&held_out.collect::<Vec<_>>()),
            gate: gate.fit(examples),
        }
    }

    /// Whether the fitted gate decides better: fewer wrong decisions, each kind of question weighing the same.
    pub fn is_better(&self) -> bool {
        self.after.wrong() < self.before.wrong()
    }
}

impl Verdict {
    /// Of rows of confidence, decision and truth.
    fn of(rows: &[(f64, bool, bool)]) -> Self {
        let refused = |of: bool| {
            let all = rows.iter().filter(|row| row.2 == of);
            let count = all.clone().count();
            (count > 0).then(|| all.filter(|row| !row.1).count() as f64 / count as f64)
        };
        let scores =
            |of: bool| -> Vec<f64> { rows.iter().filter(|row| row.2 == of).map(|row| row.0).collect() };
        Self {
            false_refusals: refused(true),
            refusal_recall: refused(false),
            auroc: auroc(&scores(true), &scores(false)),
        }
    }

    fn wrong(&self) -> f64 {
        self.false_refusals.unwrap_or(0.0) + self.refusal_recall.map_or(0.0, |recall| 1.0 - recall)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_that_answers_everything_learns_to_refuse() {
        let example = |at: usize| {
            let answerable = at.is_multiple_of(2);
            let noise = (at % 7) as f32 / 100.0;
            let best_cosine = if answerable { 0.85 } else { 0.65 } + noise;
            let seen = Features { best_cosine, coverage: 0.6, sentence_cosine: 0.75, ..Features::default() };
            (seen, answerable)
        };
        let examples: Vec<Case> = (0..200).map(example).collect();
        let fitted = Calibration::fit(Gate::default(), &examples);
        assert_eq!((fitted.answerable, fitted.unanswerable), (100, 100));
        assert_eq!(fitted.before.auroc, Some(1.0));
        assert!(fitted.before.refusal_recall < Some(0.5) && fitted.is_better(), "{fitted:?}");
        assert!(
            fitted.after.refusal_recall > Some(0.9) && fitted.after.false_refusals < Some(0.1),
            "{fitted:?}"
        );
    }

    #[test]
    fn nothing_is_better_than_what_was_right_already() {
        let none = Calibration::fit(Gate::default(), &[]);
        assert_eq!((none.before.auroc, none.is_better()), (None, false));
        assert_eq!(none.gate, Gate::default());
    }
}
