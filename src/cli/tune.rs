//! `incontext tune METHOD`: teach a model a task.

mod method;
mod progress;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use self::method::{
    Bottlenecks, FullOptions, Ia3Options, LlamaOptions, LoraOptions, NoOptions, PTuningOptions,
    PrefixOptions, SoftOptions,
};
use self::progress::Follow;
use super::interrupt::Interrupt;
use super::printer::Printer;
use super::settings::Settings;
use super::{Ending, device, help, load};
use crate::adapters::{AdapterConfig, Bottleneck, Placement};
use crate::engine::tune::{self, Data, Documents, Job, Method, Tuning};
use crate::error::{Error, Result};
use crate::hub;
use crate::models::{self, Model, Selection};
use crate::text::example::Columns;
use crate::train::{Schedule, forget};

#[derive(Subcommand)]
pub enum Tune {
    /// LoRA: low-rank changes of weight matrices; the usual choice
    #[command(after_long_help = help::examples(LORA))]
    Lora(One<LoraOptions>),
    /// IA3: learned scales of keys, values and inner activations; the fewest parameters
    #[command(after_long_help = help::examples(IA3))]
    Ia3(One<Ia3Options>),
    /// Prefix tuning: learned keys and values before the text, in every layer
    #[command(after_long_help = help::examples(PREFIX))]
    Prefix(One<PrefixOptions>),
    /// Soft prompt: learned vectors before the embedded text
    #[command(after_long_help = help::examples(SOFT))]
    SoftPrompt(One<SoftOptions>),
    /// P-tuning: a soft prompt that a small network writes while it is trained
    #[command(after_long_help = help::examples(PTUNING))]
    PTuning(One<PTuningOptions>),
    /// Houlsby adapters: bottlenecks behind attention and behind the MLP
    #[command(after_long_help = help::examples(HOULSBY))]
    Houlsby(One<Bottlenecks>),
    /// Pfeiffer adapters: one bottleneck behind the MLP
    #[command(after_long_help = help::examples(PFEIFFER))]
    Pfeiffer(One<Bottlenecks>),
    /// Parallel adapters: one bottleneck beside the MLP
    #[command(after_long_help = help::examples(PARALLEL))]
    Parallel(One<Bottlenecks>),
    /// LLaMA-Adapter: vectors that attention of the upper layers looks at, let in by a gate
    #[command(after_long_help = help::examples(LLAMA))]
    LlamaAdapter(One<LlamaOptions>),
    /// Output layers only (fine-tuning I): a head that tells classes apart, on the frozen model
    #[command(after_long_help = help::examples(HEAD))]
    Head(One<NoOptions>),
    /// All layers (fine-tuning II), or the highest few
    #[command(after_long_help = help::examples(FULL))]
    Full(One<FullOptions>),
    /// BitFit: biases only, of models that have some
    #[command(after_long_help = help::examples(BITFIT))]
    Bitfit(One<NoOptions>),
    /// Go on with a run that was interrupted
    #[command(after_long_help = help::examples(RESUME))]
    Resume {
        /// Name of the adapter it was to become
        name: String,
        /// Print what came of it as JSON
        #[arg(long)]
        json: bool,
    },
    /// Do a run again, from its folder
    ///
    /// The same job on the same data with the same seed gives the same adapter. Data that has changed is refused.
    #[command(after_long_help = help::examples(REPEAT))]
    Repeat {
        /// Folder of a run, with its job.json
        run: PathBuf,
        /// What to call the adapter
        #[arg(long, value_name = "NAME")]
        out: String,
        /// Print what came of it as JSON
        #[arg(long)]
        json: bool,
    },
}

const LORA: help::Examples = &[
    ("From prompts and completions", "incontext tune lora --data support.jsonl --out support"),
    (
        "Rank 4 on queries and values, the best of three rates",
        "incontext tune lora --data support.jsonl --out s4 --rank 4 --targets q_proj,v_proj --sweep-lr",
    ),
    (
        "On questions, laid out with passages as `ask` lays them out",
        "incontext tune lora --data questions.jsonl --template qa/grounded -c papers --out papers",
    ),
    ("Asked with it", "incontext ask \"Who signed it?\" --adapter support --answer generate"),
];
const IA3: help::Examples = &[("With a few dozen examples", "incontext tune ia3 --data few.jsonl --out few")];
const PREFIX: help::Examples = &[
    (
        "Begun as a prompt that shows the examples of demos.jsonl",
        "incontext tune prefix --data train.jsonl --init-demos demos.jsonl --out notes",
    ),
    (
        "Thirty rows, begun at random",
        "incontext tune prefix --data train.jsonl --num-virtual-tokens 30 --out notes",
    ),
];
const SOFT: help::Examples = &[(
    "Begun as an instruction",
    "incontext tune soft-prompt --data train.jsonl --init-text \"Summarise:\" --out short",
)];
const PTUNING: help::Examples =
    &[("Twenty virtual tokens", "incontext tune p-tuning --data train.jsonl --out complaints")];
