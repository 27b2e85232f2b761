//! What can be typed, and the way from there to a command and an exit code.
//!
//! One file a command, one function each. Commands return errors; this file prints them. What a command's doc comment
//! says first is its line in `--help`, what follows its `--help` of its own.

mod adapters;
mod answers;
mod ask;
mod calibrate;
mod chat;
mod classify;
mod collections;
mod compare;
mod completions;
mod config;
mod device;
mod doctor;
mod endpoint;
mod eval;
mod experiment;
mod following;
mod generate;
mod help;
mod ingest;
mod inputs;
mod interrupt;
mod load;
mod models;
mod modes;
mod narrow;
mod optimise;
mod printer;
mod prompt;
mod quickstart;
mod resources;
mod rlhf;
mod search;
mod settings;
mod shots;
mod tune;
mod tune_fusion;
mod tuned;
mod use_;
mod verify;
mod wrap;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::error::{Error, Result};
use crate::index::{Notice, Patience};
use crate::text::load::child;
use config::Config;
use printer::Printer;
use settings::Settings;

/// Ask your own documents, on your own machine
///
/// incontext reads a folder of documents once and then answers questions from it, with citations that name the file, the
/// lines and the exact words; where the documents say nothing, so does it.
#[derive(Parser)]
#[command(name = "incontext", version, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// The heading of options that every command has.
const EVERYWHERE: &str = "With every command";

#[derive(Args)]
struct Global {
    /// Folder for built data [default: `.incontext`, found by walking up as git does]
    #[arg(long, global = true, value_name = "DIR", help_heading = EVERYWHERE)]
    home: Option<PathBuf>,
    /// Keep vectors and words on this Qdrant server [default: in the folder for built data]
    #[arg(long, global = true, value_name = "URL", help_heading = EVERYWHERE)]
    qdrant_url: Option<String>,
    /// Say nothing but results and errors
    #[arg(short, long, global = true, help_heading = EVERYWHERE)]
    quiet: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Fetch the default models, ingest the user's guide and ask it a first question
    ///
    /// Run again, it takes about a second: what is here is neither fetched nor embedded twice.
    #[command(after_long_help = help::examples(quickstart::EXAMPLES))]
    Quickstart,
    Ingest(ingest::Ingest),
    Search(search::Search),
    Ask(ask::Ask),
    Chat(chat::Chat),
    Classify(classify::Classify),
    Generate(generate::Generate),
    /// Teach a model of this machine a task, by the method of your choice
    ///
    /// The result is an adapter: `ask --adapter NAME` asks with it, `--base` without. The weights of the model stay as they are.
    #[command(subcommand)]
    Tune(Box<tune::Tune>),
    /// Learn from which answers people preferred: a reward model, a policy
    #[command(subcommand)]
    Rlhf(Box<rlhf::Rlhf>),
    Use(use_::Use),
    Modes(modes::Modes),
    /// List, show, bring in, merge and remove adapters
    #[command(subcommand)]
    Adapters(adapters::Adapters),
    /// List, fetch and locate models
    #[command(subcommand)]
    Models(models::Models),
    /// List, show and remove collections
    #[command(subcommand)]
    Collections(collections::Collections),
    /// Write prompt templates, look at what a model reads, and check them
    #[command(subcommand)]
    Prompt(prompt::Prompt),
    /// Show the settings and where each comes from
    #[command(subcommand)]
    Config(config::Config),
    Doctor(doctor::Doctor),
    /// Measure search and answers on questions whose answers are known
    #[command(subcommand)]
    Eval(eval::Eval),
    /// Measure prompts, demonstrations, retrieval and models beside each other
    #[command(subcommand)]
    Experiment(experiment::Command),
    Compare(compare::Compare),
    Optimise(optimise::Optimise),
    TuneFusion(tune_fusion::TuneFusion),
    Calibrate(calibrate::Calibrate),
    Verify(verify::Verify),
    Completions(completions::Completions),
    Man(completions::Man),
}

/// How a command ended when it did not fail.
enum Ending {
    Done,
    /// The command worked and its answer is no: nothing relevant was found, a check did not hold.
    No(u8),
}

