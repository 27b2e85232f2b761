//! BERT: post-norm encoder with learned positions (Devlin et al. 2018, arXiv 1810.04805).

use serde::Deserialize;
use serde_json::Value;

use super::config::{Config, Family, NormKind, Positions, activation, parse};
use super::names::Names;
use crate::error::{Error, Result};
use crate::nn::{NormPlace, Shape};

pub(super) const NAMES: Names = Names {
    trunk: "bert.",
    embedding: "embeddings.word_embeddings",
    positions: Some("embeddings.position_embeddings"),
    token_types: Some("embeddings.token_type_embeddings"),
    embedding_norm: Some("embeddings.LayerNorm"),
    layers: "encoder.layer",
    q: "attention.self.query",
    k: "attention.self.key",
    v: "attention.self.value",
    o: "attention.output.dense",
    gate: None,
    up: "intermediate.dense",
    down: "output.dense",
    norms: ("attention.output.LayerNorm", "output.LayerNorm"),
    final_norm: None,
    head: None,
};

pub(super) fn config(value: Value) -> Result<Config> {
    parse::<BertConfig>(value)?.into_config()
}

#[derive(Deserialize)]
struct BertConfig {
    vocab_size: usize,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    max_position_embeddings: usize,
    hidden_act: String,
    #[serde(default = "bert_eps")]
    layer_norm_eps: f64,
    position_embedding_type: Option<String>,
    #[serde(default)]
    is_decoder: bool,
}

fn bert_eps() -> f64 {
    1e-12
}

impl BertConfig {
    fn into_config(self) -> Result<Config> {
        if self.position_embedding_type.as_deref().is_some_and(|kind| kind != "absolute") {
            return Err(Error::invalid("config.json: BERT with relative positions is not supported"));
        }
        if self.is_decoder {
            return Err(Error::invalid("config.json: BERT as a decoder is not supported"));
        }
        if self.num_attention_heads == 0 || !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            return Err(Error::corrupt("config.json: hidden_size is not a multiple of num_attention_heads"));
        }
        Ok(Config {
            family: Family::Bert,
            shape: Shape {
                layers: self.num_hidden_layers,
                hidden: self.hidden_size,
                heads: self.num_attention_heads,
                kv_heads: self.num_attention_heads,
                head_dim: self.hidden_size / self.num_attention_heads,
                intermediate: self.intermediate_size,
                vocab: self.vocab_size,
                gated: false,
            },
            context: self.max_position_embeddings,
            positions: Positions::Learned,
            norm: NormKind::Layer,
            norm_eps: self.layer_norm_eps,
            norm_place: NormPlace::After,
            activation: activation(&self.hidden_act)?,
            causal: false,
            tied_head: true,
        })
    }
}
