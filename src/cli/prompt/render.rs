//! `incontext prompt render`: the text that a model reads, what it costs, and what had to be left out.

use clap::Args;
use serde_json::json;

use super::data::{Data, LISTS};
use super::reader::Reader;
use crate::cli::printer::Printer;
use crate::cli::settings::Settings;
use crate::cli::{Ending, help, load, tidy};
use crate::engine::ask::{Answering, Ask};
use crate::error::{Error, Result};
use crate::prompt::budget::{Dropped, Fitted, Window, fit};
use crate::prompt::{Given, Part, Prompt, Shown, Template, parts};

/// Show the exact text that a model reads, its tokens, and what did not fit its window
///
/// The text goes to standard output, the rest to standard error. Without -m turns stand under lines that say whose they
/// are, and nothing is left out.
#[derive(Args)]
#[command(after_long_help = help::examples(EXAMPLES))]
pub struct Render {
    /// task/name, or a .j2 file
    template: String,
    #[command(flatten)]
    data: Data,
    /// Retrieve the passages for the question from this collection, as `ask` does
    #[arg(short, long, value_name = "NAME")]
    collection: Option<String>,
    /// Passages to retrieve [default: 3 for a model below 300M parameters, else 5]
    #[arg(short, requires = "collection", value_parser = clap::value_parser!(u16).range(1..=20))]
    k: Option<u16>,
    /// As this model reads it: catalogue name, directory, GGUF file, or openai:NAME; its weights are not loaded
    #[arg(short, long, value_name = "NAME|PATH")]
    model: Option<String>,
    /// Fit it into a window of so many tokens [default: the model's]
    #[arg(long, value_name = "TOKENS")]
    window: Option<usize>,
    /// Print the text, its turns, its tokens by what they are for, and what was left out as JSON
    #[arg(long)]
    json: bool,
}

const EXAMPLES: help::Examples = &[
    (
        "What the default model reads when `ask` has it write",
        "incontext prompt render qa/grounded --question \"Who signed?\" -c default -m smollm2-135m-instruct",
    ),
    (
        "A row of a data set behind four demonstrations, in the second wording",
        "incontext prompt render classify/plain --data a.jsonl --demos b.jsonl --slot instruction=2",
    ),
    (
        "Values by hand",
        "incontext prompt render translate/plain --set source=French --set target=German --set input=Oui",
    ),
    (
        "How many tokens does it take?",
        "incontext prompt render generate/plain --set input=Hello --json | jq .tokens",
    ),
];

pub fn run(command: &Render, settings: &Settings, printer: &Printer) -> Result<Ending> {
    let template = settings.library().load(&command.template)?;
    command.data.check(&[&template])?;
    let mut given = command.data.given(&template, settings)?;
    complete(&template, &given)?;
    let reader = Reader::load(command.model.as_deref(), settings)?;
    if let Some(collection) = &command.collection {
        given.passages = passages(command, collection, &given, reader.parameters(), settings)?;
    }
    let context = reader.context(command.window)?;
    let completion = template.front().params.max_tokens;
    let window = Window { size: context.unwrap_or(usize::MAX), completion };
    let count = |prompt: &Prompt| reader.count(prompt);
    let fitted = fit(&template, &given.contents(), window, &count)?;
    // A template that cannot do without what is left out here has no parts to tell.
    let parts = reader.counts().then(|| parts(&template, &given.contents(), &fitted, &count).ok()).flatten();
    let text = reader.text(&fitted.prompt.layout)?;
    let window = context.map(|_| window);
    if command.json {
        printer.json(&as_json(command, &fitted, &text, reader.counts(), parts.as_deref(), window))?;
        return Ok(Ending::Done);
    }
    // A terminal is spared what a template of somebody else's may hold; a file gets every character.
    printer.line(if printer.streams() { tidy(&text) } else { text })?;
    remark(command, &fitted, &reader, parts.as_deref(), window, printer);
    Ok(Ending::Done)
}

