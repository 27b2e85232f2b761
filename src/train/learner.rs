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

/// What is learned in the same update: something else of the same parameters.
pub struct Beside<'a> {
    pub subject: &'a Subject<'a>,
    pub rows: &'a [Row],
    pub chosen: &'a [usize],
    /// What its loss counts.
    pub weight: f64,
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

    /// Moves the parameters of `subject` by those of `rows` that are `chosen`, and by what is `beside` them, at `rate`. `number`
    /// decides what dropout draws. The loss of what is beside comes as the metric `loss/sft`, as it is without its weight.
    ///
    /// # Errors
    /// As the network fails.
    pub fn update(
        &mut self,
        subject: &Subject,
        rows: &[Row],
        chosen: &[usize],
        beside: Option<&Beside>,
        config: &TrainConfig,
        (number, rate): (usize, f64),
    ) -> Result<Learned> {
        let network = Network::new(subject, rows, None);
        let (Gathered { loss, mut metrics }, mut gradients) = network.gather(chosen, 1.0, config, number)?;
        let mut is_number = loss.is_finite();
        if let Some(Beside { subject, rows, chosen, weight }) = beside.filter(|_| is_number) {
            let network = Network::new(subject, rows, None);
            let (also, more) = network.gather(chosen, *weight, config, number)?;
            is_number = also.loss.is_finite();
            if is_number {
                gradients.add(more)?;
            }
            metrics.insert("loss/sft".to_owned(), also.loss / weight);
        }
        let norm = if is_number { gradients.norm()? } else { f64::NAN };
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
