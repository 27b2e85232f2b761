//! `incontext compare`: what each way of adapting a model costs, and what it buys, on a task of one's own.

mod estimate;
mod train;

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use self::estimate::Estimates;
use self::train::Trainer;
use super::following::Following;
use super::interrupt::Interrupt;
use super::printer::Printer;
use super::resources::{Asking, FromSettings};
use super::settings::Settings;
use super::{Ending, INTERRUPTED, experiment, help, load, wrap};
use crate::error::{Error, IoContext, Result};
use crate::experiment::axis::Prompt;
use crate::experiment::folder::{Folder, REPORT};
use crate::experiment::ladder::climb::Planned;
use crate::experiment::ladder::cost::Entry;
use crate::experiment::ladder::outcome::Found;
use crate::experiment::ladder::{Climb, Comparison, Costs, Order, Outcome, State, picture, report, table};
use crate::experiment::plan::Plan;
use crate::experiment::run::Run;
use crate::experiment::write;
use crate::hub;

/// The page that shows every answer, beside the report.
const ROWS_PAGE: &str = "rows.html";
const OUTCOME: &str = "outcome.json";
const PICTURE: &str = "picture.svg";

/// Climb from a bare prompt to tuned models on your task: what each rung costs and buys
///
/// One file names the rows to learn from and to ask, and the rungs; all are asked the same rows and judged alike. What is
/// there already is not done again, so a comparison that was stopped goes on where it was, and one whose file was edited does
/// only what that changed. The report is a page of its own, with the advice that follows from the table.
#[derive(Args)]
#[command(after_long_help = help::examples(EXAMPLES))]
pub struct Compare {
    /// The comparison, a TOML file
    file: PathBuf,
    /// Folder for the results [default: results/NAME beside the file]
    #[arg(short, long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// These rungs instead of the file's: zero-shot, few-shot, knn, features, head, lora, encoder lora ...
    #[arg(long, value_name = "RUNG,RUNG", value_delimiter = ',')]
    rungs: Vec<String>,
    /// Minutes that it may take: rungs that would go beyond are left out
    #[arg(long, value_name = "N")]
    minutes: Option<f64>,
    /// Print what would be done and how long it would take, after a short calibration
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    asking: Asking,
}

const EXAMPLES: help::Examples = &[
    ("Everything that suits the task, with a report to look at", "incontext compare tickets.toml"),
    ("How long would that take?", "incontext compare tickets.toml --dry-run"),
    (
        "Three rungs, and no more than a quarter of an hour",
        "incontext compare tickets.toml --rungs few-shot,features,lora --minutes 15",
    ),
];

