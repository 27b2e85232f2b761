//! `incontext ingest`: files into a collection.

use std::ops::ControlFlow;
use std::path::PathBuf;

use clap::Args;
use indicatif::ProgressBar;

use super::interrupt::Interrupt;
use super::printer::Printer;
use super::settings::Settings;
use super::{Ending, device, help, load, patient};
use crate::bytes::MEGABYTE;
use crate::engine::ingest::{Event, Ingest as Job, MAX_FILE, Summary};
use crate::error::{Error, Result};
use crate::index::profile::{self, Profile};
use crate::text::load::Readers;

/// Bring a collection up to date with files and folders
///
/// New and changed files are added, unchanged ones cost nothing, missing ones are removed. Folders are walked with
/// .gitignore respected. It may be killed at any moment; the next run goes on from there. Exit code 1 when a file could not
/// be read, which is then named; the others are ingested all the same.
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
    /// Where models of this machine compute [default: cpu]
    #[arg(long, value_enum)]
    device: Option<device::Kind>,
    /// Index profile (TOML) that says how a new collection is built
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    /// Empty the collection and build it anew
    #[arg(long)]
    rebuild: bool,
    /// Refuse files larger than this [default: 16]
    #[arg(long, value_name = "MB")]
    max_file: Option<u32>,
    /// Read files of an ending by a command that prints their text; {} is the file. May be repeated
    #[arg(long = "loader", value_name = "ENDING=COMMAND")]
    loaders: Vec<String>,
    /// Print the summary as JSON
    #[arg(long)]
    json: bool,
}

const EXAMPLES: help::Examples = &[
    ("A folder, and the same again after editing", "incontext ingest notes/"),
    ("Subjects apart, in a collection of their own", "incontext ingest ~/papers README.md -c papers"),
    ("A kind of file that is not built in", "incontext ingest notes/ --loader 'odt=pandoc -t plain {}'"),
    ("Build anew, with another encoder", "incontext ingest notes/ --embedder ./models/bge-small --rebuild"),
];

pub fn run(command: &Ingest, settings: &Settings, printer: &Printer) -> Result<Ending> {
    let readers = readers(&command.loaders)?;
    let collection = settings.collection(command.collection.as_deref());
    let dir = settings.home.collection(&collection)?;
    let there = match settings.home.open(&collection) {
        Err(Error::NotFound(_)) => None,
        // Whoever builds anew does not need what is there to be whole.
        Err(_) if command.rebuild => None,
        there => Some(there?),
    };
    let is_new = there.is_none();
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
    let device = settings.device(command.device)?;
    let name = settings.embedder(command.embedder.as_deref().or(named));
    let embedder = load::embedder(&name, &device, settings)?;
    let mut profile = profile.unwrap_or_default();
    place(&mut profile, settings, is_new || command.rebuild);
    let max_file = command.max_file.map_or(MAX_FILE, |megabytes| u64::from(megabytes) * MEGABYTE);
    let (home, paths, rebuild) = (&settings.home, &command.paths[..], command.rebuild);
    let job = Job {
        home,
        collection: &collection,
        paths,
        profile,
        embedder: &embedder,
        rebuild,
        readers: &readers,
        max_file,
    };
    let summary = ingest(job, printer)?;
    if command.json {
        printer.json(&summary)?;
    } else {
        printer.line(line(&summary))?;
    }
    if is_new && matches!(settings.home.open(&collection), Err(Error::NotFound(_))) {
        printer.note(format!("nothing to ingest, so no collection `{collection}` was made"));
    }
    Ok(if summary.failed == 0 { Ending::Done } else { Ending::No(1) })
}

/// Says where the vectors of `profile` are kept: on the server that the settings name, if any. A collection that `begins` goes
/// there; one that is there stays where it is, and is refused when somebody types that it should not.
fn place(profile: &mut Profile, settings: &Settings, begins: bool) {
    match (settings.home.server(), &mut profile.server) {
        (Some(url), Some(server)) => url.clone_into(&mut server.url),
        (Some(url), None) if begins || settings.server_is_typed() => {
            profile.server = Some(profile::Server { url: url.to_owned(), ..profile::Server::default() });
        }
        (None, Some(_)) if settings.server_is_typed() => profile.server = None,
        _ => {}
    }
}

/// What is built in, files that may do harm in a process of their own, and the commands `loaders` of the command line.
fn readers(loaders: &[String]) -> Result<Readers> {
    let program =
        std::env::current_exe().map_err(|source| Error::io("cannot find this program's own file", source))?;
    loaders.iter().try_fold(Readers::apart(program), |readers, loader| readers.with(loader))
}

/// Runs an ingest with a bar; files that fail are named as they do. Ctrl-C stops it behind what is finished.
pub fn ingest(job: Job, printer: &Printer) -> Result<Summary> {
    let mut bar: Option<ProgressBar> = None;
    let mut interrupt: Option<Interrupt> = None;
    let collection = job.collection.to_owned();
    let summary = job.run(patient(&mut |holder| printer.waiting(holder)), |event| {
        match event {
            Event::Started { bytes } => {
                // Not before: while it waits for another writer, Ctrl-C may end it at once.
                let printer = *printer;
                interrupt = Some(Interrupt::watch().telling(move || {
                    printer.note("stopping behind what is being embedded; Ctrl-C again stops at once");
                }));
                if bytes > 0 {
                    let started = printer.bar(bytes);
                    started.set_message(collection.clone());
                    bar = Some(started);
                }
            }
            Event::Progress { bytes } => bar.iter().for_each(|bar| bar.set_position(bytes)),
            Event::Failed { error } => {
                let say = || printer.failed(error);
                match &bar {
                    Some(bar) => bar.suspend(say),
                    None => say(),
                }
            }
            Event::Recovered { deleted, stale } => printer.note(format!(
                "an earlier run was cut short: cleaned up {deleted} leftovers, {stale} documents are ingested again"
            )),
        }
        match interrupt.as_ref().is_some_and(Interrupt::is_asked) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
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
