//! Matrices inside slices, and their product.
//!
//! The arithmetic is the `gemm` crate's; this file adds what keeps it safe: a [`Matrix`] never reaches outside its slice,
//! and a product checks that its shapes agree. Transposing and windowing only change strides.
//!
//! One rule about threads: a product is split among them at the top level only, never inside a loop that already runs in
//! parallel. It is cut along its longer side into pieces that know nothing of each other, so that threads meet once a product
//! and not after every block of it.

use std::marker::PhantomData;
use std::ops::Range;

use gemm::Parallelism;
use rayon::prelude::*;

use super::parallel::may_split;

/// A read-only matrix: element `(i, j)` lies at `i * row + j * column` of `values`.
#[derive(Clone, Copy)]
pub struct Matrix<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    strides: (usize, usize),
}

impl<'a> Matrix<'a> {
    /// # Panics
    /// When the last element would lie outside `values`.
    pub fn strided(values: &'a [f32], (rows, columns): (usize, usize), strides: (usize, usize)) -> Self {
        let reach = reach((rows, columns), strides);
        assert!(
            reach <= values.len(),
            "a {rows} x {columns} matrix reaches outside its {} values",
            values.len()
        );
        Self { values, rows, columns, strides }
    }

    /// Rows laid end to end, each `columns` long.
    pub fn new(values: &'a [f32], columns: usize) -> Self {
        let rows = values.len().checked_div(columns).unwrap_or(0);
        Self::strided(values, (rows, columns), (columns, 1))
    }

    pub fn rows(self) -> usize {
        self.rows
    }

    pub fn t(self) -> Self {
        let Self { values, rows, columns, strides } = self;
        Self { values, rows: columns, columns: rows, strides: (strides.1, strides.0) }
    }

    /// # Panics
    /// When the window reaches outside.
    pub fn window(self, rows: Range<usize>, columns: Range<usize>) -> Self {
        assert!(rows.end <= self.rows && columns.end <= self.columns, "a window reaches outside its matrix");
        let start = rows.start * self.strides.0 + columns.start * self.strides.1;
        let values = self.values.get(start..).unwrap_or_default();
        Self::strided(values, (rows.len(), columns.len()), self.strides)
    }
}

/// Values from the first element to the last.
fn reach((rows, columns): (usize, usize), strides: (usize, usize)) -> usize {
    if rows == 0 || columns == 0 { 0 } else { (rows - 1) * strides.0 + (columns - 1) * strides.1 + 1 }
}

/// A matrix to write: rows `stride` apart, the values of a row side by side.
pub struct MatrixMut<'a> {
    start: *mut f32,
    rows: usize,
    columns: usize,
    stride: usize,
    values: PhantomData<&'a mut [f32]>,
}

// SAFETY: it stands for the unique right to write its elements, as `&mut [f32]` does.
unsafe impl Send for MatrixMut<'_> {}

impl<'a> MatrixMut<'a> {
    /// The first `rows` rows of `columns` values.
    ///
    /// # Panics
    /// When `values` holds fewer.
    pub fn new(values: &'a mut [f32], rows: usize, columns: usize) -> Self {
        assert!(rows * columns <= values.len(), "a {rows} x {columns} matrix reaches outside its values");
        Self { start: values.as_mut_ptr(), rows, columns, stride: columns, values: PhantomData }
    }

    /// Makes the first values of row `i` those of `values`.
    ///
    /// # Panics
    /// When there is no such row, or it is shorter.
    #[inline]
    pub fn write(&mut self, i: usize, values: &[f32]) {
        assert!(i < self.rows && values.len() <= self.columns, "row {i} of {} is too short", self.rows);
        // SAFETY: the row lies inside the matrix, which may be written through `self` alone.
        unsafe {
            let row = self.start.add(i * self.stride);
            std::ptr::copy_nonoverlapping(values.as_ptr(), row, values.len());
        }
    }

    fn reborrow(&mut self) -> MatrixMut<'_> {
        MatrixMut { values: PhantomData, ..*self }
    }
}

/// A matrix whose windows are written by several threads at once.
pub struct Shared<'a>(MatrixMut<'a>);

// SAFETY: all access goes through `window`, whose caller promises that no element is in two windows at a time.
unsafe impl Sync for Shared<'_> {}

impl<'a> Shared<'a> {
    pub fn new(values: &'a mut [f32], columns: usize) -> Self {
        let rows = values.len().checked_div(columns).unwrap_or(0);
        Self(MatrixMut::new(values, rows, columns))
    }

