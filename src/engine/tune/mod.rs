//! Examples -> an adapter: which method, on which model, on which rows, and where it is kept.
//!
//! A [`Job`] says all that decides a run and nothing else. It lies beside what comes of it, so that the run can be gone on with
//! after an interruption, and done again. Rows come from a person's file as it is, or are laid out by the prompt builder that
//! asks (`rows`), so that what is trained is what is asked. How a run goes is `train`'s; what a method is, `adapters`'.

mod begin;
mod compile;
mod defaults;
mod features;
mod preference;
mod rows;
mod run;

pub use compile::{Compiled, compile};
pub use defaults::{learning_rate, preference_config, train_config};
pub use features::{FeatureBased, Fitted, Tried, features};
pub use preference::Preference;
pub use rows::{
    Documents, Laid, OnLine, Question, Skipped, Source, plain, questions, shown_turns, templated,
};
pub(super) use run::vacant;
pub use run::{Done, Progress, Tuning, lock, run};

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::adapters::{self, AdapterConfig};
use crate::error::{Error, IoContext, Result};
use crate::files;
use crate::models::{self, Selection};
use crate::text::example::Columns;
use crate::text::records;
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
    /// What is learned of answers that somebody compared, instead of an answer a row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preference: Option<Preference>,
    /// The adapter that it begins as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    pub data: Data,
    /// What the run read, by what it is to it: a hash of each file, template and collection. Empty before the first run.
    #[serde(default)]
    pub inputs: BTreeMap<String, String>,
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
    /// Nothing of the model: a classical classifier over its hidden states.
    Features(FeatureBased),
}

impl Method {
    /// As it is called in commands.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Adapter(config) => config.name(),
            Self::Weights(selection) => selection.name(),
            Self::Features(_) => "features",
        }
    }

    /// The model's own weights that are trained.
    fn selection(&self, classify: bool) -> Option<Selection> {
        match self {
            Self::Weights(selection) => Some(*selection),
            Self::Adapter(_) if classify => Some(Selection::Head),
            Self::Adapter(_) | Self::Features(_) => None,
        }
    }
}

/// Where rows come from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Data {
    pub file: PathBuf,
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
    /// Teaches the model called `model`, whose weights are at `weights` (a folder or a GGUF file), what the rows of `data` show; with nothing beside.
    ///
    /// # Errors
    /// `NotFound` or `Io`, as the fingerprint of the weights cannot be taken.
    pub fn new(
        model: String,
        weights: &Path,
        method: Method,
        data: Data,
        train: TrainConfig,
    ) -> Result<Self> {
        Ok(Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            model,
            base_fingerprint: models::fingerprint(weights)?,
            method,
            classify: false,
            preference: None,
            from: None,
            data,
            inputs: BTreeMap::new(),
            template: None,
            init_text: None,
            init_demos: None,
            train,
            sweep: false,
            lora_plus: 1.0,
        })
    }

    /// Notes what the run reads, or holds it against what it read before.
    ///
    /// # Errors
    /// `Mismatch`, naming what has changed; as reading fails.
    fn settle_inputs(&mut self, tuning: &Tuning) -> Result<()> {
        let mut found = BTreeMap::new();
        if let Some(stored) = &tuning.from {
            found.insert("from".to_owned(), adapters::fingerprint(stored)?);
        }
        let files = [
            ("data", Some(&self.data.file)),
            ("validation", self.data.validation.as_ref()),
            ("init_demos", self.init_demos.as_ref()),
        ];
        for (name, file) in files {
            if let Some(file) = file {
                found.insert(name.to_owned(), records::Source::read(file)?.hash);
            }
        }
        if let Some(template) = tuning.template {
            found.insert("template".to_owned(), template.version().to_owned());
        }
        if let Some(documents) = &tuning.documents {
            found.insert("collection".to_owned(), documents.version.to_owned());
        }
        for (name, hash) in &self.inputs {
            if found.get(name) != Some(hash) {
                let what = match (name.as_str(), files.iter().find(|(file, _)| file == name)) {
                    (_, Some((_, Some(file)))) => format!("`{}`", file.display()),
                    ("from", _) => format!("the adapter `{}`", self.from.as_deref().unwrap_or_default()),
                    ("template", _) => {
                        format!("the template `{}`", self.template.as_deref().unwrap_or_default())
                    }
                    _ => format!("the collection `{}`", self.data.collection.as_deref().unwrap_or_default()),
                };
                return Err(Error::mismatch(format!("{what} is not what the run began with"))
                    .hint("put it back as it was, or begin another run"));
            }
        }
        self.inputs = found;
        Ok(())
    }

    /// What is trained, for a checkpoint to tell from others.
    fn subject(&self) -> String {
        let method = serde_json::to_string(&self.method).unwrap_or_default();
        format!("{} {method}", self.base_fingerprint)
    }

    /// Whether the gradient of this parameter is exactly zero at the start, because of how the method begins.
    fn is_still(&self, name: &str) -> bool {
        match &self.method {
            Method::Adapter(config) => {
                self.init_demos.is_none() && self.from.is_none() && config.still_at_start(name)
            }
            Method::Weights(_) | Method::Features(_) => false,
        }
    }

    /// What the rate of this parameter is multiplied by.
    fn rate_of(&self, name: &str) -> f64 {
        if name.contains("lora_B") { self.lora_plus } else { 1.0 }
    }

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
