//! An experiment, ready to run: data read, templates filled, every cell checked on the first row.
//!
//! Whatever can be wrong without asking a model is found here, before the first answer is paid for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::axis::Prompt;
use super::cache;
use super::matrix::{self, Cell};
use super::metric::Metric;
use super::spec::{Data, Experiment, Labels};
use super::summary::Axis;
use super::task::Task;
use crate::classify::Trained;
use crate::classify::label::{self, Label};
use crate::embed::Embedder;
use crate::engine::Places;
use crate::engine::rlhf::RewardModel;
use crate::error::{Error, Result};
use crate::eval::assertion::Assertion;
use crate::generate::Generator;
use crate::generate::labels::Calibration;
use crate::index::Collection;
use crate::prompt::Template;
use crate::retrieve::demos::Select;
use crate::text::example::{self, Example};
use crate::text::records::Source;

/// What an experiment needs from around it.
pub trait Resources: Sync {
    /// What `model` is called in full; the empty name is the folder's own.
    fn model(&self, model: &str) -> String;

    /// Changes whenever the model's answers would, as far as that can be known.
    ///
    /// # Errors
    /// `NotFound` for a model that is not there.
    fn fingerprint(&self, model: &str, adapter: &str) -> Result<String>;

    /// # Errors
    /// What is wrong with the model, or with the adapter for it.
    fn generator(&self, model: &str, adapter: &str) -> Result<Generator>;

    /// What tells the classes by itself, where `adapter` makes a classifier of the model.
    ///
    /// # Errors
    /// What is wrong with the model, or with the adapter for it.
    fn classifier(&self, _model: &str, _adapter: &str) -> Result<Option<Trained>> {
        Ok(None)
    }

    /// The reward model that the adapter called `name` is.
    ///
    /// # Errors
    /// What is wrong with it.
    fn reward(&self, name: &str) -> Result<RewardModel> {
        Err(Error::invalid(format!("there are no reward models here, and hence no `{name}`")))
    }

    /// # Errors
    /// What is wrong with the template.
    fn template(&self, name: &str) -> Result<Template>;

    /// A vector for each text, to choose demonstrations by.
    ///
    /// # Errors
    /// What is wrong with the encoder.
    fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>>;

    /// A collection to ask.
    ///
    /// # Errors
    /// What is wrong with it.
    fn documents(&self, collection: Option<&str>) -> Result<Documents>;
}

/// A collection, with what asks it.
pub struct Documents {
    pub collection: Collection,
    pub embedder: Embedder,
    pub places: Places,
    /// Changes whenever its documents do.
    pub version: String,
}

/// An experiment that can be run.
pub struct Plan {
    pub experiment: Experiment,
    pub items: Vec<Example>,
    /// Shared by all that choose from it.
    pub pool: Arc<[Example]>,
    /// Of the data's file, and the pool's.
    pub hashes: (String, Option<String>),
    /// Empty unless the task is to choose one.
    pub labels: Vec<Label>,
    pub cells: Vec<Cell>,
    pub axes: Vec<Axis>,
    pub metrics: Vec<Metric>,
    pub baseline: usize,
    /// What has to hold of single rows, by their ids; where it is nothing, they are not in it.
    asserts: BTreeMap<String, Vec<Assertion>>,
    /// By the name that the prompt axis gives them.
    templates: BTreeMap<String, Template>,
    pub documents: Option<Documents>,
}

