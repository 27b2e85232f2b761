//! Gemma 3, text only (Gemma Team 2025, arXiv 2503.19786): Llama's parts with norms before and behind each sublayer, norms on
//! the heads of queries and keys, and layers that see only what is near between others that see all.

use serde::Deserialize;
use serde_json::Value;

use super::config::{Config, Family, Near, NormKind, NormPlace, Positions, activation, parse, yes};
use super::llama::{self, RopeParameters};
use super::names::Names;
use crate::error::{Error, Result};
use crate::nn::{RopeScaling, Shape};

pub(super) const NAMES: Names = Names {
    norms: ("input_layernorm", "pre_feedforward_layernorm"),
    norms_after: Some(("post_attention_layernorm", "post_feedforward_layernorm")),
    ..llama::QWEN3
};

/// Norms store how far their weight is from this.
pub(super) const NORM_OFFSET: f64 = 1.0;

/// Of local layers, where the file says nothing else.
pub(super) const LOCAL_THETA: f64 = 10_000.0;
const GLOBAL_THETA: f64 = 1e6;

/// Every so many layers one sees all, where the file says nothing else.
pub(super) const PATTERN: usize = 6;

#[derive(Deserialize)]
struct GemmaConfig {
    vocab_size: usize,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: usize,
    head_dim: usize,
    intermediate_size: usize,
    max_position_embeddings: usize,
    hidden_activation: String,
    #[serde(default = "gemma_eps")]
    rms_norm_eps: f64,
    query_pre_attn_scalar: f64,
    sliding_window: usize,
    layer_types: Option<Vec<String>>,
    sliding_window_pattern: Option<usize>,
    rope_theta: Option<f64>,
    rope_local_base_freq: Option<f64>,
    rope_scaling: Option<RopeParameters>,
    /// Where transformers 5 keeps these three.
    rope_parameters: Option<RopeByLayer>,
    attn_logit_softcapping: Option<f64>,
    final_logit_softcapping: Option<f64>,
    #[serde(default)]
    use_bidirectional_attention: bool,
    #[serde(default = "yes")]
    tie_word_embeddings: bool,
}

#[derive(Deserialize)]
struct RopeByLayer {
    full_attention: RopeParameters,
    sliding_attention: RopeParameters,
}

fn gemma_eps() -> f64 {
    1e-6
}

pub(super) fn config(value: Value) -> Result<Config> {
    parse::<GemmaConfig>(value)?.into_config()
}

/// Which layers are local when every `pattern`-th sees all.
pub(super) fn every(pattern: usize, layers: usize) -> Vec<bool> {
    (1..=layers).map(|number| !number.is_multiple_of(pattern)).collect()
}

impl GemmaConfig {
    fn into_config(self) -> Result<Config> {
        let refused = [
            ("attn_logit_softcapping", self.attn_logit_softcapping.is_some()),
            ("final_logit_softcapping", self.final_logit_softcapping.is_some()),
            ("use_bidirectional_attention", self.use_bidirectional_attention),
        ];
        if let Some((name, _)) = refused.iter().find(|(_, asked)| *asked) {
            return Err(Error::invalid(format!("config.json: Gemma with `{name}` is not supported")));
        }
        let near =
            Near { window: self.sliding_window, theta: self.local_theta()?, layers: self.local_layers()? };
        let (global, old) = (self.rope_parameters.map(|rope| rope.full_attention), self.rope_scaling);
        let theta = global.as_ref().and_then(|rope| rope.rope_theta).or(self.rope_theta);
        let scaling = global.or(old).map_or(Ok(RopeScaling::None), |rope| rope.scaling())?;
        Ok(Config {
            family: Family::Gemma3,
            shape: Shape {
                layers: self.num_hidden_layers,
                hidden: self.hidden_size,
                heads: self.num_attention_heads,
                kv_heads: self.num_key_value_heads,
                head_dim: self.head_dim,
                intermediate: self.intermediate_size,
                vocab: self.vocab_size,
                gated: true,
            },
            context: self.max_position_embeddings,
            positions: Positions::Rotary { theta: theta.unwrap_or(GLOBAL_THETA), scaling },
            embedding_scale: (self.hidden_size as f64).sqrt(),
            norm: NormKind::Rms { offset: NORM_OFFSET },
            norm_eps: self.rms_norm_eps,
            norm_place: NormPlace::Around,
            activation: activation(&self.hidden_activation)?,
            score_variance: self.query_pre_attn_scalar,
            causal: true,
            near: Some(near),
            tied_head: self.tie_word_embeddings,
        })
    }

    fn local_theta(&self) -> Result<f64> {
        let Some(rope) = self.rope_parameters.as_ref().map(|rope| &rope.sliding_attention) else {
            return Ok(self.rope_local_base_freq.unwrap_or(LOCAL_THETA));
        };
        if rope.scaling()? != RopeScaling::None {
            return Err(Error::invalid(
                "config.json: Gemma with rope scaling in its local layers is not supported",
            ));
        }
        Ok(rope.rope_theta.or(self.rope_local_base_freq).unwrap_or(LOCAL_THETA))
    }

    fn local_layers(&self) -> Result<Vec<bool>> {
        let layers = self.num_hidden_layers;
        let Some(kinds) = &self.layer_types else {
            let pattern = self.sliding_window_pattern.unwrap_or(PATTERN);
            if pattern == 0 || layers > 1 << 24 {
                return Err(Error::corrupt("config.json: no sliding_window_pattern for so many layers"));
            }
            return Ok(every(pattern, layers));
        };
        if kinds.len() != layers {
            return Err(Error::corrupt(format!(
                "config.json: {} `layer_types` for {layers} layers",
                kinds.len()
            )));
        }
        let local = |kind: &String| match kind.as_str() {
            "sliding_attention" => Ok(true),
            "full_attention" => Ok(false),
            other => Err(Error::invalid(format!("config.json: the layer type `{other}` is not supported"))),
        };
        kinds.iter().map(local).collect()
    }
}
