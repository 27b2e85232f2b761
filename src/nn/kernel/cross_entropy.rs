//! Mean cross-entropy and log-probabilities under an output matrix, without ever holding the logits of the whole batch.
//!
//! `(rows, V)` logits of a step take more memory than everything else together (4 x 128 rows of 49,152 are 100 MB, and
//! autograd keeps several such). Here [`CHUNK`] labelled rows at a time become logits, give their share of the loss, turn
//! in place into the gradient `dZ = (softmax(z) - onehot) / n`, and go back through the matrix: the forward already knows
//! `dX = dZ W` and, where the matrix is trained, `dW = dZᵀ X`; the backward only scales them. The same idea on a GPU: Hsu et
//! al. 2024, arXiv 2410.10989.

use std::sync::Mutex;

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};

use super::gemm::{Matrix, MatrixMut, Old, Threads, multiply};
use super::linear::matrix;
use super::parallel::{for_row_pairs, for_rows};
use super::{simd, values};

/// Rows whose logits exist at a time.
const CHUNK: usize = 128;

/// Mean of `logsumexp(z) - z[id]` with `z = x weightᵀ` over the labelled rows. `hidden` `(N, H)`, `weight` `(V, H)` in any
/// layout; row `rows[i]` should say `ids[i]`. Gradients for both, each where it has a history; they can be asked for once.
pub fn cross_entropy(hidden: &Tensor, weight: &Tensor, rows: &[u32], ids: &[u32]) -> Result<Tensor> {
    let loss = CrossEntropy {
        labelled: Labelled::of(hidden, weight, rows, ids)?,
        wanted: (hidden.track_op(), weight.track_op()),
        gradients: Mutex::new(None),
    };
    hidden.contiguous()?.apply_op2(weight, loss)
}

/// Logarithms of the probabilities of `ids` in their rows, `(n,)`: `z[id] - logsumexp(z)`. As [`cross_entropy`], but one a
/// row, so that they can be weighed; only `hidden` gets a gradient.
pub fn log_probabilities(hidden: &Tensor, weight: &Tensor, rows: &[u32], ids: &[u32]) -> Result<Tensor> {
    if weight.track_op() {
        candle_core::bail!("log-probabilities: the matrix is trained, and would get no gradient");
    }
    let labelled = Labelled::of(hidden, weight, rows, ids)?;
    let op = LogProbabilities { labelled, wanted: hidden.track_op(), gradient: Mutex::new(None) };
    hidden.contiguous()?.apply_op2(weight, op)
}

/// Which row should say what.
struct Labelled {
    rows: Vec<usize>,
    ids: Vec<usize>,
}

impl Labelled {
    fn of(hidden: &Tensor, weight: &Tensor, rows: &[u32], ids: &[u32]) -> Result<Self> {
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
        let wide = |numbers: &[u32]| numbers.iter().map(|&number| number as usize).collect();
        Ok(Self { rows: wide(rows), ids: wide(ids) })
    }

    /// Makes the logits of each chunk, has their rows become `scale` times the gradient of the cross-entropy, and gives `on`
    /// the losses, `dZ`, the inputs, and the number of the chunk's first row.
    fn chunks(
        &self,
        x: &[f32],
        weight: Matrix,
        (vocab, width): (usize, usize),
        scale: f32,
        mut on: impl FnMut(Chunk),
    ) {
        let room = CHUNK.min(self.rows.len());
        let mut inputs = vec![0.0; room * width];
        let mut logits = vec![0.0; room * vocab];
        let mut losses = vec![0.0; room];
        let chunks = self.rows.chunks(CHUNK).zip(self.ids.chunks(CHUNK));
        for (at, (rows, ids)) in chunks.enumerate() {
            let n = rows.len();
            for (input, &row) in inputs.chunks_exact_mut(width).zip(rows) {
                input.copy_from_slice(&x[row * width..][..width]);
            }
            let input = Matrix::new(&inputs[..n * width], width);
            let all = &mut MatrixMut::new(&mut logits, n, vocab);
            multiply(all, Old::Replaced, 1.0, input, weight.t(), Threads::All);
            for_row_pairs((&mut logits[..n * vocab], vocab), (&mut losses[..n], 1), |i, logits, loss| {
                loss[0] = simd::cross_entropy(logits, ids[i], scale);
            });
            on(Chunk {
                first: at * CHUNK,
                rows,
                losses: &losses[..n],
                dz: Matrix::new(&logits[..n * vocab], vocab),
                inputs: &mut inputs[..n * width],
            });
        }
    }
}

