//! Rows times a matrix in small integers: `y = x Wᵀ` where a model is asked and not trained.
//!
//! For the one row of a token that is being written there is nothing to reuse: each weight is read for one multiplication,
//! and the time is that of reading them. For the many rows of a prompt it is that of multiplying, and two or four products
//! of small integers take the time of one of floats. So weights and rows are kept as codes with scales, and the sums within
//! a block of [`BLOCK`] columns are whole numbers.
//!
//! | file | what |
//! | --- | --- |
//! | `sixteen` | any matrix, 16,383 steps a row: nearly as exact as floats, and up to twice as fast |
//! | `eight` | any matrix, 255 steps a block (as GGUF's Q8_0): four times as fast |
//! | `four` | a matrix that lies on 16 steps a block already, because its file has it so: half the bytes of `eight` |
//! | `rows` | the rows they are multiplied with, rounded likewise |
//! | `registers`, `halves` | what the kernels in 512-bit registers share, and those in 256-bit ones |
//!
//! Sixteen rows of the weight lie interleaved, two or four columns of each at a time: a 512-bit register then holds sixteen
//! sums, one a row, and `vpdpbusd` adds four products of bytes to each of them at once (`vpdpwssd` two of 16 bits).
//! Processors without these go by halves of 256 bits, or run a plain loop; either pays for a single row only.

mod eight;
mod four;
#[cfg(target_arch = "x86_64")]
mod halves;
#[cfg(target_arch = "x86_64")]
mod registers;
mod rows;
mod sixteen;

use std::cell::Cell;
use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::gemm::Shared;
use super::parallel::{may_split, with_switch};
use super::simd;
use super::{team, values};
use eight::Eight;
use four::Four;
use rows::{Code, Part, Rows};
use sixteen::Sixteen;

/// Columns whose products are added up in whole numbers. Blocks of 64 moved logits by 4 to 7 %; these move them by less than one.
const BLOCK: usize = 32;
/// Rows that lie interleaved.
const LANES: usize = 16;
/// Columns of a row that lie side by side.
const QUAD: usize = 4;
/// Rows of `x` that are computed together: their sums stay in the nearest cache.
const TILE: usize = 128;
/// Codes that fill a register: four columns of sixteen rows.
const REGISTER: usize = LANES * QUAD;

/// A weight `(out, in)` in small integers, with which no gradient is computed.
#[derive(Debug)]
pub struct Quantised {
    out: usize,
    blocks: usize,
    codes: Codes,
}

/// What a model that is asked and not trained is computed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// 32-bit floats.
    F32,
    /// Codes of 16 bits: vectors of an encoder keep a cosine above 0.99999.
    Int16,
    /// Codes of 8 bits, or of 4 where the file has no more: a perplexity within one percent.
    Int8,
}

#[derive(Debug)]
enum Codes {
    Sixteen(Sixteen),
    Eight(Eight),
    Four(Four),
}

impl Quantised {
    /// `None` for a matrix whose rows do not split into blocks, and where floats are asked for.
    ///
    /// # Errors
    /// When `weight` is no matrix of f32 in main memory.
    pub fn of(weight: &Tensor, precision: Precision) -> Result<Option<Self>> {
        let (out, columns) = weight.dims2()?;
        if columns == 0 || !columns.is_multiple_of(BLOCK) || precision == Precision::F32 {
            return Ok(None);
        }
        let codes = values::with(weight, |weight| {
            Ok(match precision {
                Precision::Int16 => Codes::Sixteen(Sixteen::of(weight, columns)),
                _ => match Four::of(weight, columns) {
                    Some(four) => Codes::Four(four),
                    None => Codes::Eight(Eight::of(weight, columns)),
                },
            })
        })?;
        Ok(Some(Self { out, blocks: columns / BLOCK, codes }))
    }

    fn columns(&self) -> usize {
        self.blocks * BLOCK
    }

    /// `x Wᵀ + bias` for rows of `x` laid end to end, and so are the sums.
    fn times(&self, x: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
        match &self.codes {
            Codes::Sixteen(codes) => {
                self.times_by(x, bias, |group, x, sums| codes.add_products(group, x, sums))
            }
            Codes::Eight(codes) => {
                self.times_by(x, bias, |group, x, sums| codes.add_products(group, x, sums))
            }
            Codes::Four(codes) => self.times_by(x, bias, |group, x, sums| codes.add_products(group, x, sums)),
        }
    }

