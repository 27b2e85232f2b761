//! The loop: model after model, cell after cell, row after row; whatever is there already is passed over.
//!
//! A model is loaded once for all its cells. A model of this machine answers one row at a time, with all cores; an endpoint
//! is asked by several threads. Rows go to the disk as they come, so a run may be stopped at any time and goes on where it
//! was.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;

use super::axis::{Answer, NO_ADAPTER};
use super::bench::{Bench, Vectors, Weighed};
use super::cache::Cache;
use super::documents::Library;
use super::folder::{self, Folder, Place};
use super::matrix::Cell;
use super::metric::Metric;
use super::plan::{Plan, Resources};
use super::rows::Row;
use super::task::Task;
use crate::error::{Error, Result};
use crate::generate::labels;
use crate::generate::{Generator, Scripted};

/// When so many rows fail at the beginning and none works, the others would fail too.
const HOPELESS: usize = 10;

/// A run of a plan.
pub struct Run<'a> {
    pub plan: &'a Plan,
    pub resources: &'a dyn Resources,
    pub folder: &'a mut Folder,
    pub cache: &'a Cache,
    /// Whether rows that failed before are made again.
    pub retry: bool,
}

/// What a person may follow.
pub enum Progress<'a> {
    /// So many rows, of which so many are there already.
    Rows {
        all: usize,
        there: usize,
    },
    /// A model is about to be loaded.
    Loading(&'a str),
    Row(&'a Row),
}

/// A row that is still to do: a cell, an item, a repeat.
#[derive(Clone, Copy)]
struct Job {
    cell: usize,
    item: usize,
    repeat: usize,
}

impl Plan {
    /// Gives each cell the key of its rows and the id under which the folder has them.
    ///
    /// # Errors
    /// `NotFound` for a model that is not there, and as the folder fails.
    pub fn settle(&mut self, resources: &dyn Resources, folder: &Folder) -> Result<()> {
        let reward = match &self.experiment.run.reward {
            Some(name) => resources.fingerprint("", name)?,
            None => String::new(),
        };
        let key = |cell: &Cell| {
            let model = resources.fingerprint(&cell.model, &cell.adapter)?;
            Ok(self.key(cell, &(model + &reward)))
        };
        let keys: Vec<String> = self.cells.iter().map(key).collect::<Result<_>>()?;
        let twice = (1..keys.len()).find(|&at| keys[..at].contains(&keys[at]));
        if let Some(at) = twice {
            let what = format!("the cells {:?} and others are the same", self.cells[at].values);
            return Err(Error::invalid(what)
                .hint("two prompts may have the same text under two names: leave one out"));
        }
        for (cell, id) in self.cells.iter_mut().zip(folder.ids(&keys)?) {
            cell.id = id;
        }
        Ok(())
    }
}

impl Run<'_> {
    /// Makes the rows that are missing. `stop` is asked between rows. Returns whether all are there.
    ///
    /// # Errors
    /// What keeps a model from being asked at all, a full disk; what is wrong with one row is said in that row.
    pub fn run(&mut self, stop: &(dyn Fn() -> bool + Sync), on: &mut dyn FnMut(Progress)) -> Result<bool> {
        let plan = self.plan;
        let there = self.there()?;
        let repeats = plan.experiment.run.repeats;
        let mut jobs = Vec::new();
        for (cell, of) in plan.cells.iter().enumerate() {
            for (item, example) in plan.items.iter().enumerate() {
                let missing =
                    (0..repeats).filter(|&n| !there.contains(&(of.id.clone(), example.id.clone(), n)));
                jobs.extend(missing.map(|repeat| Job { cell, item, repeat }));
            }
        }
        let all = plan.cells.len() * plan.items.len() * repeats;
        on(Progress::Rows { all, there: all - jobs.len() });
        let mut models: Vec<(&str, &str)> = Vec::new();
        for cell in &plan.cells {
            if !models.contains(&(&cell.model, &cell.adapter)) {
                models.push((&cell.model, &cell.adapter));
            }
        }
        let vectors = Vectors::of(plan, jobs.iter().map(|job| &plan.cells[job.cell]), self.resources)?;
        for (model, adapter) in models {
            let of =
                |job: &&Job| plan.cells[job.cell].model == model && plan.cells[job.cell].adapter == adapter;
            let jobs: Vec<Job> = jobs.iter().filter(of).copied().collect();
            if !jobs.is_empty() && !self.group(model, adapter, jobs, &vectors, stop, on)? {
                self.folder.sync()?;
                return Ok(false);
            }
        }
        self.folder.sync()?;
        Ok(true)
    }

    fn there(&self) -> Result<BTreeSet<Place>> {
        let mut there = BTreeSet::new();
        for row in folder::current(self.folder.dir())? {
            let row = row?;
            if !(self.retry && row.error.is_some()) {
                there.insert((row.cell, row.item, row.repeat));
            }
        }
        Ok(there)
    }

    /// All jobs of one model. Returns whether all were done.
    fn group(
        &mut self,
        model: &str,
        adapter: &str,
        mut jobs: Vec<Job>,
        vectors: &Vectors,
        stop: &(dyn Fn() -> bool + Sync),
        on: &mut dyn FnMut(Progress),
    ) -> Result<bool> {
        let plan = self.plan;
        let quotes = |job: &Job| plan.cells[job.cell].answer == Answer::Extractive;
        let only_quotes = plan.experiment.task == Task::Qa && jobs.iter().all(quotes);
        if !only_quotes {
            on(Progress::Loading(&self.resources.model(model)));
        }
        let classifier = match plan.experiment.task {
            Task::Classify => self.resources.classifier(model, adapter)?,
            _ => None,
        };
        let generator = match only_quotes || classifier.is_some() {
            // Nobody writes where documents are only quoted, or classes told.
            true => Generator::Scripted(Scripted::new(Vec::<String>::new())),
            false => self.resources.generator(model, adapter)?,
        };
        let fingerprint = self.resources.fingerprint(model, adapter)?;
        let judge = match &plan.experiment.run.judge {
            Some(judge) if plan.is_graded() => Some((
                self.resources.generator(judge, NO_ADAPTER)?,
                self.resources.fingerprint(judge, NO_ADAPTER)?,
            )),
            _ => None,
        };
        let reward = match &plan.experiment.run.reward {
            Some(name) if plan.metrics.contains(&Metric::WinRate) => Some(self.resources.reward(name)?),
            _ => None,
        };
        let library = Library::of(plan);
        let cells: BTreeSet<usize> = jobs.iter().map(|job| job.cell).collect();
        let mut benches = std::collections::BTreeMap::new();
        for cell in cells {
            let mut bench =
                Bench::new(plan, &plan.cells[cell], (&generator, &fingerprint), vectors, self.cache);
            bench.judge = judge.as_ref().map(|(judge, fingerprint)| (judge, fingerprint.as_str()));
            bench.reward = reward.as_ref();
            bench.library = library.as_ref();
            bench.classifier = classifier.as_ref();
            benches.insert(cell, bench);
        }
        if library.is_some() {
            // What was found for a question serves all cells before the next question is looked for.
            jobs.sort_by_key(|job| (job.item, job.cell, job.repeat));
        }
        let (mut worked, mut failed) = (false, 0);
        let folder = &mut *self.folder;
        let mut take = |row: Row| -> Result<()> {
            folder.append(&row)?;
            on(Progress::Row(&row));
            worked |= row.error.is_none();
            failed += usize::from(row.error.is_some());
            match row.error {
                Some(error) if !worked && failed == HOPELESS => Err(Error::invalid(format!(
                    "the first {HOPELESS} rows of `{model}` all failed; the last: {error}"
                ))
                .hint("mend that and resume the experiment with --retry-errors; every row says what was wrong with it")),
                _ => Ok(()),
            }
        };
        if matches!(generator, Generator::Http(_)) {
            let threads = plan.experiment.run.concurrency;
            let row = |job: Job| {
                if let Some(library) = &library {
                    // Others may still be at the items before.
                    library.forget_before(job.item.saturating_sub(threads));
                }
                benches[&job.cell].row(job.item, job.repeat)
            };
            return side_by_side(threads, &jobs, &row, stop, &mut take);
        }
        let every: Vec<usize> = (0..plan.items.len()).collect();
        let mut shared: Option<usize> = None;
        let mut batched: BTreeSet<usize> = BTreeSet::new();
        for job in jobs {
            if stop() {
                return Ok(false);
            }
            if library.is_none() && shared != Some(job.cell) {
                if let Some(bench) = shared.and_then(|cell| benches.get_mut(&cell)) {
                    bench.forget_head();
                }
                if let Some(bench) = benches.get_mut(&job.cell) {
                    // Of all items, whichever are still to do: a row is the same after any interruption.
                    bench.share_head(&every)?;
                }
                shared = Some(job.cell);
            }
            let bench = &benches[&job.cell];
            if !bench.is_batch() {
                if let Some(library) = &library {
                    library.forget_before(job.item);
                }
                take(bench.row(job.item, job.repeat))?;
            } else if batched.insert(job.cell) {
                for row in batch(bench, plan.items.len(), stop) {
                    take(row)?;
                }
            }
        }
        Ok(!stop())
    }
}

