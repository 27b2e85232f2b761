//! One run, from a job to a folder.

use std::ops::ControlFlow;
use std::path::Path;

use candle_core::Device;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::asked::{Asked, Prompts};
use super::cast::{Judge, Learning};
use super::log::Log;
use super::{Job, Method, grounding};
use crate::adapters::{self, About, Stored, Task, Tensors};
use crate::engine::tune::{Documents, Question, lock, vacant};
use crate::error::{Error, Result};
use crate::models::Model;
use crate::nn::Adapter;
use crate::prompt::Template;
use crate::rlhf::advantage::moments;
use crate::rlhf::online::{self, Actors, Baseline, Drawn, Event, Run};
use crate::rlhf::rollout::{Rollout, end_tokens};
use crate::text::tokenizer::Tokenizer;
use crate::train::{self, Metrics, Row, Seen, Subject, look, on_big_stack};

/// The number of the first answer to prompts that are held out: no training draws as many.
const HELD_OUT: u64 = 1 << 40;

/// Where things lie.
pub struct Places<'a> {
    pub model: &'a Path,
    pub device: &'a Device,
    /// The folder of the adapter to begin as.
    pub from: Option<&'a Path>,
    /// The folder of the reward model, where one says what answers are worth.
    pub reward: Option<&'a Path>,
    /// What lays questions out, and where their passages are found, where answers are held against those.
    pub template: Option<&'a Template>,
    pub documents: Option<Documents<'a>>,
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
    /// A question is laid out next: which, of how many.
    LayingOut(usize, usize),
    /// How many prompts there are, how many are held out and how many were too long.
    Ready {
        prompts: usize,
        held_out: usize,
        too_long: usize,
        /// Questions whose answer stands in no passage that was found.
        not_found: usize,
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
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
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
    let read = [
        ("reward model", places.reward.map(adapters::fingerprint).transpose()?),
        ("template", places.template.map(|template| template.version().to_owned())),
        ("collection", places.documents.map(|documents| documents.version.to_owned())),
    ];
    for (name, hash) in read {
        if let Some(hash) = hash {
            job.settle(name, hash)?;
        }
    }
    if let Some(from) = places.from {
        job.settle("adapter to begin as", adapters::fingerprint(from)?)?;
    }
    let model = Model::load(places.model, places.device)?;
    if !model.transformer.config.causal {
        return Err(Error::invalid("an encoder writes no answers to learn from"));
    }
    let judge = places.reward.map(|dir| Judge::read(dir, &model, &job.base_fingerprint)).transpose()?;
    let seed = job.settings.train.seed;
    let policy = Learning::new(&model.transformer, &job.config, places.from, seed)?;
    let worth = match job.method {
        Method::Ppo { .. } => {
            Some(Learning::critic(&model.transformer, judge.as_ref(), &job.config, seed + 1)?)
        }
        Method::Grpo { .. } => None,
    };
    let everybody = [
        Some(&policy.began),
        worth.as_ref().map(|worth| &worth.began),
        judge.as_ref().map(|judge| &judge.adapter),
    ];
    let mut window = job.settings.train.max_length;
    for adapter in everybody.into_iter().flatten() {
        window = window.min(model.transformer.room(&**adapter)?);
    }
    let asked = Asked::of(job, &model, places, window, on)?;
    job.write(places.folder)?;
    let ready = Progress::Ready {
        prompts: asked.prompts.ids.len(),
        held_out: asked.held_out.ids.len(),
        too_long: asked.too_long,
        not_found: asked.not_found,
        parameters: policy.params.count(),
    };
    if on(ready).is_break() {
        return Err(Error::interrupted("stopped before the first update"));
    }
    let (judge, worth) = (judge.as_ref(), worth.as_ref());
    let parts = Parts { job, places, model: &model, judge, policy: &policy, worth };
    let done = on_big_stack(on, |on| parts.run(&asked, on))?;
    if !done.interrupted {
        parts.keep(&done)?;
        train::forget(places.folder)?;
    }
    Ok(done)
}

/// Everything a run needs.
struct Parts<'a> {
    job: &'a Job,
    places: &'a Places<'a>,
    model: &'a Model,
    /// Where a model says what answers are worth.
    judge: Option<&'a Judge>,
    policy: &'a Learning,
    worth: Option<&'a Learning>,
}

