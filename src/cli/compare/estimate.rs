//! How long rungs would take, from three steps of training and two answers of each.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Instant;

use serde_json::Value;

use super::train::Trainer;
use crate::adapters::About;
use crate::cli::interrupt::Interrupt;
use crate::cli::printer::Printer;
use crate::cli::resources::FromSettings;
use crate::error::{Error, IoContext, Result};
use crate::experiment::cache::Cache;
use crate::experiment::folder::{self, Folder};
use crate::experiment::ladder::climb::Planned;
use crate::experiment::ladder::{Climb, Costs, Order, Rung};
use crate::experiment::metric::Metric;
use crate::experiment::plan::Plan;
use crate::experiment::run::Run;
use crate::train::{Event, LOG, events};

/// Steps, rows and answers of a calibration.
const STEPS: usize = 3;
const BATCH: usize = 8;
const ROWS: usize = 64;
const ANSWERS: usize = 2;

/// What a sweep of three rates takes beside the run.
const SWEEP: usize = 150;

/// The name of an adapter that is made to be timed.
const NAME: &str = "calibration";

/// Seconds that a rung would take.
#[derive(Debug, Clone, Copy, Default)]
pub struct Estimate {
    pub train: f64,
    pub ask: f64,
}

/// Of a comparison.
#[derive(Debug, Default)]
pub struct Estimates {
    /// By name of the rung.
    rungs: BTreeMap<String, Estimate>,
    /// To train whoever judges.
    pub judge: f64,
}

impl Estimates {
    /// Times a little of each rung; what is there already takes no time.
    ///
    /// # Errors
    /// `Interrupted`; `Io` when no process can be started.
    pub fn of(
        climb: &Climb,
        costs: &Costs,
        resources: &FromSettings,
        trainer: &Trainer,
        printer: &Printer,
    ) -> Result<Self> {
        printer.note("calibrating ...");
        let temporary = tempfile::tempdir_in(&climb.dir).at("write to", &climb.dir)?;
        let answers = answers(climb, resources, temporary.path(), trainer.interrupt)?;
        let bare = answers.values().copied().fold(f64::INFINITY, f64::min);
        let mut estimates = Self::default();
        // A rung with fewer rows is as fast a row as with all.
        let mut known: BTreeMap<String, Timed> = BTreeMap::new();
        let mut begun: BTreeSet<String> = BTreeSet::new();
        if let Some(judge) = climb.judge.as_ref().filter(|judge| costs.cost(judge).is_none()) {
            let home = temporary.path().join("home");
            let rows = climb.judged.as_ref().map_or(0, |judged| judged.judging);
            let timed = Timed::of(rows, judge, &Trainer { home: &home, ..*trainer })?;
            estimates.judge = timed.train(rows);
        }
        for planned in &climb.rungs {
            let asked = climb.snapshot.asked as f64;
            let mut estimate = Estimate::default();
            match &planned.order {
                None => estimate.ask = answers.get(&planned.name).copied().unwrap_or(0.0) * asked,
                Some(order) => {
                    let mut row = 0.0;
                    for one in order.sequence() {
                        // A curve's rungs are as fast a row as the rung itself; what learns by updates computes rows as SFT does.
                        let name = match one == order {
                            true => planned.rung.to_string(),
                            false => one.adapter.clone(),
                        };
                        let name = if one.is_online() { "sft".to_owned() } else { name };
                        if !known.contains_key(&name) {
                            let home = temporary.path().join("home");
                            let trainer = Trainer { home: &home, ..*trainer };
                            known.insert(name.clone(), Timed::of(planned.rows, one, &trainer)?);
                        }
                        let timed = &known[&name];
                        row = timed.row;
                        if costs.cost(one).is_none() && begun.insert(one.adapter.clone()) {
                            estimate.train += match one.is_online() {
                                true => timed.updates(&one.args),
                                false => timed.train(planned.rows),
                            };
                        }
                    }
                    estimate.ask = match planned.rung.is_classifier() {
                        true => row / 3.0 * asked,
                        false if bare.is_finite() => bare * asked,
                        false => row * asked,
                    };
                }
            }
            estimates.rungs.insert(planned.name.clone(), estimate);
        }
        Ok(estimates)
    }

