//! Codes of 4 bits for a matrix that has no more than 16 values a block: `W[i, j] = d u[i, j] + m`.
//!
//! Files with 4-bit weights (GGUF's Q4_0 and Q4_1) hold such matrices, and they are recognised by their values: a block whose
//! values all stand on a grid of 16 equal steps. Nothing is lost, and half as many bytes are read as with 8 bits.
//!
//! With `x[j] ≈ e q[j]`, a block adds `d e Σ_j u[i, j] q[j] + m e Σ_j q[j]` to `y[i]`.

use half::f16;
use rayon::prelude::*;

use super::super::simd::{self, vectorised};
use super::rows::Part;
use super::{BLOCK, LANES, QUAD, REGISTER, place};

/// Bytes of one block of sixteen rows: two codes each.
const BYTES: usize = LANES * BLOCK / 2;
/// The largest code.
const LAST: f32 = 15.0;
/// Of a step: how far a value may stand beside the grid for what 32-bit floats have rounded.
const SLACK: f32 = 1e-2;

#[derive(Debug)]
pub struct Four {
    blocks: usize,
    /// `[out / LANES][blocks][BLOCK / QUAD / 2][LANES][QUAD]`: codes of one quad in the low halves, of the next in the high.
    codes: Vec<u8>,
    /// `d` and `m`, `[out / LANES][blocks][2][LANES]`
    grids: Vec<f16>,
}

impl Four {
    /// Of a matrix whose rows of `columns` values lie end to end, `columns` a multiple of [`BLOCK`]; `None` if it has other
    /// values than 4 bits can say.
    pub fn of(weight: &[f32], columns: usize) -> Option<Self> {
        let (blocks, groups) = (columns / BLOCK, (weight.len() / columns).div_ceil(LANES));
        // Most matrices show in their first block that they are not of this kind.
        weight.as_chunks().0.first().and_then(grid)?;
        let mut codes = vec![0; groups * blocks * BYTES];
        let mut grids = vec![f16::ZERO; groups * blocks * 2 * LANES];
        codes
            .par_chunks_exact_mut(blocks * BYTES)
            .zip(grids.par_chunks_exact_mut(blocks * 2 * LANES))
            .zip(weight.par_chunks(LANES * columns))
            .try_for_each(|((codes, grids), rows)| {
                let mut rows = rows.chunks_exact(columns).enumerate();
                rows.try_for_each(|(lane, row)| encode(row, lane, codes, grids))
            })?;
        Some(Self { blocks, codes, grids })
    }

    /// Adds the products of sixteen rows of the weight, the `group`-th, with each row of `x`.
    #[inline]
    pub fn add_products(&self, group: usize, x: Part<i8>, sums: &mut [[f32; LANES]]) {
        let codes = &self.codes[group * self.blocks * BYTES..][..self.blocks * BYTES];
        let grids = &self.grids[group * self.blocks * 2 * LANES..][..self.blocks * 2 * LANES];
        #[cfg(target_arch = "x86_64")]
        if simd::has_vnni() {
            // SAFETY: the processor has these instructions.
            return unsafe { vnni(codes, grids, x, sums) };
        }
        #[cfg(target_arch = "x86_64")]
        if simd::has_avx2() {
            // SAFETY: as above.
            return unsafe { avx2(codes, grids, x, sums) };
        }
        plain(codes, grids, x, sums);
    }
}

