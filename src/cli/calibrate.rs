//! `incontext calibrate`: which questions does a collection answer, by the judgement of whoever uses it?

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::printer::Printer;
use super::settings::Settings;
use super::{Ending, device, help, load, patient};
use crate::engine::ask;
use crate::error::Result;
use crate::eval::calibrate::{Calibration, Case, ENOUGH, Verdict};
use crate::text::example::{Columns, Example, Rows};
use crate::text::records::Source;

/// Fit the gate of a collection to judged questions
///
/// The gate decides which questions are answered and which are not found. Give it questions that the documents answer and
/// ones that they do not, about fifty of each; the fitted gate is written to the collection's `profile.toml` when it decides
/// better on questions it was not fitted to.
#[derive(Args)]
#[command(after_long_help = help::examples(EXAMPLES))]
pub struct Calibrate {
    /// JSON lines with `question` and `answers`; one without answers should be refused; may be gzipped
    #[arg(long, value_name = "FILE")]
    questions: PathBuf,
    /// Collection to calibrate [default: default]
    #[arg(short, long, value_name = "NAME")]
    collection: Option<String>,
    /// Encoder, if it is not where the collection's was [default: the collection's]
    #[arg(long, value_name = "NAME|DIR")]
    embedder: Option<String>,
    /// Where models of this machine compute [default: cpu]
    #[arg(long, value_enum)]
    device: Option<device::Kind>,
    /// Only say what would be written
    #[arg(long)]
    dry_run: bool,
    /// Print what was fitted as JSON
    #[arg(long)]
    json: bool,
}

const EXAMPLES: help::Examples = &[(
    "What your own questions say, without changing anything",
    "incontext calibrate -c notes --questions questions.jsonl --dry-run",
)];

pub fn run(command: &Calibrate, settings: &Settings, printer: &Printer) -> Result<Ending> {
    let source = Source::read(&command.questions)?;
    let questions = Example::all(&source, &Columns::default(), &Rows::default())?;
    let name = settings.collection(command.collection.as_deref());
    let mut collection = settings.home.open(&name)?;
    let device = settings.device(command.device)?;
    let embedder = load::collection_embedder(&collection, command.embedder.as_deref(), &device, settings)?;
    let bar = printer.bar(questions.len() as u64);
    let cases: Vec<Case> = questions
        .iter()
        .map(|question| {
            let features = ask::features(&question.input, &collection, &embedder)?;
            bar.inc(1);
            Ok((features, !question.answers.is_empty()))
        })
        .collect::<Result<_>>()?;
    bar.finish_and_clear();
    let fitted = Calibration::fit(collection.profile().gate.unwrap_or_default(), &cases);
    if fitted.answerable.min(fitted.unanswerable) < ENOUGH {
        printer.note(format!(
            "{} answerable and {} unanswerable questions say little; {ENOUGH} of each are enough",
            fitted.answerable, fitted.unanswerable
        ));
    }
    let written = fitted.is_better() && !command.dry_run;
    if written {
        collection.set_gate(fitted.gate, patient(&mut |holder| printer.waiting(holder)))?;
    }
    if command.json {
        printer.json(&json!({ "format": 1, "collection": name,
            "questions": { "path": command.questions, "blake3": source.hash }, "fitted": fitted, "written": written }))?;
        return Ok(Ending::Done);
    }
    printer.line(format!("{:24} {:>8} {:>16}", "", "as it is", "fitted, held out"))?;
    type Of = fn(&Verdict) -> Option<f64>;
    let rows: [(&str, Of); 3] = [
        ("answerable but refused", |verdict| verdict.false_refusals),
        ("unanswerable and refused", |verdict| verdict.refusal_recall),
        ("AUROC", |verdict| verdict.auroc),
    ];
    for (name, of) in rows {
        let shown = |verdict: &Verdict| match of(verdict) {
            None => "-".to_owned(),
            Some(value) if name == "AUROC" => format!("{value:.4}"),
            Some(share) => format!("{:.1} %", 100.0 * share),
        };
        printer.line(format!("{name:24} {:>8} {:>16}", shown(&fitted.before), shown(&fitted.after)))?;
    }
    printer.note(match (written, fitted.is_better()) {
        (true, _) => format!("written to `{}`", collection.dir().join("profile.toml").display()),
        (false, true) => "the fitted gate is better; nothing was changed".to_owned(),
        (false, false) => "the gate as it is decides as well; nothing was changed".to_owned(),
    });
    Ok(Ending::Done)
}
