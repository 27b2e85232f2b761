//! What a run leaves beside its checkpoint.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use serde_json::{Value, json};

use super::run::Held;
use crate::error::{Error, IoContext, Result};
use crate::files;
use crate::rlhf::online::Speed;
use crate::train::Metrics;

/// What happened in each update, a line each, and answers that were drawn.
const METRICS: &str = "metrics.jsonl";
const SAMPLES: &str = "samples.jsonl";

/// How the policy did before the first update.
const BEFORE: &str = "before.json";

/// The files.
pub struct Log<'a> {
    folder: &'a Path,
}

impl<'a> Log<'a> {
    /// Keeps what was written of the first `done` updates: what came after the last checkpoint is done again.
    pub fn open(folder: &'a Path, done: usize) -> Result<Self> {
        for name in [METRICS, SAMPLES] {
            let path = folder.join(name);
            let text = match done > 0 && path.exists() {
                true => std::fs::read_to_string(&path).at("read", &path)?,
                false => String::new(),
            };
            let kept = |line: &&str| {
                let parsed: Option<Value> = serde_json::from_str(line).ok();
                parsed.and_then(|line| line["update"].as_u64()).is_some_and(|update| update as usize <= done)
            };
            let kept: String = text.lines().filter(kept).map(|line| format!("{line}\n")).collect();
            files::replace(&path, kept.as_bytes())?;
        }
        Ok(Self { folder })
    }

    pub fn write(&self, update: usize, metrics: &Metrics, speed: Speed, samples: &[Value]) -> Result<()> {
        let lines = json!({ "update": update, "metrics": metrics, "speed": speed }).to_string() + "\n";
        self.append(METRICS, &lines)?;
        let lines: String = samples
            .iter()
            .map(|sample| format!("{}\n", json!({ "update": update, "sample": sample })))
            .collect();
        self.append(SAMPLES, &lines)
    }

    /// Remembers how the policy did before the first update, for whoever goes on with the run.
    ///
    /// # Errors
    /// `Io`.
    pub fn begin(&self, held: Option<&Held>) -> Result<()> {
        files::replace(&self.folder.join(BEFORE), &serde_json::to_vec(&held).unwrap_or_default())
    }

    /// How it did then; `None` where nobody looked.
    ///
    /// # Errors
    /// `Io`, and `Corrupt` for a file that is damaged.
    pub fn began(&self) -> Result<Option<Held>> {
        let path = self.folder.join(BEFORE);
        if !path.exists() {
            return Ok(None);
        }
        serde_json::from_slice(&std::fs::read(&path).at("read", &path)?).map_err(|error| {
            Error::corrupt(format!("`{}`: {error}", path.display()))
                .hint("remove it: it only tells how the run began")
        })
    }

    fn append(&self, name: &str, lines: &str) -> Result<()> {
        let path = self.folder.join(name);
        let mut file = OpenOptions::new().append(true).create(true).open(&path).at("open", &path)?;
        file.write_all(lines.as_bytes()).at("write", &path)
    }
}
