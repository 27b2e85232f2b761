//! Classical classifiers over vectors that do not change: logistic regression, a random forest, gradient boosting.
//!
//! Fitting is done by crates that do nothing else; what comes of it is kept in a form of our own, so that a stored classifier
//! does not depend on how a crate arranges its memory, and so that a damaged one is refused before it is walked through.

mod boosting;
mod forest;
mod logistic;
mod tree;

use serde::{Deserialize, Serialize};

pub use boosting::Boosting;
pub use forest::Forest;
pub use logistic::Logistic;
pub use tree::Tree;

use crate::error::{Error, Result};

/// Which classifier, and how it is fitted.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "classifier", rename_all = "kebab-case")]
pub enum Recipe {
    /// Minimises `|W|²/2 + C x the sum of cross-entropies`, the bias free; L-BFGS.
    LogisticRegression { c: f64 },
    /// Breiman 2001, "Random forests": Gini impurity, a bootstrap sample a tree, `√H` features a split, no limit on depth.
    RandomForest { trees: usize, seed: u64 },
    /// Friedman 2001, "Greedy function approximation", on histograms, leaves grown best first; one against the rest where there
    /// are more than two classes.
    GradientBoosting { rounds: usize, learning_rate: f32, leaves: usize },
}

/// A classifier that was fitted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Classical {
    LogisticRegression(Logistic),
    RandomForest(Forest),
    GradientBoosting(Boosting),
}

/// Vectors of one length, and the class of each, a number below `classes`.
pub struct Rows<'a> {
    pub vectors: &'a [Vec<f32>],
    pub targets: &'a [usize],
    pub classes: usize,
}

impl Rows<'_> {
    /// Length of the vectors.
    fn width(&self) -> usize {
        self.vectors.first().map_or(0, Vec::len)
    }

    fn check(&self) -> Result<()> {
        if self.vectors.len() != self.targets.len()
            || self.vectors.iter().any(|row| row.len() != self.width())
        {
            return Err(Error::invalid("a row of another length, or without a class"));
        }
        let there = |class: usize| self.targets.contains(&class);
        match (0..self.classes).find(|class| !there(*class)) {
            _ if self.classes < 2 => Err(Error::invalid("fewer than two classes are no choice")),
            Some(class) => Err(Error::invalid(format!("no row is of the class number {class}"))),
            None => Ok(()),
        }
    }
}

impl Recipe {
    /// As it is called in commands.
    pub fn name(&self) -> &'static str {
        match self {
            Self::LogisticRegression { .. } => "logistic-regression",
            Self::RandomForest { .. } => "random-forest",
            Self::GradientBoosting { .. } => "gradient-boosting",
        }
    }

    /// # Errors
    /// `Invalid` for a setting under which nothing is fitted.
    pub fn check(&self) -> Result<()> {
        let refuse = |what: String, hint: &str| Err(Error::invalid(what).hint(hint));
        match *self {
            Self::LogisticRegression { c } if !(c > 0.0 && c.is_finite()) => {
                refuse(format!("C = {c} is not above 0"), "1 is usual; a larger C trusts the rows more")
            }
            Self::RandomForest { trees: 0, .. } => refuse("a forest of no trees".to_owned(), "100 are usual"),
            Self::GradientBoosting { rounds: 0, .. } => {
                refuse("boosting in no rounds".to_owned(), "100 are usual")
            }
            Self::GradientBoosting { leaves, .. } if leaves < 2 => {
                refuse(format!("a tree with {leaves} leaves tells nothing apart"), "31 are usual")
            }
            Self::GradientBoosting { learning_rate, .. }
                if !(learning_rate > 0.0 && learning_rate <= 1.0) =>
            {
                refuse(format!("a rate of {learning_rate} is not above 0 and at most 1"), "0.1 is usual")
            }
            _ => Ok(()),
        }
    }

    /// The classifier that this recipe makes of `rows`; the same every time.
    ///
    /// # Errors
    /// `Invalid` for rows without a class, or a class without rows; when fitting fails.
    pub fn fit(&self, rows: &Rows) -> Result<Classical> {
        self.check()?;
        rows.check()?;
        Ok(match *self {
            Self::LogisticRegression { c } => Classical::LogisticRegression(Logistic::fit(rows, c)?),
            Self::RandomForest { trees, seed } => Classical::RandomForest(Forest::fit(rows, trees, seed)?),
            Self::GradientBoosting { rounds, learning_rate, leaves } => {
                Classical::GradientBoosting(Boosting::fit(rows, rounds, learning_rate, leaves)?)
            }
        })
    }
}

impl Classical {
    /// The probability of each class, 1 in all, for a vector of the length that it was fitted on.
    pub fn probabilities(&self, vector: &[f32]) -> Vec<f64> {
        match self {
            Self::LogisticRegression(logistic) => logistic.probabilities(vector),
            Self::RandomForest(forest) => forest.probabilities(vector),
            Self::GradientBoosting(boosting) => boosting.probabilities(vector),
        }
    }

