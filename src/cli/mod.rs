//! What can be typed, and the way from there to a command and an exit code.
//!
//! One file a command, one function each. Commands return errors; this file prints them.

mod ask;
mod collections;
mod ingest;
mod interrupt;
mod load;
mod models;
mod printer;
mod quickstart;
mod search;
mod settings;
mod verify;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::error::{Error, Result};
use crate::index::{Notice, Patience};
use printer::Printer;
use settings::Settings;

/// Ask your own documents, on your own machine.
#[derive(Parser)]
#[command(name = "incontext", version, about, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Args)]
struct Global {
    /// Folder for built data [default: `.incontext`, found by walking up as git does]
    #[arg(long, global = true, value_name = "DIR", env = "INCONTEXT_HOME")]
    home: Option<PathBuf>,
    /// Say nothing but results and errors
    #[arg(short, long, global = true)]
    quiet: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Fetch the default models, ingest the user's guide and ask it a first question
    Quickstart,
    Ingest(ingest::Ingest),
    Search(search::Search),
    Ask(ask::Ask),
    /// List, fetch and locate models
    #[command(subcommand)]
    Models(models::Models),
    /// List, show and remove collections
    #[command(subcommand)]
    Collections(collections::Collections),
    /// Compare a model's numbers with a reference made elsewhere
    Verify(verify::Verify),
}

/// How a command ended when it did not fail.
enum Ending {
    Done,
    /// The command worked and its answer is no: nothing relevant was found, a check did not hold.
    No(u8),
}

/// Nothing relevant was found in the documents.
const NOTHING_RELEVANT: u8 = 3;

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let printer = Printer::new(cli.global.quiet);
    match run(cli, &printer) {
        Ok(Ending::Done) => ExitCode::SUCCESS,
        Ok(Ending::No(code)) => ExitCode::from(code),
        // Whoever read our output has seen enough; that is no failure.
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            printer.error(&error);
            ExitCode::from(exit_code(&error))
        }
    }
}

fn run(cli: Cli, printer: &Printer) -> Result<Ending> {
    let settings = || Settings::resolve(cli.global.home.as_deref());
    match cli.command {
        Command::Quickstart => quickstart::run(&settings()?, printer),
        Command::Ingest(command) => ingest::run(&command, &settings()?, printer),
        Command::Search(command) => search::run(&command, &settings()?, printer),
        Command::Ask(command) => ask::run(&command, &settings()?, printer),
        Command::Models(command) => models::run(command, printer),
        Command::Collections(command) => collections::run(command, &settings()?, printer),
        Command::Verify(command) => verify::run(&command, printer),
    }
}

/// 2 is clap's, for a command line that cannot be read.
fn exit_code(error: &Error) -> u8 {
    match error {
        Error::Busy(_) => 4,
        Error::Interrupted(_) => 130,
        _ => 1,
    }
}

/// Retrieved text and file names as a terminal may show them: without control characters.
fn tidy(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
}

/// A path on one line, whatever characters its parts are made of.
fn one_line(path: &str) -> String {
    path.chars().map(|c| if c.is_control() { c.escape_debug().to_string() } else { c.to_string() }).collect()
}

/// Waits for another writer for ten minutes, and tells `notice` who it is after a few seconds.
fn patient(notice: Notice) -> Patience {
    Patience { limit: Duration::from_secs(600), notice: Some(notice), ..Patience::default() }
}

/// Lines as `3-5`, or `3` for a single one.
fn span(first: u32, last: u32) -> String {
    if first == last { first.to_string() } else { format!("{first}-{last}") }
}
