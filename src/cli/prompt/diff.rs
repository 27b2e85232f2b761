//! `incontext prompt diff`: what two templates say differently, and what a model would read differently.

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;

use super::data::Data;
use crate::cli::printer::Printer;
use crate::cli::settings::Settings;
use crate::cli::{Ending, help, tidy};
use crate::error::{Error, Result};
use crate::prompt::budget::{Window, fit};
use crate::prompt::{Layout, Library, Template};
use crate::text::difference::difference;

/// Compare two templates word by word; with values, also the texts that come of them
///
/// What only the first says stands in [-...-], what only the second says in {+...+}.
#[derive(Args)]
#[command(after_long_help = help::examples(EXAMPLES))]
pub struct Diff {
    /// task/name, or a .j2 file
    first: String,
    /// The same [default: FIRST is held against the one that comes with the program]
    second: Option<String>,
    #[command(flatten)]
    data: Data,
}

const EXAMPLES: help::Examples = &[
    ("Two templates", "incontext prompt diff qa/grounded qa/fewshot"),
    ("What your own has changed", "incontext prompt diff qa/grounded"),
    (
        "What a model would read otherwise",
        "incontext prompt diff classify/plain classify/chat --data reviews.jsonl --row 3",
    ),
];

/// Lines shown around a change.
const AROUND: usize = 2;

pub fn run(command: &Diff, settings: &Settings, printer: &Printer) -> Result<Ending> {
    let library = settings.library();
    let (old, new) = match &command.second {
        Some(second) => (library.load(&command.first)?, library.load(second)?),
        None => (shipped(&command.first, &library)?, library.load(&command.first)?),
    };
    command.data.check(&[&old, &new])?;
    let mut same = show(&old, &new, old.source(), new.source(), "", printer)?;
    let partials: [BTreeMap<&str, &str>; 2] = [&old, &new].map(|template| template.partials().collect());
    for name in partials.iter().flat_map(BTreeMap::keys).collect::<BTreeSet<_>>() {
        let [was, is] = partials.each_ref().map(|partials| partials.get(name).copied().unwrap_or_default());
        same &= show(&old, &new, was, is, &format!(" ({name})"), printer)?;
    }
    if same {
        printer.note("the templates are the same");
    }
    if command.data.is_given() {
        let (was, is) = (rendered(&old, &command.data, settings)?, rendered(&new, &command.data, settings)?);
        if show(&old, &new, &was, &is, ", filled in", printer)? {
            printer.note("filled in, they are the same");
        }
    }
    Ok(Ending::Done)
}

/// The one that comes with the program.
fn shipped(name: &str, library: &Library) -> Result<Template> {
    let listed = library.list()?;
    match listed.iter().any(|listing| listing.id == name && listing.shipped) {
        true => Library::default().load(name),
        false => {
            library.load(name)?;
            Err(Error::not_found(format!("no template `{name}` comes with the program"))
                .hint("name two templates to compare"))
        }
    }
}

fn rendered(template: &Template, data: &Data, settings: &Settings) -> Result<String> {
    let given = data.given(template, settings)?;
    let window = Window { size: usize::MAX, completion: 0 };
    let prompt = fit(template, &given.contents(), window, &|_| Ok(0))?.prompt;
    Ok(match &prompt.layout {
        Layout::Text(text) => text.clone(),
        chat @ Layout::Chat(_) => chat.marked(),
    })
}

/// Prints what differs between `was` and `is`; says whether nothing does.
fn show(old: &Template, new: &Template, was: &str, is: &str, what: &str, printer: &Printer) -> Result<bool> {
    let lines = difference(was, is);
    let is_near = |at: usize| {
        lines[at.saturating_sub(AROUND)..lines.len().min(at + AROUND + 1)].iter().any(|line| line.changed)
    };
    if !lines.iter().any(|line| line.changed) {
        return Ok(true);
    }
    printer.line(format!("--- {} {}{what}", old.id(), old.version()))?;
    printer.line(format!("+++ {} {}{what}", new.id(), new.version()))?;
    let mut shown = None;
    for (at, line) in lines.iter().enumerate().filter(|(at, _)| is_near(*at)) {
        if shown != Some(at) {
            printer.line(format!("@@ line {}", line.number))?;
        }
        printer.line(tidy(&line.text))?;
        shown = Some(at + 1);
    }
    Ok(false)
}
