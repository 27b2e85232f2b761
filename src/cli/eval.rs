//! `incontext eval`: retrieval and answers, held against what is known to be right.

mod qa;

use clap::Subcommand;

use super::Ending;
use super::printer::Printer;
use super::settings::Settings;
use crate::error::Result;

#[derive(Subcommand)]
pub enum Eval {
    Qa(qa::Qa),
}

pub fn run(command: &Eval, settings: &Settings, printer: &Printer) -> Result<Ending> {
    match command {
        Eval::Qa(command) => qa::run(command, settings, printer),
    }
}
