//! What a person sees of a run.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use indicatif::ProgressBar;

use crate::bytes;
use crate::cli::printer::Printer;
use crate::engine::tune::{Done, Job, Progress, Skipped};
use crate::experiment::table::counted;
use crate::train::{Begun, Event, Step};

pub struct Follow<'a> {
    printer: &'a Printer,
    method: &'static str,
    classify: bool,
    bar: Option<ProgressBar>,
    /// The rate that is being tried.
    trying: Option<f64>,
    /// When something was last said, where nobody watches a bar.
    said: Instant,
}

/// How long a training may be silent where there is no bar to watch.
const SILENCE: Duration = Duration::from_secs(60);

impl<'a> Follow<'a> {
    pub fn new(printer: &'a Printer, job: &Job) -> Self {
        Self {
            printer,
            method: job.method.name(),
            classify: job.classify,
            bar: None,
            trying: None,
            said: Instant::now(),
        }
    }

    /// Shows it; breaks off where the person asked for that.
    pub fn hear(&mut self, progress: &Progress, stop: bool) -> ControlFlow<()> {
        match progress {
            Progress::LayingOut(at, of) => {
                let bar = self.bar.get_or_insert_with(|| self.printer.bar(*of as u64));
                bar.set_message("laying out");
                bar.set_position(*at as u64);
            }
            Progress::Referring(at, of) => {
                let bar = self.bar.get_or_insert_with(|| self.printer.bar(*of as u64));
                bar.set_message("asking the model as it is");
                bar.set_position(*at as u64);
            }
            Progress::Scaling(at, of) => {
                let bar = self.bar.get_or_insert_with(|| self.printer.bar(*of as u64));
                bar.set_message("scoring answers of the policy");
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
                let rows = counted(count, "row");
                self.printer
                    .note(format!("{}: {parameters} parameters{kept}, {rows}{held_out}", self.method));
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
                let rates = sweep.tries.iter().map(|one| one.learning_rate);
                if rates.fold(0.0, f64::max) == sweep.chosen {
                    self.printer
                        .note("  the highest of the three was the best: a higher one may be better still");
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
            Event::Step(Step { step, of, loss, tokens_per_second, eta, .. }) => {
                let text =
                    format!("{what} loss {loss:.4}  {tokens_per_second:.0} tok/s  {} left", time(*eta));
                let bar = self.bar.as_ref().filter(|bar| !bar.is_hidden());
                if let Some(bar) = bar {
                    bar.set_position(*step as u64);
                    bar.set_message(text);
                } else if self.said.elapsed() >= SILENCE {
                    self.said = Instant::now();
                    self.printer.note(format!("step {step} of {of}: {}", text.trim_start()));
                }
            }
            Event::Validated(validated) if what.is_empty() => {
                let best = if validated.best { "" } else { " (no better)" };
                let share =
                    ["accuracy", "rewards/accuracies"].iter().find_map(|name| validated.metrics.get(*name));
                let right = share.map_or(String::new(), |share| format!(", {:.1} % right", 100.0 * share));
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
        let Skipped { too_long, cut, not_found, equal, empty, alone } = *skipped;
        let cut_at = if self.classify { "end" } else { "beginning" };
        let notes = [
            (
                too_long,
                "left out, being too long: --max-length takes longer ones, as far as the model reads, --cut cuts prompts"
                    .to_owned(),
            ),
            (cut, format!("too long: the {cut_at} is cut off")),
            (not_found, "left out: no passage that was found says the answer".to_owned()),
            (equal, "left out: two of the answers are the same".to_owned()),
            (empty, "left out: an answer is empty".to_owned()),
            (alone, "left out: good or bad, without another of the same prompt to compare with".to_owned()),
        ];
        for (count, what) in notes {
            if count > 0 {
                self.printer.note(format!("{} {what}", counted(count, "row")));
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
            "{} in {}: loss {}{held_out}; {speed:.0} tok/s, {} at most in memory, {} on disk",
            counted(done.steps, "step"),
            time(done.seconds),
            loss(done.loss),
            peak_memory().map_or("?".to_owned(), bytes::size),
            bytes::size(size)
        ));
    }
}

/// `75` as `1 min 15 s`.
pub fn time(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..60 => format!("{whole} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

/// Seconds that cores worked for this process, where the system says: all of them together.
pub fn core_seconds() -> Option<f64> {
    // The kernel counts for programs in hundredths of a second.
    const TICKS: f64 = 100.0;
    let status = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name in brackets may hold anything.
    let mut fields = status.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<f64>().ok();
    Some((next()? + next()?) / TICKS)
}

/// Bytes of main memory that this process had at most, where the system says.
pub fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes * 1024)
}
