//! One run, from a job to a folder.

use std::ops::ControlFlow;
use std::path::Path;

use candle_core::Tensor;
use serde::Serialize;

use super::rows::{self, Laid, Skipped};
use super::{Compiled, Documents, Job, Source, compile};
use crate::adapters::{About, AdapterConfig, Prefix, Start, Stored, Task, Tensors};
use crate::error::{Error, Result};
use crate::generate::keys_and_values;
use crate::models::Model;
use crate::nn::Params;
use crate::prompt::{Demo, Template};
use crate::text::example::{Example, Rows as Lines};
use crate::text::records;
use crate::train::{self, Ending, Event, Outcome, Place, Row, Rows, Subject, Sweep};

/// What a run needs from around it.
pub struct Tuning<'a> {
    pub model: &'a Model,
    pub template: Option<&'a Template>,
    pub documents: Option<Documents<'a>>,
    /// Where the run leaves its checkpoint, its log and its picture.
    pub folder: &'a Path,
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
    #[serde(skip)]
    pub stored: Option<Stored>,
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

/// Trains as `job` says.
///
/// # Errors
/// What is wrong with the job, the rows or the model; as [`train::train`].
pub fn run(job: &mut Job, tuning: &Tuning, on: &mut dyn FnMut(Progress) -> ControlFlow<()>) -> Result<Done> {
    let model = tuning.model;
    let network = &model.transformer;
    let mut config = job.method.clone();
    let begun = Begun::of(job, tuning, &mut config, on)?;
    // What its examples decide of a method (how many virtual tokens) belongs to the job.
    job.method = config.clone();
    let tensors = config.start(network, &begun.start)?;
    let mut params = Params::new();
    for (name, tensor) in &tensors {
        params.insert(name, tensor)?;
    }
    let adapter = config.attach(network, &variables(&params))?;
    let own_start = job.init_demos.is_none();
    let decays = |name: &str| name.ends_with("weight");
    let still = |name: &str| own_start && config.still_at_start(name);
    let rate = |name: &str| if name.contains("lora_B") { job.lora_plus } else { 1.0 };
    let subject = Subject {
        adapter: &*adapter,
        untouched: config.untouched(network)?,
        decays: &decays,
        still: &still,
        rate: &rate,
        ..Subject::new(format!("{} {}", job.base_fingerprint, describe(&config)), model, &params)
    };
    let rows = match begun.validation {
        Some(validation) => Rows::new(begun.rows, validation),
        None => Rows::of(begun.rows, &job.train),
    };
    let (kept, values) = config.trained(&params.snapshot()?)?;
    let (trained_parameters, stored_parameters) =
        (params.count(), values.values().map(Tensor::elem_count).sum());
    let ready = Progress::Ready {
        rows: &rows,
        skipped: begun.skipped,
        parameters: trained_parameters,
        stored: stored_parameters,
    };
    if on(ready).is_break() {
        return Err(Error::interrupted("stopped before the first step"));
    }
    drop((kept, values));
    let goes_on = tuning.resume && tuning.folder.join(train::CHECKPOINT).exists();
    let mut sweep = None;
    if job.sweep && !goes_on {
        let mut heard = |rate, event| on(Progress::Trying(rate, event));
        let swept = train::sweep(&subject, &rows, &job.train, &mut heard)?;
        job.train.learning_rate = swept.chosen;
        let _ = on(Progress::Swept(&swept));
        sweep = Some(swept);
        // A run that is gone on with has its rate.
        job.sweep = false;
    }
    job.write(tuning.folder)?;
    let place = Place { folder: tuning.folder, resume: tuning.resume };
    let mut heard = |event| on(Progress::Training(event));
    let outcome: Outcome = train::train(&subject, &rows, &job.train, Some(place), &mut heard)?;
    let interrupted = outcome.ending == Ending::Interrupted;
    let mut done = Done {
        stored: None,
        trained_parameters,
        stored_parameters,
        rows: rows.training().len(),
        validation_rows: rows.validation().len(),
        learning_rate: job.train.learning_rate,
        sweep,
        interrupted,
        steps: outcome.steps,
        of: outcome.of,
        loss: outcome.loss,
        validation_loss: outcome.best.map(|best| best.loss.0),
        tokens: outcome.tokens,
        seconds: outcome.seconds,
    };
    if !interrupted {
        let (kept, tensors) = config.trained(&params.snapshot()?)?;
        let about = About {
            version: job.version.clone(),
            base: job.model.clone(),
            base_fingerprint: job.base_fingerprint.clone(),
            method: job.method.name().to_owned(),
            config: Some(kept.clone()),
            task: Task::CausalLm,
            trained_parameters,
            template: job.template.clone(),
            labels: job.data.labels.clone(),
            covers: begun.covered,
            training: serde_json::json!({ "job": job, "outcome": done }),
            ..About::default()
        };
        let base_name = Some(job.model.clone());
        done.stored = Some(Stored {
            config: Some(kept),
            tensors,
            base: Tensors::new(),
            task: Task::CausalLm,
            about: Some(about),
            base_name,
        });
    }
    Ok(done)
}

/// For a checkpoint to know its own by.
fn describe(config: &AdapterConfig) -> String {
    serde_json::to_string(config).unwrap_or_default()
}

/// The tensors to compute with.
fn variables(params: &Params) -> Tensors {
    params.iter().map(|(name, variable)| (name.to_owned(), variable.as_tensor().clone())).collect()
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
        config: &mut AdapterConfig,
        on: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Self> {
        let model = tuning.model;
        let tokenizer = model.tokenizer()?;
        let context = model.transformer.config.context;
        // Virtual tokens take their places in the window.
        let source = Source {
            tokenizer,
            window: context.min(job.train.max_length).saturating_sub(virtual_tokens(config)),
            parameters: model.transformer.parameters(),
            template: tuning.template,
            documents: tuning.documents,
        };
        let mut lay_out =
            |job: &Job, file: &Path, split: Option<&str>, shown: Option<&Path>| -> Result<Laid> {
                match source.template {
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
        job.data.labels = laid.labels.clone();
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
        match (&job.init_demos, &mut *config) {
            (Some(demos), AdapterConfig::Prefix(prefix)) => {
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
            (None, AdapterConfig::Prefix(prefix)) if !begun.start.text.is_empty() => {
                let ids = begun.start.text.clone();
                begun.cache_of(&ids, prefix, model)?;
            }
            (None, _) => {}
        }
        job.data.hash = hash;
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
fn virtual_tokens(config: &AdapterConfig) -> usize {
    match config {
        AdapterConfig::SoftPrompt(method) => method.num_virtual_tokens,
        AdapterConfig::PTuning(method) => method.num_virtual_tokens,
        AdapterConfig::Prefix(method) => method.num_virtual_tokens,
        _ => 0,
    }
}
