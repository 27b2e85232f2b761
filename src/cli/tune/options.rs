//! What every method is told: on which rows, how to train, where to put what comes of it.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::cli::device;
use crate::error::{Error, Result};
use crate::train::{Schedule, TrainConfig};

/// What every method is told.
#[derive(Args)]
pub struct Shared {
    /// Rows to learn from: JSON Lines of prompt and completion, messages, instruction and output, input and output, or text; may be gzipped
    #[arg(long, value_name = "FILE", visible_alias = "questions")]
    pub data: PathBuf,
    /// What to call the adapter
    #[arg(long, value_name = "NAME")]
    pub out: String,
    /// Model of this machine [default: smollm2-135m-instruct]
    #[arg(long, value_name = "NAME|PATH")]
    pub model: Option<String>,
    /// Teach it to tell classes apart, by a head of its own, instead of to write; encoders always are
    #[arg(long, conflicts_with = "template")]
    pub classify: bool,
    /// Lay the examples out by this template, as asking with it does
    #[arg(long, value_name = "NAME|FILE")]
    pub template: Option<String>,
    /// Show passages of this collection, as asking it finds them; for templates that show passages
    #[arg(short, long, value_name = "NAME", requires = "template")]
    pub collection: Option<String>,
    /// Passages to show [default: 3 for a model below 300M parameters, else 5]
    #[arg(short, value_parser = clap::value_parser!(u16).range(1..=20), requires = "collection")]
    pub k: Option<u16>,
    /// Forget an unfinished run of that name
    #[arg(long)]
    pub restart: bool,
    #[command(flatten)]
    pub rows: RowOptions,
    #[command(flatten)]
    pub training: TrainingOptions,
    /// Where to compute [default: cpu]
    #[arg(long, value_enum)]
    pub device: Option<device::Kind>,
    /// Print what came of it as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
#[command(next_help_heading = "Rows")]
pub struct RowOptions {
    /// Only rows whose field `split` says this
    #[arg(long, value_name = "NAME")]
    pub split: Option<String>,
    /// The first so many rows
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// Field that holds what comes in
    #[arg(long, value_name = "FIELD")]
    pub input: Option<String>,
    /// Field that holds what is right
    #[arg(long, value_name = "FIELD")]
    pub label: Option<String>,
    /// What may be chosen, for templates that show it [default: the distinct answers]
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    pub labels: Vec<String>,
    /// Rows to validate with
    #[arg(long, value_name = "FILE", conflicts_with = "validation_split")]
    pub validation: Option<PathBuf>,
    /// Rows of --data to validate with: those whose `split` says this
    #[arg(long, value_name = "NAME")]
    pub validation_split: Option<String>,
    /// A row for each answer of a row with several
    #[arg(long, conflicts_with = "template")]
    pub every_answer: bool,
    /// Cut the beginning of prompts that are too long instead of leaving the row out
    #[arg(long)]
    pub cut: bool,
    /// Prompts as they stand, without the model's chat layout
    #[arg(long, conflicts_with = "template")]
    pub plain: bool,
}

#[derive(Args)]
#[command(next_help_heading = "Training")]
pub struct TrainingOptions {
    /// Base rate of AdamW [default: the method's]
    #[arg(long, value_name = "LR", visible_alias = "lr")]
    learning_rate: Option<f64>,
    /// Try a third of the rate, the rate and three times the rate for 50 steps each, and go on with the best
    #[arg(long)]
    pub sweep_lr: bool,
    /// How the rate goes on after warming up [default: linear]
    #[arg(long, value_enum)]
    schedule: Option<Rates>,
    /// Share of the steps on which the rate goes up [default: the method's]
    #[arg(long, value_name = "SHARE")]
    warmup: Option<f64>,
    /// How often each row is seen [default: the method's]
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// So many steps instead
    #[arg(long, value_name = "N", conflicts_with = "epochs")]
    steps: Option<usize>,
    /// Rows a step [default: 8]
    #[arg(long, value_name = "N")]
    batch_size: Option<usize>,
    /// Tokens computed at a time: bounds memory, not the result [default: 1024]
    #[arg(long, value_name = "N")]
    micro_tokens: Option<usize>,
    /// Tokens a row may have [default: 1024]
    #[arg(long, value_name = "N")]
    max_length: Option<usize>,
    /// Norm that gradients are scaled down to; 0: as they are [default: 1]
    #[arg(long, value_name = "NORM")]
    clip: Option<f64>,
    /// Decoupled weight decay [default: the method's]
    #[arg(long, value_name = "DECAY")]
    weight_decay: Option<f64>,
    /// Share of the rows that is held out to validate with [default: 0]
    #[arg(long, value_name = "SHARE")]
    validation_share: Option<f64>,
    /// Steps between validations [default: an epoch]
    #[arg(long, value_name = "N")]
    validate_every: Option<usize>,
    /// Validations without a better loss after which to stop
    #[arg(long, value_name = "N")]
    patience: Option<usize>,
    /// Steps between checkpoints; 0: only when interrupted [default: 100]
    #[arg(long, value_name = "N")]
    save_every: Option<usize>,
    /// Decides the start, the order of rows, dropout and what is held out [default: 0]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Rates {
    Linear,
    Cosine,
    Constant,
}

impl From<Rates> for Schedule {
    fn from(rates: Rates) -> Self {
        match rates {
            Rates::Linear => Self::Linear,
            Rates::Cosine => Self::Cosine,
            Rates::Constant => Self::Constant,
        }
    }
}

impl Shared {
    /// # Errors
    /// `Invalid` for options that would be passed over.
    pub fn check(&self) -> Result<()> {
        let rows = &self.rows;
        let held_out = rows.validation.is_some()
            || rows.validation_split.is_some()
            || self.training.validation_share.is_some_and(|share| share > 0.0);
        for (given, name) in [
            (self.training.patience.is_some(), "patience"),
            (self.training.validate_every.is_some(), "validate-every"),
        ] {
            if given && !held_out {
                return Err(Error::invalid(format!(
                    "--{name} goes by rows that are held out, and there are none"
                ))
                .hint("--validation-share 0.1, --validation FILE or --validation-split NAME"));
            }
        }
        Ok(())
    }
}

impl TrainingOptions {
    /// Puts what was typed into `config`.
    pub fn put(&self, config: &mut TrainConfig) {
        fn set<T: Clone>(place: &mut T, typed: &Option<T>) {
            if let Some(typed) = typed {
                *place = typed.clone();
            }
        }
        config.save_every = 100;
        set(&mut config.learning_rate, &self.learning_rate);
        set(&mut config.schedule, &self.schedule.map(Schedule::from));
        set(&mut config.warmup, &self.warmup);
        set(&mut config.epochs, &self.epochs);
        set(&mut config.batch_size, &self.batch_size);
        set(&mut config.micro_tokens, &self.micro_tokens);
        set(&mut config.max_length, &self.max_length);
        set(&mut config.clip, &self.clip);
        set(&mut config.weight_decay, &self.weight_decay);
        set(&mut config.validation_share, &self.validation_share);
        set(&mut config.save_every, &self.save_every);
        set(&mut config.seed, &self.seed);
        config.steps = self.steps;
        config.validate_every = self.validate_every;
        config.patience = self.patience;
    }
}
