//! `incontext prompt new`: a template of one's own, to begin with.

use std::io::ErrorKind;

use clap::Args;

use crate::cli::printer::Printer;
use crate::cli::settings::{PROMPTS, Settings};
use crate::cli::{Ending, help};
use crate::error::{Error, Result};
use crate::files;
use crate::prompt::{Library, Template};

/// Write a template of your own to begin with: a copy of one there is, with comments
///
/// It is written into the folder for built data, `.incontext/prompts/`, where its name finds it from anywhere below. A
/// template that is there is never overwritten; one of the name of a template that comes with the program takes its place.
#[derive(Args)]
#[command(after_long_help = help::examples(EXAMPLES))]
pub struct New {
    /// task/name
    name: String,
    /// Template to copy: task/name, or a .j2 file [default: the task's plainest, else generate/plain]
    #[arg(long, value_name = "NAME|FILE")]
    from: Option<String>,
}

const EXAMPLES: help::Examples = &[
    ("For sorting texts", "incontext prompt new classify/tickets"),
    ("Your own wording of what `ask` uses", "incontext prompt new qa/brief --from qa/grounded"),
    ("In its place, for everything asked in this folder", "incontext prompt new qa/grounded"),
];

/// What a new template says about itself.
const COMMENTS: &str = "\
# A template: settings between the lines of +++, and below them the text, in the language of minijinja (Jinja).
# `name` and `task` are what the file and its folder are called. `inputs` are names that are given values from outside.
# Under [params]: the longest answer in tokens, texts that end it, and 0 for the same answer every time.
# Under [vars.NAME]: a slot with alternatives. The first is used unless --slot NAME=N or an experiment takes another.
# Show data with `| line` (on one line) or `| quoted` (between quotation marks it cannot close).
# A line that is only <|system|>, <|user|> or <|assistant|> opens a turn; without any, the text is continued as it is.
";

pub fn run(command: &New, settings: &Settings, printer: &Printer) -> Result<Ending> {
    let unusable = |what: &str| {
        Error::invalid(format!("`{}` {what}", command.name)).hint("a name looks like `classify/tickets`")
    };
    let (task, name) = command.name.split_once('/').ok_or_else(|| unusable("is not task/name"))?;
    if name.starts_with('_') {
        return Err(unusable("is the name of a partial"));
    }
    let library = settings.library();
    let from = original(command, task, &library)?;
    let source = copied(&from, task, name);
    let file = settings.home.dir().join(PROMPTS).join(task).join(format!("{name}.j2"));
    // It has to be one before it is a file: the name may be none.
    library.parse(&file.display().to_string(), &source)?;
    files::create(&file, source.as_bytes()).map_err(|error| match error {
        Error::Io { source, .. } if source.kind() == ErrorKind::AlreadyExists => {
            Error::invalid(format!("there is a template `{}`", file.display()))
                .hint("edit it, or choose another name")
        }
        other => other,
    })?;
    printer.line(file.to_string_lossy())?;
    printer.note(format!(
        "a copy of {}; look at it with `incontext prompt render {}`",
        from.id(),
        command.name
    ));
    if library.list()?.iter().any(|listing| listing.id == command.name && listing.shipped) {
        printer.note("it takes the place of the one that comes with the program");
    }
    Ok(Ending::Done)
}

/// What the new template begins as.
fn original(command: &New, task: &str, library: &Library) -> Result<Template> {
    if let Some(from) = &command.from {
        return library.load(from);
    }
    let shipped: Vec<String> =
        library.list()?.into_iter().filter(|listing| listing.shipped).map(|listing| listing.id).collect();
    let same = shipped.iter().find(|id| **id == command.name);
    let plain = shipped.iter().find(|id| **id == format!("{task}/plain"));
    let first = || shipped.iter().find(|id| id.split('/').next() == Some(task));
    library.load(same.or(plain).or_else(first).map_or("generate/plain", String::as_str))
}

/// The source of `from` under another name, with comments.
fn copied(from: &Template, task: &str, name: &str) -> String {
    let mut in_tables = false;
    let line = |line: &str| {
        in_tables |= line.trim_start().starts_with('[');
        match line.split('=').next().map(str::trim) {
            Some("name") if !in_tables => format!("name = \"{name}\"\n"),
            Some("task") if !in_tables => format!("task = \"{task}\"\n"),
            _ => line.to_owned(),
        }
    };
    let front: Vec<&str> = from.source().split_inclusive('\n').take(from.lines_before()).collect();
    let (opening, front) = front.split_at(front.len().min(1));
    let front: String = front.iter().copied().map(line).collect();
    let comments = if front.contains(COMMENTS) { "" } else { COMMENTS };
    format!("{}{comments}{front}{}", opening.concat(), from.body())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_of_any_shipped_template_is_that_template_under_another_name() {
        let library = Library::default();
        for listing in library.list().unwrap() {
            let from = library.load(&listing.id).unwrap();
            let copy = library.parse("x/y.j2", &copied(&from, "x", "y")).unwrap();
            assert_eq!((copy.id(), copy.body()), ("x/y", from.body()));
            let (old, new) = (from.front(), copy.front());
            assert_eq!((&new.inputs, &new.params, &new.vars), (&old.inputs, &old.params, &old.vars));
            let again = copied(&copy, "x", "y");
            assert_eq!(again, copy.source(), "comments are written once");
        }
    }
}
