//! `incontext rlhf ppo | grpo`: a policy that learns from its own answers.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Instant;

use clap::{Args, ValueEnum};
use indicatif::ProgressBar;
use serde_json::json;

use crate::adapters::{self, About, AdapterConfig, Lora};
use crate::cli::interrupt::Interrupt;
use crate::cli::printer::Printer;
use crate::cli::settings::Settings;
use crate::cli::tune::{absolute, progress, runs, vacant, weights};
use crate::cli::{Ending, INTERRUPTED, device, load};
use crate::engine::rlhf::{self, Held, Job, Method, Places, Progress, Prompts, RewardSource};
use crate::error::{Error, Result};
use crate::models::{self, Model};
use crate::rlhf::divergence::Adaptive;
use crate::rlhf::online::ScoreAt;
use crate::rlhf::policy::Reduction;
use crate::train::{CHECKPOINT, Metrics};

/// What questions over a collection are laid out by, unless told otherwise.
const TEMPLATE: &str = "qa/grounded";

/// What both ways are told.
#[derive(Args)]
pub struct Shared {
    /// Prompts to answer: JSON Lines with a `prompt`, a text or turns; may be gzipped
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// Reward model: an adapter of `rlhf reward` on the same model
    #[arg(long, value_name = "NAME", required_unless_present = "collection")]
    reward: Option<String>,
    /// Instead of a reward model: the rows of --data are questions over this collection, with `answers` or none, and an answer is worth what its passages support of it
    #[arg(short, long, value_name = "NAME", conflicts_with_all = ["reward", "plain"])]
    collection: Option<String>,
    /// What to call the adapter
    #[arg(long, value_name = "NAME")]
    out: String,
    /// Model of this machine [default: smollm2-135m-instruct]
    #[arg(long, value_name = "NAME|PATH")]
    model: Option<String>,
    /// Adapter to begin as and to be held to, for example one of `rlhf sft` [default: the model as it is]
    #[arg(long, value_name = "NAME")]
    from: Option<String>,
    /// Rank of the new LoRA, where none is begun as
    #[arg(long, value_name = "R", default_value_t = 8, conflicts_with = "from")]
    rank: usize,
    /// Forget an unfinished run of that name
    #[arg(long)]
    restart: bool,
    /// Go on with an unfinished run of that name
    #[arg(long, conflicts_with = "restart")]
    resume: bool,
    /// Only rows whose field `split` says this
    #[arg(long, value_name = "NAME", help_heading = "Prompts")]
    split: Option<String>,
    /// The first so many rows
    #[arg(long, value_name = "N", help_heading = "Prompts")]
    limit: Option<usize>,
    /// So many of the last prompts are held out, and answered before and after
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Prompts")]
    held_out: usize,
    /// Prompts as they stand, without the model's chat layout
    #[arg(long, help_heading = "Prompts")]
    plain: bool,
    /// Template that questions over a collection are laid out by [default: qa/grounded]
    #[arg(long, value_name = "NAME|FILE", requires = "collection", help_heading = "Prompts")]
    prompt: Option<String>,
    /// Passages that such a prompt shows [default: as many as `ask` shows]
    #[arg(short, value_name = "K", requires = "collection", help_heading = "Prompts")]
    k: Option<usize>,
    #[command(flatten)]
    drawing: Drawing,
    #[command(flatten)]
    learning: Learning,
    /// Where to compute [default: cpu]
    #[arg(long, value_enum)]
    device: Option<device::Kind>,
    /// Print what came of it as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
#[command(next_help_heading = "Answers")]
struct Drawing {
    /// Prompts of an update [default: 32 for ppo, 4 for grpo]
    #[arg(long, value_name = "N")]
    prompts: Option<usize>,
    /// Tokens that an answer may have [default: 53]
    #[arg(long, value_name = "N")]
    max_tokens: Option<usize>,
    /// Temperature at which answers are drawn [default: 0.7 for ppo, 1 for grpo]
    #[arg(long, value_name = "T")]
    temperature: Option<f64>,
    /// What an answer loses that does not end [default: 1]
    #[arg(long, value_name = "REWARD")]
    missing_eos_penalty: Option<f64>,
}

#[derive(Args)]
#[command(next_help_heading = "Learning")]
struct Learning {
    /// How often answers are drawn and learned from [default: 40]
    #[arg(long, value_name = "N")]
    updates: Option<usize>,
    /// Base rate of AdamW [default: 5e-5 for a model below a billion parameters, else 1e-5]
    #[arg(long, value_name = "LR", visible_alias = "lr")]
    learning_rate: Option<f64>,
    /// How often the answers of an update are gone through [default: 4 for ppo, 1 for grpo]
    #[arg(long, value_name = "N")]
    inner_epochs: Option<usize>,
    /// In how many parts they are gone through [default: 1]
    #[arg(long, value_name = "N")]
    mini_batches: Option<usize>,
    /// What a unit of divergence from the beginning costs [default: 0.05 for ppo, 0 for grpo]
    #[arg(long, value_name = "BETA")]
    beta: Option<f64>,
    /// Move that price so that an answer's divergence comes near this
    #[arg(long, value_name = "KL")]
    target_kl: Option<f64>,
    /// Divergence of an answer at which the run is stopped [default: 50]
    #[arg(long, value_name = "KL")]
    most_kl: Option<f64>,
    /// Entropy of a token at which the run is stopped, having collapsed [default: 0.005]
    #[arg(long, value_name = "NATS")]
    least_entropy: Option<f64>,
    /// Answers as they should be, learned beside the policy's own: JSON Lines of prompt and completion
    #[arg(long, value_name = "FILE")]
    sft_data: Option<PathBuf>,
    /// What those count, a token of theirs beside a token of the policy's own [default: 1]
    #[arg(long, value_name = "C", requires = "sft_data")]
    sft_coefficient: Option<f64>,
    /// How far from one the ratio of a token counts [default: 0.2]
    #[arg(long, value_name = "EPSILON")]
    clip: Option<f64>,
    /// Tokens computed at a time: bounds memory, not the result [default: 1024]
    #[arg(long, value_name = "N")]
    micro_tokens: Option<usize>,
    /// Updates between checkpoints; 0: only when interrupted [default: 5]
    #[arg(long, value_name = "N", default_value_t = 5)]
    save_every: usize,
    /// Decides the start, the order of prompts and what is drawn [default: 0]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

#[derive(Args)]
pub struct Ppo {
    #[command(flatten)]
    shared: Shared,
    /// Discount of rewards that come later
    #[arg(long, default_value_t = 1.0)]
    gamma: f64,
    /// How far advantages look ahead (GAE)
    #[arg(long, default_value_t = 0.95)]
    lambda: f64,
    /// How far a value may move in an update
    #[arg(long, value_name = "EPSILON", default_value_t = 0.2)]
    value_clip: f64,
    /// The critic's rate, in rates of the policy
    #[arg(long, value_name = "TIMES", default_value_t = 5.0)]
    value_rate: f64,
    /// Scale rewards to a variance of one before advantages are made of them
    #[arg(long)]
    whiten_rewards: bool,
    /// With which token the score is paid
    #[arg(long, value_enum, default_value_t = At::Eos)]
    score_at: At,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum At {
    /// The last
    Eos,
    /// The one behind it, as a widely copied trainer has it
    AfterEos,
}

#[derive(Args)]
pub struct Grpo {
    #[command(flatten)]
    shared: Shared,
    /// Answers to each prompt [default: 8]
    #[arg(long, value_name = "G")]
    num_generations: Option<usize>,
    /// Do not divide advantages by the spread of their group (Dr. GRPO)
    #[arg(long)]
    unscaled: bool,
    /// Average over all tokens instead of over answers (DAPO)
    #[arg(long)]
    by_token: bool,
}

pub fn ppo(command: &Ppo, settings: &Settings, printer: &Printer) -> Result<Ending> {
    let Ppo { shared, gamma, lambda, value_clip, value_rate, whiten_rewards, score_at } = command;
    let method =
        Method::Ppo { gamma: *gamma, lambda: *lambda, value_clip: *value_clip, value_rate: *value_rate };
    let more = |job: &mut Job| {
        job.settings.whiten_rewards = *whiten_rewards;
        job.settings.score_at = match score_at {
            At::Eos => ScoreAt::Eos,
            At::AfterEos => ScoreAt::AfterEos,
        };
    };
    begin(shared, method, more, settings, printer)
}

pub fn grpo(command: &Grpo, settings: &Settings, printer: &Printer) -> Result<Ending> {
    let method = Method::Grpo { scaled: !command.unscaled };
    let more = |job: &mut Job| {
        if let Some(num_generations) = command.num_generations {
            job.settings.num_generations = num_generations;
        }
        if command.by_token {
            job.settings.reduction = Reduction::Tokens;
        }
    };
    begin(&command.shared, method, more, settings, printer)
}

fn begin(
    shared: &Shared,
    method: Method,
    more: impl FnOnce(&mut Job),
    settings: &Settings,
    printer: &Printer,
) -> Result<Ending> {
    let folder = runs(settings, &shared.out);
    let mut job = match shared.resume {
        true if folder.join(CHECKPOINT).exists() => Job::read(&folder)?,
        true => {
            return Err(Error::not_found(format!("no run `{}` was interrupted", shared.out))
                .hint("begin it without --resume"));
        }
        false => {
            let mut job = job(shared, method, settings)?;
            more(&mut job);
            vacant(&shared.out, shared.restart, settings)?;
            job
        }
    };
    train(shared, &mut job, settings, printer)
}

fn job(shared: &Shared, method: Method, settings: &Settings) -> Result<Job> {
    let model = weights(&settings.model(shared.model.as_deref()))?;
    let (about, _) = Model::describe(&model.path)?;
    let config = match &shared.from {
        None => AdapterConfig::Lora(Lora {
            rank: shared.rank,
            alpha: 2.0 * shared.rank as f64,
            ..Lora::default()
        }),
        Some(from) => {
            let place = settings.adapters().find(from)?;
            adapters::describe(&place)?.0.ok_or_else(|| {
                Error::invalid(format!("`{from}` is weights of the model itself"))
                    .hint("begin as an adapter beside the weights, for example one of `rlhf sft`")
            })?
        }
    };
    let mut online = rlhf::usual(method, about.parameters());
    fn set<T: Copy>(place: &mut T, typed: Option<T>) {
        if let Some(typed) = typed {
            *place = typed;
        }
    }
    let (drawing, learning) = (&shared.drawing, &shared.learning);
    set(&mut online.prompts, drawing.prompts);
    set(&mut online.max_tokens, drawing.max_tokens);
    set(&mut online.temperature, drawing.temperature);
    set(&mut online.missing_eos_penalty, drawing.missing_eos_penalty);
    set(&mut online.updates, learning.updates);
    set(&mut online.epochs, learning.inner_epochs);
    set(&mut online.mini_batches, learning.mini_batches);
    set(&mut online.beta, learning.beta);
    set(&mut online.most_divergence, learning.most_kl);
    set(&mut online.least_entropy, learning.least_entropy);
    let mixed = learning.sft_data.as_ref().map(|_| 1.0);
    set(&mut online.sft_coefficient, learning.sft_coefficient.or(mixed));
    set(&mut online.clip, learning.clip.map(|clip| (clip, clip)));
    set(&mut online.train.learning_rate, learning.learning_rate);
    set(&mut online.train.micro_tokens, learning.micro_tokens);
    set(&mut online.train.seed, learning.seed);
    online.adaptive = learning.target_kl.map(|target| Adaptive { target, ..Adaptive::default() });
    Ok(Job {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        base_fingerprint: models::fingerprint(&model.path)?,
        model: model.lasting_name()?,
        method,
        config,
        from: shared.from.clone(),
        reward: match (&shared.reward, &shared.collection) {
            (Some(name), _) => RewardSource::Model { name: name.clone() },
            (None, collection) => RewardSource::Grounding {
                collection: settings.collection(collection.as_deref()),
                template: shared.prompt.as_deref().unwrap_or(TEMPLATE).to_owned(),
                k: shared.k,
            },
        },
        prompts: Prompts {
            file: absolute(&shared.data)?,
            split: shared.split.clone(),
            limit: shared.limit,
            held_out: shared.held_out,
            plain: shared.plain,
        },
        sft: learning.sft_data.as_deref().map(absolute).transpose()?,
        inputs: BTreeMap::new(),
        settings: online,
    })
}

fn train(shared: &Shared, job: &mut Job, settings: &Settings, printer: &Printer) -> Result<Ending> {
    let start = Instant::now();
    let (out, folder) = (settings.adapters().place(&shared.out)?, runs(settings, &shared.out));
    let model = weights(&job.model)?.path;
    let from = job.from.as_deref().map(|name| settings.adapters().find(name)).transpose()?;
    if let Some(place) = &from
        && About::read(place)?.is_some_and(|about| !about.fits(&job.base_fingerprint))
    {
        return Err(Error::mismatch(format!("`{}` is of another base", place.display()))
            .hint("begin as an adapter of this model"));
    }
    let device = settings.device(shared.device)?;
    let (mut reward, mut template, mut shelf) = (None, None, None);
    match &job.reward {
        RewardSource::Model { name } => reward = Some(settings.adapters().find(name)?),
        RewardSource::Grounding { collection: name, template: by, .. } => {
            template = Some(settings.library().load(by)?);
            shelf = Some(load::Shelf::open(name, &device, settings)?);
        }
    }
    printer.note(format!("loading {} ...", job.model));
    settings.home.create()?;
    let places = Places {
        model: &model,
        device: &device,
        from: from.as_deref(),
        reward: reward.as_deref(),
        template: template.as_ref(),
        documents: shelf.as_ref().map(|shelf| shelf.documents(settings)),
        folder: &folder,
        out: &out,
        resume: shared.resume,
        save_every: shared.learning.save_every,
    };
    let interrupt = Interrupt::watch();
    let mut follow = Follow { printer, name: job.method.name(), bar: None };
    let done =
        rlhf::run(job, &places, &mut |progress| match (follow.hear(&progress), interrupt.is_asked()) {
            ((), true) => ControlFlow::Break(()),
            ((), false) => ControlFlow::Continue(()),
        });
    follow.finish();
    let done = done?;
    if shared.json {
        let bytes = if done.interrupted { 0 } else { adapters::size(&out)? };
        printer.json(
            &json!({ "name": shared.out, "folder": out, "run": folder, "method": job.method.name(),
            "model": job.model, "bytes": bytes, "outcome": done, "seconds": start.elapsed().as_secs_f64(),
            "core_seconds": progress::core_seconds(), "peak_memory": progress::peak_memory() }),
        )?;
    }
    if done.interrupted {
        printer.note(format!(
            "stopped after {} of {} updates; the same command with --resume goes on",
            done.updates, job.settings.updates
        ));
        return Ok(Ending::No(INTERRUPTED));
    }
    if !shared.json {
        printer.note(format!("`{0}` is here; ask with it by --adapter {0}", shared.out));
    }
    Ok(Ending::Done)
}

/// What a person sees of a run.
struct Follow<'a> {
    printer: &'a Printer,
    name: &'static str,
    bar: Option<ProgressBar>,
}

impl Follow<'_> {
    fn hear(&mut self, progress: &Progress) {
        match progress {
            Progress::LayingOut(at, of) => {
                let bar = self.bar.get_or_insert_with(|| self.printer.bar(*of as u64));
                bar.set_message("laying out");
                bar.set_position(*at as u64);
            }
            Progress::Ready { prompts, held_out, too_long, not_found, parameters } => {
                self.finish();
                if *not_found > 0 {
                    self.printer.note(format!(
                        "{not_found} questions left out: their answers stand in no passage that was found"
                    ));
                }
                if *too_long > 0 {
                    self.printer
                        .note(format!("{too_long} prompts left out: they leave no room for an answer"));
                }
                self.printer.note(format!(
                    "{}: {parameters} parameters, {prompts} prompts, {held_out} held out",
                    self.name
                ));
            }
            Progress::Drawing { update, tokens } => {
                if let Some(bar) = &self.bar {
                    bar.set_message(format!("update {update}: {tokens} tokens drawn"));
                }
            }
            Progress::Updated { update, of, metrics } => {
                let bar = self.bar.get_or_insert_with(|| self.printer.bar(*of as u64));
                bar.set_position(*update as u64);
                let text = line(*update, metrics);
                bar.suspend(|| self.printer.note(text));
            }
            Progress::Held(Held { answers, mean, standard_deviation, divergence, ended }) => {
                self.finish();
                self.printer.note(format!(
                    "{answers} answers to prompts held out: score {mean:.3} (standard deviation {standard_deviation:.3}), divergence \
                     {divergence:.2}, {:.0} % ended",
                    100.0 * ended
                ));
            }
        }
    }

    fn finish(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

fn line(update: usize, metrics: &Metrics) -> String {
    let of = |name: &str| metrics.get(name).copied().unwrap_or(f64::NAN);
    format!(
        "update {update}: score {:.3}, divergence {:.3}, entropy {:.1}, {:.1} tokens an answer",
        of("objective/scores"),
        of("objective/kl"),
        of("objective/entropy"),
        of("val/response_length")
    )
}
