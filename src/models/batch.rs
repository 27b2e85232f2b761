//! Token ids of some sequences, packed.

use crate::error::{Error, Result};
use crate::nn::Packing;
use crate::text::tokenizer::Pair;

/// `B` sequences laid end to end, without padding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// `N` token ids.
    pub ids: Vec<u32>,
    pub packing: Packing,
    /// The token type of each id; empty where all are 0.
    pub types: Vec<u32>,
}

impl Batch {
    pub fn single(ids: &[u32]) -> Self {
        Self { ids: ids.to_vec(), packing: Packing::new([ids.len()]), types: Vec::new() }
    }

    pub fn of<S: AsRef<[u32]>>(sequences: &[S]) -> Self {
        let ids = sequences.iter().flat_map(|s| s.as_ref()).copied().collect();
        let packing = Packing::new(sequences.iter().map(|s| s.as_ref().len()));
        Self { ids, packing, types: Vec::new() }
    }

    /// Sequences some of which go on with an earlier one: see [`Packing::branching`]. For a model that reads from left to right.
    pub fn branching<S: AsRef<[u32]>>(sequences: &[S], behind: Vec<Option<usize>>) -> Self {
        let packing = Packing::branching(sequences.iter().map(|s| s.as_ref().len()), behind);
        Self { packing, ..Self::of(sequences) }
    }

    /// Two texts a sequence.
    pub fn of_pairs(pairs: &[&Pair]) -> Self {
        Self {
            ids: pairs.iter().flat_map(|pair| &pair.ids).copied().collect(),
            packing: Packing::new(pairs.iter().map(|pair| pair.ids.len())),
            types: pairs.iter().flat_map(|pair| &pair.types).copied().collect(),
        }
    }

    /// Drops the padding of `B` rows of equal length. Also returns, for each kept token, its index in the padded
    /// rows laid end to end, to compare with or return to a padded layout.
    ///
    /// # Errors
    /// `Invalid` when ids and mask differ in shape.
    pub fn from_padded(ids: &[Vec<u32>], mask: &[Vec<u32>]) -> Result<(Self, Vec<u32>)> {
        let shape = |rows: &[Vec<u32>]| rows.iter().map(Vec::len).collect::<Vec<_>>();
        if shape(ids) != shape(mask) {
            return Err(Error::invalid("input_ids and attention_mask differ in shape"));
        }
        let width = ids.first().map_or(0, Vec::len);
        let mut kept = Vec::new();
        let mut places = Vec::new();
        let mut lengths = Vec::new();
        for (row, (ids, mask)) in ids.iter().zip(mask).enumerate() {
            let before = kept.len();
            for (column, (&id, _)) in ids.iter().zip(mask).enumerate().filter(|(_, (_, keep))| **keep != 0) {
                kept.push(id);
                places.push((row * width + column) as u32);
            }
            lengths.push(kept.len() - before);
        }
        Ok((Self { ids: kept, packing: Packing::new(lengths), types: Vec::new() }, places))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_on_either_side_is_dropped() {
        let (batch, places) =
            Batch::from_padded(&[vec![7, 8, 0], vec![0, 5, 6]], &[vec![1, 1, 0], vec![0, 1, 1]]).unwrap();
        assert_eq!(batch, Batch::of(&[[7, 8], [5, 6]]));
        assert_eq!(places, [0, 1, 4, 5]);
    }
}
