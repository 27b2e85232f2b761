//! Learning which answer is better: the rows, and what is made of them.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Data;
use super::rows::{Laid, Skipped, Source};
use crate::adapters::{self, Scale, Stored};
use crate::error::{Error, Result};
use crate::models::Classifier;
use crate::nn::{Adapter, Bare};
use crate::rlhf::advantage::moments;
use crate::rlhf::dpo::{self, Dpo, Variant};
use crate::rlhf::reward::Reward;
use crate::rlhf::rollout::{Rollout, end_tokens};
use crate::rlhf::surrogate::numbers;
use crate::text::example::Rows as Lines;
use crate::text::records;
use crate::train::{Objective, Reading, Row, Rows, Seen, Style, Subject, TrainConfig, look};

/// What is learned of answers that somebody compared.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "learn", rename_all = "lowercase")]
pub enum Preference {
    /// A score for an answer, by a head of its own.
    Reward {
        /// How much the sum of a pair's scores is held at zero.
        centring: f64,
        /// Prompts that the policy answers for the level of the scores to be known; 0 for not at all.
        scale_prompts: usize,
    },
    /// To write the better answer rather than the worse one.
    Dpo {
        /// How dearly the policy pays for going away from where it began.
        beta: f64,
        variant: Variant,
        /// The share of judgements that are taken to be wrong.
        label_smoothing: f64,
    },
}

impl Preference {
    pub fn name(self) -> &'static str {
        match self {
            Self::Reward { .. } => "reward",
            Self::Dpo { .. } => "dpo",
        }
    }

    /// # Errors
    /// `Invalid` for a setting that cannot be, by its name.
    pub fn check(self) -> Result<()> {
        let wrong = match self {
            Self::Reward { centring, .. } if !(centring >= 0.0 && centring.is_finite()) => {
                Some(("centring", "0 or more"))
            }
            Self::Dpo { beta, .. } if !(beta > 0.0 && beta.is_finite()) => Some(("beta", "above 0")),
            Self::Dpo { label_smoothing, .. } if !(0.0..0.5).contains(&label_smoothing) => {
                Some(("label-smoothing", "from 0 up to, and without, 0.5"))
            }
            _ => None,
        };
        match wrong {
            Some((name, wanted)) => Err(Error::invalid(format!("--{name} has to be {wanted}"))),
            None => Ok(()),
        }
    }

    /// What rows are trained by. `subject` is as it begins, whose log-probabilities are the reference of all that comes.
    ///
    /// # Errors
    /// As asking the network fails; `Invalid` without a head for the score.
    pub(super) fn objective<'a>(
        self,
        subject: &Subject,
        head: Option<&'a Classifier>,
        rows: &Rows,
        micro_tokens: usize,
        on: &mut dyn FnMut(usize, usize) -> bool,
    ) -> Result<Box<dyn Objective + 'a>> {
        match self {
            Self::Reward { centring, .. } => {
                let head = head.ok_or_else(|| Error::invalid("the model has no head for a score"))?;
                Ok(Box::new(Reward { head, centring }))
            }
            Self::Dpo { beta, variant, label_smoothing } => {
                let reference = reference(subject, rows, micro_tokens, on)?;
                Ok(Box::new(Dpo { beta, variant, label_smoothing, reference }))
            }
        }
    }
}

/// What answers are drawn at for the level of scores to be known: as PPO draws them, unless told otherwise.
const TEMPERATURE: f64 = 0.7;
const MOST_TOKENS: usize = 53;

/// The number of the first such answer: no training draws as many.
const SCALE: u64 = 1 << 41;

