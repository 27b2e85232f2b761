//! Successive halving over the cells of a plan.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::spec;
use crate::error::{Error, Result};
use crate::eval::stats::{Bootstrap, Estimate};
use crate::experiment::bench::{Bench, Vectors};
use crate::experiment::cache::Cache;
use crate::experiment::figures::Figures;
use crate::experiment::metric::Metric;
use crate::experiment::plan::Plan;
use crate::generate::Generator;
use crate::random::SplitMix;

/// Rows that say anything about a candidate at all.
const FEWEST_ROWS: usize = 8;

/// When so many rows fail at the beginning and none works, the others would fail too.
const HOPELESS: usize = 10;

/// A search that is under way.
pub struct Search<'a> {
    plan: &'a Plan,
    generator: (&'a Generator, &'a str),
    cache: &'a Cache,
    vectors: &'a Vectors,
    metric: Metric,
    /// Rows of `dev`, in the order in which candidates answer them.
    order: Vec<usize>,
    /// What each cell left on the rows that it has answered; `None` for a row that failed.
    figures: Vec<Vec<Option<Figures>>>,
    asked: usize,
    budget: usize,
    deadline: Instant,
    worked: bool,
}

/// What a person may follow.
#[derive(Debug, Clone, Copy)]
pub enum Progress {
    /// So many candidates answer so many rows each.
    Round { candidates: usize, rows: usize },
    /// A candidate has.
    Tried,
}

/// How far a candidate came.
#[derive(Debug, Clone, Serialize)]
pub struct Candidate {
    /// Of the plan's cells.
    #[serde(skip)]
    pub cell: usize,
    pub rows: usize,
    pub value: f64,
}

/// What a search found.
#[derive(Debug, Clone)]
pub struct Found {
    /// The cell that is best on `dev`; 0, the start, when nothing is better.
    pub winner: usize,
    /// The start and the winner on the rows that both answered.
    pub start: Estimate,
    pub best: Estimate,
    pub rows: usize,
    /// Those that answered most, best first.
    pub standing: Vec<Candidate>,
    pub tried: usize,
    /// Candidates for which the budget had no room.
    pub untried: usize,
    pub asked: usize,
    /// Why it ended before its last round, if it did.
    pub stopped: Option<&'static str>,
}

impl<'a> Search<'a> {
    /// A search over the cells of `plan`; `reserved` answers of the budget are kept for the test.
    pub fn new(
        plan: &'a Plan,
        generator: (&'a Generator, &'a str),
        (cache, vectors): (&'a Cache, &'a Vectors),
        search: &spec::Search,
        reserved: usize,
    ) -> Result<Self> {
        let mut order: Vec<usize> = (0..plan.items.len()).collect();
        SplitMix::new(search.seed, 0).shuffle(&mut order);
        let least = reserved + 2 * FEWEST_ROWS.min(order.len());
        if search.calls < least {
            return Err(Error::invalid(format!(
                "a budget of {} calls is too small: testing the start and the winner takes {reserved}",
                search.calls
            ))
            .hint(format!("at least {least} `calls`, or a smaller `limit` under [test]")));
        }
        Ok(Self {
            plan,
            generator,
            cache,
            vectors,
            metric: plan.metrics[0],
            order,
            figures: vec![Vec::new(); plan.cells.len()],
            asked: 0,
            budget: search.calls - reserved,
            deadline: Instant::now() + Duration::from_secs_f64(search.minutes * 60.0),
            worked: false,
        })
    }

