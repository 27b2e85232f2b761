//! Learning from one's own answers: they are drawn, scored, and their tokens made likelier or less likely; then the next are drawn.
//!
//! ```text
//! prompts -> answers -> log-probabilities, now and of the reference -> scores -> advantages -> updates
//! ```
//!
//! With a critic this is PPO as Ouyang et al. 2022 (arXiv 2203.02155) have it: divergence from the reference is paid for token by
//! token, and the score comes with the last. With a group of answers to each prompt it is GRPO (Shao et al. 2024, arXiv
//! 2402.03300): an answer is as good as it is better than its neighbours, and divergence is a part of the loss. What is learned
//! from are log-probabilities of a pass through the very code that trains, not of the one that drew.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::advantage::{Mean, gae, moments, whiten, within_group};
use super::critic::{self, Critic, Worth};
use super::divergence::{Adaptive, Estimator};
use super::dpo::targets_of_sequences;
use super::policy::{Experience, Policy, Reduction, log_probabilities};
use super::rollout::{Answer, Rollout};
use super::surrogate::numbers;
use crate::error::{Error, Result};
use crate::nn::{Adapter, Linear};
use crate::random::SplitMix;
use crate::train::{Learned, Learner, Metrics, Row, Seen, Subject, TrainConfig, look};

/// Keeps the orders of prompts and answers apart from other uses of one seed.
const PROMPTS: u64 = 0x7072_6f6d_7074_0000;
const BATCHES: u64 = 0x6d69_6e69_0000_0000;

/// How far from one a ratio may be before anything was learned: more means that drawing and training do not see the same.
const FIRST_RATIO: f64 = 1e-5;

/// Settings of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Online {
    pub updates: usize,
    /// Prompts of an update, and answers to each.
    pub prompts: usize,
    pub num_generations: usize,
    /// Tokens that an answer may have.
    pub max_tokens: usize,
    pub temperature: f64,
    /// What a unit of divergence costs at first, how that is moved, and how it is estimated where it is paid for by the token.
    pub beta: f64,
    pub adaptive: Option<Adaptive>,
    pub estimator: Estimator,
    /// What is taken from the score of an answer that does not end.
    pub missing_eos_penalty: f64,
    /// How far below and above one a ratio counts.
    pub clip: (f64, f64),
    /// How often the answers of an update are gone through, and in how many parts.
    pub epochs: usize,
    pub mini_batches: usize,
    pub reduction: Reduction,
    /// Divergence of a whole answer at which the run is stopped.
    pub most_divergence: f64,
    /// Rates, clipping of norms, memory, the seed. Its steps are not looked at.
    pub train: TrainConfig,
}

/// What answers are held against.
pub enum Baseline<'a> {
    /// What a critic expected: PPO.
    Critic {
        subject: Subject<'a>,
        head: &'a Linear,
        gamma: f64,
        lambda: f64,
        clip: f64,
        /// What the rate of the policy is multiplied by.
        rate: f64,
    },
    /// The other answers to the prompt, scaled by their spread or not: GRPO.
    Group { scaled: bool },
}

impl<'a> Baseline<'a> {
    /// Who learns what answers are worth, where somebody does.
    pub fn critic(&self) -> Option<&Subject<'a>> {
        match self {
            Self::Critic { subject, .. } => Some(subject),
            Self::Group { .. } => None,
        }
    }
}

/// Who takes part.
pub struct Actors<'a> {
    /// With variables. Its objective is not looked at.
    pub policy: Subject<'a>,
    /// The policy as it is now, of values.
    pub as_values: &'a (dyn Fn() -> Result<Arc<dyn Adapter>> + Sync),
    /// Where it began, and is held to.
    pub reference: &'a dyn Adapter,
    pub baseline: Baseline<'a>,
    /// Scores of answers to prompts.
    pub reward: &'a (dyn Fn(&[Drawn]) -> Result<Vec<f64>> + Sync),
}

