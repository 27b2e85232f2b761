//! The feature-based way: vectors of a model that stays as it is, and a classical classifier fitted on them.
//!
//! Vectors are computed once and kept; fitting on them takes seconds, so several classifiers may be tried, and the one that
//! tells most of the held-out rows is kept.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::begin::classes;
use super::run::lock;
use super::{Job, Method, Tuning};
use crate::adapters::{About, Task};
use crate::classify::classical::{Recipe, Rows};
use crate::classify::features::{FILE, Kept};
use crate::embed::{Cache, Embedder, LocalEncoder, Pooling};
use crate::error::{Error, Result};
use crate::eval::classes::{Counts, Item};
use crate::eval::stats::{Bootstrap, Estimate};
use crate::files;
use crate::generate::labels;
use crate::text::example::{Example, Rows as Lines};
use crate::text::records;
use crate::train;

/// Texts that are embedded between two looks at whether to stop.
const TEXTS: usize = 256;

/// Which vectors, and which classifiers are fitted on them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FeatureBased {
    /// Those that are tried; of several, the first that tells the most of the held-out rows is kept.
    pub recipes: Vec<Recipe>,
    /// `None`: as suits the model ([`LocalEncoder::frozen`]).
    pub pooling: Option<Pooling>,
    /// Tokens of a text that are read; `None`: as many as the model's makers say.
    pub window: Option<usize>,
}

/// A classifier that was tried, and the share of held-out rows it tells.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Tried {
    #[serde(flatten)]
    pub recipe: Recipe,
    /// `None` without held-out rows.
    pub accuracy: Option<Estimate>,
    pub macro_f1: Option<f64>,
    pub trained_parameters: usize,
    /// To fit it.
    pub seconds: f64,
}

/// What came of it.
#[derive(Debug, Clone, Serialize)]
pub struct Fitted {
    /// The one of `tried` that is kept.
    pub chosen: Tried,
    pub tried: Vec<Tried>,
    pub trained_parameters: usize,
    pub rows: usize,
    pub validation_rows: usize,
    /// Held-out rows whose text is among the others.
    pub duplicates: usize,
    /// Rows of each label, in the labels' order.
    pub frequencies: Vec<usize>,
    /// Length of the vectors, and the tokens of a text that are read.
    pub width: usize,
    pub window: usize,
    pub pooling: Pooling,
    /// To compute the vectors that were not there yet.
    pub embedding_seconds: f64,
}

/// Texts and the numbers of their classes.
#[derive(Default)]
struct Labelled {
    texts: Vec<String>,
    targets: Vec<usize>,
}

/// Fits as `job` says, and keeps what comes of it. Vectors are kept in the folder `cache`; `on` hears how many of how many texts
/// have one, and may stop.
///
/// # Errors
/// What is wrong with the job, the rows or the model. `Busy` while another process trains there.
pub fn features(
    job: &mut Job,
    tuning: &Tuning,
    cache: &Path,
    on: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
) -> Result<Fitted> {
    let Method::Features(method) = job.method.clone() else {
        return Err(Error::invalid(format!("{} is not fitted on features", job.method.name())));
    };
    method.recipes.iter().try_for_each(Recipe::check)?;
    let _lock = lock(tuning.folder)?;
    super::run::vacant(tuning.out)?;
    job.settle_inputs(tuning)?;
    job.data.labels = classes(job)?;
    let (training, validation) = labelled(job)?;
    if method.recipes.len() != 1 && validation.texts.is_empty() {
        return Err(Error::invalid("to choose among classifiers takes rows that none of them has seen")
            .hint("--validation-share 0.1, --validation FILE or --validation-split NAME; or try one alone"));
    }
    let encoder =
        LocalEncoder::frozen(&job.model, tuning.model, tuning.device, method.pooling, method.window)?;
    let (window, pooling) = (encoder.window(), encoder.pooling());
    let embedder = Embedder::Local(encoder);
    let start = Instant::now();
    let texts: Vec<&str> = training.texts.iter().chain(&validation.texts).map(String::as_str).collect();
    let mut vectors = vectors(&texts, &embedder, cache, on)?;
    let held_out = vectors.split_off(training.texts.len());
    let embedding_seconds = start.elapsed().as_secs_f64();

    let classes = job.data.labels.len();
    let rows = Rows { vectors: &vectors, targets: &training.targets, classes };
    let mut best: Option<(Tried, _)> = None;
    let mut tried = Vec::new();
    for recipe in method.recipes {
        let start = Instant::now();
        let fitted = recipe.fit(&rows)?;
        let seconds = start.elapsed().as_secs_f64();
        let said = held_out.iter().map(|vector| labels::choose(&fitted.probabilities(vector)));
        let items: Vec<Item> =
            said.zip(&validation.targets).map(|(said, gold)| Item { gold: *gold, said }).collect();
        let right: Vec<f64> = items.iter().map(|item| f64::from(u8::from(item.gold == item.said))).collect();
        let one = Tried {
            recipe,
            accuracy: (!right.is_empty()).then(|| Bootstrap::default().mean(&right)),
            macro_f1: (!items.is_empty()).then(|| Counts::of(&items).macro_f1()),
            trained_parameters: fitted.parameters(),
            seconds,
        };
        let score = |tried: &Tried| tried.accuracy.map_or(0.0, |accuracy| accuracy.mean);
        if best.as_ref().is_none_or(|(best, _)| score(&one) > score(best)) {
            best = Some((one, fitted));
        }
        tried.push(one);
    }
    let (chosen, classifier) = best.ok_or_else(|| Error::invalid("no classifier to fit"))?;
    let known: BTreeSet<&str> = training.texts.iter().map(|text| text.trim()).collect();
    let count = |class| training.targets.iter().filter(|target| **target == class).count();
    let fitted = Fitted {
        chosen,
        trained_parameters: chosen.trained_parameters,
        tried,
        rows: training.texts.len(),
        validation_rows: validation.texts.len(),
        duplicates: validation.texts.iter().filter(|text| known.contains(text.trim())).count(),
        frequencies: (0..classes).map(count).collect(),
        width: embedder.dimension(),
        window,
        pooling,
        embedding_seconds,
    };
    job.write(tuning.folder)?;
    let features = embedder.fingerprint().to_owned();
    keep(job, &fitted, &Kept { pooling, window, features, classifier }, tuning.out)?;
    Ok(fitted)
}

