//! Prompts and judgements -> a policy: the run of PPO or GRPO, from a job to an adapter in its folder.
//!
//! One frozen base plays every part. The policy is the base with the adapter that is trained, the reference the base with that
//! adapter as it began, the critic the base with one of its own and a head, and the reward model the base with the adapter of
//! `rlhf reward`. How the loop goes is [`crate::rlhf::online`]'s.

mod asked;
mod cast;
mod grounding;
mod log;
mod reward_model;
mod run;

pub use reward_model::RewardModel;
pub use run::{Done, Held, Places, Progress, run};

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::adapters::AdapterConfig;
use crate::error::{Error, IoContext, Result};
use crate::files;
use crate::rlhf::divergence::{Adaptive, Estimator};
use crate::rlhf::online::{Online, ScoreAt};
use crate::rlhf::policy::Reduction;
use crate::train::{Schedule, TrainConfig};

/// All that decides a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Of incontext.
    pub version: String,
    /// As the person named it.
    pub model: String,
    /// Of its weights.
    pub base_fingerprint: String,
    pub method: Method,
    /// The policy's adapter.
    pub config: AdapterConfig,
    /// The adapter that it begins as, and is held to; a new one that changes nothing, unless given.
    pub from: Option<String>,
    pub reward: RewardSource,
    pub prompts: Prompts,
    /// Answers as they should be, which are learned beside the policy's own.
    pub sft: Option<PathBuf>,
    /// What the run read, by what it is to it: a hash of each. Empty before the first run.
    pub inputs: BTreeMap<String, String>,
    pub settings: Online,
}

/// Who says what answers are worth.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reward", rename_all = "lowercase")]
pub enum RewardSource {
    /// A reward model, an adapter.
    Model { name: String },
    /// The passages that answers were written from: what they support, and known answers.
    Grounding {
        collection: String,
        /// Lays questions out.
        template: String,
        /// Passages that a prompt shows, unless as many as for answering.
        k: Option<usize>,
    },
}

/// How advantages come about.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "lowercase")]
pub enum Method {
    Ppo {
        gamma: f64,
        lambda: f64,
        value_clip: f64,
        /// The critic's rate, in rates of the policy.
        value_rate: f64,
    },
    Grpo {
        /// Whether advantages are divided by the spread of their group.
        scaled: bool,
    },
}

impl Method {
    pub fn name(self) -> &'static str {
        match self {
            Self::Ppo { .. } => "ppo",
            Self::Grpo { .. } => "grpo",
        }
    }
}

/// Where prompts come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prompts {
    pub file: PathBuf,
    pub split: Option<String>,
    pub limit: Option<usize>,
    /// Prompts that are held out: so many of the last.
    pub held_out: usize,
    /// They stand as they are, without the model's chat layout.
    pub plain: bool,
}

/// The name of a job's file in the folder of its run.
pub const JOB: &str = "rlhf.json";

impl Job {
    /// # Errors
    /// `NotFound` when there is none, `Corrupt` when it is damaged.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(JOB);
        let bytes = std::fs::read(&path).at("read", &path)?;
        serde_json::from_slice(&bytes).map_err(|error| {
            Error::corrupt(format!("`{}`: {error}", path.display())).hint("begin another run")
        })
    }

    /// Notes what the run reads, or holds it against what it read before.
    fn settle(&mut self, name: &str, hash: String) -> Result<()> {
        match self.inputs.insert(name.to_owned(), hash.clone()) {
            Some(before) if before != hash => {
                Err(Error::mismatch(format!("the {name} is not what the run began with"))
                    .hint("put it back as it was, or begin another run"))
            }
            _ => Ok(()),
        }
    }

    fn write(&self, folder: &Path) -> Result<()> {
        std::fs::create_dir_all(folder).at("create", folder)?;
        files::replace(&folder.join(JOB), &serde_json::to_vec_pretty(self).unwrap_or_default())
    }

    /// Refuses numbers that no run can have.
    ///
    /// # Errors
    /// `Invalid`, naming the setting.
    pub fn check(&self) -> Result<()> {
        let settings = &self.settings;
        settings.train.check()?;
        let wrong = [
            ("updates", settings.updates > 0, "at least 1"),
            ("prompts", settings.prompts > 0, "at least 1"),
            ("max-tokens", settings.max_tokens > 0, "at least 1"),
            ("inner-epochs", settings.epochs > 0, "at least 1"),
            ("mini-batches", settings.mini_batches > 0, "at least 1"),
            ("temperature", settings.temperature > 0.0 && settings.temperature.is_finite(), "above 0"),
            (
                "sft-coefficient",
                settings.sft_coefficient >= 0.0 && settings.sft_coefficient.is_finite(),
                "0 or more",
            ),
            ("least-entropy", settings.least_entropy >= 0.0, "0 or more"),
            ("beta", settings.beta >= 0.0 && settings.beta.is_finite(), "0 or more"),
            (
                "clip",
                settings.clip.0 > 0.0 && settings.clip.0 < 1.0 && settings.clip.1 > 0.0,
                "between 0 and 1",
            ),
            ("num-generations", settings.num_generations > 0, "at least 1"),
            (
                "num-generations",
                settings.num_generations > 1 || matches!(self.method, Method::Ppo { .. }),
                "at least 2: a group",
            ),
        ];
        match wrong.into_iter().find(|(_, right, _)| !right) {
            Some((name, _, wanted)) => Err(Error::invalid(format!("--{name} has to be {wanted}"))),
            None => Ok(()),
        }
    }
}

/// Settings that are usual for `method`, for a model of so many parameters.
pub fn usual(method: Method, parameters: usize) -> Online {
    let ppo = matches!(method, Method::Ppo { .. });
    // Small models take higher rates, as everywhere.
    let rate = if parameters < 1_000_000_000 { 5e-5 } else { 1e-5 };
    Online {
        updates: 40,
        prompts: if ppo { 32 } else { 4 },
        num_generations: if ppo { 1 } else { 8 },
        max_tokens: 53,
        temperature: if ppo { 0.7 } else { 1.0 },
        beta: if ppo { 0.05 } else { 0.0 },
        adaptive: None::<Adaptive>,
        estimator: Estimator::K1,
        missing_eos_penalty: 1.0,
        score_at: ScoreAt::Eos,
        whiten_rewards: false,
        clip: (0.2, 0.2),
        epochs: if ppo { 4 } else { 1 },
        mini_batches: 1,
        reduction: if ppo { Reduction::Tokens } else { Reduction::Answers },
        most_divergence: 50.0,
        least_entropy: 0.005,
        sft_coefficient: 0.0,
        train: TrainConfig {
            learning_rate: rate,
            warmup: 0.0,
            schedule: Schedule::Linear,
            eps: 1e-5,
            ..TrainConfig::default()
        },
    }
}
