//! A random forest: what its trees say, averaged.

use rafor::prelude::*;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Rows;
use super::tree::{Node, Tree};
use crate::error::{Error, Result};
use crate::random::SplitMix;

/// Forests that are grown side by side, each by one thread: the order in which several threads finish their trees is chance.
const PARTS: usize = 4;

/// Keeps the seeds of the parts apart from other uses of one seed.
const SEEDS: u64 = 0x666f_7265_7374;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Forest {
    classes: usize,
    /// Each says how frequent each class is in a leaf.
    trees: Vec<Tree>,
}

impl Forest {
    pub(super) fn fit(rows: &Rows, trees: usize, seed: u64) -> Result<Self> {
        let values: Vec<f32> = rows.vectors.concat();
        let targets: Vec<i64> = rows.targets.iter().map(|class| *class as i64).collect();
        let mut random = SplitMix::new(seed, SEEDS);
        let parts: Vec<(usize, u64)> = (0..PARTS.min(trees))
            .map(|part| (trees / PARTS + usize::from(part < trees % PARTS), random.next()))
            .collect();
        let grown = parts.into_par_iter().map(|(trees, seed)| {
            let forest =
                rafor::rf::Classifier::trainer().with_trees(trees).with_seed(seed).train(&values, &targets);
            // Its trees are its own; what it writes of them is not.
            let json = serde_json::to_value(forest).unwrap_or_default();
            let trees = json["ensemble"].as_array().map(Vec::as_slice).unwrap_or_default();
            trees.iter().map(|tree| read(tree, rows.classes)).collect::<Option<Vec<_>>>()
        });
        let grown: Option<Vec<Vec<Tree>>> = grown.collect();
        let forest = Self { classes: rows.classes, trees: grown.unwrap_or_default().concat() };
        match forest.trees.len() == trees && forest.is_whole(rows.width(), rows.classes) {
            true => Ok(forest),
            false => Err(Error::invalid("the forest did not grow").hint("take logistic regression")),
        }
    }

    pub(super) fn probabilities(&self, vector: &[f32]) -> Vec<f64> {
        let mut sums = vec![0.0; self.classes];
        for tree in &self.trees {
            let shares = tree.values(vector, self.classes);
            sums.iter_mut().zip(shares).for_each(|(sum, share)| *sum += f64::from(*share));
        }
        sums.iter().map(|sum| sum / self.trees.len() as f64).collect()
    }

    pub(super) fn parameters(&self) -> usize {
        self.trees.iter().map(Tree::parameters).sum()
    }

    pub(super) fn is_whole(&self, width: usize, classes: usize) -> bool {
        self.classes == classes
            && !self.trees.is_empty()
            && self.trees.iter().all(|tree| tree.is_whole(width, classes))
    }
}

/// A tree as `rafor` writes it: nodes whose children are nodes, or rows of `proba`.
fn read(json: &Value, classes: usize) -> Option<Tree> {
    let nodes = json["tree"]["nodes"].as_array()?;
    let shares = json["proba"].as_array()?;
    // A node by its number; leaves come behind the nodes.
    let number = |node: &Value, child: &str, is_leaf: &str| {
        let at = node[child].as_u64()? as usize;
        Some(if node[is_leaf].as_bool()? { nodes.len() + at } else { at })
    };
    Tree::of(0, &|at| {
        let Some(node) = nodes.get(at) else {
            let leaf = at - nodes.len();
            let shares = shares.get(leaf * classes..(leaf + 1) * classes)?;
            return Some(Node::Leaf(
                shares.iter().map(|share| Some(share.as_f64()? as f32)).collect::<Option<_>>()?,
            ));
        };
        Some(Node::Split {
            feature: node["feature"].as_u64()? as u32,
            threshold: node["threshold"].as_f64()? as f32,
            left: number(node, "left", "left_is_leaf")?,
            right: number(node, "right", "right_is_leaf")?,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_trees_say_what_the_crates_own_say() {
        let mut random = SplitMix::new(2, 0);
        let vectors: Vec<Vec<f32>> =
            (0..150).map(|_| (0..5).map(|_| random.normal() as f32).collect()).collect();
        let targets: Vec<i64> =
            vectors.iter().map(|x| i64::from(x[0] > 0.0) + i64::from(x[1] + x[2] > 0.5)).collect();
        let values = vectors.concat();
        let theirs = rafor::rf::Classifier::trainer().with_trees(10).with_seed(3).train(&values, &targets);
        let expected = theirs.proba(&values, 1);
        let json = serde_json::to_value(&theirs).unwrap();
        let trees: Vec<Tree> =
            json["ensemble"].as_array().unwrap().iter().map(|tree| read(tree, 3).unwrap()).collect();
        let ours = Forest { classes: 3, trees };
        for (vector, expected) in vectors.iter().zip(expected.chunks(3)) {
            for (ours, theirs) in ours.probabilities(vector).iter().zip(expected) {
                assert!((ours - f64::from(*theirs)).abs() < 1e-5, "{ours} {theirs}");
            }
        }
    }

    #[test]
    fn as_many_trees_grow_as_were_asked_for() {
        let vectors: Vec<Vec<f32>> = (0..20).map(|at| vec![at as f32]).collect();
        let targets: Vec<usize> = (0..20).map(|at| usize::from(at > 9)).collect();
        for trees in [1, 3, 4, 10] {
            let forest =
                Forest::fit(&Rows { vectors: &vectors, targets: &targets, classes: 2 }, trees, 0).unwrap();
            assert_eq!(forest.trees.len(), trees);
        }
    }
}