    /// `rows` rows of `columns` values in the room of an empty vector, to be filled before its length is set.
    ///
    /// # Safety
    /// Windows are written with [`MatrixMut::write`] only: there are no values yet.
    pub unsafe fn room(values: &'a mut Vec<f32>, rows: usize, columns: usize) -> Self {
        values.clear();
        values.reserve_exact(rows * columns);
        let start = values.as_mut_ptr();
        Self(MatrixMut { start, rows, columns, stride: columns, values: PhantomData })
    }

    /// # Safety
    /// No element may be in two living windows.
    ///
    /// # Panics
    /// When the window reaches outside.
    pub unsafe fn window(&self, rows: Range<usize>, columns: Range<usize>) -> MatrixMut<'_> {
        assert!(
            rows.end <= self.0.rows && columns.end <= self.0.columns,
            "a window reaches outside its matrix"
        );
        let start = self.0.start.wrapping_add(rows.start * self.0.stride + columns.start);
        MatrixMut {
            start,
            rows: rows.len(),
            columns: columns.len(),
            stride: self.0.stride,
            values: PhantomData,
        }
    }
}

/// What becomes of the values a product is written over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Old {
    Replaced,
    Added,
}

/// Multiplications and additions below which a product stays on its thread: about 20 microseconds of one.
const WORTH_SPLITTING: usize = 1 << 20;

/// Pieces for each thread: more even out what else a machine does, and fewer read the shared side less often.
const PIECES_A_THREAD: usize = 2;

/// Rows or columns that a piece is a multiple of, so that only the last ends in a part of a register.
const GRAIN: usize = 16;

/// Who computes a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threads {
    /// The caller alone: the only choice inside a parallel loop.
    One,
    /// All of them, unless [`super::sequential`] says otherwise.
    All,
}

/// `out = scale · a b`, or `out += scale · a b`.
///
/// # Panics
/// When the shapes disagree.
pub fn multiply(out: &mut MatrixMut, old: Old, scale: f32, a: Matrix, b: Matrix, threads: Threads) {
    assert!(
        out.rows == a.rows && out.columns == b.columns && a.columns == b.rows,
        "({} x {}) is not ({} x {}) times ({} x {})",
        out.rows,
        out.columns,
        a.rows,
        a.columns,
        b.rows,
        b.columns
    );
    // SAFETY: `out` may write all its elements; the shapes agree.
    unsafe { product_at(out.reborrow(), old, scale, a, b, threads) }
}

/// `a b` as rows laid end to end.
///
/// # Panics
/// When the shapes disagree.
pub fn product(a: Matrix, b: Matrix, threads: Threads) -> Vec<f32> {
    assert!(a.columns == b.rows, "({} x {}) times ({} x {})", a.rows, a.columns, b.rows, b.columns);
    let (rows, columns) = (a.rows, b.columns);
    let mut values = Vec::with_capacity(rows * columns);
    // SAFETY: the vector has room for `rows` rows of `columns` values, and the product writes every one of them without
    // reading any.
    unsafe {
        let out =
            MatrixMut { start: values.as_mut_ptr(), rows, columns, stride: columns, values: PhantomData };
        product_at(out, Old::Replaced, 1.0, a, b, threads);
        values.set_len(rows * columns);
    }
    values
}

/// # Safety
/// `out` has `a.rows` rows of `b.columns` values (which need be there only if they are to be added to), and `a.columns` is
/// `b.rows`.
unsafe fn product_at(out: MatrixMut, old: Old, scale: f32, a: Matrix, b: Matrix, threads: Threads) {
    let (rows, columns) = (out.rows, out.columns);
    if rows == 0 || columns == 0 {
        return;
    }
    let work = rows.saturating_mul(columns).saturating_mul(a.columns);
    let pieces = match threads {
        Threads::All if may_split() && work > WORTH_SPLITTING => {
            PIECES_A_THREAD * rayon::current_num_threads()
        }
        _ => 1,
    };
    let by_rows = rows > columns;
    let side = if by_rows { rows } else { columns };
    let step = side.div_ceil(pieces).next_multiple_of(GRAIN);
    if step >= side {
        // SAFETY: the caller's promise.
        return unsafe { piece_at(out.start, out.stride, old, scale, a, b) };
    }
    let out = Shared(out);
    (0..side.div_ceil(step)).into_par_iter().with_max_len(1).for_each(|piece| {
        let range = piece * step..side.min((piece + 1) * step);
        // SAFETY: pieces have no element in common, and windows stay inside what the caller promises.
        unsafe {
            if by_rows {
                let out = out.window(range.clone(), 0..columns);
                piece_at(out.start, out.stride, old, scale, a.window(range, 0..a.columns), b);
            } else {
                let out = out.window(0..rows, range.clone());
                piece_at(out.start, out.stride, old, scale, a, b.window(0..b.rows, range));
            }
        }
    });
}