/// The rows to fit on, and those that are held out.
fn labelled(job: &Job) -> Result<(Labelled, Labelled)> {
    let data = &job.data;
    let read = |file: &Path, split: Option<&str>| -> Result<Vec<(String, usize)>> {
        let lines = Lines { split: split.map(str::to_owned), limit: data.limit };
        let examples = Example::all(&records::Source::read(file)?, &data.columns, &lines)?;
        examples.into_iter().map(|example| class_of(example, &data.labels, file)).collect()
    };
    let rows = read(&data.file, data.split.as_deref())?;
    let (training, validation) = match (&data.validation, &data.validation_split) {
        (Some(file), split) => (rows, read(file, split.as_deref())?),
        (None, Some(split)) => (rows, read(&data.file, Some(split))?),
        (None, None) => train::split(rows, job.train.validation_share, job.train.seed),
    };
    let apart = |rows: Vec<(String, usize)>| {
        let (texts, targets) = rows.into_iter().unzip();
        Labelled { texts, targets }
    };
    let (training, validation) = (apart(training), apart(validation));
    match (0..data.labels.len()).find(|class| !training.targets.contains(class)) {
        Some(class) => {
            Err(Error::invalid(format!("no row to fit on is of the class `{}`", data.labels[class]))
                .hint("add some, hold out fewer rows, or leave the class out of --labels"))
        }
        None => Ok((training, validation)),
    }
}

fn class_of(example: Example, labels: &[String], file: &Path) -> Result<(String, usize)> {
    let place = |error: Error| error.within(format!("`{}` row {}", file.display(), example.id));
    let Some(said) = example.output() else {
        return Err(place(
            Error::invalid("it has no class").hint("give it a `label`; --label names another field"),
        ));
    };
    match labels.iter().position(|label| label == said) {
        Some(class) => Ok((example.input.clone(), class)),
        None => Err(place(
            Error::invalid(format!("its class `{said}` is none of {}", labels.join(", ")))
                .hint("name it with --labels, or leave the row out"),
        )),
    }
}

fn vectors(
    texts: &[&str],
    embedder: &Embedder,
    cache: &Path,
    on: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
) -> Result<Vec<Vec<f32>>> {
    let mut cache = Cache::open(cache, embedder)?;
    let mut vectors = Vec::with_capacity(texts.len());
    for some in texts.chunks(TEXTS) {
        if on(vectors.len(), texts.len()).is_break() {
            return Err(Error::interrupted("computing the vectors was stopped")
                .hint("those that are computed are kept: start again"));
        }
        vectors.extend(cache.embed(some, |_| {})?);
    }
    Ok(vectors)
}

/// Puts it at `out`.
fn keep(job: &Job, fitted: &Fitted, kept: &Kept, out: &Path) -> Result<()> {
    let about = About {
        version: job.version.clone(),
        base: job.model.clone(),
        base_fingerprint: job.base_fingerprint.clone(),
        method: job.method.name().to_owned(),
        task: Task::SeqCls,
        trained_parameters: fitted.trained_parameters,
        labels: job.data.labels.clone(),
        training: serde_json::json!({ "job": job, "outcome": fitted }),
        ..About::default()
    };
    files::replace_folder(out, |aside| {
        files::replace(&aside.join(FILE), &kept.to_json())?;
        about.write(aside)
    })
}
