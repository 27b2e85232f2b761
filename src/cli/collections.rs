//! `incontext collections`: what has been ingested.

use clap::Subcommand;
use serde_json::json;

use super::printer::Printer;
use super::settings::Settings;
use super::{Ending, help, one_line, patient};
use crate::error::Result;
use crate::index::{Patience, fields};

#[derive(Subcommand)]
pub enum Collections {
    /// List every collection, with its size
    #[command(after_long_help = help::examples(LIST))]
    List {
        /// Print it as JSON
        #[arg(long)]
        json: bool,
    },
    /// Show how a collection was built and what it holds
    #[command(after_long_help = help::examples(SHOW))]
    Show {
        /// Its name [default: the folder's collection]
        name: Option<String>,
        /// Print it as JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove a collection; the documents it was made from stay
    #[command(after_long_help = help::examples(RM))]
    Rm {
        /// Its name
        name: String,
    },
}

const LIST: help::Examples = &[
    ("What has been ingested here?", "incontext collections list"),
    ("Names only", "incontext collections list --json | jq -r '.[].name'"),
];
const SHOW: help::Examples = &[
    ("The folder's collection", "incontext collections show"),
    ("What can `--where` ask for?", "incontext collections show --json | jq -r '.fields[].name'"),
    ("Is a file in `papers`?", "incontext collections show papers | grep lora.md"),
];
const RM: help::Examples = &[("Remove the collection `papers`", "incontext collections rm papers")];

pub fn run(command: Collections, settings: &Settings, printer: &Printer) -> Result<Ending> {
    match command {
        Collections::List { json } => list(json, settings, printer)?,
        Collections::Show { name, json } => {
            show(&settings.collection(name.as_deref()), json, settings, printer)?
        }
        Collections::Rm { name } => {
            settings.home.remove(&name, patient(&mut |holder| printer.waiting(holder)))?;
            printer.note(format!("removed collection `{name}`"));
        }
    }
    Ok(Ending::Done)
}

fn list(as_json: bool, settings: &Settings, printer: &Printer) -> Result<()> {
    let mut rows = Vec::new();
    for name in settings.home.collections()? {
        let collection = settings.home.open(&name)?;
        let stats = collection.read(Patience::default())?.stats()?;
        rows.push((name, collection.profile().embedder.name.clone(), stats));
    }
    if as_json {
        let rows: Vec<_> = rows
            .iter()
            .map(|(name, embedder, stats)| json!({ "name": name, "embedder": embedder, "stats": stats }))
            .collect();
        return printer.json(&rows);
    }
    if rows.is_empty() {
        printer.note("no collections here; make one with `incontext ingest PATH`");
    }
    for (name, embedder, stats) in rows {
        printer.line(format!(
            "{name:20} {:>7} documents {:>8} chunks  {embedder}",
            stats.documents, stats.chunks
        ))?;
    }
    Ok(())
}

fn show(name: &str, as_json: bool, settings: &Settings, printer: &Printer) -> Result<()> {
    let collection = settings.home.open(name)?;
    let reader = collection.read(Patience::default())?;
    let (stats, documents) = (reader.stats()?, reader.documents()?);
    let fields = fields(documents.iter().map(|known| &known.meta));
    if as_json {
        let documents: Vec<_> = documents
            .iter()
            .map(|known| {
                json!({ "path": known.meta.path, "title": known.meta.title, "format": known.meta.format,
                "bytes": known.meta.size, "chunks": known.chunks, "hash": known.meta.hash })
            })
            .collect();
        return printer
            .json(&json!({ "name": name, "folder": collection.dir(), "profile": collection.profile(),
            "stats": stats, "fields": fields, "documents": documents }));
    }
    printer.line(format!(
        "{name}: {} documents, {} chunks, {} tokens",
        stats.documents, stats.chunks, stats.tokens
    ))?;
    printer.line(format!("folder: {}", collection.dir().display()))?;
    printer.line(format!("\n{}", collection.profile().to_toml()?))?;
    printer.line("fields for --where:")?;
    for field in fields {
        let (name, described, count) = (one_line(&field.name), field.described(), field.documents);
        printer.line(format!("  {name:16} {described:16} {count:>7} documents"))?;
    }
    printer.line("")?;
    for known in documents {
        printer.line(format!("{:>5} chunks  {}", known.chunks, known.meta.path))?;
    }
    Ok(())
}
