//! Rows times a matrix in small integers: `y = x Wᵀ` where a model is asked and not trained.
//!
//! For the one row of a token that is being written there is nothing to reuse: each weight is read for one multiplication,
//! and the time is that of reading them. For the many rows of a prompt it is that of multiplying, and four products of bytes
//! take the time of one of floats. So weights are kept as codes of 8 bits, or of 4 where that loses nothing, in blocks of
//! [`BLOCK`] columns, each block with a scale of its own (as GGUF's Q8_0 and Q4_1 have); rows are rounded to 8 bits in the
//! same blocks, and sums within a block are whole numbers.
//!
//! | file | what |
//! | --- | --- |
//! | `sixteen` | any matrix, rounded to 16,383 steps a block: nearly as exact as floats, and up to twice as fast |
//! | `eight` | any matrix, rounded to 255 steps a block: four times as fast |
//! | `four` | a matrix that lies on 16 steps a block already, because its file has it so |
//!
//! Sixteen rows of the weight lie interleaved, four columns of each at a time: a 512-bit register then holds sixteen sums, one
//! a row, and `vpdpbusd` adds four products to each of them at once (`vpdpwssd` two, of codes of 16 bits). Processors without it run the plain loop, which pays for
//! a single row only.

mod eight;
mod four;
mod sixteen;

use std::ops::Range;
use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::gemm::Shared;
use super::parallel::{may_split, rows_a_task};
use super::simd::{self, vectorised};
use super::{team, values};
use eight::Eight;
use four::Four;
use sixteen::Sixteen;

/// Columns that share a scale. Blocks of 64 moved logits by 4 to 7 %; these move them by less than one.
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
    /// Codes of 16 bits: vectors of an encoder keep a cosine of 0.999999 and more.
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

/// Whether this processor multiplies small integers faster than floats even where weights are reused.
pub fn rows_pay() -> bool {
    #[cfg(target_arch = "x86_64")]
    return simd::has_vnni();
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// What a row is rounded to: whole numbers between `-MOST` and `MOST`.
trait Code: Copy + Default + Send + Sync + Into<i32> {
    /// Of a block's products not even the largest may leave 32 bits.
    const MOST: f32;

    /// How many of a row's `columns` share a scale.
    fn span(columns: usize) -> usize;

    /// The whole number in the low bits of a float, see [`round`].
    fn low(bits: u32) -> Self;

    /// Sixteen whole numbers, which are no larger than [`Self::MOST`].
    #[cfg(target_arch = "x86_64")]
    fn store(lanes: std::arch::x86_64::__m512i, codes: &mut [Self; LANES]);
}

impl Code for i8 {
    const MOST: f32 = 127.0;

    fn span(_columns: usize) -> usize {
        BLOCK
    }

    #[inline(always)]
    fn low(bits: u32) -> Self {
        bits as i8
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn store(lanes: std::arch::x86_64::__m512i, codes: &mut [Self; LANES]) {
        // SAFETY: only called where there are such registers, and the array has 16 bytes.
        unsafe {
            use std::arch::x86_64::*;
            _mm_storeu_si128(codes.as_mut_ptr().cast(), _mm512_cvtepi32_epi8(lanes));
        }
    }
}

impl Code for i16 {
    const MOST: f32 = 8191.0; // 8191² · 32 < 2^31

    /// Fine enough for a whole row, and then nothing is scaled between its blocks.
    fn span(columns: usize) -> usize {
        columns
    }

    #[inline(always)]
    fn low(bits: u32) -> Self {
        bits as i16
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn store(lanes: std::arch::x86_64::__m512i, codes: &mut [Self; LANES]) {
        // SAFETY: only called where there are such registers, and the array has 32 bytes.
        unsafe {
            use std::arch::x86_64::*;
            _mm256_storeu_si256(codes.as_mut_ptr().cast(), _mm512_cvtepi32_epi16(lanes));
        }
    }
}

/// Rounded rows of `x`: `x[i, j] ≈ scales[i, s] codes[i, j]` in span `s`.
struct Rows<Q> {
    blocks: usize,
    /// Spans of a row.
    spans: usize,
    /// `(N, blocks * BLOCK)`
    codes: Vec<Q>,
    /// `(N, spans)`
    scales: Vec<f32>,
    /// Of the codes of each span, `(N, spans)`.
    sums: Vec<i32>,
}

/// Some of the rows of [`Rows`].
#[derive(Clone, Copy)]
struct Part<'a, Q> {
    blocks: usize,
    spans: usize,
    codes: &'a [Q],
    scales: &'a [f32],
    sums: &'a [i32],
}

impl<Q: Code> Rows<Q> {
    fn of(x: &[f32], columns: usize) -> Self {
        let (rows, span) = (x.len() / columns, Q::span(columns));
        let spans = columns / span;
        let mut all = Self {
            blocks: columns / BLOCK,
            spans,
            codes: vec![Q::default(); x.len()],
            scales: vec![0.0; rows * spans],
            sums: vec![0; rows * spans],
        };
        let task = rows_a_task(rows, columns);
        if task < rows {
            let tasks = all.codes.par_chunks_mut(task * columns).zip(all.scales.par_chunks_mut(task * spans));
            let tasks = tasks.zip(all.sums.par_chunks_mut(task * spans)).zip(x.par_chunks(task * columns));
            tasks.for_each(|(((codes, scales), sums), x)| round_spans(x, span, codes, scales, sums));
        } else {
            round_spans(x, span, &mut all.codes, &mut all.scales, &mut all.sums);
        }
        all
    }

    fn len(&self) -> usize {
        self.scales.len() / self.spans
    }

    fn part(&self, rows: Range<usize>) -> Part<'_, Q> {
        let of = |width: usize| rows.start * width..rows.end * width;
        Part {
            blocks: self.blocks,
            spans: self.spans,
            codes: &self.codes[of(self.blocks * BLOCK)],
            scales: &self.scales[of(self.spans)],
            sums: &self.sums[of(self.spans)],
        }
    }
}

impl<Q> Part<'_, Q> {
    fn len(&self) -> usize {
        self.scales.len() / self.spans
    }

    /// Codes of block `b` of row `i`.
    #[inline(always)]
    fn codes(&self, i: usize, b: usize) -> &[Q; BLOCK] {
        &self.codes.as_chunks().0[i * self.blocks + b]
    }

    /// Scale and sum of span `s` of row `i`.
    #[inline(always)]
    fn scale(&self, i: usize, s: usize) -> (f32, i32) {
        let at = i * self.spans + s;
        (self.scales[at], self.sums[at])
    }
}

