//! What the kernels in 512-bit registers share: products of a block, rounding, loads and stores.

use std::arch::asm;
use std::arch::x86_64::*;

use super::rows::Code;
use super::{BLOCK, LANES};

/// `start` plus the products of a block of sixteen rows with a block of `x`, a lane a row, four columns an instruction.
///
/// In assembly, as the instructions for 16 bits, so that each reads its columns of `x` itself: compilers load them first,
/// or take two instructions for one.
#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
pub fn byte_dots(codes: &[__m512i; 8], x: &[i8; BLOCK], start: __m512i) -> __m512i {
    let (mut even, mut odd) = (start, _mm512_setzero_si512());
    // SAFETY: reads the 32 bytes of `x`.
    unsafe {
        asm!(
            "vpdpbusd {even}, {c0}, dword ptr [{x}]{{1to16}}",
            "vpdpbusd {odd}, {c1}, dword ptr [{x} + 4]{{1to16}}",
            "vpdpbusd {even}, {c2}, dword ptr [{x} + 8]{{1to16}}",
            "vpdpbusd {odd}, {c3}, dword ptr [{x} + 12]{{1to16}}",
            "vpdpbusd {even}, {c4}, dword ptr [{x} + 16]{{1to16}}",
            "vpdpbusd {odd}, {c5}, dword ptr [{x} + 20]{{1to16}}",
            "vpdpbusd {even}, {c6}, dword ptr [{x} + 24]{{1to16}}",
            "vpdpbusd {odd}, {c7}, dword ptr [{x} + 28]{{1to16}}",
            even = inout(zmm_reg) even,
            odd = inout(zmm_reg) odd,
            c0 = in(zmm_reg) codes[0], c1 = in(zmm_reg) codes[1],
            c2 = in(zmm_reg) codes[2], c3 = in(zmm_reg) codes[3],
            c4 = in(zmm_reg) codes[4], c5 = in(zmm_reg) codes[5],
            c6 = in(zmm_reg) codes[6], c7 = in(zmm_reg) codes[7],
            x = in(reg) x.as_ptr(),
            options(pure, readonly, nostack, preserves_flags),
        );
    }
    _mm512_add_epi32(even, odd)
}

/// The products of a block of sixteen rows with a block of `x`, a lane a row, two columns an instruction.
#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
pub fn word_dots(codes: &[__m512i; 16], x: &[i16; BLOCK]) -> __m512i {
    let (mut even, mut odd) = (_mm512_setzero_si512(), _mm512_setzero_si512());
    // SAFETY: reads the 64 bytes of `x`.
    unsafe {
        asm!(
            "vpdpwssd {even}, {c0}, dword ptr [{x}]{{1to16}}",
            "vpdpwssd {odd}, {c1}, dword ptr [{x} + 4]{{1to16}}",
            "vpdpwssd {even}, {c2}, dword ptr [{x} + 8]{{1to16}}",
            "vpdpwssd {odd}, {c3}, dword ptr [{x} + 12]{{1to16}}",
            "vpdpwssd {even}, {c4}, dword ptr [{x} + 16]{{1to16}}",
            "vpdpwssd {odd}, {c5}, dword ptr [{x} + 20]{{1to16}}",
            "vpdpwssd {even}, {c6}, dword ptr [{x} + 24]{{1to16}}",
            "vpdpwssd {odd}, {c7}, dword ptr [{x} + 28]{{1to16}}",
            "vpdpwssd {even}, {c8}, dword ptr [{x} + 32]{{1to16}}",
            "vpdpwssd {odd}, {c9}, dword ptr [{x} + 36]{{1to16}}",
            "vpdpwssd {even}, {c10}, dword ptr [{x} + 40]{{1to16}}",
            "vpdpwssd {odd}, {c11}, dword ptr [{x} + 44]{{1to16}}",
            "vpdpwssd {even}, {c12}, dword ptr [{x} + 48]{{1to16}}",
            "vpdpwssd {odd}, {c13}, dword ptr [{x} + 52]{{1to16}}",
            "vpdpwssd {even}, {c14}, dword ptr [{x} + 56]{{1to16}}",
            "vpdpwssd {odd}, {c15}, dword ptr [{x} + 60]{{1to16}}",
            even = inout(zmm_reg) even,
            odd = inout(zmm_reg) odd,
            c0 = in(zmm_reg) codes[0], c1 = in(zmm_reg) codes[1],
            c2 = in(zmm_reg) codes[2], c3 = in(zmm_reg) codes[3],
            c4 = in(zmm_reg) codes[4], c5 = in(zmm_reg) codes[5],
            c6 = in(zmm_reg) codes[6], c7 = in(zmm_reg) codes[7],
            c8 = in(zmm_reg) codes[8], c9 = in(zmm_reg) codes[9],
            c10 = in(zmm_reg) codes[10], c11 = in(zmm_reg) codes[11],
            c12 = in(zmm_reg) codes[12], c13 = in(zmm_reg) codes[13],
            c14 = in(zmm_reg) codes[14], c15 = in(zmm_reg) codes[15],
            x = in(reg) x.as_ptr(),
            options(pure, readonly, nostack, preserves_flags),
        );
    }
    _mm512_add_epi32(even, odd)
}

/// [`super::rows::round`], sixteen values an instruction.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
pub fn round<Q: Code>(x: &[f32], codes: &mut [Q]) -> (f32, i32) {
    let x = x.as_chunks::<LANES>().0;
    let (mut most, mut odd) = (_mm512_setzero_ps(), 0);
    for x in x {
        let x = load_floats(x);
        most = _mm512_max_ps(most, _mm512_abs_ps(x));
        // A maximum may pass over what is no number.
        odd |= _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(x, x);
    }
    let scale = if odd == 0 { _mm512_reduce_max_ps(most) / Q::MOST } else { f32::NAN };
    if !scale.is_finite() {
        // Such values have no codes; their scale says enough.
        return (scale, 0);
    }
    let inverse = _mm512_set1_ps(if scale > 0.0 { 1.0 / scale } else { 0.0 });
    let mut sum = _mm512_setzero_si512();
    for (x, codes) in x.iter().zip(codes.as_chunks_mut::<LANES>().0) {
        let lanes = _mm512_cvtps_epi32(_mm512_mul_ps(load_floats(x), inverse));
        sum = _mm512_add_epi32(sum, lanes);
        Q::store(lanes, codes);
    }
    (scale, _mm512_reduce_add_epi32(sum))
}

#[inline]
#[target_feature(enable = "avx512f")]
pub fn load<T>(codes: &[T]) -> __m512i {
    assert_eq!(size_of_val(codes), 64);
    // SAFETY: there are 64 bytes.
    unsafe { _mm512_loadu_si512(codes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
pub fn load_floats(values: &[f32; LANES]) -> __m512 {
    // SAFETY: the array has 16 floats.
    unsafe { _mm512_loadu_ps(values.as_ptr()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
pub fn store(values: &mut [f32; LANES], register: __m512) {
    // SAFETY: the array has 16 floats.
    unsafe { _mm512_storeu_ps(values.as_mut_ptr(), register) }
}
