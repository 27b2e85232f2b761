//! `y = x Wᵀ + b`, knowing its own address.

use candle_core::Tensor;

use super::Site;
use crate::error::Result;

#[derive(Debug, Clone)]
pub struct Linear {
    pub site: Site,
    /// `(out, in)`
    pub weight: Tensor,
    /// `(out,)`
    pub bias: Option<Tensor>,
}

impl Linear {
    /// The layer as it was trained: `(N, in) -> (N, out)`. Adapters call this and add to it; everyone else goes
    /// through [`super::Adapter::linear`].
    pub fn frozen(&self, x: &Tensor) -> Result<Tensor> {
        let y = x.matmul(&self.weight.t()?)?; // (N, in) (in, out) -> (N, out)
        Ok(match &self.bias {
            Some(bias) => y.broadcast_add(bias)?,
            None => y,
        })
    }
}
