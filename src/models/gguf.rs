//! GGUF files: a config from metadata, and tensors as the rest of the world lays them out.
//!
//! GGUF files of Llama models store the rows of q and k so that interleaved rotation gives what half-rotation gives on
//! the original rows. Everything else - adapters, saved caches, our own rope - speaks of the original rows, so they
//! are put back on loading: row `(h, j, t)` of the file is row `h * d + t * (d / 2) + j`, with `j < d / 2` and
//! `t` in `{0, 1}`.

use std::fs::File;
use std::io::Cursor;
use std::path::Path;

use candle_core::quantized::gguf_file::{Content, Value};
use candle_core::{Device, Tensor};
use memmap2::Mmap;

use super::config::{Config, Family, NormKind, Positions};
use super::gguf_check;
use super::weights::root;
use crate::error::{Error, IoContext, Result};
use crate::nn::{Activation, NormPlace, RopeScaling, Shape};

pub(super) struct Gguf {
    pub content: Content,
    bytes: Mmap,
    heads: Option<(usize, usize)>,
}

impl Gguf {
    /// # Errors
    /// `Corrupt` when the header is damaged or promises more than the file holds.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).at("open", path)?;
        // Safe as long as nobody truncates the file under us, which no reader of files can rule out.
        let bytes = unsafe { Mmap::map(&file) }.at("map", path)?;
        gguf_check::alignment(&bytes)?;
        let content = Content::read(&mut Cursor::new(&bytes[..])).map_err(|e| {
            Error::corrupt(format!("not a whole GGUF file: {}", root(&e))).hint("fetch the model again")
        })?;
        gguf_check::layout(&content, bytes.len())?;
        let mut gguf = Self { content, bytes, heads: None };
        if gguf.text("general.architecture") == Some("llama") {
            let heads = gguf.size("attention.head_count")?;
            gguf.heads = Some((heads, gguf.size("attention.head_count_kv").unwrap_or(heads)));
        }
        Ok(gguf)
    }

    /// # Errors
    /// `Invalid` for an architecture we do not compute.
    pub fn config(&self) -> Result<Config> {
        let architecture = self.text("general.architecture").unwrap_or_default();
        if architecture != "llama" {
            return Err(Error::invalid(format!("GGUF architecture `{architecture}` is not supported"))
                .hint("supported: llama"));
        }
        let heads = self.size("attention.head_count")?;
        let hidden = self.size("embedding_length")?;
        let vocab = self.rows("model.embed_tokens.weight").unwrap_or(0);
        let head_dim = self.size("attention.key_length").ok();
        let config = Config {
            family: Family::Llama,
            shape: Shape {
                layers: self.size("block_count")?,
                hidden,
                heads,
                kv_heads: self.size("attention.head_count_kv").unwrap_or(heads),
                head_dim: head_dim.or(hidden.checked_div(heads)).unwrap_or(0),
                intermediate: self.size("feed_forward_length")?,
                vocab,
                gated: true,
            },
            context: self.size("context_length")?,
            positions: Positions::Rotary {
                theta: self.number("rope.freq_base").unwrap_or(10_000.0),
                scaling: self.rope_scaling()?,
            },
            norm: NormKind::Rms,
            norm_eps: self.number("attention.layer_norm_rms_epsilon").unwrap_or(1e-5),
            norm_place: NormPlace::Before,
            activation: Activation::Silu,
            causal: true,
            tied_head: !self.contains("lm_head.weight"),
        };
        config.checked()
    }

    fn rope_scaling(&self) -> Result<RopeScaling> {
        if self.content.tensor_infos.contains_key("rope_freqs.weight") {
            let factors = self.read("rope_freqs.weight", &Device::Cpu)?.flatten_all()?.to_vec1()?;
            return Ok(RopeScaling::Factors(factors));
        }
        match self.text("llama.rope.scaling.type") {
            None | Some("none") => Ok(RopeScaling::None),
            Some("linear") => {
                Ok(RopeScaling::Linear { factor: self.number("rope.scaling.factor").unwrap_or(1.0) })
            }
            Some(other) => Err(Error::invalid(format!("GGUF rope scaling `{other}` is not supported"))
                .hint("supported: none, linear, rope_freqs")),
        }
    }

    pub fn contains(&self, name: &str) -> bool {
        gguf_name(name).is_some_and(|name| self.content.tensor_infos.contains_key(&name))
    }

    pub fn rows(&self, name: &str) -> Option<usize> {
        self.content.tensor_infos.get(&gguf_name(name)?)?.shape.dims().first().copied()
    }

    /// The tensor under its Hugging Face name, de-quantised, rows in the original order.
    pub fn load(&self, name: &str, device: &Device) -> Result<Tensor> {
        let stored = gguf_name(name).ok_or_else(|| Error::corrupt(format!("no GGUF name for `{name}`")))?;
        let tensor = self.read(&stored, device)?;
        match self.heads {
            Some((heads, _)) if stored.ends_with("attn_q.weight") => unpermute(&tensor, heads),
            Some((_, kv_heads)) if stored.ends_with("attn_k.weight") => unpermute(&tensor, kv_heads),
            _ => Ok(tensor),
        }
    }

    /// What the file calls its tensors, sorted.
    pub fn stored_names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.content.tensor_infos.keys().map(String::as_str).collect();
        names.sort_unstable();
        names
    }

    /// The tensor the file calls `stored`, de-quantised, rows as the file has them.
    pub fn read(&self, stored: &str, device: &Device) -> Result<Tensor> {
        let damaged =
            |e| Error::corrupt(format!("GGUF tensor `{stored}`: {}", root(&e))).hint("fetch the model again");
        let quantised =
            self.content.tensor(&mut Cursor::new(&self.bytes[..]), stored, device).map_err(damaged)?;
        quantised.dequantize(device).map_err(damaged)
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.content.metadata.get(key)?.to_string().ok().map(String::as_str)
    }

    fn architecture_key(&self, key: &str) -> Option<&Value> {
        self.content.metadata.get(&format!("llama.{key}"))
    }

    fn size(&self, key: &str) -> Result<usize> {
        let value = self.architecture_key(key).and_then(|value| value.to_u32().ok());
        value.map(|value| value as usize).ok_or_else(|| {
            Error::corrupt(format!("GGUF metadata `llama.{key}` is missing or no number"))
                .hint("fetch the model again")
        })
    }

    fn number(&self, key: &str) -> Option<f64> {
        self.architecture_key(key)?.to_f32().ok().map(f64::from)
    }
}

