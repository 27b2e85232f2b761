//! `incontext optimise`: search for a better prompt within a budget, and say what it is worth.

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use serde_json::{Value, json};

use super::interrupt::Interrupt;
use super::printer::Printer;
use super::resources::Asking;
use super::settings::Settings;
use super::{Ending, INTERRUPTED, help};
use crate::error::{Error, Result};
use crate::eval::stats::{Estimate, SIGNIFICANT};
use crate::experiment::axis::NO_ADAPTER;
use crate::experiment::bench::{Bench, Vectors};
use crate::experiment::cache::Cache;
use crate::experiment::folder::{EXPERIMENT, Folder, REPORT};
use crate::experiment::optimise::{self, Found, Optimisation, Prepared, Progress, Search};
use crate::experiment::plan::Resources;
use crate::experiment::run::Run;
use crate::experiment::summary::{Against, Summary, Unit};
use crate::experiment::{table, write};
use crate::files;
use crate::generate::Generator;

/// Search for a better prompt: other wordings, other slots, sets of demonstrations
///
/// Candidates are compared on `dev` within a budget of calls and minutes. The winner is written as a template of its own, and
/// is measured on `test` beside the prompt that the search started from. When nothing is better, that is said.
#[derive(Args)]
#[command(after_long_help = help::examples(EXAMPLES))]
pub struct Optimise {
    /// What to search, a TOML file
    file: PathBuf,
    /// Where to write the winner [default: results/NAME/NAME.j2 beside the file]
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    asking: Asking,
}

const EXAMPLES: help::Examples = &[
    ("A better instruction, found on `dev` and measured on `test`", "incontext optimise search.toml"),
    (
        "The winner as a template of this folder, to be used as `classify/questions`",
        "incontext optimise search.toml --out .incontext/prompts/classify/questions.j2",
    ),
];

pub fn run(command: &Optimise, settings: &Settings, printer: &Printer) -> Result<Ending> {
    let start = Instant::now();
    let mut wanted = Optimisation::read(&command.file)?;
    let dir = command.file.parent().unwrap_or(Path::new("")).join("results").join(&wanted.name);
    let out = command.out.clone().unwrap_or_else(|| dir.join(format!("{}.j2", wanted.name)));
    let resources = command.asking.resources(settings)?;
    proposals(&mut wanted, &resources, printer)?;
    let mut prepared = wanted.prepare(&resources)?;
    tell_left_out(&prepared, printer);
    let cache = command.asking.cache(&resources)?;
    let generator = resources.generator(&wanted.model, &wanted.adapter)?;
    let fingerprint = resources.fingerprint(&wanted.model, &wanted.adapter)?;
    let vectors = Vectors::of(&prepared.dev, prepared.dev.cells.iter(), &resources)?;
    let reserved = 2 * prepared.test.items.len();
    let interrupt = Interrupt::watch();
    let search =
        Search::new(&prepared.dev, (&generator, &fingerprint), (&cache, &vectors), &wanted.search, reserved)?;
    let mut bar = printer.bar(0);
    let found = search.run(wanted.search.seed, &|| interrupt.is_asked(), &mut |progress| match progress {
        Progress::Round { candidates, rows } => {
            bar.finish_and_clear();
            printer.note(format!("{candidates} candidates x {rows} rows"));
            bar = printer.bar(candidates as u64);
        }
        Progress::Tried => bar.inc(1),
    })?;
    bar.finish_and_clear();
    if interrupt.is_asked() {
        printer.note("interrupted; what was answered is kept, and is not asked for again");
        return Ok(Ending::No(INTERRUPTED));
    }
    if let Some(stopped) = found.stopped {
        printer.note(format!("the search ended early: {stopped}"));
    }
    let summary = test(&mut prepared, &found, &resources, &cache, &dir)?;
    drop(interrupt);
    let name = out.file_stem().map_or(wanted.name.clone(), |stem| stem.to_string_lossy().into_owned());
    let better = found.winner != 0;
    if better {
        let bench = Bench::new(
            &prepared.dev,
            &prepared.dev.cells[found.winner],
            (&generator, &fingerprint),
            &vectors,
            &cache,
        );
        // Chosen once for all rows: those of any row are those of all.
        let (demos, _) = bench.demos(0)?;
        let file = prepared.dev.template(&prepared.dev.cells[found.winner]).frozen(&name, &demos)?;
        files::replace(&out, file.as_bytes())?;
    }
    let report = Outcome {
        wanted: &wanted,
        prepared: &prepared,
        found: &found,
        summary: &summary,
        out: &out,
        dir: &dir,
    };
    let json = report.json(start.elapsed().as_secs_f64());
    files::replace(&dir.join("optimise.json"), json.to_string().as_bytes())?;
    match command.asking.json {
        true => printer.json(&json)?,
        false => report.show(printer)?,
    }
    Ok(Ending::Done)
}