/// Some labelled rows, computed.
struct Chunk<'a> {
    /// The number of its first among all that are labelled.
    first: usize,
    rows: &'a [usize],
    losses: &'a [f32],
    /// `(n, V)`
    dz: Matrix<'a>,
    /// `(n, H)`
    inputs: &'a mut [f32],
}

struct CrossEntropy {
    labelled: Labelled,
    /// Whether somebody will ask for `dX`, and for `dW`.
    wanted: (bool, bool),
    /// For a loss of gradient 1; there after the forward, until the backward takes them.
    gradients: Mutex<Option<Gradients>>,
}

struct Gradients {
    /// `(N, H)`
    dx: Option<Vec<f32>>,
    /// `(V, H)`
    dw: Option<Vec<f32>>,
}

impl CrossEntropy {
    /// The loss; adds to the gradients that there are.
    fn run(
        &self,
        x: &[f32],
        weight: Matrix,
        (vocab, width): (usize, usize),
        gradients: &mut Gradients,
    ) -> f64 {
        let labelled = &self.labelled;
        let mut total = 0.0;
        labelled.chunks(x, weight, (vocab, width), 1.0 / labelled.rows.len() as f32, |chunk| {
            let Chunk { rows, losses, dz, inputs, .. } = chunk;
            total += losses.iter().map(|&loss| f64::from(loss)).sum::<f64>();
            if let Some(dw) = &mut gradients.dw {
                let dw = &mut MatrixMut::new(dw, vocab, width);
                multiply(dw, Old::Added, 1.0, dz.t(), Matrix::new(inputs, width), Threads::All);
            }
            if let Some(dx) = &mut gradients.dx {
                // The inputs are read; their room takes the gradient.
                let part = &mut MatrixMut::new(inputs, rows.len(), width);
                multiply(part, Old::Replaced, 1.0, dz, weight, Threads::All);
                for (part, &row) in inputs.chunks_exact(width).zip(rows) {
                    simd::add(&mut dx[row * width..][..width], part);
                }
            }
        });
        total / labelled.rows.len() as f64
    }
}

impl CustomOp2 for CrossEntropy {
    fn name(&self) -> &'static str {
        "cross-entropy"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, size) = (values::slice(x, x_layout)?, layout.shape().dims2()?);
        let zeros = |wanted: bool, length: usize| wanted.then(|| vec![0.0; length]);
        let mut gradients =
            Gradients { dx: zeros(self.wanted.0, x.len()), dw: zeros(self.wanted.1, size.0 * size.1) };
        let loss = self.run(x, matrix(weight, layout)?, size, &mut gradients);
        if let Ok(mut kept) = self.gradients.lock() {
            *kept = Some(gradients);
        }
        values::output(vec![loss as f32], ())
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _loss: &Tensor,
        g: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let kept = self.gradients.lock().ok().and_then(|mut kept| kept.take());
        let Some(Gradients { dx, dw }) = kept else {
            candle_core::bail!("cross-entropy: backward before forward, or twice");
        };
        let g = g.to_scalar::<f32>()?;
        let scaled = |gradient: Option<Vec<f32>>, like: &Tensor| {
            gradient.map(|mut gradient| {
                if g != 1.0 {
                    let width = like.dims()[1];
                    for_rows(&mut gradient, width, |_, row| row.iter_mut().for_each(|value| *value *= g));
                }
                values::tensor(gradient, like)
            })
        };
        Ok((scaled(dx, x).transpose()?, scaled(dw, weight).transpose()?))
    }
}

struct LogProbabilities {
    labelled: Labelled,
    /// Whether somebody will ask for `dX`.
    wanted: bool,
    /// `(n, H)`: of each log-probability for its own row; there after the forward, until the backward takes it.
    gradient: Mutex<Option<Vec<f32>>>,
}

