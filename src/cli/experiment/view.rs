//! `incontext experiment view`: what a run came to, and its page in a browser.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Args;

use super::folder_of;
use super::run::show;
use crate::cli::printer::Printer;
use crate::cli::{Ending, help};
use crate::error::Result;
use crate::experiment::folder::REPORT;
use crate::experiment::write;

/// Show what a run came to, and open its report
///
/// The report is one file, which works without a network and can be sent to others.
#[derive(Args)]
#[command(after_long_help = help::examples(EXAMPLES))]
pub struct View {
    /// The folder of the results, or the experiment's file
    run: PathBuf,
    /// Only print the table
    #[arg(long)]
    no_open: bool,
    /// Print the summary as JSON, and open nothing
    #[arg(long)]
    json: bool,
}

const EXAMPLES: help::Examples = &[
    ("The table here and the report in a browser", "incontext experiment view prompts.toml"),
    ("Only the table", "incontext experiment view results/prompts --no-open"),
];

/// Programs that open a file as the desktop does, the first that there is.
const OPENERS: [&[&str]; 3] = [&["xdg-open"], &["open"], &["cmd", "/C", "start", ""]];

pub fn run(command: &View, printer: &Printer) -> Result<Ending> {
    let dir = folder_of(&command.run)?;
    show(&write::summary(&dir)?, &dir, command.json, printer)?;
    // Nobody who is not there looks at a page.
    if !command.no_open && !command.json && std::io::stdout().is_terminal() && !open(&dir.join(REPORT)) {
        printer.note("no program here opens it: give the file to a browser");
    }
    Ok(Ending::Done)
}

fn open(file: &Path) -> bool {
    OPENERS.iter().any(|opener| {
        let mut program = Command::new(opener[0]);
        program.args(&opener[1..]).arg(file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        program.spawn().is_ok()
    })
}
