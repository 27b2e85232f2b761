//! The dozen choices that separate model families, and reading them from a Hugging Face config.json.

use std::fmt;

use serde::Deserialize;
use serde_json::Value;

use super::names::Names;
use super::{bert, distilbert, gemma, gpt2, llama};
use crate::error::{Error, Result};
use crate::nn::{Activation, Part, RopeScaling, Shape, Sight};

/// Everything the transformer needs to know about a model besides its weights.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    pub family: Family,
    pub shape: Shape,
    /// Longest sequence the model was made for, in tokens.
    pub context: usize,
    pub positions: Positions,
    /// Word vectors are multiplied by it on the way in.
    pub embedding_scale: f64,
    pub norm: NormKind,
    pub norm_eps: f64,
    pub norm_place: NormPlace,
    pub activation: Activation,
    /// Attention's scores are divided by its square root: the width of a head in nearly every model.
    pub score_variance: f64,
    /// Whether a token sees only what stands before it.
    pub causal: bool,
    /// Layers that see only what is near.
    pub near: Option<Near>,
    /// Whether the output head is the embedding table.
    pub tied_head: bool,
}

const SUPPORTED: &str = "supported model_type values: bert, roberta, xlm-roberta, distilbert (encoders); \
    llama, mistral, qwen2, qwen3, gemma3_text, gpt2 (generators)";

/// What to do about a config.json that cannot be read.
const AGAIN: &str = "fetch or save the model again";

/// Who named the weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    Bert,
    /// And XLM-RoBERTa.
    Roberta,
    DistilBert,
    /// And Mistral.
    Llama,
    Qwen2,
    Qwen3,
    Gemma3,
    Gpt2,
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bert => "bert",
            Self::Roberta => "roberta",
            Self::DistilBert => "distilbert",
            Self::Llama => "llama",
            Self::Qwen2 => "qwen2",
            Self::Qwen3 => "qwen3",
            Self::Gemma3 => "gemma3",
            Self::Gpt2 => "gpt2",
        })
    }
}

impl Family {
    pub(super) fn names(self) -> &'static Names {
        match self {
            Self::Bert => &bert::NAMES,
            Self::Roberta => &bert::ROBERTA,
            Self::DistilBert => &distilbert::NAMES,
            Self::Llama | Self::Qwen2 => &llama::NAMES,
            Self::Qwen3 => &llama::QWEN3,
            Self::Gemma3 => &gemma::NAMES,
            Self::Gpt2 => &gpt2::NAMES,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum NormKind {
    /// The offset is added to every weight.
    Rms {
        offset: f64,
    },
    Layer,
}

/// Where a block normalises; [`crate::nn::SublayerNorm`] has the formulas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormPlace {
    Before,
    After,
    Around,
}

/// Layers that see only the nearest tokens, between others that see all.
#[derive(Debug, Clone, PartialEq)]
pub struct Near {
    /// How many tokens, the query's own among them.
    pub window: usize,
    /// Their own base of rotary positions, which are not stretched.
    pub theta: f64,
    /// Of each layer, whether it is one.
    pub layers: Vec<bool>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Positions {
    /// A learned vector a position, added to the embedding; a text begins at `first`.
    Learned {
        first: usize,
    },
    Rotary {
        theta: f64,
        scaling: RopeScaling,
    },
}

impl Config {
    /// Reads a config.json.
    ///
    /// # Errors
    /// `Invalid` for a family or a choice we do not compute, by name: a model is run as it was made or not at all.
    pub fn from_json(json: &str) -> Result<Self> {
        let value: Value = serde_json::from_str(json)
            .map_err(|e| Error::corrupt(format!("config.json is not JSON: {e}")).hint(AGAIN))?;
        let family = value.get("model_type").and_then(Value::as_str).unwrap_or_default();
        match family {
            "bert" => bert::config(value, Family::Bert)?.checked(),
            "roberta" | "xlm-roberta" => bert::config(value, Family::Roberta)?.checked(),
            "distilbert" => distilbert::config(value)?.checked(),
            "llama" | "mistral" => llama::config(value, Family::Llama)?.checked(),
            "qwen2" => llama::config(value, Family::Qwen2)?.checked(),
            "qwen3" => llama::config(value, Family::Qwen3)?.checked(),
            "gemma3_text" => gemma::config(value)?.checked(),
            "gpt2" => gpt2::config(value)?.checked(),
            "" => Err(Error::invalid("config.json names no model_type")),
            other => Err(Error::invalid(format!("model family `{other}` is not supported")).hint(SUPPORTED)),
        }
    }

