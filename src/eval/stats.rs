//! How far a mean over questions can be trusted, and whether two differ by more than luck.
//!
//! Bootstrap: the questions at hand are drawn again and again with replacement, as if other questions had been asked
//! (Efron & Tibshirani 1993; for retrieval, Smucker, Allan & Carterette 2007). Seeded, and the same on any number of threads.
//! [`paired`] tests what is right or wrong exactly, and says how many questions a difference would need.

pub mod paired;
#[cfg(test)]
mod simulation_tests;

use std::ops::AddAssign;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::random::SplitMix;

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

/// Standard deviations from the middle of a normal distribution within which [`CONFIDENCE`] of it lies.
const DEVIATIONS: f64 = 1.959_963_984_540_054;

/// A mean, or another figure of many items, and the interval around it.
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
    ///
    /// Where every value is 0, or every value is 1, resamples are all the same and would make the mean certain; there the
    /// interval is Wilson's (1927), which a share has: ten right out of ten are `[0.72, 1]`.
    pub fn mean(self, values: &[f64]) -> Estimate {
        let count = values.len() as f64;
        let unknown = DEVIATIONS.powi(2) / (count + DEVIATIONS.powi(2));
        match values.first() {
            Some(0.0) if values.iter().all(|value| *value == 0.0) => {
                Estimate { mean: 0.0, low: 0.0, high: unknown }
            }
            Some(1.0) if values.iter().all(|value| *value == 1.0) => {
                Estimate { mean: 1.0, low: 1.0 - unknown, high: 1.0 }
            }
            _ => Estimate::of(mean(values), &self.means(values)),
        }
    }

    /// The mean of `a - b`, question by question. `p` is of the test that shifts the resampled differences to mean 0.
    ///
    /// # Panics
    /// When the two are not of the same length: they are of other questions.
    pub fn difference(self, a: &[f64], b: &[f64]) -> Difference {
        assert_eq!(a.len(), b.len(), "the same questions on both sides");
        let differences: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
        Difference::of(mean(&differences), &self.means(&differences))
    }

    /// A figure that only all items together have, such as BLEU of a corpus or macro-F1: `of` makes it of the sum of what
    /// the items left. With its percentile interval; all 0 when there are none.
    pub fn figure<T, S>(self, items: &[T], of: impl Fn(&S) -> f64 + Sync) -> Estimate
    where
        T: Sync,
        S: Default + for<'a> AddAssign<&'a T>,
    {
        let resampled = self.resampled(items.len(), |drawn| of(&sum(items, drawn)));
        Estimate::of(of(&sum(items, 0..items.len())), &resampled)
    }

    /// The figure of `a` minus that of `b`, items drawn together; `p` as in [`Self::difference`].
    ///
    /// # Panics
    /// When the two are not of the same length: they are of other items.
    pub fn figures_apart<T, S>(self, a: &[T], b: &[T], of: impl Fn(&S) -> f64 + Sync) -> Difference
    where
        T: Sync,
        S: Default + for<'a> AddAssign<&'a T>,
    {
        assert_eq!(a.len(), b.len(), "the same items on both sides");
        let apart = |drawn: Draws| of(&sum(a, drawn.clone())) - of(&sum(b, drawn));
        let every = 0..a.len();
        let observed = of(&sum(a, every.clone())) - of(&sum(b, every));
        Difference::of(observed, &self.resampled(a.len(), apart))
    }

    /// Means of the resamples, ascending.
    fn means(self, values: &[f64]) -> Vec<f64> {
        self.resampled(values.len(), |drawn| drawn.map(|at| values[at]).sum::<f64>() / values.len() as f64)
    }

    /// `of` every resample of so many items, ascending. None when there are no items.
    fn resampled(self, items: usize, of: impl Fn(Draws) -> f64 + Sync) -> Vec<f64> {
        let resamples = if items == 0 { 0 } else { self.resamples };
        let resample =
            |number: usize| of(Draws { random: SplitMix::new(self.seed, number as u64), items, left: items });
        let mut figures: Vec<f64> = (0..resamples).into_par_iter().map(resample).collect();
        figures.sort_unstable_by(f64::total_cmp);
        figures
    }
}

/// The places of one resample: as many as there are items, each drawn from all of them.
#[derive(Clone)]
struct Draws {
    random: SplitMix,
    items: usize,
    left: usize,
}

impl Iterator for Draws {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        self.left = self.left.checked_sub(1)?;
        Some(self.random.below(self.items))
    }
}

fn sum<T, S>(items: &[T], places: impl Iterator<Item = usize>) -> S
where
    S: Default + for<'a> AddAssign<&'a T>,
{
    places.fold(S::default(), |mut sum, at| {
        sum += &items[at];
        sum
    })
}

/// 0 when there are none.
fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