pub fn run(command: &Compare, settings: &Settings, printer: &Printer) -> Result<Ending> {
    let mut task = Comparison::read(&command.file)?;
    if !command.rungs.is_empty() {
        task.rungs = command.rungs.iter().map(|rung| rung.parse()).collect::<Result<_>>()?;
        task.curve = None;
    }
    task.minutes = command.minutes.or(task.minutes);
    task.check()?;
    let dir = experiment::results(&command.file, &task.name, command.out.as_deref());
    let dir = std::path::absolute(&dir).at("find", &dir)?;
    let generator = lasting(&settings.model(task.model.as_deref()))?;
    let encoder = lasting(task.encoder.as_deref().unwrap_or(hub::DEFAULT_ENCODER))?;
    find_templates(&mut task.prompts, settings);
    let mut folder = Folder::open(&dir)?;
    // What is trained for the comparison lies with its results, apart from the folder's own.
    let home = dir.join(".incontext");
    let own = Settings::resolve(Some(&home), None)?;
    own.home.create()?;
    let resources = command.asking.resources(&own)?;
    let climb = Climb::new(task, generator, encoder, &resources, &dir)?;
    for remark in &climb.snapshot.remarks {
        printer.note(remark.to_string());
    }
    let interrupt = Interrupt::watch();
    let trainer = Trainer { home: &home, interrupt: &interrupt, device: command.asking.device() };
    let mut costs = Costs::read(&dir)?;
    let estimates = match command.dry_run || climb.task.minutes.is_some() {
        true => Some(Estimates::of(&climb, &costs, &resources, &trainer, printer)?),
        false => None,
    };
    if let (Some(estimates), true) = (&estimates, command.dry_run) {
        return show_estimates(&climb, estimates, command.asking.json, printer);
    }
    let left_out = estimates.as_ref().map_or_else(BTreeMap::new, |estimates| estimates.beyond(&climb));

    let mut stopped = false;
    let cores = cores();
    let wanted = climb.rungs.iter().filter(|planned| !left_out.contains_key(&planned.name));
    let orders: Vec<(&Order, &str)> =
        wanted.filter_map(|planned| Some((planned.order.as_ref()?, planned.name.as_str()))).collect();
    // Nobody is asked before there is somebody to judge.
    let judge = climb.judge.iter().map(|judge| (judge, judge.adapter.as_str()));
    'climbing: for (order, name) in judge.chain(orders) {
        for one in order.sequence() {
            if costs.cost(one).is_some() {
                continue;
            }
            let unmade = one.first.iter().find(|before| costs.cost(before).is_none());
            let entry = match unmade {
                Some(before) => {
                    let why = format!("`{}`, which it begins with, failed", before.adapter);
                    Some(Entry { key: one.key.clone(), cost: None, error: Some(why) })
                }
                None => {
                    printer.note(format!("training {} ...", if one == order { name } else { &one.adapter }));
                    trainer.train(one, &mut costs, &dir, cores)?
                }
            };
            let Some(entry) = entry else {
                stopped = true;
                break 'climbing;
            };
            if let Some(why) = &entry.error {
                printer.note(format!("{} failed: {why}", one.adapter));
            }
            costs.set(&one.adapter, entry);
            costs.write(&dir)?;
        }
    }
    if let Some(why) = climb.judge.as_ref().and_then(|judge| costs.of(judge)?.error.clone()) {
        return Err(Error::invalid(format!("there is nobody to judge: {why}"))
            .hint("mend that, or leave `[preferences]` out and name another `metric`"));
    }

    let plan = known(&climb, &costs, &left_out, &resources, &folder)?;
    if let (Some(plan), false) = (&plan, stopped) {
        stopped = !ask(plan, &resources, &mut folder, command, &interrupt, printer)?;
    }
    let found = Found {
        climb: &climb,
        plan: plan.as_ref(),
        costs: &costs,
        left_out: &left_out,
        adapters: home.join("adapters"),
        cores,
    };
    let outcome = found.outcome()?;
    keep(&outcome, plan.as_ref(), &folder)?;
    match command.asking.json {
        true => printer.json(&outcome)?,
        false => {
            printer.line(table::text(&outcome, wrap::columns()).trim_end())?;
            printer.note(format!("report: {}", dir.join(REPORT).display()));
        }
    }
    if stopped {
        printer.note(format!("stopped; `incontext compare {}` goes on", command.file.display()));
        return Ok(Ending::No(INTERRUPTED));
    }
    let failed = outcome.steps.iter().any(|step| matches!(step.state, State::Failed(_)));
    Ok(if failed { Ending::No(1) } else { Ending::Done })
}

/// A model's name that means the same from any folder.
fn lasting(name: &str) -> Result<String> {
    match load::is_served(name) {
        true => Ok(name.to_owned()),
        false => hub::resolve(name)?.lasting_name(),
    }
}

