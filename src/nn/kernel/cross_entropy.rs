//! Mean cross-entropy under a frozen output matrix, without ever holding the logits of the whole batch.
//!
//! `(rows, V)` logits of a step take more memory than everything else together (4 x 128 rows of 49,152 are 100 MB, and
//! autograd keeps several such). Here [`CHUNK`] labelled rows at a time become logits, give their share of the loss, turn
//! in place into the gradient `(softmax(z) - onehot) / n`, and go back through the matrix: the forward already knows
//! `dX`, the backward only scales it. The same idea on a GPU: Hsu et al. 2024, arXiv 2410.10989.

use std::sync::OnceLock;

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

use super::gemm::{Matrix, MatrixMut, Old, Threads, multiply};
use super::parallel::for_row_pairs;
use super::{simd, values};

/// Rows whose logits exist at a time.
const CHUNK: usize = 128;

/// Mean of `logsumexp(z) - z[id]` with `z = x weightᵀ` over the labelled rows. `hidden` `(N, H)`, `weight` `(V, H)`; row
/// `rows[i]` should say `ids[i]`. The weight gets no gradient.
pub fn cross_entropy(hidden: &Tensor, weight: &Tensor, rows: &[u32], ids: &[u32]) -> Result<Tensor> {
    let ((count, width), (vocab, wanted)) = (hidden.dims2()?, weight.dims2()?);
    let inside =
        rows.iter().all(|&row| (row as usize) < count) && ids.iter().all(|&id| (id as usize) < vocab);
    if width != wanted || rows.is_empty() || rows.len() != ids.len() || !inside {
        candle_core::bail!(
            "cross-entropy: {} rows and {} ids for hidden states {:?} and a matrix {:?}",
            rows.len(),
            ids.len(),
            hidden.shape(),
            weight.shape()
        );
    }
    hidden.contiguous()?.apply_op1(CrossEntropy {
        weight: weight.detach().contiguous()?,
        rows: rows.iter().map(|&row| row as usize).collect(),
        ids: ids.iter().map(|&id| id as usize).collect(),
        backward: hidden.track_op(),
        gradient: OnceLock::new(),
    })
}

struct CrossEntropy {
    weight: Tensor,
    rows: Vec<usize>,
    ids: Vec<usize>,
    /// Whether somebody will ask for `dX`.
    backward: bool,
    /// `dX` for a loss of gradient 1, `(N, H)`; there after the forward.
    gradient: OnceLock<Tensor>,
}

impl CrossEntropy {
    /// The loss; adds `dX` to `gradient` where there is one.
    fn run(&self, x: &[f32], weight: Matrix, (vocab, width): (usize, usize), gradient: &mut [f32]) -> f64 {
        let scale = 1.0 / self.rows.len() as f32;
        let room = CHUNK.min(self.rows.len());
        let mut inputs = vec![0.0; room * width];
        let mut logits = vec![0.0; room * vocab];
        let mut losses = vec![0.0; room];
        let mut total = 0.0;
        for (rows, ids) in self.rows.chunks(CHUNK).zip(self.ids.chunks(CHUNK)) {
            let n = rows.len();
            for (input, &row) in inputs.chunks_exact_mut(width).zip(rows) {
                input.copy_from_slice(&x[row * width..][..width]);
            }
            let input = Matrix::new(&inputs[..n * width], width);
            multiply(
                &mut MatrixMut::new(&mut logits, n, vocab),
                Old::Replaced,
                1.0,
                input,
                weight.t(),
                Threads::All,
            );
            for_row_pairs((&mut logits[..n * vocab], vocab), (&mut losses[..n], 1), |i, logits, loss| {
                loss[0] = simd::cross_entropy(logits, ids[i], scale);
            });
            total += losses[..n].iter().map(|&loss| f64::from(loss)).sum::<f64>();
            if self.backward {
                // The inputs are read; their room takes the gradient.
                let dz = Matrix::new(&logits[..n * vocab], vocab);
                multiply(
                    &mut MatrixMut::new(&mut inputs, n, width),
                    Old::Replaced,
                    1.0,
                    dz,
                    weight,
                    Threads::All,
                );
                for (dx, &row) in inputs.chunks_exact(width).zip(rows) {
                    simd::add(&mut gradient[row * width..][..width], dx);
                }
            }
        }
        total / self.rows.len() as f64
    }
}

impl CustomOp1 for CrossEntropy {
    fn name(&self) -> &'static str {
        "cross-entropy"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = values::slice(x, layout)?;
        let size = self.weight.dims2()?;
        let mut gradient = vec![0.0; if self.backward { x.len() } else { 0 }];
        let loss = values::with(&self.weight, |weight| {
            Ok(self.run(x, Matrix::new(weight, size.1), size, &mut gradient))
        })?;
        if self.backward {
            let gradient = Tensor::from_vec(gradient, layout.shape(), &candle_core::Device::Cpu)?;
            // A second forward of the same operation would compute the same.
            let _ = self.gradient.set(gradient);
        }
        values::output(vec![loss as f32], ())
    }

    fn bwd(&self, _x: &Tensor, _loss: &Tensor, g: &Tensor) -> Result<Option<Tensor>> {
        match self.gradient.get() {
            Some(gradient) => gradient.broadcast_mul(g).map(Some),
            None => candle_core::bail!("cross-entropy: backward before forward"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_gradients, tensor, variable};
    use super::*;
    use crate::nn::loss::{Targets, cross_entropy_composed};

    #[test]
    fn cross_entropy_equals_the_composed_one_forward_and_backward() {
        for (n, width, vocab, labelled) in [(1, 1, 2, 1), (7, 5, 33, 3), (300, 24, 101, 290)] {
            let hidden = variable(&[n, width], 1);
            let weight = tensor(&[vocab, width], 2);
            let targets = Targets {
                rows: (0..labelled as u32).map(|i| n as u32 - labelled as u32 + i).collect(),
                ids: (0..labelled as u32).map(|i| i * 31 % vocab as u32).collect(),
            };
            assert_gradients(
                &[&hidden],
                || cross_entropy(&hidden, &weight, &targets.rows, &targets.ids)? * 50.0,
                || cross_entropy_composed(&hidden, &targets, |h| Ok(h.matmul(&weight.t()?)?)).unwrap() * 50.0,
            );
        }
    }

    #[test]
    fn a_row_may_be_labelled_twice() {
        let (hidden, weight) = (variable(&[2, 3], 1), tensor(&[4, 3], 2));
        let targets = Targets { rows: vec![1, 1], ids: vec![0, 3] };
        assert_gradients(
            &[&hidden],
            || cross_entropy(&hidden, &weight, &targets.rows, &targets.ids),
            || Ok(cross_entropy_composed(&hidden, &targets, |h| Ok(h.matmul(&weight.t()?)?)).unwrap()),
        );
    }

    #[test]
    fn targets_outside_are_an_error() {
        let (hidden, weight) = (tensor(&[2, 3], 1), tensor(&[4, 3], 2));
        for (rows, ids) in [(&[2u32][..], &[0u32][..]), (&[0], &[4]), (&[], &[]), (&[0, 1], &[0])] {
            assert!(cross_entropy(&hidden, &weight, rows, ids).is_err());
        }
    }
}
