//! Threads to train on. Autograd walks its graph by recursion, and a deep model's graph is deeper than the stack that threads
//! usually get; and whoever asks a pool for help from outside has to wake it for every product.

use std::ops::ControlFlow;
use std::sync::mpsc;

use crate::error::{Error, Result};

/// Bytes; used only as far as the recursion goes.
const STACK: usize = 256 << 20;

/// Runs `work` on a thread of a pool whose stacks are big. What it reports is heard, and answered, on the caller's thread.
///
/// # Errors
/// Those of `work`; `Io` when there are no threads to be had.
pub fn on_big_stack<E: Send, R: Send>(
    on: &mut dyn FnMut(E) -> ControlFlow<()>,
    work: impl FnOnce(&mut dyn FnMut(E) -> ControlFlow<()>) -> Result<R> + Send,
) -> Result<R> {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(rayon::current_num_threads())
        .thread_name(|number| format!("train-{number}"))
        .stack_size(STACK)
        .build()
        .map_err(|error| Error::io("cannot start threads", std::io::Error::other(error)))?;
    let (reports, heard) = mpsc::sync_channel(0);
    let (answers, answered) = mpsc::channel();
    let mut outcome = None;
    pool.in_place_scope(|scope| {
        let outcome = &mut outcome;
        scope.spawn(move |_| {
            let mut report = move |event| match reports.send(event) {
                Ok(()) => answered.recv().unwrap_or(ControlFlow::Break(())),
                Err(_) => ControlFlow::Break(()),
            };
            *outcome = Some(work(&mut report));
        });
        for event in heard {
            // A worker that is gone needs no answer.
            let _ = answers.send(on(event));
        }
    });
    outcome.unwrap_or_else(|| Err(Error::invalid("the training ended without an outcome")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_answered_on_the_caller_s_thread_and_recursion_goes_deep() {
        fn depth(n: u64) -> u64 {
            std::hint::black_box([n; 64]);
            if n == 0 { 0 } else { 1 + std::hint::black_box(depth(n - 1)) }
        }
        let here = std::thread::current().id();
        let mut heard = Vec::new();
        let deep = on_big_stack(
            &mut |n: u64| {
                assert_eq!(std::thread::current().id(), here);
                heard.push(n);
                if n == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            },
            |report| {
                assert_ne!(std::thread::current().id(), here);
                let mut n = 0;
                while report(n).is_continue() {
                    n += 1;
                }
                Ok(depth(100_000))
            },
        );
        assert_eq!((deep.unwrap(), heard), (100_000, vec![0, 1, 2, 3]));
    }

    #[test]
    fn an_error_comes_back() {
        let failed = on_big_stack(&mut |(): ()| ControlFlow::Continue(()), |_| -> Result<()> {
            Err(Error::invalid("no"))
        });
        assert_eq!(failed.unwrap_err().to_string(), "no");
    }
}