/// An answer that wants a score.
#[derive(Debug, Clone, PartialEq)]
pub struct Drawn {
    /// The number of its prompt.
    pub prompt: usize,
    /// Prompt and answer, the answer labelled.
    pub row: Row,
    pub answer: Answer,
}

/// Where a run stands, beside its parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Updates done.
    pub update: usize,
    pub beta: f64,
    /// The mean score of the first answers, which is taken from all.
    pub baseline: Option<f64>,
}

/// What a run says of itself.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// So many tokens of the longest answers of an update are drawn.
    Drawing { update: usize, tokens: usize },
    /// An update is done; with its best and its worst answer and their scores.
    Updated { update: usize, metrics: Metrics, samples: Vec<(Drawn, f64)> },
}

/// A run of updates.
pub struct Run<'a> {
    pub actors: Actors<'a>,
    pub prompts: &'a [Vec<u32>],
    pub stop: &'a [u32],
    pub settings: &'a Online,
    pub state: State,
    pub learner: Learner,
    pub critic: Option<Learner>,
}

/// What was drawn and is known of it, in the order of rows.
struct Rollouts {
    drawn: Vec<Drawn>,
    rows: Vec<Row>,
    scores: Vec<f64>,
    /// What was taken from them.
    baseline: f64,
    experience: Vec<Experience>,
    worth: Vec<Worth>,
    metrics: Metrics,
    divergence: f64,
}

impl<'a> Run<'a> {
    /// # Errors
    /// As a tensor operation fails.
    pub fn new(
        actors: Actors<'a>,
        prompts: &'a [Vec<u32>],
        stop: &'a [u32],
        settings: &'a Online,
    ) -> Result<Self> {
        let learner = Learner::new(actors.policy.params)?;
        let critic = match &actors.baseline {
            Baseline::Critic { subject, .. } => Some(Learner::new(subject.params)?),
            Baseline::Group { .. } => None,
        };
        let state = State { update: 0, beta: settings.beta, baseline: None };
        Ok(Self { actors, prompts, stop, settings, state, learner, critic })
    }

    /// One update.
    ///
    /// # Errors
    /// `Invalid` when the policy goes further than it may or says what is no number, and when what is drawn and what is learned do
    /// not have the same probabilities; `Interrupted`.
    pub fn update(&mut self, on: &mut dyn FnMut(Event) -> ControlFlow<()>) -> Result<ControlFlow<()>> {
        let rollouts = self.rollouts(on)?;
        let Online { most_divergence, adaptive, .. } = *self.settings;
        if rollouts.divergence.is_nan() || rollouts.divergence > most_divergence {
            return Err(Error::invalid(format!(
                "update {}: the policy's answers have a divergence of {:.1} from where it began, more than {most_divergence}",
                self.state.update + 1,
                rollouts.divergence
            ))
            .hint("the last checkpoint is kept; a higher --beta or a lower rate holds it nearer"));
        }
        self.state.baseline = Some(rollouts.baseline);
        let mut metrics = rollouts.metrics.clone();
        metrics.extend(self.learn(&rollouts)?);
        metrics.insert("beta".to_owned(), self.state.beta);
        if let Some(adaptive) = adaptive {
            self.state.beta = adaptive.next(self.state.beta, rollouts.divergence, rollouts.rows.len());
        }
        self.state.update += 1;
        metrics.insert("episode".to_owned(), (self.state.update * rollouts.rows.len()) as f64);
        let samples = extremes(&rollouts.drawn, &rollouts.scores);
        Ok(on(Event::Updated { update: self.state.update, metrics, samples }))
    }

    /// The prompts of an update: all of them in an order of each round's own.
    fn chosen(&self) -> Vec<usize> {
        let (all, wanted) = (self.prompts.len(), self.settings.prompts);
        let from = self.state.update * wanted;
        let in_round = |round: usize| {
            let mut order: Vec<usize> = (0..all).collect();
            SplitMix::new(self.settings.train.seed, PROMPTS + round as u64).shuffle(&mut order);
            order
        };
        let mut rounds: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        (from..from + wanted)
            .map(|at| rounds.entry(at / all).or_insert_with(|| in_round(at / all))[at % all])
            .collect()
    }

