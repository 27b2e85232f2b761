//! One run, from a job to a folder.

use std::collections::BTreeSet;
use std::fs::File;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use candle_core::{Device, Tensor};
use serde::Serialize;

use super::begin::{Begun, classes};
use super::rows::Skipped;
use super::{Documents, Job, Method, Preference, preference};
use crate::adapters::{About, AdapterConfig, Scale, Start, Stored, Task, Tensors};
use crate::error::{Error, Result};
use crate::files;
use crate::models::{Goal, Model, NewHead, Selected};
use crate::nn::{Adapter, Bare, Params};
use crate::prompt::Template;
use crate::train::{
    self, Classes, Ending, Event, NextTokens, Objective, Outcome, Place, Rows, Subject, Sweep,
};

/// The file that one process at a time trains by.
const LOCK: &str = "run.lock";

/// What a run needs from around it.
pub struct Tuning<'a> {
    /// Where the model lies.
    pub model: &'a Path,
    pub device: &'a Device,
    pub template: Option<&'a Template>,
    pub documents: Option<Documents<'a>>,
    /// The folder of the adapter that it begins as.
    pub from: Option<&'a Path>,
    /// Where the run leaves its checkpoint, its log and its picture.
    pub folder: &'a Path,
    /// Where the adapter is to be.
    pub out: &'a Path,
    /// Go on from the folder's checkpoint, if there is one.
    pub resume: bool,
}

impl<'a> Tuning<'a> {
    /// From the beginning, with nothing beside.
    pub fn new(model: &'a Path, device: &'a Device, folder: &'a Path, out: &'a Path) -> Self {
        Self { model, device, template: None, documents: None, from: None, folder, out, resume: false }
    }
}

/// What a person may follow.
#[derive(Debug)]
pub enum Progress<'a> {
    /// A row is laid out next: which, of how many.
    LayingOut(usize, usize),
    /// What the model says before it learns is written down next, of which piece of how many.
    Referring(usize, usize),
    /// So many tokens of how many are drawn of answers that tell the level of a reward model's scores.
    Scaling(usize, usize),
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

impl Done {
    fn of(outcome: &Outcome, (trained, stored): (usize, usize), rows: &Rows, rate: f64) -> Self {
        Self {
            trained_parameters: trained,
            stored_parameters: stored,
            rows: rows.training().len(),
            validation_rows: rows.validation().len(),
            learning_rate: rate,
            sweep: None,
            interrupted: outcome.ending == Ending::Interrupted,
            steps: outcome.steps,
            of: outcome.of,
            loss: outcome.loss,
            validation_loss: outcome.best.map(|best| best.loss.0),
            tokens: outcome.tokens,
            seconds: outcome.seconds,
        }
    }
}

/// Trains as `job` says, and keeps what comes of it unless that was interrupted.
///
/// # Errors
/// What is wrong with the job, the rows or the model; as [`train::train`]. `Busy` while another process trains there.
pub fn run(job: &mut Job, tuning: &Tuning, on: &mut dyn FnMut(Progress) -> ControlFlow<()>) -> Result<Done> {
    job.train.check()?;
    if let Method::Features(_) = job.method {
        return Err(Error::invalid("a classifier on features is fitted, not trained by steps"));
    }
    let _lock = lock(tuning.folder)?;
    vacant(tuning.out)?;
    job.settle_inputs(tuning)?;
    if job.classify {
        job.data.labels = classes(job)?;
    }
    let selected = selected(job, tuning)?;
    let mut begun = Begun::of(job, tuning, &selected.model, on)?;
    let rows = begun.take_rows(job);
    let trained = Trained::new(selected, &job.method, &begun.start, tuning.from)?;
    let parameters = (trained.params.count(), trained.stored_parameters()?);
    let ready = Progress::Ready {
        rows: &rows,
        skipped: begun.skipped,
        parameters: parameters.0,
        stored: parameters.1,
    };
    if on(ready).is_break() {
        return Err(Error::interrupted("stopped before the first step"));
    }

    let (decays, still, rate) =
        (|name: &str| trained.decays(name), |name: &str| job.is_still(name), |name: &str| job.rate_of(name));
    let subject = Subject {
        adapter: &*trained.adapter,
        untouched: trained.untouched,
        decays: &decays,
        still: &still,
        rate: &rate,
        ..Subject::new(job.subject(), &trained.model, &trained.params)
    };
    let head = trained.model.classifier.as_ref();
    let mut heard = |at, of| on(Progress::Referring(at, of)).is_continue();
    let objective: Box<dyn Objective> = match (job.preference, head) {
        (Some(learned), head) => {
            learned.objective(&subject, head, &rows, job.train.micro_tokens, &mut heard)?
        }
        (None, Some(head)) => Box::new(Classes(head)),
        (None, None) => Box::new(NextTokens),
    };
    let subject = Subject { objective: &*objective, ..subject };
    let mut settings = job.train.clone();
    let goes_on = tuning.resume && tuning.folder.join(train::CHECKPOINT).exists();
    let sweep = match job.sweep && !goes_on {
        true => {
            let mut heard = |rate, event| on(Progress::Trying(rate, event));
            let sweep = train::sweep(&subject, &rows, &settings, &mut heard)?;
            let _ = on(Progress::Swept(&sweep));
            Some(sweep)
        }
        false => None,
    };
    settings.learning_rate = sweep.as_ref().map_or(settings.learning_rate, |sweep| sweep.chosen);
    // A run that is gone on with has its rate.
    let decided = Job { train: settings.clone(), sweep: false, ..job.clone() };
    decided.write(tuning.folder)?;

    let place = Place { folder: tuning.folder, resume: tuning.resume };
    let mut heard = |event| on(Progress::Training(event));
    let outcome = train::train(&subject, &rows, &settings, Some(place), &mut heard)?;
    let done = Done { sweep, ..Done::of(&outcome, parameters, &rows, settings.learning_rate) };
    if !done.interrupted {
        let scale = match (job.preference, head) {
            (Some(Preference::Reward { scale_prompts: count, .. }), Some(judge))
                if count > 0 && trained.config.is_some() && trained.model.transformer.config.causal =>
            {
                let mut heard = |at, of| on(Progress::Scaling(at, of)).is_continue();
                let train = &settings;
                preference::scale(&subject, judge, tuning.from, &rows, count, train, &mut heard)?
            }
            _ => None,
        };
        trained.keep(&decided, &done, begun.covered, scale, tuning.out)?;
        train::forget(tuning.folder)?;
    }
    Ok(done)
}

