//! Llama and those built like it: pre-norm decoders with RMSNorm, rotary positions, grouped heads, SwiGLU.
//!
//! Llama: Touvron et al. 2023, arXiv 2302.13971. Qwen 2 (Yang et al. 2024, arXiv 2407.10671) has biases on queries, keys and
//! values, which are read wherever a file has them. Qwen 3 (Yang et al. 2025, arXiv 2505.09388) norms each head of queries
//! and keys.

use serde::Deserialize;
use serde_json::Value;

use super::config::{Config, Family, NormKind, NormPlace, Positions, activation, parse, yes};
use super::names::{Classes, Names, Qkv};
use crate::error::{Error, Result};
use crate::nn::{RopeScaling, Shape};

pub(super) const NAMES: Names = Names {
    trunk: "model.",
    embedding: "embed_tokens",
    positions: None,
    token_types: None,
    embedding_norm: None,
    layers: "layers",
    qkv: Qkv::Apart { q: "self_attn.q_proj", k: "self_attn.k_proj", v: "self_attn.v_proj" },
    o: "self_attn.o_proj",
    gate: Some("mlp.gate_proj"),
    up: "mlp.up_proj",
    down: "mlp.down_proj",
    transposed: false,
    norms: ("input_layernorm", "post_attention_layernorm"),
    norms_after: None,
    head_norms: None,
    final_norm: Some("norm"),
    head: Some("lm_head"),
    classes: Classes::Last { out: "score" },
};

pub(super) const QWEN3: Names = Names { head_norms: Some(("self_attn.q_norm", "self_attn.k_norm")), ..NAMES };

pub(super) fn config(value: Value, family: Family) -> Result<Config> {
    parse::<LlamaConfig>(value)?.into_config(family)
}

#[derive(Deserialize)]
struct LlamaConfig {
    vocab_size: usize,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    intermediate_size: usize,
    max_position_embeddings: usize,
    #[serde(default = "silu")]
    hidden_act: String,
    #[serde(default = "llama_eps")]
    rms_norm_eps: f64,
    rope_theta: Option<f64>,
    rope_scaling: Option<RopeParameters>,
    /// Where transformers 5 keeps both of the above.
    rope_parameters: Option<RopeParameters>,
    #[serde(default)]
    tie_word_embeddings: bool,
    sliding_window: Option<usize>,
    /// Qwen files name a window and say here that it is not used.
    #[serde(default = "yes")]
    use_sliding_window: bool,
}

fn silu() -> String {
    "silu".to_owned()
}

fn llama_eps() -> f64 {
    1e-6
}

#[derive(Deserialize, Clone)]
pub(super) struct RopeParameters {
    pub rope_theta: Option<f64>,
    #[serde(alias = "type")]
    rope_type: Option<String>,
    factor: Option<f64>,
    low_freq_factor: Option<f64>,
    high_freq_factor: Option<f64>,
    original_max_position_embeddings: Option<f64>,
}

impl RopeParameters {
    pub fn scaling(&self) -> Result<RopeScaling> {
        let need = |name: &str, value: Option<f64>| {
            value
                .filter(|value| value.is_finite() && *value > 0.0)
                .ok_or_else(|| Error::corrupt(format!("config.json: rope parameters lack a usable `{name}`")))
        };
        match self.rope_type.as_deref().unwrap_or("default") {
            "default" => Ok(RopeScaling::None),
            "linear" => Ok(RopeScaling::Linear { factor: need("factor", self.factor)? }),
            "llama3" => Ok(RopeScaling::Llama3 {
                factor: need("factor", self.factor)?,
                low_freq_factor: need("low_freq_factor", self.low_freq_factor)?,
                high_freq_factor: need("high_freq_factor", self.high_freq_factor)?,
                original_context: need(
                    "original_max_position_embeddings",
                    self.original_max_position_embeddings,
                )?,
            }),
            other => Err(Error::invalid(format!("rope_type `{other}` is not supported"))
                .hint("supported: default, linear, llama3")),
        }
    }
}

impl LlamaConfig {
    fn into_config(self, family: Family) -> Result<Config> {
        if self.use_sliding_window
            && self.sliding_window.is_some_and(|window| window < self.max_position_embeddings)
        {
            return Err(Error::invalid(
                "config.json: sliding-window attention is not supported in this family",
            ));
        }
        if self.num_attention_heads == 0 {
            return Err(Error::corrupt("config.json: `num_attention_heads` is 0"));
        }
        let rope = self.rope_parameters.or(self.rope_scaling);
        let theta = rope.as_ref().and_then(|rope| rope.rope_theta).or(self.rope_theta).unwrap_or(10_000.0);
        let scaling = rope.as_ref().map_or(Ok(RopeScaling::None), RopeParameters::scaling)?;
        let head_dim = self.head_dim.unwrap_or(match family {
            Family::Qwen3 => 128,
            _ => self.hidden_size / self.num_attention_heads,
        });
        Ok(Config {
            family,
            shape: Shape {
                layers: self.num_hidden_layers,
                hidden: self.hidden_size,
                heads: self.num_attention_heads,
                kv_heads: self.num_key_value_heads.unwrap_or(self.num_attention_heads),
                head_dim,
                intermediate: self.intermediate_size,
                vocab: self.vocab_size,
                gated: true,
            },
            context: self.max_position_embeddings,
            positions: Positions::Rotary { theta, scaling },
            embedding_scale: 1.0,
            norm: NormKind::Rms { offset: 0.0 },
            norm_eps: self.rms_norm_eps,
            norm_place: NormPlace::Before,
            activation: activation(&self.hidden_act)?,
            score_variance: head_dim as f64,
            causal: true,
            near: None,
            tied_head: self.tie_word_embeddings,
        })
    }
}
