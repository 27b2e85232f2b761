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
    pub q: &'static str,
    pub k: &'static str,
    pub v: &'static str,
    pub o: &'static str,
    pub gate: Option<&'static str>,
    pub up: &'static str,
    pub down: &'static str,
    pub norms: (&'static str, &'static str),
    pub final_norm: Option<&'static str>,
    /// Outside the trunk; unused where the head is tied.
    pub head: Option<&'static str>,
}