    /// Values that were fitted: weights, or thresholds and leaves.
    pub fn parameters(&self) -> usize {
        match self {
            Self::LogisticRegression(logistic) => logistic.parameters(),
            Self::RandomForest(forest) => forest.parameters(),
            Self::GradientBoosting(boosting) => boosting.parameters(),
        }
    }

    /// Refuses what could not be asked about vectors of length `width`.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn check(&self, width: usize, classes: usize) -> Result<()> {
        let whole = match self {
            Self::LogisticRegression(logistic) => logistic.is_whole(width, classes),
            Self::RandomForest(forest) => forest.is_whole(width, classes),
            Self::GradientBoosting(boosting) => boosting.is_whole(width, classes),
        };
        match whole {
            true => Ok(()),
            false => Err(Error::corrupt(format!(
                "it is not a classifier of {classes} classes over {width} features"
            ))
            .hint("copy it again, or train it again")),
        }
    }
}

fn sigmoid(score: f64) -> f64 {
    1.0 / (1.0 + (-score).exp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SplitMix;

    /// Points around `classes` corners, a quarter of them elsewhere.
    fn points(classes: usize, count: usize, seed: u64) -> (Vec<Vec<f32>>, Vec<usize>) {
        let mut random = SplitMix::new(seed, 0);
        let targets: Vec<usize> = (0..count).map(|at| at % classes).collect();
        let mut point = |class: usize| -> Vec<f32> {
            (0..6).map(|at| (random.normal() * 0.4) as f32 + f32::from(u8::from(at == class))).collect()
        };
        (targets.iter().map(|class| point(*class)).collect(), targets)
    }

    const RECIPES: [Recipe; 3] = [
        Recipe::LogisticRegression { c: 1.0 },
        Recipe::RandomForest { trees: 30, seed: 7 },
        Recipe::GradientBoosting { rounds: 30, learning_rate: 0.1, leaves: 15 },
    ];

    #[test]
    fn each_tells_new_points_apart_far_beyond_chance_with_probabilities_that_sum_to_one() {
        for classes in [2, 3] {
            let (vectors, targets) = points(classes, 600, 1);
            let (held_out, truth) = points(classes, 300, 2);
            for recipe in RECIPES {
                let fitted = recipe.fit(&Rows { vectors: &vectors, targets: &targets, classes }).unwrap();
                let mut right = 0;
                for (vector, class) in held_out.iter().zip(&truth) {
                    let probabilities = fitted.probabilities(vector);
                    assert_eq!(probabilities.len(), classes);
                    assert!((probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-6, "{probabilities:?}");
                    let best = (0..classes).max_by(|a, b| probabilities[*a].total_cmp(&probabilities[*b]));
                    right += usize::from(best == Some(*class));
                }
                assert!(right > 240, "{} of {classes} classes: {right} of 300", recipe.name());
                fitted.check(6, classes).unwrap();
                assert!(
                    fitted.check(5, classes).is_err() || matches!(recipe, Recipe::GradientBoosting { .. })
                );
                assert!(fitted.check(6, classes + 1).is_err());
            }
        }
    }

    #[test]
    fn the_same_rows_and_seed_make_the_same_classifier_and_it_comes_back_from_json_to_the_bit() {
        let (vectors, targets) = points(3, 200, 3);
        for recipe in RECIPES {
            let fit = || recipe.fit(&Rows { vectors: &vectors, targets: &targets, classes: 3 }).unwrap();
            let first = fit();
            assert_eq!(first, fit(), "{}", recipe.name());
            let json = serde_json::to_vec(&first).unwrap();
            assert_eq!(serde_json::from_slice::<Classical>(&json).unwrap(), first);
        }
    }

    #[test]
    fn rows_that_teach_nothing_and_settings_that_fit_nothing_are_refused() {
        let (vectors, targets) = points(2, 20, 4);
        for recipe in RECIPES {
            for (vectors, targets, classes) in [
                (&vectors[..], &targets[..], 3),
                (&vectors[1..], &targets[..], 2),
                (&vectors[..1], &targets[..1], 1),
            ] {
                assert!(recipe.fit(&Rows { vectors, targets, classes }).is_err());
            }
        }
        for recipe in [
            Recipe::LogisticRegression { c: 0.0 },
            Recipe::LogisticRegression { c: f64::NAN },
            Recipe::RandomForest { trees: 0, seed: 0 },
            Recipe::GradientBoosting { rounds: 0, learning_rate: 0.1, leaves: 31 },
            Recipe::GradientBoosting { rounds: 1, learning_rate: 0.0, leaves: 31 },
            Recipe::GradientBoosting { rounds: 1, learning_rate: 0.1, leaves: 1 },
        ] {
            assert!(recipe.check().is_err(), "{recipe:?}");
        }
    }
}