impl Plan {
    /// Reads and checks everything that `experiment` names.
    ///
    /// # Errors
    /// The first thing that is wrong: a bad line of the data, an assertion that is none, an unknown axis, a template that
    /// wants what nobody gives.
    pub fn new(experiment: Experiment, resources: &dyn Resources) -> Result<Self> {
        let (cells, axes) = matrix::cells(&experiment)?;
        let (items, data_hash) = read(&experiment.data)?;
        let asserts = asserts(&items)?;
        let (pool, pool_hash): (Vec<Example>, _) = match &experiment.pool {
            Some(pool) => read(pool).map(|(pool, hash)| (pool, Some(hash)))?,
            None => (Vec::new(), None),
        };
        let labels = labels(&experiment, &items, &pool)?;
        let mut metrics = match experiment.metrics.is_empty() {
            true => experiment.task.metrics(),
            false => experiment.metrics.clone(),
        };
        let required = experiment.requires.iter().map(|require| require.metric);
        let asserted = (!(experiment.asserts.is_empty() && asserts.is_empty())).then_some(Metric::Passed);
        let unanswered = items.iter().all(|item| item.answers.is_empty());
        if unanswered && experiment.metrics.is_empty() {
            metrics.retain(|metric| !metric.needs_answers());
        }
        for metric in asserted.into_iter().chain(required).chain([Metric::Ms, Metric::Tokens]) {
            if !metrics.contains(&metric) {
                metrics.push(metric);
            }
        }
        if metrics.contains(&Metric::WinRate) && experiment.run.reward.is_none() {
            return Err(Error::invalid("`win rate` wants a reward model, and none is named")
                .hint("name an adapter of `rlhf reward` as `reward` under `[run]`"));
        }
        if let Some(metric) = metrics.iter().find(|metric| unanswered && metric.needs_answers()) {
            return Err(Error::invalid(format!(
                "no row of `{}` says what is right: `{metric}` cannot be measured",
                experiment.data.file.display()
            ))
            .hint("name the column with `answer` under `[data]`, or measure something else with `metrics`"));
        }
        let mut templates = BTreeMap::new();
        for prompt in &experiment.matrix.prompt {
            let template = resources.template(&prompt.template)?.filled(&prompt.vars)?;
            templates.insert(prompt.label(), template);
        }
        let documents = match experiment.task {
            Task::Qa => Some(resources.documents(experiment.run.collection.as_deref())?),
            _ => None,
        };
        let has_baseline = |cell: &Cell| matrix::has_all(&cell.values, &experiment.baseline);
        let baseline = cells.iter().position(has_baseline).ok_or_else(|| {
            Error::invalid("no cell of the matrix is the baseline")
                .hint("it may be among what `exclude` leaves out")
        })?;
        let hashes = (data_hash, pool_hash);
        let plan = Self {
            experiment,
            items,
            pool: pool.into(),
            hashes,
            labels,
            cells,
            axes,
            metrics,
            baseline,
            asserts,
            templates,
            documents,
        };
        plan.try_out()?;
        Ok(plan)
    }

    pub fn template(&self, cell: &Cell) -> &Template {
        &self.templates[&cell.values["prompt"]]
    }

    /// What has to hold of every output for the row `item`: the experiment's assertions, then its own.
    pub fn asserts<'a>(&'a self, item: &str) -> impl Iterator<Item = &'a Assertion> {
        self.experiment.asserts.iter().chain(self.asserts.get(item).into_iter().flatten())
    }

    /// Whether an assertion can only be judged by a model.
    pub fn is_graded(&self) -> bool {
        self.experiment.asserts.iter().chain(self.asserts.values().flatten()).any(Assertion::is_graded)
    }

    /// Takes over two cells of `other` (or one, twice named) instead of its own, called `start` and `winner`; data and
    /// everything else stay.
    ///
    /// # Errors
    /// As [`matrix::cells`].
    pub fn duel(&mut self, other: &Self, start: usize, winner: usize) -> Result<()> {
        let (first, second) = (&other.cells[start], &other.cells[winner]);
        let axes = &mut self.experiment.matrix;
        let named = |cell: &Cell, name: &str| Prompt { name: Some(name.to_owned()), ..cell.prompt.clone() };
        let same = first.prompt == second.prompt;
        axes.prompt = vec![named(first, "start"), named(second, if same { "start" } else { "winner" })];
        (axes.demos, axes.seed) = (vec![first.demos, second.demos], vec![first.seed, second.seed]);
        axes.prompt.dedup();
        axes.demos.dedup();
        axes.seed.dedup();
        axes.exclude.clear();
        axes.only.clear();
        self.templates = BTreeMap::new();
        for (cell, prompt) in [first, second].into_iter().zip(axes.prompt.iter().chain(&axes.prompt)) {
            self.templates.entry(prompt.label()).or_insert_with(|| other.template(cell).clone());
        }
        let wanted = |cell: &Cell| {
            [first, second].iter().any(|one| {
                (&one.prompt.vars, one.demos, one.seed) == (&cell.prompt.vars, cell.demos, cell.seed)
            })
        };
        // The other combinations of what the two differ in were not asked for.
        let (all, _) = matrix::cells(&self.experiment)?;
        self.experiment.matrix.exclude =
            all.into_iter().filter(|cell| !wanted(cell)).map(|cell| cell.values).collect();
        (self.cells, self.axes) = matrix::cells(&self.experiment)?;
        self.baseline = 0;
        Ok(())
    }

    /// Every template on the first row: a name that nothing provides is found before a model is loaded.
    fn try_out(&self) -> Result<()> {
        let values = self.values(&self.items[0], None);
        for template in self.templates.values() {
            let mut values = values.clone();
            for list in ["passages", "history", "demos"] {
                values.insert(list.to_owned(), Value::Array(Vec::new()));
            }
            template.render(&values)?;
        }
        Ok(())
    }

    /// What templates are told of a row; `input` takes the place of its own.
    pub fn values(&self, item: &Example, input: Option<&str>) -> Map<String, Value> {
        let mut values = item.asked(&self.experiment.data.columns());
        for (name, value) in &self.experiment.values {
            values.insert(name.clone(), serde_json::to_value(value).unwrap_or_default());
        }
        if !self.labels.is_empty() {
            values.insert("labels".to_owned(), label::words(&self.labels).into());
        }
        if let Some(input) = input {
            values.insert("input".to_owned(), input.into());
            values.insert("question".to_owned(), input.into());
        }
        values
    }

    /// A hash over everything that decides the rows of a cell. `model` is the fingerprint of its model under its adapter.
    pub fn key(&self, cell: &Cell, model: &str) -> String {
        let Experiment { task, data, pool, values, run, asserts, .. } = &self.experiment;
        let template = self.template(cell);
        let shown = cell.demos.select != Select::None;
        let pool = pool
            .as_ref()
            .filter(|_| shown)
            .map(|pool| (&self.hashes.1, &pool.split, &pool.limit, &pool.input, &pool.answer));
        let whole = (cell.calibration == Calibration::Batch).then_some((&data.split, &data.limit));
        let labels: Vec<(&str, &str)> =
            self.labels.iter().map(|label| (label.class.as_str(), label.word.as_str())).collect();
        let documents = self.documents.as_ref().map(|documents| &documents.version);
        let mut axes = cell.values.clone();
        axes.retain(|name, _| !matches!(name.as_str(), "prompt" | "model"));
        let parts = serde_json::json!([
            task,
            self.hashes.0,
            data.input,
            data.answer,
            pool,
            whole,
            labels,
            values,
            documents,
            axes,
            model,
            [template.id(), template.version()],
            run.repeats,
            run.max_tokens,
            run.temperature,
            run.stop,
            asserts,
            run.judge,
        ]);
        cache::key(&[parts.to_string().as_bytes()])[..16].to_owned()
    }
}