impl Estimate {
    /// With the percentile interval of `resampled` figures, ascending; all 0 when there are none.
    fn of(figure: f64, resampled: &[f64]) -> Self {
        let Some(last) = resampled.len().checked_sub(1) else {
            return Self { mean: 0.0, low: 0.0, high: 0.0 };
        };
        let at = |share: f64| resampled[(share * last as f64).round() as usize];
        let tail = (1.0 - CONFIDENCE) / 2.0;
        Self { mean: figure, low: at(tail), high: at(1.0 - tail) }
    }
}

impl Difference {
    fn of(observed: f64, resampled: &[f64]) -> Self {
        let estimate = Estimate::of(observed, resampled);
        // Sums in another order differ in their last digits.
        let as_large = |other: &&f64| (**other - observed).abs() >= observed.abs() * (1.0 - 1e-9);
        let as_large = resampled.iter().filter(as_large).count();
        Self { estimate, p: (1 + as_large) as f64 / (1 + resampled.len()) as f64 }
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::eval::{bleu, classes};

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
    fn ten_out_of_ten_are_not_certain() {
        // statsmodels.stats.proportion.proportion_confint(10, 10, method="wilson")
        let Estimate { mean, low, high } = Bootstrap::default().mean(&[1.0; 10]);
        assert!((low - 0.722_467_200_137_1).abs() < 1e-9 && (mean, high) == (1.0, 1.0), "{low} {high}");
        let Estimate { mean, low, high } = Bootstrap::default().mean(&[0.0; 10]);
        assert!((high - 0.277_532_799_862_9).abs() < 1e-9 && (mean, low) == (0.0, 0.0), "{low} {high}");
        // No share: bootstrapped as ever.
        assert_eq!(Bootstrap::default().mean(&[0.5; 10]), Estimate { mean: 0.5, low: 0.5, high: 0.5 });
    }

    /// Adds up numbers, and how many there are.
    #[derive(Default)]
    struct Total(f64, f64);

    impl AddAssign<&f64> for Total {
        fn add_assign(&mut self, value: &f64) {
            self.0 += value;
            self.1 += 1.0;
        }
    }

    #[test]
    fn a_figure_of_a_sum_is_bootstrapped_as_a_mean_is() {
        let (a, b): (Vec<f64>, Vec<f64>) = (0..60).map(|at| f64::from(at).sin_cos()).unzip();
        let of = |total: &Total| total.0 / total.1;
        let bootstrap = Bootstrap { resamples: 500, seed: 2 };
        let close = |a: Estimate, b: Estimate| {
            [a.mean - b.mean, a.low - b.low, a.high - b.high].iter().all(|apart| apart.abs() < 1e-12)
        };
        assert!(close(bootstrap.figure(&a, of), bootstrap.mean(&a)));
        let (figures, means) = (bootstrap.figures_apart(&a, &b, of), bootstrap.difference(&a, &b));
        assert!(close(figures.estimate, means.estimate) && figures.p == means.p, "{figures:?} {means:?}");
        let none = bootstrap.figure(&[] as &[f64], of);
        assert_eq!((none.mean, none.low, none.high), (0.0, 0.0, 0.0));
    }

    #[test]
    fn bleu_and_macro_f1_have_intervals() {
        let said =
            ["the cat sat on the mat", "a dog ran over the hill", "no idea", "it rains in the north again"];
        let known =
            ["the cat sat on a mat", "a dog ran over the hill", "some idea of it", "it rains in the south"];
        let counts = |said: &[&str]| -> Vec<bleu::Counts> {
            let of = |(said, known): (&&str, &str)| bleu::Counts::of(said, &[known], bleu::Tokenizer::V13a);
            said.iter().zip(known).map(of).collect()
        };
        let bootstrap = Bootstrap { resamples: 300, seed: 0 };
        let Estimate { mean, low, high } = bootstrap.figure(&counts(&said), bleu::Counts::score);
        assert!(low < mean && mean < high && low > 10.0 && high <= 100.0 + 1e-9, "{low} {mean} {high}");
        let better = bootstrap.figures_apart(&counts(&known), &counts(&said), bleu::Counts::score);
        assert!((better.estimate.mean + mean - 100.0).abs() < 1e-9, "{better:?}");

        let pairs: Vec<(&str, &str)> =
            (0..90).map(|at| (["x", "y", "z"][at % 3], ["x", "y"][at % 2])).collect();
        let (_, items) = classes::items(&pairs);
        let Estimate { mean, low, high } = bootstrap.figure(&items, classes::Counts::macro_f1);
        assert!(low < mean && mean < high && high - low > 0.1, "{low} {mean} {high}");
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
        fn the_interval_holds_the_mean_and_lies_within_the_values(values in prop::collection::vec(0.001f64..0.999, 1..60)) {
            let Estimate { mean, low, high } = Bootstrap { resamples: 400, seed: 1 }.mean(&values);
            let (least, most) = values.iter().fold((1.0f64, 0.0f64), |(l, m), v| (l.min(*v), m.max(*v)));
            prop_assert!(least - 1e-12 <= low && high <= most + 1e-12);
            prop_assert!(low <= mean + 1e-9 && mean <= high + 1e-9 || values.len() > 1);
            prop_assert!(low <= high);
        }
    }
}
