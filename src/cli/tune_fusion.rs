//! `incontext tune-fusion`: how much meaning and how much words, by the judgement of whoever uses a collection.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::printer::Printer;
use super::settings::Settings;
use super::{Ending, device, help, load, patient};
use crate::embed::Overflow;
use crate::error::{Error, Result};
use crate::eval::data::{judgements, questions};
use crate::eval::fusion::{ENOUGH, Fit, METRIC, fit};
use crate::eval::stats::SIGNIFICANT;
use crate::index::Patience;
use crate::text::records::Source;

/// Fit the fusion of a collection to judged questions
///
/// Tries every share of the dense leg on your questions and writes the one that ranks best to the collection's
/// `profile.toml`. Fifty questions are enough.
#[derive(Args)]
#[command(after_long_help = help::examples(EXAMPLES))]
pub struct TuneFusion {
    /// Collection to tune [default: default]
    #[arg(short, long, value_name = "NAME")]
    collection: Option<String>,
    /// Questions, JSON lines with `_id` and `text`
    #[arg(long, value_name = "FILE")]
    queries: PathBuf,
    /// Judgements, a table of `query-id corpus-id score`; a document's id is its path as ingested
    #[arg(long, value_name = "FILE")]
    qrels: PathBuf,
    /// Encoder, if it is not where the collection's was [default: the collection's]
    #[arg(long, value_name = "NAME|DIR")]
    embedder: Option<String>,
    /// Where models of this machine compute [default: cpu]
    #[arg(long, value_enum)]
    device: Option<device::Kind>,
    /// Only say what would be written
    #[arg(long)]
    dry_run: bool,
    /// Print what was tried as JSON
    #[arg(long)]
    json: bool,
}

const EXAMPLES: help::Examples = &[(
    "What your own questions say, without changing anything",
    "incontext tune-fusion -c notes --queries questions.jsonl --qrels judged.tsv --dry-run",
)];

pub fn run(command: &TuneFusion, settings: &Settings, printer: &Printer) -> Result<Ending> {
    let (queries, qrels) = (Source::read(&command.queries)?, Source::read(&command.qrels)?);
    let (mut questions, judged) = (questions(&queries)?, judgements(&qrels)?);
    questions.retain(|question| judged.contains_key(&question.id));
    if questions.is_empty() {
        return Err(Error::invalid(format!(
            "`{}` judges none of the questions of `{}`",
            command.qrels.display(),
            command.queries.display()
        ))
        .hint("its first column holds the `_id` of a question"));
    }
    let name = settings.collection(command.collection.as_deref());
    let mut collection = settings.home.open(&name)?;
    let device = settings.device(command.device)?;
    let embedder = load::collection_embedder(&collection, command.embedder.as_deref(), &device, settings)?;
    let texts: Vec<&str> = questions.iter().map(|question| question.text.as_str()).collect();
    let vectors = embedder.embed(&texts, Overflow::Truncate)?;

    let reader = collection.read(Patience::default())?;
    let mut pairs = judged.values().flatten();
    let known: std::collections::BTreeSet<String> =
        reader.documents()?.into_iter().map(|known| known.meta.path).collect();
    if !pairs.any(|(path, _)| known.contains(path)) {
        let example = known.first().map_or(String::new(), |path| format!(", such as `{path}`"));
        return Err(Error::invalid(format!("no document that is judged is in the collection `{name}`"))
            .hint(format!("its second column holds paths as `collections show` lists them{example}")));
    }
    let Fit { now, best, tried, gain } =
        fit(&reader, &collection.profile().fusion, &questions, &vectors, &judged)?;
    drop(reader);

    if questions.len() < ENOUGH {
        printer.note(format!("{} judged questions say little; {ENOUGH} are enough", questions.len()));
    }
    let better = gain.estimate.mean > 0.0;
    let written = better && !command.dry_run;
    if written {
        collection.set_fusion(best, patient(&mut |holder| printer.waiting(holder)))?;
    }
    if command.json {
        let tried: Vec<_> =
            tried.iter().map(|(alpha, mean)| json!({ "alpha": alpha, "mean": mean })).collect();
        printer.json(
            &json!({ "format": 1, "collection": name, "questions": questions.len(), "metric": METRIC,
            "now": now, "best": best, "gain": gain, "tried": tried, "written": written }),
        )?;
        return Ok(Ending::Done);
    }
    let metric = METRIC.name();
    for (alpha, mean) in &tried {
        printer.line(format!("alpha {alpha:.2}  {metric} {mean:.4}"))?;
    }
    let luck = if gain.p < SIGNIFICANT { "" } else { ", which may be luck" };
    printer.line(match better {
        true => format!(
            "alpha {:.2} is better than now by {:.4} {metric} (p = {:.4}){luck}",
            best.alpha, gain.estimate.mean, gain.p
        ),
        false => format!("nothing is better than now, {metric} {:.4}", now.mean),
    })?;
    printer.note(match written {
        true => format!("written to `{}`", collection.dir().join("profile.toml").display()),
        false => "nothing was changed".to_owned(),
    });
    Ok(Ending::Done)
}
