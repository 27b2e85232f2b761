//! RMSNorm and LayerNorm of rows, one pass forward and one backward.
//!
//! With `r = 1 / sqrt(mean(x²) + ε)` and `u = g ∘ w`: `y = x r ∘ w`, `dx = r u - x r³ mean(u ∘ x)`, `dw = Σ_rows g ∘ x r`.
//! LayerNorm is the same for centred `x`, plus a bias; its `dx` loses its mean once more, as `x` did.
//! Zhang & Sennrich 2019, arXiv 1910.07467; Ba et al. 2016, arXiv 1607.06450.

use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::parallel::{for_rows, may_split};
use super::simd::{self, vectorised};
use super::values;

/// `x / sqrt(mean(x²) + eps) * weight`; `x` `(N, H)`, `weight` `(H,)`.
pub fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor> {
    check(x, &[weight])?;
    x.contiguous()?.apply_op2(&weight.contiguous()?, RmsNorm { eps: eps as f32 })
}

/// `(x - mean(x)) / sqrt(var(x) + eps) * weight + bias`; `x` `(N, H)`, `weight` and `bias` `(H,)`.
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    check(x, &[weight, bias])?;
    x.contiguous()?.apply_op3(&weight.contiguous()?, &bias.contiguous()?, LayerNorm { eps: eps as f32 })
}

fn check(x: &Tensor, parameters: &[&Tensor]) -> Result<()> {
    let (_, width) = x.dims2()?;
    if parameters.iter().any(|parameter| parameter.dims() != [width]) {
        candle_core::bail!("norm: rows of {width} values need parameters of as many");
    }
    Ok(())
}

struct RmsNorm {
    eps: f32,
}

struct LayerNorm {
    eps: f32,
}

vectorised! {
    fn rms_row(x: &[f32], weight: &[f32], eps: f32, y: &mut [f32]) {
        let n = x.len();
        let (weight, y) = (&weight[..n], &mut y[..n]);
        let r = 1.0 / (simd::sum(n, |i| x[i] * x[i]) / n as f32 + eps).sqrt();
        for i in 0..n {
            y[i] = x[i] * r * weight[i];
        }
    }

    fn rms_row_backward(x: &[f32], weight: &[f32], eps: f32, g: &[f32], dx: &mut [f32]) {
        let n = x.len();
        let (weight, g, dx) = (&weight[..n], &g[..n], &mut dx[..n]);
        let r = 1.0 / (simd::sum(n, |i| x[i] * x[i]) / n as f32 + eps).sqrt();
        let along = simd::sum(n, |i| g[i] * weight[i] * x[i]) / n as f32 * r * r;
        for i in 0..n {
            dx[i] = r * (g[i] * weight[i] - x[i] * along);
        }
    }

    /// `dw += g ∘ x r`
    fn rms_row_weight(x: &[f32], eps: f32, g: &[f32], dw: &mut [f32]) {
        let n = x.len();
        let (g, dw) = (&g[..n], &mut dw[..n]);
        let r = 1.0 / (simd::sum(n, |i| x[i] * x[i]) / n as f32 + eps).sqrt();
        for i in 0..n {
            dw[i] += g[i] * x[i] * r;
        }
    }

    fn layer_row(x: &[f32], weight: &[f32], bias: &[f32], eps: f32, y: &mut [f32]) {
        let n = x.len();
        let (weight, bias, y) = (&weight[..n], &bias[..n], &mut y[..n]);
        let mean = simd::sum(n, |i| x[i]) / n as f32;
        let r = 1.0 / (simd::sum(n, |i| (x[i] - mean) * (x[i] - mean)) / n as f32 + eps).sqrt();
        for i in 0..n {
            y[i] = (x[i] - mean) * r * weight[i] + bias[i];
        }
    }

    fn layer_row_backward(x: &[f32], weight: &[f32], eps: f32, g: &[f32], dx: &mut [f32]) {
        let n = x.len();
        let (weight, g, dx) = (&weight[..n], &g[..n], &mut dx[..n]);
        let mean = simd::sum(n, |i| x[i]) / n as f32;
        let r = 1.0 / (simd::sum(n, |i| (x[i] - mean) * (x[i] - mean)) / n as f32 + eps).sqrt();
        let level = simd::sum(n, |i| g[i] * weight[i]) / n as f32;
        let along = simd::sum(n, |i| g[i] * weight[i] * (x[i] - mean)) / n as f32 * r * r;
        for i in 0..n {
            dx[i] = r * (g[i] * weight[i] - level - (x[i] - mean) * along);
        }
    }

    /// `dw += g ∘ (x - mean) r`
    fn layer_row_weight(x: &[f32], eps: f32, g: &[f32], dw: &mut [f32]) {
        let n = x.len();
        let (g, dw) = (&g[..n], &mut dw[..n]);
        let mean = simd::sum(n, |i| x[i]) / n as f32;
        let r = 1.0 / (simd::sum(n, |i| (x[i] - mean) * (x[i] - mean)) / n as f32 + eps).sqrt();
        for i in 0..n {
            dw[i] += g[i] * (x[i] - mean) * r;
        }
    }
}

/// Row `i` of rows of `width` values.
fn row(values: &[f32], width: usize, i: usize) -> &[f32] {
    &values[i * width..][..width]
}

