//! What a run comes to: `summary.json`, from which the table on the terminal and the report are made.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::eval::stats::Estimate;

/// The layout of `summary.json`.
pub const FORMAT: u32 = 1;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    pub format: u32,
    pub name: String,
    /// `classify`, `qa`, ...
    pub task: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// When the run began, RFC 3339 in UTC.
    pub started: String,
    /// Wall-clock time that its rows took, over all sessions.
    pub seconds: f64,
    /// Whether every row of every cell is there.
    pub complete: bool,
    pub data: Data,
    /// Those that differ between cells, in the order in which cells name them.
    pub axes: Vec<Axis>,
    /// The first is what cells are ranked and compared by.
    pub metrics: Vec<Metric>,
    /// The cell that the others are compared with.
    pub baseline: String,
    /// In the order of the matrix.
    pub cells: Vec<Cell>,
    /// Assertions over a whole cell or run; those of single rows are counted in the cells.
    pub assertions: Vec<Claim>,
    /// What the run was made with: versions, seed, the experiment file itself.
    pub provenance: BTreeMap<String, Value>,
}

/// What was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Data {
    pub file: String,
    /// Of the file's bytes.
    pub blake3: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split: Option<String>,
    pub items: usize,
}

/// Something that is varied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Axis {
    /// `prompt`, `demos`, `retrieval`, `k`, `model`, `adapter`, `scoring`, `seed`
    pub name: String,
    pub values: Vec<String>,
}

/// Something that is measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metric {
    /// As rows name it: `accuracy`, `BLEU`.
    pub name: String,
    pub unit: Unit,
    pub higher_is_better: bool,
}

/// How to print a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// In `[0, 1]`, printed as a percentage.
    Share,
    /// In `[0, 100]`.
    Points,
    Ms,
    Tokens,
}

/// One combination of what is varied.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// `c01`, ...
    pub id: String,
    /// The value on each axis that differs, by the axis's name.
    pub axes: BTreeMap<String, String>,
    /// Rows that are there, and how many of them failed.
    pub rows: usize,
    pub errors: usize,
    /// Of single rows.
    pub assertions_passed: usize,
    pub assertions_failed: usize,
    /// By name of the metric, with its 95 % interval.
    pub metrics: BTreeMap<String, Estimate>,
    /// How it differs from the baseline in the first metric; `None` for the baseline itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub against: Option<Against>,
}

/// How a cell differs from the baseline, on the rows that both have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Against {
    pub metric: String,
    /// Cell minus baseline, with its 95 % interval.
    pub difference: Estimate,
    /// How often luck alone makes a difference as large: of `test`, then corrected for the number of cells (Holm).
    pub p: f64,
    pub p_holm: f64,
    /// `McNemar` for metrics of 0 and 1, else `paired bootstrap`.
    pub test: String,
    /// Rows on which the cell is better, worse, and the same.
    pub wins: usize,
    pub losses: usize,
    pub ties: usize,
    /// Rows that a difference as large would need to be found with 80 % power; `None` when there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub needed: Option<usize>,
}

/// An assertion over a whole cell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cell: Option<String>,
    /// As a person would say it: `accuracy >= 0.8`.
    pub assertion: String,
    pub passed: bool,
    pub why: String,
}

impl Summary {
    /// How many assertions do not hold, over rows and over cells.
    pub fn failed_assertions(&self) -> usize {
        let of_rows: usize = self.cells.iter().map(|cell| cell.assertions_failed).sum();
        of_rows + self.assertions.iter().filter(|claim| !claim.passed).count()
    }

    /// A cell by its id.
    pub fn cell(&self, id: &str) -> Option<&Cell> {
        self.cells.iter().find(|cell| cell.id == id)
    }
}