    pub fn of_rung(&self, name: &str) -> Estimate {
        self.rungs.get(name).copied().unwrap_or_default()
    }

    /// Seconds of all.
    pub fn total(&self) -> f64 {
        self.judge + self.rungs.values().map(|one| one.train + one.ask).sum::<f64>()
    }

    /// The rungs that would go beyond the minutes there are, and why: in the order of the ladder, those of the curve last.
    pub fn beyond(&self, climb: &Climb) -> BTreeMap<String, String> {
        let mut beyond = BTreeMap::new();
        let Some(minutes) = climb.task.minutes else { return beyond };
        let mut spent = self.judge;
        for planned in &climb.rungs {
            let one = self.of_rung(&planned.name);
            let takes = one.train + one.ask;
            match spent + takes <= 60.0 * minutes {
                true => spent += takes,
                false => {
                    let why = format!(
                        "it would take {:.1} minutes, and of {minutes} there are {:.1} left",
                        takes / 60.0,
                        minutes - spent / 60.0
                    );
                    beyond.insert(planned.name.clone(), why);
                }
            }
        }
        beyond
    }
}

/// What a little training took.
struct Timed {
    /// To load the model and to write what came of it.
    once: f64,
    /// A step of as many rows as the run's.
    step: f64,
    /// A row, forward and backward.
    row: f64,
    batch: usize,
    epochs: f64,
    steps: Option<usize>,
    more_steps: usize,
    /// Whether each row is read once, however many steps there are.
    reads_once: bool,
}

impl Timed {
    fn of(rows: usize, order: &Order, trainer: &Trainer) -> Result<Self> {
        let is_fitted = order.is_fitted();
        let reads_once = is_fitted || order.args[1] == "head";
        let rows = rows.min(if is_fitted { ROWS } else { STEPS * BATCH });
        let (args, said) = shortened(&trainer.on_its_device(order.args.clone()), rows, is_fitted);
        let start = Instant::now();
        let printed = match trainer.run(&args)? {
            None => return Err(Error::interrupted("the calibration was stopped").hint("start again")),
            Some(Ok(printed)) => printed,
            // Whatever is wrong is said when the rung is trained.
            Some(Err(_)) => Value::Null,
        };
        let whole = start.elapsed().as_secs_f64();
        let place = trainer.home.join("adapters").join(NAME);
        let about = About::read(&place).ok().flatten().unwrap_or_default();
        if place.exists() {
            std::fs::remove_dir_all(&place).at("remove", &place)?;
        }
        let (train, outcome) = (&about.training["job"]["train"], &printed["outcome"]);
        let number = |value: &Value| value.as_u64().map(|number| number as usize);
        let batch = said.batch.or(number(&train["batch_size"])).unwrap_or(BATCH).max(1);
        let trained = match is_fitted {
            true => outcome["embedding_seconds"].as_f64(),
            false => outcome["seconds"].as_f64(),
        };
        let trained = trained.unwrap_or(whole);
        let log = trainer.home.join("runs").join(NAME).join(LOG);
        let row = pace(&log).unwrap_or(trained / rows.max(1) as f64);
        Ok(Self {
            once: (whole - trained).max(0.0),
            step: row * batch as f64,
            row,
            batch,
            epochs: said.epochs.or(train["epochs"].as_f64()).unwrap_or(1.0),
            steps: said.steps,
            more_steps: if said.sweeps { SWEEP } else { 0 },
            reads_once,
        })
    }