/// Adds what a model proposes to the texts of its slot.
fn proposals(wanted: &mut Optimisation, resources: &dyn Resources, printer: &Printer) -> Result<()> {
    let Some(propose) = wanted.search.propose.clone() else { return Ok(()) };
    let template = resources.template(&wanted.template.template)?.filled(&wanted.template.vars)?;
    let text = template.var(&propose.slot).ok_or_else(|| {
        Error::not_found(format!("template `{}` has no slot `{}`", template.id(), propose.slot))
    })?;
    let examples = match &wanted.train {
        Some(train) => {
            let source = crate::text::records::Source::read(&train.file)?;
            crate::text::example::Example::all(&source, &train.columns(), &train.rows())?
        }
        None => Vec::new(),
    };
    let generator: Generator = resources.generator(&propose.model, NO_ADAPTER)?;
    let asks = resources.template("optimise/propose")?;
    let texts = optimise::propose(&propose, &generator, &asks, text, &examples)?;
    printer.note(format!("{} proposes {} wordings of `{}`", generator.name(), texts.len(), propose.slot));
    wanted.search.texts.entry(propose.slot).or_default().extend(texts);
    Ok(())
}

fn tell_left_out(prepared: &Prepared, printer: &Printer) {
    let (train, dev) = prepared.left_out;
    if train > 0 {
        printer.note(format!("{train} rows of train are not used: dev or test has them as well"));
    }
    if dev > 0 {
        printer.note(format!("{dev} rows of dev are not used: test has them as well"));
    }
}

/// Measures start and winner on the rows of `test`, as an experiment of two cells: once, with a report.
fn test(
    prepared: &mut Prepared,
    found: &Found,
    resources: &dyn Resources,
    cache: &Cache,
    dir: &Path,
) -> Result<Summary> {
    prepared.test.duel(&prepared.dev, 0, found.winner)?;
    let mut folder = Folder::open(&dir.join("test"))?;
    let plan = &mut prepared.test;
    plan.settle(resources, &folder)?;
    let file = plan.experiment.to_toml()?;
    folder.put(EXPERIMENT, file.as_bytes())?;
    Run { plan, resources, folder: &mut folder, cache, retry: true }.run(&|| false, &mut |_| {})?;
    write::results(plan, &folder, &file)
}

/// What came of it.
struct Outcome<'a> {
    wanted: &'a Optimisation,
    prepared: &'a Prepared,
    found: &'a Found,
    summary: &'a Summary,
    out: &'a Path,
    dir: &'a Path,
}