    fn rollouts(&self, on: &mut dyn FnMut(Event) -> ControlFlow<()>) -> Result<Rollouts> {
        let (settings, policy) = (self.settings, &self.actors.policy);
        let adapter = (self.actors.as_values)()?;
        let rollout = Rollout {
            network: &policy.model.transformer,
            adapter: &*adapter,
            stop: self.stop,
            temperature: settings.temperature,
            max_tokens: settings.max_tokens,
            seed: settings.train.seed,
        };
        let chosen = self.chosen();
        let prompts: Vec<&[u32]> = chosen.iter().map(|&at| &self.prompts[at][..]).collect();
        let number = self.state.update + 1;
        let first = (self.state.update * settings.prompts * settings.num_generations) as u64;
        let answers = rollout.answers(&prompts, settings.num_generations, first, &mut |tokens| {
            on(Event::Drawing { update: number, tokens })
        })?;
        let drawn: Vec<Drawn> = answers
            .into_iter()
            .map(|answer| {
                let row = Row::from_ids(prompts[answer.prompt], &answer.ids);
                Drawn { prompt: chosen[answer.prompt], row, answer }
            })
            .collect();
        let rows: Vec<Row> = drawn.iter().map(|drawn| drawn.row.clone()).collect();
        let fixed = Subject { adapter: &*adapter, ..policy.clone() };
        let old = self.said(&fixed, &rows)?;
        let held = Subject { adapter: self.actors.reference, ..policy.clone() };
        let reference = self.said(&held, &rows)?;
        let scores = (self.actors.reward)(&drawn)?;
        if let Some(score) = scores.iter().find(|score| !score.is_finite()) {
            return Err(Error::invalid(format!("an answer has the score {score}")));
        }
        self.judged(drawn, rows, scores, (old, reference))
    }

    /// Log-probabilities of the answers' tokens.
    fn said(&self, subject: &Subject, rows: &[Row]) -> Result<Vec<Vec<f64>>> {
        let temperature = self.settings.temperature;
        of_rows(subject, rows, self.settings.train.micro_tokens, &|seen| {
            numbers(&log_probabilities(seen.model, seen.piece, seen.hidden, temperature)?)
        })
    }

    /// Rewards and advantages.
    fn judged(
        &self,
        drawn: Vec<Drawn>,
        rows: Vec<Row>,
        scores: Vec<f64>,
        (old, reference): (Vec<Vec<f64>>, Vec<Vec<f64>>),
    ) -> Result<Rollouts> {
        let (settings, beta) = (self.settings, self.state.beta);
        let ends = |drawn: &Drawn| if drawn.answer.ended { 0.0 } else { settings.missing_eos_penalty };
        let baseline = self.state.baseline.unwrap_or(moments(&scores).0);
        let paid: Vec<f64> =
            drawn.iter().zip(&scores).map(|(drawn, score)| score - baseline - ends(drawn)).collect();
        let divergences: Vec<Vec<f64>> = old
            .iter()
            .zip(&reference)
            .map(|(p, q)| p.iter().zip(q).map(|(&p, &q)| settings.estimator.of(p, q)).collect())
            .collect();
        let (mut advantages, mut worth) = (Vec::new(), Vec::new());
        match &self.actors.baseline {
            Baseline::Critic { subject, head, gamma, lambda, .. } => {
                let values = of_rows(subject, &rows, settings.train.micro_tokens, &|seen| {
                    numbers(&critic::values(head, seen.piece, seen.hidden)?)
                })?;
                for ((values, divergence), paid) in values.into_iter().zip(&divergences).zip(&paid) {
                    let mut rewards: Vec<f64> = divergence.iter().map(|kl| -beta * kl).collect();
                    if let Some(last) = rewards.last_mut() {
                        *last += paid;
                    }
                    let (one, returns) = gae(&rewards, &values, *gamma, *lambda);
                    advantages.push(one);
                    worth.push(Worth { values, returns });
                }
                // Over all tokens of the rollout together.
                let mut all = advantages.concat();
                whiten(&mut all, Mean::Removed);
                let mut all = all.into_iter();
                for one in &mut advantages {
                    one.iter_mut().zip(&mut all).for_each(|(place, value)| *place = value);
                }
            }
            Baseline::Group { scaled } => {
                for (group, drawn) in
                    paid.chunks(settings.num_generations).zip(drawn.chunks(settings.num_generations))
                {
                    for (advantage, drawn) in within_group(group, *scaled).into_iter().zip(drawn) {
                        advantages.push(vec![advantage; drawn.answer.ids.len()]);
                    }
                }
            }
        }
        let metrics = objective_metrics(&drawn, &scores, &divergences, &old, beta, &worth);
        let divergence = metrics.get("objective/kl").copied().unwrap_or(0.0);
        let experience = old
            .into_iter()
            .zip(reference)
            .zip(advantages)
            .map(|((old, reference), advantages)| Experience { old, reference, advantages })
            .collect();
        Ok(Rollouts { drawn, rows, scores, baseline, experience, worth, metrics, divergence })
    }