    /// Updates of a policy that learns from its own answers, as `args` have it: each answer is drawn and looked at four times (by the
    /// policy, its reference, the reward model and the critic), and learned from by policy and critic.
    fn updates(&self, args: &[String]) -> f64 {
        let of = |flag: &str, usual: f64| {
            let at = args.iter().position(|arg| arg == flag);
            at.and_then(|at| args.get(at + 1)?.parse().ok()).unwrap_or(usual)
        };
        let (usual, learners) = match args[1] == "ppo" {
            true => ([32.0, 1.0, 4.0], 2.0),
            false => ([4.0, 8.0, 1.0], 1.0),
        };
        let [prompts, copies, epochs] = usual;
        let answers = of("--prompts", prompts) * of("--num-generations", copies);
        let a_row = self.row * (learners * of("--inner-epochs", epochs) + 5.0 / 3.0);
        self.once + of("--updates", 40.0) * answers * a_row
    }

    fn train(&self, rows: usize) -> f64 {
        if self.reads_once {
            return self.once + self.row * rows as f64;
        }
        let an_epoch = rows.div_ceil(self.batch) as f64;
        let steps = self.steps.map_or(an_epoch * self.epochs, |steps| steps as f64);
        self.once + self.step * (steps + self.more_steps as f64)
    }
}

/// Seconds that a row of middling length takes, by the steps of a run behind its first: that one fetches all memory from the system,
/// once for however many steps. `None` where there is no such log.
fn pace(log: &Path) -> Option<f64> {
    let events = events(log).ok()?;
    let begun = events.iter().find_map(|event| match event {
        Event::Begun(begun) => Some(begun),
        _ => None,
    })?;
    let mut tokens = 0;
    let mut passed: Vec<(f64, f64)> = Vec::new();
    for event in &events {
        if let Event::Step(step) = event {
            tokens += step.tokens;
            passed.push((tokens as f64, tokens as f64 / step.tokens_per_second));
        }
    }
    let ((first, from), (last, until)) = (passed.first()?, passed.last()?);
    let a_token = (until - from) / (last - first);
    let a_row = begun.tokens as f64 / begun.rows as f64;
    Some(a_token * a_row).filter(|seconds| seconds.is_finite() && *seconds > 0.0)
}

/// What the options of a run say of its length.
#[derive(Debug, Default, PartialEq)]
struct Said {
    steps: Option<usize>,
    epochs: Option<f64>,
    batch: Option<usize>,
    sweeps: bool,
}

/// The same training, but short, and what the options said.
fn shortened(args: &[String], rows: usize, is_fitted: bool) -> (Vec<String>, Said) {
    let (mut short, mut said) = (Vec::new(), Said::default());
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        match arg.as_str() {
            "--steps" => said.steps = rest.next().and_then(|value| value.parse().ok()),
            "--epochs" => said.epochs = rest.next().and_then(|value| value.parse().ok()),
            "--batch-size" => said.batch = rest.next().and_then(|value| value.parse().ok()),
            "--sweep-lr" => said.sweeps = true,
            "--limit" => {
                rest.next();
                short.extend(["--limit".to_owned(), rows.to_string()]);
            }
            "--out" => {
                rest.next();
                short.extend(["--out".to_owned(), NAME.to_owned()]);
            }
            // Where it begins is not there yet, and as fast; what is tried on held-out rows is tried again in the run.
            "--from" | "--validation" | "--validation-split" | "--validation-share" | "--patience"
            | "--validate-every" => {
                rest.next();
            }
            _ => short.push(arg.clone()),
        }
    }
    if !is_fitted {
        short.extend(
            ["--steps", &STEPS.to_string(), "--batch-size", &BATCH.to_string(), "--restart"]
                .map(str::to_owned),
        );
    }
    (short, said)
}

