//! One run, from a job to a folder.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use candle_core::{Device, Tensor};
use serde::Serialize;

use super::rows::{self, Laid, Skipped};
use super::{Compiled, Documents, Job, Method, Source, compile};
use crate::adapters::{About, AdapterConfig, Prefix, Start, Stored, Task, Tensors};
use crate::error::{Error, Result};
use crate::generate::keys_and_values;
use crate::models::{Goal, Model, NewHead, Selected};
use crate::nn::{Adapter, Bare, Params};
use crate::prompt::{Demo, Template};
use crate::text::example::{self, Example, Rows as Lines};
use crate::text::records;
use crate::train::{self, Ending, Event, Outcome, Place, Row, Rows, Subject, Sweep};

/// What a run needs from around it.
pub struct Tuning<'a> {
    /// Where the model lies.
    pub model: &'a Path,
    pub device: &'a Device,
    pub template: Option<&'a Template>,
    pub documents: Option<Documents<'a>>,
    /// Where the run leaves its checkpoint, its log and its picture.
    pub folder: &'a Path,
    /// Where the adapter is to be.
    pub out: &'a Path,
    /// Go on from the folder's checkpoint, if there is one.
    pub resume: bool,
}

/// What a person may follow.
#[derive(Debug)]
pub enum Progress<'a> {
    /// A row is laid out next: which, of how many.
    LayingOut(usize, usize),
    /// Before the first step.
    Ready {
        rows: &'a Rows,
        skipped: Skipped,
        parameters: usize,
        stored: usize,
    },
    /// A rate is tried.
    Trying(f64, Event),
    Swept(&'a Sweep),
    Training(Event),
}

/// What came of a run.
#[derive(Debug, Clone, Serialize)]
pub struct Done {
    /// Values that were trained, and values that are kept.
    pub trained_parameters: usize,
    pub stored_parameters: usize,
    pub rows: usize,
    pub validation_rows: usize,
    pub learning_rate: f64,
    pub sweep: Option<Sweep>,
    /// Whether it was broken off; the folder's checkpoint holds it.
    pub interrupted: bool,
    pub steps: usize,
    pub of: usize,
    pub loss: Option<f64>,
    pub validation_loss: Option<f64>,
    pub tokens: u64,
    pub seconds: f64,
}

