//! A row times a matrix in small integers: `y = W x` for the one token that is being written.
//!
//! With one row to multiply there is nothing to reuse: each weight is read for one multiplication, and the time is that of
//! reading them. So weights are kept as codes of 8 bits, or of 4 where that loses nothing, in blocks of [`BLOCK`] columns,
//! each block with a scale of its own (as GGUF's Q8_0 and Q4_1 have); the row is rounded to 8 bits in the same blocks, and
//! sums within a block are whole numbers.
//!
//! | file | what |
//! | --- | --- |
//! | `eight` | any matrix, rounded to 255 steps a block |
//! | `four` | a matrix that lies on 16 steps a block already, because its file has it so |
//!
//! Sixteen rows lie interleaved, four columns of each at a time: a 512-bit register then holds sixteen sums, one a row, and
//! `vpdpbusd` adds four products to each of them at once. Processors without it run the plain loop.

mod eight;
mod four;

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

use super::gemm::Shared;
use super::simd::vectorised;
use super::{team, values};
use eight::Eight;
use four::Four;

/// Columns that share a scale. Blocks of 64 moved logits by 4 to 7 %; these move them by less than one.
const BLOCK: usize = 32;
/// Rows that lie interleaved.
const LANES: usize = 16;
/// Columns of a row that lie side by side.
const QUAD: usize = 4;
/// Codes that fill a register: four columns of sixteen rows.
const REGISTER: usize = LANES * QUAD;

/// A weight `(out, in)` in small integers, with which no gradient and no second row is computed.
#[derive(Debug)]
pub struct Quantised {
    out: usize,
    blocks: usize,
    codes: Codes,
}

#[derive(Debug)]
enum Codes {
    Eight(Eight),
    Four(Four),
}

impl Quantised {
    /// `None` for a matrix whose rows do not split into blocks.
    ///
    /// # Errors
    /// When `weight` is no matrix of f32 in main memory.
    pub fn of(weight: &Tensor) -> Result<Option<Self>> {
        let (out, columns) = weight.dims2()?;
        if columns == 0 || !columns.is_multiple_of(BLOCK) {
            return Ok(None);
        }
        let codes = values::with(weight, |weight| {
            Ok(match Four::of(weight, columns) {
                Some(four) => Codes::Four(four),
                None => Codes::Eight(Eight::of(weight, columns)),
            })
        })?;
        Ok(Some(Self { out, blocks: columns / BLOCK, codes }))
    }

    fn columns(&self) -> usize {
        self.blocks * BLOCK
    }

    /// `W x`
    fn times(&self, x: &[f32]) -> Vec<f32> {
        let row = Row::of(x);
        let groups = self.out.div_ceil(LANES);
        let mut y = vec![0.0; groups * LANES];
        let parts = groups.min(2 * team::members());
        let out = Shared::new(&mut y, LANES);
        team::share(parts, |part| {
            for group in part * groups / parts..(part + 1) * groups / parts {
                // SAFETY: each group is in one part only.
                let mut y = unsafe { out.window(group..group + 1, 0..LANES) };
                match &self.codes {
                    Codes::Eight(codes) => codes.sums(group, &row, y.row(0)),
                    Codes::Four(codes) => codes.sums(group, &row, y.row(0)),
                }
            }
        });
        y.truncate(self.out);
        y
    }
}

/// The row `x`, rounded: `x[j] ≈ scales[b] codes[j]` in block `b`.
struct Row {
    codes: Vec<i8>,
    scales: Vec<f32>,
    /// Of the codes of each block.
    sums: Vec<i32>,
}

impl Row {
    fn of(x: &[f32]) -> Self {
        let blocks = x.len() / BLOCK;
        let mut row = Self { codes: vec![0; x.len()], scales: vec![0.0; blocks], sums: vec![0; blocks] };
        round_row(x, &mut row.codes, &mut row.scales, &mut row.sums);
        row
    }

    fn block(&self, b: usize) -> &[i8; BLOCK] {
        &self.codes.as_chunks().0[b]
    }
}

vectorised! {
    fn round_row(x: &[f32], codes: &mut [i8], scales: &mut [f32], sums: &mut [i32]) {
        let blocks = x.as_chunks::<BLOCK>().0.iter().zip(codes.as_chunks_mut::<BLOCK>().0);
        for (b, (x, codes)) in blocks.enumerate() {
            (*codes, scales[b]) = rounded(x);
            sums[b] = codes.iter().map(|&q| i32::from(q)).sum();
        }
    }
}

/// A block in steps of a 127th of its largest value, and that step; which is no number either when a value is not, so that
/// none is hidden.
#[inline(always)]
fn rounded(x: &[f32; BLOCK]) -> ([i8; BLOCK], f32) {
    const ROUNDER: f32 = 12_582_912.0; // 1.5 · 2^23: adding it leaves the nearest integer in the low bits
    let scale = extreme(&x.map(f32::abs), |a, b| a > b) / 127.0;
    let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
    (x.map(|x| (x * inverse + ROUNDER).to_bits() as i8), scale)
}

/// The value that is `before` all others, halving the list so that comparisons go side by side; NaN when one is.
#[inline(always)]
fn extreme(x: &[f32; BLOCK], before: impl Fn(f32, f32) -> bool) -> f32 {
    let mut lanes = *x;
    let mut width = BLOCK;
    while width > 1 {
        width /= 2;
        for i in 0..width {
            let (a, b) = (lanes[i], lanes[i + width]);
            lanes[i] = if before(a, b) || a.is_nan() { a } else { b };
        }
    }
    lanes[0]
}

/// Where the code of column `j` of a block stands among those of sixteen rows, four columns a row at a time.
#[inline(always)]
fn place(lane: usize, j: usize) -> usize {
    j / QUAD * REGISTER + lane * QUAD + j % QUAD
}

/// Four codes of the row in each lane.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx512f")]
fn four_codes(codes: &[i8; QUAD]) -> std::arch::x86_64::__m512i {
    std::arch::x86_64::_mm512_set1_epi32(i32::from_le_bytes(codes.map(|q| q as u8)))
}

/// 64 bytes.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx512f")]
fn load(codes: &[u8; REGISTER]) -> std::arch::x86_64::__m512i {
    // SAFETY: the array has as many.
    unsafe { std::arch::x86_64::_mm512_loadu_si512(codes.as_ptr().cast()) }
}

/// `x` `(1, in)` times the transposed `weight` `(out, in)`, plus `bias` -> `(1, out)`, without a gradient.
pub fn quantised_linear(x: &Tensor, weight: &Arc<Quantised>, bias: Option<&Tensor>) -> Result<Tensor> {
    let (rows, columns) = x.dims2()?;
    if rows != 1 || columns != weight.columns() || bias.is_some_and(|bias| bias.dims() != [weight.out]) {
        candle_core::bail!(
            "quantised linear: x {:?} and weight ({}, {}) disagree",
            x.shape(),
            weight.out,
            weight.columns()
        );
    }
    let y = x.contiguous()?.apply_op1_no_bwd(&RowTimes(Arc::clone(weight)))?;
    match bias {
        Some(bias) => y.broadcast_add(bias),
        None => Ok(y),
    }
}

struct RowTimes(Arc<Quantised>);

impl CustomOp1 for RowTimes {
    fn name(&self) -> &'static str {
        "quantised-linear"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        values::output(self.0.times(values::slice(x, layout)?), (1, self.0.out))
    }
}

#[cfg(test)]
mod tests;
