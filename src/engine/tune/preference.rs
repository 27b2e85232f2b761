//! Learning which answer is better: the rows, and what is made of them.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Data;
use super::rows::{Laid, Skipped, Source};
use crate::error::{Error, Result};
use crate::models::Classifier;
use crate::rlhf::dpo::{self, Dpo, Variant};
use crate::rlhf::reward::Reward;
use crate::rlhf::surrogate::numbers;
use crate::text::example::Rows as Lines;
use crate::text::records;
use crate::train::{Objective, Reading, Rows, Seen, Style, Subject, look};

/// What is learned of answers that somebody compared.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "learn", rename_all = "lowercase")]
pub enum Preference {
    /// A score for an answer, by a head of its own.
    Reward {
        /// How much the sum of a pair's scores is held at zero.
        centring: f64,
    },
    /// To write the better answer rather than the worse one.
    Dpo {
        /// How dearly the policy pays for going away from where it began.
        beta: f64,
        variant: Variant,
        /// The share of judgements that are taken to be wrong.
        label_smoothing: f64,
    },
}

impl Preference {
    pub fn name(self) -> &'static str {
        match self {
            Self::Reward { .. } => "reward",
            Self::Dpo { .. } => "dpo",
        }
    }

    /// # Errors
    /// `Invalid` for a setting that cannot be, by its name.
    pub fn check(self) -> Result<()> {
        let wrong = match self {
            Self::Reward { centring } if !(centring >= 0.0 && centring.is_finite()) => {
                Some(("centring", "0 or more"))
            }
            Self::Dpo { beta, .. } if !(beta > 0.0 && beta.is_finite()) => Some(("beta", "above 0")),
            Self::Dpo { label_smoothing, .. } if !(0.0..0.5).contains(&label_smoothing) => {
                Some(("label-smoothing", "from 0 up to, and without, 0.5"))
            }
            _ => None,
        };
        match wrong {
            Some((name, wanted)) => Err(Error::invalid(format!("--{name} has to be {wanted}"))),
            None => Ok(()),
        }
    }

    /// What rows are trained by. `subject` is as it begins, whose log-probabilities are the reference of all that comes.
    ///
    /// # Errors
    /// As asking the network fails; `Invalid` without a head for the score.
    pub(super) fn objective<'a>(
        self,
        subject: &Subject,
        head: Option<&'a Classifier>,
        rows: &Rows,
        micro_tokens: usize,
        on: &mut dyn FnMut(usize, usize) -> bool,
    ) -> Result<Box<dyn Objective + 'a>> {
        match self {
            Self::Reward { centring } => {
                let head = head.ok_or_else(|| Error::invalid("the model has no head for a score"))?;
                Ok(Box::new(Reward { head, centring }))
            }
            Self::Dpo { beta, variant, label_smoothing } => {
                let reference = reference(subject, rows, micro_tokens, on)?;
                Ok(Box::new(Dpo { beta, variant, label_smoothing, reference }))
            }
        }
    }
}

/// Log-probabilities of the answers of each row, as `subject` is now.
fn reference(
    subject: &Subject,
    rows: &Rows,
    micro_tokens: usize,
    on: &mut dyn FnMut(usize, usize) -> bool,
) -> Result<BTreeMap<usize, Vec<f64>>> {
    let said = |seen: &Seen| -> Result<Vec<(usize, Vec<f64>)>> {
        let (said, _) = dpo::log_probabilities_of_answers(seen.model, seen.piece, seen.hidden)?;
        let said = numbers(&said)?;
        let of_row =
            |(&row, sequences): (&usize, &std::ops::Range<usize>)| (row, said[sequences.clone()].to_vec());
        Ok(seen.piece.rows.iter().zip(&seen.piece.sequences).map(of_row).collect())
    };
    let found = look(subject, rows.all(), micro_tokens, &said, on)?
        .ok_or_else(|| Error::interrupted("stopped before the first step"))?;
    Ok(found.into_iter().flatten().collect())
}

/// The answers of `file` that somebody compared.
///
/// # Errors
/// As [`Reading::judgements`].
pub(super) fn rows(source: &Source, data: &Data, file: &Path, split: Option<&str>) -> Result<Laid> {
    let reading = Reading {
        style: if data.plain { Style::Plain } else { Style::Chat },
        lines: Lines { split: split.map(str::to_owned), limit: data.limit },
        ..Reading::new(source.tokenizer, source.window)
    };
    let read = reading.judgements(&records::Source::read(file)?)?;
    let left_out = read.left_out;
    let skipped = Skipped {
        too_long: left_out.too_long,
        equal: left_out.equal,
        empty: left_out.empty,
        alone: left_out.alone,
        ..Skipped::default()
    };
    Ok(Laid { rows: read.rows, skipped, labels: data.labels.clone() })
}
