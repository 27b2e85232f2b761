//! Logistic regression, multinomial where there are more than two classes.

use linfa::Dataset;
use linfa::prelude::{Fit, ParamGuard};
use linfa_logistic::{LogisticRegression, MultiLogisticRegression};
use ndarray::{Array1, Array2};
use serde::{Deserialize, Serialize};

use super::{Rows, sigmoid};
use crate::error::{Error, Result};
use crate::generate::labels;

/// L-BFGS stops where no component of the gradient is larger, or after so many iterations.
const TOLERANCE: f64 = 1e-4;
const ITERATIONS: u64 = 1000;

/// `W x + b`; of two classes, what the second scores against the first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Logistic {
    /// A row a class, or one for two classes.
    weights: Vec<Vec<f32>>,
    bias: Vec<f32>,
}

impl Logistic {
    pub(super) fn fit(rows: &Rows, c: f64) -> Result<Self> {
        let values: Vec<f64> = rows.vectors.iter().flatten().copied().map(f64::from).collect();
        let shape = (rows.vectors.len(), rows.width());
        let x = Array2::from_shape_vec(shape, values).map_err(|error| unsolved(&error))?; // (N, H)
        let data = Dataset::new(x, Array1::from(rows.targets.to_vec()));
        // linfa weighs the norm where this weighs the rows: the same minimum.
        let alpha = 1.0 / c;
        if rows.classes == 2 {
            let problem = LogisticRegression::default()
                .alpha(alpha)
                .max_iterations(ITERATIONS)
                .gradient_tolerance(TOLERANCE);
            let problem = problem.check().map_err(|error| unsolved(&error))?;
            let fitted = problem.fit(&data).map_err(|error| unsolved(&error))?;
            // Which of the two the scores speak for is linfa's choice.
            let sign = if fitted.labels().pos.class == 1 { 1.0 } else { -1.0 };
            let weights = fitted.params().iter().map(|weight| (sign * weight) as f32).collect();
            return Ok(Self { weights: vec![weights], bias: vec![(sign * fitted.intercept()) as f32] });
        }
        let problem = MultiLogisticRegression::default()
            .alpha(alpha)
            .max_iterations(ITERATIONS)
            .gradient_tolerance(TOLERANCE);
        let problem = problem.check().map_err(|error| unsolved(&error))?;
        let fitted = problem.fit(&data).map_err(|error| unsolved(&error))?;
        let columns = fitted.params().columns().into_iter(); // (H, C)
        let weights = columns.map(|column| column.iter().map(|weight| *weight as f32).collect()).collect();
        Ok(Self { weights, bias: fitted.intercept().iter().map(|bias| *bias as f32).collect() })
    }

    pub(super) fn probabilities(&self, vector: &[f32]) -> Vec<f64> {
        let dot =
            |row: &[f32]| row.iter().zip(vector).map(|(w, x)| f64::from(*w) * f64::from(*x)).sum::<f64>();
        let scores: Vec<f64> =
            self.weights.iter().zip(&self.bias).map(|(row, bias)| dot(row) + f64::from(*bias)).collect();
        match scores[..] {
            [score] => vec![sigmoid(-score), sigmoid(score)],
            _ => labels::probabilities(&scores),
        }
    }

    pub(super) fn parameters(&self) -> usize {
        self.weights.iter().map(Vec::len).sum::<usize>() + self.bias.len()
    }

    pub(super) fn is_whole(&self, width: usize, classes: usize) -> bool {
        let rows = if classes == 2 { 1 } else { classes };
        let finite = |values: &[f32]| values.iter().all(|value| value.is_finite());
        self.weights.len() == rows
            && self.bias.len() == rows
            && finite(&self.bias)
            && self.weights.iter().all(|row| row.len() == width && finite(row))
    }
}

fn unsolved(error: &dyn std::error::Error) -> Error {
    Error::invalid(format!("logistic regression found no solution: {error}"))
        .hint("a smaller C holds the weights back more; or take a random forest")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The gradient of `|W|²/2 + C Σ CE` at the solution, computed from its definition, is 0.
    #[test]
    fn the_solution_is_where_the_gradient_of_the_definition_vanishes() {
        let mut random = crate::random::SplitMix::new(5, 0);
        let vectors: Vec<Vec<f32>> =
            (0..60).map(|_| (0..4).map(|_| random.normal() as f32).collect()).collect();
        for (classes, c) in [(2, 1.0), (3, 1.0), (3, 10.0)] {
            let targets: Vec<usize> = vectors
                .iter()
                .enumerate()
                .map(|(at, x)| if x[0] > 0.3 { at % classes } else { at % 2 })
                .collect();
            let fitted = Logistic::fit(&Rows { vectors: &vectors, targets: &targets, classes }, c).unwrap();
            for row in 0..fitted.weights.len() {
                // Of two classes the one row is the second's.
                let class = if classes == 2 { 1 } else { row };
                let mut gradient: Vec<f64> = fitted.weights[row].iter().map(|w| f64::from(*w)).collect();
                let mut of_bias = 0.0;
                for (x, target) in vectors.iter().zip(&targets) {
                    let error = fitted.probabilities(x)[class] - f64::from(u8::from(*target == class));
                    of_bias += c * error;
                    gradient.iter_mut().zip(x).for_each(|(g, x)| *g += c * error * f64::from(*x));
                }
                for value in gradient.into_iter().chain([of_bias]) {
                    assert!(value.abs() < 1e-2, "{classes} classes, C {c}: {value}");
                }
            }
        }
    }
}
