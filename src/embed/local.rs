//! An encoder of the BERT, RoBERTa or DistilBERT family on this machine, pooled as its makers pooled it.
//!
//! Sentence-BERT: Reimers & Gurevych 2019, arXiv 1908.10084.

use std::fs;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use serde::Deserialize;

use super::{Overflow, in_passes};
use crate::error::{Error, IoContext, Result};
use crate::models::{Batch, Model, mean_pooled, weight_files};
use crate::nn::{Pass, Precision};
use crate::text::tokenizer::Tokenizer;

/// Twice as fast as floats, and no vector turns by a measurable angle.
const PRECISION: Precision = Precision::Int16;

/// The longest window we use however far a model's positions reach: sentence encoders are trained on short text.
const LONGEST_WINDOW: usize = 512;

pub struct LocalEncoder {
    name: String,
    dir: PathBuf,
    fingerprint: String,
    model: Model,
    tokenizer: Tokenizer,
    window: usize,
    pooling: Pooling,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pooling {
    Mean,
    /// The first token.
    Cls,
}

#[derive(Deserialize, Default)]
struct SentenceConfig {
    max_seq_length: Option<usize>,
}

/// One step of sentence-transformers' `modules.json`.
#[derive(Deserialize)]
struct Module {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize, Default)]
struct PoolingConfig {
    #[serde(default)]
    pooling_mode_cls_token: bool,
    #[serde(default)]
    pooling_mode_mean_tokens: bool,
}

impl LocalEncoder {
    /// A directory with config.json, safetensors and tokenizer.json; sentence-transformers' `modules.json`,
    /// `sentence_bert_config.json` and `1_Pooling/config.json` are heeded where present.
    ///
    /// # Errors
    /// `Invalid` when the model is no encoder or pools in a way we do not compute.
    pub fn load(name: &str, dir: &Path, device: &Device) -> Result<Self> {
        let mut model = Model::load(dir, device)?;
        model.transformer = model.transformer.quantised(PRECISION)?;
        if model.transformer.config.causal {
            return Err(Error::invalid(format!("`{}` is a generator, not an encoder", dir.display()))
                .hint("give the directory of an encoder, for example all-minilm-l6-v2"));
        }
        let tokenizer = model.tokenizer.take().ok_or_else(|| {
            Error::not_found(format!("`{}` has no tokenizer.json", dir.display()))
                .hint("save the tokenizer beside the weights")
        })?;
        let sentence: SentenceConfig =
            optional_json(&dir.join("sentence_bert_config.json"))?.unwrap_or_default();
        let context = model.transformer.config.context;
        let window = sentence.max_seq_length.unwrap_or(LONGEST_WINDOW).min(context).min(LONGEST_WINDOW);
        // Vectors have length 1 whether or not the last step is there that says so.
        let known = |kind: &str| matches!(kind, "Transformer" | "Pooling" | "Normalize");
        let modules: Vec<Module> = optional_json(&dir.join("modules.json"))?.unwrap_or_default();
        let names = modules.iter().map(|module| module.kind.rsplit('.').next().unwrap_or_default());
        if let Some(other) = names.into_iter().find(|name| !known(name)) {
            return Err(Error::invalid(format!("`{}`: its step `{other}` is not supported", dir.display()))
                .hint("supported steps of sentence-transformers: Transformer, Pooling, Normalize"));
        }
        let pooling = match optional_json::<PoolingConfig>(&dir.join("1_Pooling/config.json"))? {
            None => Pooling::Mean,
            Some(PoolingConfig { pooling_mode_mean_tokens: true, pooling_mode_cls_token: false }) => {
                Pooling::Mean
            }
            Some(PoolingConfig { pooling_mode_mean_tokens: false, pooling_mode_cls_token: true }) => {
                Pooling::Cls
            }
            Some(_) => {
                return Err(Error::invalid(format!("`{}`: its pooling is not supported", dir.display()))
                    .hint("supported: mean of the tokens, or first token"));
            }
        };
        let fingerprint = fingerprint(dir, pooling, window)?;
        Ok(Self {
            name: name.to_owned(),
            dir: dir.to_owned(),
            fingerprint,
            model,
            tokenizer,
            window,
            pooling,
        })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    pub fn dimension(&self) -> usize {
        self.model.transformer.config.shape.hidden
    }

    pub fn window(&self) -> usize {
        self.window
    }

    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    pub(super) fn embed(&self, texts: &[&str], overflow: Overflow) -> Result<Vec<Vec<f32>>> {
        let mut ids = self.tokenizer.encode_batch(texts, true)?;
        for (ids, text) in ids.iter_mut().zip(texts).filter(|(ids, _)| ids.len() > self.window) {
            if overflow == Overflow::Refuse {
                let start: String = text.chars().take(40).collect();
                return Err(Error::too_long(format!(
                    "{} tokens do not fit the encoder's window of {}: `{start}...`",
                    ids.len(),
                    self.window
                ))
                .hint("chunk with smaller limits in the index profile"));
            }
            // Whatever special token closes a text stays.
            let last = ids.len() - 1;
            ids.swap(self.window - 1, last);
            ids.truncate(self.window);
        }
        let lengths: Vec<usize> = ids.iter().map(Vec::len).collect();
        let vectors = in_passes(&lengths, self.model.transformer.device(), |group| self.pass(group, &ids))?;
        if vectors.iter().flatten().any(|value| !value.is_finite()) {
            return Err(Model::why_not_finite(&self.dir));
        }
        Ok(vectors)
    }

    /// One forward pass over the texts of `group`.
    fn pass(&self, group: &[usize], ids: &[Vec<u32>]) -> Result<Vec<Vec<f32>>> {
        let sequences: Vec<&[u32]> = group.iter().map(|&i| &ids[i][..]).collect();
        let batch = Batch::of(&sequences);
        let hidden = self.model.transformer.forward(&batch, Pass::bare())?; // (N, H)
        let pooled = match self.pooling {
            Pooling::Mean => mean_pooled(&hidden, &batch)?,
            Pooling::Cls => {
                let first: Vec<u32> = batch.packing.ranges().map(|range| range.start as u32).collect();
                let rows = hidden.index_select(&Tensor::new(first, hidden.device())?, 0)?; // (B, H)
                rows.broadcast_div(&rows.sqr()?.sum_keepdim(1)?.sqrt()?)?
            }
        };
        Ok(pooled.to_vec2()?)
    }
}

/// Over everything that decides the vectors.
fn fingerprint(dir: &Path, pooling: Pooling, window: usize) -> Result<String> {
    let mut hasher = blake3::Hasher::new();
    let mut files: Vec<PathBuf> = weight_files(dir)?;
    files.extend(["config.json", "tokenizer.json"].map(|name| dir.join(name)));
    for file in files {
        let handle = fs::File::open(&file).at("open", &file)?;
        // Safe as long as nobody truncates the file under us, which no reader of files can rule out.
        let bytes = unsafe { memmap2::Mmap::map(&handle) }.at("map", &file)?;
        hasher.update_rayon(&bytes);
    }
    hasher.update(format!("{pooling:?} {window}").as_bytes());
    Ok(hasher.finalize().to_hex()[..16].to_owned())
}

fn optional_json<T: for<'a> Deserialize<'a>>(file: &Path) -> Result<Option<T>> {
    if !file.exists() {
        return Ok(None);
    }
    let json = fs::read(file).at("read", file)?;
    let value = serde_json::from_slice(&json);
    value.map(Some).map_err(|e| Error::corrupt(format!("`{}`: {e}", file.display())))
}