fn read(data: &Data) -> Result<(Vec<Example>, String)> {
    let source = Source::read(&data.file)?;
    let rows = Example::all(&source, &data.columns(), &data.rows())?;
    // What comes of a row is kept under its id.
    let mut seen = BTreeSet::new();
    match rows.iter().find(|row| !seen.insert(row.id.as_str())) {
        Some(row) => {
            Err(Error::invalid(format!("two rows of `{}` have the id `{}`", data.file.display(), row.id))
                .hint("every id stands for one row"))
        }
        None => Ok((rows, source.hash.clone())),
    }
}

/// The assertions that rows bring along, by their ids.
fn asserts(items: &[Example]) -> Result<BTreeMap<String, Vec<Assertion>>> {
    let mut all = BTreeMap::new();
    for item in items {
        let Some(value) = item.fields.get(example::ASSERT).filter(|value| !value.is_null()) else { continue };
        let asserts: Vec<Assertion> = serde_json::from_value(value.clone()).map_err(|error| {
            Error::invalid(format!("the row `{}` of the data: `{}`: {error}", item.id, example::ASSERT))
                .hint("a list of assertions: [{\"type\": \"contains\", \"value\": \"Paris\"}]")
        })?;
        if !asserts.is_empty() {
            all.insert(item.id.clone(), asserts);
        }
    }
    Ok(all)
}

/// The classes to choose from, each with the words a model says it in.
fn labels(experiment: &Experiment, items: &[Example], pool: &[Example]) -> Result<Vec<Label>> {
    if experiment.task != Task::Classify {
        return Ok(Vec::new());
    }
    let labels: Vec<Label> = match &experiment.labels {
        Labels::Worded(words) => words.iter().map(|(class, word)| Label::new(class, word)).collect(),
        Labels::Listed(classes) if !classes.is_empty() => {
            classes.iter().map(|class| Label::plain(class)).collect()
        }
        Labels::Listed(_) => {
            let classes: BTreeSet<String> =
                example::labels(items).into_iter().chain(example::labels(pool)).collect();
            classes.iter().map(|class| Label::plain(class)).collect()
        }
    };
    label::check(&labels)?;
    label::check_rows(&labels, "data", items)?;
    label::check_rows(&labels, "pool", pool)?;
    Ok(labels)
}
