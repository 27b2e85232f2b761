//! `ingest --watch`: one ingest after another, whenever files change, until Ctrl-C.
//!
//! What goes wrong in a round is said, once, and the next round tries again: whoever watches a folder is not there to
//! start it anew. The collection is locked while a round runs and free in between.

use std::time::Duration;

use super::{Shown, line};
use crate::cli::interrupt::Interrupt;
use crate::cli::printer::Printer;
use crate::cli::{Ending, patient};
use crate::engine::ingest::{Ingest as Job, Summary};
use crate::engine::watch::{Pace, Wake, Watch};
use crate::error::{Error, Result};
use crate::index::Patience;

/// How long a round waits for another writer before it says so: Ctrl-C has to wait as long.
const WAIT: Duration = Duration::from_secs(5);
/// After a round that failed.
const RETRY: Duration = Duration::from_secs(5);

/// Ingests what `job` makes, told whether to build anew, and goes on with it until Ctrl-C, which ends it well.
///
/// # Errors
/// As the first ingest, and when stdout is closed.
pub fn watch<'a>(job: impl Fn(bool) -> Job<'a>, json: bool, printer: &Printer) -> Result<Ending> {
    let first = job(true);
    // Before anything is read: what changes meanwhile is a change.
    let mut watch = Watch::new(first.paths, first.home, Pace::default());
    let interrupt = Interrupt::watch().telling(super::stopping(*printer));
    let watched: Vec<String> = first.paths.iter().map(|path| format!("`{}`", path.display())).collect();
    let mut shown = Shown::new(&first, printer);
    let summary =
        shown.run(first, patient(&mut |holder| printer.waiting(holder)), &mut |_| interrupt.is_asked());
    match summary {
        Err(Error::Interrupted(_)) => return Ok(stopped(printer)),
        summary => say(&summary?, json, printer)?,
    }
    printer.note(format!("watching {}; Ctrl-C ends it", watched.join(", ")));
    let mut complaint: Option<String> = None;
    loop {
        if let Some(trouble) = watch.trouble() {
            printer.failed(&trouble);
        }
        let retry = complaint.as_ref().map(|_| RETRY);
        if watch.wait(retry, || interrupt.is_asked()) == Wake::Stopped {
            return Ok(stopped(printer));
        }
        let patience = Patience { limit: WAIT, ..Patience::default() };
        match shown.run(job(false), patience, &mut |_| interrupt.is_asked()) {
            Ok(summary) => {
                complaint = None;
                if summary.added + summary.updated + summary.removed > 0 {
                    say(&summary, json, printer)?;
                }
            }
            Err(Error::Interrupted(_)) => return Ok(stopped(printer)),
            Err(error) => {
                let text = error.to_string();
                // Who holds the collection, and for how long, differs each time it is said.
                let said = complaint.is_some_and(|said| said == text || matches!(error, Error::Busy(_)));
                if !said {
                    printer.error(&error);
                }
                complaint = Some(text);
            }
        }
    }
}

fn say(summary: &Summary, json: bool, printer: &Printer) -> Result<()> {
    if json { printer.json_line(summary) } else { printer.line(line(summary)) }
}

fn stopped(printer: &Printer) -> Ending {
    printer.note("stopped; what was finished is kept");
    Ending::Done
}
