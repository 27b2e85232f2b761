//! `incontext experiment import`: an experiment made of a configuration of promptfoo.

use std::path::PathBuf;

use clap::Args;

use crate::cli::printer::Printer;
use crate::cli::{Ending, help};
use crate::error::Result;
use crate::experiment::promptfoo;
use crate::experiment::table::counted;

/// Make an experiment of a configuration of promptfoo
///
/// Prompts become templates, tests become rows with assertions of their own, chat models of OpenAI-compatible endpoints
/// become the models that are asked. What changes nothing is passed over with a note; what would is refused by name.
#[derive(Args)]
#[command(after_long_help = help::examples(EXAMPLES))]
pub struct Import {
    /// The configuration, a YAML file
    file: PathBuf,
    /// Folder for the experiment [default: one beside the file, called as it is]
    #[arg(short, long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Write over an experiment that is there
    #[arg(long)]
    replace: bool,
}

const EXAMPLES: help::Examples = &[(
    "Make an experiment of it, to be run with `incontext experiment run prompts/promptfooconfig.toml`",
    "incontext experiment import promptfooconfig.yaml -o prompts",
)];

pub fn run(command: &Import, printer: &Printer) -> Result<Ending> {
    let imported = promptfoo::read(&command.file)?;
    let out = command.out.clone().unwrap_or_else(|| command.file.with_extension(""));
    imported.write(&out, command.replace)?;
    for note in &imported.notes {
        printer.note(note);
    }
    let file = out.join(imported.file());
    printer.line(format!(
        "{}, {}: {}",
        counted(imported.prompts.len(), "prompt"),
        counted(imported.rows.len(), "row"),
        file.display()
    ))?;
    printer.note(format!("next: incontext experiment run {}", file.display()));
    Ok(Ending::Done)
}
