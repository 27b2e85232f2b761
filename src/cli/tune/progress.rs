//! What a person sees of a run.

use std::ops::ControlFlow;

use indicatif::ProgressBar;

use crate::bytes;
use crate::cli::printer::Printer;
use crate::engine::tune::{Done, Job, Progress, Skipped};
use crate::train::{Begun, Event, Step};

pub struct Follow<'a> {
    printer: &'a Printer,
    method: &'static str,
    bar: Option<ProgressBar>,
    /// The rate that is being tried.
    trying: Option<f64>,
}

impl<'a> Follow<'a> {
    pub fn new(printer: &'a Printer, job: &Job) -> Self {
        Self { printer, method: job.method.name(), bar: None, trying: None }
    }

    /// Shows it; breaks off where the person asked for that.
    pub fn hear(&mut self, progress: &Progress, stop: bool) -> ControlFlow<()> {
        match progress {
            Progress::LayingOut(at, of) => {
                let bar = self.bar.get_or_insert_with(|| self.printer.bar(*of as u64));
                bar.set_message("laying out");
                bar.set_position(*at as u64);
            }
            Progress::Ready { rows, skipped, parameters, stored } => {
                self.finish();
                self.say_skipped(skipped);
                let held_out = match rows.validation().len() {
                    0 => String::new(),
                    count => format!(", {count} held out"),
                };
                let kept = if parameters == stored { String::new() } else { format!(" ({stored} are kept)") };
                let count = rows.training().len();
                self.printer
                    .note(format!("{}: {parameters} parameters{kept}, {count} rows{held_out}", self.method));
            }
            Progress::Trying(rate, event) => {
                if self.trying != Some(*rate) {
                    self.finish();
                    self.trying = Some(*rate);
                }
                self.event(event, &format!("trying {rate:.1e}"));
            }
            Progress::Swept(sweep) => {
                self.finish();
                for one in &sweep.tries {
                    let loss =
                        |loss: Option<f64>| loss.map_or("no number".to_owned(), |loss| format!("{loss:.4}"));
                    let held_out =
                        one.validation.map_or(String::new(), |held| format!(", held out {held:.4}"));
                    let mark = if one.learning_rate == sweep.chosen { "  <- chosen" } else { "" };
                    let text =
                        format!("  rate {:.1e}: loss {}{held_out}{mark}", one.learning_rate, loss(one.loss));
                    self.printer.note(text);
                }
            }
            Progress::Training(event) => self.event(event, ""),
        }
        if stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn event(&mut self, event: &Event, what: &str) {
        match event {
            Event::Begun(Begun { step, of, .. }) => {
                let bar = self.printer.bar(*of as u64);
                bar.set_position(*step as u64);
                self.bar = Some(bar);
                if *step > 0 {
                    self.printer.note(format!("going on behind step {step} of {of}"));
                }
            }
            Event::Step(Step { step, loss, tokens_per_second, eta, .. }) => {
                if let Some(bar) = &self.bar {
                    bar.set_position(*step as u64);
                    bar.set_message(format!(
                        "{what} loss {loss:.4}  {tokens_per_second:.0} tok/s  {} left",
                        time(*eta)
                    ));
                }
            }
            Event::Validated(validated) if what.is_empty() => {
                let best = if validated.best { "" } else { " (no better)" };
                let right = validated
                    .accuracy
                    .map_or(String::new(), |share| format!(", {:.1} % right", 100.0 * share));
                let text = format!(
                    "step {}: loss {:.4} on rows held out{right}{best}",
                    validated.step, validated.loss
                );
                match &self.bar {
                    Some(bar) => bar.suspend(|| self.printer.note(&text)),
                    None => self.printer.note(text),
                }
            }
            Event::Skipped { step, why } => self.printer.note(format!("step {step} trains nothing: {why}")),
            _ => {}
        }
    }

    fn say_skipped(&self, skipped: &Skipped) {
        let Skipped { too_long, cut, not_found } = *skipped;
        for (count, what) in [
            (
                too_long,
                "rows are too long and left out; --max-length takes longer ones, --cut cuts their prompts",
            ),
            (cut, "prompts are too long and lose their beginning"),
            (not_found, "rows are left out: no passage that was found says their answer"),
        ] {
            if count > 0 {
                self.printer.note(format!("{count} {what}"));
            }
        }
    }

    pub fn finish(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    /// What came of it.
    pub fn summary(&self, done: &Done, size: u64) {
        let loss = |loss: Option<f64>| loss.map_or("-".to_owned(), |loss| format!("{loss:.4}"));
        let held_out =
            done.validation_loss.map_or(String::new(), |held| format!(", {held:.4} on rows held out"));
        let speed = done.tokens as f64 / done.seconds.max(1e-9);
        self.printer.note(format!(
            "{} steps in {}: loss {}{held_out}; {speed:.0} tok/s, {} at most in memory, {} on disk",
            done.steps,
            time(done.seconds),
            loss(done.loss),
            peak_memory().map_or("?".to_owned(), bytes::size),
            bytes::size(size)
        ));
    }
}

/// `75` as `1 min 15 s`.
fn time(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..60 => format!("{whole} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

/// Bytes of main memory that this process had at most, where the system says.
pub fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes * 1024)
}
