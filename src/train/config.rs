//! What decides a run besides what is trained and on what. Everything here changes the result, so a run is resumed under
//! the configuration it began with or not at all.

use serde::{Deserialize, Serialize};

use super::schedule::Schedule;
use crate::error::{Error, Result};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// The base rate, which the schedule multiplies.
    pub learning_rate: f64,
    pub schedule: Schedule,
    /// The share of all steps on which the rate goes up.
    pub warmup: f64,
    /// How often each row is seen.
    pub epochs: usize,
    /// So many steps instead, however many epochs they make.
    pub steps: Option<usize>,
    /// Rows a step.
    pub batch_size: usize,
    /// Tokens computed at a time: bounds memory, not the result. A longer row is computed alone.
    pub micro_tokens: usize,
    /// Tokens a row may have, where the model's window is not shorter.
    pub max_length: usize,
    /// The norm that gradients are scaled down to; 0 leaves them as they are.
    pub clip: f64,
    /// Decoupled from the gradient (AdamW), for the parameters that decay at all.
    pub weight_decay: f64,
    /// How much the means of gradients and of their squares keep of what they were.
    pub betas: (f64, f64),
    /// Keeps the quotient of the two finite.
    pub eps: f64,
    /// Of the order of rows, of dropout and of what is held out.
    pub seed: u64,
    /// Whether each epoch has an order of its own; without, rows come as they are given.
    pub shuffle: bool,
    /// The share of the rows that is held out to validate with, where no other rows are given for it.
    pub validation_share: f64,
    /// Steps between validations; every epoch where it is not said.
    pub validate_every: Option<usize>,
    /// Validations without a better loss after which a run ends.
    pub patience: Option<usize>,
    /// Steps between checkpoints; 0 writes one when the run is interrupted, and no other.
    pub save_every: usize,
    /// MiB of activations of the layers below all that is trained, kept instead of computed again each epoch.
    pub trunk_memory: usize,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            learning_rate: 2e-4,
            schedule: Schedule::Linear,
            warmup: 0.03,
            epochs: 3,
            steps: None,
            batch_size: 8,
            micro_tokens: 1024,
            max_length: 1024,
            clip: 1.0,
            weight_decay: 0.0,
            betas: (0.9, 0.999),
            eps: 1e-8,
            seed: 0,
            shuffle: true,
            validation_share: 0.0,
            validate_every: None,
            patience: None,
            save_every: 0,
            trunk_memory: 1024,
        }
    }
}

impl TrainConfig {
    /// # Errors
    /// `Invalid`, naming the setting, when one has a value that no run can have.
    pub fn check(&self) -> Result<()> {
        let share = |value: f64| (0.0..1.0).contains(&value);
        let not_negative = |value: f64| value >= 0.0 && value.is_finite();
        let wrong = [
            ("learning_rate", self.learning_rate > 0.0 && self.learning_rate.is_finite(), "more than 0"),
            ("warmup", (0.0..=1.0).contains(&self.warmup), "a share from 0 to 1"),
            ("epochs", self.epochs > 0 || self.steps.is_some(), "at least 1"),
            ("steps", self.steps != Some(0), "at least 1"),
            ("batch_size", self.batch_size > 0, "at least 1"),
            ("micro_tokens", self.micro_tokens > 0, "at least 1"),
            ("max_length", self.max_length > 1, "at least 2"),
            ("clip", not_negative(self.clip), "at least 0"),
            ("weight_decay", not_negative(self.weight_decay), "at least 0"),
            ("betas", share(self.betas.0) && share(self.betas.1), "two shares from 0 up to, and without, 1"),
            ("eps", self.eps > 0.0 && self.eps.is_finite(), "more than 0"),
            ("validation_share", share(self.validation_share), "a share from 0 up to, and without, 1"),
            ("validate_every", self.validate_every != Some(0), "at least 1"),
            ("patience", self.patience != Some(0), "at least 1"),
        ];
        match wrong.into_iter().find(|(_, right, _)| !right) {
            Some((name, _, wanted)) => Err(Error::invalid(format!("`{name}` has to be {wanted}")).hint(
                format!("leave it out for the usual one (on the command line: --{})", name.replace('_', "-")),
            )),
            None => Ok(()),
        }
    }

    /// Steps that make an epoch of so many rows.
    pub fn steps_an_epoch(&self, rows: usize) -> usize {
        rows.div_ceil(self.batch_size.max(1))
    }

    /// Steps in all.
    pub fn steps(&self, rows: usize) -> usize {
        self.steps.unwrap_or(self.epochs * self.steps_an_epoch(rows))
    }

    /// The rate of `step` of `of`.
    pub fn rate(&self, step: usize, of: usize) -> f64 {
        let warmup = (self.warmup * of as f64).ceil() as usize;
        self.learning_rate * self.schedule.factor(step, warmup, of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_has_a_default_and_what_nobody_knows_is_refused() {
        let config: TrainConfig = serde_json::from_str(r#"{"schedule": "cosine", "steps": 7}"#).unwrap();
        assert_eq!((config.schedule, config.steps(100), config.batch_size), (Schedule::Cosine, 7, 8));
        let error = serde_json::from_str::<TrainConfig>(r#"{"learning_rat": 1}"#).unwrap_err();
        assert!(error.to_string().contains("learning_rat"), "{error}");
        config.check().unwrap();
    }

    #[test]
    fn a_value_that_no_run_can_have_is_named() {
        let default = TrainConfig::default;
        for (config, name) in [
            (TrainConfig { learning_rate: f64::NAN, ..default() }, "learning_rate"),
            (TrainConfig { batch_size: 0, ..default() }, "batch_size"),
            (TrainConfig { betas: (0.9, 1.0), ..default() }, "betas"),
            (TrainConfig { steps: Some(0), ..default() }, "steps"),
        ] {
            assert!(config.check().unwrap_err().to_string().contains(name));
        }
    }

    #[test]
    fn an_epoch_s_last_batch_may_be_short() {
        let config = TrainConfig { batch_size: 4, epochs: 2, ..TrainConfig::default() };
        assert_eq!((config.steps_an_epoch(9), config.steps(9), config.steps(8)), (3, 6, 4));
    }
}
