//! Activations of rows, plain or gating another: `f(x)` and `f(gate) ∘ up`.
//!
//! The backward recomputes `f` and `f'` from the arguments, so nothing is kept but them. SiLU: `x σ(x)`. GELU: `x Φ(x)`
//! (Hendrycks & Gimpel 2016, arXiv 1606.08415), with the error function or its tanh approximation. SwiGLU is SiLU gating
//! (Shazeer 2020, arXiv 2002.05202).

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor};

use super::parallel::{PIECE, for_pieces, for_row_pairs};
use super::simd::{self, vectorised};
use super::values;

/// Which activation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Curve {
    Silu,
    Gelu,
    GeluTanh,
}

/// `f(x)`, in the shape of `x` `(N, I)`.
pub fn activated(x: &Tensor, curve: Curve) -> Result<Tensor> {
    x.contiguous()?.apply_op1(Activated(curve))
}

/// `f(gate) ∘ up`; all `(N, I)`.
pub fn gated(gate: &Tensor, up: &Tensor, curve: Curve) -> Result<Tensor> {
    if gate.shape() != up.shape() {
        candle_core::bail!("gate {:?} and up {:?} differ", gate.shape(), up.shape());
    }
    gate.contiguous()?.apply_op2(&up.contiguous()?, Gated(curve))
}

struct Activated(Curve);

struct Gated(Curve);

/// A function of one number: its value and its slope.
trait Function {
    fn at(x: f32) -> (f32, f32);
}

struct Silu;

impl Function for Silu {
    #[inline(always)]
    fn at(x: f32) -> (f32, f32) {
        let s = simd::sigmoid(x);
        (x * s, s * (1.0 + x * (1.0 - s)))
    }
}

struct Gelu;

impl Function for Gelu {
    #[inline(always)]
    fn at(x: f32) -> (f32, f32) {
        let bell = simd::exp(-0.5 * x * x);
        let below = 0.5 + 0.5 * simd::erf(x * std::f32::consts::FRAC_1_SQRT_2, bell); // Φ(x)
        (x * below, below + x * bell * 0.398_942_3) // φ(x) = e^(-x²/2) / √(2π)
    }
}

struct GeluTanh;

impl Function for GeluTanh {
    #[inline(always)]
    fn at(x: f32) -> (f32, f32) {
        // (1 + tanh u) / 2 = σ(2u) with u = √(2/π) (x + 0.044715 x³)
        const TWICE: f32 = 1.595_769;
        let s = simd::sigmoid(TWICE * (x + 0.044_715 * x * x * x));
        (x * s, s + x * s * (1.0 - s) * TWICE * (1.0 + 0.134_145 * x * x))
    }
}

vectorised! {
    fn activate_row<F: Function>(x: &[f32], y: &mut [f32]) {
        let n = y.len();
        let x = &x[..n];
        for i in 0..n {
            y[i] = F::at(x[i]).0;
        }
    }

    fn activate_row_backward<F: Function>(x: &[f32], g: &[f32], dx: &mut [f32]) {
        let n = dx.len();
        let (x, g) = (&x[..n], &g[..n]);
        for i in 0..n {
            dx[i] = g[i] * F::at(x[i]).1;
        }
    }

    fn gate_row<F: Function>(gate: &[f32], up: &[f32], y: &mut [f32]) {
        let n = y.len();
        let (gate, up) = (&gate[..n], &up[..n]);
        for i in 0..n {
            y[i] = F::at(gate[i]).0 * up[i];
        }
    }

    fn gate_row_backward<F: Function>(gate: &[f32], up: &[f32], g: &[f32], dgate: &mut [f32], dup: &mut [f32]) {
        let n = dgate.len();
        let (gate, up, g, dup) = (&gate[..n], &up[..n], &g[..n], &mut dup[..n]);
        for i in 0..n {
            let (value, slope) = F::at(gate[i]);
            dgate[i] = g[i] * up[i] * slope;
            dup[i] = g[i] * value;
        }
    }
}

impl Activated {
    fn forward<F: Function>(x: &[f32], y: &mut [f32]) {
        for_pieces(y, |start, y| activate_row::<F>(&x[start..], y));
    }

    fn backward<F: Function>(x: &[f32], g: &[f32], dx: &mut [f32]) {
        for_pieces(dx, |start, dx| activate_row_backward::<F>(&x[start..], &g[start..], dx));
    }
}

impl Gated {
    fn forward<F: Function>(gate: &[f32], up: &[f32], y: &mut [f32]) {
        for_pieces(y, |start, y| gate_row::<F>(&gate[start..], &up[start..], y));
    }

