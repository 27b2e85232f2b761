//! `y = x Wᵀ + b + s (x Aᵀ) Bᵀ`: a frozen linear and a change of low rank in one operation (Hu et al. 2021, arXiv
//! 2106.09685), or the change alone, `s (x Aᵀ) Bᵀ`.
//!
//! The change is added where the linear's rows already lie, forward and backward, so that neither of the two parts is ever a
//! tensor of its own. What is not a variable gets no gradient and costs nothing.

use std::sync::OnceLock;

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};

use super::gemm::{Matrix, MatrixMut, Old, Threads, multiply, product};
use super::linear::{FrozenLinear, with_matrix};
use super::values;

/// `s (x Aᵀ) Bᵀ`, added to `y` `(N, out)` where that is given. `x` `(N, in)`, `a` `(r, in)`, `b` `(out, r)` -> `(N, out)`.
/// Gradients for `y`, `x`, `a` and `b`.
pub fn low_rank(y: &Tensor, x: &Tensor, a: &Tensor, b: &Tensor, scale: f64) -> Result<Tensor> {
    check(x, a, b)?;
    if y.dims() != [x.dim(0)?, b.dim(0)?] {
        candle_core::bail!("low rank: y {:?} for x {:?} and b {:?}", y.shape(), x.shape(), b.shape());
    }
    if y.track_op() {
        return super::sum(y, &apply(Base::Nothing, x, a, b, scale)?);
    }
    apply(Base::Rows(y.contiguous()?), x, a, b, scale)
}

/// [`super::linear`] and a change of low rank to it: gradients for `x`, `a` and `b`.
pub fn changed_linear(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    (a, b, scale): (&Tensor, &Tensor, f64),
) -> Result<Tensor> {
    check(x, a, b)?;
    let frozen = FrozenLinear::new(x, weight, bias)?;
    if weight.dim(0)? != b.dim(0)? {
        candle_core::bail!("low rank: b {:?} for a weight {:?}", b.shape(), weight.shape());
    }
    apply(Base::Linear(frozen), x, a, b, scale)
}

fn check(x: &Tensor, a: &Tensor, b: &Tensor) -> Result<()> {
    let ((_, input), (rank, wanted), (_, width)) = (x.dims2()?, a.dims2()?, b.dims2()?);
    if input != wanted || rank != width {
        candle_core::bail!("low rank: x {:?}, a {:?} and b {:?} disagree", x.shape(), a.shape(), b.shape());
    }
    Ok(())
}

fn apply(base: Base, x: &Tensor, a: &Tensor, b: &Tensor, scale: f64) -> Result<Tensor> {
    let change = LowRank { base, scale: scale as f32, inner: OnceLock::new() };
    x.contiguous()?.apply_op3(&a.contiguous()?, &b.contiguous()?, change)
}

/// What the change is added to.
enum Base {
    Nothing,
    /// `(N, out)`, constants.
    Rows(Tensor),
    Linear(FrozenLinear),
}

struct LowRank {
    base: Base,
    scale: f32,
    /// `x Aᵀ` `(N, r)`; there after the forward.
    inner: OnceLock<Vec<f32>>,
}