/// Trains as `job` says, and keeps what comes of it unless that was interrupted.
///
/// # Errors
/// What is wrong with the job, the rows or the model; as [`train::train`].
pub fn run(job: &mut Job, tuning: &Tuning, on: &mut dyn FnMut(Progress) -> ControlFlow<()>) -> Result<Done> {
    let selection = job.method.selection(job.classify);
    if job.classify {
        job.data.labels = classes(job)?;
    }
    let (classes, seed) = (job.data.labels.len(), job.train.seed);
    let goal = if job.classify { Goal::NewClasses(NewHead { classes, seed }) } else { Goal::NextTokens };
    let Selected { model, mut params, mut untouched } = match selection {
        Some(selection) => selection.load(tuning.model, tuning.device, goal)?,
        None => {
            let model = Model::load(tuning.model, tuning.device)?;
            let untouched = model.transformer.config.shape.layers;
            Selected { model, params: Params::new(), untouched }
        }
    };
    let network = &model.transformer;
    let mut begun = Begun::of(job, tuning, &model, on)?;
    let mut adapter: Arc<dyn Adapter> = Arc::new(Bare);
    let of_weights: BTreeSet<String> = params.iter().map(|(name, _)| name.to_owned()).collect();
    if let Method::Adapter(config) = &job.method {
        for (name, tensor) in &config.start(network, &begun.start)? {
            params.insert(name, tensor)?;
        }
        adapter = config.attach(network, &variables(&params, |name| !of_weights.contains(name)))?;
        untouched = config.untouched(network)?.min(untouched);
    }
    let own_start = job.init_demos.is_none();
    let matrices = |name: &str| params.get(name).is_some_and(|variable| variable.rank() == 2);
    let decays = |name: &str| matrices(name) && !name.contains("embed");
    let still = |name: &str| match &job.method {
        Method::Adapter(config) => own_start && config.still_at_start(name),
        Method::Weights(_) => false,
    };
    let ratio = job.lora_plus;
    let rate = |name: &str| if name.contains("lora_B") { ratio } else { 1.0 };
    let method = serde_json::to_string(&job.method).unwrap_or_default();
    let subject = Subject {
        adapter: &*adapter,
        classifier: model.classifier.as_ref(),
        untouched,
        decays: &decays,
        still: &still,
        rate: &rate,
        ..Subject::new(format!("{} {method}", job.base_fingerprint), &model, &params)
    };
    let rows = match begun.validation.take() {
        Some(validation) => Rows::new(std::mem::take(&mut begun.rows), validation),
        None => Rows::of(std::mem::take(&mut begun.rows), &job.train),
    };
    let trained_parameters = params.count();
    // What is kept of the values as they are by now, which are not copied.
    let kept = || -> Result<(Option<AdapterConfig>, Tensors, Tensors)> {
        let base = variables(&params, |name| of_weights.contains(name));
        Ok(match &job.method {
            Method::Adapter(config) => {
                let (config, own) = config.trained(&variables(&params, |name| !of_weights.contains(name)))?;
                (Some(config), own, base)
            }
            Method::Weights(_) => (None, Tensors::new(), base),
        })
    };
    let stored_parameters = {
        let (_, own, base) = kept()?;
        own.values().chain(base.values()).map(Tensor::elem_count).sum()
    };
    let (parameters, stored) = (trained_parameters, stored_parameters);
    if on(Progress::Ready { rows: &rows, skipped: begun.skipped, parameters, stored }).is_break() {
        return Err(Error::interrupted("stopped before the first step"));
    }
    let goes_on = tuning.resume && tuning.folder.join(train::CHECKPOINT).exists();
    let (mut settings, mut sweep) = (job.train.clone(), None);
    if job.sweep && !goes_on {
        let mut heard = |rate, event| on(Progress::Trying(rate, event));
        let swept = train::sweep(&subject, &rows, &settings, &mut heard)?;
        settings.learning_rate = swept.chosen;
        let _ = on(Progress::Swept(&swept));
        sweep = Some(swept);
    }
    // A run that is gone on with has its rate.
    let decided = Job { train: settings.clone(), sweep: false, ..job.clone() };
    decided.write(tuning.folder)?;
    let place = Place { folder: tuning.folder, resume: tuning.resume };
    let mut heard = |event| on(Progress::Training(event));
    let outcome: Outcome = train::train(&subject, &rows, &settings, Some(place), &mut heard)?;
    let done = Done {
        trained_parameters,
        stored_parameters,
        rows: rows.training().len(),
        validation_rows: rows.validation().len(),
        learning_rate: settings.learning_rate,
        sweep,
        interrupted: outcome.ending == Ending::Interrupted,
        steps: outcome.steps,
        of: outcome.of,
        loss: outcome.loss,
        validation_loss: outcome.best.map(|best| best.loss.0),
        tokens: outcome.tokens,
        seconds: outcome.seconds,
    };
    if done.interrupted {
        return Ok(done);
    }
    let (config, tensors, base) = kept()?;
    let task = if job.classify { Task::SeqCls } else { Task::CausalLm };
    let about = About {
        version: job.version.clone(),
        base: job.model.clone(),
        base_fingerprint: job.base_fingerprint.clone(),
        method: job.method.name().to_owned(),
        config: config.clone(),
        task,
        trained_parameters,
        template: job.template.clone(),
        labels: job.data.labels.clone(),
        covers: begun.covered,
        training: serde_json::json!({ "job": decided, "outcome": done }),
        ..About::default()
    };
    let base_name = Some(job.model.clone());
    let stored = Stored { config, tensors, base, task, about: Some(about), base_name };
    stored.write(tuning.out, network, &network.config.family.to_string())?;
    train::forget(tuning.folder)?;
    Ok(done)
}

/// The variables whose names are `wanted`, to compute with.
fn variables(params: &Params, wanted: impl Fn(&str) -> bool) -> Tensors {
    let named = params.iter().filter(|(name, _)| wanted(name));
    named.map(|(name, variable)| (name.to_owned(), variable.as_tensor().clone())).collect()
}

/// The classes that rows are of, sorted, unless they were said.
fn classes(job: &Job) -> Result<Vec<String>> {
    let data = &job.data;
    if !data.labels.is_empty() {
        return Ok(data.labels.clone());
    }
    let lines = Lines { split: data.split.clone(), limit: data.limit };
    let examples = Example::all(&records::Source::read(&data.file)?, &data.columns, &lines)?;
    let labels = example::labels(&examples);
    match labels.len() {
        0 | 1 => Err(Error::invalid(format!(
            "the rows of `{}` are of {} classes, which is no choice",
            data.file.display(),
            labels.len()
        ))
        .hint("give each row a `label`, of two kinds or more; --label names another field")),
        _ => Ok(labels),
    }
}

/// Rows, and what the values begin as.
struct Begun {
    start: Start,
    rows: Vec<Row>,
    validation: Option<Vec<Row>>,
    skipped: Skipped,
    covered: Vec<u32>,
}