    /// [`Self::times`], where `add` knows the codes.
    fn times_by<Q: Code>(
        &self,
        x: &[f32],
        bias: Option<&[f32]>,
        add: impl Fn(usize, Part<Q>, &mut [[f32; LANES]]) + Sync,
    ) -> Vec<f32> {
        let x = Rows::of(x, self.columns());
        let (rows, groups) = (x.len(), self.out.div_ceil(LANES));
        let mut y = Vec::new();
        // SAFETY: only written to below.
        let out = unsafe { Shared::room(&mut y, rows, self.out) };
        let product = |group: usize| {
            let columns = group * LANES..self.out.min((group + 1) * LANES);
            let mut start_from = [0.0; LANES];
            if let Some(bias) = bias {
                start_from[..columns.len()].copy_from_slice(&bias[columns.clone()]);
            }
            let mut tile = [[0.0; LANES]; TILE];
            for start in (0..rows).step_by(TILE) {
                let x = x.part(start..rows.min(start + TILE));
                let tile = &mut tile[..x.len()];
                tile.fill(start_from);
                add(group, x, tile);
                // SAFETY: each group writes columns of its own.
                let mut y = unsafe { out.window(start..start + tile.len(), columns.clone()) };
                for (i, sums) in tile.iter().enumerate() {
                    // Of a known size it is an instruction or two.
                    if columns.len() == LANES { y.write(i, sums) } else { y.write(i, &sums[..columns.len()]) }
                }
            }
        };
        if rows > 1 && may_split() {
            (0..groups).into_par_iter().for_each(product);
        } else {
            let parts = groups.min(2 * team::members());
            team::share(parts, |part| {
                (part * groups / parts..(part + 1) * groups / parts).for_each(product);
            });
        }
        // SAFETY: every group has written its columns of every row.
        unsafe { y.set_len(rows * self.out) };
        y
    }
}

thread_local! {
    static IN_FLOATS: Cell<bool> = const { Cell::new(false) };
}

/// Runs `f` with the products of this thread in floats, whatever else the weights are kept in: for numbers that are compared
/// with one another, where being nearly right is not enough.
pub fn in_floats<R>(f: impl FnOnce() -> R) -> R {
    with_switch(&IN_FLOATS, f)
}

/// Whether the caller wants floats: see [`in_floats`].
pub fn wants_floats() -> bool {
    IN_FLOATS.get()
}

/// Whether this processor multiplies small integers faster than floats even where weights are reused.
pub fn rows_pay() -> bool {
    #[cfg(target_arch = "x86_64")]
    return simd::has_vnni();
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// Where the code of column `j` of a block stands among those of sixteen rows, `SIDE` columns a row side by side.
#[inline(always)]
fn place<const SIDE: usize>(lane: usize, j: usize) -> usize {
    (j / SIDE * LANES + lane) * SIDE + j % SIDE
}

/// `x` `(N, in)` times the transposed `weight` `(out, in)`, plus `bias` -> `(N, out)`, without a gradient.
pub fn quantised_linear(x: &Tensor, weight: &Arc<Quantised>, bias: Option<&Tensor>) -> Result<Tensor> {
    let (_, columns) = x.dims2()?;
    if columns != weight.columns() || bias.is_some_and(|bias| bias.dims() != [weight.out]) {
        candle_core::bail!(
            "quantised linear: x {:?} and weight ({}, {}) disagree",
            x.shape(),
            weight.out,
            weight.columns()
        );
    }
    x.contiguous()?.apply_op1_no_bwd(&RowsTimes { weight: Arc::clone(weight), bias: bias.cloned() })
}

struct RowsTimes {
    weight: Arc<Quantised>,
    bias: Option<Tensor>,
}

impl CustomOp1 for RowsTimes {
    fn name(&self) -> &'static str {
        "quantised-linear"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = values::slice(x, layout)?;
        let y = match &self.bias {
            None => self.weight.times(x, None),
            Some(bias) => values::with(bias, |bias| Ok(self.weight.times(x, Some(bias))))?,
        };
        values::output(y, (layout.dims()[0], self.weight.out))
    }
}

#[cfg(test)]
mod tests;
