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
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::critic::Critic;
use super::divergence::{Adaptive, Estimator};
use super::policy::{Policy, Reduction, log_probabilities};
use super::returns::{Answers, Rollouts, Said};
use super::rollout::{Answer, Rollout};
use super::surrogate::numbers;
use crate::error::{Error, Result};
use crate::nn::{Adapter, Linear};
use crate::random::SplitMix;
use crate::train::{Beside, Learned, Learner, Metrics, NextTokens, Row, Seen, Subject, TrainConfig, look};

/// Keep the orders of prompts, of answers and of those as they should be apart from other uses of one seed.
const PROMPTS: u64 = 0x7072_6f6d_7074_0000;
const BATCHES: u64 = 0x6d69_6e69_0000_0000;
const SFT: u64 = 0x7366_7400_0000_0000;

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
    /// With which token the score is paid.
    #[serde(default)]
    pub score_at: ScoreAt,
    /// Whether rewards are scaled to a variance of one, their mean kept, before advantages are made of them.
    #[serde(default)]
    pub whiten_rewards: bool,
    /// How far below and above one a ratio counts.
    pub clip: (f64, f64),
    /// How often the answers of an update are gone through, and in how many parts.
    pub epochs: usize,
    pub mini_batches: usize,
    pub reduction: Reduction,
    /// Divergence of a whole answer above which, and entropy of a token below which, the run is stopped.
    pub most_divergence: f64,
    #[serde(default)]
    pub least_entropy: f64,
    /// What answers as they should be count beside the policy's own, token by token (`ptx` in Ouyang et al. 2022).
    #[serde(default)]
    pub sft_coefficient: f64,
    /// Rates, clipping of norms, memory, the seed. Its steps are not looked at.
    pub train: TrainConfig,
}

/// With which token of an answer its score is paid.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScoreAt {
    /// The last.
    #[default]
    Eos,
    /// The one behind it, if there is room for one, whose value is learned too: as a widely copied trainer has it, for runs that
    /// are held against it.
    AfterEos,
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
    /// Answers as they should be, for [`Online::sft_coefficient`].
    pub sft: &'a [Row],
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
    Updated { update: usize, metrics: Metrics, samples: Vec<(Drawn, f64)>, speed: Speed },
}

