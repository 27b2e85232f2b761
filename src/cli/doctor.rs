//! `incontext doctor`: how things stand, one line a finding, and for whatever is wrong what to do.
//!
//! It looks and never mends: every remedy it names is a command of a person's own. Nothing it finds stops it, so that one
//! broken thing does not hide another.

mod adapters;
mod collections;
mod configuration;
mod machine;
mod models;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use clap::Args;
use serde::Serialize;
use serde_json::json;

use super::help;
use super::printer::Printer;
use super::settings::Settings;
use super::{Ending, load, tidy};
use crate::embed::Embedder;
use crate::error::{Error, Result};

/// Check models, adapters, settings, collections and disk, and say what to do
///
/// Every line is `ok`, a `note` (worth knowing, nothing to fix) or a `problem`, followed by what to do. Files of models
/// are compared with what was verified when they came; --deep hashes them again and loads every model.
#[derive(Args)]
#[command(after_long_help = help::examples(EXAMPLES))]
pub struct Doctor {
    /// Also hash every model file again and load the generator, with its adapter
    #[arg(long)]
    deep: bool,
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
}

const EXAMPLES: help::Examples = &[
    ("How do things stand in this folder?", "incontext doctor"),
    ("Something is odd: look closely, which takes a few seconds", "incontext doctor --deep"),
    (
        "In a script: exit code 1 when something is wrong",
        "incontext doctor --quiet > /dev/null || echo broken",
    ),
];

pub fn run(
    command: &Doctor,
    home: Option<&Path>,
    qdrant_url: Option<&str>,
    printer: &Printer,
) -> Result<Ending> {
    let (settings, refused) = Settings::in_spite_of_config(home, qdrant_url)?;
    let mut report = Report::default();
    let mut encoders = Encoders { settings: &settings, loaded: BTreeMap::new() };
    machine::check(&settings, &mut report);
    configuration::check(&settings, refused.as_ref(), &mut report);
    models::check(&settings, command.deep, &mut encoders, &mut report);
    adapters::check(&settings, command.deep, &mut report);
    collections::check(&settings, &mut encoders, &mut report);

    let (problems, notes) = (report.count(Level::Problem), report.count(Level::Note));
    if command.json {
        printer.json(&json!({ "program": env!("CARGO_PKG_VERSION"), "problems": problems, "notes": notes,
            "findings": report.findings }))?;
    } else {
        report.findings.iter().try_for_each(|finding| printer.line(finding.to_string()))?;
        printer.note(match problems {
            0 => "\nno problems".to_owned(),
            1 => "\n1 problem".to_owned(),
            _ => format!("\n{problems} problems"),
        });
    }
    Ok(if problems == 0 { Ending::Done } else { Ending::No(1) })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Ok,
    /// Worth knowing; nothing is wrong.
    Note,
    Problem,
}

/// One thing looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Finding {
    level: Level,
    /// What was looked at, such as `collection notes`.
    subject: String,
    found: String,
    /// What to do about it, a command where there is one.
    #[serde(rename = "do")]
    remedy: Option<String>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// Under the text of the first line.
        const MARGIN: &str = "\n         ";
        let level = match self.level {
            Level::Ok => "ok",
            Level::Note => "note",
            Level::Problem => "problem",
        };
        write!(f, "{level:7}  {}: {}", tidy(&self.subject), tidy(&self.found).replace('\n', MARGIN))?;
        match &self.remedy {
            Some(remedy) => write!(f, "{MARGIN}do: {}", tidy(remedy).replace('\n', MARGIN)),
            None => Ok(()),
        }
    }
}

/// What was found, in the order in which it was looked at.
#[derive(Debug, Default)]
struct Report {
    findings: Vec<Finding>,
}

impl Report {
    fn ok(&mut self, subject: impl Into<String>, found: impl Into<String>) {
        self.add(Level::Ok, subject, found, None);
    }

    fn note(&mut self, subject: impl Into<String>, found: impl Into<String>, remedy: Option<String>) {
        self.add(Level::Note, subject, found, remedy);
    }

    /// Whatever is wrong comes with what to do.
    fn problem(&mut self, subject: impl Into<String>, found: impl Into<String>, remedy: impl Into<String>) {
        self.add(Level::Problem, subject, found, Some(remedy.into()));
    }

    /// An error as it came, with its own advice.
    fn error(&mut self, subject: impl Into<String>, error: &Error, otherwise: &str) {
        self.problem(subject, error.to_string(), error.advice().unwrap_or(otherwise));
    }

    fn add(
        &mut self,
        level: Level,
        subject: impl Into<String>,
        found: impl Into<String>,
        remedy: Option<String>,
    ) {
        self.findings.push(Finding { level, subject: subject.into(), found: found.into(), remedy });
    }

    fn count(&self, level: Level) -> usize {
        self.findings.iter().filter(|finding| finding.level == level).count()
    }
}

/// Encoders by name, each loaded once however many collections were built with it.
struct Encoders<'a> {
    settings: &'a Settings,
    loaded: BTreeMap<String, Result<Embedder>>,
}

impl Encoders<'_> {
    fn get(&mut self, name: &str) -> std::result::Result<&Embedder, &Error> {
        let load = || load::embedder(name, &self.settings.device(None)?, self.settings);
        self.loaded.entry(name.to_owned()).or_insert_with(load).as_ref()
    }
}

/// `1 document`, `2 documents`.
fn count(n: usize, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

/// An argument as a shell takes it.
fn quoted(argument: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "._-/~+:@%".contains(c);
    match !argument.is_empty() && argument.chars().all(plain) {
        true => argument.to_owned(),
        false => format!("'{}'", argument.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_one_line_and_what_to_do_stands_below_it() {
        let mut report = Report::default();
        report.ok("disk", "free");
        report.problem("config", "line 1\nline 2", "edit it");
        let lines: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            ["ok       disk: free", "problem  config: line 1\n         line 2\n         do: edit it"]
        );
    }

    #[test]
    fn counts_and_arguments_are_written_as_people_write_them() {
        assert_eq!([count(1, "note"), count(2, "note")], ["1 note", "2 notes"]);
        assert_eq!(["a/b.md", "my notes", "it's"].map(quoted), ["a/b.md", "'my notes'", r"'it'\''s'"]);
    }
}
