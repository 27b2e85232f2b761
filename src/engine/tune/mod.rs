//! Examples -> an adapter: which method, on which model, on which rows, and where it is kept.
//!
//! A [`Job`] says all that decides a run and nothing else. It lies beside what comes of it, so that the run can be gone on with
//! after an interruption, and done again. Rows come from a person's file as it is, or are laid out by the prompt builder that
//! asks (`rows`), so that what is trained is what is asked. How a run goes is `train`'s; what a method is, `adapters`'.

mod compile;
mod defaults;
mod rows;
mod run;

pub use compile::{Compiled, compile};
pub use defaults::{learning_rate, train_config};
pub use rows::{Documents, Laid, Skipped, Source, plain, shown_turns, templated};
pub use run::{Done, Progress, Tuning, run};

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::adapters::AdapterConfig;
use crate::error::{Error, IoContext, Result};
use crate::files;
use crate::models::Selection;
use crate::text::example::Columns;
use crate::train::TrainConfig;

/// All that decides a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Of incontext.
    pub version: String,
    /// As the person named it.
    pub model: String,
    /// Of its weights.
    pub base_fingerprint: String,
    pub method: Method,
    /// A head that tells classes apart is trained, on its own or with the method, instead of what is written.
    pub classify: bool,
    pub data: Data,
    /// Rows are laid out by this template, as asking with it lays them out.
    pub template: Option<String>,
    /// What virtual tokens begin as.
    pub init_text: Option<String>,
    /// The prefix begins as a prompt that shows these examples.
    pub init_demos: Option<PathBuf>,
    pub train: TrainConfig,
    /// Three rates are tried first.
    pub sweep: bool,
    /// LoRA+: `B` is trained so many times as fast as `A` (Hayou et al. 2024, arXiv 2402.12354).
    pub lora_plus: f64,
}

/// What is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Method {
    /// Something beside the weights.
    Adapter(AdapterConfig),
    /// Weights of the model itself; copies of them, so that the model stays as it is.
    Weights(Selection),
}

impl Method {
    /// As it is called in commands.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Adapter(config) => config.name(),
            Self::Weights(selection) => selection.name(),
        }
    }

    /// The model's own weights that are trained.
    fn selection(&self, classify: bool) -> Option<Selection> {
        match self {
            Self::Weights(selection) => Some(*selection),
            Self::Adapter(_) if classify => Some(Selection::Head { pooler: false }),
            Self::Adapter(_) => None,
        }
    }
}

/// Where rows come from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Data {
    pub file: PathBuf,
    /// blake3 of it; empty before it was read.
    pub hash: String,
    /// Only lines whose field `split` says this.
    pub split: Option<String>,
    pub limit: Option<usize>,
    pub columns: Columns,
    /// Rows to validate with, instead of a share of the others.
    pub validation: Option<PathBuf>,
    /// The same file's lines of this split, to validate with.
    pub validation_split: Option<String>,
    /// Prompts that are too long lose their beginning instead of being left out.
    pub cut: bool,
    /// Prompts stand as they are, without the model's chat layout.
    pub plain: bool,
    /// A row for each answer of a line with several.
    pub every_answer: bool,
    /// Passages of this collection stand in the prompts, as asking finds them.
    pub collection: Option<String>,
    /// How many of them.
    pub k: Option<usize>,
    /// What may be chosen, for templates that show it; the distinct answers of the file where nothing is said.
    pub labels: Vec<String>,
}

/// The name of a job's file in the folder of its run.
pub const JOB: &str = "job.json";

impl Job {
    /// The job of the run in `folder`.
    ///
    /// # Errors
    /// `NotFound` when there is none, `Corrupt` when it is damaged.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(JOB);
        let text = match std::fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::not_found(format!("`{}` holds no run", folder.display()))
                    .hint("a run is a folder with job.json, which `incontext tune` leaves"));
            }
            text => text.at("read", &path)?,
        };
        serde_json::from_slice(&text).map_err(|error| {
            Error::corrupt(format!("`{}`: {error}", path.display())).hint("begin another run")
        })
    }

    /// Leaves it in `folder`.
    ///
    /// # Errors
    /// `Io` when it cannot be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        files::replace(&folder.join(JOB), &serde_json::to_vec_pretty(self).unwrap_or_default())
    }
}