    /// Number of values in the weights, biases and position tables aside.
    pub fn parameters(&self) -> usize {
        let shape = &self.shape;
        let parts = [Part::Q, Part::K, Part::V, Part::O, Part::Gate, Part::Up, Part::Down];
        let linears = parts.iter().filter_map(|&part| shape.linear(part)).map(|(out, input)| out * input);
        let head = if self.tied_head { 0 } else { shape.vocab * shape.hidden };
        let names = self.family.names();
        let norms = 2 * (1 + usize::from(names.norms_after.is_some())) * shape.hidden;
        let head_norms = if names.head_norms.is_some() { 2 * shape.head_dim } else { 0 };
        shape.vocab * shape.hidden
            + head
            + shape.layers * (linears.sum::<usize>() + norms + head_norms)
            + shape.hidden
    }

    /// What attention in `layer` looks at.
    pub(super) fn sight(&self, layer: usize) -> Sight {
        match &self.near {
            Some(near) if near.layers.get(layer) == Some(&true) => Sight::Near(near.window),
            _ if self.causal => Sight::Before,
            _ => Sight::All,
        }
    }

    /// Refuses sizes that contradict each other, before a weight is touched.
    pub(super) fn checked(self) -> Result<Self> {
        let Shape { layers, hidden, heads, kv_heads, head_dim, intermediate, vocab, .. } = self.shape;
        let sizes = [
            ("num_hidden_layers", layers),
            ("hidden_size", hidden),
            ("num_attention_heads", heads),
            ("num_key_value_heads", kv_heads),
            ("head_dim", head_dim),
            ("intermediate_size", intermediate),
            ("vocab_size", vocab),
            ("max_position_embeddings", self.context),
        ];
        if let Some((name, size)) = sizes.into_iter().find(|&(_, size)| size == 0 || size > 1 << 24) {
            return Err(Error::corrupt(format!("config: `{name}` is {size}")));
        }
        if !heads.is_multiple_of(kv_heads) {
            return Err(Error::corrupt(format!(
                "config: {heads} query heads cannot share {kv_heads} key/value heads"
            )));
        }
        let rotary = matches!(self.positions, Positions::Rotary { .. });
        if !head_dim.is_multiple_of(2) && rotary {
            return Err(Error::corrupt(format!(
                "config: rotary positions need an even head_dim, not {head_dim}"
            )));
        }
        let theta = match &self.positions {
            Positions::Rotary { scaling, .. } if !scaling.is_sound() => {
                return Err(Error::corrupt(format!("config: the rope scaling is {scaling:?}")));
            }
            Positions::Rotary { theta, .. } => *theta,
            Positions::Learned { .. } => 1.0,
        };
        if self.near.as_ref().is_some_and(|near| near.window == 0) {
            return Err(Error::corrupt("config: the attention window is 0"));
        }
        let positive = |value: f64| value.is_finite() && value > 0.0;
        let numbers = [
            ("the norms' epsilon", self.norm_eps),
            ("rope_theta", theta),
            ("the local layers' rope_theta", self.near.as_ref().map_or(1.0, |near| near.theta)),
            ("query_pre_attn_scalar", self.score_variance),
        ];
        match numbers.iter().find(|number| !positive(number.1)) {
            Some((name, value)) => Err(Error::corrupt(format!("config: {name} is {value}"))),
            None => Ok(self),
        }
    }
}

pub(super) fn parse<T: for<'a> Deserialize<'a>>(value: Value) -> Result<T> {
    serde_json::from_value(value).map_err(|e| Error::corrupt(format!("config.json: {e}")).hint(AGAIN))
}

/// What serde takes for a choice that is made unless a file says no.
pub(super) fn yes() -> bool {
    true
}

pub(super) fn activation(name: &str) -> Result<Activation> {
    Activation::from_name(name).ok_or_else(|| Error::invalid(format!("activation `{name}` is not supported")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_family_is_refused_by_name() {
        let error = Config::from_json(r#"{"model_type": "mamba"}"#).unwrap_err();
        assert!(error.to_string().contains("`mamba`"), "{error}");
    }

    #[test]
    fn sizes_that_contradict_each_other_are_refused() {
        let json = r#"{"model_type": "llama", "vocab_size": 10, "hidden_size": 8, "num_hidden_layers": 1,
            "num_attention_heads": 4, "num_key_value_heads": 3, "intermediate_size": 8, "max_position_embeddings": 16}"#;
        let error = Config::from_json(json).unwrap_err();
        assert!(error.to_string().contains("share 3 key/value heads"), "{error}");
    }

    #[test]
    fn rope_theta_is_read_from_either_place() {
        let json = |rope: &str| {
            format!(
                r#"{{"model_type": "llama", "vocab_size": 10, "hidden_size": 8, "num_hidden_layers": 1,
                "num_attention_heads": 2, "intermediate_size": 8, "max_position_embeddings": 16, {rope}}}"#
            )
        };
        let expected = Positions::Rotary { theta: 5e5, scaling: RopeScaling::None };
        for rope in
            [r#""rope_theta": 500000.0"#, r#""rope_parameters": {"rope_theta": 5e5, "rope_type": "default"}"#]
        {
            assert_eq!(Config::from_json(&json(rope)).unwrap().positions, expected);
        }
    }
}
