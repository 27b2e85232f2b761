//! Everything a method may do to a network, on one screen.

use candle_core::Tensor;

use super::{Linear, Mode, Norm, Site};
use crate::error::Result;

/// A change to a network, asked at the places where methods act. A method overrides what it needs; the defaults
/// leave the network as it is.
pub trait Adapter: Send + Sync {
    /// Tells adapters apart: a cache filled under one identity is refused under another.
    fn identity(&self) -> Identity;

    /// Rows placed before the token embeddings of each sequence, `(n, H)`.
    fn prompt(&self) -> Result<Option<Tensor>> {
        Ok(None)
    }

    /// The vectors of the tokens `ids`, given those of the table, `x` `(N, H)`.
    fn words(&self, _ids: &[u32], x: Tensor) -> Result<Tensor> {
        Ok(x)
    }

    /// The output of `linear` on `x` `(N, in)`, `(N, out)`. The default is the frozen layer.
    fn linear(&self, linear: &Linear, x: &Tensor, _mode: Mode) -> Result<Tensor> {
        linear.frozen(x)
    }

    /// What attention in `layer` may look at besides the tokens.
    fn memory(&self, _layer: usize) -> Result<Option<Memory>> {
        Ok(None)
    }

    /// A sublayer's output `h` `(N, H)` for the residual stream `x` `(N, H)` it will be added to, before it is, and before
    /// a norm between the two (Gemma).
    /// `norm` is the block's own frozen norm that follows in post-norm blocks (BERT): Pfeiffer adapters apply it
    /// before the bottleneck too.
    fn sublayer(&self, _site: Site, _x: &Tensor, h: Tensor, _norm: Option<&Norm>) -> Result<Tensor> {
        Ok(h)
    }
}

/// Further keys and values for attention; data, so that the attention arithmetic exists once.
#[derive(Clone)]
pub enum Memory {
    /// Keys (already rotated, if the model rotates) and values before the tokens' own, under the same softmax;
    /// `(nkv, n, d)` each. Tokens count their positions from `n`.
    Prefix { k: Tensor, v: Tensor },
    /// Vectors the block projects itself, attended under their own softmax and scaled by `gate`: `(n, H)` and
    /// `(nh, 1, 1)`.
    Gated { tokens: Tensor, gate: Tensor },
    /// The same, projected once and for all: `(n, nkv d)` each, and `(nh, 1, 1)`.
    Projected { k: Tensor, v: Tensor, gate: Tensor },
}

/// Which adapter this is, for as long as the process runs. 0 is the bare network.
pub type Identity = u64;

/// No change: the network as it was trained.
pub struct Bare;

impl Adapter for Bare {
    fn identity(&self) -> Identity {
        0
    }
}