impl Parts<'_> {
    fn run(
        &self,
        Asked { prompts, held_out, sft, .. }: &Asked,
        on: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Done> {
        let (settings, folder) = (&self.job.settings, self.places.folder);
        let stop = end_tokens(self.model.tokenizer()?);
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
        let reward = |drawn: &[Drawn]| self.scores(&prompts.questions, drawn);
        let as_values = || self.policy.as_values(&self.model.transformer);
        let actors = Actors {
            policy,
            as_values: &as_values,
            reference: &*self.policy.began,
            baseline,
            reward: &reward,
            sft,
        };
        let identity = serde_json::to_value(self.job).unwrap_or_default();
        let mut run = Run::new(actors, &prompts.ids, &stop, settings)?;
        if let Some(judge) = self.judge {
            run.state.baseline = judge.level(self.places.from)?;
        }
        let goes_on = run.resume(folder, &identity, self.places.device)?;
        if goes_on && !self.places.resume {
            return Err(Error::invalid(format!("`{}` holds a run that was not finished", folder.display()))
                .hint("go on with it, or forget it: --restart"));
        }
        let log = Log::open(folder, run.state.update)?;
        let before = match goes_on {
            true => log.began()?,
            false => {
                let held = self.held(held_out, &stop, on)?;
                log.begin(held.as_ref())?;
                held
            }
        };
        let (mut last, mut interrupted, mut unwritten) = (Metrics::new(), false, None);
        while run.state.update < settings.updates {
            let heard = run.update(&mut |event| match event {
                Event::Drawing { update, tokens } => on(Progress::Drawing { update, tokens }),
                Event::Updated { update, metrics, samples, speed } => {
                    last.clone_from(&metrics);
                    if let Err(error) = log.write(update, &metrics, speed, &self.told(&samples)) {
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

    /// What answers are worth: what the reward model says of them, or their passages.
    fn scores(&self, questions: &[Question], drawn: &[Drawn]) -> Result<Vec<f64>> {
        if let Some(judge) = self.judge {
            let rows: Vec<Row> = drawn.iter().map(|drawn| drawn.row.clone()).collect();
            let scores = judge.scores(self.model, &rows, self.job.settings.train.micro_tokens)?;
            return Ok(scores.into_iter().flatten().collect());
        }
        let tokenizer = self.model.tokenizer()?;
        let stop = end_tokens(tokenizer);
        let refusal = self.places.template.and_then(|template| template.var("refusal"));
        let one = |Drawn { prompt, answer, .. }: &Drawn| -> Result<f64> {
            let said: Vec<u32> = answer.ids.iter().copied().filter(|id| !stop.contains(id)).collect();
            Ok(grounding::reward(&tokenizer.decode(&said)?, &questions[*prompt], refusal))
        };
        drawn.par_iter().map(one).collect()
    }

    /// How the policy does at prompts that are held out: the same draws before and after.
    fn held(
        &self,
        Prompts { ids: prompts, questions }: &Prompts,
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
        let together = settings.prompts * settings.num_generations;
        let mut heard = |tokens| on(Progress::Drawing { update: 0, tokens });
        let answers = rollout.in_parts(prompts, together, HELD_OUT, &mut heard)?;
        let drawn = answers.into_iter().map(|answer| {
            let row = Row::from_ids(&prompts[answer.prompt], &answer.ids);
            Drawn { prompt: answer.prompt, row, answer }
        });
        let drawn: Vec<Drawn> = drawn.collect();
        let scores = self.scores(questions, &drawn)?;
        let rows: Vec<Row> = drawn.iter().map(|drawn| drawn.row.clone()).collect();
        let (mean, variance) = moments(&scores);
        let (now, began) = (self.said(&*adapter, &rows)?, self.said(&*self.policy.began, &rows)?);
        let ended = drawn.iter().filter(|drawn| drawn.answer.ended).count();
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
        let of = |seen: &Seen| online::of_answers(seen, temperature);
        let found = look(&subject, rows, self.job.settings.train.micro_tokens, &of, &mut |_, _| true)?;
        Ok(found.unwrap_or_default().into_iter().flatten().sum())
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
            template: self.places.template.map(|template| template.id().to_owned()),
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