    /// Goes through what was drawn; means over all steps.
    fn learn(&mut self, rollouts: &Rollouts) -> Result<Metrics> {
        let Online { temperature, clip, epochs, mini_batches, reduction, train, updates, .. } = self.settings;
        let in_loss = matches!(self.actors.baseline, Baseline::Group { .. });
        let objective = Policy {
            experience: &rollouts.experience,
            temperature: *temperature,
            clip: *clip,
            beta: if in_loss { self.state.beta } else { 0.0 },
            reduction: *reduction,
        };
        let policy = Subject { objective: &objective, ..self.actors.policy.clone() };
        let rate = train.rate(self.state.update, *updates);
        let (mut sums, mut steps) = (Metrics::new(), 0);
        for epoch in 0..*epochs {
            let mut order: Vec<usize> = (0..rollouts.rows.len()).collect();
            let stream = BATCHES + (self.state.update * epochs + epoch) as u64;
            SplitMix::new(train.seed, stream).shuffle(&mut order);
            for chosen in order.chunks(rollouts.rows.len().div_ceil(*mini_batches).max(1)) {
                let number = self.state.update * epochs * mini_batches + steps;
                let learned = self.learner.update(&policy, &rollouts.rows, chosen, train, (number, rate))?;
                self.check(&learned, steps == 0)?;
                add(&mut sums, "loss/policy", &learned);
                if let (Some(learner), Baseline::Critic { subject, head, clip, rate: times, .. }) =
                    (&mut self.critic, &self.actors.baseline)
                {
                    let objective = Critic { head, known: &rollouts.worth, clip: *clip };
                    let subject = Subject { objective: &objective, ..subject.clone() };
                    let rate = rate * times;
                    let learned = learner.update(&subject, &rollouts.rows, chosen, train, (number, rate))?;
                    if !learned.moved {
                        return Err(no_number("the critic", learned.loss));
                    }
                    add(&mut sums, "loss/value", &learned);
                }
                steps += 1;
            }
        }
        sums.values_mut().for_each(|sum| *sum /= steps.max(1) as f64);
        sums.insert("lr".to_owned(), rate);
        Ok(sums)
    }

    fn check(&self, learned: &Learned, first: bool) -> Result<()> {
        if !learned.moved {
            return Err(no_number("the policy", learned.loss));
        }
        let ratio = learned.metrics.get("val/ratio").copied().unwrap_or(1.0);
        match first && (ratio - 1.0).abs() > FIRST_RATIO {
            true => Err(Error::invalid(format!(
                "before anything was learned from them the answers are {ratio:.6} times as likely as when they were drawn"
            ))
            .hint("this is an error of incontext: please report it with the method and its options")),
            false => Ok(()),
        }
    }
}

