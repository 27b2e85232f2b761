//! `y = x Wᵀ + b`, knowing its own address.

use std::sync::Arc;

use candle_core::Tensor;

use super::kernel::{Precision, Quantised};
use super::{Site, kernel};
use crate::error::Result;

#[derive(Debug, Clone)]
pub struct Linear {
    pub site: Site,
    /// `(out, in)`
    pub weight: Tensor,
    /// `(out,)`
    pub bias: Option<Tensor>,
    /// The weight in small integers, for a model that is asked and not trained.
    quantised: Option<Arc<Quantised>>,
}

impl Linear {
    pub fn new(site: Site, weight: Tensor, bias: Option<Tensor>) -> Self {
        Self { site, weight, bias, quantised: None }
    }

    /// Keeps the weight in small integers too, for products that nobody differentiates: several times as fast, and not
    /// exact. Products of many rows use them where the processor multiplies bytes in one instruction, and `weight`
    /// elsewhere. Nothing changes where the kernel does not apply.
    ///
    /// # Errors
    /// When there is no memory for the copy.
    pub fn quantised(self, precision: Precision) -> Result<Self> {
        if self.weight.track_op() || !kernel::applies(&[&self.weight]) {
            return Ok(self);
        }
        let quantised = Quantised::of(&self.weight, precision)?.map(Arc::new);
        Ok(Self { quantised, ..self })
    }

    /// Keeps a frozen weight the way a CPU multiplies it fastest: a column of the matrix side by side in memory, so that a
    /// product need not rearrange it first (twice as fast for a short text). Shape and values stay as they are.
    ///
    /// # Errors
    /// When there is no memory for the copy.
    pub fn laid_out(self) -> Result<Self> {
        if self.weight.track_op() || !kernel::applies(&[&self.weight]) {
            return Ok(self);
        }
        let weight = self.weight.t()?.contiguous()?.t()?;
        Ok(Self { weight, ..self })
    }

    /// The layer without its bias.
    #[must_use]
    pub fn unbiased(&self) -> Self {
        Self { bias: None, ..self.clone() }
    }

    /// The layer as it was trained: `(N, in) -> (N, out)`. Adapters call this and add to it; everyone else goes
    /// through [`super::Adapter::linear`].
    pub fn frozen(&self, x: &Tensor) -> Result<Tensor> {
        if let Some(weight) = &self.quantised
            && !x.track_op()
            && (x.dim(0)? == 1 || kernel::rows_pay())
            && !kernel::wants_floats()
        {
            return Ok(kernel::quantised_linear(x, weight, self.bias.as_ref())?);
        }
        affine(x, &self.weight, self.bias.as_ref())
    }

    /// [`Self::frozen`] of `x` `(N, in)`, and a change of low rank to it: `+ scale (seen aᵀ) bᵀ`. `seen` is what the change
    /// sees of `x`; `a` `(r, in)`, `b` `(out, r)`.
    pub fn changed(
        &self,
        x: &Tensor,
        seen: &Tensor,
        (a, b, scale): (&Tensor, &Tensor, f64),
    ) -> Result<Tensor> {
        if !kernel::applies(&[x, seen, a, b, &self.weight]) {
            let change = (seen.matmul(&a.t()?)?.matmul(&b.t()?)? * scale)?;
            return Ok((self.frozen(x)? + change)?);
        }
        let trains = |tensor: &Tensor| tensor.track_op();
        let any = trains(x) || trains(a) || trains(b);
        let frozen = !trains(&self.weight) && !self.bias.as_ref().is_some_and(trains);
        Ok(match any && frozen && seen.id() == x.id() {
            true => kernel::changed_linear(x, &self.weight, self.bias.as_ref(), (a, b, scale))?,
            false => kernel::low_rank(&self.frozen(x)?, seen, a, b, scale)?,
        })
    }
}

/// `x weightᵀ + bias`, `(N, in) -> (N, out)`, with gradients for all that has a history.
pub fn affine(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    if kernel::applies(&[x, weight]) && bias.is_none_or(|bias| kernel::applies(&[bias])) {
        let trained = weight.track_op() || bias.is_some_and(Tensor::track_op);
        return Ok(match trained {
            true => kernel::trained_linear(x, weight, bias)?,
            false => kernel::linear(x, weight, bias)?,
        });
    }
    let y = x.matmul(&weight.t()?)?; // (N, in) (in, out) -> (N, out)
    Ok(match bias {
        Some(bias) => y.broadcast_add(bias)?,
        None => y,
    })
}
