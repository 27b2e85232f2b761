//! `a + b` for tensors of one shape: the residual stream.
//!
//! candle adds large tensors on a thread pool of its own, which spins between operations and takes the cores from rayon's.
//! This is the same sum on the one pool, or on the caller's thread alone.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};

use super::parallel::for_rows;
use super::simd::vectorised;
use super::values;

pub fn sum(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if a.shape() != b.shape() {
        candle_core::bail!("sum: {:?} and {:?} differ", a.shape(), b.shape());
    }
    a.contiguous()?.apply_op2(&b.contiguous()?, Sum)
}

struct Sum;

vectorised! {
    fn sum_row(a: &[f32], b: &[f32], y: &mut [f32]) {
        let n = y.len();
        let (a, b) = (&a[..n], &b[..n]);
        for i in 0..n {
            y[i] = a[i] + b[i];
        }
    }
}

impl CustomOp2 for Sum {
    fn name(&self) -> &'static str {
        "sum"
    }

    fn cpu_fwd(
        &self,
        a: &CpuStorage,
        a_layout: &Layout,
        b: &CpuStorage,
        b_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (a, b) = (values::slice(a, a_layout)?, values::slice(b, b_layout)?);
        let mut y = vec![0.0; a.len()];
        let width = a_layout.dims().last().copied().unwrap_or(1);
        for_rows(&mut y, width, |i, y| sum_row(&a[i * width..], &b[i * width..], y));
        values::output(y, a_layout.shape())
    }

    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        _y: &Tensor,
        g: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        Ok((a.track_op().then(|| g.clone()), b.track_op().then(|| g.clone())))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_gradients, tensor, variable};
    use super::*;

    #[test]
    fn a_sum_equals_the_composed_one_forward_and_backward() {
        for shape in [[1, 1], [3, 37], [2000, 33]] {
            let (a, b) = (variable(&shape, 1), variable(&shape, 2));
            assert_gradients(&[&a, &b], || sum(&a, &b), || a.as_tensor() + b.as_tensor());
        }
    }

    #[test]
    fn shapes_that_disagree_are_an_error() {
        assert!(sum(&tensor(&[2, 3], 1), &tensor(&[3, 2], 1)).is_err());
    }
}
