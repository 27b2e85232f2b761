//! Rows of `x`, rounded to whole numbers with a scale for each span of columns.

use std::ops::Range;

use rayon::prelude::*;

use super::super::parallel::rows_a_task;
use super::super::simd::{self, vectorised};
#[cfg(target_arch = "x86_64")]
use super::registers;
use super::{BLOCK, LANES};

/// What a row is rounded to: whole numbers between `-MOST` and `MOST`.
pub trait Code: Copy + Default + Send + Sync + Into<i32> {
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
pub struct Rows<Q> {
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
pub struct Part<'a, Q> {
    blocks: usize,
    spans: usize,
    codes: &'a [Q],
    scales: &'a [f32],
    sums: &'a [i32],
}

impl<Q: Code> Rows<Q> {
    pub fn of(x: &[f32], columns: usize) -> Self {
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

    pub fn len(&self) -> usize {
        self.scales.len() / self.spans
    }

    pub fn part(&self, rows: Range<usize>) -> Part<'_, Q> {
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
    pub fn len(&self) -> usize {
        self.scales.len() / self.spans
    }

    /// Codes of block `b` of row `i`.
    #[inline(always)]
    pub fn codes(&self, i: usize, b: usize) -> &[Q; BLOCK] {
        &self.codes.as_chunks().0[i * self.blocks + b]
    }

    /// Scale and sum of span `s` of row `i`.
    #[inline(always)]
    pub fn scale(&self, i: usize, s: usize) -> (f32, i32) {
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
    pub fn round<Q: Code>(x: &[f32], codes: &mut [Q]) -> (f32, i32) {
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
