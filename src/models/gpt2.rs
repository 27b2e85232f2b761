//! GPT-2 (Radford et al. 2019, "Language Models are Unsupervised Multitask Learners"): pre-norm decoder with learned
//! positions, biases everywhere, one matrix for queries, keys and values.

use serde::Deserialize;
use serde_json::Value;

use super::config::{Config, Family, NormKind, NormPlace, Positions, activation, parse, yes};
use super::names::{Classes, Names, Qkv};
use crate::error::{Error, Result};
use crate::nn::Shape;

pub(super) const NAMES: Names = Names {
    trunk: "transformer.",
    embedding: "wte",
    positions: Some("wpe"),
    token_types: None,
    embedding_norm: None,
    layers: "h",
    qkv: Qkv::Fused("attn.c_attn"),
    o: "attn.c_proj",
    gate: None,
    up: "mlp.c_fc",
    down: "mlp.c_proj",
    transposed: true,
    norms: ("ln_1", "ln_2"),
    norms_after: None,
    head_norms: None,
    final_norm: Some("ln_f"),
    head: Some("lm_head"),
    classes: Classes::Last { out: "score" },
};

#[derive(Deserialize)]
struct Gpt2Config {
    vocab_size: usize,
    n_embd: usize,
    n_layer: usize,
    n_head: usize,
    n_inner: Option<usize>,
    n_positions: usize,
    #[serde(default = "gelu_new")]
    activation_function: String,
    #[serde(default = "gpt2_eps")]
    layer_norm_epsilon: f64,
    #[serde(default = "yes")]
    scale_attn_weights: bool,
    #[serde(default)]
    scale_attn_by_inverse_layer_idx: bool,
    #[serde(default)]
    add_cross_attention: bool,
    #[serde(default = "yes")]
    tie_word_embeddings: bool,
}

fn gelu_new() -> String {
    "gelu_new".to_owned()
}

fn gpt2_eps() -> f64 {
    1e-5
}

pub(super) fn config(value: Value) -> Result<Config> {
    let config: Gpt2Config = parse(value)?;
    let refused = [
        ("scale_attn_by_inverse_layer_idx", config.scale_attn_by_inverse_layer_idx),
        ("add_cross_attention", config.add_cross_attention),
    ];
    if let Some((name, _)) = refused.iter().find(|(_, asked)| *asked) {
        return Err(Error::invalid(format!("config.json: GPT-2 with `{name}` is not supported")));
    }
    if config.n_head == 0 || !config.n_embd.is_multiple_of(config.n_head) {
        return Err(Error::corrupt("config.json: n_embd is not a multiple of n_head"));
    }
    let head_dim = config.n_embd / config.n_head;
    Ok(Config {
        family: Family::Gpt2,
        shape: Shape {
            layers: config.n_layer,
            hidden: config.n_embd,
            heads: config.n_head,
            kv_heads: config.n_head,
            head_dim,
            intermediate: config.n_inner.unwrap_or(config.n_embd.saturating_mul(4)),
            vocab: config.vocab_size,
            gated: false,
        },
        context: config.n_positions,
        positions: Positions::Learned { first: 0 },
        embedding_scale: 1.0,
        norm: NormKind::Layer,
        norm_eps: config.layer_norm_epsilon,
        norm_place: NormPlace::Before,
        activation: activation(&config.activation_function)?,
        score_variance: if config.scale_attn_weights { head_dim as f64 } else { 1.0 },
        causal: true,
        near: None,
        tied_head: config.tie_word_embeddings,
    })
}
