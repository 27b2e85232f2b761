//! Rows -> what they come to: a figure and its interval for each cell and metric, and how each cell differs from the
//! baseline.
//!
//! Rows are read one by one; of each only its numbers are kept. A row that failed counts in no figure, and a comparison
//! looks at the items that both cells have. Repeats of an item are one item: their mean.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use super::figures::Figures;
use super::folder;
use super::matrix;
use super::metric::Metric;
use super::plan::Plan;
use super::rows::Row;
use super::spec::Require;
use super::summary::{Against, Cell, Claim, Data, FORMAT, Summary, Unit};
use crate::error::Result;
use crate::eval::stats::{Bootstrap, holm};

/// What is kept of the rows of one cell.
#[derive(Default)]
pub(super) struct Kept {
    rows: usize,
    errors: usize,
    passed: usize,
    failed: usize,
    /// By item: what each metric needs of its rows.
    pub items: BTreeMap<String, Item>,
}

/// The rows of one item that worked.
#[derive(Default)]
pub(super) struct Item {
    pub input: String,
    pub output: String,
    pub expected: Vec<String>,
    /// Sums over repeats, and how many they are.
    metrics: BTreeMap<Metric, (f64, usize)>,
}

impl Kept {
    pub fn take(&mut self, row: Row, metrics: &[Metric]) {
        self.rows += 1;
        self.passed += row.assertions.iter().filter(|checked| checked.passed).count();
        self.failed += row.assertions.iter().filter(|checked| !checked.passed).count();
        if row.error.is_some() {
            self.errors += 1;
            return;
        }
        let values: Vec<(Metric, f64)> =
            metrics.iter().filter_map(|metric| Some((*metric, metric.of_row(&row)?))).collect();
        let item = self.items.entry(row.item).or_default();
        for (metric, value) in values {
            let (sum, count) = item.metrics.entry(metric).or_default();
            (*sum, *count) = (*sum + value, *count + 1);
        }
        (item.input, item.output, item.expected) = (row.input, row.output, row.expected);
    }

    /// A metric's figures, by item.
    pub fn figures(&self, metric: Metric) -> BTreeMap<String, Figures> {
        let figure = |(id, item): (&'_ String, &'_ Item)| {
            let (sum, count) = item.metrics.get(&metric)?;
            Some((id.clone(), Figures::of(metric, sum / *count as f64, &item.output, &item.expected)))
        };
        self.items.iter().filter_map(figure).collect()
    }
}

impl Plan {
    /// What the rows in `dir` come to.
    ///
    /// # Errors
    /// `Corrupt` for a line that is no row.
    pub fn summarise(
        &self,
        dir: &Path,
        started: &str,
        provenance: BTreeMap<String, Value>,
    ) -> Result<Summary> {
        let mut kept: BTreeMap<&str, Kept> =
            self.cells.iter().map(|cell| (cell.id.as_str(), Kept::default())).collect();
        let mut seconds = 0.0;
        let ids: std::collections::BTreeSet<&str> = self.items.iter().map(|item| item.id.as_str()).collect();
        for row in folder::current(dir)? {
            let row = row?;
            // Rows of cells and items that the experiment had once are left where they are.
            if let Some(kept) = kept.get_mut(row.cell.as_str()).filter(|_| ids.contains(row.item.as_str())) {
                seconds += row.ms / 1e3;
                kept.take(row, &self.metrics);
            }
        }
        let bootstrap = Bootstrap::default();
        let baseline = &kept[self.cells[self.baseline].id.as_str()];
        let first = self.metrics[0];
        let mut cells: Vec<Cell> = self
            .cells
            .iter()
            .map(|cell| {
                let of = &kept[cell.id.as_str()];
                let estimate = |metric: &Metric| {
                    let figures: Vec<Figures> = of.figures(*metric).into_values().collect();
                    (!figures.is_empty())
                        .then(|| (metric.name().to_owned(), metric.estimate(&figures, bootstrap)))
                };
                Cell {
                    id: cell.id.clone(),
                    axes: cell.told(&self.axes),
                    rows: of.rows,
                    errors: of.errors,
                    assertions_passed: of.passed,
                    assertions_failed: of.failed,
                    metrics: self.metrics.iter().filter_map(estimate).collect(),
                    against: None,
                }
            })
            .collect();
        for (at, cell) in cells.iter_mut().enumerate().filter(|(at, _)| *at != self.baseline) {
            cell.against = against(first, &kept[self.cells[at].id.as_str()], baseline, bootstrap);
        }
        let p: Vec<f64> =
            cells.iter().filter_map(|cell| cell.against.as_ref()).map(|against| against.p).collect();
        let corrected = holm(&p);
        cells
            .iter_mut()
            .filter_map(|cell| cell.against.as_mut())
            .zip(corrected)
            .for_each(|(a, p)| a.p_holm = p);
        let rows = self.items.len() * self.experiment.run.repeats;
        Ok(Summary {
            format: FORMAT,
            name: self.experiment.name.clone(),
            task: self.experiment.task.name().to_owned(),
            description: self.experiment.description.clone(),
            started: started.to_owned(),
            seconds: (seconds * 10.0).round() / 10.0,
            complete: cells.iter().all(|cell| cell.rows >= rows),
            data: Data {
                file: self.experiment.data.file.display().to_string(),
                blake3: self.hashes.0.clone(),
                split: self.experiment.data.split.clone(),
                items: self.items.len(),
            },
            axes: self.axes.clone(),
            metrics: self.metrics.iter().map(|metric| metric.described()).collect(),
            baseline: self.cells[self.baseline].id.clone(),
            assertions: self.claims(&cells),
            cells,
            provenance,
        })
    }