    fn backward<F: Function>(gate: &[f32], up: &[f32], g: &[f32], dgate: &mut [f32], dup: &mut [f32]) {
        let whole = g.len() - g.len() % PIECE;
        let ((gates, gate_rest), (ups, up_rest)) = (dgate.split_at_mut(whole), dup.split_at_mut(whole));
        let run = |start: usize, dgate: &mut [f32], dup: &mut [f32]| {
            gate_row_backward::<F>(&gate[start..], &up[start..], &g[start..], dgate, dup);
        };
        for_row_pairs((gates, PIECE), (ups, PIECE), |i, dgate, dup| run(i * PIECE, dgate, dup));
        run(whole, gate_rest, up_rest);
    }
}

impl CustomOp1 for Activated {
    fn name(&self) -> &'static str {
        "activation"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = values::slice(x, layout)?;
        let mut y = vec![0.0; x.len()];
        match self.0 {
            Curve::Silu => Self::forward::<Silu>(x, &mut y),
            Curve::Gelu => Self::forward::<Gelu>(x, &mut y),
            Curve::GeluTanh => Self::forward::<GeluTanh>(x, &mut y),
        }
        values::output(y, layout.shape())
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, g: &Tensor) -> Result<Option<Tensor>> {
        let mut dx = vec![0.0; x.elem_count()];
        values::with(x, |x| {
            values::with(g, |g| {
                match self.0 {
                    Curve::Silu => Self::backward::<Silu>(x, g, &mut dx),
                    Curve::Gelu => Self::backward::<Gelu>(x, g, &mut dx),
                    Curve::GeluTanh => Self::backward::<GeluTanh>(x, g, &mut dx),
                }
                Ok(())
            })
        })?;
        values::tensor(dx, x).map(Some)
    }
}

impl CustomOp2 for Gated {
    fn name(&self) -> &'static str {
        "gated-activation"
    }

    fn cpu_fwd(
        &self,
        gate: &CpuStorage,
        gate_layout: &Layout,
        up: &CpuStorage,
        up_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (gate, up) = (values::slice(gate, gate_layout)?, values::slice(up, up_layout)?);
        let mut y = vec![0.0; gate.len()];
        match self.0 {
            Curve::Silu => Self::forward::<Silu>(gate, up, &mut y),
            Curve::Gelu => Self::forward::<Gelu>(gate, up, &mut y),
            Curve::GeluTanh => Self::forward::<GeluTanh>(gate, up, &mut y),
        }
        values::output(y, gate_layout.shape())
    }

    fn bwd(
        &self,
        gate: &Tensor,
        up: &Tensor,
        _y: &Tensor,
        g: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (mut dgate, mut dup) = (vec![0.0; gate.elem_count()], vec![0.0; up.elem_count()]);
        values::with(gate, |gate| {
            values::with(up, |up| {
                values::with(g, |g| {
                    match self.0 {
                        Curve::Silu => Self::backward::<Silu>(gate, up, g, &mut dgate, &mut dup),
                        Curve::Gelu => Self::backward::<Gelu>(gate, up, g, &mut dgate, &mut dup),
                        Curve::GeluTanh => Self::backward::<GeluTanh>(gate, up, g, &mut dgate, &mut dup),
                    }
                    Ok(())
                })
            })
        })?;
        Ok((Some(values::tensor(dgate, gate)?), Some(values::tensor(dup, up)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_gradients, tensor, variable};
    use super::*;

    fn composed(x: &Tensor, curve: Curve) -> Result<Tensor> {
        match curve {
            Curve::Silu => x.silu(),
            Curve::Gelu => x.gelu_erf(),
            Curve::GeluTanh => x.gelu(),
        }
    }

    const CURVES: [Curve; 3] = [Curve::Silu, Curve::Gelu, Curve::GeluTanh];

    #[test]
    fn activations_equal_the_composed_ones_forward_and_backward() {
        for curve in CURVES {
            for shape in [[1, 1], [3, 37], [100, 1031]] {
                let (gate, up) = (variable(&shape, 1), variable(&shape, 2));
                gate.set(&(gate.as_tensor() * 4.0).unwrap()).unwrap();
                assert_gradients(&[&gate], || activated(&gate, curve), || composed(&gate, curve));
                assert_gradients(
                    &[&gate, &up],
                    || gated(&gate, &up, curve),
                    || composed(&gate, curve)? * up.as_tensor(),
                );
            }
        }
    }

    #[test]
    fn far_out_an_activation_is_zero_or_the_identity() {
        let x = Tensor::new(&[-1e30f32, -200.0, 0.0, 200.0, f32::NAN], &candle_core::Device::Cpu).unwrap();
        for curve in CURVES {
            let y = activated(&x, curve).unwrap().to_vec1::<f32>().unwrap();
            assert!(
                y[0].abs() < 1e-6 && y[1].abs() < 1e-6 && y[2] == 0.0 && y[3] == 200.0,
                "{curve:?}: {y:?}"
            );
            assert!(y[4].is_nan());
        }
    }

    #[test]
    fn shapes_that_disagree_are_an_error() {
        assert!(gated(&tensor(&[2, 3], 1), &tensor(&[3, 2], 1), Curve::Silu).is_err());
    }
}