/// What the reward model `judge`, which is `subject`, says of answers to the first `count` prompts of `rows` by the policy that is
/// to learn from it: the model with the adapter in the folder `from`, or as it is. `None` where no prompt leaves room.
///
/// # Errors
/// As that adapter cannot be read, and as the network fails; `Interrupted`.
pub(super) fn scale(
    subject: &Subject,
    judge: &Classifier,
    from: Option<&Path>,
    rows: &Rows,
    count: usize,
    train: &TrainConfig,
    on: &mut dyn FnMut(usize, usize) -> bool,
) -> Result<Option<Scale>> {
    let network = &subject.model.transformer;
    let policy = from.map(|folder| -> Result<Arc<dyn Adapter>> {
        let stored = Stored::read(folder, network)?;
        match &stored.config {
            Some(config) => config.attach(network, &stored.tensors),
            None => Ok(Arc::new(Bare)),
        }
    });
    let policy = policy.transpose()?.unwrap_or_else(|| Arc::new(Bare));
    let room = network.config.context.saturating_sub(MOST_TOKENS);
    let mut prompts: Vec<&[u32]> = Vec::new();
    for prompt in rows.training().iter().map(Row::prompt) {
        if prompts.len() < count && !prompt.is_empty() && prompt.len() <= room && !prompts.contains(&prompt) {
            prompts.push(prompt);
        }
    }
    let stop = end_tokens(subject.model.tokenizer()?);
    let rollout = Rollout {
        network,
        adapter: &*policy,
        stop: &stop,
        temperature: TEMPERATURE,
        max_tokens: MOST_TOKENS,
        seed: train.seed,
    };
    let answers =
        rollout.in_parts(&prompts, TOGETHER, SCALE, &mut |tokens| match on(tokens, MOST_TOKENS) {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        })?;
    let answered: Vec<Row> =
        answers.iter().zip(&prompts).map(|(answer, prompt)| Row::from_ids(prompt, &answer.ids)).collect();
    let said = |seen: &Seen| -> Result<Vec<f64>> {
        numbers(&judge.forward(seen.hidden, &seen.piece.batch, seen.adapter, seen.mode)?.squeeze(1)?)
    };
    let scores = look(subject, &answered, train.micro_tokens, &said, &mut |_, _| true)?.unwrap_or_default();
    if scores.is_empty() {
        return Ok(None);
    }
    let (mean, variance) = moments(&scores);
    let policy = from.map(adapters::fingerprint).transpose()?;
    Ok(Some(Scale { policy, answers: scores.len(), mean, standard_deviation: variance.sqrt() }))
}

/// Prompts that are answered together.
const TOGETHER: usize = 32;

/// Log-probabilities of the answers of each row, as `subject` is now.
fn reference(
    subject: &Subject,
    rows: &Rows,
    micro_tokens: usize,
    on: &mut dyn FnMut(usize, usize) -> bool,
) -> Result<Vec<Vec<f64>>> {
    let said = |seen: &Seen| {
        let (said, _) = dpo::log_probabilities_of_answers(seen.model, seen.piece, seen.hidden)?;
        let said = numbers(&said)?;
        Ok(seen.piece.sequences.iter().map(|sequences| said[sequences.clone()].to_vec()).collect())
    };
    look(subject, rows.all(), micro_tokens, &said, on)?
        .ok_or_else(|| Error::interrupted("stopped before the first step"))
}

/// The answers of `file` that somebody compared.
///
/// # Errors
/// As [`Reading::judgements`].
pub(super) fn rows(source: &Source, data: &Data, file: &Path, split: Option<&str>) -> Result<Laid> {
    let reading = Reading {
        style: if data.plain { Style::Plain } else { Style::Chat },
        lines: Lines { split: split.map(str::to_owned), limit: data.limit },
        ..Reading::new(source.tokenizer, source.window)
    };
    let read = reading.judgements(&records::Source::read(file)?)?;
    let left_out = read.left_out;
    let skipped = Skipped {
        too_long: left_out.too_long,
        equal: left_out.equal,
        empty: left_out.empty,
        alone: left_out.alone,
        ..Skipped::default()
    };
    Ok(Laid { rows: read.rows, skipped, labels: data.labels.clone() })
}
