//! A frozen linear layer: `y = x Wᵀ + b`, `dx = g W`, and nothing for `W`.
//!
//! Matmul's own backward computes the weight's gradient too and keeps it until the loss is dropped: half as much time
//! again, and a copy of the network in memory, for numbers nobody reads.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Storage, Tensor};

use super::gemm::{Matrix, MatrixMut, Old, Threads, multiply, product};
use super::values;

/// `x` `(N, in)`, `weight` `(out, in)` in any layout, `bias` `(out,)` -> `(N, out)`. Neither weight nor bias gets a
/// gradient.
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    x.apply_op1(FrozenLinear::new(x, weight, bias)?)
}

pub(super) struct FrozenLinear {
    weight: Tensor,
    bias: Option<Tensor>,
}

impl FrozenLinear {
    pub fn new(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Self> {
        let ((_, input), (out, wanted)) = (x.dims2()?, weight.dims2()?);
        if input != wanted || bias.is_some_and(|bias| bias.dims() != [out]) {
            candle_core::bail!("linear: x {:?}, weight {:?} and bias disagree", x.shape(), weight.shape());
        }
        Ok(Self { weight: weight.detach(), bias: bias.map(Tensor::detach) })
    }

    /// `x Wᵀ + b`
    pub fn forward(&self, x: Matrix) -> Result<Vec<f32>> {
        with_matrix(&self.weight, |weight| match &self.bias {
            None => Ok(product(x, weight.t(), Threads::All)),
            Some(bias) => values::with(bias, |bias| {
                let (rows, out) = (x.rows(), bias.len());
                let mut y = bias.repeat(rows);
                multiply(
                    &mut MatrixMut::new(&mut y, rows, out),
                    Old::Added,
                    1.0,
                    x,
                    weight.t(),
                    Threads::All,
                );
                Ok(y)
            }),
        })
    }

    /// `g W`
    pub fn backward(&self, g: Matrix) -> Result<Vec<f32>> {
        with_matrix(&self.weight, |weight| Ok(product(g, weight, Threads::All)))
    }
}

impl CustomOp1 for FrozenLinear {
    fn name(&self) -> &'static str {
        "frozen-linear"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let y = self.forward(matrix(x, layout)?)?;
        values::output(y, (layout.dims()[0], self.weight.dims()[0]))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, g: &Tensor) -> Result<Option<Tensor>> {
        values::tensor(with_matrix(g, |g| self.backward(g))?, x).map(Some)
    }
}

/// A two-dimensional tensor where it lies, whatever its strides.
fn matrix<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<Matrix<'a>> {
    let (rows, columns) = layout.shape().dims2()?;
    let values = storage.as_slice::<f32>()?.get(layout.start_offset()..).unwrap_or_default();
    Ok(Matrix::strided(values, (rows, columns), (layout.stride()[0], layout.stride()[1])))
}

/// Calls `f` with the values of a two-dimensional tensor.
pub(super) fn with_matrix<R>(tensor: &Tensor, f: impl FnOnce(Matrix) -> Result<R>) -> Result<R> {
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => f(matrix(storage, layout)?),
        _ => candle_core::bail!("a CPU kernel was given a tensor elsewhere"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_gradients, tensor, variable};
    use super::*;

    fn composed(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
        let y = x.matmul(&weight.t()?)?;
        bias.map_or(Ok(y.clone()), |bias| y.broadcast_add(bias))
    }

    #[test]
    fn a_frozen_linear_equals_the_composed_one_forward_and_backward() {
        for (n, input, out) in [(1, 1, 1), (1, 37, 5), (33, 7, 129), (3, 64, 64)] {
            let x = variable(&[n, input], 1);
            let weight = tensor(&[out, input], 2);
            let turned = weight.t().unwrap().contiguous().unwrap().t().unwrap();
            let bias = tensor(&[out], 3);
            for weight in [&weight, &turned] {
                for bias in [None, Some(&bias)] {
                    assert_gradients(&[&x], || linear(&x, weight, bias), || composed(&x, weight, bias));
                }
            }
        }
    }

    #[test]
    fn a_strided_input_needs_no_copy() {
        let x = tensor(&[5, 6], 1).t().unwrap().narrow(0, 1, 4).unwrap();
        let weight = tensor(&[3, 5], 2);
        let (ours, theirs) =
            (linear(&x, &weight, None).unwrap(), composed(&x.contiguous().unwrap(), &weight, None));
        super::super::testing::assert_close(&ours, &theirs.unwrap(), 1e-6);
    }

    #[test]
    fn shapes_that_disagree_are_an_error() {
        let (x, weight) = (tensor(&[2, 3], 1), tensor(&[4, 5], 2));
        assert!(linear(&x, &weight, None).is_err());
        assert!(linear(&x, &tensor(&[4, 3], 2), Some(&tensor(&[3], 3))).is_err());
    }
}
