//! Gradient boosting: trees that correct the sum of those before them.

use forust_ml::Matrix;
use forust_ml::gradientbooster::{GradientBooster, GrowPolicy};
use forust_ml::objective::ObjectiveType;
use serde::{Deserialize, Serialize};

use super::tree::{Node, Tree};
use super::{Rows, sigmoid};
use crate::error::{Error, Result};

/// Bins that a feature's values are sorted into.
const BINS: u16 = 255;

/// The least sum of `p (1 - p)` over the rows of a leaf: 20 rows that nothing is known of yet.
const LEAF_WEIGHT: f32 = 5.0;

/// A class against the rest, or the second of two against the first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Score {
    /// Log-odds of the class among the rows.
    base: f32,
    trees: Vec<Tree>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Boosting {
    /// One a class, or one for two classes.
    scores: Vec<Score>,
}

impl Boosting {
    pub(super) fn fit(rows: &Rows, rounds: usize, rate: f32, leaves: usize) -> Result<Self> {
        let (count, width) = (rows.vectors.len(), rows.width());
        // A column after another.
        let values: Vec<f64> =
            (0..width).flat_map(|at| rows.vectors.iter().map(move |row| f64::from(row[at]))).collect();
        let data = Matrix::new(&values, count, width);
        let against = if rows.classes == 2 { 1..2 } else { 0..rows.classes };
        let scores = against.map(|class| Score::fit(rows, class, &data, (rounds, rate, leaves)));
        Ok(Self { scores: scores.collect::<Result<_>>()? })
    }

    pub(super) fn probabilities(&self, vector: &[f32]) -> Vec<f64> {
        let shares: Vec<f64> = self.scores.iter().map(|score| sigmoid(score.of(vector))).collect();
        match shares[..] {
            [second] => vec![1.0 - second, second],
            _ => {
                let sum: f64 = shares.iter().sum();
                shares.iter().map(|share| share / sum).collect()
            }
        }
    }

    pub(super) fn parameters(&self) -> usize {
        self.scores.iter().map(|score| 1 + score.trees.iter().map(Tree::parameters).sum::<usize>()).sum()
    }

    pub(super) fn is_whole(&self, width: usize, classes: usize) -> bool {
        self.scores.len() == if classes == 2 { 1 } else { classes }
            && self
                .scores
                .iter()
                .all(|score| score.base.is_finite() && score.trees.iter().all(|tree| tree.is_whole(width, 1)))
    }
}

impl Score {
    fn fit(
        rows: &Rows,
        class: usize,
        data: &Matrix<f64>,
        (rounds, rate, leaves): (usize, f32, usize),
    ) -> Result<Self> {
        let targets: Vec<f64> =
            rows.targets.iter().map(|target| f64::from(u8::from(*target == class))).collect();
        let mut booster = GradientBooster::default()
            .set_objective_type(ObjectiveType::LogLoss)
            .set_iterations(rounds)
            .set_learning_rate(rate)
            .set_max_depth(usize::MAX)
            .set_max_leaves(leaves)
            .set_nbins(BINS)
            .set_l2(0.0)
            .set_min_leaf_weight(LEAF_WEIGHT.min(targets.len() as f32 / 40.0));
        booster.grow_policy = GrowPolicy::LossGuide;
        booster.fit_unweighted(data, &targets, None).map_err(|error| {
            Error::invalid(format!("boosting failed: {error}")).hint("take logistic regression")
        })?;
        let trees = booster.trees.iter().map(read).collect::<Option<Vec<_>>>();
        let trees = trees.ok_or_else(|| Error::invalid("boosting left a tree that leads nowhere"))?;
        Ok(Self { base: booster.base_score as f32, trees })
    }

    fn of(&self, vector: &[f32]) -> f64 {
        let said = self.trees.iter().map(|tree| f64::from(tree.values(vector, 1)[0]));
        f64::from(self.base) + said.sum::<f64>()
    }
}

/// A tree as `forust` grows it: a value below the threshold goes left.
fn read(tree: &forust_ml::tree::Tree) -> Option<Tree> {
    Tree::of(0, &|at| {
        let node = tree.nodes.get(at)?;
        Some(match node.is_leaf {
            true => Node::Leaf(vec![node.weight_value]),
            false => Node::Split {
                feature: u32::try_from(node.split_feature).ok()?,
                threshold: highest_below(node.split_value),
                left: node.left_child,
                right: node.right_child,
            },
        })
    })
}

/// The highest number of 32 bits below `value`.
fn highest_below(value: f64) -> f32 {
    let near = value as f32;
    if f64::from(near) < value { near } else { near.next_down() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SplitMix;

    #[test]
    fn our_trees_say_what_the_crates_own_say() {
        let mut random = SplitMix::new(4, 0);
        let vectors: Vec<Vec<f32>> =
            (0..300).map(|_| (0..4).map(|_| random.normal() as f32).collect()).collect();
        let targets: Vec<f64> = vectors.iter().map(|x| f64::from(u8::from(x[0] * x[1] > 0.0))).collect();
        let values: Vec<f64> =
            (0..4).flat_map(|at| vectors.iter().map(move |row| f64::from(row[at]))).collect();
        let data = Matrix::new(&values, 300, 4);
        let mut theirs = GradientBooster::default().set_iterations(20).set_max_leaves(8);
        theirs.fit_unweighted(&data, &targets, None).unwrap();
        let expected = theirs.predict(&data, false);
        let ours = Score {
            base: theirs.base_score as f32,
            trees: theirs.trees.iter().map(|tree| read(tree).unwrap()).collect(),
        };
        for (vector, expected) in vectors.iter().zip(expected) {
            assert!((ours.of(vector) - expected).abs() < 1e-5, "{} {expected}", ours.of(vector));
        }
    }

    #[test]
    fn a_threshold_keeps_its_side_in_fewer_bits() {
        for value in [0.1, 1.0, -1.0, 1.0 + 1e-12, 1.0 - 1e-12, 0.0, -3.7e-9] {
            let below = highest_below(value);
            assert!(f64::from(below) < value && f64::from(below.next_up()) >= value, "{value}");
        }
    }
}
