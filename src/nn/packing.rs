//! Where each sequence of a packed batch begins.

use std::ops::Range;

use candle_core::Tensor;

use crate::error::Result;

/// Sequences laid end to end: sequence `b` owns rows `starts[b]..starts[b + 1]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packing {
    starts: Vec<usize>,
    /// Of each sequence, the earlier one that it goes on with; empty where none goes on with another.
    behind: Vec<Option<usize>>,
}

/// One sequence's queries and keys, as row ranges of two packed tensors.
///
/// Where a query does not see all, the last query sits on the last key: query `i` on key `i + keys - queries`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    pub queries: Range<usize>,
    pub keys: Range<usize>,
}

impl Packing {
    /// From the length of each sequence.
    pub fn new(lengths: impl IntoIterator<Item = usize>) -> Self {
        let mut starts = vec![0];
        let mut end = 0;
        for length in lengths {
            end += length;
            starts.push(end);
        }
        Self { starts, behind: Vec::new() }
    }

    /// Sequences some of which go on with an earlier one, as answers do with the prompt that they share: `behind` says with which.
    /// What another goes on with goes on with none itself.
    pub fn branching(lengths: impl IntoIterator<Item = usize>, behind: Vec<Option<usize>>) -> Self {
        let Self { starts, .. } = Self::new(lengths);
        let rooted =
            |(at, root): (usize, &Option<usize>)| root.is_none_or(|root| root < at && behind[root].is_none());
        debug_assert!(behind.len() + 1 == starts.len() && behind.iter().enumerate().all(rooted));
        let branches = behind.iter().any(Option::is_some);
        Self { starts, behind: if branches { behind } else { Vec::new() } }
    }

    /// The sequence that `sequence` goes on with.
    pub fn root(&self, sequence: usize) -> Option<usize> {
        self.behind.get(sequence).copied().flatten()
    }

    pub fn is_branching(&self) -> bool {
        !self.behind.is_empty()
    }

    /// Number of sequences, `B`.
    pub fn len(&self) -> usize {
        self.starts.len() - 1
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Rows in all, `N`.
    pub fn rows(&self) -> usize {
        self.starts[self.len()]
    }

    /// The rows of each sequence.
    pub fn ranges(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        self.starts.windows(2).map(|pair| pair[0]..pair[1])
    }

    /// The rows of each sequence that no other goes on with.
    pub fn leaves(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        let is_root = |at: usize| self.behind.contains(&Some(at));
        self.ranges().enumerate().filter(move |(at, _)| !is_root(*at)).map(|(_, range)| range)
    }

    /// What the tokens of each sequence may look at, end to end: rows, and how they are packed. `None` where that is the sequence
    /// itself.
    pub fn seen(&self) -> Option<(Vec<u32>, Self)> {
        if !self.is_branching() {
            return None;
        }
        let (mut rows, mut lengths) = (Vec::new(), Vec::new());
        for (at, own) in self.ranges().enumerate() {
            let before = rows.len();
            let root = self.root(at).map_or(0..0, |root| self.starts[root]..self.starts[root + 1]);
            rows.extend(root.chain(own).map(|row| row as u32));
            lengths.push(rows.len() - before);
        }
        Some((rows, Self::new(lengths)))
    }

    /// The packing after `n` rows were put before each sequence that goes on with no other.
    pub fn widened(&self, n: usize) -> Self {
        let lengths = self.ranges().enumerate().map(|(at, range)| range.len() + self.before(at, n));
        Self { behind: self.behind.clone(), ..Self::new(lengths) }
    }

    /// Of `n` rows that are put before sequences, those before this one.
    pub fn before(&self, sequence: usize, n: usize) -> usize {
        if self.root(sequence).is_none() { n } else { 0 }
    }

    /// `rows` `(N, W)` with `before` `(n, W)` put before those of each sequence that goes on with no other, packed as
    /// [`Packing::widened`] says.
    pub fn behind(&self, before: &Tensor, rows: &Tensor) -> Result<Tensor> {
        let mut parts = Vec::with_capacity(2 * self.len());
        for (at, range) in self.ranges().enumerate() {
            if self.root(at).is_none() {
                parts.push(before.clone());
            }
            parts.push(rows.narrow(0, range.start, range.len())?);
        }
        Ok(Tensor::cat(&parts, 0)?)
    }

    /// Each sequence attending to itself.
    pub fn to_itself(&self) -> Vec<Segment> {
        self.ranges().map(|range| Segment { queries: range.clone(), keys: range }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_lie_end_to_end() {
        let packing = Packing::new([2, 0, 3]);
        assert_eq!((packing.len(), packing.rows()), (3, 5));
        assert_eq!(packing.ranges().collect::<Vec<_>>(), [0..2, 2..2, 2..5]);
        assert_eq!(packing.widened(1).ranges().collect::<Vec<_>>(), [0..3, 3..4, 4..8]);
        assert_eq!((packing.leaves().count(), packing.seen()), (3, None));
    }

    #[test]
    fn some_sequences_go_on_with_others() {
        let packing = Packing::branching([3, 1, 2, 2], vec![None, Some(0), Some(0), None]);
        assert_eq!(packing.leaves().collect::<Vec<_>>(), [3..4, 4..6, 6..8]);
        let (rows, seen) = packing.seen().unwrap();
        assert_eq!(rows, [0, 1, 2, 0, 1, 2, 3, 0, 1, 2, 4, 5, 6, 7]);
        assert_eq!(seen.ranges().map(|range| range.len()).collect::<Vec<_>>(), [3, 4, 5, 2]);
        let widened = packing.widened(2);
        assert_eq!(widened.ranges().map(|range| range.len()).collect::<Vec<_>>(), [5, 1, 2, 4]);
        assert_eq!((widened.root(1), widened.root(3)), (Some(0), None));
        assert_eq!(Packing::branching([1, 2], vec![None, None]), Packing::new([1, 2]));
    }
}
