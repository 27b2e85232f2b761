//! How far a policy has gone from where it began, token by token, and how dearly it pays for that.
//!
//! The estimators of the Kullback-Leibler divergence from samples of the policy are Schulman's (2020, "Approximating KL
//! divergence"); the controller is that of Ziegler et al. 2019, arXiv 1909.08593.

use serde::{Deserialize, Serialize};

/// An estimate from one token: `p` is the logarithm of its probability under the policy, `q` under the reference.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Estimator {
    /// `p - q`: unbiased, may be negative.
    #[default]
    K1,
    /// `(p - q)² / 2`: biased, never negative.
    K2,
    /// `exp(q - p) - 1 - (q - p)`: unbiased and never negative.
    K3,
}

impl Estimator {
    pub fn of(self, p: f64, q: f64) -> f64 {
        match self {
            Self::K1 => p - q,
            Self::K2 => 0.5 * (p - q).powi(2),
            Self::K3 => (q - p).exp() - 1.0 - (q - p),
        }
    }
}

/// What a unit of divergence costs, moved so that an answer's divergence comes near `target`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Adaptive {
    pub target: f64,
    /// Episodes over which the price moves by a fifth at most.
    pub horizon: f64,
}

impl Default for Adaptive {
    fn default() -> Self {
        Self { target: 6.0, horizon: 10_000.0 }
    }
}

impl Adaptive {
    /// The price after `episodes` more, whose mean divergence of a whole answer was `divergence`:
    /// `beta (1 + clip(divergence / target - 1, -0.2, 0.2) episodes / horizon)`.
    pub fn next(&self, beta: f64, divergence: f64, episodes: usize) -> f64 {
        let error = (divergence / self.target - 1.0).clamp(-0.2, 0.2);
        beta * (1.0 + error * episodes as f64 / self.horizon)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimators_equal_the_reference() {
        for (estimator, expected) in [(Estimator::K1, 0.5), (Estimator::K2, 0.125), (Estimator::K3, 0.106531)]
        {
            assert!((estimator.of(-1.0, -1.5) - expected).abs() < 1e-6, "{estimator:?}");
            assert_eq!(estimator.of(-1.0, -1.0), 0.0);
        }
    }

    #[test]
    fn k1_and_k3_have_the_divergence_as_their_mean() {
        let (p, q): ([f64; 3], [f64; 3]) = ([0.5, 0.3, 0.2], [0.2, 0.2, 0.6]);
        let truth: f64 = p.iter().zip(q).map(|(p, q)| p * (p / q).ln()).sum();
        for estimator in [Estimator::K1, Estimator::K3] {
            let mean: f64 = p.iter().zip(q).map(|(p, q)| p * estimator.of(p.ln(), q.ln())).sum();
            assert!((mean - truth).abs() < 1e-12, "{estimator:?}: {mean}, not {truth}");
        }
    }

    #[test]
    fn the_price_follows_the_divergence() {
        let adaptive = Adaptive::default();
        assert!((adaptive.next(1.0, 9.0, 256) - 1.005120).abs() < 1e-9);
        assert!((adaptive.next(1.0, 0.0, 256) - 0.994880).abs() < 1e-9);
        assert_eq!(adaptive.next(0.5, 6.0, 256), 0.5);
    }
}
