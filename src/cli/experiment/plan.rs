//! `incontext experiment plan`: what a run would do, without asking a model.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::results;
use crate::cli::printer::Printer;
use crate::cli::resources::FromSettings;
use crate::cli::settings::Settings;
use crate::cli::{Ending, device, help};
use crate::error::Result;
use crate::experiment::plan::{Plan as Experimental, Resources};
use crate::experiment::spec::Experiment;

/// Show what a run would do: its cells, and how often each model is asked
///
/// Reads and checks everything that a run needs but the models: the data, the templates on its first row, the matrix.
#[derive(Args)]
#[command(after_long_help = help::examples(EXAMPLES))]
pub struct Plan {
    /// The experiment, a TOML file
    file: PathBuf,
    /// Print the plan as JSON
    #[arg(long)]
    json: bool,
}

const EXAMPLES: help::Examples = &[(
    "Before a long run: is everything there, and how much is it?",
    "incontext experiment plan prompts.toml",
)];

pub fn run(command: &Plan, settings: &Settings, printer: &Printer) -> Result<Ending> {
    let resources = FromSettings::new(settings, settings.device(None::<device::Kind>)?);
    let plan = Experimental::new(Experiment::read(&command.file)?, &resources)?;
    for cell in &plan.cells {
        resources.fingerprint(&cell.model, &cell.adapter)?;
    }
    let experiment = &plan.experiment;
    let rows = plan.cells.len() * plan.items.len() * experiment.run.repeats;
    let out = results(&command.file, &experiment.name, None);
    let told = |at: usize| plan.cells[at].told(&plan.axes);
    if command.json {
        let cells: Vec<_> = (0..plan.cells.len()).map(told).collect();
        printer.json(&json!({
            "format": 1, "name": experiment.name, "task": experiment.task, "items": plan.items.len(),
            "repeats": experiment.run.repeats, "rows": rows, "cells": cells,
            "metrics": plan.metrics, "results": out,
        }))?;
        return Ok(Ending::Done);
    }
    printer.line(format!(
        "{} cells x {} rows{} = {rows} answers, measured by {}",
        plan.cells.len(),
        plan.items.len(),
        if experiment.run.repeats > 1 {
            format!(" x {} repeats", experiment.run.repeats)
        } else {
            String::new()
        },
        plan.metrics.iter().map(|metric| metric.name()).collect::<Vec<_>>().join(", "),
    ))?;
    for (at, cell) in plan.cells.iter().enumerate() {
        let values: Vec<String> =
            told(at).into_iter().map(|(name, value)| format!("{name} {value}")).collect();
        let baseline = if at == plan.baseline { "  (baseline)" } else { "" };
        printer.line(format!("  {}  {}{baseline}", cell.id, values.join(", ")))?;
    }
    let mut models: Vec<String> = plan.cells.iter().map(|cell| resources.model(&cell.model)).collect();
    models.dedup();
    printer.line(format!("models: {}", models.join(", ")))?;
    printer.line(format!("results: {}", out.display()))?;
    Ok(Ending::Done)
}