/// `f(row, sums)` adds what each of `rows` contributes to `width` sums. Always the same blocks, added in order, whoever
/// computes them: sums do not depend on the number of threads.
fn sum_over_rows(rows: usize, width: usize, f: impl Fn(usize, &mut [f32]) + Sync) -> Vec<f32> {
    const BLOCK: usize = 64;
    let block = |block: usize| {
        let mut sums = vec![0.0; width];
        (block * BLOCK..rows.min((block + 1) * BLOCK)).for_each(|i| f(i, &mut sums));
        sums
    };
    let blocks = rows.div_ceil(BLOCK);
    let parts: Vec<Vec<f32>> = match may_split() {
        true => (0..blocks).into_par_iter().map(block).collect(),
        false => (0..blocks).map(block).collect(),
    };
    let mut total = vec![0.0; width];
    for part in parts {
        simd::add(&mut total, &part);
    }
    total
}

impl CustomOp2 for RmsNorm {
    fn name(&self) -> &'static str {
        "rms-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, weight) = (values::slice(x, x_layout)?, values::slice(weight, weight_layout)?);
        let mut y = vec![0.0; x.len()];
        let width = weight.len();
        for_rows(&mut y, width, |i, y| rms_row(row(x, width, i), weight, self.eps, y));
        values::output(y, x_layout.shape())
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _y: &Tensor,
        g: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (rows, width) = x.dims2()?;
        values::with(x, |x_values| {
            values::with(g, |g| {
                let dx = match x.track_op() {
                    false => None,
                    true => Some(values::with(weight, |weight| {
                        let mut dx = vec![0.0; x_values.len()];
                        for_rows(&mut dx, width, |i, dx| {
                            rms_row_backward(row(x_values, width, i), weight, self.eps, row(g, width, i), dx);
                        });
                        values::tensor(dx, x)
                    })?),
                };
                let dw = match weight.track_op() {
                    false => None,
                    true => {
                        let dw = sum_over_rows(rows, width, |i, dw| {
                            rms_row_weight(row(x_values, width, i), self.eps, row(g, width, i), dw);
                        });
                        Some(values::tensor(dw, weight)?)
                    }
                };
                Ok((dx, dw))
            })
        })
    }
}

impl CustomOp3 for LayerNorm {
    fn name(&self) -> &'static str {
        "layer-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let x = values::slice(x, x_layout)?;
        let (weight, bias) = (values::slice(weight, weight_layout)?, values::slice(bias, bias_layout)?);
        let mut y = vec![0.0; x.len()];
        let width = weight.len();
        for_rows(&mut y, width, |i, y| layer_row(row(x, width, i), weight, bias, self.eps, y));
        values::output(y, x_layout.shape())
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _y: &Tensor,
        g: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (rows, width) = x.dims2()?;
        values::with(x, |x_values| {
            values::with(g, |g| {
                let dx = match x.track_op() {
                    false => None,
                    true => Some(values::with(weight, |weight| {
                        let mut dx = vec![0.0; x_values.len()];
                        for_rows(&mut dx, width, |i, dx| {
                            layer_row_backward(
                                row(x_values, width, i),
                                weight,
                                self.eps,
                                row(g, width, i),
                                dx,
                            );
                        });
                        values::tensor(dx, x)
                    })?),
                };
                let dw = match weight.track_op() {
                    false => None,
                    true => {
                        let dw = sum_over_rows(rows, width, |i, dw| {
                            layer_row_weight(row(x_values, width, i), self.eps, row(g, width, i), dw);
                        });
                        Some(values::tensor(dw, weight)?)
                    }
                };
                let db = match bias.track_op() {
                    false => None,
                    true => {
                        let db = sum_over_rows(rows, width, |i, db| simd::add(db, row(g, width, i)));
                        Some(values::tensor(db, bias)?)
                    }
                };
                Ok((dx, dw, db))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_gradients, tensor, variable};
    use super::*;
    use candle_core::D;

    fn composed(x: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor> {
        let scale = (x.sqr()?.mean_keepdim(D::Minus1)? + eps)?.sqrt()?;
        x.broadcast_div(&scale)?.broadcast_mul(weight)
    }

    #[test]
    fn norms_equal_the_composed_ones_forward_and_backward() {
        for (rows, width) in [(1, 5), (3, 37), (70, 384), (700, 96)] {
            let x = variable(&[rows, width], 1);
            let (weight, bias) = (variable(&[width], 2), variable(&[width], 3));
            assert_gradients(&[&x, &weight], || rms_norm(&x, &weight, 1e-5), || composed(&x, &weight, 1e-5));
            assert_gradients(
                &[&x, &weight, &bias],
                || layer_norm(&x, &weight, &bias, 1e-5),
                || {
                    composed(&x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?, &weight, 1e-5)?
                        .broadcast_add(&bias)
                },
            );
        }
    }

    #[test]
    fn frozen_parameters_get_no_gradient() {
        let (x, weight) = (variable(&[3, 5], 1), tensor(&[5], 2));
        let grads = rms_norm(&x, &weight, 1e-5).unwrap().sum_all().unwrap().backward().unwrap();
        assert!(grads.get(x.as_tensor()).is_some() && grads.get(&weight).is_none());
    }

    #[test]
    fn nan_stays_in_its_row() {
        let x = Tensor::new(&[[f32::NAN, 1.0], [1.0, 2.0], [f32::INFINITY, 0.0]], &candle_core::Device::Cpu)
            .unwrap();
        let y = rms_norm(&x, &tensor(&[2], 2), 1e-5).unwrap().to_vec2::<f32>().unwrap();
        assert!(y[0].iter().all(|y| y.is_nan()) && y[1].iter().all(|y| y.is_finite()));
    }

    #[test]
    fn shapes_that_disagree_are_an_error() {
        assert!(rms_norm(&tensor(&[2, 3], 1), &tensor(&[2], 2), 1e-5).is_err());
    }
}
