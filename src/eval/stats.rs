//! How far a mean over questions can be trusted, and whether two differ by more than luck.
//!
//! Bootstrap: the questions at hand are drawn again and again with replacement, as if other questions had been asked
//! (Efron & Tibshirani 1993; for retrieval, Smucker, Allan & Carterette 2007). Seeded, and the same on any number of threads.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// How often questions are drawn, and from which numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Bootstrap {
    pub resamples: usize,
    pub seed: u64,
}

impl Default for Bootstrap {
    fn default() -> Self {
        Self { resamples: 5000, seed: 0 }
    }
}

/// A probability above which a difference is put down to luck.
pub const SIGNIFICANT: f64 = 0.05;

/// The share of resampled means that lie within an interval.
pub const CONFIDENCE: f64 = 0.95;

/// A mean and the interval around it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    pub mean: f64,
    pub low: f64,
    pub high: f64,
}

/// By how much one mean exceeds another, measured on the same questions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Difference {
    #[serde(flatten)]
    pub estimate: Estimate,
    /// How often luck alone would make a difference as large, in either direction.
    pub p: f64,
}

impl Bootstrap {
    /// The mean of `values`, one a question, with its percentile interval. All 0 when there are none.
    pub fn mean(self, values: &[f64]) -> Estimate {
        self.estimate(values, &self.means(values))
    }

    /// The mean of `a - b`, question by question. `p` is of the test that shifts the resampled differences to mean 0.
    ///
    /// # Panics
    /// When the two are not of the same length: they are of other questions.
    pub fn difference(self, a: &[f64], b: &[f64]) -> Difference {
        assert_eq!(a.len(), b.len(), "the same questions on both sides");
        let differences: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
        let means = self.means(&differences);
        let estimate = self.estimate(&differences, &means);
        let observed = estimate.mean.abs();
        // Sums in another order differ in their last digits.
        let as_large = |mean: &&f64| (**mean - estimate.mean).abs() >= observed * (1.0 - 1e-9);
        let as_large = means.iter().filter(as_large).count();
        Difference { estimate, p: (1 + as_large) as f64 / (1 + means.len()) as f64 }
    }

    fn estimate(self, values: &[f64], means: &[f64]) -> Estimate {
        let (Some(last), false) = (means.len().checked_sub(1), values.is_empty()) else {
            return Estimate { mean: 0.0, low: 0.0, high: 0.0 };
        };
        let at = |share: f64| means[(share * last as f64).round() as usize];
        let tail = (1.0 - CONFIDENCE) / 2.0;
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        Estimate { mean, low: at(tail), high: at(1.0 - tail) }
    }

    /// Means of the resamples, ascending.
    fn means(self, values: &[f64]) -> Vec<f64> {
        let resample = |number: usize| {
            let mut random = SplitMix::new(self.seed, number as u64);
            (0..values.len()).map(|_| values[random.below(values.len())]).sum::<f64>() / values.len() as f64
        };
        let mut means: Vec<f64> = (0..self.resamples).into_par_iter().map(resample).collect();
        means.sort_unstable_by(f64::total_cmp);
        means
    }
}

/// Probabilities of several tests made together, each raised so that the chance of any false alarm stays what it says
/// (Holm 1979). In the order given.
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&a, &b| p[a].total_cmp(&p[b]));
    let mut adjusted = vec![0.0; p.len()];
    let mut least = 0.0f64;
    for (at, &test) in order.iter().enumerate() {
        least = least.max(((p.len() - at) as f64 * p[test]).min(1.0));
        adjusted[test] = least;
    }
    adjusted
}

/// SplitMix64 (Steele, Lea & Flood 2014): small, and the same everywhere.
struct SplitMix(u64);

impl SplitMix {
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

    /// The `stream`-th sequence of a seed.
    fn new(seed: u64, stream: u64) -> Self {
        let mut start = Self(seed ^ stream.wrapping_mul(0xd134_2543_de82_ef95));
        Self(start.next())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(Self::STEP);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 up to `limit`, not included.
    fn below(&mut self, limit: usize) -> usize {
        ((u128::from(self.next()) * limit as u128) >> 64) as usize
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Half ones, half zeros.
    fn coin(count: usize) -> Vec<f64> {
        (0..count).map(|at| (at % 2) as f64).collect()
    }

    #[test]
    fn the_interval_is_the_normal_one_where_that_is_known() {
        let Estimate { mean, low, high } = Bootstrap::default().mean(&coin(400));
        // 1.96 x sqrt(0.25 / 400)
        assert_eq!(mean, 0.5);
        assert!((low - 0.451).abs() < 0.006 && (high - 0.549).abs() < 0.006, "{low} {high}");
    }

    #[test]
    fn the_same_seed_draws_the_same_and_another_seed_does_not() {
        let values: Vec<f64> = (0..50).map(|at| f64::from(at).sin()).collect();
        let of = |seed| Bootstrap { seed, ..Bootstrap::default() }.mean(&values);
        assert_eq!(of(3), of(3));
        assert_ne!(of(3), of(4));
    }

    #[test]
    fn what_always_wins_is_no_luck_and_what_wins_as_often_as_it_loses_is() {
        let (a, b) = (vec![0.6; 30], vec![0.5; 30]);
        let sure = Bootstrap::default().difference(&a, &b);
        assert!(sure.p < 0.001 && (sure.estimate.mean - 0.1).abs() < 1e-12, "{sure:?}");
        let (up, down) = (coin(100), coin(101)[1..].to_vec());
        assert!(Bootstrap::default().difference(&up, &down).p > 0.9);
        assert_eq!(Bootstrap::default().difference(&up, &up).p, 1.0);
    }

    #[test]
    fn several_tests_are_held_to_a_stricter_measure() {
        let adjusted = holm(&[0.04, 0.01, 0.03]);
        for (got, expected) in adjusted.iter().zip([0.06, 0.03, 0.06]) {
            assert!((got - expected).abs() < 1e-12, "{adjusted:?}");
        }
        assert_eq!(holm(&[0.9, 0.8]), [1.0, 1.0]);
    }

    proptest! {
        #[test]
        fn the_interval_holds_the_mean_and_lies_within_the_values(values in prop::collection::vec(0.0f64..1.0, 1..60)) {
            let Estimate { mean, low, high } = Bootstrap { resamples: 400, seed: 1 }.mean(&values);
            let (least, most) = values.iter().fold((1.0f64, 0.0f64), |(l, m), v| (l.min(*v), m.max(*v)));
            prop_assert!(least - 1e-12 <= low && high <= most + 1e-12);
            prop_assert!(low <= mean + 1e-9 && mean <= high + 1e-9 || values.len() > 1);
            prop_assert!(low <= high);
        }
    }
}
