//! `incontext experiment compare`: is one cell better than another, and where?

use std::path::PathBuf;

use clap::Args;

use super::folder_of;
use crate::cli::printer::Printer;
use crate::cli::{Ending, help, one_line, tidy};
use crate::error::{Error, Result};
use crate::eval::stats::SIGNIFICANT;
use crate::experiment::compare::{Comparison, Of, compare};
use crate::experiment::metric::Metric;
use crate::experiment::table;

/// Compare two cells, of one run or of two: every metric with a paired test, and the items on which they differ
#[derive(Args)]
#[command(after_long_help = help::examples(EXAMPLES))]
pub struct Compare {
    /// The folder of the results, or the experiment's file
    run: PathBuf,
    /// The cell that may be better
    ours: String,
    /// The cell that it is compared with
    theirs: String,
    /// Where the second cell is, if not in the same run
    #[arg(long, value_name = "DIR|FILE")]
    with: Option<PathBuf>,
    /// Only by this metric, and items by it
    #[arg(long)]
    metric: Option<String>,
    /// Items to list
    #[arg(short, default_value_t = 10)]
    n: usize,
    /// Print everything as JSON
    #[arg(long)]
    json: bool,
}

const EXAMPLES: help::Examples = &[
    ("Two cells of one run", "incontext experiment compare prompts.toml c04 c01"),
    (
        "The same cell before and after an edit, kept in two folders",
        "incontext experiment compare results/new c01 c01 --with results/old",
    ),
];

pub fn run(command: &Compare, printer: &Printer) -> Result<Ending> {
    let ours = folder_of(&command.run)?;
    let theirs = command.with.as_deref().map_or_else(|| Ok(ours.clone()), folder_of)?;
    if (&ours, &command.ours) == (&theirs, &command.theirs) {
        return Err(Error::invalid(format!("`{}` is compared with itself", command.ours))
            .hint("name another cell, or another run with --with"));
    }
    let metric = command.metric.as_deref().map(str::parse::<Metric>).transpose()?;
    let comparison = compare(
        &Of { dir: &ours, cell: &command.ours },
        &Of { dir: &theirs, cell: &command.theirs },
        metric,
    )?;
    match command.json {
        true => printer.json(&comparison)?,
        false => show(command, &comparison, printer)?,
    }
    Ok(Ending::Done)
}

fn show(command: &Compare, comparison: &Comparison, printer: &Printer) -> Result<()> {
    let Compare { ours, theirs, .. } = command;
    printer.line(format!("{ours} against {theirs}, on {} items:", comparison.items))?;
    for against in &comparison.metrics {
        let metric = against.metric.parse::<Metric>()?.described();
        let up = (against.difference.mean > 0.0) == metric.higher_is_better;
        let needed = match against.needed {
            Some(needed) => format!(", {} items would tell", table::thousands(needed)),
            None => String::new(),
        };
        let verdict = match against.p < SIGNIFICANT {
            true if up => "better".to_owned(),
            true => "worse".to_owned(),
            false => format!("could be luck{needed}"),
        };
        printer.line(format!(
            "  {:<12} {}  {verdict} ({}, p {}; {} better, {} worse, {} the same)",
            against.metric,
            table::difference(metric.unit, &against.difference),
            against.test,
            table::probability(against.p),
            against.wins,
            against.losses,
            against.ties,
        ))?;
    }
    if comparison.flips.is_empty() {
        return printer.line("They differ on none of them.");
    }
    printer.line(format!("\nThey differ on {} of them:", comparison.flips.len()))?;
    for flip in comparison.flips.iter().take(command.n) {
        printer.line(format!("  {}  {}", one_line(&flip.item), short(&flip.input)))?;
        if !flip.expected.is_empty() {
            printer.line(format!("    right: {}", short(&flip.expected.join(" | "))))?;
        }
        for ((cell, output), value) in [ours, theirs].into_iter().zip(&flip.outputs).zip(flip.values) {
            printer.line(format!("    {cell}: {} ({value:.2})", short(output)))?;
        }
    }
    let more = comparison.flips.len().saturating_sub(command.n);
    if more > 0 {
        printer.note(format!("{more} more; -n {} lists all", comparison.flips.len()));
    }
    Ok(())
}

/// The beginning of a text, on one line.
fn short(text: &str) -> String {
    let line = tidy(text).split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(100) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}
