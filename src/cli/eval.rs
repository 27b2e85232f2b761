//! `incontext eval`: how good is it? A file for each thing that is measured.

mod qa;
mod retrieval;
mod reward;

use clap::Subcommand;

use super::Ending;
use super::printer::Printer;
use super::settings::Settings;
use crate::error::Result;

#[derive(Subcommand)]
pub enum Eval {
    Qa(qa::Qa),
    Retrieval(retrieval::Retrieval),
    Reward(reward::Reward),
}

pub fn run(command: &Eval, settings: &Settings, printer: &Printer) -> Result<Ending> {
    match command {
        Eval::Qa(command) => qa::run(command, settings, printer),
        Eval::Retrieval(command) => retrieval::run(command, settings, printer),
        Eval::Reward(command) => reward::run(command, settings, printer),
    }
}
