//! What an adapter adds that does not depend on the text, computed once.
//!
//! Virtual tokens stand before every text, so in a model that writes their keys and values are the same each time: a soft prompt
//! is served as the prefix that it amounts to. Learned vectors that attention looks at are projected once. Both are exact.

use std::sync::Arc;

use candle_core::Tensor;

use crate::error::Result;
use crate::models::{Batch, Transformer};
use crate::nn::{
    Adapter, Bare, Identity, KvCache, Linear, Memory, Mode, Network, Norm, Pass, Shape, Site, fresh_identity,
};

/// `adapter` with everything computed that can be.
///
/// # Errors
/// As a forward pass under it fails.
pub fn prepared(transformer: &Transformer, adapter: Arc<dyn Adapter>) -> Result<Arc<dyn Adapter>> {
    let layers = transformer.shape().layers;
    let before = adapter.prompt()?.map_or(Ok(0), |rows| rows.dim(0))?;
    let memories = match before {
        0 => (0..layers)
            .map(|layer| match adapter.memory(layer)? {
                Some(Memory::Gated { tokens, gate }) => {
                    let (k, v) = transformer.project(layer, &tokens)?;
                    Ok(Some(Memory::Projected { k, v, gate }))
                }
                memory => Ok(memory),
            })
            .collect::<Result<Vec<_>>>()?,
        _ => rows_before(transformer, &*adapter)?
            .into_iter()
            .map(|(k, v)| Some(Memory::Prefix { k, v }))
            .collect(),
    };
    if memories.iter().all(Option::is_none) {
        return Ok(adapter);
    }
    Ok(Arc::new(Prepared { identity: fresh_identity(), adapter, memories }))
}

/// The keys and values `(nkv, n, d)` of every layer after the bare network read `ids`, as a prefix holds them.
///
/// # Errors
/// As a forward pass fails.
pub fn keys_and_values(transformer: &Transformer, ids: &[u32]) -> Result<Vec<(Tensor, Tensor)>> {
    let mut cache = KvCache::new(1);
    transformer.forward(&Batch::single(ids), Pass::cached(&Bare, &mut cache))?;
    held(transformer, &cache, ids.len())
}

/// Of the rows that `adapter` puts before every text.
fn rows_before(transformer: &Transformer, adapter: &dyn Adapter) -> Result<Vec<(Tensor, Tensor)>> {
    let mut cache = KvCache::new(1);
    // Rows before a token do not see it: any will do.
    transformer.forward(&Batch::single(&[0]), Pass::cached(adapter, &mut cache))?;
    held(transformer, &cache, cache.length(0) - 1)
}

fn held(transformer: &Transformer, cache: &KvCache, rows: usize) -> Result<Vec<(Tensor, Tensor)>> {
    let Shape { layers, kv_heads, .. } = transformer.shape();
    let heads = |held: Tensor| -> Result<Tensor> {
        Ok(held.reshape((rows, kv_heads, ()))?.transpose(0, 1)?.contiguous()?) // (nkv, n, d)
    };
    (0..layers)
        .map(|layer| {
            let (k, v) = cache.held(layer, 0, rows)?;
            Ok((heads(k)?, heads(v)?))
        })
        .collect()
}

struct Prepared {
    identity: Identity,
    adapter: Arc<dyn Adapter>,
    /// Of each layer.
    memories: Vec<Option<Memory>>,
}

impl Adapter for Prepared {
    fn identity(&self) -> Identity {
        self.identity
    }

    fn linear(&self, linear: &Linear, x: &Tensor, mode: Mode) -> Result<Tensor> {
        self.adapter.linear(linear, x, mode)
    }

    fn memory(&self, layer: usize) -> Result<Option<Memory>> {
        Ok(self.memories.get(layer).cloned().flatten())
    }

    fn sublayer(&self, site: Site, x: &Tensor, h: Tensor, norm: Option<&Norm>) -> Result<Tensor> {
        self.adapter.sublayer(site, x, h, norm)
    }
}
