//! One layer of the stack: attention and MLP around a residual stream.

use candle_core::Tensor;

use super::{
    Adapter, Angles, Attention, KvCache, Linear, Memory, Mlp, Mode, Norm, Packing, Part, Precision, Sight,
    Site, kernel,
};
use crate::error::Result;

#[derive(Debug, Clone)]
pub struct Block {
    pub attention: Attention,
    pub mlp: Mlp,
    /// Of attention and of the MLP.
    pub norms: (SublayerNorm, SublayerNorm),
}

/// Where a sublayer `f` is normalised, and by what.
#[derive(Debug, Clone)]
pub enum SublayerNorm {
    /// `x + f(norm(x))` (GPT, Llama)
    Before(Norm),
    /// `norm(x + f(x))` (BERT)
    After(Norm),
    /// `x + after(f(before(x)))` (Gemma)
    Around { before: Norm, after: Norm },
}

/// What all blocks share during one pass.
pub struct Surroundings<'a> {
    pub adapter: &'a dyn Adapter,
    pub mode: Mode,
    pub packing: &'a Packing,
    /// `None` in models without rotary positions.
    pub angles: Option<&'a Angles>,
    /// Of layers that see only what is near, where those turn by other angles.
    pub near_angles: Option<&'a Angles>,
}

impl Surroundings<'_> {
    /// The angles of a layer with this sight.
    pub fn angles(&self, sight: Sight) -> Option<&Angles> {
        match sight {
            Sight::Near(_) => self.near_angles.or(self.angles),
            Sight::All | Sight::Before => self.angles,
        }
    }

    /// A linear as the adapter wants it.
    pub fn linear(&self, linear: &Linear, x: &Tensor) -> Result<Tensor> {
        self.adapter.linear(linear, x, self.mode)
    }
}

impl Block {
    /// Every linear [`Linear::quantised`].
    ///
    /// # Errors
    /// When there is no memory for the copies.
    pub fn quantised(self, precision: Precision) -> Result<Self> {
        let Self { attention, mlp, .. } = self;
        let attention = Attention {
            q: attention.q.quantised(precision)?,
            k: attention.k.quantised(precision)?,
            v: attention.v.quantised(precision)?,
            o: attention.o.quantised(precision)?,
            ..attention
        };
        let mlp = Mlp {
            gate: mlp.gate.map(|gate| gate.quantised(precision)).transpose()?,
            up: mlp.up.quantised(precision)?,
            down: mlp.down.quantised(precision)?,
            ..mlp
        };
        Ok(Self { attention, mlp, ..self })
    }

    /// `(N, H) -> (N, H)`
    pub fn forward(
        &self,
        x: &Tensor,
        around: &Surroundings,
        memory: Option<&Memory>,
        cache: Option<&mut KvCache>,
    ) -> Result<Tensor> {
        let layer = self.attention.q.site.layer;
        let x = self.sublayer(x, Site::new(layer, Part::Attention), &self.norms.0, around, |x| {
            self.attention.forward(x, around, memory, cache)
        })?;
        self.sublayer(&x, Site::new(layer, Part::Mlp), &self.norms.1, around, |x| self.mlp.forward(x, around))
    }

    fn sublayer(
        &self,
        x: &Tensor,
        site: Site,
        norm: &SublayerNorm,
        around: &Surroundings,
        f: impl FnOnce(&Tensor) -> Result<Tensor>,
    ) -> Result<Tensor> {
        match norm {
            SublayerNorm::Before(norm) => {
                let h = f(&norm.forward(x)?)?;
                sum(x, &around.adapter.sublayer(site, x, h, None)?)
            }
            SublayerNorm::After(norm) => {
                let h = around.adapter.sublayer(site, x, f(x)?, Some(norm))?;
                norm.forward(&sum(x, &h)?)
            }
            SublayerNorm::Around { before, after } => {
                let h = around.adapter.sublayer(site, x, f(&before.forward(x)?)?, None)?;
                sum(x, &after.forward(&h)?)
            }
        }
    }
}

/// `x + h`, of one shape.
pub fn sum(x: &Tensor, h: &Tensor) -> Result<Tensor> {
    Ok(if kernel::applies(&[x, h]) { kernel::sum(x, h)? } else { (x + h)? })
}
