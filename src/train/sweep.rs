//! Which rate to train with: the one that was asked for, a third of it and three times it, for some steps each.
//!
//! One rate for all methods is the commonest reason why a method "does not work". Every try begins at the same parameters
//! and sees the same rows; afterwards the parameters are as they were.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use super::stack::on_big_stack;
use super::{Ending, Event, Rows, Subject, TrainConfig, Trainer};
use crate::error::{Error, Result};

/// What the rate is multiplied by.
const FACTORS: [f64; 3] = [0.3, 1.0, 3.0];

/// Steps of a try.
const STEPS: usize = 50;

/// The last steps of a try, whose mean loss it is judged by where no rows are held out.
const LAST: usize = 10;

/// Three tries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sweep {
    pub tries: Vec<Try>,
    /// The rate of the best.
    pub chosen: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Try {
    pub learning_rate: f64,
    pub steps: usize,
    /// The mean over the last ten steps; `None` when it became no number.
    pub loss: Option<f64>,
    /// On rows held out, where there are any.
    pub validation: Option<f64>,
}

impl Try {
    /// What it is judged by.
    fn score(&self, held_out: bool) -> f64 {
        let score = if held_out { self.validation } else { self.loss };
        score.filter(|score| score.is_finite()).unwrap_or(f64::INFINITY)
    }
}

/// Tries the three rates; `on` hears of each with its rate.
///
/// # Errors
/// As [`super::train`]; `Interrupted` when `on` breaks off, and `Invalid` when no rate gives a loss that is a number.
pub fn sweep(
    subject: &Subject,
    rows: &Rows,
    config: &TrainConfig,
    on: &mut dyn FnMut(f64, Event) -> ControlFlow<()>,
) -> Result<Sweep> {
    config.check()?;
    subject.check(rows, config)?;
    let steps = STEPS.min(config.steps(rows.training().len()));
    let start = subject.params.snapshot()?;
    let mut tries = Vec::new();
    for factor in FACTORS {
        let learning_rate = config.learning_rate * factor;
        let config = TrainConfig {
            learning_rate,
            steps: Some(steps),
            // Once, at the end.
            validate_every: Some(steps),
            patience: None,
            save_every: 0,
            ..config.clone()
        };
        let (mut losses, mut validation) = (Vec::new(), None);
        let mut heard = |event: Event| {
            match &event {
                Event::Step(step) => losses.push(step.loss),
                Event::Validated(validated) => validation = Some(validated.loss),
                _ => {}
            }
            on(learning_rate, event)
        };
        let outcome = on_big_stack(&mut heard, |on| Trainer::new(subject, rows, &config, None)?.run(on));
        subject.params.restore(&start)?;
        let loss = match outcome {
            Ok(outcome) if outcome.ending == Ending::Interrupted => {
                return Err(Error::interrupted("the sweep over learning rates was interrupted"));
            }
            Ok(_) => {
                let last = &losses[losses.len().saturating_sub(LAST)..];
                (!last.is_empty()).then(|| last.iter().sum::<f64>() / last.len() as f64)
            }
            // The loss became no number. The first update has been made, so nothing else is wrong.
            Err(Error::Invalid(_)) if !losses.is_empty() => None,
            Err(error) => return Err(error),
        };
        tries.push(Try { learning_rate, steps: losses.len(), loss, validation });
    }
    let held_out = !rows.validation().is_empty();
    let best = tries.iter().min_by(|a, b| a.score(held_out).total_cmp(&b.score(held_out)));
    match best {
        Some(best) if best.score(held_out).is_finite() => {
            let chosen = best.learning_rate;
            Ok(Sweep { tries, chosen })
        }
        _ => {
            Err(Error::invalid("the loss became no number at every rate").hint("begin with a much lower one"))
        }
    }
}
