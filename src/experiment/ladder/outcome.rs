//! What a climb comes to: each rung's score and cost, how it differs from the one below and from the best, and the advice.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::advice;
use super::climb::{Climb, Planned};
use super::cost::{Cost, Costs};
use super::snapshot::Remark;
use crate::error::Result;
use crate::eval::stats::{Bootstrap, Estimate, SIGNIFICANT, holm};
use crate::experiment::axis::NO_ADAPTER;
use crate::experiment::folder;
use crate::experiment::plan::Plan;
use crate::experiment::summarise::{Kept, against};
use crate::experiment::summary::{Against, Metric};

/// The layout of `outcome.json`.
pub const FORMAT: u32 = 1;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    pub format: u32,
    pub name: String,
    pub description: Option<String>,
    pub task: String,
    /// What rungs are compared by.
    pub metric: Metric,
    /// Rows that were learned from and asked.
    pub training_rows: usize,
    pub test_rows: usize,
    /// Whose answering counts into a rung's cost.
    pub queries: usize,
    /// Of the machine; an answer takes all of them.
    pub cores: usize,
    /// In the order of the file; those of the curve last.
    pub steps: Vec<Step>,
    /// What to know of the rows before believing a figure.
    pub remarks: Vec<String>,
    /// What a careful person would say from the table, with the reason.
    pub advice: String,
    pub complete: bool,
    pub provenance: BTreeMap<String, Value>,
}

/// A rung.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    pub name: String,
    /// As the file has it: `encoder lora`.
    pub rung: String,
    pub model: String,
    /// Rows that it learned from.
    pub rows: usize,
    pub of_curve: bool,
    pub state: State,
    /// Rows without an answer, which are in no score, and why the first has none.
    #[serde(default)]
    pub unanswered: usize,
    #[serde(default)]
    pub why: Option<String>,
    /// In the comparison's metric.
    pub score: Option<Estimate>,
    /// By name, the score among them.
    pub metrics: BTreeMap<String, Estimate>,
    /// How it differs from the rung below; none for the lowest, and for those of the curve.
    pub below: Option<Against>,
    /// How it differs from the best rung; none for that one, and for those of the curve.
    pub best: Option<Against>,
    /// Of its training; none for a prompt.
    pub cost: Option<Cost>,
    /// Milliseconds that an answer takes: the median.
    pub query_ms: Option<f64>,
    /// Core-seconds of training and of answering the queries.
    pub total_core_seconds: Option<f64>,
    /// Whether nothing that costs less scores as high.
    pub frontier: bool,
    /// Where what was trained lies.
    pub adapter: Option<PathBuf>,
}

/// How far it came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is", content = "why")]
pub enum State {
    Measured,
    /// Rows, or the training, are still missing.
    Missing,
    Failed(String),
    /// It was not begun: why.
    LeftOut(String),
}

impl Step {
    /// Whether it differs from the rung below, or from the best, by more than luck explains.
    pub fn is_apart(against: Option<&Against>) -> bool {
        against.is_some_and(|against| against.p_holm < SIGNIFICANT)
    }

    pub fn is_measured(&self) -> bool {
        self.state == State::Measured && self.score.is_some()
    }
}

/// What there is to sum up.
pub struct Found<'a> {
    pub climb: &'a Climb,
    /// The experiment of the rungs that could be asked, if there were any, with the folder of its rows.
    pub plan: Option<&'a Plan>,
    pub costs: &'a Costs,
    /// By name of the rung: why it was not begun.
    pub left_out: &'a BTreeMap<String, String>,
    pub adapters: PathBuf,
    pub cores: usize,
}

/// What the rows of one rung come to.
#[derive(Default)]
struct Rows {
    kept: Kept,
    ms: Vec<f64>,
    rows: usize,
    failed: usize,
    why: Option<String>,
}

