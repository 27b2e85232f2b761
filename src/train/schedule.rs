//! How the learning rate moves: up during the warm-up, then down or level.
//!
//! A multiplier of the base rate at step `s` from 0, with `w` steps of warm-up of `S`: `s / w` first; then linear
//! `(S - s) / (S - w)`, cosine `(1 + cos(pi (s - w) / (S - w))) / 2` (Loshchilov & Hutter 2017, without restarts), or 1. The
//! same numbers as the schedules of `transformers`.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    #[default]
    Linear,
    Cosine,
    Constant,
}

impl Schedule {
    /// What the base rate is multiplied by at `step` of `of`, `warmup` of them on the way up.
    pub fn factor(self, step: usize, warmup: usize, of: usize) -> f64 {
        if step < warmup {
            return step as f64 / warmup as f64;
        }
        let rest = of.saturating_sub(warmup).max(1) as f64;
        let left = of.saturating_sub(step) as f64 / rest;
        match self {
            Self::Linear => left,
            Self::Cosine => (1.0 + (std::f64::consts::PI * (1.0 - left)).cos()) / 2.0,
            Self::Constant => 1.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // transformers: get_linear_schedule_with_warmup and get_cosine_schedule_with_warmup, 2 steps of warm-up of 10.
    #[test]
    fn schedules_equal_the_reference() {
        let factors = |schedule: Schedule| (0..10).map(move |step| schedule.factor(step, 2, 10));
        let expected = [
            (Schedule::Linear, [0.0, 0.5, 1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125]),
            (
                Schedule::Cosine,
                [0.0, 0.5, 1.0, 0.961940, 0.853553, 0.691342, 0.5, 0.308658, 0.146447, 0.038060],
            ),
            (Schedule::Constant, [0.0, 0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]),
        ];
        for (schedule, expected) in expected {
            for (got, expected) in factors(schedule).zip(expected) {
                assert!((got - expected).abs() < 1e-6, "{schedule:?}: {got}, not {expected}");
            }
        }
    }

    #[test]
    fn without_a_warm_up_the_first_step_has_the_whole_rate_and_the_end_has_none() {
        for schedule in [Schedule::Linear, Schedule::Cosine] {
            assert_eq!(schedule.factor(0, 0, 10), 1.0);
            assert!(schedule.factor(10, 0, 10).abs() < 1e-12 && schedule.factor(11, 0, 10).abs() < 1e-12);
        }
        assert_eq!(Schedule::Linear.factor(5, 5, 5), 0.0);
    }
}
