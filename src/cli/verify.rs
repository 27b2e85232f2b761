//! `incontext verify`: does a model mean here what it means elsewhere?

use std::path::PathBuf;

use clap::Args;

use super::Ending;
use super::printer::Printer;
use crate::error::Result;
use crate::eval::verify::{Outcome, Tolerance, verify};
use crate::hub;

/// Runs the model on the reference's input_ids and attention_mask and prints the relative L2 error of `logits`,
/// `cls_logits`, `hidden`, `mean_pooled`, `loss` and every `grad.*`. Exit code 0 when all are within tolerance, else 1.
#[derive(Args)]
pub struct Verify {
    /// Model directory or GGUF file, or a name from the catalogue
    #[arg(long)]
    model: String,
    /// safetensors file with the reference's inputs and outputs
    #[arg(long, value_name = "FILE")]
    reference: PathBuf,
    /// Largest relative error of outputs and loss; gradients may be ten times as far off [default: 1e-5]
    #[arg(long, value_name = "T")]
    tolerance: Option<f64>,
}

pub fn run(command: &Verify, printer: &Printer) -> Result<Ending> {
    let model = hub::resolve(&command.model)?;
    let tolerance = match command.tolerance {
        Some(forward) => Tolerance { forward, gradient: 10.0 * forward },
        None => Tolerance::default(),
    };
    let checks = verify(&model.path, &command.reference, tolerance)?;
    let width = checks.iter().map(|check| check.name.len()).max().unwrap_or(0);
    for check in &checks {
        let verdict = if check.passed() { "ok" } else { "FAIL" };
        let detail = match &check.outcome {
            Outcome::Compared { error, tolerance } => format!("{error:.2e} (tolerance {tolerance:.0e})"),
            Outcome::Missing(why) => why.clone(),
        };
        printer.line(format!("{verdict:4} {:width$} {detail}", check.name))?;
    }
    let failed = checks.iter().filter(|check| !check.passed()).count();
    if failed > 0 {
        printer.note(format!("{failed} of {} quantities differ", checks.len()));
        return Ok(Ending::No(1));
    }
    printer.note(format!("all {} quantities agree", checks.len()));
    Ok(Ending::Done)
}
