//! A second, closer look at what was found: a cross-encoder reads question and passage together and says how well they go
//! together. Slower than comparing vectors that were made apart, so only the first hits are read again.
//!
//! Nogueira & Cho 2019, arXiv 1901.04085.

use std::path::{Path, PathBuf};

use candle_core::Device;

use super::Hit;
use crate::embed::in_passes;
use crate::error::{Error, Result};
use crate::models::{Batch, Classifier, Model, Transformer};
use crate::nn::{Bare, Mode, Pass, Precision};
use crate::text::tokenizer::{Pair, Tokenizer};

/// Hits that are read again.
pub const REACH: usize = 20;

/// The longest pair we read however far a model's positions reach: cross-encoders are trained on short text.
const LONGEST_PAIR: usize = 512;

/// A sequence classifier with one or two labels over pairs of texts.
pub struct CrossEncoder {
    name: String,
    dir: PathBuf,
    transformer: Transformer,
    classifier: Classifier,
    tokenizer: Tokenizer,
    window: usize,
}

impl CrossEncoder {
    /// A directory with config.json, safetensors and tokenizer.json of an encoder family.
    ///
    /// # Errors
    /// `Invalid` when the model is no encoder, or no classifier with one or two labels.
    pub fn load(name: &str, dir: &Path, device: &Device) -> Result<Self> {
        const GIVE: &str = "give the directory of a sequence classifier of the BERT, RoBERTa or DistilBERT family with one or two labels";
        let Model { transformer, classifier, tokenizer } = Model::load(dir, device)?;
        let refused = |why: &str| {
            Err(Error::invalid(format!("`{}` is no cross-encoder: {why}", dir.display())).hint(GIVE))
        };
        if transformer.config.causal {
            return refused("it is a generator");
        }
        let Some(classifier) = classifier else { return refused("it has no classification head") };
        if !matches!(classifier.classes(), 1 | 2) {
            return refused(&format!("it tells {} classes apart", classifier.classes()));
        }
        let tokenizer = tokenizer.ok_or_else(|| {
            Error::not_found(format!("`{}` has no tokenizer.json", dir.display()))
                .hint("save the tokenizer beside the weights")
        })?;
        let window = transformer.config.context.min(LONGEST_PAIR);
        // As an encoder computes: no score moves by a measurable amount.
        let transformer = transformer.quantised(Precision::Int16)?;
        Ok(Self { name: name.to_owned(), dir: dir.to_owned(), transformer, classifier, tokenizer, window })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// How relevant each passage is to `question`, as log-odds: the logit of a model with one label, the second less the first
    /// of one with two. Only the order of one model's scores means anything. Of a pair that is too long, the end of the passage
    /// is left out.
    ///
    /// # Errors
    /// `Corrupt` when the model computes what is no number.
    pub fn score(&self, question: &str, passages: &[&str]) -> Result<Vec<f32>> {
        let pairs = self.tokenizer.encode_pairs(question, passages, self.window)?;
        let lengths: Vec<usize> = pairs.iter().map(|pair| pair.ids.len()).collect();
        let scores = in_passes(&lengths, self.transformer.device(), |group| {
            let together: Vec<&Pair> = group.iter().map(|&i| &pairs[i]).collect();
            let batch = Batch::of_pairs(&together);
            let hidden = self.transformer.forward(&batch, Pass::bare())?; // (N, H)
            let logits = self.classifier.forward(&hidden, &batch, &Bare, Mode::Eval)?.to_vec2::<f32>()?; // (B, C)
            let score = |logits: &Vec<f32>| match logits[..] {
                [no, yes] => yes - no,
                _ => logits.first().copied().unwrap_or(f32::NAN),
            };
            Ok(logits.iter().map(score).collect())
        })?;
        match scores.iter().all(|score| score.is_finite()) {
            true => Ok(scores),
            false => Err(Model::why_not_finite(&self.dir)),
        }
    }

    /// Puts the first [`REACH`] hits in the order of their relevance to `question`; the others stay behind them.
    ///
    /// # Errors
    /// As [`CrossEncoder::score`].
    pub fn rerank(&self, question: &str, mut hits: Vec<Hit>) -> Result<Vec<Hit>> {
        let behind = hits.split_off(REACH.min(hits.len()));
        let texts: Vec<String> = hits.iter().map(|hit| hit.passage.chunk.embedded_text()).collect();
        let scores = self.score(question, &texts.iter().map(String::as_str).collect::<Vec<_>>())?;
        for (hit, score) in hits.iter_mut().zip(scores) {
            hit.relevance = Some(score);
        }
        hits.sort_by(|a, b| b.relevance.unwrap_or(f32::MIN).total_cmp(&a.relevance.unwrap_or(f32::MIN)));
        hits.extend(behind);
        for (at, hit) in hits.iter_mut().enumerate() {
            hit.rank = at + 1;
        }
        Ok(hits)
    }
}
