//! `incontext tune features`: a classical classifier over a model's hidden states.

use std::ops::ControlFlow;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::json;

use super::progress::{core_seconds, peak_memory, time};
use super::{absolute, runs, tells, vacant, weights};
use crate::bytes;
use crate::classify::classical::Recipe;
use crate::classify::label;
use crate::cli::interrupt::Interrupt;
use crate::cli::printer::Printer;
use crate::cli::settings::Settings;
use crate::cli::{Ending, device};
use crate::embed::Pooling;
use crate::engine::tune::{self, Data, FeatureBased, Fitted, Job, Method, Tried, Tuning};
use crate::error::Result;
use crate::experiment::table::counted;
use crate::hub;
use crate::text::example::Columns;
use crate::train::TrainConfig;

#[derive(Args)]
pub struct FeatureOptions {
    /// Rows to learn from: JSON Lines with `input` or `text`, and `label`; may be gzipped
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// What to call the classifier
    #[arg(long, value_name = "NAME")]
    out: String,
    /// Model whose hidden states are read [default: all-minilm-l6-v2]
    #[arg(long, value_name = "NAME|PATH")]
    model: Option<String>,
    /// What is fitted on them; of several the one that tells the most held-out rows is kept
    #[arg(long, value_enum, value_delimiter = ',', default_value = "logistic-regression")]
    classifier: Vec<Kind>,
    /// Logistic regression: how little weights are held back; of several the best on held-out rows
    #[arg(long, value_name = "C", value_delimiter = ',', default_value = "1")]
    c: Vec<f64>,
    /// Random forest: how many trees
    #[arg(long, value_name = "N", default_value_t = 100)]
    trees: usize,
    /// Gradient boosting: how many trees after another
    #[arg(long, value_name = "N", default_value_t = 100)]
    rounds: usize,
    /// Gradient boosting: how far each goes
    #[arg(long, value_name = "RATE", default_value_t = 0.1)]
    boosting_rate: f32,
    /// Gradient boosting: leaves a tree may have
    #[arg(long, value_name = "N", default_value_t = 31)]
    leaves: usize,
    /// Which hidden states: their mean, the first token's, the last's [default: as suits the model]
    #[arg(long, value_enum)]
    pooling: Option<How>,
    /// Tokens of a text that are read [default: as the model's makers say, at most 512]
    #[arg(long, value_name = "N")]
    max_length: Option<usize>,
    #[command(flatten)]
    rows: Rows,
    /// Where to compute [default: cpu]
    #[arg(long, value_enum)]
    device: Option<device::Kind>,
    /// Print what came of it as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
#[command(next_help_heading = "Rows")]
struct Rows {
    /// Only rows whose field `split` says this
    #[arg(long, value_name = "NAME")]
    split: Option<String>,
    /// The first so many rows
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Field that holds the text
    #[arg(long, value_name = "FIELD")]
    input: Option<String>,
    /// Field that holds the class
    #[arg(long, value_name = "FIELD")]
    label: Option<String>,
    /// The classes [default: those of the rows]
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    labels: Vec<String>,
    /// Rows to validate with
    #[arg(long, value_name = "FILE", conflicts_with = "validation_split")]
    validation: Option<PathBuf>,
    /// Rows of --data to validate with: those whose `split` says this
    #[arg(long, value_name = "NAME")]
    validation_split: Option<String>,
    /// Share of the rows that is held out to validate with [default: 0]
    #[arg(long, value_name = "SHARE", conflicts_with_all = ["validation", "validation_split"])]
    validation_share: Option<f64>,
    /// Decides how a forest grows and what is held out
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    LogisticRegression,
    RandomForest,
    GradientBoosting,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum How {
    Mean,
    Cls,
    Last,
}

impl From<How> for Pooling {
    fn from(how: How) -> Self {
        match how {
            How::Mean => Self::Mean,
            How::Cls => Self::Cls,
            How::Last => Self::Last,
        }
    }
}

impl FeatureOptions {
    fn recipes(&self) -> Vec<Recipe> {
        let of = |kind: &Kind| match kind {
            Kind::LogisticRegression => self.c.iter().map(|c| Recipe::LogisticRegression { c: *c }).collect(),
            Kind::RandomForest => vec![Recipe::RandomForest { trees: self.trees, seed: self.rows.seed }],
            Kind::GradientBoosting => vec![Recipe::GradientBoosting {
                rounds: self.rounds,
                learning_rate: self.boosting_rate,
                leaves: self.leaves,
            }],
        };
        self.classifier.iter().flat_map(of).collect()
    }
}

pub fn run(options: &FeatureOptions, settings: &Settings, printer: &Printer) -> Result<Ending> {
    let rows = &options.rows;
    let model = weights(options.model.as_deref().unwrap_or(hub::DEFAULT_ENCODER))?;
    let features = FeatureBased {
        recipes: options.recipes(),
        pooling: options.pooling.map(Pooling::from),
        window: options.max_length,
    };
    let data = Data {
        file: absolute(&options.data)?,
        split: rows.split.clone(),
        limit: rows.limit,
        columns: Columns { input: rows.input.clone(), answer: rows.label.clone() },
        validation: rows.validation.as_deref().map(absolute).transpose()?,
        validation_split: rows.validation_split.clone(),
        labels: rows.labels.clone(),
        ..Data::default()
    };
    let train = TrainConfig {
        validation_share: rows.validation_share.unwrap_or(0.0),
        seed: rows.seed,
        ..TrainConfig::default()
    };
    train.check()?;
    let method = Method::Features(features);
    let job = Job { classify: true, ..Job::new(model.lasting_name()?, &model.path, method, data, train)? };
    vacant(&options.out, false, settings)?;
    fit(&options.out, job, options.json, options.device, settings, printer)
}

/// Fits as `job` says, and says what came of it.
pub fn fit(
    name: &str,
    mut job: Job,
    as_json: bool,
    device: Option<device::Kind>,
    settings: &Settings,
    printer: &Printer,
) -> Result<Ending> {
    let start = std::time::Instant::now();
    let device = settings.device(device)?;
    let place = settings.adapters().place(name)?;
    let path = weights(&job.model)?.path;
    settings.home.create()?;
    printer.note(format!("loading {} ...", job.model));
    let folder = runs(settings, name);
    let tuning = Tuning::new(&path, &device, &folder, &place);
    let interrupt = Interrupt::watch();
    let mut bar = None;
    let fitted = tune::features(&mut job, &tuning, &settings.home.embeddings(), &mut |done, of| {
        let bar = bar.get_or_insert_with(|| printer.bar(of as u64));
        bar.set_message("reading texts");
        bar.set_position(done as u64);
        if interrupt.is_asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    let fitted = fitted?;
    let size = crate::adapters::size(&place)?;
    if as_json {
        printer.json(&json!({ "name": name, "folder": place, "run": folder, "method": job.method.name(),
            "model": job.model, "bytes": size, "outcome": fitted, "seconds": start.elapsed().as_secs_f64(),
            "core_seconds": core_seconds(), "peak_memory": peak_memory() }))?;
        return Ok(Ending::Done);
    }
    remark(&fitted, &job.data.labels, printer);
    printer.note(format!(
        "{}: {} parameters on {} features of {}; {} of reading, {} of fitting, {} at most in memory, {} on disk",
        described(&fitted.chosen.recipe),
        fitted.trained_parameters,
        fitted.width,
        counted(fitted.rows, "row"),
        time(fitted.embedding_seconds),
        time(fitted.tried.iter().map(|one| one.seconds).sum()),
        peak_memory().map_or("?".to_owned(), bytes::size),
        bytes::size(size)
    ));
    printer.note(tells(name, &job.data.labels));
    Ok(Ending::Done)
}

/// What a careful person would want to know of the rows, and how each classifier did.
fn remark(fitted: &Fitted, labels: &[String], printer: &Printer) {
    let most = fitted.frequencies.iter().max().copied().unwrap_or(0);
    for (label, count) in
        labels.iter().zip(&fitted.frequencies).filter(|(_, count)| label::is_rare(**count, most))
    {
        printer.note(format!(
            "`{label}` has {} of {}: what is rare is told seldom",
            counted(*count, "row"),
            fitted.rows
        ));
    }
    if fitted.duplicates > 0 {
        printer.note(format!(
            "{} of {} held out {} fitted on as well: the accuracy is too high",
            fitted.duplicates,
            counted(fitted.validation_rows, "row"),
            if fitted.duplicates == 1 { "is" } else { "are" }
        ));
    }
    for Tried { recipe, accuracy, macro_f1, .. } in &fitted.tried {
        let (Some(accuracy), Some(macro_f1)) = (accuracy, macro_f1) else { continue };
        let [mean, low, high] = [accuracy.mean, accuracy.low, accuracy.high].map(|share| 100.0 * share);
        let mark = if fitted.tried.len() > 1 && *recipe == fitted.chosen.recipe { "  <- chosen" } else { "" };
        printer.note(format!(
            "{}: {mean:.1} % right ({low:.1} - {high:.1}), macro-F1 {:.1}, on {} held out{mark}",
            described(recipe),
            100.0 * macro_f1,
            counted(fitted.validation_rows, "row")
        ));
    }
}

fn described(recipe: &Recipe) -> String {
    match recipe {
        Recipe::LogisticRegression { c } => format!("logistic regression, C = {c}"),
        Recipe::RandomForest { trees, .. } => format!("a forest of {}", counted(*trees, "tree")),
        Recipe::GradientBoosting { rounds, .. } => format!("boosting in {}", counted(*rounds, "round")),
    }
}