impl Begun {
    fn of(
        job: &mut Job,
        tuning: &Tuning,
        model: &Model,
        on: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Self> {
        let tokenizer = model.tokenizer()?;
        let context = model.transformer.config.context;
        // Virtual tokens take their places in the window.
        let source = Source {
            tokenizer,
            window: context.min(job.train.max_length).saturating_sub(virtual_tokens(&job.method)),
            causal: model.transformer.config.causal,
            parameters: model.transformer.parameters(),
            documents: tuning.documents,
        };
        let mut lay_out =
            |job: &Job, file: &Path, split: Option<&str>, shown: Option<&Path>| -> Result<Laid> {
                match tuning.template {
                    _ if job.classify => rows::classes(&source, &job.data, file, split),
                    Some(template) => {
                        let demos = shown.map_or(Ok(Vec::new()), |file| demos_of(file, job))?;
                        let mut heard = |at, of| on(Progress::LayingOut(at, of));
                        rows::templated(&source, template, &job.data, (file, split), &demos, &mut heard)
                    }
                    None => {
                        let before = shown
                            .map_or(Ok(Vec::new()), |file| rows::shown_turns(&source, &job.data, file))?;
                        rows::plain(&source, &job.data, file, split, &before)
                    }
                }
            };
        let split = job.data.split.clone();
        let laid = lay_out(job, &job.data.file, split.as_deref(), None)?;
        if !job.data.hash.is_empty() && job.data.hash != laid.hash {
            return Err(Error::mismatch(format!(
                "`{}` is not what the run began with",
                job.data.file.display()
            ))
            .hint("put the file back as it was, or begin another run"));
        }
        // Whatever rows hold, all prompts offer the same.
        if !job.classify {
            job.data.labels = laid.labels.clone();
        }
        let held_out = match (&job.data.validation, &job.data.validation_split) {
            (Some(file), split) => Some((file.clone(), split.clone())),
            (None, Some(split)) => Some((job.data.file.clone(), Some(split.clone()))),
            (None, None) => None,
        };
        let validation = match &held_out {
            Some((file, split)) => Some(lay_out(job, file, split.as_deref(), None)?.rows),
            None => None,
        };
        let mut start = Start { seed: job.train.seed, ..Start::default() };
        if let Some(text) = &job.init_text {
            start.text = tokenizer.encode(text, false)?;
        }
        let hash = laid.hash.clone();
        let mut begun =
            Self { start, rows: laid.rows, validation, skipped: laid.skipped, covered: Vec::new() };
        let mut method = job.method.clone();
        match (&job.init_demos, &mut method) {
            (Some(demos), Method::Adapter(AdapterConfig::Prefix(prefix))) => {
                let shown = lay_out(job, &job.data.file, split.as_deref(), Some(demos))?.rows;
                let compiled = compile(&begun.rows, &shown)?;
                if let (Some(rows), Some((file, split))) = (&mut begun.validation, &held_out) {
                    *rows = compile(rows, &lay_out(job, file, split.as_deref(), Some(demos))?.rows)?.rows;
                }
                begun.begin_as(compiled, prefix, model)?;
            }
            (Some(_), method) => {
                return Err(Error::invalid(format!(
                    "{} cannot begin as examples in a prompt",
                    method.name()
                ))
                .hint("`tune prefix` can"));
            }
            // A prefix that begins as a text: what the model makes of it.
            (None, Method::Adapter(AdapterConfig::Prefix(prefix))) if !begun.start.text.is_empty() => {
                let ids = begun.start.text.clone();
                begun.cache_of(&ids, prefix, model)?;
            }
            (None, _) => {}
        }
        // What its examples decide of a method (how many virtual tokens) belongs to the job.
        (job.method, job.data.hash) = (method, hash);
        Ok(begun)
    }

    fn begin_as(&mut self, compiled: Compiled, prefix: &mut Prefix, model: &Model) -> Result<()> {
        self.cache_of(&compiled.prefix, prefix, model)?;
        (self.rows, self.covered) = (compiled.rows, compiled.covered);
        Ok(())
    }

    /// The prefix begins as keys and values of `ids`.
    fn cache_of(&mut self, ids: &[u32], prefix: &mut Prefix, model: &Model) -> Result<()> {
        prefix.num_virtual_tokens = ids.len();
        self.start.cache = Some(Prefix::flat(&keys_and_values(&model.transformer, ids)?)?);
        Ok(())
    }
}

/// The examples of a file as a template shows them.
fn demos_of(file: &Path, job: &Job) -> Result<Vec<Demo>> {
    let examples = Example::all(&records::Source::read(file)?, &job.data.columns, &Lines::default())?;
    examples.iter().enumerate().map(|(place, example)| Demo::of(example, place)).collect()
}

/// Rows of the window that texts cannot have.
fn virtual_tokens(method: &Method) -> usize {
    match method {
        Method::Adapter(AdapterConfig::SoftPrompt(method)) => method.num_virtual_tokens,
        Method::Adapter(AdapterConfig::PTuning(method)) => method.num_virtual_tokens,
        Method::Adapter(AdapterConfig::Prefix(method)) => method.num_virtual_tokens,
        _ => 0,
    }
}
