//! `incontext rlhf ppo | grpo`: a policy that learns from its own answers.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Instant;

use serde_json::json;

use super::follow::Follow;
use super::options::{At, Grpo, Ppo, Shared};
use crate::adapters::{self, About, AdapterConfig, Lora};
use crate::cli::interrupt::Interrupt;
use crate::cli::printer::Printer;
use crate::cli::settings::Settings;
use crate::cli::tune::{absolute, progress, runs, vacant, weights};
use crate::cli::{Ending, INTERRUPTED, load};
use crate::engine::rlhf::{self, Job, Method, Places, Prompts, RewardSource};
use crate::error::{Error, Result};
use crate::models::{self, Model};
use crate::rlhf::divergence::Adaptive;
use crate::rlhf::online::ScoreAt;
use crate::rlhf::policy::Reduction;
use crate::train::CHECKPOINT;

/// What questions over a collection are laid out by, unless told otherwise.
const TEMPLATE: &str = "qa/grounded";

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
