//! A decision tree, as it is kept and asked.

use serde::{Deserialize, Serialize};

/// Nodes by number, the root first; a tree that is a single leaf has none.
///
/// Where a vector's value of `feature` is at most `threshold` the way goes left, else right. A child that is not negative is
/// a node, of a higher number than its parent; `-1 - i` is the leaf `i`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Tree {
    feature: Vec<u32>,
    threshold: Vec<f32>,
    left: Vec<i32>,
    right: Vec<i32>,
    /// So many values for each leaf as the tree says of a vector.
    leaves: Vec<f32>,
}

/// A node on its way into a [`Tree`].
pub(super) enum Node {
    Leaf(Vec<f32>),
    Split { feature: u32, threshold: f32, left: usize, right: usize },
}

impl Tree {
    /// The tree whose nodes `node` gives by number, from the root's on.
    pub(super) fn of(root: usize, node: &dyn Fn(usize) -> Option<Node>) -> Option<Self> {
        let mut tree = Self::default();
        tree.take(node(root)?, node)?;
        Some(tree)
    }

    /// Takes in what stands below `from`, and returns the child's number.
    fn take(&mut self, from: Node, node: &dyn Fn(usize) -> Option<Node>) -> Option<i32> {
        match from {
            Node::Leaf(values) => {
                let at = self.leaves.len() / values.len().max(1);
                self.leaves.extend(values);
                Some(-1 - i32::try_from(at).ok()?)
            }
            Node::Split { feature, threshold, left, right } => {
                let at = self.feature.len();
                self.feature.push(feature);
                self.threshold.push(threshold);
                self.left.push(0);
                self.right.push(0);
                self.left[at] = self.take(node(left)?, node)?;
                self.right[at] = self.take(node(right)?, node)?;
                i32::try_from(at).ok()
            }
        }
    }

    /// The values of the leaf that `vector` falls into, `outputs` of them.
    pub(super) fn values(&self, vector: &[f32], outputs: usize) -> &[f32] {
        let mut at = if self.feature.is_empty() { -1 } else { 0 };
        while at >= 0 {
            let node = at as usize;
            let goes_left = vector[self.feature[node] as usize] <= self.threshold[node];
            at = if goes_left { self.left[node] } else { self.right[node] };
        }
        let leaf = (-1 - at) as usize;
        &self.leaves[leaf * outputs..(leaf + 1) * outputs]
    }

    /// Thresholds and values of leaves.
    pub(super) fn parameters(&self) -> usize {
        self.threshold.len() + self.leaves.len()
    }

    /// Whether every way through it ends at a leaf.
    pub(super) fn is_whole(&self, width: usize, outputs: usize) -> bool {
        let nodes = self.feature.len();
        let leaves = self.leaves.len() / outputs;
        let leads_on = |at: usize, child: i32| match child {
            0.. => child as usize > at && (child as usize) < nodes,
            _ => ((-1 - child) as usize) < leaves,
        };
        [self.threshold.len(), self.left.len(), self.right.len()] == [nodes; 3]
            && leaves > 0
            && leaves * outputs == self.leaves.len()
            && self.feature.iter().all(|feature| (*feature as usize) < width)
            && self.threshold.iter().chain(&self.leaves).all(|value| value.is_finite())
            && (0..nodes).all(|at| leads_on(at, self.left[at]) && leads_on(at, self.right[at]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> Tree {
        let node = |at: usize| {
            Some(match at {
                0 => Node::Split { feature: 1, threshold: 0.5, left: 1, right: 2 },
                1 => Node::Leaf(vec![1.0]),
                2 => Node::Split { feature: 0, threshold: -1.0, left: 3, right: 4 },
                3 => Node::Leaf(vec![2.0]),
                4 => Node::Leaf(vec![3.0]),
                _ => return None,
            })
        };
        Tree::of(0, &node).unwrap()
    }

    #[test]
    fn a_vector_falls_to_its_leaf_and_a_value_on_a_threshold_goes_left() {
        let tree = tree();
        for (vector, value) in [([0.0, 0.5], 1.0), ([-1.0, 0.6], 2.0), ([-0.9, 0.6], 3.0)] {
            assert_eq!(tree.values(&vector, 1), [value]);
        }
        let leaf = Tree::of(0, &|_| Some(Node::Leaf(vec![0.25, 0.75]))).unwrap();
        assert_eq!(leaf.values(&[], 2), [0.25, 0.75]);
        assert!(leaf.is_whole(0, 2));
    }

    #[test]
    fn a_tree_that_would_not_end_or_leads_nowhere_is_not_whole() {
        assert!(tree().is_whole(2, 1));
        assert!(!tree().is_whole(1, 1), "a feature that no vector has");
        assert!(!tree().is_whole(2, 2), "leaves of another size");
        let broken: [fn(&mut Tree); 6] = [
            |tree| tree.right[0] = 0,
            |tree| tree.left[0] = 7,
            |tree| tree.left[0] = -9,
            |tree| tree.left[0] = i32::MIN,
            |tree| tree.threshold[0] = f32::NAN,
            |tree| tree.leaves.clear(),
        ];
        for damage in broken {
            let mut tree = tree();
            damage(&mut tree);
            assert!(!tree.is_whole(2, 1), "{tree:?}");
        }
    }
}
