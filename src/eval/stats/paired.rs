//! Two systems on the same questions: the exact test where each answer is right or wrong, and how many questions it takes to
//! see a difference.

use serde::Serialize;

use super::{DEVIATIONS, Difference, mean};

/// The chance that [`needed`] allows for, that a difference that is there is found.
pub const POWER: f64 = 0.8;

/// Standard deviations below which [`POWER`] of a normal distribution lies.
const POWER_DEVIATIONS: f64 = 0.841_621_233_572_914;

/// Questions that only one of two systems gets right, and the test of whether one gets more of them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct McNemar {
    pub only_a: u64,
    pub only_b: u64,
    /// How often a fair coin would fall as unevenly, in either direction; 1 when no question tells the two apart.
    pub p: f64,
}

impl McNemar {
    /// The exact test (McNemar 1947) of values that are 0 or 1, one a question; `None` when one is neither.
    ///
    /// # Panics
    /// When the two are not of the same length: they are of other questions.
    pub fn of(a: &[f64], b: &[f64]) -> Option<Self> {
        assert_eq!(a.len(), b.len(), "the same questions on both sides");
        if !a.iter().chain(b).all(|value| *value == 0.0 || *value == 1.0) {
            return None;
        }
        let only = |this: &[f64], other: &[f64]| this.iter().zip(other).filter(|(t, o)| t > o).count() as u64;
        Some(Self::new(only(a, b), only(b, a)))
    }

    pub fn new(only_a: u64, only_b: u64) -> Self {
        let (tosses, fewer) = (only_a + only_b, only_a.min(only_b));
        // Chances of 0, 1, ... heads, as logarithms: 2^-tosses is soon smaller than any number.
        let mut chance = -(tosses as f64) * std::f64::consts::LN_2;
        let mut tail = 0.0;
        for heads in 0..=fewer {
            tail += chance.exp();
            chance += ((tosses - heads) as f64).ln() - ((heads + 1) as f64).ln();
        }
        Self { only_a, only_b, p: (2.0 * tail).min(1.0) }
    }
}

/// How many questions like these it would take to find a difference as large as that of `a` and `b`, values of the same
/// questions, at the 5 % level four times out of five. `None` when they do not differ, or there are fewer than two.
///
/// With z = 1.96 and w = 0.84, of values that are 0 or 1: `(z sqrt(s) + w sqrt(s - d^2))^2 / d^2`, s being the share of
/// questions that only one gets right and d the difference (McNemar's test; Connor 1987), and never so few that the exact
/// test could not find it. Of others: `((z + w) * deviation / d)^2`, the deviation being that of the differences.
///
/// # Panics
/// When the two are not of the same length: they are of other questions.
pub fn needed(a: &[f64], b: &[f64]) -> Option<u64> {
    let differences: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
    let (count, apart) = (a.len() as f64, mean(&differences));
    if a.len() < 2 || apart == 0.0 {
        return None;
    }
    let exact = match McNemar::of(a, b) {
        Some(McNemar { only_a, only_b, .. }) => {
            let discordant = (only_a + only_b) as f64 / count;
            let deviations = DEVIATIONS * discordant.sqrt()
                + POWER_DEVIATIONS * (discordant - apart.powi(2)).max(0.0).sqrt();
            // Six questions in a row, of those that tell the two apart: p = 2 / 2^6.
            (deviations / apart).powi(2).max(6.0 / discordant)
        }
        None => {
            let variance = differences.iter().map(|d| (d - apart).powi(2)).sum::<f64>() / (count - 1.0);
            variance * ((DEVIATIONS + POWER_DEVIATIONS) / apart).powi(2)
        }
    };
    Some((exact.ceil() as u64).max(2))
}