const HOULSBY: help::Examples =
    &[("Narrower than usual", "incontext tune houlsby --data train.jsonl --reduction-factor 32 --out small")];
const PFEIFFER: help::Examples =
    &[("As in the paper", "incontext tune pfeiffer --data train.jsonl --out pf")];
const PARALLEL: help::Examples =
    &[("As in the paper", "incontext tune parallel --data train.jsonl --out par")];
const LLAMA: help::Examples = &[(
    "In the ten upper layers",
    "incontext tune llama-adapter --data alpaca.jsonl --adapter-layers 10 --out follow",
)];
const HEAD: help::Examples = &[(
    "A classifier on an encoder",
    "incontext tune head --data reviews.jsonl --model all-minilm-l6-v2 --out reviews",
)];
const FULL: help::Examples = &[
    ("The four highest layers", "incontext tune full --top-layers 4 --data train.jsonl --out top"),
    ("An encoder, whole", "incontext tune full --data reviews.jsonl --model all-minilm-l6-v2 --out all"),
    ("Asked afterwards", "incontext classify --adapter all \"What a film\""),
];
const BITFIT: help::Examples =
    &[("Of an encoder", "incontext tune bitfit --data reviews.jsonl --model all-minilm-l6-v2 --out biases")];
const RESUME: help::Examples = &[("After Ctrl-C", "incontext tune resume support")];
const REPEAT: help::Examples = &[(
    "The run behind the adapter `support`, once more",
    "incontext tune repeat .incontext/runs/support --out again",
)];

/// A method, and what all of them share.
#[derive(Args)]
pub struct One<M: Args> {
    #[command(flatten)]
    method: M,
    #[command(flatten)]
    shared: Shared,
}

