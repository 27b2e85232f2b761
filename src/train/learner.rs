//! One update at a time, for whoever decides on its own which rows come next: a policy learns from answers that it has just given.

use std::collections::BTreeMap;

use candle_core::Tensor;

use super::network::{Gathered, Network};
use super::objective::Metrics;
use super::optim::AdamW;
use super::row::Row;
use super::{Subject, TrainConfig};
use crate::error::Result;
use crate::nn::Params;

/// An optimiser and what it remembers.
pub struct Learner {
    optimiser: AdamW,
}

/// What came of an update.
#[derive(Debug, Clone, PartialEq)]
pub struct Learned {
    pub loss: f64,
    pub metrics: Metrics,
    /// Of the gradient, before clipping.
    pub norm: f64,
    /// Whether anything moved: nothing does where loss or gradient is no number.
    pub moved: bool,
}

impl Learner {
    /// # Errors
    /// As a tensor operation fails.
    pub fn new(params: &Params) -> Result<Self> {
        Ok(Self { optimiser: AdamW::new(params)? })
    }

    /// Moves the parameters of `subject` by those of `rows` that are `chosen`, at `rate`. `number` decides what dropout draws.
    ///
    /// # Errors
    /// As the network fails.
    pub fn update(
        &mut self,
        subject: &Subject,
        rows: &[Row],
        chosen: &[usize],
        config: &TrainConfig,
        (number, rate): (usize, f64),
    ) -> Result<Learned> {
        let network = Network::new(subject, rows, None);
        let (Gathered { loss, metrics }, gradients) = network.gather(chosen, config, number)?;
        let norm = if loss.is_finite() { gradients.norm()? } else { f64::NAN };
        let moved = norm.is_finite();
        if moved {
            self.optimiser.update(subject, &gradients, norm, rate, config)?;
        }
        Ok(Learned { loss, metrics, norm, moved })
    }

    /// What it remembers, by name, to be put back by [`Self::resume`].
    pub fn state(&self) -> (u64, BTreeMap<String, (Tensor, Tensor)>) {
        (self.optimiser.updates, self.optimiser.means.clone())
    }

    /// Goes on with what [`Self::state`] said.
    pub fn resume(updates: u64, means: BTreeMap<String, (Tensor, Tensor)>) -> Self {
        Self { optimiser: AdamW { means, updates } }
    }
}
