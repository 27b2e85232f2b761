//! Codes of 8 bits for any matrix: `W[i, j] ≈ d (u[i, j] - 128)` with a scale `d` a row and block.
//!
//! With `x[j] ≈ e q[j]`, a block adds `d e (Σ_j u[i, j] q[j] - 128 Σ_j q[j])` to `y[i]`.

use rayon::prelude::*;

use super::super::simd::{self, vectorised};
use super::{BLOCK, LANES, QUAD, REGISTER, Row, place, rounded};

/// Codes of one block of sixteen rows.
const CODES: usize = LANES * BLOCK;
/// The code that stands for zero.
const ZERO: i32 = 128;

#[derive(Debug)]
pub struct Eight {
    blocks: usize,
    /// `[out / LANES][blocks][BLOCK / QUAD][LANES][QUAD]`
    codes: Vec<u8>,
    /// `[out / LANES][blocks][LANES]`
    scales: Vec<f32>,
}

impl Eight {
    /// Of a matrix whose rows of `columns` values lie end to end; `columns` is a multiple of [`BLOCK`].
    pub fn of(weight: &[f32], columns: usize) -> Self {
        let (blocks, groups) = (columns / BLOCK, (weight.len() / columns).div_ceil(LANES));
        let mut codes = vec![ZERO as u8; groups * blocks * CODES];
        let mut scales = vec![0.0; groups * blocks * LANES];
        codes
            .par_chunks_exact_mut(blocks * CODES)
            .zip(scales.par_chunks_exact_mut(blocks * LANES))
            .zip(weight.par_chunks(LANES * columns))
            .for_each(|((codes, scales), rows)| {
                for (lane, row) in rows.chunks_exact(columns).enumerate() {
                    round_weights(row, lane, codes, scales);
                }
            });
        Self { blocks, codes, scales }
    }

    /// The products of sixteen rows, the `group`-th, with `row`.
    #[inline]
    pub fn sums(&self, group: usize, row: &Row, y: &mut [f32]) {
        let codes = &self.codes[group * self.blocks * CODES..][..self.blocks * CODES];
        let scales = &self.scales[group * self.blocks * LANES..][..self.blocks * LANES];
        #[cfg(target_arch = "x86_64")]
        if simd::has_vnni() {
            // SAFETY: the processor has these instructions.
            return unsafe { vnni(codes, scales, row, y) };
        }
        plain(codes, scales, row, y);
    }
}

vectorised! {
    fn round_weights(row: &[f32], lane: usize, codes: &mut [u8], scales: &mut [f32]) {
        let blocks = row.as_chunks::<BLOCK>().0.iter().zip(codes.as_chunks_mut::<CODES>().0);
        for (b, (x, codes)) in blocks.enumerate() {
            let (q, scale) = rounded(x);
            scales[b * LANES + lane] = scale;
            for (j, q) in q.into_iter().enumerate() {
                codes[place(lane, j)] = (i32::from(q) + ZERO) as u8;
            }
        }
    }

    fn plain(codes: &[u8], scales: &[f32], row: &Row, y: &mut [f32]) {
        let mut totals = [0f32; LANES];
        let blocks = codes.as_chunks::<CODES>().0.iter().zip(scales.as_chunks::<LANES>().0);
        for (b, (codes, scales)) in blocks.enumerate() {
            let mut sums = [-ZERO * row.sums[b]; LANES];
            let quads = codes.as_chunks::<REGISTER>().0.iter().zip(row.block(b).as_chunks::<QUAD>().0);
            for (codes, x) in quads {
                for (sum, codes) in sums.iter_mut().zip(codes.as_chunks::<QUAD>().0) {
                    for (&u, &q) in codes.iter().zip(x) {
                        *sum += i32::from(u) * i32::from(q);
                    }
                }
            }
            for ((total, sum), scale) in totals.iter_mut().zip(sums).zip(scales) {
                *total += sum as f32 * (scale * row.scales[b]);
            }
        }
        y.copy_from_slice(&totals);
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn vnni(codes: &[u8], scales: &[f32], row: &Row, y: &mut [f32]) {
    use std::arch::x86_64::*;

    use super::{four_codes, load};

    let mut total = _mm512_setzero_ps();
    let blocks = codes.as_chunks::<CODES>().0.iter().zip(scales.as_chunks::<LANES>().0);
    for (b, (codes, scales)) in blocks.enumerate() {
        let mut even = _mm512_set1_epi32(-ZERO * row.sums[b]);
        let mut odd = _mm512_setzero_si512();
        let (codes, x) = (codes.as_chunks::<REGISTER>().0, row.block(b).as_chunks::<QUAD>().0);
        for i in (0..BLOCK / QUAD).step_by(2) {
            even = _mm512_dpbusd_epi32(even, load(&codes[i]), four_codes(&x[i]));
            odd = _mm512_dpbusd_epi32(odd, load(&codes[i + 1]), four_codes(&x[i + 1]));
        }
        // SAFETY: the array has 16 floats.
        let scales = unsafe { _mm512_loadu_ps(scales.as_ptr()) };
        let scales = _mm512_mul_ps(scales, _mm512_set1_ps(row.scales[b]));
        total = _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_add_epi32(even, odd)), scales, total);
    }
    let y: &mut [f32; LANES] = y.try_into().expect("sixteen sums");
    // SAFETY: there is room for 16 floats.
    unsafe { _mm512_storeu_ps(y.as_mut_ptr(), total) };
}
