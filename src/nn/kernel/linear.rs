//! Linear layers: `y = x Wᵀ + b`, `dx = g W`, and `dW = gᵀ x`, `db = Σ_rows g` where they are trained.
//!
//! Matmul's own backward computes the weight's gradient always and keeps it until the loss is dropped: for a frozen weight that
//! is half as much time again, and a copy of the network in memory, for numbers nobody reads. A frozen linear owns its
//! weight, which no graph then reaches.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, CustomOp3, Layout, Result, Shape, Storage, Tensor};

use super::gemm::{Matrix, MatrixMut, Old, Threads, multiply, product};
use super::{simd, values};

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
        check(x, weight, bias)?;
        Ok(Self { weight: weight.detach(), bias: bias.map(Tensor::detach) })
    }

    /// `x Wᵀ + b`
    pub fn forward(&self, x: Matrix) -> Result<Vec<f32>> {
        with_matrix(&self.weight, |weight| match &self.bias {
            None => Ok(affine(x, weight, None)),
            Some(bias) => values::with(bias, |bias| Ok(affine(x, weight, Some(bias)))),
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

/// The same with gradients for `x`, `weight` and `bias`, each where it has a history.
pub fn trained_linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    check(x, weight, bias)?;
    match bias {
        None => x.apply_op2(weight, TrainedLinear),
        Some(bias) => x.apply_op3(weight, &bias.contiguous()?, TrainedLinear),
    }
}

fn check(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<()> {
    let ((_, input), (out, wanted)) = (x.dims2()?, weight.dims2()?);
    if input != wanted || bias.is_some_and(|bias| bias.dims() != [out]) {
        candle_core::bail!("linear: x {:?}, weight {:?} and bias disagree", x.shape(), weight.shape());
    }
    Ok(())
}

/// `x Wᵀ + b`
fn affine(x: Matrix, weight: Matrix, bias: Option<&[f32]>) -> Vec<f32> {
    let Some(bias) = bias else { return product(x, weight.t(), Threads::All) };
    let (rows, out) = (x.rows(), bias.len());
    let mut y = bias.repeat(rows);
    multiply(&mut MatrixMut::new(&mut y, rows, out), Old::Added, 1.0, x, weight.t(), Threads::All);
    y
}

struct TrainedLinear;

impl TrainedLinear {
    fn gradients(x: &Tensor, weight: &Tensor, g: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        with_matrix(g, |g| {
            let dx = x.track_op().then(|| {
                let dx = with_matrix(weight, |weight| Ok(product(g, weight, Threads::All)))?;
                values::tensor(dx, x)
            });
            let dw = weight.track_op().then(|| {
                let dw = with_matrix(x, |x| Ok(product(g.t(), x, Threads::All)))?; // (out, in)
                values::tensor(dw, weight)
            });
            Ok((dx.transpose()?, dw.transpose()?))
        })
    }
}

impl CustomOp2 for TrainedLinear {
    fn name(&self) -> &'static str {
        "trained-linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let y = affine(matrix(x, x_layout)?, matrix(weight, layout)?, None);
        values::output(y, (x_layout.dims()[0], layout.dims()[0]))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _y: &Tensor,
        g: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        Self::gradients(x, weight, g)
    }
}

impl CustomOp3 for TrainedLinear {
    fn name(&self) -> &'static str {
        "trained-linear-with-bias"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let bias = values::slice(bias, bias_layout)?;
        let y = affine(matrix(x, x_layout)?, matrix(weight, layout)?, Some(bias));
        values::output(y, (x_layout.dims()[0], layout.dims()[0]))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _y: &Tensor,
        g: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (dx, dw) = Self::gradients(x, weight, g)?;
        let db = bias.track_op().then(|| {
            let mut db = vec![0.0; bias.elem_count()];
            values::with(g, |g| {
                g.chunks_exact(db.len().max(1)).for_each(|g| simd::add(&mut db, g));
                Ok(())
            })?;
            values::tensor(db, bias)
        });
        Ok((dx, dw, db.transpose()?))
    }
}

/// A two-dimensional tensor where it lies, whatever its strides.
pub(super) fn matrix<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<Matrix<'a>> {
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
    fn a_trained_linear_equals_the_composed_one_forward_and_backward() {
        for (n, input, out) in [(1, 1, 1), (1, 37, 5), (33, 7, 129), (3, 64, 64)] {
            let (x, weight, bias) =
                (variable(&[n, input], 1), variable(&[out, input], 2), variable(&[out], 3));
            let stored = variable(&[input, out], 4);
            let (frozen, constant) = (tensor(&[out, input], 5), tensor(&[n, input], 6));
            for biased in [false, true] {
                let mut variables = vec![&x, &weight, &stored];
                variables.extend(biased.then_some(&bias));
                let bias = biased.then_some(bias.as_tensor());
                assert_gradients(
                    &variables,
                    || {
                        let turned = trained_linear(&x, &stored.t()?, bias)?;
                        let frozen = trained_linear(&x, &frozen, bias)?;
                        trained_linear(&x, &weight, bias)?
                            + ((turned + frozen)? + trained_linear(&constant, &weight, bias)?)?
                    },
                    || {
                        let turned = composed(&x, &stored.t()?, bias)?;
                        let frozen = composed(&x, &frozen, bias)?;
                        composed(&x, &weight, bias)?
                            + ((turned + frozen)? + composed(&constant, &weight, bias)?)?
                    },
                );
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
