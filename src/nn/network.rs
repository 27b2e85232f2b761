//! What a method may ask of the network that it is made for: sizes, names, and weights that stay as they are.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use candle_core::Tensor;

use super::{Identity, Linear, Norm, Part, Shape, Site};
use crate::error::Result;

/// A network that methods can be made for. Paths are those of Hugging Face's modules, as under the model's head.
pub trait Network {
    fn shape(&self) -> Shape;

    /// Whether a token sees only what stands before it.
    fn causal(&self) -> bool;

    /// `model.`, `bert.`: what every path begins with, and what files of the bare trunk leave out.
    fn trunk(&self) -> &'static str;

    /// Every module that holds linears of the blocks, in the order of the layers.
    fn modules(&self) -> Vec<Module>;

    /// The module that holds the vectors of tokens.
    fn embedding(&self) -> String;

    /// The module between an encoder's first token and the head for its classes, where its files keep that in the trunk (BERT).
    fn pooler(&self) -> Option<Module>;

    /// The module that stands for a sublayer of `layer`, [`Part::Attention`] or [`Part::Mlp`]: where bottlenecks are kept.
    fn sublayer(&self, layer: usize, part: Part) -> String;

    /// The module of attention in `layer`.
    fn attention(&self, layer: usize) -> String;

    /// A linear of the blocks.
    fn linear(&self, site: Site) -> Option<&Linear>;

    /// The norm between what a sublayer gives and the residual stream, where there is one (Gemma).
    fn norm_behind(&self, site: Site) -> Option<&Norm>;

    /// The vectors of tokens, `(n, H)`, as they enter the first block or what stands before it.
    fn words(&self, ids: &[u32]) -> Result<Tensor>;
}

/// A module of a file: one linear, or several in one matrix (GPT-2's `c_attn`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    pub path: String,
    pub layer: usize,
    /// What each of its rows belongs to, in their order.
    pub parts: Vec<(Site, Range<usize>)>,
    /// `in`
    pub input: usize,
    /// Whether a file holds the matrix as `(in, out)`.
    pub transposed: bool,
}

impl Module {
    /// `out`, of all parts together.
    pub fn output(&self) -> usize {
        self.parts.last().map_or(0, |(_, rows)| rows.end)
    }
}

/// A number that no other adapter of this process has.
pub fn fresh_identity() -> Identity {
    static NEXT: AtomicU64 = AtomicU64::new(1 << 32);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