/// `model.layers.3.self_attn.q_proj.weight` -> `blk.3.attn_q.weight`
fn gguf_name(name: &str) -> Option<String> {
    match name {
        "model.embed_tokens.weight" => return Some("token_embd.weight".to_owned()),
        "model.norm.weight" => return Some("output_norm.weight".to_owned()),
        "lm_head.weight" => return Some("output.weight".to_owned()),
        _ => {}
    }
    let (layer, rest) = name.strip_prefix("model.layers.")?.split_once('.')?;
    let (module, kind) = rest.rsplit_once('.')?;
    let module = match module {
        "input_layernorm" => "attn_norm",
        "post_attention_layernorm" => "ffn_norm",
        "self_attn.q_proj" => "attn_q",
        "self_attn.k_proj" => "attn_k",
        "self_attn.v_proj" => "attn_v",
        "self_attn.o_proj" => "attn_output",
        "mlp.gate_proj" => "ffn_gate",
        "mlp.up_proj" => "ffn_up",
        "mlp.down_proj" => "ffn_down",
        _ => return None,
    };
    Some(format!("blk.{layer}.{module}.{kind}"))
}

/// Puts the rows of an interleaved q or k matrix `(heads * d, in)` back in half-rotation order.
fn unpermute(weight: &Tensor, heads: usize) -> Result<Tensor> {
    let (out, input) = weight.dims2()?;
    if heads == 0 || !out.is_multiple_of(2 * heads) {
        return Err(Error::corrupt(format!(
            "GGUF: {out} rows do not split into {heads} heads of even width"
        )));
    }
    let halves = weight.reshape((heads, out / heads / 2, 2, input))?;
    Ok(halves.transpose(1, 2)?.reshape((out, input))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_translated() {
        assert_eq!(gguf_name("model.layers.12.mlp.down_proj.weight").unwrap(), "blk.12.ffn_down.weight");
        assert_eq!(gguf_name("lm_head.weight").unwrap(), "output.weight");
        assert_eq!(gguf_name("score.weight"), None);
    }

    #[test]
    fn rows_return_to_half_rotation_order() {
        // One head of width 6: the file holds the rows as 0 3 1 4 2 5.
        let file = Tensor::new(&[[0f32], [3.0], [1.0], [4.0], [2.0], [5.0]], &Device::Cpu).unwrap();
        let rows = unpermute(&file, 1).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(rows, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    }
}
