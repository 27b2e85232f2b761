//! Work that Ctrl-C can leave behind, whatever it is waiting for.
//!
//! It runs on a thread of its own and reports what happens; this one looks at Ctrl-C several times a second. Work that
//! was left is told so when it next reports, and ends there; a server that says nothing is waited for by nobody.

use std::ops::ControlFlow;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use super::typed_ahead::TypedAhead;
use crate::cli::interrupt::Interrupt;
use crate::error::{Error, Result};

/// How long Ctrl-C may go unnoticed.
const LOOK: Duration = Duration::from_millis(50);
/// As the main thread has.
const STACK: usize = 8 << 20;

/// Where work reports to.
pub struct Teller<E> {
    tell: Box<dyn Fn(E) + Send>,
    left: Arc<AtomicBool>,
}

impl<E> Teller<E> {
    /// Reports `event`; breaking means that nobody waits any more.
    pub fn tell(&self, event: E) -> ControlFlow<()> {
        (self.tell)(event);
        self.go_on()
    }

    /// Whether somebody waits still.
    pub fn go_on(&self) -> ControlFlow<()> {
        match self.left.load(Ordering::Relaxed) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }
}

enum News<E, T> {
    Event(E),
    Done(T),
}

/// What `job` comes to, `on_event` being told how it goes; `None` when Ctrl-C was pressed first.
///
/// # Errors
/// Whatever `on_event` fails with, which ends it too; `Io` when there is no thread to be had.
pub fn run<E: Send + 'static, T: Send + 'static>(
    interrupt: &Interrupt,
    job: impl FnOnce(&Teller<E>) -> T + Send + 'static,
    mut on_event: impl FnMut(E) -> Result<()>,
) -> Result<Option<T>> {
    let (sender, receiver) = mpsc::channel();
    let left = Arc::new(AtomicBool::new(false));
    let teller = teller(sender.clone(), &left);
    interrupt.work();
    let _kept = TypedAhead::keep();
    let worker = thread::Builder::new().name("turn".to_owned()).stack_size(STACK).spawn(move || {
        let done = job(&teller);
        // Nobody may be there to hear it.
        let _ = sender.send(News::Done(done));
    });
    let worker = worker.map_err(|error| Error::io("cannot start a thread", error))?;
    let outcome = loop {
        match receiver.recv_timeout(LOOK) {
            Ok(News::Event(event)) => {
                if let Err(error) = on_event(event) {
                    break Err(error);
                }
            }
            Ok(News::Done(done)) => break Ok(Some(done)),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => match worker.join() {
                Err(panic) => resume_unwind(panic),
                Ok(()) => break Ok(None),
            },
        }
        if interrupt.is_asked() {
            break Ok(None);
        }
    };
    left.store(true, Ordering::Relaxed);
    interrupt.rest();
    outcome
}

fn teller<E: Send + 'static, T: Send + 'static>(
    sender: Sender<News<E, T>>,
    left: &Arc<AtomicBool>,
) -> Teller<E> {
    let tell = move |event| {
        let _ = sender.send(News::Event(event));
    };
    Teller { tell: Box::new(tell), left: Arc::clone(left) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_in_order_and_then_the_outcome() {
        let mut seen = Vec::new();
        let job = |teller: &Teller<usize>| {
            (0..100).for_each(|n| assert!(teller.tell(n).is_continue()));
            "done"
        };
        let done = run(&Interrupt::at_rest(), job, |n| {
            seen.push(n);
            Ok(())
        });
        assert_eq!((done.unwrap(), seen), (Some("done"), (0..100).collect()));
    }

    #[test]
    fn a_listener_that_fails_ends_the_waiting_and_the_work_hears_of_it() {
        let (sender, receiver) = mpsc::channel();
        let job = move |teller: &Teller<()>| {
            while teller.tell(()).is_continue() {
                thread::sleep(Duration::from_millis(1));
            }
            let _ = sender.send("left");
        };
        let failed = run(&Interrupt::at_rest(), job, |()| Err(Error::invalid("enough")));
        assert_eq!(failed.unwrap_err().to_string(), "enough");
        assert_eq!(receiver.recv_timeout(Duration::from_secs(10)), Ok("left"));
    }
}
