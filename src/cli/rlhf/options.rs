//! What `incontext rlhf ppo | grpo` are told.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::cli::device;

/// What both ways are told.
#[derive(Args)]
pub struct Shared {
    /// Prompts to answer: JSON Lines with a `prompt`, a text or turns; may be gzipped
    #[arg(long, value_name = "FILE")]
    pub data: PathBuf,
    /// Reward model: an adapter of `rlhf reward` on the same model
    #[arg(long, value_name = "NAME", required_unless_present = "collection")]
    pub reward: Option<String>,
    /// Instead of a reward model: the rows of --data are questions over this collection, with `answers` or none, and an answer is worth what its passages support of it
    #[arg(short, long, value_name = "NAME", conflicts_with_all = ["reward", "plain"])]
    pub collection: Option<String>,
    /// What to call the adapter
    #[arg(long, value_name = "NAME")]
    pub out: String,
    /// Model of this machine [default: smollm2-135m-instruct]
    #[arg(long, value_name = "NAME|PATH")]
    pub model: Option<String>,
    /// Adapter to begin as and to be held to, for example one of `rlhf sft` [default: the model as it is]
    #[arg(long, value_name = "NAME")]
    pub from: Option<String>,
    /// Rank of the new LoRA, where none is begun as
    #[arg(long, value_name = "R", default_value_t = 8, conflicts_with = "from")]
    pub rank: usize,
    /// Forget an unfinished run of that name
    #[arg(long)]
    pub restart: bool,
    /// Go on with an unfinished run of that name
    #[arg(long, conflicts_with = "restart")]
    pub resume: bool,
    /// Only rows whose field `split` says this
    #[arg(long, value_name = "NAME", help_heading = "Prompts")]
    pub split: Option<String>,
    /// The first so many rows
    #[arg(long, value_name = "N", help_heading = "Prompts")]
    pub limit: Option<usize>,
    /// So many of the last prompts are held out, and answered before and after
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Prompts")]
    pub held_out: usize,
    /// Prompts as they stand, without the model's chat layout
    #[arg(long, help_heading = "Prompts")]
    pub plain: bool,
    /// Template that questions over a collection are laid out by [default: qa/grounded]
    #[arg(long, value_name = "NAME|FILE", requires = "collection", help_heading = "Prompts")]
    pub prompt: Option<String>,
    /// Passages that such a prompt shows [default: as many as `ask` shows]
    #[arg(short, value_name = "K", requires = "collection", help_heading = "Prompts")]
    pub k: Option<usize>,
    #[command(flatten)]
    pub drawing: Drawing,
    #[command(flatten)]
    pub learning: Learning,
    /// Where to compute [default: cpu]
    #[arg(long, value_enum)]
    pub device: Option<device::Kind>,
    /// Print what came of it as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
#[command(next_help_heading = "Answers")]
pub struct Drawing {
    /// Prompts of an update [default: 32 for ppo, 4 for grpo]
    #[arg(long, value_name = "N")]
    pub prompts: Option<usize>,
    /// Tokens that an answer may have [default: 53]
    #[arg(long, value_name = "N")]
    pub max_tokens: Option<usize>,
    /// Temperature at which answers are drawn [default: 0.7 for ppo, 1 for grpo]
    #[arg(long, value_name = "T")]
    pub temperature: Option<f64>,
    /// What an answer loses that does not end [default: 1]
    #[arg(long, value_name = "REWARD")]
    pub missing_eos_penalty: Option<f64>,
}

#[derive(Args)]
#[command(next_help_heading = "Learning")]
pub struct Learning {
    /// How often answers are drawn and learned from [default: 40]
    #[arg(long, value_name = "N")]
    pub updates: Option<usize>,
    /// Base rate of AdamW [default: 5e-5 for a model below a billion parameters, else 1e-5]
    #[arg(long, value_name = "LR", visible_alias = "lr")]
    pub learning_rate: Option<f64>,
    /// How often the answers of an update are gone through [default: 4 for ppo, 1 for grpo]
    #[arg(long, value_name = "N")]
    pub inner_epochs: Option<usize>,
    /// In how many parts they are gone through [default: 1]
    #[arg(long, value_name = "N")]
    pub mini_batches: Option<usize>,
    /// What a unit of divergence from the beginning costs [default: 0.05 for ppo, 0 for grpo]
    #[arg(long, value_name = "BETA")]
    pub beta: Option<f64>,
    /// Move that price so that an answer's divergence comes near this
    #[arg(long, value_name = "KL")]
    pub target_kl: Option<f64>,
    /// Divergence of an answer at which the run is stopped [default: 50]
    #[arg(long, value_name = "KL")]
    pub most_kl: Option<f64>,
    /// Entropy of a token at which the run is stopped, having collapsed [default: 0.005]
    #[arg(long, value_name = "NATS")]
    pub least_entropy: Option<f64>,
    /// Answers as they should be, learned beside the policy's own: JSON Lines of prompt and completion
    #[arg(long, value_name = "FILE")]
    pub sft_data: Option<PathBuf>,
    /// What those count, a token of theirs beside a token of the policy's own [default: 1]
    #[arg(long, value_name = "C", requires = "sft_data")]
    pub sft_coefficient: Option<f64>,
    /// How far from one the ratio of a token counts [default: 0.2]
    #[arg(long, value_name = "EPSILON")]
    pub clip: Option<f64>,
    /// Tokens computed at a time: bounds memory, not the result [default: 1024]
    #[arg(long, value_name = "N")]
    pub micro_tokens: Option<usize>,
    /// Updates between checkpoints; 0: only when interrupted [default: 5]
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub save_every: usize,
    /// Decides the start, the order of prompts and what is drawn [default: 0]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
}

#[derive(Args)]
pub struct Ppo {
    #[command(flatten)]
    pub shared: Shared,
    /// Discount of rewards that come later
    #[arg(long, default_value_t = 1.0)]
    pub gamma: f64,
    /// How far advantages look ahead (GAE)
    #[arg(long, default_value_t = 0.95)]
    pub lambda: f64,
    /// How far a value may move in an update
    #[arg(long, value_name = "EPSILON", default_value_t = 0.2)]
    pub value_clip: f64,
    /// The critic's rate, in rates of the policy
    #[arg(long, value_name = "TIMES", default_value_t = 5.0)]
    pub value_rate: f64,
    /// Scale rewards to a variance of one before advantages are made of them
    #[arg(long)]
    pub whiten_rewards: bool,
    /// With which token the score is paid
    #[arg(long, value_enum, default_value_t = At::Eos)]
    pub score_at: At,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum At {
    /// The last
    Eos,
    /// The one behind it, as a widely copied trainer has it
    AfterEos,
}

#[derive(Args)]
pub struct Grpo {
    #[command(flatten)]
    pub shared: Shared,
    /// Answers to each prompt [default: 8]
    #[arg(long, value_name = "G")]
    pub num_generations: Option<usize>,
    /// Do not divide advantages by the spread of their group (Dr. GRPO)
    #[arg(long)]
    pub unscaled: bool,
    /// Average over all tokens instead of over answers (DAPO)
    #[arg(long)]
    pub by_token: bool,
}
