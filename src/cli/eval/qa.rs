//! `incontext eval qa`: how good are the answers?

use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::super::printer::Printer;
use super::super::settings::Settings;
use super::super::{Ending, ask, device, help, load};
use crate::engine::ask::{Answering, Ask, Generation};
use crate::error::{IoContext, Result};
use crate::eval::qa::{Judged, Question, Scores};
use crate::index::Collection;
use crate::prompt::Library;
use crate::retrieve::gate::Gate;

/// Judge answers: exact match, F1, refusals, citations, latency
///
/// Asks every question of a file and holds the answers against those that are known.
#[derive(Args)]
#[command(after_long_help = help::examples(EXAMPLES))]
pub struct Qa {
    /// JSON Lines, one {"question": ..., "answers": [...]} a line; no answers: it should be refused
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
    let questions = Question::of_file(&command.questions)?;
    let name = settings.collection(command.collection.as_deref());
    let collection = Collection::open(&settings.home.collection(&name)?)?;
    let device = settings.device(command.device)?;
    let embedder = load::collection_embedder(&collection, command.embedder.as_deref(), &device, settings)?;
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
        gate: Gate::default(),
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
        rows.push(Judged::new(question, &answer, &settings.places));
        bar.inc(1);
    }
    bar.finish_and_clear();
    if let Some(path) = &command.rows {
        let lines: String = rows.iter().map(|row| format!("{}\n", json!(row))).collect();
        write_aside(path, lines.as_bytes())?;
    }
    let scores = Scores::of(&rows);
    match command.json {
        true => printer.json(&json!({ "collection": name, "questions": command.questions,
            "answer": Answering::from(command.answer), "model": generator.as_ref().map(|g| g.name()), "scores": scores }))?,
        false => show(&scores, printer)?,
    }
    Ok(Ending::Done)
}

fn show(scores: &Scores, printer: &Printer) -> Result<()> {
    let percent =
        |share: Option<f32>| share.map_or("-".to_owned(), |share| format!("{:.1} %", 100.0 * share));
    printer.line(format!("questions          {} ({} answerable)", scores.questions, scores.answerable))?;
    let shares = [
        ("exact match", scores.exact_match),
        ("F1", scores.f1),
        ("contains", scores.contains),
        ("false refusals", scores.false_refusals),
        ("refusal precision", scores.refusal_precision),
        ("refusal recall", scores.refusal_recall),
        ("refusal F1", scores.refusal_f1),
        ("generated", scores.generated),
        ("of them, contains", scores.generated_contains),
        ("citations valid", scores.citation_validity),
    ];
    shares.iter().try_for_each(|(name, share)| printer.line(format!("{name:18} {}", percent(*share))))?;
    printer.line(format!(
        "latency            median {} ms, 95th percentile {} ms",
        scores.median_ms, scores.p95_ms
    ))
}

/// A file of that name has these bytes or what it had before.
fn write_aside(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut aside = tempfile::NamedTempFile::new_in(folder).at("create a file in", folder)?;
    aside.write_all(bytes).and_then(|()| aside.as_file().sync_all()).at("write", path)?;
    aside.persist(path).map_err(|error| error.error).at("write", path)?;
    Ok(())
}
