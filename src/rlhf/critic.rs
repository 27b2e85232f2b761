//! A critic: what an answer will be worth, said before each of its tokens. A linear head over the hidden states of a network that
//! learns for itself, or of the policy's.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::clipped;
use super::dpo::targets_of_sequences;
use super::surrogate::{Weighed, numbers, through};
use crate::error::Result;
use crate::models::Model;
use crate::nn::Linear;
use crate::train::{Measured, Metrics, Micro, Objective, Row, Seen, Target};

/// What is known of an answer, a number a token.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Worth {
    /// What the critic said when the answer was drawn.
    pub values: Vec<f64>,
    /// What came of it.
    pub returns: Vec<f64>,
}

/// To say beforehand what comes of an answer.
pub struct Critic<'a> {
    /// `(1, H)`
    pub head: &'a Linear,
    /// Of each row.
    pub known: &'a [Worth],
    /// How far a value may go from what it was.
    pub clip: f64,
}

/// What `head` makes of the states before each target, `(n,)`.
///
/// # Errors
/// As a tensor operation fails.
pub fn values(head: &Linear, piece: &Micro, hidden: &Tensor) -> Result<Tensor> {
    let before = Tensor::new(&piece.targets.rows[..], hidden.device())?;
    Ok(head.frozen(&hidden.index_select(&before, 0)?)?.squeeze(1)?)
}

/// What `head` makes of the last token of each sequence, `(S,)`: the score of a whole answer.
///
/// # Errors
/// As a tensor operation fails.
pub fn scores(head: &Linear, piece: &Micro, hidden: &Tensor) -> Result<Tensor> {
    let last: Vec<u32> = piece.batch.packing.ranges().map(|range| range.end as u32 - 1).collect();
    Ok(head.frozen(&hidden.index_select(&Tensor::new(last, hidden.device())?, 0)?)?.squeeze(1)?)
}

impl Objective for Critic<'_> {
    fn measure(&self, seen: &Seen) -> Result<Measured> {
        let outputs = values(self.head, seen.piece, seen.hidden)?;
        let said = numbers(&outputs)?;
        let share = 1.0 / said.len().max(1) as f64;
        let mut loss = Weighed { value: 0.0, slopes: vec![0.0; said.len()] };
        let mut cut = 0.0;
        for (&row, range) in seen.piece.rows.iter().zip(targets_of_sequences(seen.piece)) {
            let Worth { values, returns } = &self.known[row];
            for (at, place) in range.enumerate() {
                let step = clipped::value(said[place], values[at], returns[at], self.clip);
                loss.value += share * step.value;
                loss.slopes[place] = share * step.slope;
                cut += share * f64::from(u8::from(step.clipped));
            }
        }
        let metrics = Metrics::from([("val/clipfrac".to_owned(), cut)]);
        Ok(Measured { loss: through(&outputs, &loss)?, metrics })
    }

    fn check(&self, row: &Row, _: &Model) -> Result<(), String> {
        match &row.target {
            Target::Tokens(_) => Ok(()),
            _ => Err("is no answer that was drawn".to_owned()),
        }
    }
}
