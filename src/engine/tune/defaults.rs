//! Where a method starts when nobody says: one rate for all of them is why methods "do not work".
//!
//! Rates and warm-ups are those of the papers where they are for AdamW, else what works on small models.

use super::{Method, Preference};
use crate::adapters::{AdapterConfig, Lora, Prefix};
use crate::models::{Config, Selection};
use crate::train::{Schedule, TrainConfig};

/// Below so many parameters a model takes a higher rate.
const SMALL: usize = 1_000_000_000;

/// The base rate of AdamW for `method` on `model`.
pub fn learning_rate(method: &Method, model: &Config) -> f64 {
    match method {
        Method::Adapter(config) => of_adapter(config, model.parameters()),
        Method::Weights(Selection::Head | Selection::BitFit) => 1e-3,
        Method::Weights(Selection::Top(_) | Selection::All) if model.causal => 2e-5,
        Method::Weights(Selection::Top(_) | Selection::All) => 5e-5,
        // Fitted, without steps.
        Method::Features(_) => 0.0,
    }
}

fn of_adapter(config: &AdapterConfig, parameters: usize) -> f64 {
    match config {
        AdapterConfig::SoftPrompt(_) => 1e-2,
        AdapterConfig::PTuning(_) => 1e-3,
        AdapterConfig::Prefix(Prefix { encoder_hidden_size: Some(_), .. }) => 1e-4,
        AdapterConfig::Prefix(_) => 5e-3,
        AdapterConfig::Bottleneck(_) => 1e-3,
        AdapterConfig::LlamaAdapter(_) => 3e-3,
        AdapterConfig::Lora(Lora { dora: true, .. }) => 2e-4,
        AdapterConfig::Lora(_) if parameters < SMALL => 5e-4,
        AdapterConfig::Lora(_) => 2e-4,
        AdapterConfig::Ia3(_) => 5e-3,
    }
}

/// How `method` is trained.
pub fn train_config(method: &Method, model: &Config) -> TrainConfig {
    let (warmup, epochs, weight_decay) = match method {
        Method::Adapter(config) => match config {
            AdapterConfig::SoftPrompt(_) | AdapterConfig::PTuning(_) | AdapterConfig::Ia3(_) => {
                (0.05, 5, 0.0)
            }
            AdapterConfig::Prefix(Prefix { encoder_hidden_size: Some(_), .. }) => (0.05, 5, 0.0),
            AdapterConfig::Prefix(_) => (0.05, 3, 0.0),
            AdapterConfig::Bottleneck(_) => (0.10, 3, 0.0),
            AdapterConfig::LlamaAdapter(_) => (0.40, 5, 0.02),
            AdapterConfig::Lora(_) => (0.03, 3, 0.0),
        },
        // From the second epoch on only the head is computed.
        Method::Weights(Selection::Head) => (0.0, 20, 0.0),
        Method::Weights(Selection::Top(_) | Selection::All) => (0.06, 3, 0.01),
        Method::Weights(Selection::BitFit) => (0.06, 5, 0.0),
        Method::Features(_) => (0.0, 1, 0.0),
    };
    let learning_rate = learning_rate(method, model);
    TrainConfig { learning_rate, warmup, epochs, weight_decay, ..TrainConfig::default() }
}

/// How `method` learns which answer is better: once through the rows, more than that over-fits (Ouyang et al. 2022).
pub fn preference_config(preference: Preference, method: &Method, model: &Config) -> TrainConfig {
    let all = matches!(method, Method::Weights(_));
    let (learning_rate, warmup, schedule) = match preference {
        Preference::Reward { .. } => (if all { 1e-5 } else { 1e-4 }, 0.03, Schedule::Cosine),
        Preference::Dpo { .. } => (if all { 1e-6 } else { 5e-6 }, 0.10, Schedule::Linear),
    };
    let small = if !all && model.parameters() < SMALL { 4.0 } else { 1.0 };
    TrainConfig {
        learning_rate: learning_rate * small,
        warmup,
        schedule,
        epochs: 1,
        weight_decay: 0.0,
        ..TrainConfig::default()
    }
}
