//! Where each sequence of a packed batch begins.

use std::ops::Range;

use candle_core::Tensor;

use crate::error::Result;

/// Sequences laid end to end: sequence `b` owns rows `starts[b]..starts[b + 1]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packing {
    starts: Vec<usize>,
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
        Self { starts }
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

    /// The packing after `n` rows were put before each sequence.
    pub fn widened(&self, n: usize) -> Self {
        Self::new(self.ranges().map(|range| range.len() + n))
    }

    /// `rows` `(N, W)` with `before` `(n, W)` put before those of each sequence: `(N + B n, W)`, packed as
    /// [`Packing::widened`] says.
    pub fn behind(&self, before: &Tensor, rows: &Tensor) -> Result<Tensor> {
        let mut parts = Vec::with_capacity(2 * self.len());
        for range in self.ranges() {
            parts.push(before.clone());
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
    }
}
