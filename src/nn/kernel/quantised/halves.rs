//! What the kernels in 256-bit registers share: eight of sixteen rows at a time, four columns of each.

use std::arch::x86_64::*;

use super::{BLOCK, LANES, QUAD, REGISTER};

/// Rows whose sums fill a register.
pub const HALF: usize = LANES / 2;
/// Codes that fill one: four columns of eight rows.
pub const CODES: usize = REGISTER / 2;

/// A block of `x`, four columns a register, the same in every lane.
#[inline]
#[target_feature(enable = "avx2")]
pub fn quads(x: &[i8; BLOCK]) -> [__m256i; BLOCK / QUAD] {
    let x = x.as_chunks::<QUAD>().0;
    std::array::from_fn(|quad| _mm256_set1_epi32(i32::from_ne_bytes(x[quad].map(|code| code as u8))))
}

#[inline]
#[target_feature(enable = "avx2")]
pub fn load(codes: &[u8; CODES]) -> __m256i {
    // SAFETY: the array has 32 bytes.
    unsafe { _mm256_loadu_si256(codes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
pub fn load_floats(values: &[f32; HALF]) -> __m256 {
    // SAFETY: the array has 8 floats.
    unsafe { _mm256_loadu_ps(values.as_ptr()) }
}

#[inline]
#[target_feature(enable = "avx2")]
pub fn store(values: &mut [f32; HALF], register: __m256) {
    // SAFETY: the array has 8 floats.
    unsafe { _mm256_storeu_ps(values.as_mut_ptr(), register) }
}
