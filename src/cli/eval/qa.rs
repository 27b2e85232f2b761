//! `incontext eval qa`: how good are the answers?

use std::fs;
use std::ops::ControlFlow;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::cli::answers::{How, With};
use crate::cli::printer::Printer;
use crate::cli::settings::Settings;
use crate::cli::{Ending, help};
use crate::engine::ask::{Answer, Answering, Ask};
use crate::engine::{Citation, Places};
use crate::error::Result;
use crate::eval::qa::{Judged, Said, Scores};
use crate::eval::stats::{Bootstrap, Estimate};
use crate::files;
use crate::text::example::{Columns, Example, Rows};
use crate::text::records::Source;

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
    #[arg(long, value_enum, default_value_t = How::Extractive)]
    answer: How,
    #[command(flatten)]
    with: With,
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
    let questions = Example::all(&source, &Columns::default(), &Rows::default())?;
    let name = settings.collection(command.collection.as_deref());
    let collection = settings.home.open(&name)?;
    let loaded = command.with.load(&collection, command.answer, settings, &|_| ())?;
    let template = command.with.template(false, settings)?;
    let job = Ask {
        collection: &collection,
        embedder: &loaded.embedder,
        reranker: loaded.reranker.as_ref(),
        generation: loaded.generation(&template),
        answering: Answering::from(command.answer),
        k: command.with.k(),
        places: &settings.places,
    };
    let bar = printer.bar(questions.len() as u64);
    let mut rows = Vec::with_capacity(questions.len());
    for question in &questions {
        let answer = job.run(&question.input, &mut |_| ControlFlow::Continue(()))?;
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
            "answer": Answering::from(command.answer), "model": loaded.generator.as_ref().map(|g| g.name()),
            "embedder": loaded.embedder.name(), "prompt": template.front().name, "version": env!("CARGO_PKG_VERSION"),
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
