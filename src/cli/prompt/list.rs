//! `incontext prompt list`: which templates there are.

use clap::Args;
use serde_json::json;

use crate::cli::printer::Printer;
use crate::cli::settings::Settings;
use crate::cli::{Ending, help, one_line, tidy};
use crate::error::Result;
use crate::prompt::Template;
use crate::prompt::front::Slot;
use crate::prompt::library::Listing;

/// List the templates there are: yours, and those that come with the program
#[derive(Args)]
#[command(after_long_help = help::examples(EXAMPLES))]
pub struct List {
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

const EXAMPLES: help::Examples = &[
    ("What is there, what does it need, what can be varied?", "incontext prompt list"),
    (
        "Templates for one task",
        "incontext prompt list --json | jq -r '.[] | select(.task == \"classify\").name'",
    ),
];

pub fn run(command: &List, settings: &Settings, printer: &Printer) -> Result<Ending> {
    let library = settings.library();
    let read = |listing: Listing| (library.load(&listing.id), listing);
    let read: Vec<(Result<Template>, Listing)> = library.list()?.into_iter().map(read).collect();
    if command.json {
        let rows: Vec<_> = read.iter().map(|(template, listing)| row(listing, template)).collect();
        printer.json(&rows)?;
        return Ok(Ending::Done);
    }
    let width = read.iter().map(|(_, listing)| listing.id.chars().count()).max().unwrap_or(0);
    for (template, listing) in &read {
        let name = one_line(&listing.id);
        let about = match template {
            Ok(template) => about(template),
            Err(error) => format!("cannot be read: {}", tidy(&error.to_string())),
        };
        printer.line(format!("{name:width$}  {about}{}", place(listing)))?;
    }
    Ok(Ending::Done)
}

fn about(template: &Template) -> String {
    let form = if template.is_chat() { "chat" } else { "text" };
    let inputs: Vec<&str> = template.asked().collect();
    let slot = |(name, slot): (&String, &Slot)| format!("{name} ({})", slot.choices.len());
    let slots: Vec<String> = template.front().vars.iter().map(slot).collect();
    let slots = if slots.is_empty() { String::new() } else { format!("; slots: {}", slots.join(", ")) };
    format!("{}  {form}  {}{slots}", template.version(), inputs.join(", "))
}

/// Where a template of the person's own is.
fn place(listing: &Listing) -> String {
    let Some(file) = &listing.file else { return String::new() };
    let file = one_line(&file.display().to_string());
    let instead = if listing.shipped { ", in place of the one that comes with the program" } else { "" };
    format!("  <- {file}{instead}")
}

fn row(listing: &Listing, template: &Result<Template>) -> serde_json::Value {
    let mut row = json!({
        "name": listing.id, "task": listing.id.split('/').next(), "file": listing.file,
        "replaces": listing.file.is_some() && listing.shipped,
    });
    match template {
        Ok(template) => {
            row["version"] = template.version().into();
            row["chat"] = template.is_chat().into();
            row["inputs"] = template.asked().collect();
            row["slots"] = super::show::slots(template);
        }
        Err(error) => row["error"] = error.to_string().into(),
    }
    row
}