vectorised! {
    /// Step and offset of the 16 values that a block's are among, if they are.
    fn grid(x: &[f32; BLOCK]) -> Option<(f16, f16)> {
        let (least, most) = (extreme(x, |a, b| a < b), extreme(x, |a, b| a > b));
        let offset = f16::from_f32(least);
        // Of the 16 values the block may lack the last ones; a block of one value is on any grid.
        let steps = (1..=LAST as u32).rev().map(|steps| f16::from_f32((most - least) / steps as f32));
        let on_grid = |step: &f16| {
            let (step, offset) = (step.to_f32(), offset.to_f32());
            let inverse = if step > 0.0 { 1.0 / step } else { 0.0 };
            x.iter().all(|x| {
                let code = ((x - offset) * inverse).round();
                (0.0..=LAST).contains(&code) && (code * step + offset - x).abs() <= SLACK * step
            })
        };
        let steps = if least == most { steps.take(1).find(on_grid) } else { steps.into_iter().find(on_grid) };
        steps.map(|step| (step, offset))
    }

    /// `None` when a block has other values.
    fn encode(row: &[f32], lane: usize, codes: &mut [u8], grids: &mut [f16]) -> Option<()> {
        let blocks = row.as_chunks::<BLOCK>().0.iter().zip(codes.as_chunks_mut::<BYTES>().0);
        for ((x, codes), grids) in blocks.zip(grids.as_chunks_mut::<{ 2 * LANES }>().0) {
            let (step, offset) = grid(x)?;
            (grids[lane], grids[LANES + lane]) = (step, offset);
            let inverse = if step.to_f32() > 0.0 { 1.0 / step.to_f32() } else { 0.0 };
            for (j, x) in x.iter().enumerate() {
                let code = ((x - offset.to_f32()) * inverse + 0.5) as u8;
                // Quads 2i and 2i + 1 share the bytes of register i.
                let at = place::<QUAD>(lane, j / (2 * QUAD) * QUAD + j % QUAD);
                codes[at] |= if (j / QUAD).is_multiple_of(2) { code } else { code << 4 };
            }
        }
        Some(())
    }

    fn plain(codes: &[u8], grids: &[f16], x: Part<i8>, sums: &mut [[f32; LANES]]) {
        let blocks = codes.as_chunks::<BYTES>().0.iter().zip(grids.as_chunks::<{ 2 * LANES }>().0);
        for (b, (codes, grids)) in blocks.enumerate() {
            let grids = grids.map(f16::to_f32);
            for (i, sums) in sums.iter_mut().enumerate() {
                let (x, (scale, sum)) = (x.codes(i, b), x.scale(i, b));
                let mut dots = [0i32; LANES];
                for (codes, x) in codes.as_chunks::<REGISTER>().0.iter().zip(x.as_chunks::<{ 2 * QUAD }>().0) {
                    for (dot, codes) in dots.iter_mut().zip(codes.as_chunks::<QUAD>().0) {
                        for (j, &code) in codes.iter().enumerate() {
                            *dot += i32::from(code & 15) * i32::from(x[j])
                                + i32::from(code >> 4) * i32::from(x[QUAD + j]);
                        }
                    }
                }
                for (lane, (total, dot)) in sums.iter_mut().zip(dots).enumerate() {
                    *total += dot as f32 * (grids[lane] * scale) + grids[LANES + lane] * (scale * sum as f32);
                }
            }
        }
    }
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

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn vnni(codes: &[u8], grids: &[f16], x: Part<i8>, sums: &mut [[f32; LANES]]) {
    use std::arch::x86_64::*;

    use super::registers::{byte_dots, load, load_floats, store};

    let halves = |values: &[f16]| {
        let values: &[f16; LANES] = values.try_into().expect("sixteen values");
        // SAFETY: the array has 32 bytes.
        _mm512_cvtph_ps(unsafe { _mm256_loadu_si256(values.as_ptr().cast()) })
    };
    let low = _mm512_set1_epi8(15);
    let blocks = codes.as_chunks::<BYTES>().0.iter().zip(grids.as_chunks::<{ 2 * LANES }>().0);
    for (b, (codes, grids)) in blocks.enumerate() {
        let codes = codes.as_chunks::<REGISTER>().0;
        let codes: [__m512i; BLOCK / QUAD] = std::array::from_fn(|quad| {
            let both = load(&codes[quad / 2]);
            let codes = if quad % 2 == 0 { both } else { _mm512_srli_epi16::<4>(both) };
            _mm512_and_si512(codes, low)
        });
        let (steps, offsets) = (halves(&grids[..LANES]), halves(&grids[LANES..]));
        for (i, sums) in sums.iter_mut().enumerate() {
            let (x, (scale, sum)) = (x.codes(i, b), x.scale(i, b));
            let dots = _mm512_cvtepi32_ps(byte_dots(&codes, x, _mm512_setzero_si512()));
            let steps = _mm512_mul_ps(steps, _mm512_set1_ps(scale));
            let total = _mm512_fmadd_ps(dots, steps, load_floats(sums));
            store(sums, _mm512_fmadd_ps(offsets, _mm512_set1_ps(scale * sum as f32), total));
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c")]
fn avx2(codes: &[u8], grids: &[f16], x: Part<i8>, sums: &mut [[f32; LANES]]) {
    use std::arch::x86_64::*;

    use super::halves::{CODES, HALF, load, load_floats, quads, store};

    // SAFETY: the array has 16 bytes.
    let floats = |values: &[f16; HALF]| _mm256_cvtph_ps(unsafe { _mm_loadu_si128(values.as_ptr().cast()) });
    let (low, ones) = (_mm256_set1_epi8(15), _mm256_set1_epi16(1));
    let blocks = codes.as_chunks::<BYTES>().0.iter().zip(grids.as_chunks::<{ 2 * LANES }>().0);
    for (b, (codes, grids)) in blocks.enumerate() {
        let (codes, grids) = (codes.as_chunks::<CODES>().0, grids.as_chunks::<HALF>().0);
        for (i, sums) in sums.iter_mut().enumerate() {
            let (x, (scale, sum)) = (quads(x.codes(i, b)), x.scale(i, b));
            for (half, sums) in sums.as_chunks_mut::<HALF>().0.iter_mut().enumerate() {
                // Sixteen bits are enough for a block: sixteen products of at most 15 · 128.
                let mut dots = _mm256_setzero_si256();
                for (codes, x) in codes.as_chunks::<2>().0.iter().zip(x.as_chunks::<2>().0) {
                    let both = load(&codes[half]);
                    let (first, second) =
                        (_mm256_and_si256(both, low), _mm256_and_si256(_mm256_srli_epi16::<4>(both), low));
                    dots = _mm256_add_epi16(dots, _mm256_maddubs_epi16(first, x[0]));
                    dots = _mm256_add_epi16(dots, _mm256_maddubs_epi16(second, x[1]));
                }
                let dots = _mm256_cvtepi32_ps(_mm256_madd_epi16(dots, ones));
                let steps = _mm256_mul_ps(floats(&grids[half]), _mm256_set1_ps(scale));
                let total = _mm256_fmadd_ps(dots, steps, load_floats(sums));
                let offsets = floats(&grids[2 + half]);
                store(sums, _mm256_fmadd_ps(offsets, _mm256_set1_ps(scale * sum as f32), total));
            }
        }
    }
}
