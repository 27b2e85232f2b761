//! `incontext experiment run` and `resume`: make the rows that are missing, then say what they come to.

use std::path::{Path, PathBuf};

use clap::Args;

use super::{folder_of, results};
use crate::cli::following::Following;
use crate::cli::interrupt::Interrupt;
use crate::cli::printer::Printer;
use crate::cli::resources::Asking;
use crate::cli::settings::Settings;
use crate::cli::{ASSERTIONS_FAILED, Ending, INTERRUPTED, help, wrap};
use crate::error::Result;
use crate::experiment::folder::{EXPERIMENT, Folder};
use crate::experiment::plan::Plan;
use crate::experiment::run::{Progress, Run as Job};
use crate::experiment::spec::Experiment;
use crate::experiment::summary::Summary;
use crate::experiment::{folder, table, write};

/// Run an experiment: every cell of its matrix on every row of its data
///
/// Rows that are there already are not made again, so a run that was stopped goes on where it was, and one whose file was
/// edited makes only what that changed. Exit code 100 when an assertion fails.
#[derive(Args)]
#[command(after_long_help = help::examples(RUN))]
pub struct Run {
    /// The experiment, a TOML file
    file: PathBuf,
    /// Folder for the results [default: results/NAME beside the file]
    #[arg(short, long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    how: How,
}

/// Go on with a run that was stopped
///
/// As `run`, with the experiment as the results remember it.
#[derive(Args)]
#[command(after_long_help = help::examples(RESUME))]
pub struct Resume {
    /// The folder of the results, or the experiment's file
    run: PathBuf,
    #[command(flatten)]
    how: How,
}

#[derive(Args)]
struct How {
    /// Ask again for rows that failed
    #[arg(long)]
    retry_errors: bool,
    #[command(flatten)]
    asking: Asking,
}

const RUN: help::Examples = &[
    ("Every combination, with a report to look at", "incontext experiment run prompts.toml"),
    (
        "In a pipeline: the summary as JSON, exit code 100 when an assertion fails",
        "incontext experiment run prompts.toml --json | jq '.cells[].metrics'",
    ),
];

const RESUME: help::Examples = &[(
    "After an endpoint was down: only the rows that failed or are missing",
    "incontext experiment resume results/prompts --retry-errors",
)];

pub fn run(command: &Run, settings: &Settings, printer: &Printer) -> Result<Ending> {
    let experiment = Experiment::read(&command.file)?;
    let out = results(&command.file, &experiment.name, command.out.as_deref());
    carry_out(experiment, &out, &command.how, settings, printer)
}

pub fn resume(command: &Resume, settings: &Settings, printer: &Printer) -> Result<Ending> {
    let out = folder_of(&command.run)?;
    carry_out(Experiment::read(&out.join(EXPERIMENT))?, &out, &command.how, settings, printer)
}

fn carry_out(
    experiment: Experiment,
    out: &Path,
    how: &How,
    settings: &Settings,
    printer: &Printer,
) -> Result<Ending> {
    let resources = how.asking.resources(settings)?;
    let mut plan = Plan::new(experiment, &resources)?;
    let mut folder = Folder::open(out)?;
    let file = plan.experiment.to_toml()?;
    folder.put(EXPERIMENT, file.as_bytes())?;
    plan.settle(&resources, &folder)?;
    let cache = how.asking.cache(&resources)?;
    let interrupt = Interrupt::watch();
    let mut following = Following::new(printer);
    let mut errors = 0;
    let mut job = Job {
        plan: &plan,
        resources: &resources,
        folder: &mut folder,
        cache: &cache,
        retry: how.retry_errors,
    };
    let ran = job.run(&|| interrupt.is_asked(), &mut |progress| {
        match &progress {
            Progress::Rows { all, there } if *there > 0 => {
                printer.note(format!("{there} of {all} rows are there already"));
            }
            Progress::Row(row) => errors += usize::from(row.error.is_some()),
            _ => {}
        }
        following.hear(&progress);
    });
    following.finish();
    // Whatever came of it, what is there is summed up.
    let summary = write::results(&plan, &folder, &file)?;
    let complete = ran?;
    show(&summary, out, how.asking.json, printer)?;
    if errors > 0 {
        let failed = match errors {
            1 => "1 row failed and counts".to_owned(),
            errors => format!("{errors} rows failed and count"),
        };
        printer.note(format!(
            "{failed} in no figure; `incontext experiment resume {} --retry-errors` asks again",
            out.display()
        ));
    }
    if !complete {
        printer.note(format!("stopped; `incontext experiment resume {}` goes on", out.display()));
        return Ok(Ending::No(INTERRUPTED));
    }
    match summary.failed_assertions() {
        0 => Ok(Ending::Done),
        failed => {
            printer.note(if failed == 1 {
                "1 assertion failed".into()
            } else {
                format!("{failed} assertions failed")
            });
            Ok(Ending::No(ASSERTIONS_FAILED))
        }
    }
}

/// The summary, for a person or a program.
pub fn show(summary: &Summary, out: &Path, json: bool, printer: &Printer) -> Result<()> {
    if json {
        return printer.json(summary);
    }
    printer.line(table::text(summary, wrap::columns()).trim_end())?;
    printer.note(format!("report: {}", out.join(folder::REPORT).display()));
    Ok(())
}
