//! The companions of one forward pass.

use super::{Adapter, Bare, KvCache};

/// What a forward pass needs besides weights and tokens.
pub struct Pass<'a> {
    pub adapter: &'a dyn Adapter,
    /// Keys and values of earlier tokens; the pass appends its own.
    pub cache: Option<&'a mut KvCache>,
    pub mode: Mode,
}

impl Pass<'static> {
    /// The bare network, no memory of earlier tokens, no dropout.
    pub fn bare() -> Self {
        Self { adapter: &Bare, cache: None, mode: Mode::Eval }
    }
}

impl<'a> Pass<'a> {
    /// Evaluation that continues from, and extends, `cache`.
    pub fn cached(adapter: &'a dyn Adapter, cache: &'a mut KvCache) -> Self {
        Self { adapter, cache: Some(cache), mode: Mode::Eval }
    }
}

/// Whether dropout is on. Its masks are a function of these numbers and the site, so a resumed run draws them again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Eval,
    Train { seed: u64, step: u64, micro_batch: u64 },
}
