//! `incontext experiment`: prompts, demonstrations, retrieval, models and adapters, measured beside each other.

mod compare;
mod export;
mod import;
mod plan;
mod run;
mod view;

use std::path::{Path, PathBuf};

use clap::Subcommand;

use super::Ending;
use super::printer::Printer;
use super::settings::Settings;
use crate::error::{Error, Result};
use crate::experiment::folder;
use crate::experiment::spec::Experiment;

#[derive(Subcommand)]
pub enum Command {
    Run(run::Run),
    Plan(plan::Plan),
    Resume(run::Resume),
    View(view::View),
    Compare(compare::Compare),
    Export(export::Export),
    Import(import::Import),
}

pub fn run(command: &Command, settings: &Settings, printer: &Printer) -> Result<Ending> {
    match command {
        Command::Run(command) => run::run(command, settings, printer),
        Command::Plan(command) => plan::run(command, settings, printer),
        Command::Resume(command) => run::resume(command, settings, printer),
        Command::View(command) => view::run(command, printer),
        Command::Compare(command) => compare::run(command, printer),
        Command::Export(command) => export::run(command, printer),
        Command::Import(command) => import::run(command, printer),
    }
}

/// Where the results of `file` go unless it is said: `results/NAME` beside it.
pub fn results(file: &Path, name: &str, out: Option<&Path>) -> PathBuf {
    match out {
        Some(out) => out.to_owned(),
        None => file.parent().unwrap_or(Path::new("")).join("results").join(name),
    }
}

/// The folder of results that a person names: itself, or by the experiment's file.
///
/// # Errors
/// `NotFound` when there is none.
fn folder_of(named: &Path) -> Result<PathBuf> {
    let dir = match named.is_dir() {
        true => named.to_owned(),
        false => results(named, &Experiment::read(named)?.name, None),
    };
    match dir.join(folder::ROWS).exists() {
        true => Ok(dir),
        false => Err(Error::not_found(format!("`{}` holds no results", dir.display()))
            .hint("incontext experiment run FILE.toml makes them")),
    }
}
