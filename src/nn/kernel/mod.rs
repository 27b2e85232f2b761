//! Fused f32 kernels for the CPU, each a custom operation with its own backward.
//!
//! The layers of this floor are written with composed tensor operations: right on every device, differentiable, easy to
//! check, and slow on a CPU, where every intermediate is a trip through memory and matmul's backward also computes the
//! gradient of frozen weights. A kernel here replaces such a composition where it applies and computes nothing that is not
//! asked for. The composed form stays beside its caller: as the fallback off the CPU or in another precision, and as the
//! oracle of the kernel's tests. One idea a file:
//!
//! | file | what |
//! | --- | --- |
//! | `simd` | plain loops compiled for several instruction sets, chosen at run time; `exp`, `erf`, sums |
//! | `parallel` | rows shared among threads, and the switch [`sequential`] |
//! | `values` | tensors as slices and back |
//! | `gemm` | matrices inside slices, and their product |
//! | `team` | threads at hand between the small products of one token |
//! | `quantised` | rows times a matrix in small integers, for models that are asked and not trained, and the switch [`in_floats`] |
//! | `linear`, `low_rank`, `norm`, `rope`, `mlp`, `attention`, `cross_entropy`, `dropout`, `sum` | one operation each |
//!
//! A kernel trusts shapes no more than a tensor operation does: it answers a wrong shape with an error. Infinities and NaN
//! pass through it as they would through the composed form.

mod attention;
mod cross_entropy;
mod dropout;
mod gemm;
mod linear;
mod low_rank;
mod mlp;
mod norm;
mod parallel;
mod quantised;
mod rope;
mod simd;
mod sum;
mod team;
mod values;

pub(super) use attention::attention;
pub(super) use cross_entropy::{cross_entropy, log_probabilities};
pub(super) use dropout::{Mask, dropout};
pub(super) use linear::{linear, trained_linear};
pub(super) use low_rank::{changed_linear, low_rank};
pub(super) use mlp::{Curve, activated, gated};
pub(super) use norm::{layer_norm, rms_norm};
pub use parallel::sequential;
pub use quantised::{Precision, in_floats};
pub(super) use quantised::{Quantised, quantised_linear, rows_pay, wants_floats};
pub(super) use rope::rotate;
pub(super) use sum::sum;
pub use team::together;

use candle_core::{DType, Tensor};

/// Whether kernels can compute with all of these: f32 in main memory.
pub(super) fn applies(tensors: &[&Tensor]) -> bool {
    tensors.iter().all(|tensor| tensor.device().is_cpu() && tensor.dtype() == DType::F32)
}

#[cfg(test)]
mod testing;
