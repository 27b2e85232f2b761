//! What a run says of itself, and the log it leaves: one event a line.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::objective::Metrics;
use crate::error::{IoContext, Result};
use crate::files;
use crate::text::records::Source;

/// Something that happened. Steps count from 1: `step` is how many are done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Event {
    Begun(Begun),
    Step(Step),
    /// A step moved nothing, because its loss or its gradient was no number.
    Skipped {
        step: usize,
        why: String,
    },
    /// Piece `done` of `of` of a validation comes next. Not in the log.
    Validating {
        step: usize,
        done: usize,
        of: usize,
    },
    Validated(Validated),
    /// A checkpoint holds the first `step` steps.
    Saved {
        step: usize,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Begun {
    /// More than 0 where a run goes on.
    pub step: usize,
    pub of: usize,
    pub rows: usize,
    pub validation_rows: usize,
    /// What the rows to train on hold, and what of it is learned from.
    pub tokens: usize,
    pub targets: usize,
    /// Values that are trained.
    pub parameters: usize,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    pub step: usize,
    pub of: usize,
    /// Epochs done, as a fraction.
    pub epoch: f64,
    /// The mean over the step's targets, before its update.
    pub loss: f64,
    pub learning_rate: f64,
    /// As of [`Validated`].
    #[serde(default, skip_serializing_if = "Metrics::is_empty")]
    pub metrics: Metrics,
    /// Before clipping.
    pub gradient_norm: f64,
    /// Read in this step.
    pub tokens: usize,
    /// Since this process began to train, without validations.
    pub tokens_per_second: f64,
    /// Seconds that the steps to come take at this speed.
    pub eta: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Validated {
    pub step: usize,
    /// The mean over all targets of the rows held out.
    pub loss: f64,
    /// Means of what the objective knows beside its loss: `accuracy`, where rows have classes.
    #[serde(default, skip_serializing_if = "Metrics::is_empty")]
    pub metrics: Metrics,
    /// Whether it is the best so far.
    pub best: bool,
}

impl Event {
    pub fn step(&self) -> usize {
        match self {
            Self::Begun(Begun { step, .. })
            | Self::Step(Step { step, .. })
            | Self::Skipped { step, .. }
            | Self::Validating { step, .. }
            | Self::Validated(Validated { step, .. })
            | Self::Saved { step } => *step,
        }
    }
}

/// The log of a run, or of none.
pub struct Log {
    file: Option<(PathBuf, File)>,
}

/// Its name in the run's folder.
pub const LOG: &str = "log.jsonl";

impl Log {
    /// In `folder`, keeping what an earlier process wrote of the first `done` steps: what it did after its last checkpoint is
    /// done again.
    pub fn open(folder: Option<&Path>, done: usize) -> Result<Self> {
        let Some(folder) = folder else { return Ok(Self { file: None }) };
        let path = folder.join(LOG);
        let mut kept = String::new();
        if done > 0 && path.exists() {
            for event in events(&path)?.iter().filter(|event| event.step() <= done) {
                kept.push_str(&line(event));
            }
        }
        files::replace(&path, kept.as_bytes())?;
        let file = OpenOptions::new().append(true).open(&path).at("open", &path)?;
        Ok(Self { file: Some((path, file)) })
    }

    pub fn write(&mut self, event: &Event) -> Result<()> {
        match &mut self.file {
            Some((path, file)) if !matches!(event, Event::Validating { .. }) => {
                file.write_all(line(event).as_bytes()).at("write", path)
            }
            _ => Ok(()),
        }
    }
}

fn line(event: &Event) -> String {
    // Nothing in an event can fail to be written as JSON; numbers that are none become `null`.
    serde_json::to_string(event).unwrap_or_default() + "\n"
}

/// The events of a log. A line that a killed process wrote half of is left out.
///
/// # Errors
/// `Io` when it cannot be read.
pub fn events(path: &Path) -> Result<Vec<Event>> {
    let source = Source::read(path)?;
    Ok(source.lines().filter_map(|(_, line)| serde_json::from_str(line).ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_goes_on_behind_what_the_checkpoint_holds() {
        let folder = tempfile::tempdir().unwrap();
        let saved = |step| Event::Saved { step };
        let mut log = Log::open(Some(folder.path()), 0).unwrap();
        for step in 1..=3 {
            log.write(&saved(step)).unwrap();
        }
        log.write(&Event::Validating { step: 3, done: 0, of: 1 }).unwrap();
        let path = folder.path().join(LOG);
        // As a process leaves it that was killed while it wrote.
        let mut text = std::fs::read_to_string(&path).unwrap();
        text.push_str("{\"event\":\"sa");
        std::fs::write(&path, text).unwrap();
        let mut log = Log::open(Some(folder.path()), 2).unwrap();
        log.write(&saved(5)).unwrap();
        assert_eq!(events(&path).unwrap(), [saved(1), saved(2), saved(5)]);
        Log::open(Some(folder.path()), 0).unwrap();
        assert_eq!(events(&path).unwrap(), []);
    }

    #[test]
    fn an_event_is_one_flat_line() {
        let validated =
            Event::Validated(Validated { step: 2, loss: 0.5, metrics: Metrics::new(), best: true });
        let text = line(&validated);
        assert_eq!(text, "{\"event\":\"validated\",\"step\":2,\"loss\":0.5,\"best\":true}\n");
        assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), validated);
    }
}
