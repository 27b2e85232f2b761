//! A search for a better prompt as a file.
//!
//! ```toml
//! task = "classify"
//! template = "classify/plain"         # where it starts
//!
//! [train]                             # demonstrations come from here
//! file = "questions.jsonl"
//! split = "train"
//! [dev]                               # candidates are compared here
//! file = "questions.jsonl"
//! split = "val"
//! [test]                              # start and winner are measured here, once
//! file = "questions.jsonl"
//! split = "test"
//!
//! [search]
//! slots = ["instruction"]             # all of the template's, unless given
//! texts = { instruction = ["Which kind of answer does the question want?"] }   # besides the slot's own
//! files = { instruction = "phrasings.txt" }                                    # likewise, one a line
//! demos = ["none", "balanced 6"]      # zero-shot unless given: the first is how the search starts
//! sets = 4                            # of demonstrations drawn from a seed, how many draws
//! calls = 4000
//! minutes = 20
//! ```
//!
//! The three sets of rows are kept apart: a row of `train` whose input is also in `dev` or `test` is not used, nor one of
//! `dev` that is in `test`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, IoContext, Result};
use crate::experiment::axis::{Axes, Decide, Demos, NO_ADAPTER, Prompt};
use crate::experiment::metric::Metric;
use crate::experiment::spec::{Data, Experiment, Labels, Run};
use crate::experiment::task::Task;
use crate::generate::labels::Calibration;
use crate::retrieve::demos::Select;
use crate::text::toml::from_toml;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Optimisation {
    #[serde(default)]
    pub name: String,
    pub task: Task,
    pub template: Prompt,
    #[serde(default)]
    pub train: Option<Data>,
    pub dev: Data,
    pub test: Data,
    #[serde(default)]
    pub labels: Labels,
    #[serde(default)]
    pub values: BTreeMap<String, toml::Value>,
    /// The folder's own where it is empty.
    #[serde(default)]
    pub model: String,
    #[serde(default = "no_adapter")]
    pub adapter: String,
    #[serde(default)]
    pub scoring: Decide,
    #[serde(default)]
    pub calibration: Calibration,
    /// What a better prompt is better by; the first that is usual for the task, unless given.
    #[serde(default)]
    pub metric: Option<Metric>,
    #[serde(default)]
    pub search: Search,
    #[serde(default)]
    pub run: Run,
}

fn no_adapter() -> String {
    NO_ADAPTER.to_owned()
}

/// What is tried, and how much that may take.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Search {
    pub slots: Option<Vec<String>>,
    pub texts: BTreeMap<String, Vec<String>>,
    pub files: BTreeMap<String, PathBuf>,
    pub propose: Option<Propose>,
    pub demos: Vec<Demos>,
    pub sets: u64,
    /// Answers that the search and the test may ask for together.
    pub calls: usize,
    pub minutes: f64,
    pub seed: u64,
}

impl Default for Search {
    fn default() -> Self {
        Self {
            slots: None,
            texts: BTreeMap::new(),
            files: BTreeMap::new(),
            propose: None,
            demos: vec![Demos::default()],
            sets: 4,
            calls: 4000,
            minutes: 30.0,
            seed: 0,
        }
    }
}

/// A model that is asked for other wordings of a slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Propose {
    /// As `--model` has it.
    pub model: String,
    #[serde(default = "ten")]
    pub count: usize,
    #[serde(default = "instruction")]
    pub slot: String,
}

fn ten() -> usize {
    10
}

fn instruction() -> String {
    "instruction".to_owned()
}

impl Optimisation {
    /// Reads the file; its paths become ones that can be opened from here, and texts in files are read.
    ///
    /// # Errors
    /// `Invalid` naming the line and key of what is wrong, `Io` when a file cannot be read.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).at("read", path)?;
        let mut read = Self::parse(&text).map_err(|error| error.within(format!("`{}`", path.display())))?;
        if read.name.is_empty() {
            read.name = path.file_stem().map_or("prompt".into(), |stem| stem.to_string_lossy().into_owned());
        }
        let folder = path.parent().unwrap_or(Path::new(""));
        let data = read.train.iter_mut().chain([&mut read.dev, &mut read.test]);
        data.for_each(|data| data.file = folder.join(&data.file));
        if read.template.template.ends_with(".j2") {
            read.template.template = folder.join(&read.template.template).to_string_lossy().into_owned();
        }
        for (slot, file) in std::mem::take(&mut read.search.files) {
            let file = folder.join(file);
            let text = std::fs::read_to_string(&file).at("read", &file)?;
            let lines = text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned);
            read.search.texts.entry(slot).or_default().extend(lines);
        }
        Ok(read)
    }

    /// # Errors
    /// As [`Self::read`].
    pub fn parse(text: &str) -> Result<Self> {
        let read: Self = from_toml(text, 1)?;
        let search = &read.search;
        if let Some(demos) = search.demos.iter().find(|demos| demos.select.is_by_nearness()) {
            return Err(Error::invalid(format!(
                "`{}` shows every question other demonstrations: they cannot be part of a file",
                String::from(*demos)
            ))
            .hint("try first, random, balanced or votek; an experiment compares knn and mmr with them"));
        }
        if search.demos.is_empty() || search.sets == 0 || search.calls == 0 || search.minutes <= 0.0 {
            return Err(Error::invalid(
                "`demos`, `sets`, `calls` and `minutes` of a search are not empty or 0",
            )
            .hint("leave out what you have no wish about"));
        }
        if read.train.is_none() && search.demos.iter().any(|demos| demos.select != Select::None) {
            return Err(Error::invalid(
                "demonstrations are asked for, and there is no `[train]` to take them from",
            )
            .hint("name a file of examples under `[train]`"));
        }
        if read.task == Task::Qa {
            return Err(Error::invalid("a search asks no collection").hint(
                "compare prompts for questions over a collection with an experiment; `task = \"generate\"` for others",
            ));
        }
        Ok(read)
    }

    /// The experiment of `prompts` and demonstrations on some rows.
    pub fn experiment(
        &self,
        data: &Data,
        prompts: Vec<Prompt>,
        demos: Vec<Demos>,
        seeds: Vec<u64>,
    ) -> Experiment {
        Experiment {
            name: self.name.clone(),
            description: None,
            task: self.task,
            data: data.clone(),
            pool: self.train.clone(),
            labels: self.labels.clone(),
            values: self.values.clone(),
            matrix: Axes {
                prompt: prompts,
                demos,
                scoring: vec![self.scoring],
                calibration: vec![self.calibration],
                model: vec![self.model.clone()],
                adapter: vec![self.adapter.clone()],
                seed: seeds,
                ..Axes::default()
            },
            metrics: vec![self.metric.unwrap_or(self.task.metrics()[0])],
            baseline: BTreeMap::new(),
            run: self.run.clone(),
            asserts: Vec::new(),
            requires: Vec::new(),
        }
    }
}
