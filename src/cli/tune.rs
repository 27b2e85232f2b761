//! `incontext tune METHOD`: teach a model a task.

mod features;
mod method;
mod options;
pub mod preference;
pub(super) mod progress;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;

use self::features::FeatureOptions;
use self::method::{
    Bottlenecks, FullOptions, Ia3Options, LlamaOptions, LoraOptions, NoOptions, PTuningOptions,
    PrefixOptions, SoftOptions,
};
use self::options::Shared;
use self::progress::Follow;
use super::interrupt::Interrupt;
use super::printer::Printer;
use super::settings::Settings;
use super::{Ending, device, help, load};
use crate::adapters::{AdapterConfig, Bottleneck, Placement};
use crate::engine::tune::{self, Data, JOB, Job, Method, Preference, Tuning};
use crate::error::{Error, IoContext, Result};
use crate::hub;
use crate::models::{self, Model, Selection};
use crate::text::example::Columns;
use crate::train::{CHECKPOINT, forget};

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
    /// Features: a classical classifier over the hidden states of the model, which stays as it is
    #[command(after_long_help = help::examples(FEATURES))]
    Features(FeatureOptions),
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
const FEATURES: help::Examples = &[
    (
        "Logistic regression on the default encoder",
        "incontext tune features --data reviews.jsonl --out reviews",
    ),
    (
        "The best of three, by a tenth of the rows",
        "incontext tune features --data reviews.jsonl --c 0.1,1,10 --validation-share 0.1 --out best",
    ),
    ("A forest", "incontext tune features --data reviews.jsonl --classifier random-forest --out forest"),
    ("Asked afterwards", "incontext classify --adapter reviews \"What a film\""),
];
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

/// Labels that a person is told of in a line.
const SHOWN_LABELS: usize = 12;

/// A method, and what all of them share.
#[derive(Args)]
pub struct One<M: Args> {
    #[command(flatten)]
    method: M,
    #[command(flatten)]
    shared: Shared,
}

/// LoRA on answers as they should be.
pub type Sft = One<LoraOptions>;

pub fn sft(one: &Sft, settings: &Settings, printer: &Printer) -> Result<Ending> {
    begin(&one.shared, one.method.chosen(), settings, printer)
}

/// What a method's options come to.
struct Chosen {
    method: Method,
    init_text: Option<String>,
    init_demos: Option<PathBuf>,
    lora_plus: Option<f64>,
}

impl Chosen {
    fn of(method: Method) -> Self {
        Self { method, init_text: None, init_demos: None, lora_plus: None }
    }
}

impl From<AdapterConfig> for Chosen {
    fn from(config: AdapterConfig) -> Self {
        Self::of(Method::Adapter(config))
    }
}

impl From<Selection> for Chosen {
    fn from(selection: Selection) -> Self {
        Self::of(Method::Weights(selection))
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
        Tune::SoftPrompt(one) => begin(&one.shared, one.method.chosen()?, settings, printer),
        Tune::PTuning(one) => begin(&one.shared, one.method.config().into(), settings, printer),
        Tune::Houlsby(one) => bottleneck(one, Placement::Houlsby),
        Tune::Pfeiffer(one) => bottleneck(one, Placement::Pfeiffer),
        Tune::Parallel(one) => bottleneck(one, Placement::Parallel),
        Tune::LlamaAdapter(one) => begin(&one.shared, one.method.config().into(), settings, printer),
        Tune::Features(options) => features::run(options, settings, printer),
        Tune::Head(one) => begin(&one.shared, Selection::Head.into(), settings, printer),
        Tune::Full(one) => {
            let full = one.method.top_layers.map_or(Selection::All, Selection::Top);
            begin(&one.shared, full.into(), settings, printer)
        }
        Tune::Bitfit(one) => begin(&one.shared, Selection::BitFit.into(), settings, printer),
        Tune::Resume { name, json } => resume(name, *json, settings, printer),
        Tune::Repeat { run, out, json } => {
            let mut job = Job::read(run)?;
            same_base(&job)?;
            vacant(out, false, settings)?;
            job.version = env!("CARGO_PKG_VERSION").to_owned();
            if let Method::Features(_) = job.method {
                return features::fit(out, job, *json, None, settings, printer);
            }
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
    shared.check()?;
    let method = chosen.method;
    let model = weights(&settings.model(shared.model.as_deref()))?;
    let (about, _) = Model::describe(&model.path)?;
    let mut training = tune::train_config(&method, &about);
    shared.training.put(&mut training);
    let rows = &shared.rows;
    // An encoder writes nothing: there is nothing else to teach it.
    let classify = shared.classify || !about.causal || matches!(method, Method::Weights(Selection::Head));
    if classify && shared.template.is_some() {
        return Err(Error::invalid(
            "a head that tells classes apart reads texts as they are, by no template",
        )
        .hint("leave --template out, or tune a model that writes by a method that has no head"));
    }
    let lora_plus = chosen.lora_plus.unwrap_or(1.0);
    if !(lora_plus > 0.0 && lora_plus.is_finite()) {
        return Err(Error::invalid(format!("with --lora-plus {lora_plus} B would not be trained"))
            .hint("a number above 0; 16 is what the paper takes"));
    }
    training.check()?;
    let data = Data {
        file: absolute(&shared.data)?,
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
    };
    let job = Job {
        classify,
        template: match &shared.template {
            Some(file) if file.ends_with(".j2") => {
                Some(absolute(file.as_ref())?.to_string_lossy().into_owned())
            }
            name => name.clone(),
        },
        init_text: chosen.init_text,
        init_demos: chosen.init_demos.as_deref().map(absolute).transpose()?,
        sweep: shared.training.sweep_lr,
        lora_plus,
        ..Job::new(model.lasting_name()?, &model.path, method, data, training)?
    };
    let run = Run { name: &shared.out, job, resume: false, json: shared.json, device: shared.device };
    vacant(&shared.out, shared.restart, settings)?;
    train(run, settings, printer)
}

pub fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).at("find", path)
}