impl Outcome<'_> {
    fn metric(&self) -> (&str, Unit) {
        let metric = &self.summary.metrics[0];
        (&metric.name, metric.unit)
    }

    fn tested(&self, cell: usize) -> Option<&Estimate> {
        self.summary.cells.get(cell)?.metrics.get(self.metric().0)
    }

    fn against(&self) -> Option<&Against> {
        self.summary.cells.get(1)?.against.as_ref()
    }

    fn described(&self, cell: usize) -> Value {
        let cell = &self.prepared.dev.cells[cell];
        let template = self.prepared.dev.template(cell);
        let slots: Vec<(String, String)> = template
            .front()
            .vars
            .iter()
            .filter_map(|(name, slot)| Some((name.clone(), slot.choices.first()?.clone())))
            .collect();
        json!({
            "template": template.id(), "version": template.version(),
            "slots": slots.into_iter().collect::<std::collections::BTreeMap<_, _>>(),
            "demos": String::from(cell.demos), "seed": cell.seed,
        })
    }

    fn json(&self, seconds: f64) -> Value {
        let found = self.found;
        let standing: Vec<Value> = found
            .standing
            .iter()
            .map(|candidate| json!({ "prompt": self.described(candidate.cell), "rows": candidate.rows, "value": candidate.value }))
            .collect();
        json!({
            "format": 1, "name": self.wanted.name, "metric": self.metric().0,
            "better": found.winner != 0, "file": (found.winner != 0).then_some(self.out),
            "start": { "prompt": self.described(0), "dev": found.start, "test": self.tested(0) },
            "winner": { "prompt": self.described(found.winner), "dev": found.best,
                "test": self.tested(usize::from(found.winner != 0)) },
            "difference": self.against(), "rows": { "dev": found.rows, "test": self.summary.data.items },
            "candidates": { "tried": found.tried, "untried": found.untried, "last": standing },
            "calls": found.asked + 2 * self.summary.data.items, "seconds": seconds, "stopped": found.stopped,
            "hashes": { "dev": self.prepared.dev.hashes.0, "test": self.prepared.test.hashes.0,
                "train": self.prepared.dev.hashes.1 },
            "search": self.wanted,
        })
    }

    fn show(&self, printer: &Printer) -> Result<()> {
        let (name, unit) = self.metric();
        let found = self.found;
        let shown = |estimate: Option<&Estimate>| {
            estimate.map_or("-".to_owned(), |estimate| table::with_interval(unit, estimate))
        };
        let untried = match found.untried {
            0 => String::new(),
            untried => format!(", {untried} for which the budget had no room"),
        };
        printer.line(format!("{} candidates tried{untried}; {} answers on dev", found.tried, found.asked))?;
        let line = |what: &str, dev: &Estimate, test: Option<&Estimate>| {
            format!(
                "  {what:<7} {name} on dev {} ({} rows), on test {}",
                shown(Some(dev)),
                found.rows,
                shown(test)
            )
        };
        printer.line(line("start", &found.start, self.tested(0)))?;
        if found.winner == 0 {
            return printer.line("nothing better than the starting prompt was found; no file is written");
        }
        printer.line(line("winner", &found.best, self.tested(1)))?;
        let winner = self.described(found.winner);
        if let Some(slots) = winner["slots"].as_object() {
            for (slot, text) in slots {
                printer.line(format!("    {slot} = {}", text.as_str().unwrap_or_default()))?;
            }
        }
        printer.line(format!("    demos = {}", winner["demos"].as_str().unwrap_or_default()))?;
        if let Some(against) = self.against() {
            let difference = table::difference(unit, &against.difference);
            let verdict = match against.p < SIGNIFICANT {
                true if self.is_up(against) => "better on rows that the search never saw",
                true => "WORSE on rows that the search never saw: keep the start",
                false => "could be luck: on rows that the search never saw, the two may be equal",
            };
            printer
                .line(format!("  test: {difference} ({} p = {:.3}): {verdict}", against.test, against.p))?;
        }
        printer.line(format!("winner: {}", self.out.display()))?;
        printer.note(format!("report: {}", self.dir.join("test").join(REPORT).display()));
        Ok(())
    }

    fn is_up(&self, against: &Against) -> bool {
        (against.difference.mean > 0.0) == self.summary.metrics[0].higher_is_better
    }
}