/// Says how an input that is missing can be given.
fn complete(template: &Template, given: &Given) -> Result<()> {
    let brought = |input: &str| matches!(input, "passages" | "demos" | "history");
    match template.asked().find(|input| !brought(input) && !given.values.contains_key(*input)) {
        Some(missing) => {
            Err(Error::invalid(format!("template `{}` needs `{missing}`, which is not given", template.id()))
                .hint(match LISTS.contains(&missing) {
                    true => format!("--set-json '{missing}=[...]', or a row of --data that has it"),
                    false => format!("--set {missing}=TEXT, or a row of --data that has it"),
                }))
        }
        None => Ok(()),
    }
}

fn passages(
    command: &Render,
    collection: &str,
    given: &Given,
    parameters: Option<usize>,
    settings: &Settings,
) -> Result<Vec<Shown>> {
    let question = ["question", "input"].iter().find_map(|name| given.values.get(*name)?.as_str());
    let question = question.ok_or_else(|| {
        Error::invalid("there is no question to retrieve passages for").hint("give one with --question")
    })?;
    let collection = settings.home.open(&settings.collection(Some(collection)))?;
    let device = settings.device(None)?;
    let embedder = load::collection_embedder(&collection, None, &device, settings)?;
    let reranker = load::reranker(None, &device, settings)?;
    let ask = Ask {
        collection: &collection,
        embedder: &embedder,
        reranker: reranker.as_ref(),
        generation: None,
        answering: Answering::Extractive,
        k: command.k.map(usize::from),
        places: &settings.places,
    };
    Ok(ask.passages(question, parameters)?.iter().map(|hit| Shown::from(&hit.passage)).collect())
}

fn as_json(
    command: &Render,
    fitted: &Fitted,
    text: &str,
    counted: bool,
    parts: Option<&[Part]>,
    window: Option<Window>,
) -> serde_json::Value {
    let Fitted { prompt, tokens, shown, demos, dropped } = fitted;
    let left = |window: Window| window.size.saturating_sub(window.completion + tokens);
    json!({
        "name": prompt.name, "version": prompt.version, "model": command.model, "text": text,
        "messages": prompt.is_chat().then(|| prompt.messages()),
        "tokens": counted.then_some(tokens), "parts": parts,
        "window": window.map(|window| {
            json!({ "size": window.size, "completion": window.completion, "left": left(window) })
        }),
        "passages": shown, "demos": demos, "dropped": dropped, "params": prompt.params,
    })
}

fn remark(
    command: &Render,
    fitted: &Fitted,
    reader: &Reader,
    parts: Option<&[Part]>,
    window: Option<Window>,
    printer: &Printer,
) {
    let Prompt { name, version, .. } = &fitted.prompt;
    let by = match (reader, &command.model) {
        (Reader::Nobody(_), _) if fitted.prompt.is_chat() => {
            "; -m MODEL shows it in the model's own chat layout".to_owned()
        }
        (Reader::Nobody(_), _) => String::new(),
        (_, model) => format!(", as `{}` reads it", model.as_deref().unwrap_or_default()),
    };
    printer.note(format!("{name} {version}{by}"));
    let spent = parts.map_or(String::new(), |parts| {
        let parts: Vec<String> = parts.iter().map(|part| format!("{} {}", part.name, part.tokens)).collect();
        format!(": {}", parts.join(", "))
    });
    let how = match reader {
        Reader::Local(_) => "tokens",
        Reader::Endpoint(_) => "tokens, by a guess: the endpoint has the tokenizer",
        Reader::Nobody(Some(_)) => "tokens, as the default generator counts them",
        Reader::Nobody(None) => return printer.note("no model is here to count its tokens"),
    };
    printer.note(format!("{} {how}{spent}", fitted.tokens));
    if let Some(Window { size, completion }) = window {
        let left = size.saturating_sub(completion + fitted.tokens);
        printer.note(format!("window of {size}: {completion} kept for the answer, {left} left"));
    }
    if let Some(dropped) = Dropped::in_words(&fitted.dropped) {
        printer.note(format!("left out: {dropped}, which did not fit the window whole"));
    }
}
