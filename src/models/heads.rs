//! Modules over the hidden states: what turns a trunk into a classifier.

use candle_core::Tensor;

use super::batch::Batch;
use super::config::Config;
use super::names::{Classes, Curve};
use super::weights::Weights;
use crate::error::Result;
use crate::nn::{Linear, Site};

/// Class scores from one token's hidden state: an encoder reads the first token through one more layer, a decoder the last.
pub struct Classifier {
    /// `curve(W h + b)` before the classifier (encoders).
    dense: Option<(Linear, Curve)>,
    out: Linear,
}

impl Classifier {
    /// The head the weights carry, if they carry one.
    pub fn load(config: &Config, weights: &Weights) -> Result<Option<Self>> {
        let classes = &config.family.names().classes;
        let (Classes::First { out, .. } | Classes::Last { out }) = classes;
        let Some(width) = weights.rows(&format!("{out}.weight")) else { return Ok(None) };
        let hidden = config.shape.hidden;
        let linear = |name: &str, out: usize| -> Result<Linear> {
            let weight = weights.get(&format!("{name}.weight"), &[out, hidden])?;
            Ok(Linear::new(Site::head(), weight, weights.optional(&format!("{name}.bias"), &[out])?))
        };
        let dense = match *classes {
            Classes::First { dense, in_trunk: true, curve, .. } => {
                Some((linear(&weights.in_trunk(dense), hidden)?, curve))
            }
            Classes::First { dense, curve, .. } => Some((linear(dense, hidden)?, curve)),
            Classes::Last { .. } => None,
        };
        Ok(Some(Self { dense, out: linear(out, width)? }))
    }

    /// Number of classes, `C`.
    pub fn classes(&self) -> usize {
        self.out.weight.dims()[0]
    }

    /// Class logits `(B, C)` from hidden states `(N, H)`.
    pub fn forward(&self, hidden: &Tensor, batch: &Batch) -> Result<Tensor> {
        let read = batch.packing.ranges().map(|range| match self.dense {
            Some(_) => range.start as u32,
            None => (range.end - 1) as u32,
        });
        let rows = Tensor::new(read.collect::<Vec<_>>(), hidden.device())?;
        let h = hidden.index_select(&rows, 0)?; // (B, H)
        let h = match &self.dense {
            Some((dense, Curve::Tanh)) => dense.frozen(&h)?.tanh()?,
            Some((dense, Curve::Relu)) => dense.frozen(&h)?.relu()?,
            None => h,
        };
        self.out.frozen(&h)
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
