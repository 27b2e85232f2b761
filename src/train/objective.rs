//! What is made of the hidden states of some rows: a loss, and what else is worth knowing of it.
//!
//! The loop asks for a mean and weighs pieces by their targets; how an objective comes to its mean is its own affair. The
//! two that every model is trained by are here; those that learn from judgements are `rlhf`'s.

use std::collections::BTreeMap;

use candle_core::{D, Tensor};

use super::micro::Micro;
use super::row::{Row, Target};
use crate::error::Result;
use crate::models::{Classifier, Model, Token};
use crate::nn::{Adapter, Mode, loss};

/// Means over targets, by their names.
pub type Metrics = BTreeMap<String, f64>;

/// What a subject is trained to do.
pub trait Objective: Sync {
    /// The loss over the targets of a piece.
    ///
    /// # Errors
    /// As computing it fails.
    fn measure(&self, seen: &Seen) -> Result<Measured>;

    /// What the loss is a mean over.
    fn targets(&self, piece: &Micro) -> usize {
        piece.targets.ids.len()
    }

    /// The one token of each sequence that it looks at, if that is all. Where nothing below is trained, only that is kept.
    fn reads(&self) -> Option<Token> {
        None
    }

    /// What is wrong with a row, behind "row 7".
    ///
    /// # Errors
    /// In words.
    fn check(&self, row: &Row, model: &Model) -> Result<(), String>;
}

/// A piece, and what the network made of it.
pub struct Seen<'a> {
    pub model: &'a Model,
    pub adapter: &'a dyn Adapter,
    pub piece: &'a Micro,
    /// All rows, which the piece numbers.
    pub rows: &'a [Row],
    /// `(N, H)`
    pub hidden: &'a Tensor,
    pub mode: Mode,
}

/// What came of a piece.
pub struct Measured {
    /// A scalar: the mean over the piece's targets.
    pub loss: Tensor,
    pub metrics: Metrics,
}

impl From<Tensor> for Measured {
    fn from(loss: Tensor) -> Self {
        Self { loss, metrics: Metrics::new() }
    }
}

/// To say the token that comes next, where it is labelled: cross-entropy.
pub struct NextTokens;

impl Objective for NextTokens {
    fn measure(&self, seen: &Seen) -> Result<Measured> {
        let head = seen.model.transformer.head();
        Ok(loss::cross_entropy(seen.hidden, &seen.piece.targets, head)?.into())
    }

    fn check(&self, row: &Row, model: &Model) -> Result<(), String> {
        match &row.target {
            _ if !model.transformer.config.causal => {
                Err("is for a model that writes: an encoder foretells no token".to_owned())
            }
            Target::Tokens(labels) if labels.len() == row.ids.len() => Ok(()),
            Target::Tokens(labels) => {
                Err(format!("has {} labels for {} tokens", labels.len(), row.ids.len()))
            }
            Target::Class(_) => Err("has a class, and there is no head for classes".to_owned()),
            Target::Preference(_) => Err("has several answers, and one is learned at a time".to_owned()),
        }
    }
}

/// To tell the class of a row: cross-entropy over the classes.
pub struct Classes<'a>(pub &'a Classifier);

impl Objective for Classes<'_> {
    fn measure(&self, seen: &Seen) -> Result<Measured> {
        let logits = self.0.forward(seen.hidden, &seen.piece.batch, seen.adapter, seen.mode)?; // (B, C)
        let targets = &seen.piece.targets;
        let loss = loss::cross_entropy(&logits, targets, |logits: &Tensor| Ok(logits.clone()))?;
        let said = logits.argmax(D::Minus1)?.to_vec1::<u32>()?;
        let right = said.iter().zip(&targets.ids).filter(|(said, class)| said == class).count();
        let accuracy = right as f64 / targets.ids.len().max(1) as f64;
        Ok(Measured { loss, metrics: Metrics::from([("accuracy".to_owned(), accuracy)]) })
    }

    fn reads(&self) -> Option<Token> {
        Some(self.0.reads())
    }

    fn check(&self, row: &Row, _: &Model) -> Result<(), String> {
        let classes = self.0.classes();
        match &row.target {
            Target::Class(class) if (*class as usize) < classes => Ok(()),
            Target::Class(class) => Err(format!("is of class {class}, the head has {classes}")),
            _ => Err("has no class, and the head is for classes".to_owned()),
        }
    }
}

/// Adds `part`, which is a mean over `share` of all targets.
pub fn add(sums: &mut Metrics, part: Metrics, share: f64) {
    for (name, mean) in part {
        *sums.entry(name).or_default() += mean * share;
    }
}
