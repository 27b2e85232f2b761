//! DistilBERT (Sanh et al. 2019, arXiv 1910.01108): half of BERT's layers, no token types, names of its own.

use serde::Deserialize;
use serde_json::Value;

use super::config::{Config, Family, NormKind, NormPlace, Positions, activation, parse};
use super::names::{Classes, Curve, Names, Qkv};
use crate::error::{Error, Result};
use crate::nn::Shape;

pub(super) const NAMES: Names = Names {
    trunk: "distilbert.",
    embedding: "embeddings.word_embeddings",
    positions: Some("embeddings.position_embeddings"),
    token_types: None,
    embedding_norm: Some("embeddings.LayerNorm"),
    layers: "transformer.layer",
    qkv: Qkv::Apart { q: "attention.q_lin", k: "attention.k_lin", v: "attention.v_lin" },
    o: "attention.out_lin",
    gate: None,
    up: "ffn.lin1",
    down: "ffn.lin2",
    transposed: false,
    norms: ("sa_layer_norm", "output_layer_norm"),
    norms_after: None,
    head_norms: None,
    final_norm: None,
    head: None,
    classes: Classes::First {
        dense: "pre_classifier",
        in_trunk: false,
        curve: Curve::Relu,
        out: "classifier",
    },
};

/// Sinusoidal positions are in the weights as learned ones are, so `sinusoidal_pos_embds` makes no difference here.
#[derive(Deserialize)]
struct DistilBertConfig {
    vocab_size: usize,
    dim: usize,
    n_layers: usize,
    n_heads: usize,
    hidden_dim: usize,
    max_position_embeddings: usize,
    activation: String,
}

pub(super) fn config(value: Value) -> Result<Config> {
    let config: DistilBertConfig = parse(value)?;
    if config.n_heads == 0 || !config.dim.is_multiple_of(config.n_heads) {
        return Err(Error::corrupt("config.json: dim is not a multiple of n_heads"));
    }
    let head_dim = config.dim / config.n_heads;
    Ok(Config {
        family: Family::DistilBert,
        shape: Shape {
            layers: config.n_layers,
            hidden: config.dim,
            heads: config.n_heads,
            kv_heads: config.n_heads,
            head_dim,
            intermediate: config.hidden_dim,
            vocab: config.vocab_size,
            gated: false,
        },
        context: config.max_position_embeddings,
        positions: Positions::Learned { first: 0 },
        embedding_scale: 1.0,
        norm: NormKind::Layer,
        // Not in its config.json.
        norm_eps: 1e-12,
        norm_place: NormPlace::After,
        activation: activation(&config.activation)?,
        score_variance: head_dim as f64,
        causal: false,
        near: None,
        tied_head: true,
    })
}
