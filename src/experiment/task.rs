//! What an experiment is about, and what follows from it: the usual metrics, and which axes mean something.

use serde::{Deserialize, Serialize};

use super::metric::Metric;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// Questions, answered from a collection.
    Qa,
    /// One of a few labels.
    Classify,
    /// A JSON object from a text.
    Extract,
    Translate,
    /// Any other text.
    Generate,
}

impl Task {
    pub fn name(self) -> &'static str {
        match self {
            Self::Qa => "qa",
            Self::Classify => "classify",
            Self::Extract => "extract",
            Self::Translate => "translate",
            Self::Generate => "generate",
        }
    }

    /// What is measured unless the experiment says.
    pub fn metrics(self) -> Vec<Metric> {
        use Metric as M;
        match self {
            Self::Qa => vec![M::Contains, M::F1, M::ExactMatch, M::Grounded, M::RefusalF1],
            Self::Classify => vec![M::Accuracy, M::MacroF1],
            Self::Extract => vec![M::FieldF1, M::JsonValid],
            Self::Translate => vec![M::Bleu, M::ChrF],
            Self::Generate => vec![M::RougeL, M::ExactMatch],
        }
    }

    /// Axes that only other tasks have.
    pub fn lacks(self) -> &'static [&'static str] {
        match self {
            Self::Qa => &["scoring", "calibration"],
            Self::Classify => &["retrieval", "k", "answer"],
            _ => &["retrieval", "k", "answer", "scoring", "calibration"],
        }
    }
}
