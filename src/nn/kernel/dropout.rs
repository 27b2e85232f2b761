//! Values set to zero by chance, the rest scaled up, with a mask that is never stored: each of its values is a function of a
//! key and a place, so the backward pass works it out again.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

use super::parallel::for_pieces;
use super::values;
use crate::random::SplitMix;

/// What becomes of each value of a tensor.
#[derive(Clone)]
pub struct Mask {
    key: SplitMix,
    /// Numbers below it are dropped.
    limit: u64,
    /// What is kept is multiplied by it.
    scale: f32,
}

impl Mask {
    /// Drops a share `p` in `0..1`, as `key` decides.
    pub fn new(p: f64, key: SplitMix) -> Self {
        Self { key, limit: (p * 2f64.powi(64)) as u64, scale: (1.0 / (1.0 - p)) as f32 }
    }

    /// What the value at `place` is multiplied by.
    pub fn factor(&self, place: usize) -> f32 {
        if self.key.ahead(place as u64) < self.limit { 0.0 } else { self.scale }
    }
}

/// `x` under the mask, in the shape of `x`.
pub fn dropout(x: &Tensor, mask: Mask) -> Result<Tensor> {
    x.contiguous()?.apply_op1(Dropout(mask))
}

struct Dropout(Mask);

impl CustomOp1 for Dropout {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = values::slice(x, layout)?;
        let mut y = x.to_vec();
        for_pieces(&mut y, |start, y| {
            // Infinities and NaN that are dropped are gone, as with a choice and unlike with a product.
            y.iter_mut().enumerate().for_each(|(i, y)| match self.0.factor(start + i) {
                0.0 => *y = 0.0,
                scale => *y *= scale,
            });
        });
        values::output(y, layout.shape())
    }

    fn bwd(&self, _x: &Tensor, _y: &Tensor, g: &Tensor) -> Result<Option<Tensor>> {
        g.contiguous()?.apply_op1_no_bwd(&Self(self.0.clone())).map(Some)
    }
}
