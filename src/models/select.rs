//! Which of a model's own weights are trained: its head, its highest layers, its biases, all of it.
//!
//! A head alone, or with the highest layers: what is called fine-tuning I and II; BitFit: biases only (Ben Zaken et al. 2022,
//! arXiv 2106.10199). What is not chosen is loaded as for asking: it gets no gradient and no copy. Weights that the loss does
//! not reach are never chosen: the head for next tokens where classes are told apart, and the other way round.

use std::path::Path;

use candle_core::Device;
use serde::{Deserialize, Serialize};

use super::config::Config;
use super::heads::{NewHead, is_of_classes};
use super::model::Model;
use crate::error::{Error, Result};
use crate::nn::Params;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Selection {
    /// The output layers.
    Head,
    /// So many of the highest layers, the norm behind them and the output layers. A head that is the embedding table stays as
    /// it is: it could not be trained without the bottom of the model.
    Top(usize),
    All,
    /// Every bias; output layers for classes as a whole.
    #[serde(rename = "bitfit")]
    BitFit,
}

/// What is learned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    NextTokens,
    /// With the head that the weights carry.
    Classes,
    NewClasses(NewHead),
}

/// A model to train.
pub struct Selected {
    pub model: Model,
    pub params: Params,
    /// So many lowest layers that nothing trained stands in or below.
    pub untouched: usize,
}

impl Selection {
    /// As it is called in commands.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::Top(_) | Self::All => "full",
            Self::BitFit => "bitfit",
        }
    }

    /// The model at `path`, with what is meant as variables and all else frozen.
    ///
    /// # Errors
    /// `Invalid` where the model has nothing of the kind, or no head for classes; as [`Model::load`].
    pub fn load(self, path: &Path, device: &Device, goal: Goal) -> Result<Selected> {
        let (config, _) = Model::describe(path)?;
        let untouched = self.untouched(&config, goal)?;
        let head = match goal {
            Goal::NewClasses(head) => Some(head),
            _ => None,
        };
        let select = |name: &str| self.takes(name, &config, goal, untouched);
        let (model, params) = Model::load_selected(path, device, &select, head)?;
        if goal != Goal::NextTokens && model.classifier.is_none() {
            return Err(Error::invalid(format!("`{}` has no head for classes", path.display()))
                .hint("say how many classes there are, and it gets a new one"));
        }
        if self == Self::BitFit && params.iter().all(|(name, _)| is_of_classes(name, &config)) {
            return Err(Error::invalid(format!(
                "a {} model has no biases, and BitFit trains nothing else",
                config.family
            ))
            .hint("train its highest layers, or use lora or ia3"));
        }
        Ok(Selected { model, params, untouched })
    }

    fn untouched(self, config: &Config, goal: Goal) -> Result<usize> {
        let layers = config.shape.layers;
        match self {
            Self::Head if goal == Goal::NextTokens && config.tied_head => Err(Error::invalid(
                "this model's head is its embedding table, which is no output layer alone",
            )
            .hint("train its highest layers, or all of it")),
            Self::Head => Ok(layers),
            Self::Top(top) if (1..=layers).contains(&top) => Ok(layers - top),
            Self::Top(top) => Err(Error::invalid(format!("cannot train {top} layers of {layers}"))
                .hint(format!("give 1 to {layers}"))),
            Self::All | Self::BitFit => Ok(0),
        }
    }

    fn takes(self, name: &str, config: &Config, goal: Goal, untouched: usize) -> bool {
        let names = config.family.names();
        let of_classes = is_of_classes(name, config);
        let of_tokens = names.head.is_some_and(|head| is_in(name, head));
        if of_classes || of_tokens {
            let is_head = if goal == Goal::NextTokens { of_tokens } else { of_classes };
            return is_head && (self != Self::BitFit || of_classes || name.ends_with(".bias"));
        }
        let inner = name.strip_prefix(names.trunk).unwrap_or(name);
        match self {
            Self::Head => false,
            Self::All => true,
            Self::BitFit => name.ends_with(".bias"),
            Self::Top(_) => match inner.strip_prefix(names.layers).and_then(|rest| rest.strip_prefix('.')) {
                Some(rest) => {
                    let layer = rest.split('.').next().and_then(|layer| layer.parse::<usize>().ok());
                    layer.is_some_and(|layer| layer >= untouched)
                }
                None => names.final_norm.is_some_and(|norm| is_in(inner, norm)),
            },
        }
    }
}

/// Whether `name` is a tensor of the module `module`.
pub(super) fn is_in(name: &str, module: &str) -> bool {
    name.strip_prefix(module).is_some_and(|rest| rest == ".weight" || rest == ".bias")
}
