//! Rows shared among the threads of one rayon pool, or not shared at all.
//!
//! There are two ways to keep cores busy: many threads on one matrix, or one matrix a thread. The second wins as soon as
//! there are several independent inputs, for nobody waits at the end of each operation; but then nothing inside may split
//! again. [`sequential`] says so to every kernel below it on the stack.

use std::cell::Cell;
use std::thread::LocalKey;

use rayon::prelude::*;

thread_local! {
    static SEQUENTIAL: Cell<bool> = const { Cell::new(false) };
}

/// Runs `f` with every kernel on this thread alone: for callers that run several such on threads of their own.
pub fn sequential<R>(f: impl FnOnce() -> R) -> R {
    with_switch(&SEQUENTIAL, f)
}

/// Runs `f` with `switch` on.
pub fn with_switch<R>(switch: &'static LocalKey<Cell<bool>>, f: impl FnOnce() -> R) -> R {
    /// Puts the switch back even when `f` panics.
    struct Before(&'static LocalKey<Cell<bool>>, bool);
    impl Drop for Before {
        fn drop(&mut self) {
            self.0.set(self.1);
        }
    }
    let _before = Before(switch, switch.replace(true));
    f()
}

/// Whether kernels may use other threads here.
pub fn may_split() -> bool {
    !SEQUENTIAL.get() && rayon::current_num_threads() > 1
}

/// Values below which handing work to another thread costs more than it brings.
const WORTH_SPLITTING: usize = 16 * 1024;

/// Rows a task should hold, for rows of `width` values.
pub fn rows_a_task(rows: usize, width: usize) -> usize {
    if !may_split() || rows * width < 2 * WORTH_SPLITTING {
        return rows.max(1);
    }
    rows.div_ceil(4 * rayon::current_num_threads()).max(WORTH_SPLITTING / width.max(1)).max(1)
}

/// Calls `f(row, out)` for each row of `width` values of `out`.
pub fn for_rows(out: &mut [f32], width: usize, f: impl Fn(usize, &mut [f32]) + Sync) {
    if width == 0 {
        return;
    }
    let rows = out.len() / width;
    let task = rows_a_task(rows, width);
    let run = |(start, out): (usize, &mut [f32])| {
        for (i, out) in out.chunks_exact_mut(width).enumerate() {
            f(start * task + i, out);
        }
    };
    if task >= rows {
        run((0, out));
    } else {
        out.par_chunks_mut(task * width).enumerate().for_each(run);
    }
}

/// Values handed to a loop at a time where there are no rows: this only bounds how finely elementwise work splits.
pub const PIECE: usize = 1024;

/// Calls `f(start, piece)` for consecutive pieces of `out`.
pub fn for_pieces(out: &mut [f32], f: impl Fn(usize, &mut [f32]) + Sync) {
    let whole = out.len() - out.len() % PIECE;
    let (pieces, rest) = out.split_at_mut(whole);
    for_rows(pieces, PIECE, |i, piece| f(i * PIECE, piece));
    f(whole, rest);
}

/// Like [`for_rows`] with two outputs, each with rows of its own width.
pub fn for_row_pairs(
    (a, a_width): (&mut [f32], usize),
    (b, b_width): (&mut [f32], usize),
    f: impl Fn(usize, &mut [f32], &mut [f32]) + Sync,
) {
    if a_width == 0 || b_width == 0 {
        return;
    }
    let rows = a.len() / a_width;
    let task = rows_a_task(rows, a_width);
    let run = |(start, (a, b)): (usize, (&mut [f32], &mut [f32]))| {
        for (i, (a, b)) in a.chunks_exact_mut(a_width).zip(b.chunks_exact_mut(b_width)).enumerate() {
            f(start * task + i, a, b);
        }
    };
    if task >= rows {
        run((0, (a, b)));
    } else {
        a.par_chunks_mut(task * a_width).zip(b.par_chunks_mut(task * b_width)).enumerate().for_each(run);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_visited_once_split_or_not() {
        for (rows, width) in [(0, 3), (1, 1), (7, 3), (4000, 33)] {
            let expected: Vec<f32> = (0..rows * width).map(|i| (i / width) as f32 + 1.0).collect();
            let visit = || {
                let mut out = vec![0.0; rows * width];
                for_rows(&mut out, width, |row, out| out.iter_mut().for_each(|x| *x += row as f32 + 1.0));
                out
            };
            assert_eq!(visit(), expected);
            assert_eq!(sequential(visit), expected);
        }
    }

    #[test]
    fn the_switch_is_put_back() {
        let before = may_split();
        sequential(|| {
            assert!(!may_split());
            sequential(|| {});
            assert!(!may_split());
        });
        let _ = std::panic::catch_unwind(|| sequential(|| panic!("on purpose")));
        assert_eq!(may_split(), before);
    }
}
