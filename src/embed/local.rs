//! An encoder of the BERT, RoBERTa or DistilBERT family on this machine, pooled as its makers pooled it.
//!
//! Sentence-BERT: Reimers & Gurevych 2019, arXiv 1908.10084. Texts are packed, so no time goes into padding. Groups of them
//! run side by side, one thread a group; a question alone has all threads to itself.

use std::fs;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use rayon::prelude::*;
use serde::Deserialize;

use super::Overflow;
use crate::error::{Error, IoContext, Result};
use crate::models::{Batch, Model, mean_pooled, weight_files};
use crate::nn::{Pass, Precision, kernel};
use crate::text::tokenizer::Tokenizer;

/// Tokens of one forward pass: enough for a matrix product to run at full speed, few enough to stay in a core's cache.
const TOKENS_A_PASS: usize = 512;

/// Fewer than this are not worth a thread of their own.
const FEWEST_TOKENS_A_PASS: usize = 64;

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
        let groups = groups(&ids);
        let passed: Vec<Vec<Vec<f32>>> = match &groups[..] {
            [group] => vec![self.pass(group, &ids)?],
            groups if self.model.transformer.device().is_cpu() => groups
                .par_iter()
                .with_max_len(1)
                .map(|group| kernel::sequential(|| self.pass(group, &ids)))
                .collect::<Result<_>>()?,
            groups => groups.iter().map(|group| self.pass(group, &ids)).collect::<Result<_>>()?,
        };
        let mut vectors = vec![Vec::new(); texts.len()];
        for (i, vector) in groups.concat().into_iter().zip(passed.into_iter().flatten()) {
            vectors[i] = vector;
        }
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

/// Indices of the texts of each pass. The longest come first, so that no thread starts on them when others are done.
fn groups(ids: &[Vec<u32>]) -> Vec<Vec<usize>> {
    let total: usize = ids.iter().map(Vec::len).sum();
    let share = total.div_ceil(rayon::current_num_threads());
    let most = share.clamp(FEWEST_TOKENS_A_PASS, TOKENS_A_PASS);
    let mut order: Vec<usize> = (0..ids.len()).collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(ids[i].len()), i));
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut room = 0;
    for i in order {
        match groups.last_mut() {
            Some(group) if ids[i].len() <= room => group.push(i),
            _ => {
                groups.push(vec![i]);
                room = most.max(ids[i].len());
            }
        }
        room -= ids[i].len();
    }
    groups
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

#[cfg(test)]
mod tests {
    use super::*;

    fn of_lengths(lengths: &[usize]) -> Vec<Vec<u32>> {
        lengths.iter().map(|&length| vec![1; length]).collect()
    }

    #[test]
    fn every_text_is_in_one_group_and_no_group_is_too_long() {
        let lengths: Vec<usize> = (0..300).map(|i| 3 + i * 37 % 500).chain([700]).collect();
        let groups = groups(&of_lengths(&lengths));
        let mut seen = groups.concat();
        seen.sort_unstable();
        assert_eq!(seen, (0..301).collect::<Vec<_>>());
        for group in &groups {
            let tokens: usize = group.iter().map(|&i| lengths[i]).sum();
            assert!(tokens <= TOKENS_A_PASS || group.len() == 1);
        }
        assert_eq!(groups[0], [300]);
    }

    #[test]
    fn a_few_short_texts_are_one_group_and_no_texts_are_none() {
        assert_eq!(groups(&of_lengths(&[9, 12, 30])), [[2, 1, 0]]);
        assert!(groups(&[]).is_empty());
    }
}
