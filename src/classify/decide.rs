//! From what labels score behind a prompt to how probable each is. The formulas are in `generate/labels.rs`; which other
//! prompts they want scored is decided here.

use crate::error::Result;
use crate::generate::Scored;
use crate::generate::labels::{self, CONTENT_FREE, Calibration, Scoring};

/// How labels are compared, and what is held against that.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rule {
    pub scoring: Scoring,
    pub calibration: Calibration,
}

/// One probability a label, 1 in all, for labels that score `scored` behind a prompt.
///
/// `alone` is asked for what they score without it, and `free` for what they score behind the same prompt with one of
/// [`CONTENT_FREE`] as its input, each only where the rule needs it. The prior of a batch is not known to one prompt:
/// [`labels::calibrated`] takes it out when all are there.
///
/// # Errors
/// As `alone` and `free` fail.
pub fn probabilities(
    rule: Rule,
    scored: &[Scored],
    alone: &dyn Fn() -> Result<Vec<Scored>>,
    free: &dyn Fn(&str) -> Result<Vec<Scored>>,
) -> Result<Vec<f64>> {
    let alone = if rule.scoring.needs_unconditional() { alone()? } else { Vec::new() };
    let of = |scored: &[Scored]| labels::probabilities(&rule.scoring.scores(scored, &alone));
    if rule.calibration != Calibration::Contextual {
        return Ok(of(scored));
    }
    let priors = CONTENT_FREE.iter().map(|input| Ok(of(&free(input)?))).collect::<Result<Vec<_>>>()?;
    Ok(labels::calibrated(&of(scored), &labels::mean(&priors)))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn scored(log_probabilities: [f64; 2]) -> Vec<Scored> {
        let one =
            |log_probability| Scored { log_probability, tokens: 1, characters: 1, bytes: 1, greedy: false };
        log_probabilities.map(one).to_vec()
    }

    fn asked(scoring: Scoring, calibration: Calibration) -> (Vec<f64>, usize, usize) {
        let (alone, free) = (Cell::new(0), Cell::new(0));
        let probabilities = probabilities(
            Rule { scoring, calibration },
            &scored([0.7f64.ln(), 0.3f64.ln()]),
            &|| {
                alone.set(alone.get() + 1);
                Ok(scored([0.5f64.ln(), 0.1f64.ln()]))
            },
            &|_| {
                free.set(free.get() + 1);
                Ok(scored([0.9f64.ln(), 0.1f64.ln()]))
            },
        );
        (probabilities.unwrap(), alone.get(), free.get())
    }

    fn assert_near(ours: &[f64], expected: [f64; 2]) {
        assert!(ours.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{ours:?}, not {expected:?}");
    }

    #[test]
    fn only_what_a_rule_needs_is_asked_for_and_the_batch_is_left_to_whoever_has_it() {
        for calibration in [Calibration::None, Calibration::Batch] {
            let (plain, alone, free) = asked(Scoring::Acc, calibration);
            assert_near(&plain, [0.7, 0.3]);
            assert_eq!((alone, free), (0, 0));
        }
        let (pmi, alone, free) = asked(Scoring::AccPmi, Calibration::None);
        assert_near(&pmi, [1.4 / 4.4, 3.0 / 4.4]);
        assert_eq!((alone, free), (1, 0));
    }

    #[test]
    fn what_is_said_to_nothing_is_taken_out_and_with_it_what_words_score_alone() {
        // Zhao et al., section 5: (0.7, 0.3) where nothing gives (0.9, 0.1): 7/9 : 3.
        let (plain, _, free) = asked(Scoring::Acc, Calibration::Contextual);
        assert_near(&plain, [7.0 / 34.0, 27.0 / 34.0]);
        assert_eq!(free, 3);
        // Both sides are divided by the same: the ratio stays.
        let (pmi, _, _) = asked(Scoring::AccPmi, Calibration::Contextual);
        assert_near(&pmi, [7.0 / 34.0, 27.0 / 34.0]);
    }
}
