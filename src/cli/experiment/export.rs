//! `incontext experiment export`: results for other programs.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::folder_of;
use crate::cli::printer::Printer;
use crate::cli::{Ending, help};
use crate::error::{Error, IoContext, Result};
use crate::experiment::{folder, table, write};
use crate::files;

/// Print results in another form: CSV, Markdown, JSON, rows as JSON Lines, JUnit, TREC
#[derive(Args)]
#[command(after_long_help = help::examples(EXAMPLES))]
pub struct Export {
    /// The folder of the results, or the experiment's file
    run: PathBuf,
    /// In which form
    #[arg(short, long, value_enum)]
    format: Form,
    /// Write it there instead of printing it
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// A line a cell, every number with all its digits
    Csv,
    /// The table as a person reads it
    Markdown,
    /// The whole summary
    Json,
    /// A line a row: input, prompt, output, metrics
    Jsonl,
    /// Assertions, as build servers read them
    Junit,
    /// What was retrieved, as trec_eval reads it
    Trec,
}

const EXAMPLES: help::Examples = &[
    ("The table, to be pasted", "incontext experiment export prompts.toml -f markdown"),
    (
        "Inputs and outputs of one cell",
        "incontext experiment export results/prompts -f jsonl | jq 'select(.cell == \"c02\").output'",
    ),
];

pub fn run(command: &Export, printer: &Printer) -> Result<Ending> {
    let dir = folder_of(&command.run)?;
    let file = |name: &str, hint: &str| -> Result<String> {
        let path = dir.join(name);
        match path.exists() {
            true => std::fs::read_to_string(&path).at("read", &path),
            false => Err(Error::not_found(format!("`{}` is not there", path.display())).hint(hint)),
        }
    };
    let again = "incontext experiment resume makes it again";
    let text = match command.format {
        Form::Csv => table::csv(&write::summary(&dir)?),
        Form::Markdown => table::markdown(&write::summary(&dir)?),
        Form::Json => file(folder::SUMMARY, again)?,
        Form::Junit => file(write::JUNIT, again)?,
        Form::Trec => file(write::TREC, "only questions over a collection retrieve anything")?,
        Form::Jsonl => {
            let mut text = String::new();
            for row in folder::current(&dir)? {
                let line = serde_json::to_string(&row?);
                text += &line.map_err(|error| Error::invalid(format!("a row cannot be written: {error}")))?;
                text.push('\n');
            }
            text
        }
    };
    match &command.out {
        Some(out) => files::replace(out, text.as_bytes())?,
        None => printer.data(&text)?,
    }
    Ok(Ending::Done)
}
