//! BERT and its kin: post-norm encoders with learned positions.
//!
//! BERT: Devlin et al. 2018, arXiv 1810.04805. RoBERTa (Liu et al. 2019, arXiv 1907.11692) and XLM-RoBERTa (Conneau et al.
//! 2019, arXiv 1911.02116) are BERT but for positions, which count from behind the padding id, and the classifier.

use serde::Deserialize;
use serde_json::Value;

use super::config::{Config, Family, NormKind, NormPlace, Positions, activation, parse};
use super::names::{Classes, Curve, Names, Qkv};
use crate::error::{Error, Result};
use crate::nn::Shape;

pub(super) const NAMES: Names = Names {
    trunk: "bert.",
    embedding: "embeddings.word_embeddings",
    positions: Some("embeddings.position_embeddings"),
    token_types: Some("embeddings.token_type_embeddings"),
    embedding_norm: Some("embeddings.LayerNorm"),
    layers: "encoder.layer",
    qkv: Qkv::Apart { q: "attention.self.query", k: "attention.self.key", v: "attention.self.value" },
    o: "attention.output.dense",
    gate: None,
    up: "intermediate.dense",
    down: "output.dense",
    transposed: false,
    norms: ("attention.output.LayerNorm", "output.LayerNorm"),
    norms_after: None,
    head_norms: None,
    final_norm: None,
    head: None,
    classes: Classes::First { dense: "pooler.dense", in_trunk: true, curve: Curve::Tanh, out: "classifier" },
};

pub(super) const ROBERTA: Names = Names {
    trunk: "roberta.",
    classes: Classes::First {
        dense: "classifier.dense",
        in_trunk: false,
        curve: Curve::Tanh,
        out: "classifier.out_proj",
    },
    ..NAMES
};

pub(super) fn config(value: Value, family: Family) -> Result<Config> {
    parse::<BertConfig>(value)?.into_config(family)
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
    pad_token_id: Option<usize>,
}

fn bert_eps() -> f64 {
    1e-12
}

impl BertConfig {
    fn into_config(self, family: Family) -> Result<Config> {
        if self.position_embedding_type.as_deref().is_some_and(|kind| kind != "absolute") {
            return Err(Error::invalid("config.json: BERT with relative positions is not supported"));
        }
        if self.is_decoder {
            return Err(Error::invalid("config.json: BERT as a decoder is not supported"));
        }
        if self.num_attention_heads == 0 || !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            return Err(Error::corrupt("config.json: hidden_size is not a multiple of num_attention_heads"));
        }
        let first = match family {
            Family::Roberta => self.pad_token_id.unwrap_or(1).saturating_add(1),
            _ => 0,
        };
        let head_dim = self.hidden_size / self.num_attention_heads;
        Ok(Config {
            family,
            shape: Shape {
                layers: self.num_hidden_layers,
                hidden: self.hidden_size,
                heads: self.num_attention_heads,
                kv_heads: self.num_attention_heads,
                head_dim,
                intermediate: self.intermediate_size,
                vocab: self.vocab_size,
                gated: false,
            },
            context: self.max_position_embeddings.saturating_sub(first),
            positions: Positions::Learned { first },
            embedding_scale: 1.0,
            norm: NormKind::Layer,
            norm_eps: self.layer_norm_eps,
            norm_place: NormPlace::After,
            activation: activation(&self.hidden_act)?,
            score_variance: head_dim as f64,
            causal: false,
            near: None,
            tied_head: true,
        })
    }
}