/// The folder's own templates, by their paths: the results have a folder of their own.
fn find_templates(prompts: &mut [Prompt], settings: &Settings) {
    for prompt in prompts.iter_mut().filter(|prompt| !prompt.template.ends_with(".j2")) {
        let own = settings.home.dir().join("prompts").join(format!("{}.j2", prompt.template));
        if let (true, Ok(path)) = (own.is_file(), std::path::absolute(&own)) {
            prompt.name = Some(prompt.label());
            prompt.template = path.to_string_lossy().into_owned();
        }
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// The experiment of the rungs that can be asked; `None` where there is none yet.
fn known(
    climb: &Climb,
    costs: &Costs,
    left_out: &BTreeMap<String, String>,
    resources: &FromSettings,
    folder: &Folder,
) -> Result<Option<Plan>> {
    let wanted = climb.rungs.iter().filter(|planned| !left_out.contains_key(&planned.name));
    let ready: Vec<&Planned> = wanted.filter(|planned| planned.is_ready(costs)).collect();
    if ready.is_empty() {
        return Ok(None);
    }
    let mut plan = Plan::new(climb.experiment(&ready), resources)?;
    plan.settle(resources, folder)?;
    Ok(Some(plan))
}

/// Asks every rung that is ready; whether all were.
fn ask(
    plan: &Plan,
    resources: &FromSettings,
    folder: &mut Folder,
    command: &Compare,
    interrupt: &Interrupt,
    printer: &Printer,
) -> Result<bool> {
    let cache = command.asking.cache(resources)?;
    let mut following = Following::new(printer);
    let ran = Run { plan, resources, folder, cache: &cache, retry: true }
        .run(&|| interrupt.is_asked(), &mut |progress| following.hear(&progress));
    following.finish();
    ran
}

/// Leaves the outcome, its page, and the page of all answers.
fn keep(outcome: &Outcome, plan: Option<&Plan>, folder: &Folder) -> Result<()> {
    if let Some(plan) = plan {
        write::results_with(plan, folder, &plan.experiment.to_toml()?, ROWS_PAGE)?;
    }
    let json = serde_json::to_vec_pretty(outcome)
        .map_err(|error| Error::invalid(format!("the outcome cannot be written: {error}")))?;
    folder.put(OUTCOME, &json)?;
    if let Some(drawn) = picture::pareto(outcome) {
        folder.put(PICTURE, picture::alone(&drawn).as_bytes())?;
    }
    folder.put(REPORT, report::page(outcome).as_bytes())
}

fn show_estimates(climb: &Climb, estimates: &Estimates, as_json: bool, printer: &Printer) -> Result<Ending> {
    let beyond = estimates.beyond(climb);
    let rows: Vec<_> =
        climb.rungs.iter().map(|planned| (planned, estimates.of_rung(&planned.name))).collect();
    if as_json {
        let row = |(planned, one): &(&Planned, estimate::Estimate)| {
            json!({ "rung": planned.name, "rows": planned.rows, "minutes_to_train": one.train / 60.0,
                "minutes_to_ask": one.ask / 60.0, "left_out": beyond.get(&planned.name) })
        };
        printer.json(&json!({ "minutes": estimates.total() / 60.0, "minutes_for_the_judge": estimates.judge / 60.0, "rungs": rows.iter().map(row).collect::<Vec<_>>() }))?;
        return Ok(Ending::Done);
    }
    let width = rows.iter().map(|(planned, _)| planned.name.chars().count()).max().unwrap_or(0).max(4);
    printer.line(format!("{:width$}  {:>16}  {:>14}", "rung", "minutes to train", "minutes to ask"))?;
    if estimates.judge > 0.0 {
        printer.line(format!("{:width$}  {:>16.1}", "judge", estimates.judge / 60.0))?;
    }
    for (planned, one) in rows {
        let why = beyond.get(&planned.name).map_or(String::new(), |why| format!("  left out: {why}"));
        printer.line(format!(
            "{:width$}  {:>16.1}  {:>14.1}{why}",
            planned.name,
            one.train / 60.0,
            one.ask / 60.0
        ))?;
    }
    printer.note(format!(
        "about {:.0} minutes in all: {} rows to learn from, {} to be asked",
        (estimates.total() / 60.0).ceil(),
        climb.snapshot.rows,
        climb.snapshot.asked
    ));
    Ok(Ending::Done)
}
