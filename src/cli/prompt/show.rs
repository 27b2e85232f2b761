//! `incontext prompt show`: a template as it lies in its file.

use clap::Args;
use serde_json::{Value, json};

use crate::cli::printer::Printer;
use crate::cli::settings::Settings;
use crate::cli::{Ending, help, one_line};
use crate::error::Result;
use crate::prompt::{Library, Template};

/// Show a template: the file as it is, what it includes, its version and where it is
///
/// The file goes to standard output, so it can be kept; the rest goes to standard error.
#[derive(Args)]
#[command(after_long_help = help::examples(EXAMPLES))]
pub struct Show {
    /// task/name, or a .j2 file
    template: String,
    /// Print the front matter, the body, the partials and the rest as JSON
    #[arg(long)]
    json: bool,
}

const EXAMPLES: help::Examples = &[
    ("The template of `ask`", "incontext prompt show qa/grounded"),
    ("The partial it includes", "incontext prompt show qa/_passages"),
    ("The instructions it can be given", "incontext prompt show qa/grounded --json | jq .slots.instruction"),
];

pub fn run(command: &Show, settings: &Settings, printer: &Printer) -> Result<Ending> {
    let library = settings.library();
    let name = command.template.as_str();
    if is_partial(name) {
        let name = format!("{name}.j2");
        let text = library.partial(&name)?;
        match command.json {
            true => printer.json(&json!({ "name": name, "file": library.file(&name), "text": text }))?,
            false => {
                printer.data(&text)?;
                printer.note(format!("a partial; {}", place(&library, &name)));
            }
        }
        return Ok(Ending::Done);
    }
    let template = library.load(name)?;
    if command.json {
        printer.json(&as_json(&library, name, &template))?;
        return Ok(Ending::Done);
    }
    printer.data(template.source())?;
    if !template.source().ends_with('\n') {
        printer.line("")?;
    }
    let form = if template.is_chat() { "turns of a chat" } else { "one text to be continued" };
    let where_it_is =
        if name.ends_with(".j2") { one_line(name) } else { place(&library, &format!("{name}.j2")) };
    printer.note(format!("{}, version {}: {form}; {where_it_is}", template.id(), template.version()));
    for (partial, _) in template.partials() {
        printer.note(format!("includes {partial}; {}", place(&library, partial)));
    }
    Ok(Ending::Done)
}

fn is_partial(name: &str) -> bool {
    !name.ends_with(".j2") && name.rsplit('/').next().is_some_and(|name| name.starts_with('_'))
}

fn place(library: &Library, path: &str) -> String {
    match library.file(path) {
        Some(file) => one_line(&file.display().to_string()),
        None => "comes with the program".to_owned(),
    }
}

fn as_json(library: &Library, name: &str, template: &Template) -> Value {
    let partial =
        |(name, text): (&str, &str)| json!({ "name": name, "file": library.file(name), "text": text });
    let file = match name.ends_with(".j2") {
        true => Some(name.into()),
        false => library.file(&format!("{name}.j2")),
    };
    let front = template.front();
    json!({
        "name": template.id(), "version": template.version(), "file": file, "chat": template.is_chat(),
        "inputs": template.asked().collect::<Vec<_>>(), "params": front.params, "fewshot": front.fewshot,
        "slots": slots(template), "body": template.body(),
        "partials": template.partials().map(partial).collect::<Vec<_>>(),
    })
}

/// The choices of every slot, by name.
pub fn slots(template: &Template) -> Value {
    template.front().vars.iter().map(|(name, slot)| (name.clone(), json!(slot.choices))).collect()
}
