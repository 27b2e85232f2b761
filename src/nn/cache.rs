//! Keys and values of tokens already read, so that the next token costs one row.
//!
//! An argument of `forward`, never part of a layer. It remembers which adapter filled it: the same text under another
//! adapter has other keys.

use candle_core::{DType, Tensor};

use super::Identity;
use crate::error::{Error, Result};

/// One growing store a sequence and layer.
///
/// A [`KvCache::branching`] one holds a single sequence and takes batches of more: the first sequence of a batch (the trunk)
/// continues what is held and stays; each other one (a branch) continues the trunk, sees no other branch, and is forgotten
/// once the pass is over.
#[derive(Debug, Default)]
pub struct KvCache {
    filled_by: Option<Identity>,
    rows: Vec<Row>,
    branching: bool,
}

#[derive(Debug, Clone, Default)]
struct Row {
    /// Tokens (and prefix rows) every layer holds.
    length: usize,
    /// Where branches begin in the pass that is under way: behind `length` and the trunk.
    fork: usize,
    /// `(capacity, nkv * d)` keys and values a layer, of which the first `length` rows count.
    layers: Vec<(Tensor, Tensor)>,
}

impl KvCache {
    /// An empty cache for `sequences` sequences.
    pub fn new(sequences: usize) -> Self {
        Self { rows: vec![Row::default(); sequences], ..Self::default() }
    }

    /// An empty cache for one sequence and whatever branches off it.
    pub fn branching() -> Self {
        Self { branching: true, ..Self::new(1) }
    }

    /// Another cache with what this one holds, to be continued on its own. Nothing is copied before it grows.
    ///
    /// # Errors
    /// As a tensor operation fails.
    pub fn fork(&self) -> Result<Self> {
        let view = |row: &Row| -> Result<Row> {
            // A store without room to spare is copied by the first append, so nobody writes where another reads.
            let exact = |store: &Tensor| store.narrow(0, 0, row.length);
            let layers = row.layers.iter().map(|(k, v)| Ok((exact(k)?, exact(v)?)));
            Ok(Row { layers: layers.collect::<Result<_>>()?, ..*row })
        };
        Ok(Self { rows: self.rows.iter().map(view).collect::<Result<_>>()?, ..*self })
    }

    /// A cache with what this one holds of each sequence, `copies` times one behind the other. Nothing is copied before it grows.
    ///
    /// # Errors
    /// As a tensor operation fails.
    pub fn spread(&self, copies: usize) -> Result<Self> {
        let fork = self.fork()?;
        let rows = fork.rows.iter().flat_map(|row| std::iter::repeat_n(row.clone(), copies)).collect();
        Ok(Self { rows, ..fork })
    }

    /// Forgets the sequences for which `wanted` says no; the others move up.
    pub fn retain(&mut self, mut wanted: impl FnMut(usize) -> bool) {
        let mut at = 0;
        self.rows.retain(|_| {
            at += 1;
            wanted(at - 1)
        });
    }

    pub fn sequences(&self) -> usize {
        self.rows.len()
    }

    /// Tokens held for a sequence, prefix rows included: the position of its next token.
    pub fn length(&self, sequence: usize) -> usize {
        self.rows[sequence].length
    }

    pub fn is_empty(&self, sequence: usize) -> bool {
        self.length(sequence) == 0
    }

    /// The first `rows` keys and values that `layer` holds of a sequence, `(rows, nkv * d)` each.
    ///
    /// # Errors
    /// As a tensor operation fails when the layer holds fewer.
    pub fn held(&self, layer: usize, sequence: usize, rows: usize) -> Result<(Tensor, Tensor)> {
        let Some((k, v)) = self.rows[sequence].layers.get(layer).filter(|_| rows <= self.length(sequence))
        else {
            return Err(Error::invalid(format!("the cache does not hold {rows} rows of layer {layer}")));
        };
        Ok((k.narrow(0, 0, rows)?, v.narrow(0, 0, rows)?))
    }

