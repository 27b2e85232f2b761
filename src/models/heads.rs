//! Modules over the hidden states: what turns a trunk into a classifier.

use candle_core::Tensor;

use super::batch::Batch;
use super::config::{Config, Family};
use super::weights::Weights;
use crate::error::Result;
use crate::nn::{Linear, Site};

/// Class scores from one token's hidden state: BERT reads the first token through its pooler, a decoder the last.
pub struct Classifier {
    /// `tanh(W h + b)` before the classifier (BERT).
    pooler: Option<Linear>,
    classifier: Linear,
    reads: Reads,
}

#[derive(Clone, Copy)]
enum Reads {
    First,
    Last,
}

impl Classifier {
    /// The head the weights carry, if they carry one.
    pub fn load(config: &Config, weights: &Weights) -> Result<Option<Self>> {
        let (name, reads) = match config.family {
            Family::Bert => ("classifier", Reads::First),
            Family::Llama => ("score", Reads::Last),
        };
        let Some(classes) = weights.rows(&format!("{name}.weight")) else { return Ok(None) };
        let hidden = config.shape.hidden;
        let linear = |name: &str, out: usize| -> Result<Linear> {
            let weight = weights.get(&format!("{name}.weight"), &[out, hidden])?;
            Ok(Linear::new(Site::head(), weight, weights.optional(&format!("{name}.bias"), &[out])?))
        };
        let pooler = match config.family {
            Family::Bert => Some(linear(&weights.in_trunk("pooler.dense"), hidden)?),
            Family::Llama => None,
        };
        Ok(Some(Self { pooler, classifier: linear(name, classes)?, reads }))
    }

    /// Class logits `(B, C)` from hidden states `(N, H)`.
    pub fn forward(&self, hidden: &Tensor, batch: &Batch) -> Result<Tensor> {
        let read = batch.packing.ranges().map(|range| match self.reads {
            Reads::First => range.start as u32,
            Reads::Last => (range.end - 1) as u32,
        });
        let rows = Tensor::new(read.collect::<Vec<_>>(), hidden.device())?;
        let mut h = hidden.index_select(&rows, 0)?; // (B, H)
        if let Some(pooler) = &self.pooler {
            h = pooler.frozen(&h)?.tanh()?;
        }
        self.classifier.frozen(&h)
    }
}

/// The masked mean of each sequence's hidden states `(N, H)`, scaled to length 1: `(B, H)`.
pub fn mean_pooled(hidden: &Tensor, batch: &Batch) -> Result<Tensor> {
    let means =
        batch.packing.ranges().map(|range| hidden.narrow(0, range.start, range.len())?.mean_keepdim(0));
    let means = Tensor::cat(&means.collect::<Result<Vec<_>, candle_core::Error>>()?, 0)?; // (B, H)
    let lengths = means.sqr()?.sum_keepdim(1)?.sqrt()?;
    Ok(means.broadcast_div(&lengths)?)
}