/// All rows of a cell that is decided on as a batch; none when it was stopped.
fn batch(bench: &Bench, items: usize, stop: &(dyn Fn() -> bool + Sync)) -> Vec<Row> {
    let mut weighed = Vec::with_capacity(items);
    for item in 0..items {
        if stop() {
            return Vec::new();
        }
        weighed.push(bench.weigh(item, 0));
    }
    let known: Vec<&[f64]> =
        weighed.iter().map(|weighed| &weighed.probabilities[..]).filter(|p| !p.is_empty()).collect();
    let prior = labels::mean(&known);
    let decide = |Weighed { row, probabilities }: Weighed| match probabilities.is_empty() {
        true => row,
        false => bench.decided(row, &labels::calibrated(&probabilities, &prior)),
    };
    weighed.into_iter().map(decide).collect()
}

/// Does `jobs` on some threads, hands each row to `take` as it comes. Returns whether all were done.
fn side_by_side(
    threads: usize,
    jobs: &[Job],
    row: &(dyn Fn(Job) -> Row + Sync),
    stop: &(dyn Fn() -> bool + Sync),
    take: &mut dyn FnMut(Row) -> Result<()>,
) -> Result<bool> {
    let (next, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let (send, rows) = mpsc::sync_channel(threads);
        for _ in 0..threads.min(jobs.len()) {
            let (send, next, over) = (send.clone(), &next, &over);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) && !stop() {
                    let Some(&job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) else { break };
                    if send.send(row(job)).is_err() {
                        break;
                    }
                }
            });
        }
        drop(send);
        let mut taken = 0;
        for row in rows {
            taken += 1;
            if let Err(error) = take(row) {
                over.store(true, Ordering::Relaxed);
                return Err(error);
            }
        }
        Ok(taken == jobs.len())
    })
}
