//! What the outputs of a cell come to, and how two cells differ.
//!
//! Most metrics are means over rows. BLEU and chrF are of a corpus, macro-F1 and refusal F1 of all decisions together: for
//! these, a row's own number is only there to look at. A row that failed has no number and counts in none; how many failed
//! stands beside.

use std::ops::AddAssign;

use super::metric::Metric;
use crate::eval::stats::paired::{McNemar, needed};
use crate::eval::stats::{Bootstrap, Difference, Estimate};
use crate::eval::{bleu, chrf, classes};

/// What a metric keeps of an item: its value, and what a figure of all items together needs besides.
#[derive(Debug, Clone)]
pub enum Figures {
    Mean(f64),
    Bleu(f64, bleu::Counts),
    ChrF(f64, chrf::Counts),
    /// What it is of, and what was said.
    Class(f64, String, String),
    Refusal(f64, Refusals),
}

/// Answers that were refused, that should have been, and both.
#[derive(Debug, Clone, Copy, Default)]
pub struct Refusals {
    refused: usize,
    unanswerable: usize,
    rightly: usize,
}

impl AddAssign<&Self> for Refusals {
    fn add_assign(&mut self, other: &Self) {
        self.refused += other.refused;
        self.unanswerable += other.unanswerable;
        self.rightly += other.rightly;
    }
}

impl Refusals {
    /// 1 when nothing was to be refused and nothing was.
    fn f1(&self) -> f64 {
        match self.refused + self.unanswerable {
            0 => 1.0,
            both => 2.0 * self.rightly as f64 / both as f64,
        }
    }
}

/// How two cells differ.
pub struct Apart {
    pub estimate: Estimate,
    pub p: f64,
    pub test: &'static str,
    pub needed: Option<usize>,
}

impl Figures {
    /// Of an item whose value is `value`.
    pub fn of(metric: Metric, value: f64, said: &str, known: &[String]) -> Self {
        match metric {
            Metric::Bleu => Self::Bleu(value, bleu::Counts::of(said, known, bleu::Tokenizer::default())),
            Metric::ChrF => Self::ChrF(value, chrf::Counts::of(said, known)),
            Metric::MacroF1 => {
                let gold = known.iter().find(|known| known.trim() == said.trim()).or(known.first());
                Self::Class(value, gold.cloned().unwrap_or_default(), said.trim().to_owned())
            }
            Metric::RefusalF1 => {
                let unanswerable = known.is_empty();
                // The value says whether it was refused rightly, or rightly not.
                let refused = (value == 1.0) == unanswerable;
                let count = usize::from;
                Self::Refusal(
                    value,
                    Refusals {
                        refused: count(refused),
                        unanswerable: count(unanswerable),
                        rightly: count(refused && unanswerable),
                    },
                )
            }
            _ => Self::Mean(value),
        }
    }

    pub fn value(&self) -> f64 {
        match self {
            Self::Mean(value)
            | Self::Bleu(value, _)
            | Self::ChrF(value, _)
            | Self::Class(value, ..)
            | Self::Refusal(value, _) => *value,
        }
    }
}

/// The parts of one kind.
macro_rules! parts {
    ($figures:expr, $variant:ident) => {
        $figures
            .iter()
            .filter_map(|one| match one {
                Figures::$variant(_, part) => Some(part.clone()),
                _ => None,
            })
            .collect::<Vec<_>>()
    };
}

impl Metric {
    /// What items come to, with its interval.
    pub fn estimate(self, figures: &[Figures], bootstrap: Bootstrap) -> Estimate {
        match self {
            Self::Bleu => bootstrap.figure(&parts!(figures, Bleu), bleu::Counts::score),
            Self::ChrF => bootstrap.figure(&parts!(figures, ChrF), chrf::Counts::score),
            Self::RefusalF1 => bootstrap.figure(&parts!(figures, Refusal), Refusals::f1),
            Self::MacroF1 => bootstrap.figure(&decisions(figures), classes::Counts::macro_f1),
            Self::Ms | Self::Tokens => {
                let values = values(figures);
                match values.first() {
                    // No share: nothing is unknown about what is always the same.
                    Some(&mean) if values.iter().all(|value| *value == mean) => {
                        Estimate { mean, low: mean, high: mean }
                    }
                    _ => bootstrap.mean(&values),
                }
            }
            _ => bootstrap.mean(&values(figures)),
        }
    }

    /// How much more `ours` come to than `theirs`, items in one order.
    pub fn apart(self, ours: &[Figures], theirs: &[Figures], bootstrap: Bootstrap) -> Apart {
        let of_all = |difference: Difference| Apart {
            estimate: difference.estimate,
            p: difference.p,
            test: BOOTSTRAP,
            needed: difference.needed(ours.len()).map(|needed| needed as usize),
        };
        match self {
            Self::Bleu => {
                let (ours, theirs) = (parts!(ours, Bleu), parts!(theirs, Bleu));
                of_all(bootstrap.figures_apart(&ours, &theirs, bleu::Counts::score))
            }
            Self::ChrF => {
                let (ours, theirs) = (parts!(ours, ChrF), parts!(theirs, ChrF));
                of_all(bootstrap.figures_apart(&ours, &theirs, chrf::Counts::score))
            }
            Self::RefusalF1 => {
                let (ours, theirs) = (parts!(ours, Refusal), parts!(theirs, Refusal));
                of_all(bootstrap.figures_apart(&ours, &theirs, Refusals::f1))
            }
            Self::MacroF1 => {
                // One numbering of classes for both sides.
                let both = decisions(&[ours, theirs].concat());
                let (ours, theirs) = both.split_at(ours.len());
                of_all(bootstrap.figures_apart(ours, theirs, classes::Counts::macro_f1))
            }
            _ => {
                let (ours, theirs) = (values(ours), values(theirs));
                let difference = bootstrap.difference(&ours, &theirs);
                let exact = McNemar::of(&ours, &theirs);
                Apart {
                    estimate: difference.estimate,
                    p: exact.map_or(difference.p, |exact| exact.p),
                    test: if exact.is_some() { "McNemar" } else { BOOTSTRAP },
                    needed: needed(&ours, &theirs).map(|needed| needed as usize),
                }
            }
        }
    }
}

const BOOTSTRAP: &str = "paired bootstrap";

fn values(figures: &[Figures]) -> Vec<f64> {
    figures.iter().map(Figures::value).collect()
}

fn decisions(figures: &[Figures]) -> Vec<classes::Item> {
    let pairs: Vec<(&str, &str)> = figures
        .iter()
        .filter_map(|one| match one {
            Figures::Class(_, gold, said) => Some((gold.as_str(), said.as_str())),
            _ => None,
        })
        .collect();
    classes::items(&pairs).1
}