/// What every method is told.
#[derive(Args)]
pub struct Shared {
    /// Rows to learn from: JSON Lines of prompt and completion, messages, instruction and output, input and output, or text; may be gzipped
    #[arg(long, value_name = "FILE", visible_alias = "questions")]
    data: PathBuf,
    /// What to call the adapter
    #[arg(long, value_name = "NAME")]
    out: String,
    /// Model of this machine [default: smollm2-135m-instruct]
    #[arg(long, value_name = "NAME|PATH")]
    model: Option<String>,
    /// Teach it to tell classes apart, by a head of its own, instead of to write; encoders always are
    #[arg(long, conflicts_with = "template")]
    classify: bool,
    /// Lay the examples out by this template, as asking with it does
    #[arg(long, value_name = "NAME|FILE")]
    template: Option<String>,
    /// Show passages of this collection, as asking it finds them; for templates that show passages
    #[arg(short, long, value_name = "NAME", requires = "template")]
    collection: Option<String>,
    /// Passages to show [default: 3 for a model below 300M parameters, else 5]
    #[arg(short, value_parser = clap::value_parser!(u16).range(1..=20), requires = "collection")]
    k: Option<u16>,
    /// Forget an unfinished run of that name
    #[arg(long)]
    restart: bool,
    #[command(flatten)]
    rows: RowOptions,
    #[command(flatten)]
    training: TrainingOptions,
    /// Where to compute [default: cpu]
    #[arg(long, value_enum)]
    device: Option<device::Kind>,
    /// Print what came of it as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
#[command(next_help_heading = "Rows")]
struct RowOptions {
    /// Only rows whose field `split` says this
    #[arg(long, value_name = "NAME")]
    split: Option<String>,
    /// The first so many rows
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Field that holds what comes in
    #[arg(long, value_name = "FIELD")]
    input: Option<String>,
    /// Field that holds what is right
    #[arg(long, value_name = "FIELD")]
    label: Option<String>,
    /// What may be chosen, for templates that show it [default: the distinct answers]
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    labels: Vec<String>,
    /// Rows to validate with
    #[arg(long, value_name = "FILE", conflicts_with = "validation_split")]
    validation: Option<PathBuf>,
    /// Rows of --data to validate with: those whose `split` says this
    #[arg(long, value_name = "NAME")]
    validation_split: Option<String>,
    /// A row for each answer of a row with several
    #[arg(long)]
    every_answer: bool,
    /// Cut the beginning of prompts that are too long instead of leaving the row out
    #[arg(long)]
    cut: bool,
    /// Prompts as they stand, without the model's chat layout
    #[arg(long, conflicts_with = "template")]
    plain: bool,
}

#[derive(Args)]
#[command(next_help_heading = "Training")]
struct TrainingOptions {
    /// Base rate of AdamW [default: the method's]
    #[arg(long, value_name = "LR", visible_alias = "lr")]
    learning_rate: Option<f64>,
    /// Try a third of the rate, the rate and three times the rate for 50 steps each, and go on with the best
    #[arg(long)]
    sweep_lr: bool,
    /// How the rate goes on after warming up [default: linear]
    #[arg(long, value_enum)]
    schedule: Option<Rates>,
    /// Share of the steps on which the rate goes up [default: the method's]
    #[arg(long, value_name = "SHARE")]
    warmup: Option<f64>,
    /// How often each row is seen [default: the method's]
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// So many steps instead
    #[arg(long, value_name = "N", conflicts_with = "epochs")]
    steps: Option<usize>,
    /// Rows a step [default: 8]
    #[arg(long, value_name = "N")]
    batch_size: Option<usize>,
    /// Tokens computed at a time: bounds memory, not the result [default: 1024]
    #[arg(long, value_name = "N")]
    micro_tokens: Option<usize>,
    /// Tokens a row may have [default: 1024]
    #[arg(long, value_name = "N")]
    max_length: Option<usize>,
    /// Norm that gradients are scaled down to; 0: as they are [default: 1]
    #[arg(long, value_name = "NORM")]
    clip: Option<f64>,
    /// Decoupled weight decay [default: the method's]
    #[arg(long, value_name = "DECAY")]
    weight_decay: Option<f64>,
    /// Share of the rows that is held out to validate with [default: 0]
    #[arg(long, value_name = "SHARE")]
    validation_share: Option<f64>,
    /// Steps between validations [default: an epoch]
    #[arg(long, value_name = "N")]
    validate_every: Option<usize>,
    /// Validations without a better loss after which to stop
    #[arg(long, value_name = "N")]
    patience: Option<usize>,
    /// Steps between checkpoints; 0: only when interrupted [default: 100]
    #[arg(long, value_name = "N")]
    save_every: Option<usize>,
    /// Decides the start, the order of rows, dropout and what is held out [default: 0]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Rates {
    Linear,
    Cosine,
    Constant,
}

impl From<Rates> for Schedule {
    fn from(rates: Rates) -> Self {
        match rates {
            Rates::Linear => Self::Linear,
            Rates::Cosine => Self::Cosine,
            Rates::Constant => Self::Constant,
        }
    }
}

/// What a method's options come to.
#[derive(Default)]
struct Chosen {
    method: Option<Method>,
    init_text: Option<String>,
    init_demos: Option<PathBuf>,
    lora_plus: Option<f64>,
}

impl From<AdapterConfig> for Chosen {
    fn from(config: AdapterConfig) -> Self {
        Self { method: Some(Method::Adapter(config)), ..Self::default() }
    }
}

impl From<Selection> for Chosen {
    fn from(selection: Selection) -> Self {
        Self { method: Some(Method::Weights(selection)), ..Self::default() }
    }
}

pub fn run(command: &Tune, settings: &Settings, printer: &Printer) -> Result<Ending> {
    let bottleneck = |one: &One<Bottlenecks>, placement| {
        let config = one.method.config(Bottleneck::new(placement));
        begin(&one.shared, config.into(), settings, printer)
    };
    match command {
        Tune::Lora(one) => begin(&one.shared, one.method.chosen(), settings, printer),
        Tune::Ia3(one) => begin(&one.shared, one.method.config().into(), settings, printer),
        Tune::Prefix(one) => begin(&one.shared, one.method.chosen(), settings, printer),
        Tune::SoftPrompt(one) => begin(&one.shared, one.method.chosen(), settings, printer),
        Tune::PTuning(one) => begin(&one.shared, one.method.config().into(), settings, printer),
        Tune::Houlsby(one) => bottleneck(one, Placement::Houlsby),
        Tune::Pfeiffer(one) => bottleneck(one, Placement::Pfeiffer),
        Tune::Parallel(one) => bottleneck(one, Placement::Parallel),
        Tune::LlamaAdapter(one) => begin(&one.shared, one.method.config().into(), settings, printer),
        Tune::Head(one) => begin(&one.shared, Selection::Head.into(), settings, printer),
        Tune::Full(one) => {
            let full = one.method.top_layers.map_or(Selection::All, Selection::Top);
            begin(&one.shared, full.into(), settings, printer)
        }
        Tune::Bitfit(one) => begin(&one.shared, Selection::BitFit.into(), settings, printer),
        Tune::Resume { name, json } => resume(name, *json, settings, printer),
        Tune::Repeat { run, out, json } => {
            let mut job = Job::read(run)?;
            job.version = env!("CARGO_PKG_VERSION").to_owned();
            train(Run { name: out, job, resume: false, json: *json, device: None }, settings, printer)
        }
    }
}

/// A run, as it is about to begin or go on.
struct Run<'a> {
    name: &'a str,
    job: Job,
    resume: bool,
    json: bool,
    device: Option<device::Kind>,
}

