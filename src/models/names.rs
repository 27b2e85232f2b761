//! What a family calls its tensors, without `.weight` and `.bias`.

/// The names Hugging Face gives them. `trunk` may be missing in a file that holds the bare trunk.
pub(super) struct Names {
    pub trunk: &'static str,
    pub embedding: &'static str,
    pub positions: Option<&'static str>,
    pub token_types: Option<&'static str>,
    pub embedding_norm: Option<&'static str>,
    /// Layer `l` is `{layers}.{l}.`
    pub layers: &'static str,
    pub qkv: Qkv,
    pub o: &'static str,
    pub gate: Option<&'static str>,
    pub up: &'static str,
    pub down: &'static str,
    /// Whether a layer's linears are stored `(in, out)` (GPT-2's Conv1D).
    pub transposed: bool,
    /// Of attention and of the MLP: the one norm of each, or the one before it.
    pub norms: (&'static str, &'static str),
    /// The ones behind them, where a sublayer has two.
    pub norms_after: Option<(&'static str, &'static str)>,
    /// Of each head of queries and keys.
    pub head_norms: Option<(&'static str, &'static str)>,
    pub final_norm: Option<&'static str>,
    /// Outside the trunk; unused where the head is tied.
    pub head: Option<&'static str>,
    pub classes: Classes,
}

/// The projections of attention's input.
pub(super) enum Qkv {
    Apart {
        q: &'static str,
        k: &'static str,
        v: &'static str,
    },
    /// One tensor holds the three, one after another.
    Fused(&'static str),
}

/// How a classifier reads the hidden states, and what its tensors are called.
pub(super) enum Classes {
    /// The first token through a linear, `dense` (in the trunk or outside it), and `curve`; then `out`.
    First { dense: &'static str, in_trunk: bool, curve: Curve, out: &'static str },
    /// The last token, then `out`.
    Last { out: &'static str },
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Curve {
    Tanh,
    Relu,
}
