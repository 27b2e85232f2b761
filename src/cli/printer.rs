//! Data on stdout, words for people on stderr.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::wrap;
use crate::error::{Error, Result};
use crate::index::Holder;

#[derive(Clone, Copy)]
pub struct Printer {
    quiet: bool,
    /// Whether a person watches stderr.
    watched: bool,
}

impl Printer {
    pub fn new(quiet: bool) -> Self {
        Self { quiet, watched: std::io::stderr().is_terminal() }
    }

    /// A line of data.
    ///
    /// # Errors
    /// `Io` when stdout is closed.
    pub fn line(&self, text: impl AsRef<str>) -> Result<()> {
        self.data(&format!("{}\n", text.as_ref()))
    }

    /// A line of data in words: between them it breaks at the edge of the terminal, if it goes to one, and goes on behind
    /// `indent`.
    ///
    /// # Errors
    /// `Io` when stdout is closed.
    pub fn prose(&self, text: &str, indent: &str) -> Result<()> {
        match wrap::columns() {
            Some(columns) => self.line(wrap::wrap(text, columns, indent)),
            None => self.line(text),
        }
    }

    /// Data as it comes, without a line end.
    pub fn data(&self, text: &str) -> Result<()> {
        let mut stdout = std::io::stdout().lock();
        let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
        written.map_err(|e| Error::io("cannot write to stdout", e))
    }

    pub fn json(&self, value: &impl serde::Serialize) -> Result<()> {
        let text = serde_json::to_string_pretty(value)
            .map_err(|e| Error::invalid(format!("cannot write JSON: {e}")))?;
        self.line(text)
    }

    /// JSON on one line, for results that come one after another.
    pub fn json_line(&self, value: &impl serde::Serialize) -> Result<()> {
        let text =
            serde_json::to_string(value).map_err(|e| Error::invalid(format!("cannot write JSON: {e}")))?;
        self.line(text)
    }

    /// A remark made in passing: dimmed where a person watches.
    pub fn aside(&self, text: &str) {
        match self.watched {
            true => self.note(format!("\x1b[2m{}\x1b[0m", super::tidy(text))),
            false => self.note(super::tidy(text)),
        }
    }

    /// What was typed, before what it brings about, so that a transcript can be read. It is data: nobody's terminal has it.
    ///
    /// # Errors
    /// `Io` when stdout is closed.
    pub fn echo(&self, typed: &str) -> Result<()> {
        if self.quiet { Ok(()) } else { self.line(format!("> {}", super::tidy(typed))) }
    }

    /// A remark for the person; not part of the result.
    pub fn note(&self, text: impl AsRef<str>) {
        if !self.quiet {
            say(text.as_ref());
        }
    }

    /// What was asked to be shown and is no result.
    pub fn requested(&self, text: &str) {
        say(&super::tidy(text));
    }

    /// Names whoever holds what we wait for.
    pub fn waiting(&self, holder: Option<&Holder>) {
        match holder {
            Some(holder) => self.note(format!("waiting for {holder} to finish with the collection")),
            None => self.note("waiting for another process to finish with the collection"),
        }
    }

    pub fn error(&self, error: &Error) {
        complain("error", error);
    }

    /// Something that went wrong and did not stop the rest.
    pub fn failed(&self, error: &Error) {
        complain("failed", error);
    }

    /// Whether answers may be shown as they grow.
    pub fn streams(&self) -> bool {
        std::io::stdout().is_terminal()
    }

    /// Text of a model as it writes, before it is checked: dimmed, on stderr if a person watches.
    pub fn draft(&self, text: &str) -> Result<()> {
        if !self.watched || self.quiet {
            return Ok(());
        }
        let mut stderr = std::io::stderr().lock();
        let written = write!(stderr, "\x1b[2m{}\x1b[0m", super::tidy(text)).and_then(|()| stderr.flush());
        written.map_err(|e| Error::io("cannot write to stderr", e))
    }

    pub fn end_draft(&self) {
        if self.watched && !self.quiet {
            say("\n");
        }
    }

    /// A bar over bytes with rate and time left; draws nothing unless a person watches.
    pub fn bar(&self, total: u64) -> ProgressBar {
        let bar = ProgressBar::with_draw_target(Some(total), self.target());
        let template = "{msg} [{bar:30}] {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} {eta}";
        // The template is ours and constant; a wrong one would fall back to the plain style.
        bar.set_style(
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        bar.enable_steady_tick(Duration::from_millis(200));
        bar
    }

    /// Something that turns, with a message, while nobody knows how long it takes; draws nothing unless a person watches.
    pub fn spinner(&self) -> ProgressBar {
        let spinner = ProgressBar::with_draw_target(None, self.target());
        spinner.enable_steady_tick(Duration::from_millis(200));
        spinner
    }

    fn target(&self) -> ProgressDrawTarget {
        if self.watched && !self.quiet { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() }
    }
}

/// A line on stderr. When that is closed or full, there is nobody to tell.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

fn complain(how: &str, error: &Error) {
    // A file name or a model's own words may be part of it.
    say(&format!("{how}: {}", super::tidy(&error.to_string())));
    if let Some(hint) = error.advice() {
        say(&format!("hint: {}", super::tidy(hint).replace('\n', "\n      ")));
    }
}
