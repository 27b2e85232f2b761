//! Rotary positions on rows of heads, forward and backward.
//!
//! Each half-split pair `(x1, x2)` turns by its angle: `(x1 cos - x2 sin, x2 cos + x1 sin)`. A rotation's transpose turns
//! back, so the backward is the forward with `-sin`. Su et al. 2021, arXiv 2104.09864.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

use super::parallel::for_rows;
use super::simd::vectorised;
use super::values;

/// Turns each head of `x` `(N, heads * d)` by the angles of its row, `cos` and `sin` `(N, d / 2)`.
pub fn rotate(x: &Tensor, heads: usize, cos: &Tensor, sin: &Tensor) -> Result<Tensor> {
    let ((rows, width), angles) = (x.dims2()?, cos.dims2()?);
    if sin.dims2()? != angles || angles.0 != rows || 2 * heads * angles.1 != width {
        candle_core::bail!("rope: {heads} heads of {:?} cannot turn by angles {angles:?}", x.shape());
    }
    x.contiguous()?.apply_op1(Rotation { cos: cos.contiguous()?, sin: sin.contiguous()?, sign: 1.0 })
}

struct Rotation {
    cos: Tensor,
    sin: Tensor,
    /// -1 turns back.
    sign: f32,
}

vectorised! {
    /// One row of heads, each `2 * cos.len()` wide.
    fn rotate_row(x: &[f32], cos: &[f32], sin: &[f32], sign: f32, y: &mut [f32]) {
        let half = cos.len();
        let sin = &sin[..half];
        for (x, y) in x.chunks_exact(2 * half).zip(y.chunks_exact_mut(2 * half)) {
            let ((x1, x2), (y1, y2)) = (x.split_at(half), y.split_at_mut(half));
            let (x2, y2) = (&x2[..half], &mut y2[..half]);
            for i in 0..half {
                let sin = sign * sin[i];
                y1[i] = x1[i] * cos[i] - x2[i] * sin;
                y2[i] = x2[i] * cos[i] + x1[i] * sin;
            }
        }
    }
}

impl CustomOp1 for Rotation {
    fn name(&self) -> &'static str {
        "rope"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = values::slice(x, layout)?;
        let (_, half) = self.cos.dims2()?;
        let (_, width) = layout.shape().dims2()?;
        let mut y = vec![0.0; x.len()];
        if half > 0 {
            values::with(&self.cos, |cos| {
                values::with(&self.sin, |sin| {
                    for_rows(&mut y, width, |i, y| {
                        let angles = i * half..(i + 1) * half;
                        rotate_row(
                            &x[i * width..][..width],
                            &cos[angles.clone()],
                            &sin[angles],
                            self.sign,
                            y,
                        );
                    });
                    Ok(())
                })
            })?;
        }
        values::output(y, layout.shape())
    }

    fn bwd(&self, _x: &Tensor, _y: &Tensor, g: &Tensor) -> Result<Option<Tensor>> {
        let back = Self { cos: self.cos.clone(), sin: self.sin.clone(), sign: -self.sign };
        g.contiguous()?.apply_op1_no_bwd(&back).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_gradients, tensor, variable};
    use super::*;
    use crate::nn::{Rope, RopeScaling};

    #[test]
    fn a_rotation_equals_the_composed_one_forward_and_backward() {
        for (rows, heads, d) in [(1, 1, 2), (5, 3, 6), (130, 9, 64)] {
            let positions: Vec<u32> = (0..rows as u32).map(|i| 3 * i).collect();
            let rope = Rope::new(d, 1e4, &RopeScaling::None);
            let angles = rope.angles(&positions, &candle_core::Device::Cpu).unwrap();
            let x = variable(&[rows, heads * d], 1);
            assert_gradients(
                &[&x],
                || rotate(&x, heads, &angles.cos, &angles.sin),
                || Ok(angles.rotate_composed(&x, heads).unwrap()),
            );
        }
    }

    #[test]
    fn shapes_that_disagree_are_an_error() {
        let (x, angles) = (tensor(&[2, 12], 1), tensor(&[2, 3], 2));
        assert!(rotate(&x, 3, &angles, &angles).is_err());
        assert!(rotate(&x, 2, &angles, &tensor(&[1, 3], 2)).is_err());
    }
}
