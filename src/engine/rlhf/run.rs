//! One run, from a job to a folder.

use std::fs::OpenOptions;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;

use candle_core::Device;
use serde::Serialize;
use serde_json::{Value, json};

use super::cast::{Judge, Learning};
use super::{Job, Method};
use crate::adapters::{self, About, Stored, Task, Tensors};
use crate::engine::tune::{lock, vacant};
use crate::error::{Error, IoContext, Result};
use crate::files;
use crate::models::Model;
use crate::nn::Adapter;
use crate::rlhf::advantage::moments;
use crate::rlhf::critic;
use crate::rlhf::online::{Actors, Baseline, Drawn, Event, Run};
use crate::rlhf::rollout::Rollout;
use crate::rlhf::surrogate::numbers;
use crate::text::example::Rows as Lines;
use crate::text::records;
use crate::text::tokenizer::Tokenizer;
use crate::train::{self, Metrics, Reading, Row, Seen, Style, Subject, end_of_turn, look, on_big_stack};

/// What happened in each update, a line each, and answers that were drawn.
const METRICS: &str = "metrics.jsonl";
const SAMPLES: &str = "samples.jsonl";

/// The number of the first answer to prompts that are held out: no training draws as many.
const HELD_OUT: u64 = 1 << 40;

/// Where things lie.
pub struct Places<'a> {
    pub model: &'a Path,
    pub device: &'a Device,
    /// The folder of the adapter to begin as.
    pub from: Option<&'a Path>,
    /// The folder of the reward model.
    pub reward: &'a Path,
    /// Where the run leaves its checkpoint and its logs.
    pub folder: &'a Path,
    /// Where the adapter is to be.
    pub out: &'a Path,
    pub resume: bool,
    /// Updates between checkpoints.
    pub save_every: usize,
}

/// What a person may follow.
#[derive(Debug, Clone, PartialEq)]
pub enum Progress {
    /// How many prompts there are, how many are held out and how many were too long.
    Ready {
        prompts: usize,
        held_out: usize,
        too_long: usize,
        parameters: usize,
    },
    Drawing {
        update: usize,
        tokens: usize,
    },
    Updated {
        update: usize,
        of: usize,
        metrics: Metrics,
    },
    /// Of the prompts that are held out: before the first update, and after the last.
    Held(Held),
}

/// Scores of answers to prompts that nothing was learned from.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Held {
    pub answers: usize,
    pub mean: f64,
    /// Between answers.
    pub standard_deviation: f64,
    /// Of a whole answer, from where the policy began.
    pub divergence: f64,
    pub ended: f64,
}

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Done {
    pub updates: usize,
    pub interrupted: bool,
    pub trained_parameters: usize,
    pub before: Option<Held>,
    pub after: Option<Held>,
    /// Of the last update.
    pub metrics: Metrics,
}

/// Trains as `job` says, and keeps what comes of it unless that was interrupted.
///
/// # Errors
/// What is wrong with the job, the prompts, the reward model; as [`Run::update`]. `Busy` while another process trains there.
pub fn run(job: &mut Job, places: &Places, on: &mut dyn FnMut(Progress) -> ControlFlow<()>) -> Result<Done> {
    job.check()?;
    let _lock = lock(places.folder)?;
    vacant(places.out)?;
    job.settle("reward model", adapters::fingerprint(places.reward)?)?;
    if let Some(from) = places.from {
        job.settle("adapter to begin as", adapters::fingerprint(from)?)?;
    }
    let model = Model::load(places.model, places.device)?;
    if !model.transformer.config.causal {
        return Err(Error::invalid("an encoder writes no answers to learn from"));
    }
    let judge = Judge::read(places.reward, &model, &job.base_fingerprint)?;
    let seed = job.settings.train.seed;
    let policy = Learning::new(&model.transformer, &job.config, places.from, seed)?;
    let worth = match job.method {
        Method::Ppo { .. } => Some(Learning::critic(&model.transformer, &judge, &job.config, seed + 1)?),
        Method::Grpo { .. } => None,
    };
    let Asked { prompts, held_out, too_long } = Asked::of(job, &model)?;
    job.write(places.folder)?;
    let ready = Progress::Ready {
        prompts: prompts.len(),
        held_out: held_out.len(),
        too_long,
        parameters: policy.params.count(),
    };
    if on(ready).is_break() {
        return Err(Error::interrupted("stopped before the first update"));
    }
    let parts = Parts { job, places, model: &model, judge: &judge, policy: &policy, worth: worth.as_ref() };
    let done = on_big_stack(on, |on| parts.run(&prompts, &held_out, on))?;
    if !done.interrupted {
        parts.keep(&done)?;
        train::forget(places.folder)?;
    }
    Ok(done)
}