    /// Searches until one is left beside the start, or the budget is spent.
    ///
    /// # Errors
    /// What keeps the model from being asked at all.
    pub fn run(mut self, seed: u64, stop: &dyn Fn() -> bool, on: &mut dyn FnMut(Progress)) -> Result<Found> {
        let all = self.order.len();
        let (mut alive, mut rows) = self.first_round(seed);
        let tried = alive.len();
        let mut compared = 0;
        let mut stopped = None;
        loop {
            on(Progress::Round { candidates: alive.len(), rows });
            for &cell in &alive {
                stopped = self.answer(cell, rows, stop)?;
                if stopped.is_some() {
                    break;
                }
                on(Progress::Tried);
            }
            if stopped.is_some() {
                break;
            }
            compared = rows;
            if rows == all {
                break;
            }
            self.rank(&mut alive, compared);
            alive.truncate(alive.len().div_ceil(2).max(2));
            if !alive.contains(&0) {
                alive.push(0);
            }
            // The start answers first: if the budget ends in a round, it is known how it did.
            alive.sort_by_key(|&cell| cell != 0);
            rows = if alive.len() <= 2 { all } else { (2 * rows).min(all) };
        }
        self.rank(&mut alive, compared);
        let winner = alive.first().copied().unwrap_or(0);
        let estimate = |cell: usize| self.metric.estimate(&self.known(cell, compared), Bootstrap::default());
        let candidate = |&cell: &usize| Candidate { cell, rows: compared, value: self.value(cell, compared) };
        Ok(Found {
            winner,
            start: estimate(0),
            best: estimate(winner),
            rows: compared,
            standing: alive.iter().map(candidate).collect(),
            tried,
            untried: self.plan.cells.len() - tried,
            asked: self.asked,
            stopped,
        })
    }

    /// As many candidates as the budget has room for, and the rows that each answers first.
    fn first_round(&self, seed: u64) -> (Vec<usize>, usize) {
        let all = self.order.len();
        let rows = |candidates: usize| {
            let rounds = (candidates.max(2) as f64).log2().ceil();
            // Each further round asks half as many candidates for as many rows again; two answer all.
            let share = candidates as f64 * (1.0 + rounds / 2.0);
            (self.budget.saturating_sub(2 * all) as f64 / share) as usize
        };
        let mut candidates: Vec<usize> = (1..self.plan.cells.len()).collect();
        SplitMix::new(seed, 1).shuffle(&mut candidates);
        let fewest = FEWEST_ROWS.min(all);
        while candidates.len() > 1 && rows(candidates.len() + 1) < fewest {
            candidates.pop();
        }
        candidates.sort_unstable();
        candidates.insert(0, 0);
        let first = rows(candidates.len()).clamp(fewest, all);
        (candidates, first)
    }

    /// Has `cell` answer the first `rows` rows. Returns why it could not, if so.
    fn answer(&mut self, cell: usize, rows: usize, stop: &dyn Fn() -> bool) -> Result<Option<&'static str>> {
        let from = self.figures[cell].len();
        if from >= rows {
            return Ok(None);
        }
        let mut bench =
            Bench::new(self.plan, &self.plan.cells[cell], self.generator, self.vectors, self.cache);
        bench.share_head(&self.order[from..rows])?;
        for &item in &self.order[from..rows] {
            if stop() {
                return Ok(Some("it was interrupted"));
            }
            if self.asked >= self.budget {
                return Ok(Some("the calls were spent"));
            }
            if Instant::now() > self.deadline {
                return Ok(Some("the time was up"));
            }
            let row = bench.row(item, 0);
            self.asked += 1;
            let value = row.metrics.get(self.metric.name()).filter(|_| row.error.is_none());
            let figure = value.map(|&value| Figures::of(self.metric, value, &row.output, &row.expected));
            self.worked |= figure.is_some();
            if let Some(error) = row.error.filter(|_| !self.worked && self.asked >= HOPELESS) {
                return Err(Error::invalid(format!(
                    "the first {HOPELESS} answers all failed; the last: {error}"
                )));
            }
            self.figures[cell].push(figure);
        }
        Ok(None)
    }

    fn known(&self, cell: usize, rows: usize) -> Vec<Figures> {
        self.figures[cell].iter().take(rows).flatten().cloned().collect()
    }

    fn value(&self, cell: usize, rows: usize) -> f64 {
        self.metric.estimate(&self.known(cell, rows), Bootstrap { resamples: 1, seed: 0 }).mean
    }

    /// Best first on the first `rows` rows; of equals the start, then the one that was listed first.
    fn rank(&self, cells: &mut [usize], rows: usize) {
        let up = if self.metric.described().higher_is_better { 1.0 } else { -1.0 };
        let mut valued: Vec<(f64, usize)> =
            cells.iter().map(|&cell| (up * self.value(cell, rows), cell)).collect();
        valued.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        cells.iter_mut().zip(valued).for_each(|(cell, (_, ranked))| *cell = ranked);
    }
}
