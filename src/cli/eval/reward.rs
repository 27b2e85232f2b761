//! `incontext eval reward`: does a reward model score better answers higher, and how sure may it be?

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use crate::cli::interrupt::Interrupt;
use crate::cli::printer::Printer;
use crate::cli::settings::{Key, Settings};
use crate::cli::tune::weights;
use crate::cli::{Ending, device, help, load, tuned};
use crate::engine::rlhf::RewardModel;
use crate::error::{Error, Result};
use crate::eval::reliability;
use crate::eval::reward::{Ranked, Report, Told};
use crate::eval::stats::{Bootstrap, Estimate};
use crate::files;
use crate::text::example::Rows;
use crate::text::records::Source;

/// Judge a reward model: accuracy on pairs, and whether it knows how sure it may be
///
/// Scores the answers of a file as `rlhf reward` reads it, none of which it should have learned from. Intervals are over prompts:
/// pairs of one prompt are hardly worth more than one.
#[derive(Args)]
#[command(after_long_help = help::examples(EXAMPLES))]
pub struct Reward {
    /// Reward model: an adapter of `rlhf reward`, by its name or folder
    #[arg(long, value_name = "NAME|DIR")]
    adapter: String,
    /// Answers that somebody compared, in any form that `rlhf reward` reads; may be gzipped
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// Only rows whose field `split` says this
    #[arg(long, value_name = "NAME")]
    split: Option<String>,
    /// The first so many rows
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// A field of the rows, for figures of each of its values: where they come from, for example
    #[arg(long, value_name = "FIELD")]
    by: Option<String>,
    /// Model of this machine [default: the one it was trained on]
    #[arg(long, value_name = "NAME|PATH")]
    model: Option<String>,
    /// Write there how often it is right where it is so and so sure, as an SVG
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// Write each row's scores there, as JSON Lines
    #[arg(long, value_name = "FILE")]
    rows: Option<PathBuf>,
    /// Where to compute [default: cpu]
    #[arg(long, value_enum)]
    device: Option<device::Kind>,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
}

const EXAMPLES: help::Examples = &[
    (
        "On rows that were kept for it, source by source, with a picture of its calibration",
        "incontext eval reward --adapter polite --data held-out.jsonl --by source --plot sure.svg",
    ),
    (
        "Each row's scores",
        "incontext eval reward --adapter polite --data new.jsonl --rows scores.jsonl --json",
    ),
];

pub fn run(command: &Reward, settings: &Settings, printer: &Printer) -> Result<Ending> {
    let source = Source::read(&command.data)?;
    let adapter = settings.get(Key::Adapter, Some(&command.adapter));
    let chosen = tuned::chosen(settings.get(Key::Model, command.model.as_deref()), adapter, settings)?;
    let Some(adapter) = &chosen.adapter else {
        return Err(
            Error::invalid("the model as it is gives no score").hint("train one: `incontext rlhf reward`")
        );
    };
    let path = weights(&chosen.model)?;
    load::check_base(adapter, &path)?;
    printer.note(format!("loading {} ...", chosen.name()));
    let model = RewardModel::load(&path.path, &adapter.dir, &settings.device(command.device)?)?;
    let lines = Rows { split: command.split.clone(), limit: command.limit };
    let judged = model.read(&source, lines)?;
    let groups = groups(&source, command.by.as_deref(), &judged.lines)?;
    let interrupt = Interrupt::watch();
    let bar = printer.bar(0);
    let scores = model.scores(&judged.rows, &mut |at, of| {
        bar.set_length(of as u64);
        bar.set_position(at as u64);
        !interrupt.is_asked()
    });
    bar.finish_and_clear();
    let scores = scores?;
    if let Some(path) = &command.rows {
        let row =
            |(line, scores): (&usize, &Vec<f64>)| format!("{}\n", json!({ "line": line, "scores": scores }));
        let lines: String = judged.lines.iter().zip(&scores).map(row).collect();
        files::replace(path, lines.as_bytes())?;
    }
    let ranked: Vec<Ranked> = judged
        .rows
        .iter()
        .zip(groups)
        .zip(scores)
        .map(|((row, group), scores)| Ranked { group, prompt: format!("{:?}", row.prompt()), scores })
        .collect();
    let report = Report::of(&ranked, Bootstrap::default());
    if let Some(path) = &command.plot {
        files::replace(path, reliability::picture(&report.calibration).as_bytes())?;
    }
    let left_out = judged.left_out;
    match command.json {
        true => printer.json(&json!({
            "adapter": adapter.name, "model": chosen.model, "version": env!("CARGO_PKG_VERSION"),
            "data": { "path": command.data, "blake3": source.hash, "split": command.split, "rows": ranked.len(),
                "left_out": { "equal": left_out.equal, "empty": left_out.empty, "too_long": left_out.too_long,
                    "alone": left_out.alone } },
            "by": command.by, "report": report,
        }))?,
        false => show(&report, printer)?,
    }
    for (count, why) in [
        (left_out.too_long, "longer than what it was trained on"),
        (left_out.equal, "with answers that are the same"),
        (left_out.empty, "with an empty answer"),
        (left_out.alone, "without another to compare"),
    ] {
        if count > 0 {
            printer.note(format!("{count} rows left out, {why}"));
        }
    }
    Ok(Ending::Done)
}

/// What each of `lines` says under the field `by`.
fn groups(source: &Source, by: Option<&str>, lines: &[usize]) -> Result<Vec<String>> {
    let Some(by) = by else { return Ok(vec![String::new(); lines.len()]) };
    let said: BTreeMap<usize, Value> = source.json_lines()?.into_iter().collect();
    let of = |line: &usize| match said.get(line).and_then(|row| row.get(by)) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(value) => Ok(value.to_string()),
        None => Err(source
            .at(*line, Error::invalid(format!("no `{by}` in it")))
            .hint("--by names a field that every row has")),
    };
    lines.iter().map(of).collect()
}

fn show(report: &Report, printer: &Printer) -> Result<()> {
    let named: Vec<(&str, &Told)> = report
        .groups
        .iter()
        .map(|told| (told.group.as_deref().unwrap_or_default(), told))
        .chain([("all", &report.all)])
        .collect();
    let width = named.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    printer.line(format!(
        "{:width$}  {:>6}  {:<23}  {:>6}  {:>6}",
        "", "pairs", "accuracy, %", "margin", "loss"
    ))?;
    for (name, told) in named {
        let Estimate { mean, low, high } = told.accuracy;
        let accuracy = format!("{:5.1} ({:.1} - {:.1})", 100.0 * mean, 100.0 * low, 100.0 * high);
        printer.line(format!(
            "{name:width$}  {:>6}  {accuracy:<23}  {:>6.3}  {:>6.4}",
            told.pairs, told.margin, told.loss
        ))?;
    }
    let [least, mean, most] = report.scores;
    printer.line(format!("scores {least:.2} to {most:.2}, mean {mean:.2}"))?;
    printer.line(format!("expected calibration error {:.3}", report.calibration.expected_error))
}