/// The ids of prompts.
struct Asked {
    prompts: Vec<Vec<u32>>,
    held_out: Vec<Vec<u32>>,
    /// How many leave no room for an answer.
    too_long: usize,
}

impl Asked {
    fn of(job: &mut Job, model: &Model) -> Result<Self> {
        let source = records::Source::read(&job.prompts.file)?;
        job.settle("file of prompts", source.hash.clone())?;
        let asked = &job.prompts;
        let window = model.transformer.config.context.min(job.settings.train.max_length);
        let room = window.saturating_sub(job.settings.max_tokens);
        let reading = Reading {
            style: if asked.plain { Style::Plain } else { Style::Chat },
            lines: Lines { split: asked.split.clone(), limit: asked.limit },
            ..Reading::new(model.tokenizer()?, room)
        };
        let (mut prompts, too_long) = reading.prompts(&source)?;
        if prompts.len() <= asked.held_out {
            return Err(Error::invalid(format!(
                "`{}` has {} prompts that fit, and {} are to be held out",
                asked.file.display(),
                prompts.len(),
                asked.held_out
            ))
            .hint("hold out fewer, or give more prompts"));
        }
        let held_out = prompts.split_off(prompts.len() - asked.held_out);
        Ok(Self { prompts, held_out, too_long })
    }
}

/// Everything a run needs.
struct Parts<'a> {
    job: &'a Job,
    places: &'a Places<'a>,
    model: &'a Model,
    judge: &'a Judge,
    policy: &'a Learning,
    worth: Option<&'a Learning>,
}

