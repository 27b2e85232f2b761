//! Codes of 8 bits for any matrix: `W[i, j] ≈ d (u[i, j] - 128)` with a scale `d` a row and block.
//!
//! With `x[j] ≈ e q[j]`, a block adds `d e (Σ_j u[i, j] q[j] - 128 Σ_j q[j])` to `y[i]`.

use rayon::prelude::*;

use super::super::simd::{self, vectorised};
use super::rows::{Part, round};
use super::{BLOCK, LANES, QUAD, REGISTER, place};

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

    /// Adds the products of sixteen rows of the weight, the `group`-th, with each row of `x`.
    #[inline]
    pub fn add_products(&self, group: usize, x: Part<i8>, sums: &mut [[f32; LANES]]) {
        let codes = &self.codes[group * self.blocks * CODES..][..self.blocks * CODES];
        let scales = &self.scales[group * self.blocks * LANES..][..self.blocks * LANES];
        #[cfg(target_arch = "x86_64")]
        if simd::has_vnni() {
            // SAFETY: the processor has these instructions.
            return unsafe { vnni(codes, scales, x, sums) };
        }
        #[cfg(target_arch = "x86_64")]
        if simd::has_avx2() {
            // SAFETY: as above.
            return unsafe { avx2(codes, scales, x, sums) };
        }
        plain(codes, scales, x, sums);
    }
}

vectorised! {
    fn round_weights(row: &[f32], lane: usize, codes: &mut [u8], scales: &mut [f32]) {
        let blocks = row.as_chunks::<BLOCK>().0.iter().zip(codes.as_chunks_mut::<CODES>().0);
        for (b, (x, codes)) in blocks.enumerate() {
            let mut q = [0i8; BLOCK];
            (scales[b * LANES + lane], _) = round(x, &mut q);
            for (j, q) in q.into_iter().enumerate() {
                codes[place::<QUAD>(lane, j)] = (i32::from(q) + ZERO) as u8;
            }
        }
    }

    fn plain(codes: &[u8], scales: &[f32], x: Part<i8>, sums: &mut [[f32; LANES]]) {
        let blocks = codes.as_chunks::<CODES>().0.iter().zip(scales.as_chunks::<LANES>().0);
        for (b, (codes, scales)) in blocks.enumerate() {
            for (i, sums) in sums.iter_mut().enumerate() {
                let (x, (scale, sum)) = (x.codes(i, b), x.scale(i, b));
                let mut dots = [-ZERO * sum; LANES];
                for (codes, x) in codes.as_chunks::<REGISTER>().0.iter().zip(x.as_chunks::<QUAD>().0) {
                    for (dot, codes) in dots.iter_mut().zip(codes.as_chunks::<QUAD>().0) {
                        for (&u, &q) in codes.iter().zip(x) {
                            *dot += i32::from(u) * i32::from(q);
                        }
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
fn vnni(codes: &[u8], scales: &[f32], x: Part<i8>, sums: &mut [[f32; LANES]]) {
    use std::arch::x86_64::*;

    use super::registers::{byte_dots, load, load_floats, store};

    let blocks = codes.as_chunks::<CODES>().0.iter().zip(scales.as_chunks::<LANES>().0);
    for (b, (codes, scales)) in blocks.enumerate() {
        let codes = codes.as_chunks::<REGISTER>().0;
        let codes: [__m512i; BLOCK / QUAD] = std::array::from_fn(|quad| load(&codes[quad]));
        let scales = load_floats(scales);
        for (i, sums) in sums.iter_mut().enumerate() {
            let (x, (scale, sum)) = (x.codes(i, b), x.scale(i, b));
            let dots = byte_dots(&codes, x, _mm512_set1_epi32(-ZERO * sum));
            let scales = _mm512_mul_ps(scales, _mm512_set1_ps(scale));
            store(sums, _mm512_fmadd_ps(_mm512_cvtepi32_ps(dots), scales, load_floats(sums)));
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2(codes: &[u8], scales: &[f32], x: Part<i8>, sums: &mut [[f32; LANES]]) {
    use std::arch::x86_64::*;

    use super::halves::{self, HALF, load, load_floats, quads, store};

    let (zero, ones) = (_mm256_set1_epi8(ZERO as i8), _mm256_set1_epi16(1));
    let blocks = codes.as_chunks::<CODES>().0.iter().zip(scales.as_chunks::<LANES>().0);
    for (b, (codes, scales)) in blocks.enumerate() {
        let (codes, scales) = (codes.as_chunks::<{ halves::CODES }>().0, scales.as_chunks::<HALF>().0);
        for (i, sums) in sums.iter_mut().enumerate() {
            let (x, (scale, _)) = (quads(x.codes(i, b)), x.scale(i, b));
            for (half, sums) in sums.as_chunks_mut::<HALF>().0.iter_mut().enumerate() {
                let mut dots = _mm256_setzero_si256();
                for (codes, x) in codes.as_chunks::<2>().0.iter().zip(x) {
                    // One side has to be without a sign: it goes to the other, and no pair leaves 16 bits.
                    let codes = _mm256_sub_epi8(load(&codes[half]), zero);
                    let pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(codes), _mm256_sign_epi8(x, codes));
                    dots = _mm256_add_epi32(dots, _mm256_madd_epi16(pairs, ones));
                }
                let scales = _mm256_mul_ps(load_floats(&scales[half]), _mm256_set1_ps(scale));
                store(sums, _mm256_fmadd_ps(_mm256_cvtepi32_ps(dots), scales, load_floats(sums)));
            }
        }
    }
}