/// Refuses to write over what was trained.
pub(in crate::engine) fn vacant(out: &Path) -> Result<()> {
    match out.exists() {
        true => Err(Error::invalid(format!("`{}` is there already", out.display()))
            .hint("what was trained is not written over: remove it first, or choose another name")),
        false => Ok(()),
    }
}

/// Makes this process the only one that trains in `folder`, as long as the returned file is open.
///
/// # Errors
/// `Busy` while another does.
pub fn lock(folder: &Path) -> Result<File> {
    files::try_lock(&folder.join(LOCK))?.ok_or_else(|| {
        Error::busy(format!("another process trains in `{}`", folder.display()))
            .hint("wait for it, or give this run another name")
    })
}

/// The model, and those of its own weights that are trained.
fn selected(job: &Job, tuning: &Tuning) -> Result<Selected> {
    let (classes, seed) = (job.data.labels.len(), job.train.seed);
    let goal = if job.classify { Goal::NewClasses(NewHead { classes, seed }) } else { Goal::NextTokens };
    match job.method.selection(job.classify) {
        Some(selection) => selection.load(tuning.model, tuning.device, goal),
        None => {
            let model = Model::load(tuning.model, tuning.device)?;
            let untouched = model.transformer.config.shape.layers;
            Ok(Selected { model, params: Params::new(), untouched })
        }
    }
}

/// A model and all that is trained in it and beside it.
struct Trained {
    model: Model,
    params: Params,
    /// Those of `params` that are the model's own.
    of_weights: BTreeSet<String>,
    config: Option<AdapterConfig>,
    adapter: Arc<dyn Adapter>,
    untouched: usize,
}

impl Trained {
    fn new(selected: Selected, method: &Method, start: &Start, from: Option<&Path>) -> Result<Self> {
        let Selected { model, params, untouched } = selected;
        let of_weights = params.iter().map(|(name, _)| name.to_owned()).collect();
        let mut trained =
            Self { model, params, of_weights, config: None, adapter: Arc::new(Bare), untouched };
        if let Method::Adapter(config) = method {
            let network = &trained.model.transformer;
            let begin = match from {
                Some(folder) => Stored::read(folder, network)?.tensors,
                None => config.start(network, start)?,
            };
            for (name, tensor) in &begin {
                trained.params.insert(name, tensor)?;
            }
            trained.adapter = config.attach(network, &trained.own())?;
            trained.untouched = config.untouched(network)?.min(untouched);
            trained.config = Some(config.clone());
        }
        Ok(trained)
    }

    /// Weight decay is for matrices, and not for tables.
    fn decays(&self, name: &str) -> bool {
        self.params.get(name).is_some_and(|variable| variable.rank() == 2) && !name.contains("embed")
    }

    /// The adapter's values, as they are by now; not copied.
    fn own(&self) -> Tensors {
        variables(&self.params, |name| !self.of_weights.contains(name))
    }

    /// What is kept: the adapter with its values, as those who load it want them, and the model's own weights.
    fn kept(&self) -> Result<(Option<AdapterConfig>, Tensors, Tensors)> {
        let base = variables(&self.params, |name| self.of_weights.contains(name));
        match &self.config {
            Some(config) => {
                let (config, own) = config.trained(&self.own())?;
                Ok((Some(config), own, base))
            }
            None => Ok((None, Tensors::new(), base)),
        }
    }

    fn stored_parameters(&self) -> Result<usize> {
        let (_, own, base) = self.kept()?;
        Ok(own.values().chain(base.values()).map(Tensor::elem_count).sum())
    }

    /// Puts it at `out`.
    fn keep(
        &self,
        job: &Job,
        done: &Done,
        covers: Vec<u32>,
        reward: Option<Scale>,
        out: &Path,
    ) -> Result<()> {
        let (config, tensors, base) = self.kept()?;
        let task = if job.classify { Task::SeqCls } else { Task::CausalLm };
        let about = About {
            version: job.version.clone(),
            base: job.model.clone(),
            base_fingerprint: job.base_fingerprint.clone(),
            method: job.method.name().to_owned(),
            config: config.clone(),
            task,
            trained_parameters: done.trained_parameters,
            template: job.template.clone(),
            labels: job.data.labels.clone(),
            covers,
            reward,
            training: serde_json::json!({ "job": job, "outcome": done }),
            ..About::default()
        };
        let base_name = Some(job.model.clone());
        let stored = Stored { config, tensors, base, task, about: Some(about), base_name };
        let network = &self.model.transformer;
        stored.write(out, network, &network.config.family.to_string())
    }
}

/// The variables whose names are `wanted`, to compute with.
fn variables(params: &Params, wanted: impl Fn(&str) -> bool) -> Tensors {
    let named = params.iter().filter(|(name, _)| wanted(name));
    named.map(|(name, variable)| (name.to_owned(), variable.as_tensor().clone())).collect()
}