fn begin(shared: &Shared, chosen: Chosen, settings: &Settings, printer: &Printer) -> Result<Ending> {
    let Some(method) = chosen.method else { return Err(Error::invalid("no method")) };
    let model = settings.model(shared.model.as_deref());
    let path = weights(&model)?.path;
    let (about, _) = Model::describe(&path)?;
    let TrainingOptions { seed, .. } = shared.training;
    let mut train = tune::train_config(&method, &about);
    shared.training.put(&mut train);
    train.seed = seed.unwrap_or(0);
    let rows = &shared.rows;
    let job = Job {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        model,
        base_fingerprint: models::fingerprint(&path)?,
        // An encoder writes nothing: there is nothing else to teach it.
        classify: shared.classify || !about.causal || matches!(method, Method::Weights(Selection::Head)),
        method,
        data: Data {
            file: absolute(&shared.data)?,
            hash: String::new(),
            split: rows.split.clone(),
            limit: rows.limit,
            columns: Columns { input: rows.input.clone(), answer: rows.label.clone() },
            validation: rows.validation.as_deref().map(absolute).transpose()?,
            validation_split: rows.validation_split.clone(),
            cut: rows.cut,
            plain: rows.plain,
            every_answer: rows.every_answer,
            collection: shared.collection.clone(),
            k: shared.k.map(usize::from),
            labels: rows.labels.clone(),
        },
        template: shared.template.clone(),
        init_text: chosen.init_text,
        init_demos: chosen.init_demos.as_deref().map(absolute).transpose()?,
        train,
        sweep: shared.training.sweep_lr,
        lora_plus: chosen.lora_plus.unwrap_or(1.0),
    };
    let run = Run { name: &shared.out, job, resume: false, json: shared.json, device: shared.device };
    train_new(run, shared.restart, settings, printer)
}

impl TrainingOptions {
    /// Puts what was typed into `config`.
    fn put(&self, config: &mut crate::train::TrainConfig) {
        fn set<T: Clone>(place: &mut T, typed: &Option<T>) {
            if let Some(typed) = typed {
                *place = typed.clone();
            }
        }
        config.save_every = 100;
        set(&mut config.learning_rate, &self.learning_rate);
        set(&mut config.schedule, &self.schedule.map(Schedule::from));
        set(&mut config.warmup, &self.warmup);
        set(&mut config.epochs, &self.epochs);
        set(&mut config.batch_size, &self.batch_size);
        set(&mut config.micro_tokens, &self.micro_tokens);
        set(&mut config.max_length, &self.max_length);
        set(&mut config.clip, &self.clip);
        set(&mut config.weight_decay, &self.weight_decay);
        set(&mut config.validation_share, &self.validation_share);
        set(&mut config.save_every, &self.save_every);
        config.steps = self.steps;
        config.validate_every = self.validate_every;
        config.patience = self.patience;
    }
}

fn absolute(path: &Path) -> Result<PathBuf> {
    use crate::error::IoContext;
    std::path::absolute(path).at("find", path)
}

/// The model of this machine that is called `name`.
fn weights(name: &str) -> Result<hub::ModelPath> {
    if load::is_served(name) {
        return Err(Error::invalid(format!("`{name}` is behind an endpoint, which gives text and no weights"))
            .hint("tune a model of this machine: --model NAME or PATH; prompts can be tuned with `incontext optimise`"));
    }
    hub::resolve(name)
}

