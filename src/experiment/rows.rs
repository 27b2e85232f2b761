//! What came of one row of the data in one cell of the matrix: a line of `rows.jsonl`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A line of `rows.jsonl`. What is not known, or was not asked for, is left out of the line.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Row {
    /// Of the cell, as in `summary.json`: `c01`.
    pub cell: String,
    /// Of the row of the data.
    pub item: String,
    /// From 0; more than one only where answers are drawn.
    #[serde(skip_serializing_if = "is_zero")]
    pub repeat: usize,
    pub input: String,
    /// Any of them is right.
    pub expected: Vec<String>,
    pub output: String,
    /// Why there is no output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// By name of the metric: 0 or 1, a share, or a number in the metric's unit.
    pub metrics: BTreeMap<String, f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<Asked>,
    /// Log-probability of each label, where labels were scored.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, f64>,
    /// What was retrieved, best first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub passages: Vec<Retrieved>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub assertions: Vec<Checked>,
    pub ms: f64,
    /// Read and written.
    pub tokens: [usize; 2],
    /// Whether the answer came out of the cache.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cached: bool,
}

/// A prompt, as the model read it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Asked {
    pub text: String,
    pub tokens: usize,
    /// Ids of the demonstrations, in the order shown.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub demos: Vec<String>,
    /// What did not fit the window, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropped: Option<String>,
}

/// A passage that was retrieved.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Retrieved {
    /// Path and lines.
    pub place: String,
    pub score: f32,
    /// Whether the data says that it belongs to the question; `None` where it does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relevant: Option<bool>,
}

/// An assertion, held against an output.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Checked {
    /// As a person would say it: ``contains `Paris` ``.
    pub assertion: String,
    pub passed: bool,
    pub why: String,
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}