impl CustomOp2 for LogProbabilities {
    fn name(&self) -> &'static str {
        "log-probabilities"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, size) = (values::slice(x, x_layout)?, layout.shape().dims2()?);
        let (weight, width, n) = (matrix(weight, layout)?, size.1, self.labelled.rows.len());
        let mut said = Vec::with_capacity(n);
        let mut gradient = self.wanted.then(|| vec![0.0; n * width]);
        self.labelled.chunks(x, weight, size, -1.0, |chunk| {
            said.extend(chunk.losses.iter().map(|loss| -loss));
            if let Some(gradient) = &mut gradient {
                let (from, count) = (chunk.first * width, chunk.rows.len());
                let part = &mut MatrixMut::new(&mut gradient[from..from + count * width], count, width);
                multiply(part, Old::Replaced, 1.0, chunk.dz, weight, Threads::All);
            }
        });
        if let Ok(mut kept) = self.gradient.lock() {
            *kept = gradient;
        }
        values::output(said, n)
    }

    fn bwd(
        &self,
        x: &Tensor,
        _weight: &Tensor,
        _said: &Tensor,
        g: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let kept = self.gradient.lock().ok().and_then(|mut kept| kept.take());
        let Some(gradient) = kept else {
            candle_core::bail!("log-probabilities: backward before forward, or twice");
        };
        let (width, weights) = (x.dims()[1], g.to_vec1::<f32>()?);
        let mut dx = vec![0.0; x.elem_count()];
        for ((part, &row), g) in gradient.chunks_exact(width).zip(&self.labelled.rows).zip(weights) {
            let sum = &mut dx[row * width..][..width];
            sum.iter_mut().zip(part).for_each(|(sum, part)| *sum += g * part);
        }
        Ok((Some(values::tensor(dx, x)?), None))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_gradients, tensor, variable};
    use super::*;
    use crate::nn::loss::{Targets, cross_entropy_composed, log_probabilities_composed};

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
    fn a_trained_matrix_gets_its_gradient_however_it_lies() {
        for (n, width, vocab, labelled) in [(1, 1, 2, 1), (7, 5, 33, 3), (140, 5, 9, 135)] {
            let (hidden, constant) = (variable(&[n, width], 1), tensor(&[n, width], 3));
            let (weight, stored) = (variable(&[vocab, width], 2), variable(&[width, vocab], 4));
            let targets = Targets {
                rows: (0..labelled as u32).collect(),
                ids: (0..labelled as u32).map(|i| i * 31 % vocab as u32).collect(),
            };
            let ours = |hidden: &Tensor, weight: &Tensor| {
                cross_entropy(hidden, weight, &targets.rows, &targets.ids)? * 50.0
            };
            let theirs = |hidden: &Tensor, weight: &Tensor| {
                cross_entropy_composed(hidden, &targets, |h| Ok(h.matmul(&weight.t()?)?)).unwrap() * 50.0
            };
            assert_gradients(&[&hidden, &weight], || ours(&hidden, &weight), || theirs(&hidden, &weight));
            assert_gradients(
                &[&stored],
                || ours(&constant, &stored.t()?),
                || theirs(&constant, &stored.t()?),
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
    fn log_probabilities_can_be_weighed_one_by_one() {
        for (n, width, vocab, labelled) in [(1, 1, 2, 1), (7, 5, 33, 3), (300, 24, 101, 290)] {
            let (hidden, weight) = (variable(&[n, width], 1), tensor(&[vocab, width], 2));
            let weights = tensor(&[labelled], 3);
            let rows: Vec<u32> = (0..labelled as u32).map(|i| n as u32 - 1 - i).collect();
            let ids: Vec<u32> = (0..labelled as u32).map(|i| i * 31 % vocab as u32).collect();
            let targets = Targets { rows: rows.clone(), ids: ids.clone() };
            assert_gradients(
                &[&hidden],
                || (log_probabilities(&hidden, &weight, &rows, &ids)? * &weights)?.sum_all(),
                || {
                    let said = log_probabilities_composed(&hidden, &targets, |h| Ok(h.matmul(&weight.t()?)?));
                    (said.unwrap() * &weights)?.sum_all()
                },
            );
        }
        let (hidden, weight) = (variable(&[2, 3], 1), variable(&[4, 3], 2));
        assert!(log_probabilities(&hidden, &weight, &[0], &[1]).is_err(), "its gradient would be lost");
    }

    #[test]
    fn targets_outside_are_an_error() {
        let (hidden, weight) = (tensor(&[2, 3], 1), tensor(&[4, 3], 2));
        for (rows, ids) in [(&[2u32][..], &[0u32][..]), (&[0], &[4]), (&[], &[]), (&[0, 1], &[0])] {
            assert!(cross_entropy(&hidden, &weight, rows, ids).is_err());
        }
    }
}