fn train_new(run: Run, restart: bool, settings: &Settings, printer: &Printer) -> Result<Ending> {
    let place = settings.adapters().place(run.name)?;
    if place.exists() {
        return Err(Error::invalid(format!("there is an adapter `{}` already", run.name))
            .hint(format!("give another name with --out, or `incontext adapters rm {}` first", run.name)));
    }
    let folder = runs(settings, run.name);
    if restart {
        forget(&folder)?;
    }
    if folder.join(crate::train::CHECKPOINT).exists() {
        return Err(Error::busy(format!("the run `{}` was not finished", run.name))
            .hint(format!("go on with it: `incontext tune resume {}`, or forget it: --restart", run.name)));
    }
    train(run, settings, printer)
}

fn runs(settings: &Settings, name: &str) -> PathBuf {
    settings.home.dir().join("runs").join(name)
}

fn resume(name: &str, json: bool, settings: &Settings, printer: &Printer) -> Result<Ending> {
    settings.adapters().place(name)?;
    let folder = runs(settings, name);
    if !folder.join(crate::train::CHECKPOINT).exists() {
        let hint = match settings.adapters().place(name)?.exists() {
            true => format!("the adapter `{name}` is finished"),
            false => "begin one with `incontext tune METHOD`".to_owned(),
        };
        return Err(Error::not_found(format!("no run `{name}` was interrupted")).hint(hint));
    }
    let job = Job::read(&folder)?;
    train(Run { name, job, resume: true, json, device: None }, settings, printer)
}

fn train(run: Run, settings: &Settings, printer: &Printer) -> Result<Ending> {
    let Run { name, mut job, resume, json, device } = run;
    let device = settings.device(device)?;
    let place = settings.adapters().place(name)?;
    let path = weights(&job.model)?;
    let found = models::fingerprint(&path.path)?;
    if found != job.base_fingerprint {
        return Err(Error::mismatch(format!(
            "the run began on other weights of `{}` ({}, now {found})",
            job.model, job.base_fingerprint
        ))
        .hint("put the model back as it was, or begin another run"));
    }
    let template = job.template.as_deref().map(|name| settings.library().load(name)).transpose()?;
    let collection = job.data.collection.as_deref().map(|name| settings.home.open(name)).transpose()?;
    let embedder = match &collection {
        Some(collection) => Some(load::collection_embedder(collection, None, &device, settings)?),
        None => None,
    };
    let documents = collection.as_ref().zip(embedder.as_ref()).map(|(collection, embedder)| Documents {
        collection,
        embedder,
        reranker: None,
        places: &settings.places,
    });
    if let Some(template) = &template
        && template.front().inputs.iter().any(|input| input == "passages")
        && documents.is_none()
    {
        return Err(Error::invalid(format!(
            "`{}` shows passages, and there is nothing to find them in",
            template.id()
        ))
        .hint("--collection NAME"));
    }
    printer.note(format!("loading {} ...", job.model));
    settings.home.create()?;
    let folder = runs(settings, name);
    let interrupt = Interrupt::watch();
    let mut follow = Follow::new(printer, &job);
    let tuning = Tuning {
        model: &path.path,
        device: &device,
        template: template.as_ref(),
        documents,
        folder: &folder,
        out: &place,
        resume,
    };
    let done = tune::run(&mut job, &tuning, &mut |progress| follow.hear(&progress, interrupt.is_asked()));
    follow.finish();
    let done = done?;
    if done.interrupted {
        printer.note(format!(
            "stopped after {} of {} steps; `incontext tune resume {name}` goes on",
            done.steps, done.of
        ));
        return Ok(Ending::No(super::INTERRUPTED));
    }
    let bytes = crate::adapters::size(&place)?;
    if json {
        printer.json(&json!({ "name": name, "folder": place, "run": folder, "method": job.method.name(),
            "model": job.model, "bytes": bytes, "outcome": done, "peak_memory": progress::peak_memory() }))?;
        return Ok(Ending::Done);
    }
    follow.summary(&done, bytes);
    printer.note(match job.classify {
        true => format!(
            "`{name}` is here: `incontext classify --adapter {name} TEXT` tells {}",
            job.data.labels.join(", ")
        ),
        false => format!(
            "`{name}` is here; ask with it by --adapter {name}, or from now on: `incontext use {name}`"
        ),
    });
    Ok(Ending::Done)
}
