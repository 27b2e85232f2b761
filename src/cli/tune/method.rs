//! The options of each method.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::Chosen;
use crate::adapters::{
    AdapterConfig, Bottleneck, Gate, Ia3, LlamaAdapter, Lora, PTuning, Prefix, SoftPrompt, Targets,
    VirtualTokens,
};
use crate::error::{Error, Result};

#[derive(Args)]
pub struct LoraOptions {
    /// Rank of the change
    #[arg(long, value_name = "R", default_value_t = 8)]
    rank: usize,
    /// The change is scaled by alpha / rank [default: twice the rank]
    #[arg(long, value_name = "ALPHA")]
    alpha: Option<f64>,
    /// Linears to change: names with commas, a regular expression for whole paths, or all-linear
    #[arg(long, value_name = "NAMES", default_value = "all-linear")]
    targets: String,
    /// Only in these layers, counted from 0
    #[arg(long, value_name = "N,N", value_delimiter = ',')]
    layers: Option<Vec<usize>>,
    /// Share of inputs that the change does not see in training
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    dropout: f64,
    /// Scale by alpha / sqrt(rank): for high ranks
    #[arg(long)]
    rslora: bool,
    /// Train the lengths of weight rows apart from their directions (DoRA)
    #[arg(long)]
    dora: bool,
    /// Train B so many times as fast as A (LoRA+)
    #[arg(long, value_name = "RATIO")]
    lora_plus: Option<f64>,
}

impl LoraOptions {
    pub(super) fn chosen(&self) -> Chosen {
        let lora = Lora {
            rank: self.rank,
            alpha: self.alpha.unwrap_or(2.0 * self.rank as f64),
            rslora: self.rslora,
            dora: self.dora,
            dropout: self.dropout,
            targets: Targets::parse(&self.targets),
            layers: self.layers.clone(),
            ..Lora::default()
        };
        Chosen { lora_plus: self.lora_plus, ..AdapterConfig::Lora(lora).into() }
    }
}

#[derive(Args)]
pub struct Ia3Options {
    /// Linears to scale: names with commas, or a regular expression for whole paths [default: keys, values and down]
    #[arg(long, value_name = "NAMES")]
    targets: Option<String>,
    /// Those of them whose inputs are scaled and not their outputs [default: down]
    #[arg(long, value_name = "NAMES")]
    feedforward: Option<String>,
}

impl Ia3Options {
    pub(super) fn config(&self) -> AdapterConfig {
        let parse = |text: &Option<String>| text.as_deref().map(Targets::parse);
        AdapterConfig::Ia3(Ia3 {
            targets: parse(&self.targets),
            feedforward: parse(&self.feedforward),
            exclude: None,
        })
    }
}

#[derive(Args)]
pub struct PrefixOptions {
    /// Rows of keys and values, where the prefix does not begin as a text
    #[arg(long, value_name = "N", default_value_t = 20)]
    num_virtual_tokens: usize,
    /// Begin as a prompt that shows the examples of this file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["encoder_hidden_size", "init_text", "num_virtual_tokens"])]
    init_demos: Option<PathBuf>,
    /// Begin as what the model makes of this text
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["encoder_hidden_size", "num_virtual_tokens"])]
    init_text: Option<String>,
    /// Have a network of this inner width write the prefix while it is trained
    #[arg(long, value_name = "H")]
    encoder_hidden_size: Option<usize>,
    /// Train the first row too, of a prefix that begins as a text
    #[arg(long)]
    train_first: bool,
}

impl PrefixOptions {
    pub(super) fn chosen(&self) -> Chosen {
        let begins_as_text = self.init_demos.is_some() || self.init_text.is_some();
        let prefix = Prefix {
            num_virtual_tokens: self.num_virtual_tokens,
            encoder_hidden_size: self.encoder_hidden_size,
            freeze_first: begins_as_text && !self.train_first,
        };
        Chosen {
            init_text: self.init_text.clone(),
            init_demos: self.init_demos.clone(),
            ..AdapterConfig::Prefix(prefix).into()
        }
    }
}

