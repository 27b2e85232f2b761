//! A critic: what an answer will be worth, said before each of its tokens. A linear head over the hidden states of a network that
//! learns for itself, or of the policy's.

use std::ops::Range;

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::clipped;
use super::surrogate::{Weighed, numbers, through};
use crate::error::Result;
use crate::models::Model;
use crate::nn::Linear;
use crate::train::{Measured, Metrics, Micro, Objective, Row, Seen, Target};

/// What is known of an answer: a number a token, and perhaps one for what stands behind its end.
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

/// The states that a value is said of: those before each target of a row, and the one behind its last token where `one_more` says
/// so of the row, told how many targets it has. With whose they are.
fn places(piece: &Micro, one_more: &dyn Fn(usize, usize) -> bool) -> (Vec<u32>, Vec<Range<usize>>) {
    let (mut states, mut of_rows) = (Vec::new(), Vec::new());
    let sequences = piece.batch.packing.leaves().zip(&piece.of_sequences);
    for (&row, (tokens, targets)) in piece.rows.iter().zip(sequences) {
        let from = states.len();
        states.extend(&piece.targets.rows[targets.clone()]);
        if one_more(row, targets.len()) {
            states.push(tokens.end as u32 - 1);
        }
        of_rows.push(from..states.len());
    }
    (states, of_rows)
}

/// What `head` says of an answer of each row: before each of its tokens, and behind the last where `one_more` says so of the row.
///
/// # Errors
/// As a tensor operation fails.
pub fn values(
    head: &Linear,
    piece: &Micro,
    hidden: &Tensor,
    one_more: &dyn Fn(usize) -> bool,
) -> Result<Vec<Vec<f64>>> {
    let (states, of_rows) = places(piece, &|row, _| one_more(row));
    let said = numbers(&of_states(head, &states, hidden)?)?;
    Ok(of_rows.into_iter().map(|range| said[range].to_vec()).collect())
}

/// What `head` makes of some of the states, `(n,)`.
fn of_states(head: &Linear, states: &[u32], hidden: &Tensor) -> Result<Tensor> {
    Ok(head.frozen(&hidden.index_select(&Tensor::new(states, hidden.device())?, 0)?)?.squeeze(1)?)
}

/// What `head` makes of the last token of each leaf, `(S,)`: the score of a whole answer.
///
/// # Errors
/// As a tensor operation fails.
pub fn scores(head: &Linear, piece: &Micro, hidden: &Tensor) -> Result<Tensor> {
    let last: Vec<u32> = piece.batch.packing.leaves().map(|range| range.end as u32 - 1).collect();
    of_states(head, &last, hidden)
}

impl Objective for Critic<'_> {
    fn measure(&self, seen: &Seen) -> Result<Measured> {
        let more = |row: usize, targets: usize| self.known[row].values.len() > targets;
        let (states, of_rows) = places(seen.piece, &more);
        let outputs = of_states(self.head, &states, seen.hidden)?;
        let said = numbers(&outputs)?;
        let share = 1.0 / said.len().max(1) as f64;
        let mut loss = Weighed { value: 0.0, slopes: vec![0.0; said.len()] };
        let mut cut = 0.0;
        for (&row, range) in seen.piece.rows.iter().zip(of_rows) {
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

    fn targets(&self, piece: &Micro) -> usize {
        places(piece, &|row, targets| self.known[row].values.len() > targets).0.len()
    }

    fn check(&self, row: &Row, _: &Model) -> Result<(), String> {
        match &row.target {
            Target::Tokens(_) => Ok(()),
            _ => Err("is no answer that was drawn".to_owned()),
        }
    }
}
