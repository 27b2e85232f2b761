//! Codes of 16 bits for any matrix: `W[i, j] ≈ d[i] w[i, j]`, with one scale for a whole row.
//!
//! With `x[j] ≈ e q[j]`, `y[i] = d[i] e Σ_j w[i, j] q[j]`. Codes stay within ±8191, so that the sum of a block stays within 32
//! bits; the blocks' sums are added up in floats.

use rayon::prelude::*;

use super::super::simd::{self, vectorised};
use super::rows::{Part, round};
use super::{BLOCK, LANES, place};

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
    /// `[out / LANES][LANES]`
    scales: Vec<f32>,
}

impl Sixteen {
    /// Of a matrix whose rows of `columns` values lie end to end; `columns` is a multiple of [`BLOCK`].
    pub fn of(weight: &[f32], columns: usize) -> Self {
        let (blocks, groups) = (columns / BLOCK, (weight.len() / columns).div_ceil(LANES));
        let mut codes = vec![0; groups * blocks * CODES];
        let mut scales = vec![0.0; groups * LANES];
        codes
            .par_chunks_exact_mut(blocks * CODES)
            .zip(scales.par_chunks_exact_mut(LANES))
            .zip(weight.par_chunks(LANES * columns))
            .for_each(|((codes, scales), rows)| {
                let mut q = vec![0; columns];
                for (lane, row) in rows.chunks_exact(columns).enumerate() {
                    (scales[lane], _) = round(row, &mut q);
                    interleave(&q, lane, codes);
                }
            });
        Self { blocks, codes, scales }
    }

    /// Adds the products of sixteen rows of the weight, the `group`-th, with each row of `x`.
    #[inline]
    pub fn add_products(&self, group: usize, x: Part<i16>, sums: &mut [[f32; LANES]]) {
        let codes = &self.codes[group * self.blocks * CODES..][..self.blocks * CODES];
        let scales = &self.scales.as_chunks().0[group];
        #[cfg(target_arch = "x86_64")]
        if simd::has_vnni() {
            // SAFETY: the processor has these instructions.
            return unsafe { vnni(codes, scales, x, sums) };
        }
        plain(codes, scales, x, sums);
    }
}

fn interleave(row: &[i16], lane: usize, codes: &mut [i16]) {
    let blocks = row.as_chunks::<BLOCK>().0.iter().zip(codes.as_chunks_mut::<CODES>().0);
    for (q, codes) in blocks {
        for (j, &q) in q.iter().enumerate() {
            codes[place::<PAIR>(lane, j)] = q;
        }
    }
}

vectorised! {
    fn plain(codes: &[i16], scales: &[f32; LANES], x: Part<i16>, sums: &mut [[f32; LANES]]) {
        for (i, sums) in sums.iter_mut().enumerate() {
            let mut totals = [0f32; LANES];
            for (b, codes) in codes.as_chunks::<CODES>().0.iter().enumerate() {
                let mut dots = [0i32; LANES];
                for (codes, x) in codes.as_chunks::<REGISTER>().0.iter().zip(x.codes(i, b).as_chunks::<PAIR>().0) {
                    for (dot, codes) in dots.iter_mut().zip(codes.as_chunks::<PAIR>().0) {
                        *dot += i32::from(codes[0]) * i32::from(x[0]) + i32::from(codes[1]) * i32::from(x[1]);
                    }
                }
                for (total, dot) in totals.iter_mut().zip(dots) {
                    *total += dot as f32;
                }
            }
            let (scale, _) = x.scale(i, 0);
            for ((sum, total), weight_scale) in sums.iter_mut().zip(totals).zip(scales) {
                *sum += total * (weight_scale * scale);
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn vnni(codes: &[i16], scales: &[f32; LANES], x: Part<i16>, sums: &mut [[f32; LANES]]) {
    use std::arch::x86_64::*;

    use super::TILE;
    use super::registers::{load, load_floats, store, word_dots};

    let mut totals = [[0f32; LANES]; TILE];
    let totals = &mut totals[..sums.len()];
    for (b, codes) in codes.as_chunks::<CODES>().0.iter().enumerate() {
        let codes = codes.as_chunks::<REGISTER>().0;
        let codes: [__m512i; BLOCK / PAIR] = std::array::from_fn(|pair| load(&codes[pair]));
        for (i, total) in totals.iter_mut().enumerate() {
            let dots = _mm512_cvtepi32_ps(word_dots(&codes, x.codes(i, b)));
            store(total, _mm512_add_ps(load_floats(total), dots));
        }
    }
    let scales = load_floats(scales);
    for (i, (sums, total)) in sums.iter_mut().zip(totals).enumerate() {
        let (scale, _) = x.scale(i, 0);
        let scales = _mm512_mul_ps(scales, _mm512_set1_ps(scale));
        store(sums, _mm512_fmadd_ps(load_floats(total), scales, load_floats(sums)));
    }
}
