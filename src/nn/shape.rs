//! The sizes of a network: what a method needs to know to make parameters that fit.

use super::Part;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    pub layers: usize,
    /// Width of the residual stream, `H`.
    pub hidden: usize,
    /// Query heads, `nh`.
    pub heads: usize,
    /// Key/value heads, `nkv`.
    pub kv_heads: usize,
    /// Width of one head, `d`.
    pub head_dim: usize,
    /// Width of the MLP, `I`.
    pub intermediate: usize,
    /// `V`
    pub vocab: usize,
    /// Whether the MLP has a gate projection.
    pub gated: bool,
}

impl Shape {
    /// `(out, in)` of a linear, or `None` where this network has none.
    pub fn linear(&self, part: Part) -> Option<(usize, usize)> {
        let (q, kv) = (self.heads * self.head_dim, self.kv_heads * self.head_dim);
        match part {
            Part::Q => Some((q, self.hidden)),
            Part::K | Part::V => Some((kv, self.hidden)),
            Part::O => Some((self.hidden, q)),
            Part::Gate => self.gated.then_some((self.intermediate, self.hidden)),
            Part::Up => Some((self.intermediate, self.hidden)),
            Part::Down => Some((self.hidden, self.intermediate)),
            Part::Head => Some((self.vocab, self.hidden)),
            Part::Pooler => Some((self.hidden, self.hidden)),
            Part::Attention | Part::Mlp => None,
        }
    }
}
