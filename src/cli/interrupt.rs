//! Ctrl-C as a question: asked once, the work stops at its next safe place; asked twice, at once.
//!
//! Outside of such work Ctrl-C ends the process as it always does. An index survives that too; what is won by asking is a
//! word on where things stand.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use signal_hook::consts::SIGINT;
use signal_hook::flag;

/// Watches for Ctrl-C until dropped.
pub struct Interrupt {
    asked: Arc<AtomicBool>,
    /// While set, Ctrl-C does what it does by default: a handler once set cannot be taken away.
    idle: Arc<AtomicBool>,
}

impl Interrupt {
    pub fn watch() -> Self {
        let (asked, idle) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        // In this order: by default, or the second time, or the first. Where there are no signals, nothing is asked.
        let _ = flag::register_conditional_default(SIGINT, idle.clone());
        let _ = flag::register_conditional_shutdown(SIGINT, 130, asked.clone());
        let _ = flag::register(SIGINT, asked.clone());
        Self { asked, idle }
    }

    /// For work that comes in pieces, one after another: it begins at rest, and while it works Ctrl-C never ends the
    /// process, however often it is pressed.
    pub fn at_rest() -> Self {
        let (asked, idle) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(true)));
        let _ = flag::register_conditional_default(SIGINT, idle.clone());
        let _ = flag::register(SIGINT, asked.clone());
        Self { asked, idle }
    }

    /// A piece of work begins: from here on Ctrl-C asks it to stop.
    pub fn work(&self) {
        self.asked.store(false, Ordering::Relaxed);
        self.idle.store(false, Ordering::Relaxed);
    }

    /// It is over: Ctrl-C does what it always does.
    pub fn rest(&self) {
        self.idle.store(true, Ordering::Relaxed);
    }

    /// Calls `notice` when Ctrl-C was pressed and the work still goes on a second later: a slow server can keep it from its
    /// next safe place for minutes.
    pub fn telling(self, notice: impl FnOnce() + Send + 'static) -> Self {
        let (asked, idle) = (self.asked.clone(), self.idle.clone());
        thread::spawn(move || {
            while !idle.load(Ordering::Relaxed) {
                let waited = asked.load(Ordering::Relaxed);
                thread::sleep(Duration::from_secs(1));
                if waited && !idle.load(Ordering::Relaxed) {
                    return notice();
                }
            }
        });
        self
    }

    /// Whether somebody pressed Ctrl-C since.
    pub fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Drop for Interrupt {
    fn drop(&mut self) {
        self.idle.store(true, Ordering::Relaxed);
    }
}