impl Parts<'_> {
    fn run(
        &self,
        prompts: &[Vec<u32>],
        held_out: &[Vec<u32>],
        on: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Done> {
        let (settings, folder) = (&self.job.settings, self.places.folder);
        let stop = self.stop()?;
        let decays = |_: &str| false;
        let policy = Subject {
            adapter: &*self.policy.adapter,
            decays: &decays,
            ..Subject::new("policy", self.model, &self.policy.params)
        };
        let baseline =
            match (self.job.method, self.worth.and_then(|worth| Some((worth, worth.head.as_ref()?)))) {
                (Method::Ppo { gamma, lambda, value_clip, value_rate }, Some((worth, head))) => {
                    Baseline::Critic {
                        subject: Subject {
                            adapter: &*worth.adapter,
                            decays: &decays,
                            ..Subject::new("critic", self.model, &worth.params)
                        },
                        head,
                        gamma,
                        lambda,
                        clip: value_clip,
                        rate: value_rate,
                    }
                }
                (Method::Grpo { scaled }, _) => Baseline::Group { scaled },
                (Method::Ppo { .. }, None) => return Err(Error::invalid("PPO needs a critic")),
            };
        let reward = |drawn: &[Drawn]| {
            let rows: Vec<Row> = drawn.iter().map(|drawn| drawn.row.clone()).collect();
            self.scores(&rows)
        };
        let as_values = || self.policy.as_values(&self.model.transformer);
        let actors = Actors {
            policy,
            as_values: &as_values,
            reference: &*self.policy.began,
            baseline,
            reward: &reward,
        };
        let identity = serde_json::to_value(self.job).unwrap_or_default();
        let mut run = Run::new(actors, prompts, &stop, settings)?;
        let goes_on = run.resume(folder, &identity, self.places.device)?;
        if goes_on && !self.places.resume {
            return Err(Error::invalid(format!("`{}` holds a run that was not finished", folder.display()))
                .hint("go on with it, or forget it: --restart"));
        }
        let log = Log::open(folder, run.state.update)?;
        let before = match goes_on {
            true => None,
            false => self.held(held_out, &stop, on)?,
        };
        let (mut last, mut interrupted, mut unwritten) = (Metrics::new(), false, None);
        while run.state.update < settings.updates {
            let heard = run.update(&mut |event| match event {
                Event::Drawing { update, tokens } => on(Progress::Drawing { update, tokens }),
                Event::Updated { update, metrics, samples } => {
                    last.clone_from(&metrics);
                    if let Err(error) = log.write(update, &metrics, &self.told(&samples)) {
                        unwritten = Some(error);
                        return ControlFlow::Break(());
                    }
                    on(Progress::Updated { update, of: settings.updates, metrics })
                }
            });
            if let Some(error) = unwritten {
                return Err(error);
            }
            let done = run.state.update;
            match heard {
                Ok(ControlFlow::Continue(())) => {}
                // What was begun and not finished is drawn again.
                Ok(ControlFlow::Break(())) | Err(Error::Interrupted(_)) => {
                    interrupted = true;
                }
                Err(error) => return Err(error),
            }
            let due = self.places.save_every > 0 && done.is_multiple_of(self.places.save_every);
            if interrupted || due {
                run.save(folder, &identity)?;
            }
            if interrupted {
                break;
            }
        }
        let after = if interrupted { None } else { self.held(held_out, &stop, on)? };
        Ok(Done {
            updates: run.state.update,
            interrupted,
            trained_parameters: self.policy.params.count(),
            before,
            after,
            metrics: last,
        })
    }

    /// Tokens that end an answer.
    fn stop(&self) -> Result<Vec<u32>> {
        let tokenizer = self.model.tokenizer()?;
        let mut stop = tokenizer.eos().to_vec();
        stop.extend(end_of_turn(tokenizer));
        stop.sort_unstable();
        stop.dedup();
        Ok(stop)
    }

    /// What the reward model says of whole answers.
    fn scores(&self, rows: &[Row]) -> Result<Vec<f64>> {
        let params = crate::nn::Params::new();
        let judge = Subject { adapter: &*self.judge.adapter, ..Subject::new("reward", self.model, &params) };
        let of = |seen: &Seen| -> Result<Vec<(usize, f64)>> {
            let scores = numbers(&critic::scores(&self.judge.head, seen.piece, seen.hidden)?)?;
            Ok(seen.piece.rows.iter().copied().zip(scores).collect())
        };
        let found = look(&judge, rows, self.job.settings.train.micro_tokens, &of, &mut |_, _| true)?;
        let mut all: Vec<(usize, f64)> = found.unwrap_or_default().into_iter().flatten().collect();
        all.sort_by_key(|(row, _)| *row);
        Ok(all.into_iter().map(|(_, score)| score).collect())
    }

    /// How the policy does at prompts that are held out: the same draws before and after.
    fn held(
        &self,
        prompts: &[Vec<u32>],
        stop: &[u32],
        on: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Option<Held>> {
        if prompts.is_empty() {
            return Ok(None);
        }
        let settings = &self.job.settings;
        let adapter = self.policy.as_values(&self.model.transformer)?;
        let rollout = Rollout {
            network: &self.model.transformer,
            adapter: &*adapter,
            stop,
            temperature: settings.temperature,
            max_tokens: settings.max_tokens,
            seed: settings.train.seed,
        };
        let mut answers = Vec::new();
        for (at, part) in prompts.chunks(settings.prompts * settings.num_generations).enumerate() {
            let first = HELD_OUT + (at * settings.prompts * settings.num_generations) as u64;
            let drawn =
                rollout.answers(part, 1, first, &mut |tokens| on(Progress::Drawing { update: 0, tokens }))?;
            answers.extend(drawn.into_iter().zip(part));
        }
        let rows: Vec<Row> =
            answers.iter().map(|(answer, prompt)| Row::from_ids(prompt, &answer.ids)).collect();
        let scores = self.scores(&rows)?;
        let (mean, variance) = moments(&scores);
        let (now, began) = (self.said(&*adapter, &rows)?, self.said(&*self.policy.began, &rows)?);
        let ended = answers.iter().filter(|(answer, _)| answer.ended).count();
        let held = Held {
            answers: rows.len(),
            mean,
            standard_deviation: variance.sqrt(),
            divergence: (now - began) / rows.len() as f64,
            ended: ended as f64 / rows.len() as f64,
        };
        let _ = on(Progress::Held(held));
        Ok(Some(held))
    }

    /// The sum of the log-probabilities of all answers under `adapter`.
    fn said(&self, adapter: &dyn Adapter, rows: &[Row]) -> Result<f64> {
        let params = crate::nn::Params::new();
        let subject = Subject { adapter, ..Subject::new("policy", self.model, &params) };
        let temperature = self.job.settings.temperature;
        let of = |seen: &Seen| -> Result<f64> {
            let said =
                crate::rlhf::policy::log_probabilities(seen.model, seen.piece, seen.hidden, temperature)?;
            Ok(numbers(&said)?.iter().sum())
        };
        let found = look(&subject, rows, self.job.settings.train.micro_tokens, &of, &mut |_, _| true)?;
        Ok(found.unwrap_or_default().into_iter().sum())
    }

    /// Answers with their prompts, as texts.
    fn told(&self, samples: &[(Drawn, f64)]) -> Vec<Value> {
        let text = |ids: &[u32]| {
            self.model.tokenizer.as_ref().and_then(|tokenizer: &Tokenizer| tokenizer.decode(ids).ok())
        };
        let one = |(drawn, score): &(Drawn, f64)| {
            let (ids, answer) = (&drawn.row.ids, &drawn.answer.ids);
            json!({ "prompt": text(&ids[..ids.len() - answer.len()]), "answer": text(answer), "score": score,
                "ended": drawn.answer.ended })
        };
        samples.iter().map(one).collect()
    }

    /// Puts the policy at its place.
    fn keep(&self, done: &Done) -> Result<()> {
        let (config, tensors) = self.policy.config.trained(&self.policy.values())?;
        let about = About {
            version: self.job.version.clone(),
            base: self.job.model.clone(),
            base_fingerprint: self.job.base_fingerprint.clone(),
            method: self.job.method.name().to_owned(),
            config: Some(config.clone()),
            task: Task::CausalLm,
            trained_parameters: done.trained_parameters,
            training: json!({ "job": self.job, "outcome": done }),
            ..About::default()
        };
        let base_name = Some(self.job.model.clone());
        let stored = Stored {
            config: Some(config),
            tensors,
            base: Tensors::new(),
            task: Task::CausalLm,
            about: Some(about),
            base_name,
        };
        let network = &self.model.transformer;
        stored.write(self.places.out, network, &network.config.family.to_string())
    }
}

/// What a run leaves beside its checkpoint.
struct Log<'a> {
    folder: &'a Path,
}

