//! `incontext verify`: does a model mean here what it means elsewhere?

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::printer::Printer;
use super::settings::Settings;
use super::{Ending, device, help};
use crate::error::Result;
use crate::eval::verify::{Check, Outcome, Tolerance, verify};
use crate::hub;

/// Compare a model's numbers with a reference made elsewhere
///
/// Runs the model on the reference's input_ids and attention_mask and prints the relative L2 error of `logits`,
/// `cls_logits`, `hidden`, `mean_pooled`, `loss` and every `grad.*`. Exit code 0 when all are within tolerance, else 1.
#[derive(Args)]
#[command(after_long_help = help::examples(EXAMPLES))]
pub struct Verify {
    /// Model directory or GGUF file, or a name from the catalogue
    #[arg(long, value_name = "NAME|PATH")]
    model: String,
    /// Adapter under which everything is computed: its folder, or its name here
    #[arg(long, value_name = "DIR|NAME")]
    adapter: Option<PathBuf>,
    /// safetensors file with the reference's inputs and outputs
    #[arg(long, value_name = "FILE")]
    reference: PathBuf,
    /// Largest relative error of outputs and loss; gradients may be ten times as far off [default: 1e-5]
    #[arg(long, value_name = "T")]
    tolerance: Option<f64>,
    /// Where models of this machine compute [default: cpu]
    #[arg(long, value_enum)]
    device: Option<device::Kind>,
    /// Print the comparison as JSON
    #[arg(long)]
    json: bool,
}

const EXAMPLES: help::Examples = &[
    (
        "A tiny model of the project against PyTorch's numbers, in a clone",
        "incontext verify --model tests/golden/tiny/bert --reference tests/golden/tiny/bert/io.safetensors",
    ),
    (
        "A LoRA against the numbers that PEFT computes with it",
        "incontext verify --model ./tiny-llama --adapter ./my-lora --reference io.safetensors",
    ),
    (
        "The largest error",
        "incontext verify --model ./my-bert --reference io.safetensors --json | jq '[.checks[].error] | max'",
    ),
];

pub fn run(command: &Verify, settings: &Settings, printer: &Printer) -> Result<Ending> {
    let device = settings.device(command.device)?;
    let model = hub::resolve(&command.model)?;
    let tolerance = match command.tolerance {
        Some(forward) => Tolerance { forward, gradient: 10.0 * forward },
        None => Tolerance::default(),
    };
    let adapter = match &command.adapter {
        Some(dir) if !dir.is_dir() => Some(settings.adapters().find(&dir.to_string_lossy())?),
        dir => dir.clone(),
    };
    let checks = verify(&model.path, adapter.as_deref(), &command.reference, &device, tolerance)?;
    let failed = checks.iter().filter(|check| !check.passed()).count();
    if command.json {
        let rows: Vec<_> = checks.iter().map(as_json).collect();
        printer.json(&json!({ "model": model.path, "adapter": command.adapter, "reference": command.reference, "agrees": failed == 0,
            "checks": rows }))?;
    } else {
        let width = checks.iter().map(|check| check.name.len()).max().unwrap_or(0);
        checks.iter().try_for_each(|check| show(check, width, printer))?;
        printer.note(match failed {
            0 => format!("all {} quantities agree", checks.len()),
            _ => format!("{failed} of {} quantities differ", checks.len()),
        });
    }
    Ok(if failed == 0 { Ending::Done } else { Ending::No(1) })
}

fn show(check: &Check, width: usize, printer: &Printer) -> Result<()> {
    let verdict = if check.passed() { "ok" } else { "FAIL" };
    let detail = match &check.outcome {
        Outcome::Compared { error, tolerance } => format!("{error:.2e} (tolerance {tolerance:.0e})"),
        Outcome::Missing(why) => why.clone(),
    };
    printer.line(format!("{verdict:4} {:width$} {detail}", check.name))
}

fn as_json(check: &Check) -> serde_json::Value {
    let (name, passed) = (&check.name, check.passed());
    match &check.outcome {
        Outcome::Compared { error, tolerance } => {
            json!({ "name": name, "passed": passed, "error": error, "tolerance": tolerance, "missing": null })
        }
        Outcome::Missing(why) => {
            json!({ "name": name, "passed": passed, "error": null, "tolerance": null, "missing": why })
        }
    }
}
