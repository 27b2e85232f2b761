//! `incontext generate`: texts from texts, by the model as it is or as it was taught, without documents.

use std::ops::ControlFlow;
use std::time::Instant;

use clap::Args;
use serde_json::{Map, Value, json};

use super::inputs::Inputs;
use super::printer::Printer;
use super::settings::Settings;
use super::shots::{self, Pool, Shots};
use super::tuned::{Chosen, Tuned};
use super::{Ending, device, help, load, tidy};
use crate::error::{Error, Result};
use crate::generate::{Completion, Sampling};
use crate::prompt::budget::{Contents, Window, fit};
use crate::prompt::{self, Prompt, Template};
use crate::retrieve::demos::{Demonstrations, Select};
use crate::text::example::{Columns, Example};
use crate::text::layout::Layout;
use crate::text::tokenizer::Message;

/// The template where demonstrations are to be shown, unless another is named.
const WITH_DEMOS: &str = "generate/plain";

/// Tokens that are written at most, unless a template or a person says otherwise.
const USUAL_TOKENS: usize = 256;

/// Write what belongs to each text, as an adapter was taught or a prompt asks
///
/// Each text is laid out as the adapter's training rows were: by its template, or as a turn of the model's chat. --prompt names
/// another template; --pool shows worked examples. Questions about documents are asked by `ask`. Exit code 1 when a text failed.
#[derive(Args)]
#[command(after_long_help = help::examples(EXAMPLES))]
pub struct Generate {
    /// Texts, each in quotes
    #[arg(value_name = "TEXT", required_unless_present = "file", conflicts_with = "file")]
    texts: Vec<String>,
    /// Many texts, one a line or as JSON Lines with `input`, `text` or `question`; - reads standard input
    #[arg(short, long, value_name = "FILE")]
    file: Option<String>,
    #[command(flatten)]
    pool: Pool,
    #[command(flatten)]
    shots: Shots,
    /// What JSON rows call the text [default: `input`, `question` or `text`]
    #[arg(long, value_name = "FIELD")]
    input_field: Option<String>,
    /// Prompt template: task/name, or a .j2 file [default: the adapter's, else a turn of the model's chat]
    #[arg(long, value_name = "NAME|FILE")]
    prompt: Option<String>,
    /// Tokens to write at most [default: the template's, else 256]
    #[arg(long, value_name = "N")]
    max_tokens: Option<usize>,
    /// How freely tokens are drawn; 0 takes the likeliest [default: the template's, else 0]
    #[arg(long, value_name = "T")]
    temperature: Option<f64>,
    /// Generator: catalogue name, directory, GGUF file, or openai:NAME at an endpoint [default: smollm2-135m-instruct]
    #[arg(long, value_name = "NAME|PATH")]
    model: Option<String>,
    #[command(flatten)]
    tuned: Tuned,
    /// Encoder that finds near demonstrations [default: all-minilm-l6-v2]
    #[arg(long, value_name = "NAME|DIR")]
    embedder: Option<String>,
    /// Where models of this machine compute [default: cpu]
    #[arg(long, value_enum)]
    device: Option<device::Kind>,
    /// Print what was written and what it took as JSON, for many texts a line each
    #[arg(long)]
    json: bool,
}

const EXAMPLES: help::Examples = &[
    ("What an adapter was taught", "incontext generate --adapter notes \"name[Aromi], food[English]\""),
    (
        "Every row of a file, for another program",
        "incontext generate --adapter notes --file rows.jsonl --json",
    ),
    (
        "The model as it is, shown five worked examples near each text",
        "incontext generate --base --pool solved.jsonl --shots 5 --file new.txt",
    ),
];

/// How a text becomes a prompt.
enum Way {
    /// A turn of the user's, in the model's chat layout.
    Turn,
    /// As it stands.
    Plain,
    Template(Box<Template>, Demonstrations),
}

