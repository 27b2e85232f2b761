//! Codes of 16 bits for any matrix: `W[i, j] ≈ d w[i, j]` with a scale `d` a row and block.
//!
//! With `x[j] ≈ e q[j]`, a block adds `d e Σ_j w[i, j] q[j]` to `y[i]`. Both codes stay within ±8191, so that the sum of a
//! block stays within 32 bits.

use rayon::prelude::*;

use super::super::simd::{self, vectorised};
use super::{BLOCK, LANES, Part, place, rounded};

/// Codes of one block of sixteen rows.
const CODES: usize = LANES * BLOCK;
/// Columns of a row that lie side by side.
const PAIR: usize = 2;
/// Codes that fill a register: two columns of sixteen rows.
const REGISTER: usize = LANES * PAIR;

#[derive(Debug)]
pub struct Sixteen {
    blocks: usize,
    /// `[out / LANES][blocks][BLOCK / PAIR][LANES][PAIR]`
    codes: Vec<i16>,
    /// `[out / LANES][blocks][LANES]`
    scales: Vec<f32>,
}

impl Sixteen {
    /// Of a matrix whose rows of `columns` values lie end to end; `columns` is a multiple of [`BLOCK`].
    pub fn of(weight: &[f32], columns: usize) -> Self {
        let (blocks, groups) = (columns / BLOCK, (weight.len() / columns).div_ceil(LANES));
        let mut codes = vec![0; groups * blocks * CODES];
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

    /// Adds the products of sixteen rows of the weight, the `group`-th, with each row of `x`.
    #[inline]
    pub fn add_products(&self, group: usize, x: Part<i16>, sums: &mut [[f32; LANES]]) {
        let codes = &self.codes[group * self.blocks * CODES..][..self.blocks * CODES];
        let scales = &self.scales[group * self.blocks * LANES..][..self.blocks * LANES];
        #[cfg(target_arch = "x86_64")]
        if simd::has_vnni() {
            // SAFETY: the processor has these instructions.
            return unsafe { vnni(codes, scales, x, sums) };
        }
        plain(codes, scales, x, sums);
    }
}

vectorised! {
    fn round_weights(row: &[f32], lane: usize, codes: &mut [i16], scales: &mut [f32]) {
        let blocks = row.as_chunks::<BLOCK>().0.iter().zip(codes.as_chunks_mut::<CODES>().0);
        for (b, (x, codes)) in blocks.enumerate() {
            let (q, scale) = rounded(x);
            scales[b * LANES + lane] = scale;
            for (j, q) in q.into_iter().enumerate() {
                codes[place::<PAIR>(lane, j)] = q;
            }
        }
    }

    fn plain(codes: &[i16], scales: &[f32], x: Part<i16>, sums: &mut [[f32; LANES]]) {
        let blocks = codes.as_chunks::<CODES>().0.iter().zip(scales.as_chunks::<LANES>().0);
        for (b, (codes, scales)) in blocks.enumerate() {
            for (i, sums) in sums.iter_mut().enumerate() {
                let (x, scale, _) = x.block(i, b);
                let mut dots = [0i32; LANES];
                for (codes, x) in codes.as_chunks::<REGISTER>().0.iter().zip(x.as_chunks::<PAIR>().0) {
                    for (dot, codes) in dots.iter_mut().zip(codes.as_chunks::<PAIR>().0) {
                        *dot += i32::from(codes[0]) * i32::from(x[0]) + i32::from(codes[1]) * i32::from(x[1]);
                    }
                }
                for ((sum, dot), weight_scale) in sums.iter_mut().zip(dots).zip(scales) {
                    *sum += dot as f32 * (weight_scale * scale);
                }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn vnni(codes: &[i16], scales: &[f32], x: Part<i16>, sums: &mut [[f32; LANES]]) {
    use std::arch::x86_64::*;

    use super::{load, load_floats, store, word_dots};

    let blocks = codes.as_chunks::<CODES>().0.iter().zip(scales.as_chunks::<LANES>().0);
    for (b, (codes, scales)) in blocks.enumerate() {
        let codes = codes.as_chunks::<REGISTER>().0;
        let codes: [__m512i; BLOCK / PAIR] = std::array::from_fn(|pair| load(&codes[pair]));
        let scales = load_floats(scales);
        for (i, sums) in sums.iter_mut().enumerate() {
            let (x, scale, _) = x.block(i, b);
            let dots = _mm512_cvtepi32_ps(word_dots(&codes, x));
            let scales = _mm512_mul_ps(scales, _mm512_set1_ps(scale));
            store(sums, _mm512_fmadd_ps(dots, scales, load_floats(sums)));
        }
    }
}
