//! `incontext prompt lint`: faults of templates, found before a model reads them.

use clap::Args;
use serde_json::json;

use crate::cli::printer::Printer;
use crate::cli::settings::Settings;
use crate::cli::{Ending, help, one_line, tidy};
use crate::error::Result;
use crate::experiment::table::counted;
use crate::prompt::lint::{Finding, Level, lint};

/// Look templates over for what they may not mean
///
/// An error is a template that cannot be used; a warning is most likely a slip; a note may well be meant. Exit code 1 when
/// an error is found, with --strict when a warning is.
#[derive(Args)]
#[command(after_long_help = help::examples(EXAMPLES))]
pub struct Lint {
    /// task/name, or .j2 files [default: all there are]
    templates: Vec<String>,
    /// Fail on warnings, too
    #[arg(long)]
    strict: bool,
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
}

const EXAMPLES: help::Examples = &[
    ("All templates", "incontext prompt lint"),
    ("Those of a repository, before a change is merged", "incontext prompt lint --strict prompts/*.j2"),
];

pub fn run(command: &Lint, settings: &Settings, printer: &Printer) -> Result<Ending> {
    let library = settings.library();
    let names = match &command.templates[..] {
        [] => library.list()?.into_iter().map(|listing| listing.id).collect(),
        named => named.to_vec(),
    };
    let found: Vec<(String, Vec<Finding>)> = names
        .into_iter()
        .map(|name| {
            let found = match library.load(&name) {
                Ok(template) => lint(&template),
                Err(error) => {
                    let hint = error.advice().map_or(String::new(), |hint| format!("; {hint}"));
                    vec![Finding { level: Level::Error, what: format!("{error}{hint}"), line: None }]
                }
            };
            (name, found)
        })
        .collect();
    let number = |level| found.iter().flat_map(|(_, found)| found).filter(|f| f.level == level).count();
    let (errors, warnings, notes) = (number(Level::Error), number(Level::Warning), number(Level::Note));
    match command.json {
        true => {
            let rows = found.iter().map(|(name, found)| json!({ "name": name, "findings": found }));
            printer.json(&rows.collect::<Vec<_>>())?;
        }
        false => {
            for (name, found) in &found {
                for Finding { level, what, line } in found {
                    let line = line.map_or(String::new(), |line| format!(":{line}"));
                    printer.line(format!("{}{line}: {}: {}", one_line(name), level.name(), tidy(what)))?;
                }
            }
        }
    }
    printer.note(format!(
        "{}: {}, {}, {}",
        counted(found.len(), "template"),
        counted(errors, "error"),
        counted(warnings, "warning"),
        counted(notes, "note")
    ));
    let failed = errors > 0 || (command.strict && warnings > 0);
    Ok(if failed { Ending::No(1) } else { Ending::Done })
}