    /// Forgets everything after the first `length` tokens of a sequence.
    pub fn truncate(&mut self, sequence: usize, length: usize) {
        let row = &mut self.rows[sequence];
        row.length = row.length.min(length);
    }

    /// Whether a batch of `sequences` continues this cache.
    pub(crate) fn takes(&self, sequences: usize) -> bool {
        sequences == self.rows.len() || self.branching && sequences > 0
    }

    /// Whether sequence `sequence` of a batch is a branch.
    pub(crate) fn is_branch(&self, sequence: usize) -> bool {
        self.branching && sequence > 0
    }

    /// Whether nothing stands before the rows that a batch brings of `sequence`.
    pub(crate) fn is_fresh(&self, sequence: usize) -> bool {
        !self.is_branch(sequence) && self.is_empty(sequence)
    }

    /// Ties the cache to an adapter.
    ///
    /// # Errors
    /// `Mismatch` when another adapter filled it.
    pub(crate) fn claim(&mut self, adapter: Identity) -> Result<()> {
        match self.filled_by {
            Some(owner) if owner != adapter && self.rows.iter().any(|row| row.length > 0) => {
                Err(Error::mismatch("this key/value cache was filled under another adapter")
                    .hint("start from an empty cache when switching adapters"))
            }
            _ => {
                self.filled_by = Some(adapter);
                Ok(())
            }
        }
    }

    /// Puts `k` and `v` `(T, nkv * d)` behind what `layer` holds of `sequence`; returns all of it, `(S, nkv * d)`.
    ///
    /// The tokens count once every layer has them and [`KvCache::advance`] is called, so a pass that fails half way
    /// leaves the cache as it was. Of a branch they never do: each branch is written over the one before, behind the trunk,
    /// which `layer` must have been given first.
    pub(crate) fn append(
        &mut self,
        layer: usize,
        sequence: usize,
        k: &Tensor,
        v: &Tensor,
    ) -> Result<(Tensor, Tensor)> {
        let branch = self.is_branch(sequence);
        let row = &mut self.rows[if branch { 0 } else { sequence }];
        let used = if branch { row.fork } else { row.length };
        let wanted = used + k.dim(0)?;
        if !branch {
            row.fork = wanted;
        }
        if row.layers.len() == layer {
            row.layers.push((k.narrow(0, 0, 0)?, v.narrow(0, 0, 0)?));
        }
        let store = &mut row.layers[layer];
        for (kept, new) in [(&mut store.0, k), (&mut store.1, v)] {
            if kept.dim(0)? < wanted {
                *kept = grown(kept, used, wanted.next_power_of_two().max(64))?;
            }
            kept.slice_set(&new.contiguous()?, 0, used)?;
        }
        Ok((store.0.narrow(0, 0, wanted)?, store.1.narrow(0, 0, wanted)?))
    }

    /// Counts `rows` more tokens of `sequence`, which is no branch, as read.
    pub(crate) fn advance(&mut self, sequence: usize, rows: usize) {
        self.rows[sequence].length += rows;
    }
}