/// One piece, by the calling thread.
///
/// # Safety
/// `start` has room for `a.rows` rows of `b.columns` values, `stride` apart, that nobody else touches meanwhile (and that
/// hold values, if old ones are to be added to); `a.columns` is `b.rows`; no side of the output is 0.
unsafe fn piece_at(start: *mut f32, stride: usize, old: Old, scale: f32, a: Matrix, b: Matrix) {
    // Strides inside a slice fit an isize, for so does the slice's size.
    let signed = |(row, column): (usize, usize)| (row as isize, column as isize);
    let ((a_row, a_column), (b_row, b_column)) = (signed(a.strides), signed(b.strides));
    // SAFETY: the caller's promise, and that `Matrix` lies inside its slice.
    unsafe {
        gemm::gemm(
            a.rows,
            b.columns,
            a.columns,
            start,
            1,
            stride as isize,
            old == Old::Added,
            a.values.as_ptr(),
            a_column,
            a_row,
            b.values.as_ptr(),
            b_column,
            b_row,
            1.0,
            scale,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(n: usize) -> Vec<f32> {
        (0..n).map(|i| ((i * 37 + 11) % 19) as f32 - 9.0).collect()
    }

    #[test]
    fn products_of_odd_shapes_equal_the_definition() {
        for (m, k, n) in [(1, 1, 1), (1, 5, 7), (3, 2, 1), (65, 33, 17), (2, 0, 3), (0, 4, 2)] {
            let (a, b) = (numbers(m * k), numbers(k * n));
            let cell = |c: usize| (0..k).map(|l| a[c / n * k + l] * b[l * n + c % n]).sum::<f32>();
            let expected: Vec<f32> = (0..m * n).map(cell).collect();
            let a = Matrix::strided(&a, (m, k), (k, 1));
            let b = Matrix::strided(&b, (k, n), (n, 1));
            assert_eq!(product(a, b, Threads::All), expected, "{m} x {k} x {n}");
            let turned = product(b.t(), a.t(), Threads::One);
            assert_eq!(turned.len(), m * n);
            assert!((0..m * n).all(|c| turned[c % n * m + c / n] == expected[c]), "{m} x {k} x {n}, turned");
        }
    }

    #[test]
    fn a_product_large_enough_to_be_split_is_the_same() {
        // Small whole numbers, so that every order of additions gives the same sum.
        for (m, k, n) in [(130, 60, 333), (333, 70, 130), (4000, 90, 3), (3, 90, 4000)] {
            assert!(m * k * n > WORTH_SPLITTING);
            let (a, b) = (numbers(m * k), numbers(k * n));
            let (a, b) = (Matrix::new(&a, k), Matrix::new(&b, n));
            let alone = product(a, b, Threads::One);
            assert_eq!(product(a, b, Threads::All), alone, "{m} x {k} x {n}");
            let mut twice = alone.clone();
            multiply(&mut MatrixMut::new(&mut twice, m, n), Old::Added, 1.0, a, b, Threads::All);
            assert!(twice.iter().zip(&alone).all(|(twice, once)| *twice == 2.0 * once), "{m} x {k} x {n}");
        }
    }

    #[test]
    fn a_product_may_be_added_to_a_window() {
        let mut values = vec![1.0; 12];
        let shared = Shared::new(&mut values, 4);
        let column = [2.0, 3.0];
        // SAFETY: the only window.
        let mut window = unsafe { shared.window(1..3, 1..2) };
        let (a, b) = (Matrix::new(&column, 1), Matrix::new(&[5.0], 1));
        multiply(&mut window, Old::Added, 2.0, a, b, Threads::One);
        assert_eq!(values, [1., 1., 1., 1., 1., 21., 1., 1., 1., 31., 1., 1.]);
    }

    #[test]
    #[should_panic(expected = "reaches outside")]
    fn a_matrix_never_reaches_outside_its_values() {
        Matrix::strided(&[0.0; 5], (2, 3), (3, 1));
    }

    #[test]
    #[should_panic(expected = "reaches outside")]
    fn a_window_never_reaches_outside_its_matrix() {
        Matrix::new(&[0.0; 6], 3).window(0..2, 1..4);
    }
}
