//! A model on this machine that makes a vector of a text: an encoder, pooled as its makers pooled it, or any model whose hidden
//! states are features for a classifier.
//!
//! Sentence-BERT: Reimers & Gurevych 2019, arXiv 1908.10084.

use std::fs;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::{Overflow, in_passes};
use crate::error::{Error, IoContext, Result};
use crate::models::{Batch, Model, means, unit, weight_files};
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
    /// Vectors are scaled to length 1.
    unit: bool,
}

/// Which of a text's hidden states its vector is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    Mean,
    /// The first token's.
    Cls,
    /// The last token's, which of a decoder has read all others.
    Last,
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
        let model = Model::load(dir, device)?;
        if model.transformer.config.causal {
            return Err(Error::invalid(format!("`{}` is a generator, not an encoder", dir.display()))
                .hint("give the directory of an encoder, for example all-minilm-l6-v2"));
        }
        let sentence: SentenceConfig =
            optional_json(&dir.join("sentence_bert_config.json"))?.unwrap_or_default();
        let window = sentence.max_seq_length.unwrap_or(LONGEST_WINDOW).min(LONGEST_WINDOW);
        let pooling = of_sentences(dir)?.unwrap_or(Pooling::Mean);
        Self::of(name, dir, model, window, pooling, true)
    }

    /// A model of any family as an instrument: its hidden states behind the last layer, for a classifier to be fitted on.
    ///
    /// Without a `pooling`, sentence encoders are pooled and scaled as they were trained to be; of other encoders the first
    /// token is taken, of decoders the last, as they are. A text is read as far as `window` tokens, or those that the model's
    /// makers say, at most 512.
    ///
    /// # Errors
    /// `Invalid` when it pools in a way we do not compute, or for a window that it does not have.
    pub fn frozen(
        name: &str,
        path: &Path,
        device: &Device,
        pooling: Option<Pooling>,
        window: Option<usize>,
    ) -> Result<Self> {
        let model = Model::load(path, device)?;
        let config = &model.transformer.config;
        if let Some(window) = window.filter(|window| !(2..=config.context).contains(window)) {
            return Err(Error::invalid(format!("`{name}` does not read texts of {window} tokens"))
                .hint(format!("give 2 to {}", config.context)));
        }
        let causal = config.causal;
        let of_sentences = if causal { None } else { of_sentences(path)? };
        let sentence: SentenceConfig =
            optional_json(&path.join("sentence_bert_config.json"))?.unwrap_or_default();
        let window = window.or(sentence.max_seq_length).unwrap_or(LONGEST_WINDOW);
        let usual = of_sentences.unwrap_or(if causal { Pooling::Last } else { Pooling::Cls });
        Self::of(name, path, model, window, pooling.unwrap_or(usual), of_sentences.is_some())
    }

    fn of(
        name: &str,
        path: &Path,
        mut model: Model,
        window: usize,
        pooling: Pooling,
        unit: bool,
    ) -> Result<Self> {
        if !model.transformer.config.causal {
            model.transformer = model.transformer.quantised(PRECISION)?;
        }
        let tokenizer = model.tokenizer.take().ok_or_else(|| {
            Error::not_found(format!("`{}` has no tokenizer.json", path.display()))
                .hint("save the tokenizer beside the weights")
        })?;
        let window = window.min(model.transformer.config.context);
        let fingerprint = fingerprint(path, pooling, unit, window)?;
        let (name, dir) = (name.to_owned(), path.to_owned());
        Ok(Self { name, dir, fingerprint, model, tokenizer, window, pooling, unit })
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

    pub fn pooling(&self) -> Pooling {
        self.pooling
    }

    pub(super) fn embed(&self, texts: &[&str], overflow: Overflow) -> Result<Vec<Vec<f32>>> {
        let causal = self.model.transformer.config.causal;
        let mut ids = match causal {
            true => texts.iter().map(|text| self.tokenizer.encode_prompt(text)).collect::<Result<_>>()?,
            false => self.tokenizer.encode_batch(texts, true)?,
        };
        for (ids, text) in ids.iter_mut().zip(texts) {
            if ids.is_empty() {
                return Err(Error::invalid("a text without a token has no vector"));
            }
            if ids.len() <= self.window {
                continue;
            }
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
            if !causal {
                let last = ids.len() - 1;
                ids.swap(self.window - 1, last);
            }
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
        let token = |read: fn(std::ops::Range<usize>) -> usize| -> Result<Tensor> {
            let rows: Vec<u32> = batch.packing.ranges().map(|range| read(range) as u32).collect();
            Ok(hidden.index_select(&Tensor::new(rows, hidden.device())?, 0)?) // (B, H)
        };
        let pooled = match self.pooling {
            Pooling::Mean => means(&hidden, &batch)?,
            Pooling::Cls => token(|range| range.start)?,
            Pooling::Last => token(|range| range.end - 1)?,
        };
        let pooled = if self.unit { unit(&pooled)? } else { pooled };
        Ok(pooled.to_vec2()?)
    }
}

/// How sentence-transformers pools the model in `dir`, if it says.
fn of_sentences(dir: &Path) -> Result<Option<Pooling>> {
    // Vectors have length 1 whether or not the last step is there that says so.
    let known = |kind: &str| matches!(kind, "Transformer" | "Pooling" | "Normalize");
    let modules: Option<Vec<Module>> = optional_json(&dir.join("modules.json"))?;
    let pooling: Option<PoolingConfig> = optional_json(&dir.join("1_Pooling/config.json"))?;
    let mut names = modules.iter().flatten().map(|module| module.kind.rsplit('.').next().unwrap_or_default());
    if let Some(other) = names.find(|name| !known(name)) {
        return Err(Error::invalid(format!("`{}`: its step `{other}` is not supported", dir.display()))
            .hint("supported steps of sentence-transformers: Transformer, Pooling, Normalize"));
    }
    match pooling {
        None => Ok(modules.map(|_| Pooling::Mean)),
        Some(PoolingConfig { pooling_mode_mean_tokens: true, pooling_mode_cls_token: false }) => {
            Ok(Some(Pooling::Mean))
        }
        Some(PoolingConfig { pooling_mode_mean_tokens: false, pooling_mode_cls_token: true }) => {
            Ok(Some(Pooling::Cls))
        }
        Some(_) => Err(Error::invalid(format!("`{}`: its pooling is not supported", dir.display()))
            .hint("supported: mean of the tokens, or first token")),
    }
}

/// Over everything that decides the vectors.
fn fingerprint(path: &Path, pooling: Pooling, unit: bool, window: usize) -> Result<String> {
    let mut hasher = blake3::Hasher::new();
    let mut files: Vec<PathBuf> = if path.is_dir() { weight_files(path)? } else { vec![path.to_owned()] };
    // A GGUF file holds them.
    files.extend(
        ["config.json", "tokenizer.json"]
            .map(|name| path.join(name))
            .into_iter()
            .filter(|file| file.exists()),
    );
    for file in files {
        let handle = fs::File::open(&file).at("open", &file)?;
        // Safe as long as nobody truncates the file under us, which no reader of files can rule out.
        let bytes = unsafe { memmap2::Mmap::map(&handle) }.at("map", &file)?;
        hasher.update_rayon(&bytes);
    }
    hasher.update(format!("{pooling:?} {window}").as_bytes());
    if !unit {
        hasher.update(b" as it is");
    }
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