impl Found<'_> {
    /// # Errors
    /// `Corrupt` for a line that is no row.
    pub fn outcome(&self) -> Result<Outcome> {
        let climb = self.climb;
        let metrics = climb.task.metrics();
        let metric = metrics[0];
        let mut rows = match self.plan {
            Some(plan) => self.rows(plan)?,
            None => BTreeMap::new(),
        };
        let bootstrap = Bootstrap::default();
        let mut steps = Vec::new();
        let mut kept: Vec<Option<Kept>> = Vec::new();
        for planned in &climb.rungs {
            let cell = self.plan.and_then(|plan| climb.cell(planned, plan));
            let of = cell.and_then(|cell| rows.remove(&cell.id));
            let step = self.step(planned, of.as_ref());
            kept.push(of.map(|of| of.kept).filter(|_| step.is_measured()));
            steps.push(step);
        }
        let score = |step: &Step| step.score.map_or(f64::NEG_INFINITY, |score| score.mean);
        let ladder: Vec<usize> =
            (0..steps.len()).filter(|at| steps[*at].is_measured() && !steps[*at].of_curve).collect();
        // The first of equals.
        let best =
            ladder.iter().copied().rev().max_by(|a, b| score(&steps[*a]).total_cmp(&score(&steps[*b])));
        let compared = |at: usize, other: usize| {
            let (ours, theirs) = (kept[at].as_ref()?, kept[other].as_ref()?);
            against(metric, ours, theirs, bootstrap)
        };
        let below: Vec<(usize, Option<Against>)> =
            ladder.windows(2).map(|pair| (pair[1], compared(pair[1], pair[0]))).collect();
        for (at, against) in corrected(below) {
            steps[at].below = against;
        }
        if let Some(best) = best {
            let others = ladder.iter().copied().filter(|at| *at != best);
            for (at, against) in corrected(others.map(|at| (at, compared(at, best))).collect()) {
                steps[at].best = against;
            }
        }
        mark_frontier(&mut steps);
        let complete = steps.iter().all(|step| matches!(step.state, State::Measured | State::LeftOut(_)));
        let mut outcome = Outcome {
            format: FORMAT,
            name: climb.task.name.clone(),
            description: climb.task.description.clone(),
            task: climb.task.task.name().to_owned(),
            metric: metric.described(),
            training_rows: climb.snapshot.rows,
            test_rows: climb.snapshot.asked,
            queries: climb.task.queries,
            cores: self.cores,
            steps,
            remarks: climb.snapshot.remarks.iter().map(Remark::to_string).collect(),
            advice: String::new(),
            complete,
            provenance: BTreeMap::from([
                ("incontext".to_owned(), json!(env!("CARGO_PKG_VERSION"))),
                ("comparison".to_owned(), json!(climb.task)),
                ("training rows".to_owned(), json!(climb.snapshot.hash)),
                ("test rows".to_owned(), json!(self.plan.map(|plan| &plan.hashes.0))),
                ("bootstrap".to_owned(), json!(bootstrap)),
            ]),
        };
        outcome.advice = advice::of(&outcome);
        Ok(outcome)
    }

    /// By id of the cell.
    fn rows(&self, plan: &Plan) -> Result<BTreeMap<String, Rows>> {
        let mut all: BTreeMap<String, Rows> =
            plan.cells.iter().map(|cell| (cell.id.clone(), Rows::default())).collect();
        let items: std::collections::BTreeSet<&str> =
            plan.items.iter().map(|item| item.id.as_str()).collect();
        for row in folder::current(&self.climb.dir)? {
            let row = row?;
            let Some(of) = all.get_mut(&row.cell).filter(|_| items.contains(row.item.as_str())) else {
                continue;
            };
            of.rows += 1;
            match &row.error {
                Some(error) => {
                    of.failed += 1;
                    of.why.get_or_insert_with(|| error.clone());
                }
                None => of.ms.push(row.ms),
            }
            of.kept.take(row, &plan.metrics);
        }
        Ok(all)
    }

    fn step(&self, planned: &Planned, rows: Option<&Rows>) -> Step {
        let climb = self.climb;
        let entry = planned.order.as_ref().and_then(|order| self.costs.of(order));
        let cost = planned.order.as_ref().and_then(|order| self.costs.whole(order));
        let failed = entry.and_then(|entry| entry.error.clone());
        let state = match (self.left_out.get(&planned.name), failed, rows) {
            (_, Some(why), _) => State::Failed(why),
            (_, _, Some(rows)) if rows.rows > 0 && rows.failed == rows.rows => {
                State::Failed(rows.why.clone().unwrap_or_default())
            }
            (_, _, Some(rows)) if rows.rows >= climb.snapshot.asked => State::Measured,
            (Some(why), ..) => State::LeftOut(why.clone()),
            _ => State::Missing,
        };
        let measured = rows.filter(|_| state == State::Measured);
        let bootstrap = Bootstrap::default();
        let mut metrics = BTreeMap::new();
        for metric in climb.task.metrics() {
            let figures: Vec<_> =
                measured.map(|rows| rows.kept.figures(metric).into_values().collect()).unwrap_or_default();
            if !figures.is_empty() {
                metrics.insert(metric.name().to_owned(), metric.estimate(&figures, bootstrap));
            }
        }
        let query_ms = measured.and_then(|rows| median(&rows.ms));
        let answering = query_ms.map(|ms| ms / 1e3 * climb.task.queries as f64 * self.cores as f64);
        let training = cost.as_ref().map_or(0.0, |cost| cost.core_seconds);
        let is_trained = planned.adapter != NO_ADAPTER && cost.is_some();
        Step {
            name: planned.name.clone(),
            rung: planned.rung.to_string(),
            model: climb.model(planned).to_owned(),
            rows: planned.rows,
            of_curve: planned.of_curve,
            score: metrics.get(climb.task.metrics()[0].name()).copied(),
            unanswered: measured.map_or(0, |rows| rows.failed),
            why: measured.and_then(|rows| rows.why.clone()),
            state,
            metrics,
            below: None,
            best: None,
            cost,
            query_ms,
            total_core_seconds: answering.map(|answering| answering + training),
            frontier: false,
            adapter: is_trained.then(|| self.adapters.join(&planned.adapter)),
        }
    }
}

