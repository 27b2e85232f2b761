//! `incontext rlhf reward | dpo`: teach a model which of several answers is better.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::method::LoraOptions;
use super::options::TrainingOptions;
use super::{Chosen, Run, absolute, train, vacant, weights};
use crate::adapters;
use crate::cli::printer::Printer;
use crate::cli::settings::Settings;
use crate::cli::{Ending, device};
use crate::engine::tune::{Data, Job, Method, Preference, preference_config};
use crate::error::{Error, Result};
use crate::models::Model;
use crate::rlhf::dpo::Variant;
use crate::text::example::Columns;

/// Options of whatever learns from answers that somebody compared.
#[derive(Args)]
pub struct Compared {
    /// Answers that somebody compared: JSON Lines of prompt, chosen and rejected; of chosen and rejected that begin alike; of prompt and responses, the best first; or of prompt, completion and a label of true or false; may be gzipped
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// What to call the adapter
    #[arg(long, value_name = "NAME")]
    out: String,
    /// Model of this machine [default: smollm2-135m-instruct]
    #[arg(long, value_name = "NAME|PATH")]
    model: Option<String>,
    /// Adapter to begin as, for example one of `rlhf sft`; its method and sizes are kept [default: a new LoRA]
    #[arg(long, value_name = "NAME", conflicts_with_all = ["rank", "alpha", "targets", "layers", "rslora", "dora"])]
    from: Option<String>,
    /// Forget an unfinished run of that name
    #[arg(long)]
    restart: bool,
    /// Only rows whose field `split` says this
    #[arg(long, value_name = "NAME", help_heading = "Rows")]
    split: Option<String>,
    /// The first so many rows
    #[arg(long, value_name = "N", help_heading = "Rows")]
    limit: Option<usize>,
    /// Rows to validate with
    #[arg(long, value_name = "FILE", conflicts_with = "validation_split", help_heading = "Rows")]
    validation: Option<PathBuf>,
    /// Rows of --data to validate with: those whose `split` says this
    #[arg(long, value_name = "NAME", help_heading = "Rows")]
    validation_split: Option<String>,
    /// Prompts as they stand, without the model's chat layout
    #[arg(long, help_heading = "Rows")]
    plain: bool,
    #[command(flatten)]
    lora: LoraOptions,
    #[command(flatten)]
    training: TrainingOptions,
    /// Where to compute [default: cpu]
    #[arg(long, value_enum)]
    device: Option<device::Kind>,
    /// Print what came of it as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub struct Reward {
    /// How much the sum of a pair's scores is held at zero
    #[arg(long, value_name = "C", default_value_t = 0.0)]
    centring: f64,
    /// Prompts that the policy (--from, or the model as it is) answers afterwards, for the level of its scores to be known to PPO
    #[arg(long, value_name = "N", default_value_t = 64)]
    scale_prompts: usize,
    #[command(flatten)]
    compared: Compared,
}

#[derive(Args)]
pub struct Dpo {
    /// How dearly the model pays for going away from where it began
    #[arg(long, value_name = "BETA", default_value_t = 0.1)]
    beta: f64,
    /// What is made of the difference between two answers
    #[arg(long, value_enum, default_value_t = Loss::Sigmoid)]
    loss: Loss,
    /// Share of judgements that are taken to be wrong
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    label_smoothing: f64,
    #[command(flatten)]
    compared: Compared,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Loss {
    /// Rafailov et al. 2023
    Sigmoid,
    /// Zhao et al. 2023 (SLiC)
    Hinge,
    /// Azar et al. 2023
    Ipo,
}

pub fn reward(command: &Reward, settings: &Settings, printer: &Printer) -> Result<Ending> {
    let Reward { centring, scale_prompts, compared } = command;
    let reward = Preference::Reward { centring: *centring, scale_prompts: *scale_prompts };
    begin(compared, reward, settings, printer)
}

pub fn dpo(command: &Dpo, settings: &Settings, printer: &Printer) -> Result<Ending> {
    let variant = match command.loss {
        Loss::Sigmoid => Variant::Sigmoid,
        Loss::Hinge => Variant::Hinge,
        Loss::Ipo => Variant::Ipo,
    };
    let (beta, label_smoothing) = (command.beta, command.label_smoothing);
    begin(&command.compared, Preference::Dpo { beta, variant, label_smoothing }, settings, printer)
}

fn begin(
    compared: &Compared,
    preference: Preference,
    settings: &Settings,
    printer: &Printer,
) -> Result<Ending> {
    preference.check()?;
    let is_reward = matches!(preference, Preference::Reward { .. });
    let model = weights(&settings.model(compared.model.as_deref()))?;
    let (about, _) = Model::describe(&model.path)?;
    if !about.causal && !is_reward {
        return Err(Error::invalid(format!("`{}` is an encoder and writes nothing", model.path.display()))
            .hint("dpo teaches a model that writes; an encoder can be a reward model: rlhf reward"));
    }
    let Chosen { mut method, lora_plus, .. } = compared.lora.chosen();
    if let Some(from) = &compared.from {
        let place = settings.adapters().find(from)?;
        method = match adapters::describe(&place)? {
            (Some(config), _) => Method::Adapter(config),
            (None, _) => {
                return Err(Error::invalid(format!("`{from}` is weights of the model itself"))
                    .hint("begin as an adapter beside the weights, for example one of `rlhf sft`"));
            }
        };
    }
    let mut training = preference_config(preference, &method, &about);
    compared.training.put(&mut training);
    training.check()?;
    let data = Data {
        file: absolute(&compared.data)?,
        split: compared.split.clone(),
        limit: compared.limit,
        columns: Columns::default(),
        validation: compared.validation.as_deref().map(absolute).transpose()?,
        validation_split: compared.validation_split.clone(),
        plain: compared.plain,
        labels: if is_reward { vec!["reward".to_owned()] } else { Vec::new() },
        ..Data::default()
    };
    let job = Job {
        classify: is_reward,
        preference: Some(preference),
        from: compared.from.clone(),
        sweep: compared.training.sweep_lr,
        lora_plus: lora_plus.unwrap_or(1.0),
        ..Job::new(model.lasting_name()?, &model.path, method, data, training)?
    };
    vacant(&compared.out, compared.restart, settings)?;
    let run = Run { name: &compared.out, job, resume: false, json: compared.json, device: compared.device };
    train(run, settings, printer)
}
