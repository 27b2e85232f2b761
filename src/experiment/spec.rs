//! An experiment as a file: what is asked of which data, what is varied, what has to hold.
//!
//! ```toml
//! task = "classify"
//!
//! [data]
//! file = "questions.jsonl"
//! split = "validation"
//!
//! [pool]                              # where demonstrations come from
//! file = "questions.jsonl"
//! split = "train"
//!
//! [matrix]                            # every combination is a cell
//! prompt = ["classify/plain", { template = "classify/plain", name = "asked", vars = { instruction = "What is it?" } }]
//! demos = ["none", "knn 8", "random 8"]
//! model = ["smollm2-135m-instruct"]
//!
//! [[assert]]                          # of every answer; a row of the data may have a list `assert` of its own
//! type = "contains"
//! value = "tea"
//!
//! [[require]]                         # of every cell
//! metric = "accuracy"
//! at_least = 0.6
//! ```
//!
//! Read strictly: a key that nothing reads is refused by name and line. Paths are meant from the file's folder. What a cell
//! is, is `matrix`'s to say.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::axis::Axes;
use super::metric::Metric;
use super::task::Task;
use crate::error::{Error, IoContext, Result};
use crate::eval::assertion::Assertion;
use crate::retrieve::demos::Select;
use crate::text::example::{Columns, Rows};
use crate::text::toml::from_toml;

/// The file, read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Experiment {
    /// The file's, unless it says another.
    #[serde(default)]
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    pub task: Task,
    pub data: Data,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<Data>,
    /// What may be answered, for a classification: the data's answers, unless given; a table says in which words the model
    /// is to say each.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// Given to templates, over what a row has: `source = "English"`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<String, toml::Value>,
    pub matrix: Axes,
    /// What to measure, the first being what cells are ranked by; those usual for the task, unless given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<Metric>,
    /// The cell that others are compared with, by its values; the first one, unless given.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub baseline: BTreeMap<String, String>,
    #[serde(default)]
    pub run: Run,
    #[serde(default, rename = "assert", skip_serializing_if = "Vec::is_empty")]
    pub asserts: Vec<Assertion>,
    #[serde(default, rename = "require", skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<Require>,
}

/// Rows of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    pub file: PathBuf,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// The name of the column that is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<String>,
    /// The name of the column that says what is right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
}

impl Data {
    pub fn columns(&self) -> Columns {
        Columns { input: self.input.clone(), answer: self.answer.clone() }
    }

    pub fn rows(&self) -> Rows {
        Rows { split: self.split.clone(), limit: self.limit }
    }
}

/// Classes: as the data has them, and as a model says them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Labels {
    Listed(Vec<String>),
    Worded(BTreeMap<String, String>),
}

impl Default for Labels {
    fn default() -> Self {
        Self::Listed(Vec::new())
    }
}

impl Labels {
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Listed(labels) => labels.is_empty(),
            Self::Worded(labels) => labels.is_empty(),
        }
    }
}

/// How to go about it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Run {
    /// The collection that questions are asked of; the folder's own, unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collection: Option<String>,
    /// How often each row is asked, where answers are drawn.
    pub repeats: usize,
    /// Requests that an endpoint gets at a time.
    pub concurrency: usize,
    /// Over what the template says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop: Option<Vec<String>>,
    /// Who grades what only a model can; as `--model` has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub judge: Option<String>,
    /// A reward model, for the metric `win rate`: an adapter of `rlhf reward`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reward: Option<String>,
}

impl Default for Run {
    fn default() -> Self {
        Self {
            collection: None,
            repeats: 1,
            concurrency: 4,
            max_tokens: None,
            temperature: None,
            stop: None,
            judge: None,
            reward: None,
        }
    }
}

/// What has to hold of a cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Require {
    pub metric: Metric,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most: Option<f64>,
    /// Only of cells that have all of these values.
    #[serde(default, rename = "where", skip_serializing_if = "BTreeMap::is_empty")]
    pub of: BTreeMap<String, String>,
}

impl Experiment {
    /// Reads an experiment file; its paths become ones that can be opened from here.
    ///
    /// # Errors
    /// `Invalid` naming the line and key of what is wrong, `Io` when the file cannot be read.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).at("read", path)?;
        let mut experiment =
            Self::parse(&text).map_err(|error| error.within(format!("`{}`", path.display())))?;
        if experiment.name.is_empty() {
            experiment.name =
                path.file_stem().map_or("experiment".into(), |stem| stem.to_string_lossy().into_owned());
        }
        let folder = path.parent().unwrap_or(Path::new(""));
        let files = experiment.pool.iter_mut().map(|pool| &mut pool.file).chain([&mut experiment.data.file]);
        files.for_each(|file| *file = folder.join(&*file));
        for prompt in &mut experiment.matrix.prompt {
            if prompt.template.ends_with(".j2") {
                prompt.template = folder.join(&prompt.template).to_string_lossy().into_owned();
            }
        }
        Ok(experiment)
    }

    /// As a file that can be read from anywhere: with paths from the root.
    ///
    /// # Errors
    /// `Io` when the working folder is gone.
    pub fn to_toml(&self) -> Result<String> {
        let mut experiment = self.clone();
        let files = experiment.pool.iter_mut().map(|pool| &mut pool.file).chain([&mut experiment.data.file]);
        for file in files {
            *file = std::path::absolute(&*file).at("find", &*file)?;
        }
        for prompt in &mut experiment.matrix.prompt {
            if prompt.template.ends_with(".j2") {
                let path = std::path::absolute(&prompt.template).at("find", &prompt.template)?;
                // A cell is called what it was called before.
                prompt.name = Some(prompt.label());
                prompt.template = path.to_string_lossy().into_owned();
            }
        }
        toml::to_string_pretty(&experiment)
            .map_err(|error| Error::invalid(format!("the experiment cannot be written: {error}")))
    }

    /// # Errors
    /// As [`Self::read`].
    pub fn parse(text: &str) -> Result<Self> {
        let experiment: Self = from_toml(text, 1)?;
        experiment.check()?;
        Ok(experiment)
    }

    /// What a parser cannot know.
    fn check(&self) -> Result<()> {
        let wrong = |what: &str, hint: &str| Err(Error::invalid(what).hint(hint));
        let axes = &self.matrix;
        let lengths =
            [axes.prompt.len(), axes.demos.len(), axes.retrieval.len(), axes.k.len(), axes.answer.len()];
        let more = [
            axes.scoring.len(),
            axes.calibration.len(),
            axes.model.len(),
            axes.adapter.len(),
            axes.seed.len(),
        ];
        if lengths.into_iter().chain(more).any(|length| length == 0) {
            return wrong(
                "an axis of the matrix is empty: there is no cell",
                "leave the axis out, or give it a value",
            );
        }
        if self.pool.is_none() && axes.demos.iter().any(|demos| demos.select != Select::None) {
            return wrong(
                "demonstrations are asked for, and there is no pool",
                "name a file of examples under `[pool]`",
            );
        }
        if self.run.repeats == 0 || self.run.concurrency == 0 {
            return wrong("`repeats` and `concurrency` are at least 1", "leave them out for one and four");
        }
        if let Some(require) =
            self.requires.iter().find(|one| one.at_least.is_none() && one.at_most.is_none())
        {
            let what =
                format!("`require` of `{}` says neither `at_least` nor `at_most`", require.metric.name());
            return wrong(&what, "for example `at_least = 0.8`");
        }
        Ok(())
    }
}
