//! Two cells beside each other, of one run or of two: in every metric, and item by item.

use std::path::Path;

use serde::Serialize;

use super::folder;
use super::metric::Metric;
use super::summarise::{Kept, against};
use super::summary::{Against, Summary};
use super::write;
use crate::error::{Error, Result};
use crate::eval::stats::Bootstrap;

/// A cell of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Of<'a> {
    pub dir: &'a Path,
    pub cell: &'a str,
}

/// How one cell differs from another.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    /// One a metric that both have, on the items that both have.
    pub metrics: Vec<Against>,
    /// Items on which the first metric differs, those that differ most first.
    pub flips: Vec<Flip>,
    pub items: usize,
}

/// An item on which two cells differ.
#[derive(Debug, Clone, Serialize)]
pub struct Flip {
    pub item: String,
    pub input: String,
    pub expected: Vec<String>,
    /// What the first cell says, and the second.
    pub outputs: [String; 2],
    pub values: [f64; 2],
}

/// How `ours` differs from `theirs`, in `metric` or in all of them.
///
/// # Errors
/// `NotFound` for a cell that is not there or a metric that neither has, `Mismatch` when they have no item in common.
pub fn compare(ours: &Of, theirs: &Of, metric: Option<Metric>) -> Result<Comparison> {
    let summaries = [write::summary(ours.dir)?, write::summary(theirs.dir)?];
    for (of, summary) in [ours, theirs].into_iter().zip(&summaries) {
        if summary.cell(of.cell).is_none() {
            let cells: Vec<&str> = summary.cells.iter().map(|cell| cell.id.as_str()).collect();
            return Err(Error::not_found(format!("`{}` has no cell `{}`", of.dir.display(), of.cell))
                .hint(format!("its cells: {}", cells.join(", "))));
        }
    }
    let has = |summary: &Summary, name: &str| summary.metrics.iter().any(|metric| metric.name == name);
    let metrics: Vec<Metric> = summaries[0]
        .metrics
        .iter()
        .filter(|one| has(&summaries[1], &one.name))
        .filter_map(|one| one.name.parse().ok())
        .filter(|one| metric.is_none_or(|metric| metric == *one))
        .collect();
    let Some(&first) = metrics.first() else {
        let names: Vec<&str> = summaries[0].metrics.iter().map(|metric| metric.name.as_str()).collect();
        return Err(Error::not_found("the two cells were not measured by that")
            .hint(format!("the first was measured by {}", names.join(", "))));
    };
    let (ours, theirs) = (kept(ours, &metrics)?, kept(theirs, &metrics)?);
    let compared: Vec<Against> = metrics
        .into_iter()
        .filter_map(|metric| against(metric, &ours, &theirs, Bootstrap::default()))
        .collect();
    if compared.is_empty() {
        return Err(Error::mismatch("the two cells have no item in common that worked in both")
            .hint("they have to be of the same data"));
    }
    let (our_figures, their_figures) = (ours.figures(first), theirs.figures(first));
    let mut items = 0;
    let mut flips: Vec<Flip> = Vec::new();
    for (item, figures) in &our_figures {
        let Some(other) = their_figures.get(item) else { continue };
        items += 1;
        let values = [figures.value(), other.value()];
        if values[0] != values[1]
            && let (Some(our), Some(their)) = (ours.items.get(item), theirs.items.get(item))
        {
            flips.push(Flip {
                item: item.clone(),
                input: our.input.clone(),
                expected: our.expected.clone(),
                outputs: [our.output.clone(), their.output.clone()],
                values,
            });
        }
    }
    let apart = |flip: &Flip| (flip.values[0] - flip.values[1]).abs();
    flips.sort_by(|a, b| apart(b).total_cmp(&apart(a)).then(a.item.cmp(&b.item)));
    Ok(Comparison { metrics: compared, flips, items })
}

fn kept(of: &Of, metrics: &[Metric]) -> Result<Kept> {
    let mut kept = Kept::default();
    for row in folder::current(of.dir)? {
        let row = row?;
        if row.cell == of.cell {
            kept.take(row, metrics);
        }
    }
    Ok(kept)
}
