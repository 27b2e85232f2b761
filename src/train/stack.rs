//! Training on a thread of its own: autograd walks its graph by recursion, and a deep model's graph is deeper than the stack
//! that threads usually get.

use std::ops::ControlFlow;
use std::sync::mpsc;

use crate::error::{Error, Result};

/// Bytes; used only as far as the recursion goes.
const STACK: usize = 256 << 20;

/// Runs `work` on a thread with a big stack. What it reports is heard, and answered, on the caller's thread.
///
/// # Errors
/// Those of `work`; `Io` when there is no thread to be had.
pub fn on_big_stack<E: Send, R: Send>(
    on: &mut dyn FnMut(E) -> ControlFlow<()>,
    work: impl FnOnce(&mut dyn FnMut(E) -> ControlFlow<()>) -> Result<R> + Send,
) -> Result<R> {
    std::thread::scope(|scope| {
        let (reports, heard) = mpsc::sync_channel(0);
        let (answers, answered) = mpsc::channel();
        let report = move |event| match reports.send(event) {
            Ok(()) => answered.recv().unwrap_or(ControlFlow::Break(())),
            Err(_) => ControlFlow::Break(()),
        };
        let thread = std::thread::Builder::new().name("train".into()).stack_size(STACK);
        let worker = thread
            .spawn_scoped(scope, move || {
                let mut report = report;
                work(&mut report)
            })
            .map_err(|error| Error::io("cannot start a thread", error))?;
        for event in heard {
            // A worker that is gone needs no answer.
            let _ = answers.send(on(event));
        }
        worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
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