/// A larger tensor that begins with the first `used` rows of `kept`.
fn grown(kept: &Tensor, used: usize, capacity: usize) -> Result<Tensor> {
    let larger = Tensor::zeros((capacity, kept.dim(1)?), DType::F32, kept.device())?;
    if used > 0 {
        larger.slice_set(&kept.narrow(0, 0, used)?.contiguous()?, 0, 0)?;
    }
    Ok(larger)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    fn rows(values: &[f32]) -> Tensor {
        Tensor::from_slice(values, (values.len(), 1), &Device::Cpu).unwrap()
    }

    fn contents(t: &Tensor) -> Vec<f32> {
        t.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn a_cache_grows_and_keeps_what_it_holds() {
        let mut cache = KvCache::new(1);
        let long: Vec<f32> = (0..100).map(|i| i as f32).collect();
        cache.append(0, 0, &rows(&long[..3]), &rows(&long[..3])).unwrap();
        cache.advance(0, 3);
        let (k, _) = cache.append(0, 0, &rows(&long[3..]), &rows(&long[3..])).unwrap();
        assert_eq!(contents(&k), long);
    }

    #[test]
    fn rows_that_were_never_counted_are_overwritten() {
        let mut cache = KvCache::new(1);
        cache.append(0, 0, &rows(&[1.0, 2.0]), &rows(&[1.0, 2.0])).unwrap();
        let (k, _) = cache.append(0, 0, &rows(&[3.0]), &rows(&[3.0])).unwrap();
        assert_eq!(contents(&k), [3.0]);
    }

    #[test]
    fn branches_continue_the_trunk_and_are_forgotten() {
        let mut cache = KvCache::branching();
        let mut put = |sequence, values: &[f32]| {
            contents(&cache.append(0, sequence, &rows(values), &rows(values)).unwrap().0)
        };
        assert_eq!(put(0, &[1.0, 2.0]), [1.0, 2.0]);
        assert_eq!(put(1, &[3.0]), [1.0, 2.0, 3.0]);
        assert_eq!(put(2, &[4.0, 5.0]), [1.0, 2.0, 4.0, 5.0]);
        cache.advance(0, 2);
        let (k, _) = cache.append(0, 0, &rows(&[6.0]), &rows(&[6.0])).unwrap();
        assert_eq!(contents(&k), [1.0, 2.0, 6.0]);
    }

    #[test]
    fn forks_do_not_write_into_each_other() {
        let mut cache = KvCache::new(1);
        cache.append(0, 0, &rows(&[1.0, 2.0, 9.0]), &rows(&[1.0, 2.0, 9.0])).unwrap();
        cache.advance(0, 2);
        let mut forks = [cache.fork().unwrap(), cache.fork().unwrap()];
        let mut put = |at: usize, value| {
            let (k, _) = forks[at].append(0, 0, &rows(&[value]), &rows(&[value])).unwrap();
            forks[at].advance(0, 1);
            k
        };
        let (first, second) = (put(0, 3.0), put(1, 4.0));
        assert_eq!(contents(&first), [1.0, 2.0, 3.0]);
        assert_eq!(contents(&second), [1.0, 2.0, 4.0]);
        let (k, _) = cache.append(0, 0, &rows(&[5.0]), &rows(&[5.0])).unwrap();
        assert_eq!(contents(&k), [1.0, 2.0, 5.0]);
        assert_eq!(contents(&first), [1.0, 2.0, 3.0]);
    }

    #[test]
    fn copies_of_sequences_go_on_each_on_its_own() {
        let mut cache = KvCache::new(2);
        for (sequence, value) in [(0, 1.0), (1, 2.0)] {
            cache.append(0, sequence, &rows(&[value]), &rows(&[value])).unwrap();
            cache.advance(sequence, 1);
        }
        let mut spread = cache.spread(2).unwrap();
        assert_eq!(spread.sequences(), 4);
        let put = |spread: &mut KvCache, sequence, value| {
            contents(&spread.append(0, sequence, &rows(&[value]), &rows(&[value])).unwrap().0)
        };
        assert_eq!(put(&mut spread, 1, 7.0), [1.0, 7.0]);
        assert_eq!(put(&mut spread, 0, 8.0), [1.0, 8.0]);
        assert_eq!(put(&mut spread, 3, 9.0), [2.0, 9.0]);
        spread.retain(|sequence| sequence > 1);
        assert_eq!(spread.sequences(), 2);
        assert_eq!(put(&mut spread, 0, 5.0), [2.0, 5.0]);
    }

    #[test]
    fn another_adapter_is_refused_until_the_cache_is_empty() {
        let mut cache = KvCache::new(1);
        cache.claim(1).unwrap();
        cache.append(0, 0, &rows(&[1.0]), &rows(&[1.0])).unwrap();
        cache.advance(0, 1);
        assert!(matches!(cache.claim(2), Err(Error::Mismatch(_))));
        cache.truncate(0, 0);
        cache.claim(2).unwrap();
    }
}