pub fn run(command: &Generate, settings: &Settings, printer: &Printer) -> Result<Ending> {
    let chosen = command.tuned.over(command.model.as_deref(), settings)?;
    let device = settings.device(command.device)?;
    let columns = Columns { input: command.input_field.clone(), answer: None };
    let template = command.template(&chosen, settings)?;
    let pool = match &template {
        Some(template) => command.pool.rows(template, &columns)?,
        None => None,
    };
    if pool.is_none() && command.shots.is_given() {
        return Err(Error::invalid("there is nothing to choose demonstrations from").hint("--pool FILE"));
    }
    let mut embedder = None;
    let way = match template {
        None if is_plain(&chosen) => Way::Plain,
        None => Way::Turn,
        Some(template) => {
            let demonstrations = match pool {
                None => Demonstrations::new(Vec::new(), Vec::new(), Select::None, 0, 0),
                Some(pool) => {
                    shots::check(&template)?;
                    let select = command.shots.select(&template);
                    if select.needs_vectors() {
                        let name = settings.embedder(command.embedder.as_deref());
                        embedder = Some(load::embedder(&name, &device, settings)?);
                    }
                    command.shots.of(pool, select, &template, embedder.as_ref(), settings)?
                }
            };
            Way::Template(Box::new(template), demonstrations)
        }
    };
    let mut inputs = Inputs::open(&command.texts, command.file.as_deref(), columns)?;
    let generator = load::generator(&chosen, &device, settings)?;

    let write = |row: &Example, values: &Map<String, Value>| -> Result<Completion> {
        let (layout, sampling) = match &way {
            Way::Turn => (Layout::Chat(turn(&row.input)), command.sampling(None)),
            Way::Plain => (Layout::Text(Layout::Chat(turn(&row.input)).text()), command.sampling(None)),
            Way::Template(template, demonstrations) => {
                let sampling = command.sampling(Some(template));
                let vector = shots::vector(demonstrations, embedder.as_ref(), &row.input)?;
                let (demos, order) = prompt::shots(demonstrations, template, &row.input, &vector)?;
                let contents = Contents { demos: &demos, order, ..Contents::of(values) };
                let window = Window { size: generator.context(), completion: sampling.max_tokens };
                let count = |prompt: &Prompt| generator.count(&prompt.layout);
                (fit(template, &contents, window, &count)?.prompt.layout, sampling)
            }
        };
        generator.generate(&layout, &sampling, &mut |_| ControlFlow::Continue(()))
    };
    let (mut seen, mut failed) = (0, 0);
    for row in &mut inputs.rest {
        let row = row?;
        seen += 1;
        let start = Instant::now();
        match write(&row, &row.asked(&inputs.columns)) {
            Ok(written) => show(&row, &written, start, inputs.many, &chosen, command.json, printer)?,
            // What is wrong with an endpoint is wrong for all rows.
            Err(error) if !inputs.many || !matches!(error, Error::TooLong(_) | Error::Invalid(_)) => {
                return Err(error);
            }
            Err(error) => {
                failed += 1;
                match command.json {
                    true => printer.json_line(&json!({ "id": row.id, "input": row.input,
                        "error": error.to_string(), "hint": error.advice() }))?,
                    false => printer.line("(failed)")?,
                }
                printer.failed(&error.within(format!("`{}`", row.id)));
            }
        }
    }
    if seen == 0 {
        return Err(Error::invalid("there is no text to go by").hint("a text a line, or JSON Lines"));
    }
    Ok(if failed == 0 { Ending::Done } else { Ending::No(1) })
}

fn turn(text: &str) -> Vec<Message> {
    vec![Message::new("user", text)]
}

/// Whether the adapter's rows were read without the model's chat layout.
fn is_plain(chosen: &Chosen) -> bool {
    let about = chosen.adapter.as_ref().and_then(|adapter| adapter.about.as_ref());
    about.is_some_and(|about| about.training["job"]["data"]["plain"].as_bool().unwrap_or(false))
}

fn show(
    row: &Example,
    written: &Completion,
    start: Instant,
    many: bool,
    chosen: &Chosen,
    as_json: bool,
    printer: &Printer,
) -> Result<()> {
    let text = written.text.trim();
    if as_json {
        let ms = (start.elapsed().as_secs_f64() * 1e4).round() / 10.0;
        let adapter = chosen.adapter.as_ref().map(|adapter| &adapter.name);
        let value = json!({ "id": row.id, "input": row.input, "output": text, "model": chosen.model, "adapter": adapter,
            "prompt_tokens": written.prompt_tokens, "completion_tokens": written.completion_tokens, "ms": ms });
        return if many { printer.json_line(&value) } else { printer.json(&value) };
    }
    match many {
        // One a line, so that lines can be told apart.
        true => printer.line(tidy(&text.split_whitespace().collect::<Vec<_>>().join(" "))),
        false => printer.line(tidy(text)),
    }
}

impl Generate {
    /// The template that is typed, that demonstrations need, or that the adapter was trained by.
    fn template(&self, chosen: &Chosen, settings: &Settings) -> Result<Option<Template>> {
        let template = match (&self.prompt, self.pool.pool.is_some()) {
            (Some(name), _) => Some(settings.library().load(name)?),
            (None, true) => Some(settings.library().load(WITH_DEMOS)?),
            (None, false) => chosen.template(settings)?,
        };
        let asks = template.as_ref().filter(|template| {
            template.front().inputs.iter().any(|input| matches!(input.as_str(), "passages" | "labels"))
        });
        match asks {
            Some(template) => Err(Error::invalid(format!(
                "`{}` shows passages or labels, of which there are none here",
                template.id()
            ))
            .hint("`incontext ask` finds passages, `incontext classify` knows labels")),
            None => Ok(template),
        }
    }

    fn sampling(&self, template: Option<&Template>) -> Sampling {
        let params = template.map(|template| &template.front().params);
        Sampling {
            max_tokens: self.max_tokens.unwrap_or(params.map_or(USUAL_TOKENS, |params| params.max_tokens)),
            temperature: self
                .temperature
                .unwrap_or(params.map_or(0.0, |params| f64::from(params.temperature))),
            stop: params.map(|params| params.stop.clone()).unwrap_or_default(),
            ..Sampling::default()
        }
    }
}
