//! Which of a model's own weights are trained: fine-tuning, of all of it or of some.
//!
//! Howard & Ruder 2018 (arXiv 1801.06146) and Devlin et al. 2018 (arXiv 1810.04805) for whole models and their tops; biases
//! alone: BitFit, Ben Zaken et al. 2021 (arXiv 2106.10199). The rest stays frozen, and nothing below the lowest layer that is
//! trained is differentiated.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::config::Config;
use super::names::Classes;
use crate::error::{Error, Result};
use crate::random::SplitMix;

/// A choice of weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "kebab-case")]
pub enum Selection {
    /// The output layers: fine-tuning I. `pooler`: the layer before the last, where there is one, as well.
    Head { pooler: bool },
    /// So many of the highest layers and what stands above them; `None` is everything: fine-tuning II.
    Full { top_layers: Option<usize> },
    /// Every bias, and a head for classes whole.
    Bitfit,
}

/// A head to make, where the weights have none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewHead {
    pub classes: usize,
    pub seed: u64,
}

/// Deviation of a new head's weights, as in BERT.
const DEVIATION: f64 = 0.02;

impl Selection {
    /// As it is called in commands.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Head { .. } => "head",
            Self::Full { .. } => "full",
            Self::Bitfit => "bitfit",
        }
    }

    /// Layers from below that nothing chosen is in or below.
    pub fn untouched(&self, config: &Config) -> usize {
        match self {
            Self::Head { .. } => config.shape.layers,
            Self::Full { top_layers: Some(top) } => config.shape.layers.saturating_sub(*top),
            Self::Full { top_layers: None } | Self::Bitfit => 0,
        }
    }

    /// Whether the tensor `name` of a model's file is chosen.
    pub(super) fn means(&self, name: &str, config: &Config) -> bool {
        let names = config.family.names();
        let bare = name.strip_prefix(names.trunk).unwrap_or(name);
        let layer = bare.strip_prefix(names.layers).and_then(|rest| rest.strip_prefix('.'));
        let layer = layer.and_then(|rest| rest.split('.').next()?.parse::<usize>().ok());
        let module = bare.rsplit_once('.').map_or(bare, |(module, _)| module);
        let (Classes::First { out, .. } | Classes::Last { out }) = names.classes;
        let is_out = module == out;
        let is_dense = matches!(names.classes, Classes::First { dense, .. } if module == dense);
        let is_head = is_out || is_dense || names.head == Some(module);
        match self {
            Self::Head { pooler } => is_out || names.head == Some(module) || is_dense && *pooler,
            Self::Full { top_layers: None } => true,
            Self::Full { top_layers: Some(top) } => match layer {
                Some(layer) => layer + top >= config.shape.layers,
                None => is_head || names.final_norm == Some(module),
            },
            Self::Bitfit => is_out || is_dense || name.ends_with(".bias"),
        }
    }

    /// Refuses what chooses nothing of this model.
    ///
    /// # Errors
    /// `Invalid`, with what can be done instead.
    pub(super) fn check(&self, config: &Config, classes: bool) -> Result<()> {
        match self {
            Self::Head { .. } if !classes && config.tied_head => Err(Error::invalid(
                "the output layer of this model is its embedding table, which cannot be trained alone",
            )
            .hint("train a head for classes, or the top layers: `tune full --top-layers K`")),
            Self::Full { top_layers: Some(top) } if *top == 0 || *top > config.shape.layers => {
                let layers = config.shape.layers;
                Err(Error::invalid(format!("the model has {layers} layers, not {top} that could be trained"))
                    .hint(format!("give 1 to {layers}, or nothing for the whole model")))
            }
            _ => Ok(()),
        }
    }
}

impl NewHead {
    /// The head's tensors that `has` says the weights lack, by the names of the family.
    pub(super) fn tensors(
        self,
        config: &Config,
        has: impl Fn(&str) -> bool,
    ) -> Result<BTreeMap<String, Tensor>> {
        let names = config.family.names();
        let hidden = config.shape.hidden;
        let mut wanted: Vec<(String, Vec<usize>)> = Vec::new();
        match names.classes {
            Classes::Last { out } => wanted.push((format!("{out}.weight"), vec![self.classes, hidden])),
            Classes::First { dense, in_trunk, out, .. } => {
                let dense = if in_trunk { format!("{}{dense}", names.trunk) } else { dense.to_owned() };
                let bare = dense.strip_prefix(names.trunk).unwrap_or(&dense).to_owned();
                if !has(&format!("{dense}.weight")) && !has(&format!("{bare}.weight")) {
                    wanted.push((format!("{dense}.weight"), vec![hidden, hidden]));
                    wanted.push((format!("{dense}.bias"), vec![hidden]));
                }
                wanted.push((format!("{out}.weight"), vec![self.classes, hidden]));
                wanted.push((format!("{out}.bias"), vec![self.classes]));
            }
        }
        let drawn = wanted.into_iter().enumerate().map(|(stream, (name, shape))| {
            let mut numbers = SplitMix::new(self.seed, stream as u64);
            let deviation = if name.ends_with(".bias") { 0.0 } else { DEVIATION };
            let count = shape.iter().product();
            let values: Vec<f32> = (0..count).map(|_| (deviation * numbers.normal()) as f32).collect();
            Ok((name, Tensor::from_vec(values, shape, &Device::Cpu)?))
        });
        drawn.collect()
    }
}