/// Tokens a second.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Speed {
    /// Drawn, of all answers together; prompts are read in that time, and not counted.
    pub rollout: f64,
    /// Gone through to learn, prompts included, by the policy and, where there is one, by the critic.
    pub update: f64,
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
        let (rollouts, rollout) = self.rollouts(on)?;
        self.stands(&rollouts)?;
        let adaptive = self.settings.adaptive;
        self.state.baseline = Some(rollouts.baseline);
        let mut metrics = rollouts.metrics.clone();
        let started = Instant::now();
        metrics.extend(self.learn(&rollouts)?);
        let learned: usize = rollouts.rows.iter().map(|row| row.ids.len()).sum();
        let passes = self.settings.epochs * if self.critic.is_some() { 2 } else { 1 };
        let update = (learned * passes) as f64 / started.elapsed().as_secs_f64().max(1e-9);
        metrics.insert("beta".to_owned(), self.state.beta);
        if let Some(adaptive) = adaptive {
            self.state.beta = adaptive.next(self.state.beta, rollouts.divergence, rollouts.rows.len());
        }
        self.state.update += 1;
        metrics.insert("episode".to_owned(), (self.state.update * rollouts.rows.len()) as f64);
        let samples = extremes(&rollouts.drawn, &rollouts.scores);
        let speed = Speed { rollout, update };
        Ok(on(Event::Updated { update: self.state.update, metrics, samples, speed }))
    }

    /// Refuses to learn from a policy that has gone too far, or says but one thing.
    fn stands(&self, rollouts: &Rollouts) -> Result<()> {
        let Online { most_divergence, least_entropy, .. } = *self.settings;
        let Rollouts { divergence, entropy, .. } = *rollouts;
        let number = self.state.update + 1;
        if divergence.is_nan() || divergence > most_divergence {
            return Err(Error::invalid(format!(
                "update {number}: the policy's answers have a divergence of {divergence:.1} from where it began, more than \
                 {most_divergence}"
            ))
            .hint("a higher --beta or a lower rate holds it nearer; --most-kl lets it go further"));
        }
        if entropy < least_entropy {
            return Err(Error::invalid(format!(
                "update {number}: the policy has collapsed: its tokens have an entropy of {entropy:.4}, less than {least_entropy}"
            ))
            .hint("a higher --beta or a lower rate keeps it from saying but one thing; --least-entropy lets it"));
        }
        Ok(())
    }

    /// So many of `all`, from the one numbered `from` on: all of them in an order of each round's own.
    fn in_rounds(&self, all: usize, from: usize, wanted: usize, stream: u64) -> Vec<usize> {
        let in_round = |round: usize| {
            let mut order: Vec<usize> = (0..all).collect();
            SplitMix::new(self.settings.train.seed, stream + round as u64).shuffle(&mut order);
            order
        };
        let mut rounds: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        (from..from + wanted)
            .map(|at| rounds.entry(at / all).or_insert_with(|| in_round(at / all))[at % all])
            .collect()
    }

    /// Answers and what they were worth, and how many tokens a second were drawn.
    fn rollouts(&self, on: &mut dyn FnMut(Event) -> ControlFlow<()>) -> Result<(Rollouts, f64)> {
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
        let wanted = settings.prompts;
        let chosen = self.in_rounds(self.prompts.len(), self.state.update * wanted, wanted, PROMPTS);
        let prompts: Vec<&[u32]> = chosen.iter().map(|&at| &self.prompts[at][..]).collect();
        let number = self.state.update + 1;
        let first = (self.state.update * settings.prompts * settings.num_generations) as u64;
        let started = Instant::now();
        let answers = rollout.answers(&prompts, settings.num_generations, first, &mut |tokens| {
            on(Event::Drawing { update: number, tokens })
        })?;
        let tokens: usize = answers.iter().map(|answer| answer.ids.len()).sum();
        let speed = tokens as f64 / started.elapsed().as_secs_f64().max(1e-9);
        let drawn: Vec<Drawn> = answers
            .into_iter()
            .map(|answer| {
                let row = Row::from_ids(prompts[answer.prompt], &answer.ids);
                Drawn { prompt: chosen[answer.prompt], row, answer }
            })
            .collect();
        let rows: Vec<Row> = drawn.iter().map(|drawn| drawn.row.clone()).collect();
        let fixed = Subject { adapter: &*adapter, ..policy.clone() };
        let held = Subject { adapter: self.actors.reference, ..policy.clone() };
        let said = Said { old: self.said(&fixed, &rows)?, reference: self.said(&held, &rows)? };
        let scores = (self.actors.reward)(&drawn)?;
        if let Some(score) = scores.iter().find(|score| !score.is_finite()) {
            return Err(Error::invalid(format!("an answer has the score {score}")));
        }
        let drawn = Answers { drawn, rows, scores };
        Ok((Rollouts::of(drawn, said, &self.actors.baseline, settings, &self.state)?, speed))
    }

    /// Log-probabilities of the answers' tokens.
    fn said(&self, subject: &Subject, rows: &[Row]) -> Result<Vec<Vec<f64>>> {
        let temperature = self.settings.temperature;
        let of = |seen: &Seen| of_answers(seen, temperature);
        Ok(look(subject, rows, self.settings.train.micro_tokens, &of, &mut |_, _| true)?.unwrap_or_default())
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
        let plain = Subject { objective: &NextTokens, ..self.actors.policy.clone() };
        let rate = train.rate(self.state.update, *updates);
        let (mut sums, mut steps) = (Metrics::new(), 0);
        for epoch in 0..*epochs {
            let mut order: Vec<usize> = (0..rollouts.rows.len()).collect();
            let stream = BATCHES + (self.state.update * epochs + epoch) as u64;
            SplitMix::new(train.seed, stream).shuffle(&mut order);
            for chosen in order.chunks(rollouts.rows.len().div_ceil(*mini_batches).max(1)) {
                let number = self.state.update * epochs * mini_batches + steps;
                let sft = self.sft_rows(number, chosen.len());
                let beside = Beside {
                    subject: &plain,
                    rows: self.actors.sft,
                    chosen: &sft,
                    weight: self.settings.sft_coefficient,
                };
                let beside = (!sft.is_empty()).then_some(&beside);
                let at = (number, rate);
                let learned = self.learner.update(&policy, &rollouts.rows, chosen, beside, train, at)?;
                self.check(&learned, steps == 0)?;
                add(&mut sums, "loss/policy", &learned);
                if let (Some(learner), Baseline::Critic { subject, head, clip, rate: times, .. }) =
                    (&mut self.critic, &self.actors.baseline)
                {
                    let objective = Critic { head, known: &rollouts.worth, clip: *clip };
                    let subject = Subject { objective: &objective, ..subject.clone() };
                    let rate = rate * times;
                    let learned =
                        learner.update(&subject, &rollouts.rows, chosen, None, train, (number, rate))?;
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

    /// As many answers as they should be as a step has of the policy's own; none where they count nothing.
    fn sft_rows(&self, step: usize, wanted: usize) -> Vec<usize> {
        match self.actors.sft.len() {
            0 => Vec::new(),
            _ if self.settings.sft_coefficient == 0.0 => Vec::new(),
            all => self.in_rounds(all, step * wanted, wanted, SFT),
        }
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

/// Log-probabilities of the tokens of each answer of a piece.
///
/// # Errors
/// As computing them fails.
pub fn of_answers(seen: &Seen, temperature: f64) -> Result<Vec<Vec<f64>>> {
    let said = numbers(&log_probabilities(seen.model, seen.piece, seen.hidden, temperature)?)?;
    Ok(seen.piece.of_sequences.iter().map(|range| said[range.clone()].to_vec()).collect())
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
