//! What a GGUF file's metadata says about the network: the same `Config` as a config.json gives.
//!
//! Keys begin with the architecture's name. What a file leaves out is what llama.cpp takes for that architecture.

use candle_core::Device;
use candle_core::quantized::gguf_file::Value;

use super::config::{Config, Family, Near, NormKind, NormPlace, Positions};
use super::gemma;
use super::gguf::Gguf;
use crate::error::{Error, Result};
use crate::nn::{Activation, RopeScaling, Shape};

/// The one size of Gemma 3 (27B) that does not divide its scores by the root of the width of a head.
const LAYERS_OF_27B: usize = 62;

impl Gguf {
    /// # Errors
    /// `Invalid` for an architecture or a choice we do not compute, `Corrupt` when a size is missing.
    pub fn config(&self) -> Result<Config> {
        let family = self.family.ok_or_else(|| {
            Error::invalid(format!("GGUF architecture `{}` is not supported", self.architecture()))
                .hint("supported: llama, qwen2, qwen3, gemma3")
        })?;
        let gemma = family == Family::Gemma3;
        let heads = self.size("attention.head_count")?;
        let hidden = self.size("embedding_length")?;
        let layers = self.size("block_count")?;
        let head_dim = self.size("attention.key_length").ok().or(hidden.checked_div(heads)).unwrap_or(0);
        if self.number("final_logit_softcapping").is_some_and(|cap| cap != 0.0) {
            return Err(Error::invalid("GGUF with `final_logit_softcapping` is not supported"));
        }
        let config = Config {
            family,
            shape: Shape {
                layers,
                hidden,
                heads,
                kv_heads: self.size("attention.head_count_kv").unwrap_or(heads),
                head_dim,
                intermediate: self.size("feed_forward_length")?,
                vocab: self.rows("model.embed_tokens.weight").unwrap_or(0),
                gated: true,
            },
            context: self.size("context_length")?,
            positions: Positions::Rotary {
                theta: self.number("rope.freq_base").unwrap_or(10_000.0),
                scaling: self.rope_scaling()?,
            },
            embedding_scale: if gemma { (hidden as f64).sqrt() } else { 1.0 },
            norm: NormKind::Rms { offset: if gemma { gemma::NORM_OFFSET } else { 0.0 } },
            norm_eps: self.number("attention.layer_norm_rms_epsilon").unwrap_or(1e-5),
            norm_place: if gemma { NormPlace::Around } else { NormPlace::Before },
            activation: if gemma { Activation::GeluTanh } else { Activation::Silu },
            score_variance: match layers {
                LAYERS_OF_27B if gemma => hidden as f64 / heads as f64,
                _ => head_dim as f64,
            },
            causal: true,
            near: if gemma { Some(self.near(layers)?) } else { None },
            tied_head: !self.contains("lm_head.weight"),
        };
        config.checked()
    }

    /// Gemma's local layers.
    fn near(&self, layers: usize) -> Result<Near> {
        let impossible = || Error::corrupt("GGUF metadata `attention.sliding_window_pattern` does not fit");
        let layers = match self.value("attention.sliding_window_pattern") {
            Some(Value::Array(local)) => {
                let local: Option<Vec<bool>> = local.iter().map(|value| value.to_bool().ok()).collect();
                local.filter(|local| local.len() == layers).ok_or_else(impossible)?
            }
            pattern => {
                let pattern = pattern.and_then(|value| value.to_u32().ok()).map(|value| value as usize);
                let pattern = pattern.unwrap_or(gemma::PATTERN);
                if pattern == 0 || layers > 1 << 24 {
                    return Err(impossible());
                }
                gemma::every(pattern, layers)
            }
        };
        Ok(Near {
            window: self.size("attention.sliding_window")?,
            theta: self.number("rope.freq_base_swa").unwrap_or(gemma::LOCAL_THETA),
            layers,
        })
    }

    fn rope_scaling(&self) -> Result<RopeScaling> {
        if self.content.tensor_infos.contains_key("rope_freqs.weight") {
            let factors = self.read("rope_freqs.weight", &Device::Cpu)?.flatten_all()?.to_vec1()?;
            return Ok(RopeScaling::Factors(factors));
        }
        match self.text(&format!("{}.rope.scaling.type", self.architecture())) {
            None | Some("none") => Ok(RopeScaling::None),
            Some("linear") => {
                Ok(RopeScaling::Linear { factor: self.number("rope.scaling.factor").unwrap_or(1.0) })
            }
            Some(other) => Err(Error::invalid(format!("GGUF rope scaling `{other}` is not supported"))
                .hint("supported: none, linear, rope_freqs")),
        }
    }
}