/// Rounds spans of `span` values, laid end to end.
fn round_spans<Q: Code>(x: &[f32], span: usize, codes: &mut [Q], scales: &mut [f32], sums: &mut [i32]) {
    let spans = x.chunks_exact(span).zip(codes.chunks_exact_mut(span));
    for ((x, codes), (scale, sum)) in spans.zip(scales.iter_mut().zip(sums)) {
        #[cfg(target_arch = "x86_64")]
        if simd::has_vnni() {
            // SAFETY: the processor has these instructions.
            (*scale, *sum) = unsafe { registers::round(x, codes) };
            continue;
        }
        (*scale, *sum) = round(x, codes);
    }
}

vectorised! {
    /// Rounds `x` to steps of which its largest value has [`Code::MOST`]; that step, and the sum of the codes. The step is
    /// no number either when a value is not, so that none is hidden.
    fn round<Q: Code>(x: &[f32], codes: &mut [Q]) -> (f32, i32) {
        const ROUNDER: f32 = 12_582_912.0; // 1.5 · 2^23: adding it leaves the nearest integer in the low bits
        let mut most = [0f32; LANES];
        for x in x.as_chunks::<LANES>().0 {
            for (most, x) in most.iter_mut().zip(x) {
                *most = if *most > x.abs() || most.is_nan() { *most } else { x.abs() };
            }
        }
        let most = most.into_iter().reduce(|a, b| if a > b || a.is_nan() { a } else { b });
        let scale = most.unwrap_or(0.0) / Q::MOST;
        let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
        let mut sum = 0;
        for (code, x) in codes.iter_mut().zip(x) {
            *code = Q::low((x * inverse + ROUNDER).to_bits());
            sum += (*code).into();
        }
        (scale, sum)
    }
}

/// Where the code of column `j` of a block stands among those of sixteen rows, `SIDE` columns a row side by side.
#[inline(always)]
fn place<const SIDE: usize>(lane: usize, j: usize) -> usize {
    (j / SIDE * LANES + lane) * SIDE + j % SIDE
}

/// What the kernels in 512-bit registers share.
#[cfg(target_arch = "x86_64")]
mod registers {
    use std::arch::asm;
    use std::arch::x86_64::*;

    use super::{BLOCK, Code, LANES};

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

    /// [`super::round`], sixteen values an instruction.
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
}
#[cfg(target_arch = "x86_64")]
use registers::{byte_dots, load, load_floats, store, word_dots};

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