/// Corrected for how many there are (Holm).
fn corrected(mut all: Vec<(usize, Option<Against>)>) -> Vec<(usize, Option<Against>)> {
    let p: Vec<f64> = all.iter().filter_map(|(_, against)| Some(against.as_ref()?.p)).collect();
    let mut holm = holm(&p).into_iter();
    for against in all.iter_mut().filter_map(|(_, against)| against.as_mut()) {
        against.p_holm = holm.next().unwrap_or(against.p);
    }
    all
}

/// Marks the rungs that no cheaper or equally cheap one reaches.
fn mark_frontier(steps: &mut [Step]) {
    let places: Vec<(usize, f64, f64)> = steps
        .iter()
        .enumerate()
        .filter(|(_, step)| !step.of_curve)
        .filter_map(|(at, step)| Some((at, step.total_core_seconds?, step.score?.mean)))
        .collect();
    for &(at, cost, score) in &places {
        let beaten = places.iter().any(|&(other, its_cost, its_score)| {
            other != at && its_cost <= cost && its_score >= score && (its_cost < cost || its_score > score)
        });
        steps[at].frontier = !beaten;
    }
}

fn median(values: &[f64]) -> Option<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => None,
        length if length % 2 == 1 => Some(values[length / 2]),
        length => Some((values[length / 2 - 1] + values[length / 2]) / 2.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::ladder::advice::tests::step;

    #[test]
    fn the_frontier_is_what_nothing_cheaper_reaches() {
        let mut steps = vec![
            step("zero-shot", 0.4, 10.0),
            step("few-shot", 0.3, 30.0),
            step("features", 0.8, 12.0),
            step("forest", 0.8, 13.0),
            step("full", 0.9, 500.0),
        ];
        mark_frontier(&mut steps);
        let marks: Vec<bool> = steps.iter().map(|step| step.frontier).collect();
        assert_eq!(marks, [true, false, true, false, true]);
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }
}
