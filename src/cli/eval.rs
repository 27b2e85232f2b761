//! `incontext eval`: how good is it, by the judgement of people? A file for each thing that is measured.

mod retrieval;

use clap::Subcommand;

use super::Ending;
use super::printer::Printer;
use super::settings::Settings;
use crate::error::Result;

#[derive(Subcommand)]
pub enum Eval {
    Retrieval(retrieval::Retrieval),
}

pub fn run(command: &Eval, settings: &Settings, printer: &Printer) -> Result<Ending> {
    match command {
        Eval::Retrieval(command) => retrieval::run(command, settings, printer),
    }
}
