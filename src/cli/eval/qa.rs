//! `incontext eval qa`: how good are the answers?

use std::fs;
use std::ops::ControlFlow;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::cli::printer::Printer;
use crate::cli::settings::Settings;
use crate::cli::{Ending, ask, device, help, load};
use crate::engine::ask::{Answer, Answering, Ask, Generation};
use crate::engine::{Citation, Places};
use crate::error::Result;
use crate::eval::data::Source;
use crate::eval::qa::{Judged, Question, Said, Scores};
use crate::eval::stats::{Bootstrap, Estimate};
use crate::files;

use crate::prompt::Library;

/// Judge answers: exact match, F1, refusals, citations, latency
///
/// Asks every question of a file and holds the answers against those that are known.
#[derive(Args)]
#[command(after_long_help = help::examples(EXAMPLES))]
pub struct Qa {
    /// JSON lines with `question` and `answers`; one without answers should be refused; may be gzipped
    #[arg(long, value_name = "FILE")]
    questions: PathBuf,
    /// Collection to ask [default: default]
    #[arg(short, long, value_name = "NAME")]
    collection: Option<String>,
    /// How the answers come about
    #[arg(long, value_enum, default_value_t = ask::How::Extractive)]
    answer: ask::How,
    /// Generator: catalogue name, directory, GGUF file, or openai:NAME at an endpoint [default: smollm2-135m-instruct]
    #[arg(long, value_name = "NAME|PATH")]
    model: Option<String>,
    /// Encoder, if it is not where the collection's was [default: the collection's]
    #[arg(long, value_name = "NAME|DIR")]
    embedder: Option<String>,
    /// Prompt template: task/name, or a .j2 file [default: qa/grounded]
    #[arg(long, value_name = "NAME|FILE")]
    prompt: Option<String>,
    /// Cross-encoder that reads the best passages again and orders them [default: none]
    #[arg(long, value_name = "DIR")]
    rerank: Option<String>,
    /// Where models of this machine compute [default: cpu]
    #[arg(long, value_enum)]
    device: Option<device::Kind>,
    /// Passages to read [default: 3 for a model below 300M parameters, else 5]
    #[arg(short, value_parser = clap::value_parser!(u16).range(1..=20))]
    k: Option<u16>,
    /// Write each question's answer and judgement there, as JSON Lines
    #[arg(long, value_name = "FILE")]
    rows: Option<PathBuf>,
    /// Print the scores as JSON
    #[arg(long)]
    json: bool,
}

const EXAMPLES: help::Examples = &[
    (
        "The collection `papers`, in the documents' own words, every answer kept",
        "incontext eval qa --questions questions.jsonl -c papers --rows judged.jsonl",
    ),
    (
        "What a model makes of it",
        "incontext eval qa --questions questions.jsonl -c papers --answer generate --model my-model.gguf --json",
    ),
];

pub fn run(command: &Qa, settings: &Settings, printer: &Printer) -> Result<Ending> {
    let source = Source::read(&command.questions)?;
    let questions = Question::all(&source)?;
    let name = settings.collection(command.collection.as_deref());
    let collection = settings.home.open(&name)?;
    let device = settings.device(command.device)?;
    let embedder = load::collection_embedder(&collection, command.embedder.as_deref(), &device, settings)?;
    let reranker = load::reranker(command.rerank.as_deref(), &device, settings)?;
    let model = settings.model(command.model.as_deref());
    let generator = match command.answer.needs(&model) {
        true => Some(load::generator(&model, &device, settings)?),
        false => None,
    };
    let template = Library::new([settings.home.dir().join("prompts")])
        .load(&settings.prompt(command.prompt.as_deref()))?;
    let job = Ask {
        collection: &collection,
        embedder: &embedder,
        reranker: reranker.as_ref(),
        generation: generator.as_ref().map(|generator| Generation {
            generator,
            template: &template,
            history: &[],
        }),
        answering: Answering::from(command.answer),
        k: command.k.map(usize::from),
        places: &settings.places,
    };
    let bar = printer.bar(questions.len() as u64);
    let mut rows = Vec::with_capacity(questions.len());
    for question in &questions {
        let answer = job.run(&question.text, &mut |_| ControlFlow::Continue(()))?;
        rows.push(Judged::new(question, said(&answer, &settings.places)));
        bar.inc(1);
    }
    bar.finish_and_clear();
    if let Some(path) = &command.rows {
        let lines: String = rows.iter().map(|row| format!("{}\n", json!(row))).collect();
        files::replace(path, lines.as_bytes())?;
    }
    let scores = Scores::of(&rows, Bootstrap::default());
    match command.json {
        true => printer.json(&json!({
            "collection": name, "questions": { "path": command.questions, "blake3": source.hash },
            "answer": Answering::from(command.answer), "model": generator.as_ref().map(|g| g.name()),
            "embedder": embedder.name(), "prompt": template.front().name, "version": env!("CARGO_PKG_VERSION"),
            "scores": scores,
        }))?,
        false => show(&scores, printer)?,
    }
    Ok(Ending::Done)
}

fn said(answer: &Answer, places: &Places) -> Said {
    Said {
        answered: answer.answered,
        text: answer.answer.clone(),
        generated: answer.mode == Answering::Generate,
        fallback: answer.fallback.clone(),
        confidence: answer.confidence,
        citations: answer.citations.len(),
        valid_citations: answer.citations.iter().filter(|citation| is_valid(citation, places)).count(),
        ms: answer.ms,
    }
}

/// Whether the file has exactly the quote's bytes at its span: read anew, whatever the citation says of itself.
fn is_valid(citation: &Citation, places: &Places) -> bool {
    let [start, end] = citation.bytes;
    let file = fs::read(places.here.join(&citation.path));
    file.is_ok_and(|bytes| bytes.get(start..end) == Some(citation.quote.as_bytes()))
}

fn show(scores: &Scores, printer: &Printer) -> Result<()> {
    let percent = |value: f64| format!("{:5.1} %", 100.0 * value);
    let row = |name: &str, value: String| printer.line(format!("{name:20} {value}"));
    row("questions", format!("{} ({} answerable)", scores.questions, scores.answerable))?;
    let estimates = [
        ("exact match", scores.exact_match),
        ("F1", scores.f1),
        ("contains", scores.contains),
        ("false refusals", scores.false_refusals),
        ("refusal precision", scores.refusal_precision),
        ("refusal recall", scores.refusal_recall),
        ("generated", scores.generated),
        ("of these, contains", scores.generated_contains),
    ];
    for (name, estimate) in estimates {
        let interval = |Estimate { mean, low, high }: Estimate| {
            format!("{}  ({} - {})", percent(mean), percent(low).trim(), percent(high).trim())
        };
        row(name, estimate.map_or("    -".to_owned(), interval))?;
    }
    for (name, value) in [("refusal F1", scores.refusal_f1), ("citations valid", scores.citation_validity)] {
        row(name, value.map_or("    -".to_owned(), percent))?;
    }
    row("latency", format!("median {} ms, 95th percentile {} ms", scores.median_ms, scores.p95_ms))
}
