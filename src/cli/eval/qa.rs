//! `incontext eval qa`: how good are the answers?

use std::fs;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use serde::Serialize;
use serde_json::json;

use crate::adapters::Measured;
use crate::cli::answers::{How, With};
use crate::cli::printer::Printer;
use crate::cli::settings::Settings;
use crate::cli::tuned::Adapted;
use crate::cli::{Ending, help};
use crate::engine::ask::{Answer, Answering, Ask, Progress};
use crate::engine::{Citation, Places};
use crate::error::Result;
use crate::eval::qa::{Judged, Said, Scores};
use crate::eval::stats::{Bootstrap, Difference, Estimate};
use crate::files;
use crate::retrieve::rank::Mode;
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
    /// How the answers come about [default: generate where --model, --adapter or --base says who writes, else extractive]
    #[arg(long, value_enum)]
    answer: Option<How>,
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
        "What an adapter teaches the model to answer, beside the documents' own sentences",
        "incontext eval qa --questions questions.jsonl -c papers --adapter papers",
    ),
    (
        "What a model makes of it",
        "incontext eval qa --questions questions.jsonl -c papers --model my-model.gguf --json",
    ),
];

pub fn run(command: &Qa, settings: &Settings, printer: &Printer) -> Result<Ending> {
    let source = Source::read(&command.questions)?;
    let questions = Example::all(&source, &Columns::default(), &Rows::default())?;
    let name = settings.collection(command.collection.as_deref());
    let collection = settings.home.open(&name)?;
    // Whoever names a model or an adapter wants to see what that writes.
    let usual = if command.with.names_a_writer() { How::Generate } else { How::Extractive };
    let how = command.answer.unwrap_or(usual);
    let loaded = command.with.load(&collection, how, settings, &|_| ())?;
    let template = command.with.template(false, &loaded.chosen, settings)?;
    let job = Ask {
        collection: &collection,
        embedder: &loaded.embedder,
        reranker: loaded.reranker.as_ref(),
        generation: loaded.generation(&template),
        answering: Answering::from(how),
        k: command.with.k(),
        places: &settings.places,
    };
    // What an adapter writes is measured beside the documents' own sentences, from the same passages.
    let beside = loaded
        .chosen
        .adapter
        .as_ref()
        .filter(|_| loaded.generator.as_ref().is_some_and(|generator| how.generates(generator)));
    let quoting = Ask { generation: None, answering: Answering::Extractive, ..job.clone() };
    let bar = printer.bar(questions.len() as u64);
    let mut rows = Vec::with_capacity(questions.len());
    let mut quoted = Vec::new();
    for question in &questions {
        let go_on = &mut |_: Progress| ControlFlow::Continue(());
        let start = Instant::now();
        let found = job.look(&question.input, Mode::Hybrid)?;
        let mut answer = job.answer(&question.input, &found, go_on)?;
        answer.ms = start.elapsed().as_millis() as u64;
        rows.push(Judged::new(question, said(&answer, &settings.places)));
        if beside.is_some() {
            let answer = quoting.answer(&question.input, &found, go_on)?;
            quoted.push(Judged::new(question, said(&answer, &settings.places)));
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    if let Some(path) = &command.rows {
        let lines: String = rows.iter().map(|row| format!("{}\n", json!(row))).collect();
        files::replace(path, lines.as_bytes())?;
    }
    let scores = Scores::of(&rows, Bootstrap::default());
    let beside = match beside {
        Some(adapter) => Some(compared(adapter, &rows, &quoted, (&source.hash, &name))?),
        None => None,
    };
    match command.json {
        true => printer.json(&json!({
            "collection": name, "questions": { "path": command.questions, "blake3": source.hash },
            "answer": Answering::from(how), "model": loaded.generator.as_ref().map(|g| g.name()),
            "adapter": loaded.chosen.adapter.as_ref().map(|adapter| &adapter.name), "beside": beside,
            "embedder": loaded.embedder.name(), "prompt": template.front().name, "version": env!("CARGO_PKG_VERSION"),
            "scores": scores,
        }))?,
        false => show(&scores, printer)?,
    }
    if let Some(beside) = &beside {
        beside.tell(printer);
    }
    Ok(Ending::Done)
}

/// The answers under an adapter beside the documents' own sentences.
#[derive(Serialize)]
struct Beside {
    extractive: Scores,
    /// F1 of what the adapter has the model write less that of the sentences, over the answerable questions.
    f1: Difference,
    /// Whether `ask` has it write from now on.
    writes: bool,
}

/// Holds them against each other, and remembers with the adapter which is better.
fn compared(
    adapter: &Adapted,
    written: &[Judged],
    quoted: &[Judged],
    (data, collection): (&str, &str),
) -> Result<Beside> {
    let f1 = |rows: &[Judged]| -> Vec<f64> {
        rows.iter().filter(|row| row.answerable).map(|row| row.f1).collect()
    };
    let (ours, theirs) = (f1(written), f1(quoted));
    let difference = Bootstrap::default().difference(&ours, &theirs);
    let extractive = Scores::of(quoted, Bootstrap::default());
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
    let mut about = adapter.about.clone().unwrap_or_default();
    about.answers = Some(Measured {
        questions: written.len(),
        data: data.to_owned(),
        collection: collection.to_owned(),
        generated_f1: mean(&ours),
        extractive_f1: mean(&theirs),
        better: difference.estimate.low > 0.0,
    });
    about.write(&adapter.dir)?;
    Ok(Beside { extractive, f1: difference, writes: about.writes_well() })
}

impl Beside {
    fn tell(&self, printer: &Printer) {
        let Estimate { mean, low, high } = self.f1.estimate;
        let outcome = match self.writes {
            true => "`ask` has it write from now on, where --answer is not given",
            false => "`ask` goes on to quote, where --answer is not given",
        };
        printer.note(format!(
            "F1 less that of the documents' own sentences: {:+.1} ({:+.1} - {:+.1}); {outcome}",
            100.0 * mean,
            100.0 * low,
            100.0 * high
        ));
    }
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
