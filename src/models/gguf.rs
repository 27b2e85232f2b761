//! GGUF files: tensors by their Hugging Face names, and as the rest of the world lays them out.
//!
//! GGUF files of Llama models (and of no others) store the rows of q and k so that interleaved rotation gives what
//! half-rotation gives on the original rows. Everything else - adapters, saved caches, our own rope - speaks of the original
//! rows, so they are put back on loading: row `(h, j, t)` of the file is row `h * d + t * (d / 2) + j`, with `j < d / 2` and
//! `t` in `{0, 1}`. Those of Gemma models store the weights of norms with the 1 that is added to them, which is taken off
//! again. What the metadata says about the network is read in `gguf_config.rs`.

use std::fs::File;
use std::io::Cursor;
use std::path::Path;

use candle_core::quantized::gguf_file::{Content, Value};
use candle_core::{Device, Tensor};
use memmap2::Mmap;

use super::config::Family;
use super::gemma::NORM_OFFSET;
use super::gguf_check;
use super::weights::root;
use crate::error::{Error, IoContext, Result};

pub(super) struct Gguf {
    pub content: Content,
    bytes: Mmap,
    /// `None` for an architecture we do not compute.
    pub family: Option<Family>,
    /// Of queries and of keys, where their rows have to be put back.
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
        let mut gguf = Self { content, bytes, family: None, heads: None };
        gguf.family = match gguf.architecture() {
            "llama" => Some(Family::Llama),
            "qwen2" => Some(Family::Qwen2),
            "qwen3" => Some(Family::Qwen3),
            "gemma3" => Some(Family::Gemma3),
            _ => None,
        };
        if gguf.family == Some(Family::Llama) {
            let heads = gguf.size("attention.head_count")?;
            gguf.heads = Some((heads, gguf.size("attention.head_count_kv").unwrap_or(heads)));
        }
        Ok(gguf)
    }

    pub fn contains(&self, name: &str) -> bool {
        self.stored(name).is_some_and(|name| self.content.tensor_infos.contains_key(&name))
    }

    pub fn rows(&self, name: &str) -> Option<usize> {
        self.content.tensor_infos.get(&self.stored(name)?)?.shape.dims().first().copied()
    }

    /// The tensor under its Hugging Face name, de-quantised, rows in the original order.
    pub fn load(&self, name: &str, device: &Device) -> Result<Tensor> {
        let stored = self.stored(name).ok_or_else(|| Error::corrupt(format!("no GGUF name for `{name}`")))?;
        let tensor = self.read(&stored, device)?;
        match self.heads {
            Some((heads, _)) if stored.ends_with("attn_q.weight") => unpermute(&tensor, heads),
            Some((_, kv_heads)) if stored.ends_with("attn_k.weight") => unpermute(&tensor, kv_heads),
            _ if self.family == Some(Family::Gemma3) && stored.ends_with("norm.weight") => {
                Ok((tensor - NORM_OFFSET)?)
            }
            _ => Ok(tensor),
        }
    }

    fn stored(&self, name: &str) -> Option<String> {
        gguf_name(name, self.family == Some(Family::Gemma3))
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

    pub fn architecture(&self) -> &str {
        self.text("general.architecture").unwrap_or_default()
    }

    pub fn text(&self, key: &str) -> Option<&str> {
        self.content.metadata.get(key)?.to_string().ok().map(String::as_str)
    }

    /// The value of `{architecture}.{key}`.
    pub fn value(&self, key: &str) -> Option<&Value> {
        self.content.metadata.get(&format!("{}.{key}", self.architecture()))
    }

    /// # Errors
    /// `Corrupt`, naming the key, when it is missing or no number.
    pub fn size(&self, key: &str) -> Result<usize> {
        let value = self.value(key).and_then(|value| value.to_u32().ok());
        value.map(|value| value as usize).ok_or_else(|| {
            let architecture = self.architecture();
            Error::corrupt(format!("GGUF metadata `{architecture}.{key}` is missing or no number"))
                .hint("fetch the model again")
        })
    }

    pub fn number(&self, key: &str) -> Option<f64> {
        self.value(key)?.to_f32().ok().map(f64::from)
    }
}

/// `model.layers.3.self_attn.q_proj.weight` -> `blk.3.attn_q.weight`
///
/// With `two_norms` a sublayer has one before it and one behind it, and the Hugging Face name of Llama's second norm is that of
/// attention's own.
fn gguf_name(name: &str, two_norms: bool) -> Option<String> {
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
        "post_attention_layernorm" if two_norms => "post_attention_norm",
        "post_attention_layernorm" | "pre_feedforward_layernorm" => "ffn_norm",
        "post_feedforward_layernorm" => "post_ffw_norm",
        "self_attn.q_norm" => "attn_q_norm",
        "self_attn.k_norm" => "attn_k_norm",
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
        let name = |name| gguf_name(name, false);
        assert_eq!(name("model.layers.12.mlp.down_proj.weight").unwrap(), "blk.12.ffn_down.weight");
        assert_eq!(name("model.layers.0.self_attn.q_proj.bias").unwrap(), "blk.0.attn_q.bias");
        assert_eq!(name("lm_head.weight").unwrap(), "output.weight");
        assert_eq!(name("score.weight"), None);
        let norm = "model.layers.7.post_attention_layernorm.weight";
        assert_eq!(name(norm).unwrap(), "blk.7.ffn_norm.weight");
        assert_eq!(gguf_name(norm, true).unwrap(), "blk.7.post_attention_norm.weight");
    }

    #[test]
    fn rows_return_to_half_rotation_order() {
        // One head of width 6: the file holds the rows as 0 3 1 4 2 5.
        let file = Tensor::new(&[[0f32], [3.0], [1.0], [4.0], [2.0], [5.0]], &Device::Cpu).unwrap();
        let rows = unpermute(&file, 1).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(rows, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    }
}