    /// What has to hold of whole cells, held against them.
    fn claims(&self, cells: &[Cell]) -> Vec<Claim> {
        let mut claims = Vec::new();
        for require in &self.experiment.requires {
            for (cell, of) in cells.iter().zip(&self.cells) {
                if matrix::has_all(&of.values, &require.of) {
                    claims.push(claim(require, cell));
                }
            }
        }
        claims
    }

    /// What the summary says of how it was made.
    pub fn provenance(&self, file: &str) -> BTreeMap<String, Value> {
        let cells: BTreeMap<&str, &BTreeMap<String, String>> =
            self.cells.iter().map(|cell| (cell.id.as_str(), &cell.values)).collect();
        let templates: BTreeMap<String, Value> = self
            .cells
            .iter()
            .map(|cell| {
                let template = self.template(cell);
                (cell.values["prompt"].clone(), json!({ "id": template.id(), "version": template.version() }))
            })
            .collect();
        BTreeMap::from([
            ("incontext".to_owned(), json!(env!("CARGO_PKG_VERSION"))),
            ("experiment".to_owned(), json!(file)),
            ("cells".to_owned(), json!(cells)),
            ("templates".to_owned(), json!(templates)),
            ("pool".to_owned(), json!(self.hashes.1)),
            ("bootstrap".to_owned(), json!(Bootstrap::default())),
        ])
    }
}

fn claim(require: &Require, cell: &Cell) -> Claim {
    let metric = require.metric.name();
    let mut bounds = Vec::new();
    bounds.extend(require.at_least.map(|bound| format!("{metric} >= {bound}")));
    bounds.extend(require.at_most.map(|bound| format!("{metric} <= {bound}")));
    let value = cell.metrics.get(metric).map(|estimate| estimate.mean);
    let holds = |value: f64| {
        require.at_least.is_none_or(|bound| value >= bound)
            && require.at_most.is_none_or(|bound| value <= bound)
    };
    let why = match value {
        Some(value) => format!("it is {}", shown(value, require.metric)),
        None => "no row of the cell has it".to_owned(),
    };
    Claim {
        cell: Some(cell.id.clone()),
        assertion: bounds.join(" and "),
        passed: value.is_some_and(holds),
        why,
    }
}

fn shown(value: f64, metric: Metric) -> String {
    match metric.described().unit {
        Unit::Share => format!("{value:.3}"),
        _ => format!("{value:.1}"),
    }
}

/// How `cell` differs from `baseline` on the items that both have; `None` when there are none.
pub(super) fn against(metric: Metric, cell: &Kept, baseline: &Kept, bootstrap: Bootstrap) -> Option<Against> {
    let (cell, baseline) = (cell.figures(metric), baseline.figures(metric));
    let both = cell.into_iter().filter_map(|(id, figures)| Some((figures, baseline.get(&id)?.clone())));
    let (ours, theirs): (Vec<Figures>, Vec<Figures>) = both.unzip();
    if ours.is_empty() {
        return None;
    }
    let up = if metric.described().higher_is_better { 1.0 } else { -1.0 };
    let count = |is: &dyn Fn(f64) -> bool| {
        ours.iter().zip(&theirs).filter(|(ours, theirs)| is((ours.value() - theirs.value()) * up)).count()
    };
    let apart = metric.apart(&ours, &theirs, bootstrap);
    Some(Against {
        metric: metric.name().to_owned(),
        difference: apart.estimate,
        p: apart.p,
        p_holm: apart.p,
        test: apart.test.to_owned(),
        wins: count(&|difference| difference > 0.0),
        losses: count(&|difference| difference < 0.0),
        ties: count(&|difference| difference == 0.0),
        needed: apart.needed,
    })
}
