//! Modules over the hidden states: what turns a trunk into a classifier.

use std::ops::Range;

use candle_core::{DType, Device, Tensor};

use super::batch::Batch;
use super::config::Config;
use super::names::{Classes, Curve};
use super::select::is_in;
use super::weights::Weights;
use crate::error::{Error, Result};
use crate::nn::{Adapter, Linear, Mode, Part, Site};
use crate::random::SplitMix;

/// Class scores from one token's hidden state: an encoder reads the first token through one more layer, a decoder the last.
pub struct Classifier {
    /// `curve(W h + b)` before the classifier (encoders).
    dense: Option<(Linear, Curve)>,
    out: Linear,
}

/// Which token of a text a head reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token {
    First,
    Last,
}

impl Token {
    /// Its row, of a text's.
    pub fn of(self, rows: &Range<usize>) -> usize {
        match self {
            Self::First => rows.start,
            Self::Last => rows.end - 1,
        }
    }
}

/// A head for classes that nobody has trained yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewHead {
    pub classes: usize,
    pub seed: u64,
}

impl NewHead {
    /// Adds its tensors to `weights`, under Hugging Face's names: `N(0, 0.02²)`, biases 0. A layer before the last one that
    /// the weights have already (BERT's pooler) is kept.
    pub(super) fn draw(self, config: &Config, weights: &mut Weights) -> Result<()> {
        if self.classes == 0 {
            return Err(Error::invalid("a head for no classes").hint("give it two or more"));
        }
        let hidden = config.shape.hidden;
        let (dense, out, biased) = match config.family.names().classes {
            Classes::Last { out } => (None, out, false),
            Classes::First { dense, in_trunk: true, out, .. } => (Some(weights.in_trunk(dense)), out, true),
            Classes::First { dense, out, .. } => (Some(dense.to_owned()), out, true),
        };
        let dense = dense.filter(|dense| !weights.contains(&format!("{dense}.weight")));
        let mut random = SplitMix::new(self.seed, HEADS);
        let mut add = |name: &str, out: usize, biased: bool| -> Result<()> {
            let values = (0..out * hidden).map(|_| (DEVIATION * random.normal()) as f32).collect::<Vec<_>>();
            weights.add(format!("{name}.weight"), Tensor::from_vec(values, (out, hidden), &Device::Cpu)?);
            if biased {
                weights.add(format!("{name}.bias"), Tensor::zeros(out, DType::F32, &Device::Cpu)?);
            }
            Ok(())
        };
        if let Some(dense) = dense {
            add(&dense, hidden, true)?;
        }
        add(out, self.classes, biased)
    }
}

/// Keeps the numbers of new heads apart from those of other uses of one seed.
const HEADS: u64 = 0x6865_6164_7300_0000;

const DEVIATION: f64 = 0.02;

/// Whether `name` is a tensor of the head for classes.
pub(super) fn is_of_classes(name: &str, config: &Config) -> bool {
    let names = config.family.names();
    match names.classes {
        Classes::Last { out } => is_in(name, out),
        Classes::First { dense, in_trunk, out, .. } => {
            let inner = if in_trunk { name.strip_prefix(names.trunk).unwrap_or(name) } else { name };
            is_in(inner, dense) || is_in(name, out)
        }
    }
}

impl Classifier {
    /// The head the weights carry, if they carry one.
    pub fn load(config: &Config, weights: &Weights) -> Result<Option<Self>> {
        let classes = &config.family.names().classes;
        let (Classes::First { out, .. } | Classes::Last { out }) = classes;
        let Some(width) = weights.rows(&format!("{out}.weight")) else { return Ok(None) };
        let hidden = config.shape.hidden;
        let linear = |site: Site, name: &str, out: usize| -> Result<Linear> {
            let weight = weights.get(&format!("{name}.weight"), &[out, hidden])?;
            Ok(Linear::new(site, weight, weights.optional(&format!("{name}.bias"), &[out])?))
        };
        let pooler = Site::new(config.shape.layers, Part::Pooler);
        let dense = match *classes {
            Classes::First { dense, in_trunk: true, curve, .. } => {
                Some((linear(pooler, &weights.in_trunk(dense), hidden)?, curve))
            }
            Classes::First { dense, curve, .. } => Some((linear(pooler, dense, hidden)?, curve)),
            Classes::Last { .. } => None,
        };
        Ok(Some(Self { dense, out: linear(Site::head(), out, width)? }))
    }

    /// Number of classes, `C`.
    pub fn classes(&self) -> usize {
        self.out.weight.dims()[0]
    }

    /// The token that it reads.
    pub fn reads(&self) -> Token {
        if self.dense.is_some() { Token::First } else { Token::Last }
    }

    /// Class logits `(B, C)` from hidden states `(N, H)`, which `adapter` had a part in; of sequences that no other goes on with.
    pub fn forward(
        &self,
        hidden: &Tensor,
        batch: &Batch,
        adapter: &dyn Adapter,
        mode: Mode,
    ) -> Result<Tensor> {
        let read = batch.packing.leaves().map(|range| self.reads().of(&range) as u32);
        let rows = Tensor::new(read.collect::<Vec<_>>(), hidden.device())?;
        let h = hidden.index_select(&rows, 0)?; // (B, H)
        let h = match &self.dense {
            Some((dense, Curve::Tanh)) => adapter.linear(dense, &h, mode)?.tanh()?,
            Some((dense, Curve::Relu)) => adapter.linear(dense, &h, mode)?.relu()?,
            None => h,
        };
        self.out.frozen(&h)
    }
}

/// The mean of each sequence's hidden states `(N, H)`: `(B, H)`.
pub fn means(hidden: &Tensor, batch: &Batch) -> Result<Tensor> {
    let means =
        batch.packing.ranges().map(|range| hidden.narrow(0, range.start, range.len())?.mean_keepdim(0));
    Ok(Tensor::cat(&means.collect::<Result<Vec<_>, candle_core::Error>>()?, 0)?)
}

/// Rows `(B, H)` scaled to length 1.
pub fn unit(rows: &Tensor) -> Result<Tensor> {
    Ok(rows.broadcast_div(&rows.sqr()?.sum_keepdim(1)?.sqrt()?)?)
}