impl Difference {
    /// As [`needed`], for a figure of which there is only the interval, measured on so many items: its half-width stands for
    /// 1.96 standard errors, which shrink as the root of their number.
    pub fn needed(&self, items: usize) -> Option<u64> {
        let error = (self.estimate.high - self.estimate.low) / (2.0 * DEVIATIONS);
        let ratio = (DEVIATIONS + POWER_DEVIATIONS) * error / self.estimate.mean;
        (self.estimate.mean != 0.0).then(|| ((items as f64 * ratio.powi(2)).ceil() as u64).max(2))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Bootstrap, SIGNIFICANT};
    use super::*;

    #[test]
    fn p_is_that_of_the_exact_binomial_test() {
        // [scipy.stats.binomtest(b, b + c).pvalue for b, c in ...]
        for (only_a, only_b, p) in [
            (3, 12, 0.03515625),
            (0, 5, 0.0625),
            (5, 5, 1.0),
            (70, 40, 0.005447429511444476),
            (480, 620, 2.7131381093006878e-05),
            (1, 0, 1.0),
            (20000, 20700, 0.0005304435788066954),
        ] {
            let got = McNemar::new(only_a, only_b).p;
            assert!((got / p - 1.0).abs() < 1e-9, "{only_a} {only_b}: {got}");
        }
        assert_eq!(McNemar::new(0, 0).p, 1.0);
    }

    #[test]
    fn only_what_is_right_or_wrong_is_counted() {
        let test = McNemar::of(&[1.0, 1.0, 0.0, 1.0], &[1.0, 0.0, 1.0, 0.0]);
        assert_eq!(test.map(|test| (test.only_a, test.only_b)), Some((2, 1)));
        assert_eq!(McNemar::of(&[1.0, 0.5], &[1.0, 0.0]), None);
    }

    #[test]
    fn questions_needed_are_those_of_the_formulas() {
        // 500 questions, 20 % of which tell the two apart, 60 of them for a: s = 0.2, d = 0.04.
        let value = |at: usize, right: std::ops::Range<usize>| f64::from(u8::from(right.contains(&at)));
        let a: Vec<f64> = (0..500).map(|at| value(at, 0..60)).collect();
        let b: Vec<f64> = (0..500).map(|at| value(at, 60..100)).collect();
        // (1.959964 * sqrt(0.2) + 0.841621 * sqrt(0.2 - 0.0016))**2 / 0.0016
        assert_eq!(needed(&a, &b), Some(979));
        assert_eq!(needed(&a, &a), None);
        // Always right against always wrong: five would be unanimous at p = 0.06.
        assert_eq!(needed(&[1.0; 9], &[0.0; 9]), Some(6));
        // Differences -1.5 and 0.5, in turn: (2.801585 * sqrt(100 / 99) / 0.5)**2
        let other: Vec<f64> = (0..100).map(|at| if at % 2 == 0 { 1.5 } else { -0.5 }).collect();
        assert_eq!(needed(&[0.0; 100], &other), Some(32));
    }

    #[test]
    fn an_interval_says_about_as_much_as_the_values() {
        let a: Vec<f64> = (0..400).map(|at| f64::from(at).sin()).collect();
        let b: Vec<f64> = (0..400).map(|at| f64::from(at).cos() - 0.1).collect();
        let difference = Bootstrap::default().difference(&a, &b);
        let (rough, exact) = (difference.needed(400).unwrap() as f64, needed(&a, &b).unwrap() as f64);
        assert!((rough / exact - 1.0).abs() < 0.1, "{rough} {exact}");
        assert_eq!(Bootstrap::default().difference(&a, &a).needed(400), None);
    }

    proptest! {
        #[test]
        fn p_is_a_chance_that_does_not_ask_who_is_who(a in 0u64..300, b in 0u64..300) {
            let p = McNemar::new(a, b).p;
            prop_assert!(p > 0.0 && p <= 1.0);
            prop_assert_eq!(p, McNemar::new(b, a).p);
            prop_assert!(McNemar::new(a.max(b) + 1, a.min(b)).p <= p + 1e-12);
            prop_assert!(a + b > 5 || p > SIGNIFICANT);
        }
    }
}