#[derive(Args)]
pub struct SoftOptions {
    /// Virtual tokens
    #[arg(long, value_name = "N", default_value_t = 20)]
    num_virtual_tokens: usize,
    /// What they begin as [default: text where one is given, else vocabulary]
    #[arg(long, value_enum)]
    init: Option<Beginning>,
    /// The text
    #[arg(long, value_name = "TEXT")]
    init_text: Option<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Beginning {
    /// Normally distributed numbers, as PEFT does
    Random,
    /// Vectors of tokens drawn from the vocabulary
    Vocabulary,
    /// Vectors of the text's tokens
    Text,
}

impl SoftOptions {
    /// # Errors
    /// `Invalid` for a text that they are not to begin as.
    pub(super) fn chosen(&self) -> Result<Chosen> {
        if let (Some(Beginning::Random | Beginning::Vocabulary), Some(_)) = (self.init, &self.init_text) {
            return Err(Error::invalid("--init-text is for virtual tokens that begin as a text")
                .hint("leave --init out, or --init-text"));
        }
        let init = match (self.init, &self.init_text) {
            (Some(Beginning::Random), _) => VirtualTokens::Random,
            (Some(Beginning::Vocabulary), _) | (None, None) => VirtualTokens::Vocabulary,
            (Some(Beginning::Text), _) | (None, Some(_)) => VirtualTokens::Text,
        };
        let prompt = SoftPrompt { num_virtual_tokens: self.num_virtual_tokens, init };
        Ok(Chosen { init_text: self.init_text.clone(), ..AdapterConfig::SoftPrompt(prompt).into() })
    }
}

#[derive(Args)]
pub struct PTuningOptions {
    /// Virtual tokens
    #[arg(long, value_name = "N", default_value_t = 20)]
    num_virtual_tokens: usize,
    /// Inner width of the network that writes them [default: as wide as the model]
    #[arg(long, value_name = "H")]
    encoder_hidden_size: Option<usize>,
}

impl PTuningOptions {
    pub(super) fn config(&self) -> AdapterConfig {
        AdapterConfig::PTuning(PTuning {
            num_virtual_tokens: self.num_virtual_tokens,
            encoder_hidden_size: self.encoder_hidden_size,
        })
    }
}

#[derive(Args)]
pub struct Bottlenecks {
    /// How many times narrower than the model the middle is [default: the paper's]
    #[arg(long, value_name = "FACTOR")]
    reduction_factor: Option<f64>,
    /// relu, swish, gelu or gelu_new [default: the paper's]
    #[arg(long, value_name = "NAME")]
    non_linearity: Option<String>,
    /// What the bottleneck's output is multiplied by [default: the paper's]
    #[arg(long, value_name = "S")]
    scaling: Option<f64>,
}

impl Bottlenecks {
    /// `usual` with what was typed.
    pub(super) fn config(&self, usual: Bottleneck) -> AdapterConfig {
        AdapterConfig::Bottleneck(Bottleneck {
            reduction_factor: self.reduction_factor.unwrap_or(usual.reduction_factor),
            non_linearity: self.non_linearity.clone().unwrap_or(usual.non_linearity),
            scaling: self.scaling.unwrap_or(usual.scaling),
            placement: usual.placement,
        })
    }
}

#[derive(Args)]
pub struct LlamaOptions {
    /// Learned vectors a layer
    #[arg(long, value_name = "K", default_value_t = 10)]
    adapter_len: usize,
    /// How many layers, from the top [default: all but two]
    #[arg(long, value_name = "L")]
    adapter_layers: Option<usize>,
    /// One gate a layer, which PEFT reads too, or one a head through tanh, as in the paper's code
    #[arg(long, value_enum, default_value_t = Gates::Scalar)]
    gate: Gates,
}

#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
enum Gates {
    Scalar,
    PerHead,
}

impl LlamaOptions {
    pub(super) fn config(&self) -> AdapterConfig {
        AdapterConfig::LlamaAdapter(LlamaAdapter {
            adapter_len: self.adapter_len,
            adapter_layers: self.adapter_layers,
            gate: match self.gate {
                Gates::Scalar => Gate::Scalar,
                Gates::PerHead => Gate::PerHead,
            },
        })
    }
}

#[derive(Args)]
pub struct FullOptions {
    /// Only so many layers, from the top, and what stands above them [default: everything]
    #[arg(long, value_name = "K")]
    pub top_layers: Option<usize>,
}

/// There is nothing to choose.
#[derive(Args)]
pub struct NoOptions {}
