//! What is trained, and on which rows.

use super::batch::split;
use super::config::TrainConfig;
use super::objective::{NextTokens, Objective};
use super::row::Row;
use crate::error::{Error, Result};
use crate::models::Model;
use crate::nn::{Adapter, Bare, Params};

/// A model with variables in it or around it, and what the trainer has to know of them.
#[derive(Clone)]
pub struct Subject<'a> {
    /// Tells this subject from others, for a checkpoint to name: the method and its settings, the base's fingerprint.
    pub name: String,
    pub model: &'a Model,
    /// [`Bare`] where only the base's weights or a head are trained.
    pub adapter: &'a dyn Adapter,
    /// What it is trained to do.
    pub objective: &'a dyn Objective,
    /// All that is trained.
    pub params: &'a Params,
    /// So many lowest layers nothing that is trained acts in or below; they are computed without gradients, and once.
    pub untouched: usize,
    /// The parameters that weight decay is for.
    pub decays: &'a (dyn Fn(&str) -> bool + Sync),
    /// Those whose gradient is exactly zero at the start, because of how the method begins (LoRA's `A` while `B` is zero).
    pub still: &'a (dyn Fn(&str) -> bool + Sync),
    /// What the rate of a parameter is multiplied by (LoRA+ trains `B` faster).
    pub rate: &'a (dyn Fn(&str) -> f64 + Sync),
}

impl<'a> Subject<'a> {
    /// Next tokens; no adapter, nothing untouched, all parameters decay if any do, none starts without a gradient, one rate.
    pub fn new(name: impl Into<String>, model: &'a Model, params: &'a Params) -> Self {
        Self {
            name: name.into(),
            model,
            adapter: &Bare,
            objective: &NextTokens,
            params,
            untouched: 0,
            decays: &|_| true,
            still: &|_| false,
            rate: &|_| 1.0,
        }
    }

    /// Tokens a row may have: the model's context without the rows that the adapter brings, and no more than `train` says.
    ///
    /// # Errors
    /// Those of the adapter.
    pub fn window(&self, train: &TrainConfig) -> Result<usize> {
        Ok(self.model.transformer.room(self.adapter)?.min(train.max_length))
    }

    /// Whether it can be trained on `rows` as `config` says.
    ///
    /// # Errors
    /// `Invalid` or `TooLong`, saying what is wrong with which row, counted from 1.
    pub(super) fn check(&self, rows: &Rows, config: &TrainConfig) -> Result<()> {
        if self.params.count() == 0 {
            return Err(Error::invalid("there is no parameter to train")
                .hint("name layers or modules that the model has"));
        }
        if rows.training().is_empty() {
            return Err(Error::invalid("there is no row to train on"));
        }
        let window = self.window(config)?;
        for (at, row) in rows.all().iter().enumerate() {
            let at = at + 1;
            if row.longest() > window {
                return Err(Error::too_long(format!(
                    "row {at} has {} tokens, there is room for {window}",
                    row.longest()
                )));
            }
            if row.targets() == 0 || row.ids.is_empty() {
                return Err(Error::invalid(format!("row {at} has nothing to learn from")));
            }
            if let Err(wrong) = self.objective.check(row, self.model) {
                return Err(Error::invalid(format!("row {at} {wrong}")));
            }
        }
        Ok(())
    }
}

/// The rows of a run: those it learns from, and those it is judged by.
#[derive(Debug, Clone, PartialEq)]
pub struct Rows {
    /// The first `training`, then the others.
    all: Vec<Row>,
    training: usize,
}

impl Rows {
    pub fn new(training: Vec<Row>, validation: Vec<Row>) -> Self {
        let count = training.len();
        Self { all: training.into_iter().chain(validation).collect(), training: count }
    }

    /// All of `rows`, a share of them held out as `config` says.
    pub fn of(rows: Vec<Row>, config: &TrainConfig) -> Self {
        let (training, validation) = split(rows, config.validation_share, config.seed);
        Self::new(training, validation)
    }

    pub fn all(&self) -> &[Row] {
        &self.all
    }

    pub fn training(&self) -> &[Row] {
        &self.all[..self.training]
    }

    pub fn validation(&self) -> &[Row] {
        &self.all[self.training..]
    }
}