impl<'a> Log<'a> {
    /// Keeps what was written of the first `done` updates: what came after the last checkpoint is done again.
    fn open(folder: &'a Path, done: usize) -> Result<Self> {
        for name in [METRICS, SAMPLES] {
            let path = folder.join(name);
            let text = match done > 0 && path.exists() {
                true => std::fs::read_to_string(&path).at("read", &path)?,
                false => String::new(),
            };
            let kept = |line: &&str| {
                let parsed: Option<Value> = serde_json::from_str(line).ok();
                parsed.and_then(|line| line["update"].as_u64()).is_some_and(|update| update as usize <= done)
            };
            let kept: String = text.lines().filter(kept).map(|line| format!("{line}\n")).collect();
            files::replace(&path, kept.as_bytes())?;
        }
        Ok(Self { folder })
    }

    fn write(&self, update: usize, metrics: &Metrics, samples: &[Value]) -> Result<()> {
        let lines = json!({ "update": update, "metrics": metrics }).to_string() + "\n";
        self.append(METRICS, &lines)?;
        let lines: String = samples
            .iter()
            .map(|sample| format!("{}\n", json!({ "update": update, "sample": sample })))
            .collect();
        self.append(SAMPLES, &lines)
    }

    fn append(&self, name: &str, lines: &str) -> Result<()> {
        let path = self.folder.join(name);
        let mut file = OpenOptions::new().append(true).create(true).open(&path).at("open", &path)?;
        file.write_all(lines.as_bytes()).at("write", &path)
    }
}
