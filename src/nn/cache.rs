//! Keys and values of tokens already read, so that the next token costs one row.
//!
//! An argument of `forward`, never part of a layer. It remembers which adapter filled it: the same text under another
//! adapter has other keys.

use candle_core::{DType, Tensor};

use super::Identity;
use crate::error::{Error, Result};

/// One growing store a sequence and layer.
#[derive(Debug, Clone, Default)]
pub struct KvCache {
    filled_by: Option<Identity>,
    rows: Vec<Row>,
}

#[derive(Debug, Clone, Default)]
struct Row {
    /// Tokens (and prefix rows) every layer holds.
    length: usize,
    /// `(capacity, nkv * d)` keys and values a layer, of which the first `length` rows count.
    layers: Vec<(Tensor, Tensor)>,
}

impl KvCache {
    /// An empty cache for `sequences` sequences.
    pub fn new(sequences: usize) -> Self {
        Self { filled_by: None, rows: vec![Row::default(); sequences] }
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

    /// Forgets everything after the first `length` tokens of a sequence.
    pub fn truncate(&mut self, sequence: usize, length: usize) {
        let row = &mut self.rows[sequence];
        row.length = row.length.min(length);
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
    /// leaves the cache as it was.
    pub(crate) fn append(
        &mut self,
        layer: usize,
        sequence: usize,
        k: &Tensor,
        v: &Tensor,
    ) -> Result<(Tensor, Tensor)> {
        let row = &mut self.rows[sequence];
        let (used, wanted) = (row.length, row.length + k.dim(0)?);
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

    /// Counts `rows` more tokens of `sequence` as read.
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
