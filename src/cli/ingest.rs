//! `incontext ingest`: files into a collection, once or as often as they change ([`watch`]), and pages of web sites
//! ([`pages`]).

mod pages;
mod watch;

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::PathBuf;

use clap::Args;
use indicatif::ProgressBar;

use self::pages::Pages;
use super::interrupt::Interrupt;
use super::printer::Printer;
use super::settings::Settings;
use super::{Ending, device, help, load, patient};
use crate::bytes::MEGABYTE;
use crate::engine::ingest::{Event, Ingest as Job, MAX_FILE, Summary};
use crate::error::{Error, Result};
use crate::index::profile::{self, Profile};
use crate::index::{Holder, Patience};
use crate::text::load::Readers;

/// Bring a collection up to date with files, folders and web pages
///
/// New and changed files are added, unchanged ones cost nothing, missing ones are removed. Folders are walked with
/// .gitignore respected, web sites by their links as far as robots.txt allows. It may be killed at any moment; the next run
/// goes on from there. Exit code 1 when a file or page could not be read, which is then named; the others are ingested all
/// the same.
#[derive(Args)]
#[command(after_long_help = help::examples(EXAMPLES))]
pub struct Ingest {
    /// Files, folders, and addresses of web pages (https://...)
    #[arg(required = true, value_name = "PATH|URL")]
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
    /// Links to follow from the page at an address, within its site; 0 is that page alone [default: 1]
    #[arg(long, value_name = "N")]
    depth: Option<u32>,
    /// Pages to fetch from an address at most [default: 200]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_pages: Option<u32>,
    /// Go on when that is done: ingest what changes, as it changes, until Ctrl-C
    #[arg(long)]
    watch: bool,
    /// Print the summary as JSON; with --watch, on a line each time something changed
    #[arg(long)]
    json: bool,
}

const EXAMPLES: help::Examples = &[
    ("A folder, and the same again after editing", "incontext ingest notes/"),
    ("Subjects apart, in a collection of their own", "incontext ingest ~/papers README.md -c papers"),
    ("A kind of file that is not built in", "incontext ingest notes/ --loader 'odt=pandoc -t plain {}'"),
    ("A folder, kept up to date while you work on it", "incontext ingest notes/ --watch"),
    (
        "The pages of a manual, and again to see what has changed",
        "incontext ingest https://docs.example.org/ --depth 2",
    ),
    ("Build anew, with another encoder", "incontext ingest notes/ --embedder ./models/bge-small --rebuild"),
];

pub fn run(command: &Ingest, settings: &Settings, printer: &Printer) -> Result<Ending> {
    let max_file = command.max_file.map_or(MAX_FILE, |megabytes| u64::from(megabytes) * MEGABYTE);
    let limits = pages::Limits { depth: command.depth, pages: command.max_pages, max_file };
    let (addresses, mut paths) = pages::addresses(&command.paths, &limits, command.watch)?;
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
    let interrupt = match addresses.is_empty() {
        true => None,
        false => Some(Interrupt::watch().telling(stopping(*printer))),
    };
    let fetched = match &interrupt {
        Some(interrupt) => {
            pages::fetch(&addresses, &settings.home, &collection, &limits, interrupt, printer)?
        }
        None => Pages::default(),
    };
    paths.extend(fetched.files);
    let job = |first: bool| Job {
        home: &settings.home,
        collection: &collection,
        paths: &paths,
        gone: &fetched.gone,
        profile: profile.clone(),
        embedder: &embedder,
        rebuild: command.rebuild && first,
        readers: &readers,
        max_file,
    };
    if command.watch {
        return watch::watch(job, command.json, printer);
    }
    let job = job(true);
    let summary = match &interrupt {
        // One Ctrl-C for both: what is fetched is not lost, and the ingest stops behind what is finished.
        Some(interrupt) => {
            let mut notice = |holder: Option<&Holder>| printer.waiting(holder);
            Shown::new(&job, printer).run(job, patient(&mut notice), &mut |_| interrupt.is_asked())?
        }
        None => ingest(job, printer)?,
    };
    match (command.json, addresses.is_empty()) {
        (true, true) => printer.json(&summary)?,
        (true, false) => printer.json(&pages::With { summary: &summary, pages: fetched.count })?,
        (false, _) => printer.line(line(&summary))?,
    }
    if is_new && matches!(settings.home.open(&collection), Err(Error::NotFound(_))) {
        printer.note(format!("nothing to ingest, so no collection `{collection}` was made"));
    }
    let failed = summary.failed + fetched.count.failed + fetched.count.kept;
    Ok(if failed == 0 { Ending::Done } else { Ending::No(1) })
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
    let mut interrupt: Option<Interrupt> = None;
    let mut shown = Shown::new(&job, printer);
    shown.run(job, patient(&mut |holder| printer.waiting(holder)), &mut |event| {
        if matches!(event, Event::Started { .. }) {
            // Not before: while it waits for another writer, Ctrl-C may end it at once.
            interrupt = Some(Interrupt::watch().telling(stopping(*printer)));
        }
        interrupt.as_ref().is_some_and(Interrupt::is_asked)
    })
}

/// What is said when work goes on a second after Ctrl-C.
fn stopping(printer: Printer) -> impl FnOnce() + Send + 'static {
    move || printer.note("stopping behind what is being embedded; Ctrl-C again stops at once")
}

/// An ingest as a person sees it, and the next one of the same files.
struct Shown<'a> {
    printer: &'a Printer,
    collection: String,
    bar: Option<ProgressBar>,
    /// Failures that were named in the run before, and in this one: what stays as bad as it was is not named again.
    named: [BTreeSet<String>; 2],
}

impl<'a> Shown<'a> {
    fn new(job: &Job, printer: &'a Printer) -> Self {
        Self { printer, collection: job.collection.to_owned(), bar: None, named: Default::default() }
    }

    /// Runs `job`; `stop` is asked at every event whether to end behind what is finished.
    fn run(&mut self, job: Job, patience: Patience, stop: &mut dyn FnMut(&Event) -> bool) -> Result<Summary> {
        let summary = job.run(patience, |event| {
            self.show(&event);
            if stop(&event) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        // A run that broke off has not looked at everything.
        match summary {
            Ok(_) => self.named = [std::mem::take(&mut self.named[1]), BTreeSet::new()],
            Err(_) => self.named[1].clear(),
        }
        summary
    }

    fn show(&mut self, event: &Event) {
        match event {
            Event::Started { bytes } => {
                if *bytes > 0 {
                    let started = self.printer.bar(*bytes);
                    started.set_message(self.collection.clone());
                    self.bar = Some(started);
                }
            }
            Event::Progress { bytes } => self.bar.iter().for_each(|bar| bar.set_position(*bytes)),
            Event::Failed { error } => {
                let text = error.to_string();
                let said = self.named[0].contains(&text);
                self.named[1].insert(text);
                let say = || self.printer.failed(error);
                match &self.bar {
                    _ if said => {}
                    Some(bar) => bar.suspend(say),
                    None => say(),
                }
            }
            Event::Recovered { deleted, stale } => self.printer.note(format!(
                "an earlier run was cut short: cleaned up {deleted} leftovers, {stale} documents are ingested again"
            )),
        }
    }
}

/// The summary as one line.
pub fn line(summary: &Summary) -> String {
    let Summary { added, updated, unchanged, removed, failed, skipped, chunks, .. } = summary;
    format!(
        "added {added} updated {updated} unchanged {unchanged} removed {removed} failed {failed} ({chunks} chunks embedded, {skipped} files of unknown kind skipped)"
    )
}
