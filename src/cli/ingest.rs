//! `incontext ingest`: files into a collection.

use std::path::PathBuf;

use clap::Args;
use indicatif::ProgressBar;

use super::printer::Printer;
use super::settings::Settings;
use super::{Ending, help, load, patient};
use crate::embed::Embedder;
use crate::engine::ingest::{Event, Ingest as Job, Summary};
use crate::error::{Error, Result};
use crate::index::{Collection, Profile};

/// Bring a collection up to date with files and folders
///
/// New and changed files are added, unchanged ones cost nothing, missing ones are removed. Folders are walked with
/// .gitignore respected. It may be killed at any moment; the next run goes on from there.
#[derive(Args)]
#[command(after_long_help = help::examples(EXAMPLES))]
pub struct Ingest {
    /// Files and folders
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Collection to fill [default: default]
    #[arg(short, long, value_name = "NAME")]
    collection: Option<String>,
    /// Encoder: catalogue name, directory, or openai:NAME at an endpoint [default: all-minilm-l6-v2]
    #[arg(long, value_name = "NAME|DIR")]
    embedder: Option<String>,
    /// Index profile (TOML) that says how a new collection is built
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    /// Empty the collection and build it anew
    #[arg(long)]
    rebuild: bool,
    /// Print the summary as JSON
    #[arg(long)]
    json: bool,
}

const EXAMPLES: help::Examples = &[
    ("A folder, and the same again after editing", "incontext ingest notes/"),
    ("Subjects apart, in a collection of their own", "incontext ingest ~/papers README.md -c papers"),
    ("Build anew, with another encoder", "incontext ingest notes/ --embedder ./models/bge-small --rebuild"),
];

pub fn run(command: &Ingest, settings: &Settings, printer: &Printer) -> Result<Ending> {
    let collection = settings.collection(command.collection.as_deref());
    let dir = settings.home.collection(&collection)?;
    let there = match Collection::open(&dir) {
        Err(Error::NotFound(_)) => None,
        // Whoever builds anew does not need what is there to be whole.
        Err(_) if command.rebuild => None,
        there => Some(there?),
    };
    // A collection that is there knows its embedder and its chunker; only what was asked for is held against it. Building
    // anew goes by its `profile.toml`, which may have been edited for just that.
    let edited = dir.join("profile.toml");
    let profile = match (&command.profile, &there) {
        (Some(file), _) => Some(Profile::load(file)?),
        (None, _) if command.rebuild && edited.exists() => Some(Profile::load(&edited)?),
        (None, Some(there)) => Some(there.profile().clone()),
        (None, None) => None,
    };
    let named = profile.as_ref().map(|profile| profile.embedder.name.as_str());
    let embedder = load::embedder(&settings.embedder(command.embedder.as_deref().or(named)), settings)?;
    let profile = profile.unwrap_or_default();
    let summary =
        ingest(&collection, &command.paths, profile, &embedder, command.rebuild, settings, printer)?;
    if command.json {
        printer.json(&summary)?;
    } else {
        printer.line(line(&summary))?;
    }
    Ok(Ending::Done)
}

/// Runs an ingest with a bar; files that fail are named as they do.
pub fn ingest(
    collection: &str,
    paths: &[PathBuf],
    profile: Profile,
    embedder: &Embedder,
    rebuild: bool,
    settings: &Settings,
    printer: &Printer,
) -> Result<Summary> {
    let mut bar: Option<ProgressBar> = None;
    let job = Job { home: &settings.home, collection, paths, profile, embedder, rebuild };
    let summary = job.run(patient(&mut |holder| printer.waiting(holder)), |event| match event {
        Event::Started { bytes: 0 } => {}
        Event::Started { bytes } => {
            let started = printer.bar(bytes);
            started.set_message(collection.to_owned());
            bar = Some(started);
        }
        Event::Progress { bytes } => bar.iter().for_each(|bar| bar.set_position(bytes)),
        Event::Failed { error } => {
            let say = || {
                printer.note(format!("failed: {error}"));
                if let Some(hint) = error.advice() {
                    printer.note(format!("hint: {hint}"));
                }
            };
            match &bar {
                Some(bar) => bar.suspend(say),
                None => say(),
            }
        }
        Event::Recovered { deleted, stale } => printer.note(format!(
            "an earlier run was cut short: cleaned up {deleted} leftovers, {stale} documents are ingested again"
        )),
    });
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    summary
}

/// The summary as one line.
pub fn line(summary: &Summary) -> String {
    let Summary { added, updated, unchanged, removed, failed, skipped, chunks, .. } = summary;
    format!(
        "added {added} updated {updated} unchanged {unchanged} removed {removed} failed {failed} ({chunks} chunks embedded, {skipped} files of unknown kind skipped)"
    )
}