/// Nothing relevant was found in the documents.
const NOTHING_RELEVANT: u8 = 3;
/// Another process kept using the collection.
const BUSY: u8 = 4;
/// An assertion of an experiment does not hold; what promptfoo says then.
const ASSERTIONS_FAILED: u8 = 100;
/// The person stopped it; what shells make of Ctrl-C.
const INTERRUPTED: u8 = 130;

/// What scripts may count on. 2 is clap's.
const EXIT_CODES: [(u8, &str); 7] = [
    (0, "done"),
    (1, "an error, a file `ingest` could not read, or what `verify`, `doctor` or `prompt lint` found"),
    (2, "the command line could not be read"),
    (NOTHING_RELEVANT, "nothing relevant was found"),
    (BUSY, "another process kept using the collection"),
    (ASSERTIONS_FAILED, "an assertion of an experiment does not hold"),
    (INTERRUPTED, "interrupted"),
];

/// Everything that can be typed, with its help.
fn command() -> clap::Command {
    help::of_the_program(Cli::command())
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    if words.next().is_some_and(|first| first == child::WORD) {
        return child::serve(&words.collect::<Vec<_>>());
    }
    let matches = command().get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
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
    let home = cli.global.home.as_deref();
    let qdrant_url = cli.global.qdrant_url.as_deref();
    let settings = || Settings::resolve(home, qdrant_url);
    match cli.command {
        Command::Quickstart => quickstart::run(&settings()?, printer),
        Command::Ingest(command) => ingest::run(&command, &settings()?, printer),
        Command::Search(command) => search::run(&command, &settings()?, printer),
        Command::Ask(command) => ask::run(&command, &settings()?, printer),
        Command::Chat(command) => chat::run(&command, &settings()?, printer),
        Command::Classify(command) => classify::run(&command, &settings()?, printer),
        Command::Generate(command) => generate::run(&command, &settings()?, printer),
        Command::Tune(command) => tune::run(&command, &settings()?, printer),
        Command::Rlhf(command) => rlhf::run(&command, &settings()?, printer),
        Command::Use(command) => use_::run(&command, &settings()?, printer),
        Command::Modes(command) => modes::run(&command, &settings()?, printer),
        Command::Adapters(command) => adapters::run(command, &settings()?, printer),
        Command::Models(command) => models::run(command, printer),
        Command::Collections(command) => collections::run(command, &settings()?, printer),
        Command::Prompt(command) => prompt::run(&command, &settings()?, printer),
        Command::Config(Config::Show(command)) => config::show(&command, qdrant_url, &settings()?, printer),
        // A person who mends the file has to find it.
        Command::Config(Config::Path) => {
            config::path(&Settings::in_spite_of_config(home, qdrant_url)?.0, printer)
        }
        Command::Doctor(command) => doctor::run(&command, home, qdrant_url, printer),
        Command::Eval(command) => eval::run(&command, &settings()?, printer),
        Command::Experiment(command) => experiment::run(&command, &settings()?, printer),
        Command::Compare(command) => compare::run(&command, &settings()?, printer),
        Command::Optimise(command) => optimise::run(&command, &settings()?, printer),
        Command::TuneFusion(command) => tune_fusion::run(&command, &settings()?, printer),
        Command::Calibrate(command) => calibrate::run(&command, &settings()?, printer),
        Command::Verify(command) => verify::run(&command, &settings()?, printer),
        Command::Completions(command) => completions::completions(&command, printer),
        Command::Man(command) => completions::man(&command, printer),
    }
}

fn exit_code(error: &Error) -> u8 {
    match error {
        Error::Busy(_) => BUSY,
        Error::Interrupted(_) => INTERRUPTED,
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

/// A place in a file as a person looks it up: `a.md:3-5`, and `a.pdf p. 4` where there are pages.
fn place(path: &str, page: Option<u32>, (first, last): (u32, u32)) -> String {
    match page {
        Some(page) => format!("{} p. {page}", one_line(path)),
        None => format!("{}:{}", one_line(path), span(first, last)),
    }
}

/// Lines as `3-5`, or `3` for a single one.
fn span(first: u32, last: u32) -> String {
    if first == last { first.to_string() } else { format!("{first}-{last}") }
}