fn no_number(who: &str, loss: f64) -> Error {
    Error::invalid(format!("the loss of {who} is {loss}, or its gradient is no number"))
        .hint("the last checkpoint is kept; train with a lower rate")
}

fn add(sums: &mut Metrics, name: &str, learned: &Learned) {
    *sums.entry(name.to_owned()).or_default() += learned.loss;
    for (name, value) in &learned.metrics {
        *sums.entry(name.clone()).or_default() += value;
    }
}

/// What `f` says of each target of each row.
fn of_rows(
    subject: &Subject,
    rows: &[Row],
    micro_tokens: usize,
    f: &(dyn Fn(&Seen) -> Result<Vec<f64>> + Sync),
) -> Result<Vec<Vec<f64>>> {
    let of = |seen: &Seen| -> Result<Vec<(usize, Vec<f64>)>> {
        let said = f(seen)?;
        let ranges = targets_of_sequences(seen.piece);
        Ok(seen.piece.rows.iter().zip(ranges).map(|(&row, range)| (row, said[range].to_vec())).collect())
    };
    let found = look(subject, rows, micro_tokens, &of, &mut |_, _| true)?.unwrap_or_default();
    let mut all: Vec<(usize, Vec<f64>)> = found.into_iter().flatten().collect();
    all.sort_by_key(|(row, _)| *row);
    Ok(all.into_iter().map(|(_, said)| said).collect())
}

/// Under the names that are usual.
fn objective_metrics(
    drawn: &[Drawn],
    scores: &[f64],
    divergences: &[Vec<f64>],
    old: &[Vec<f64>],
    beta: f64,
    worth: &[Worth],
) -> Metrics {
    let mean = |of: &mut dyn Iterator<Item = f64>| {
        let all: Vec<f64> = of.collect();
        moments(&all).0
    };
    let divergence = mean(&mut divergences.iter().map(|one| one.iter().sum()));
    let score = mean(&mut scores.iter().copied());
    let ended = drawn.iter().filter(|drawn| drawn.answer.ended).count();
    let mut metrics = Metrics::from([
        ("objective/kl".to_owned(), divergence),
        ("objective/entropy".to_owned(), mean(&mut old.iter().map(|one| -one.iter().sum::<f64>()))),
        ("objective/non_score_reward".to_owned(), -beta * divergence),
        ("objective/rlhf_reward".to_owned(), score - beta * divergence),
        ("objective/scores".to_owned(), score),
        ("val/num_eos_tokens".to_owned(), ended as f64),
        (
            "val/response_length".to_owned(),
            mean(&mut drawn.iter().map(|drawn| drawn.answer.ids.len() as f64)),
        ),
    ]);
    if !worth.is_empty() {
        let returns: Vec<f64> = worth.iter().flat_map(|one| one.returns.iter().copied()).collect();
        let off: Vec<f64> = worth
            .iter()
            .flat_map(|one| one.returns.iter().zip(&one.values).map(|(gain, value)| gain - value))
            .collect();
        let explained = 1.0 - moments(&off).1 / moments(&returns).1.max(1e-12);
        metrics.insert("val/explained_variance".to_owned(), explained);
    }
    metrics
}

/// The best answer and the worst.
fn extremes(drawn: &[Drawn], scores: &[f64]) -> Vec<(Drawn, f64)> {
    let by = |a: &usize, b: &usize| scores[*a].total_cmp(&scores[*b]);
    let best = (0..scores.len()).max_by(by);
    let worst = (0..scores.len()).min_by(by);
    best.into_iter().chain(worst).map(|at| (drawn[at].clone(), scores[at])).collect()
}

#[cfg(test)]
#[path = "online_tests.rs"]
mod tests;