/// The model of this machine that is called `name`.
pub fn weights(name: &str) -> Result<hub::ModelPath> {
    if load::is_served(name) {
        return Err(Error::invalid(format!("`{name}` is behind an endpoint, which gives text and no weights"))
            .hint("tune a model of this machine: --model NAME or PATH; prompts can be tuned with `incontext optimise`"));
    }
    hub::resolve(name)
}

/// Refuses a name under which something would be lost: an adapter's, or an unfinished run's unless that is to be forgotten.
pub fn vacant(name: &str, restart: bool, settings: &Settings) -> Result<()> {
    if settings.adapters().place(name)?.exists() {
        return Err(Error::invalid(format!("there is an adapter `{name}` already"))
            .hint(format!("give another name with --out, or `incontext adapters rm {name}` first")));
    }
    let folder = runs(settings, name);
    if restart && folder.exists() {
        let _lock = tune::lock(&folder)?;
        forget(&folder)?;
    }
    match folder.join(CHECKPOINT).exists() {
        true => Err(Error::invalid(format!("the run `{name}` was not finished"))
            .hint(format!("go on with it: `incontext tune resume {name}`, or forget it: --restart"))),
        false => Ok(()),
    }
}

/// Refuses a job that began on other weights.
fn same_base(job: &Job) -> Result<()> {
    let found = models::fingerprint(&weights(&job.model)?.path)?;
    if found == job.base_fingerprint {
        return Ok(());
    }
    Err(Error::mismatch(format!(
        "the run began on other weights of `{}` ({}, now {found})",
        job.model, job.base_fingerprint
    ))
    .hint("put the model back as it was, or begin another run"))
}

pub fn runs(settings: &Settings, name: &str) -> PathBuf {
    settings.home.dir().join("runs").join(name)
}

fn resume(name: &str, json: bool, settings: &Settings, printer: &Printer) -> Result<Ending> {
    let (place, folder) = (settings.adapters().place(name)?, runs(settings, name));
    if !folder.join(CHECKPOINT).exists() {
        return Err(match (place.exists(), folder.join(JOB).exists()) {
            (true, _) => Error::not_found(format!("no run `{name}` was interrupted"))
                .hint(format!("the adapter `{name}` is finished")),
            (false, true) => Error::not_found(format!("the run `{name}` ended before its first checkpoint"))
                .hint(format!(
                    "`incontext tune repeat {} --out {name}` begins it again; --save-every leaves checkpoints more often",
                    folder.display()
                )),
            (false, false) => Error::not_found(format!("no run `{name}` was interrupted"))
                .hint("begin one with `incontext tune METHOD`"),
        });
    }
    let job = Job::read(&folder)?;
    same_base(&job)?;
    train(Run { name, job, resume: true, json, device: None }, settings, printer)
}

fn train(run: Run, settings: &Settings, printer: &Printer) -> Result<Ending> {
    let start = std::time::Instant::now();
    let Run { name, mut job, resume, json, device } = run;
    let device = settings.device(device)?;
    let place = settings.adapters().place(name)?;
    let path = weights(&job.model)?.path;
    let template = job.template.as_deref().map(|name| settings.library().load(name)).transpose()?;
    let shelf = job.data.collection.as_deref().map(|name| load::Shelf::open(name, &device, settings));
    let shelf = shelf.transpose()?;
    let documents = shelf.as_ref().map(|shelf| shelf.documents(settings));
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
    let from = job.from.as_deref().map(|name| settings.adapters().find(name)).transpose()?;
    printer.note(format!("loading {} ...", job.model));
    settings.home.create()?;
    let folder = runs(settings, name);
    let interrupt = Interrupt::watch();
    let mut follow = Follow::new(printer, &job);
    let tuning = Tuning {
        model: &path,
        device: &device,
        template: template.as_ref(),
        documents,
        from: from.as_deref(),
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
            "model": job.model, "bytes": bytes, "outcome": done, "seconds": start.elapsed().as_secs_f64(),
            "core_seconds": progress::core_seconds(), "peak_memory": progress::peak_memory() }))?;
        return Ok(Ending::Done);
    }
    follow.summary(&done, bytes);
    printer.note(match (job.preference, job.classify) {
        (Some(Preference::Reward { .. }), _) => format!("`{name}` is here: it scores answers"),
        (_, true) => tells(name, &job.data.labels),
        (_, false) => format!(
            "`{name}` is here; ask with it by --adapter {name}, or from now on: `incontext use {name}`"
        ),
    });
    Ok(Ending::Done)
}

/// How a classifier is asked, and what it tells.
fn tells(name: &str, labels: &[String]) -> String {
    let more = labels.len().saturating_sub(SHOWN_LABELS);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    let labels = labels.iter().take(SHOWN_LABELS).cloned().collect::<Vec<_>>().join(", ");
    format!("`{name}` is here: `incontext classify --adapter {name} TEXT` tells {labels}{more}")
}