impl CustomOp3 for LowRank {
    fn name(&self) -> &'static str {
        "low-rank"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        a: &CpuStorage,
        a_layout: &Layout,
        b: &CpuStorage,
        b_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let ((n, input), (out, rank)) = (x_layout.shape().dims2()?, b_layout.shape().dims2()?);
        let x = Matrix::strided(values::slice(x, x_layout)?, (n, input), (input, 1));
        let a = Matrix::strided(values::slice(a, a_layout)?, (rank, input), (input, 1));
        let b = Matrix::strided(values::slice(b, b_layout)?, (out, rank), (rank, 1));
        let inner = product(x, a.t(), Threads::All); // (n, r)
        let mut y = match &self.base {
            Base::Nothing => vec![0.0; n * out],
            Base::Rows(y) => values::with(y, |y| Ok(y.to_vec()))?,
            Base::Linear(frozen) => frozen.forward(x)?,
        };
        multiply(
            &mut MatrixMut::new(&mut y, n, out),
            Old::Added,
            self.scale,
            Matrix::strided(&inner, (n, rank), (rank, 1)),
            b.t(),
            Threads::All,
        );
        // A second forward of the same operation would compute the same.
        let _ = self.inner.set(inner);
        values::output(y, (n, out))
    }

    fn bwd(
        &self,
        x: &Tensor,
        a: &Tensor,
        b: &Tensor,
        _y: &Tensor,
        g: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let ((n, input), rank) = (x.dims2()?, a.dim(0)?);
        let Some(inner) = self.inner.get() else { candle_core::bail!("low rank: backward before forward") };
        let inner = Matrix::strided(inner, (n, rank), (rank, 1));
        with_matrix(g, |g| {
            let mut dinner = with_matrix(b, |b| Ok(product(g, b, Threads::All)))?; // (n, r)
            dinner.iter_mut().for_each(|d| *d *= self.scale);
            let dinner = Matrix::strided(&dinner, (n, rank), (rank, 1));
            let da = a.track_op().then(|| {
                let da = with_matrix(x, |x| Ok(product(dinner.t(), x, Threads::All)))?;
                values::tensor(da, a)
            });
            let db = b.track_op().then(|| {
                let mut db = product(g.t(), inner, Threads::All); // (out, r)
                db.iter_mut().for_each(|d| *d *= self.scale);
                values::tensor(db, b)
            });
            let dx = x.track_op().then(|| {
                let mut dx = match &self.base {
                    Base::Linear(frozen) => frozen.backward(g)?,
                    _ => vec![0.0; n * input],
                };
                with_matrix(a, |a| {
                    let dx = &mut MatrixMut::new(&mut dx, n, input);
                    multiply(dx, Old::Added, 1.0, dinner, a, Threads::All);
                    Ok(())
                })?;
                values::tensor(dx, x)
            });
            Ok((dx.transpose()?, da.transpose()?, db.transpose()?))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_close, assert_gradients, tensor, variable};
    use super::*;

    fn composed(y: &Tensor, x: &Tensor, a: &Tensor, b: &Tensor, scale: f64) -> Result<Tensor> {
        y + (x.matmul(&a.t()?)?.matmul(&b.t()?)? * scale)?
    }

    const SIZES: [(usize, usize, usize, usize); 4] =
        [(1, 1, 1, 1), (1, 37, 3, 5), (33, 7, 2, 129), (3, 64, 8, 64)];

    #[test]
    fn a_change_of_low_rank_equals_the_composed_one_forward_and_backward() {
        for (n, input, rank, out) in SIZES {
            let (y, x) = (variable(&[n, out], 1), variable(&[n, input], 2));
            let (a, b) = (variable(&[rank, input], 3), variable(&[out, rank], 4));
            assert_gradients(
                &[&y, &x, &a, &b],
                || low_rank(&y, &x, &a, &b, 1.7),
                || composed(&y, &x, &a, &b, 1.7),
            );
        }
    }

    #[test]
    fn a_linear_with_its_change_equals_both_apart() {
        for (n, input, rank, out) in SIZES {
            let (x, a, b) =
                (variable(&[n, input], 2), variable(&[rank, input], 3), variable(&[out, rank], 4));
            let (weight, bias) = (tensor(&[out, input], 5), tensor(&[out], 6));
            for bias in [None, Some(&bias)] {
                assert_gradients(
                    &[&x, &a, &b],
                    || changed_linear(&x, &weight, bias, (&a, &b, 0.6)),
                    || composed(&super::super::linear(&x, &weight, bias)?, &x, &a, &b, 0.6),
                );
            }
        }
    }

    #[test]
    fn what_is_constant_gets_no_gradient() {
        let (y, x, a) = (tensor(&[4, 5], 1), tensor(&[4, 3], 2), tensor(&[2, 3], 3));
        let b = variable(&[5, 2], 4);
        assert_gradients(&[&b], || low_rank(&y, &x, &a, &b, 2.0), || composed(&y, &x, &a, &b, 2.0));
        let all_constant = low_rank(&y, &x, &a, &b.as_detached_tensor(), 2.0).unwrap();
        assert!(!all_constant.track_op());
        assert_close(&all_constant, &composed(&y, &x, &a, &b, 2.0).unwrap(), 2e-6);
    }

    #[test]
    fn shapes_that_disagree_are_an_error() {
        let (y, x, a, b) = (tensor(&[2, 5], 1), tensor(&[2, 3], 2), tensor(&[4, 3], 3), tensor(&[5, 4], 4));
        assert!(low_rank(&y, &x, &a, &b, 1.0).is_ok());
        assert!(low_rank(&y, &x, &a, &tensor(&[5, 3], 4), 1.0).is_err());
        assert!(low_rank(&y, &x, &tensor(&[4, 2], 3), &b, 1.0).is_err());
        assert!(low_rank(&tensor(&[2, 6], 1), &x, &a, &b, 1.0).is_err());
        assert!(changed_linear(&x, &tensor(&[6, 3], 5), None, (&a, &b, 1.0)).is_err());
        assert!(changed_linear(&x, &tensor(&[5, 2], 5), None, (&a, &b, 1.0)).is_err());
    }
}