/// Seconds that an answer takes, by name of the rung; of a prompt alone where none of the rungs is one.
fn answers(
    climb: &Climb,
    resources: &FromSettings,
    dir: &std::path::Path,
    interrupt: &Interrupt,
) -> Result<BTreeMap<String, f64>> {
    let prompted: Vec<&Planned> =
        climb.rungs.iter().filter(|planned| matches!(planned.rung, Rung::Prompted(_))).collect();
    if prompted.is_empty() {
        return Ok(BTreeMap::new());
    }
    let mut experiment = climb.experiment(&prompted);
    experiment.data.limit = Some(ANSWERS);
    // Who is to judge is not there yet, and takes no time beside an answer.
    experiment.run.reward = None;
    experiment.metrics.retain(|metric| *metric != Metric::WinRate);
    let mut folder = Folder::open(&dir.join("answers"))?;
    let mut plan = Plan::new(experiment, resources)?;
    plan.settle(resources, &folder)?;
    let cache = Cache::none();
    let mut run = Run { plan: &plan, resources, folder: &mut folder, cache: &cache, retry: false };
    if !run.run(&|| interrupt.is_asked(), &mut |_| {})? {
        return Err(Error::interrupted("the calibration was stopped").hint("start again"));
    }
    let mut took: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for row in folder::current(folder.dir())? {
        let row = row?;
        took.entry(row.cell).or_default().push(row.ms / 1e3);
    }
    let mut answers = BTreeMap::new();
    for planned in prompted {
        if let Some(times) = climb.cell(planned, &plan).and_then(|cell| took.get(&cell.id)) {
            answers.insert(planned.name.clone(), times.iter().sum::<f64>() / times.len() as f64);
        }
    }
    Ok(answers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_shortened_and_its_length_known() {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let (short, said) = shortened(
            &words("tune lora --limit 500 --epochs 4 --sweep-lr --rank 4 --patience 2 --out lora"),
            16,
            false,
        );
        assert_eq!(
            short,
            words("tune lora --limit 16 --rank 4 --out calibration --steps 3 --batch-size 8 --restart")
        );
        assert_eq!(said, Said { epochs: Some(4.0), sweeps: true, ..Said::default() });
        let (short, said) = shortened(&words("tune features --limit 500 --steps 9 --out f"), 64, true);
        assert_eq!(short, words("tune features --limit 64 --out calibration"));
        assert_eq!(said.steps, Some(9));
    }

    #[test]
    fn epochs_and_steps_become_seconds() {
        let timed = Timed {
            once: 1.0,
            step: 2.0,
            row: 0.25,
            batch: 8,
            epochs: 3.0,
            steps: None,
            more_steps: 0,
            reads_once: false,
        };
        assert_eq!(timed.train(100), 1.0 + 13.0 * 3.0 * 2.0);
        assert_eq!(Timed { steps: Some(10), more_steps: 150, ..timed }.train(100), 321.0);
        let head = Timed {
            once: 1.0,
            step: 2.0,
            row: 0.25,
            batch: 8,
            epochs: 3.0,
            steps: None,
            more_steps: 0,
            reads_once: true,
        };
        assert_eq!(head.train(100), 26.0);
    }

    #[test]
    fn the_pace_is_that_of_the_steps_behind_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join(LOG);
        assert_eq!(pace(&log), None);
        // 100 tokens in 5 seconds, then 100 a second.
        let begun = r#"{"event":"begun","step":0,"of":3,"rows":10,"validation_rows":0,"tokens":300,"targets":9,"parameters":1}"#;
        let step = |number: usize, rate: f64| {
            format!(
                "{{\"event\":\"step\",\"step\":{number},\"of\":3,\"epoch\":1.0,\"loss\":1.0,\"learning_rate\":1.0,\
                 \"gradient_norm\":1.0,\"tokens\":100,\"tokens_per_second\":{rate},\"eta\":0.0}}"
            )
        };
        let lines = [begun.to_owned(), step(1, 20.0), step(2, 200.0 / 6.0), step(3, 300.0 / 7.0)];
        std::fs::write(&log, lines.join("\n")).unwrap();
        assert!((pace(&log).unwrap() - 0.3).abs() < 1e-9, "30 tokens a row");
    }
}
