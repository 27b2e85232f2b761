//! `incontext prompt`: templates, looked at and looked after. A file for each command; [`data`] is what they fill a
//! template with, [`reader`] who reads what comes of it.

mod data;
mod diff;
mod lint;
mod list;
mod new;
mod reader;
mod render;
mod show;

use clap::Subcommand;

use super::Ending;
use super::printer::Printer;
use super::settings::Settings;
use crate::error::Result;

#[derive(Subcommand)]
pub enum Prompt {
    List(list::List),
    Show(show::Show),
    Render(render::Render),
    New(new::New),
    Lint(lint::Lint),
    Diff(diff::Diff),
}

pub fn run(command: &Prompt, settings: &Settings, printer: &Printer) -> Result<Ending> {
    match command {
        Prompt::List(command) => list::run(command, settings, printer),
        Prompt::Show(command) => show::run(command, settings, printer),
        Prompt::Render(command) => render::run(command, settings, printer),
        Prompt::New(command) => new::run(command, settings, printer),
        Prompt::Lint(command) => lint::run(command, settings, printer),
        Prompt::Diff(command) => diff::run(command, settings, printer),
    }
}
