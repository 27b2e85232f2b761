//! `incontext search`: the passages themselves.

use std::time::Instant;

use clap::{Args, ValueEnum};
use serde_json::json;

use super::printer::Printer;
use super::settings::Settings;
use super::{Ending, NOTHING_RELEVANT, device, help, load, narrow, place, tidy};
use crate::engine::Places;
use crate::engine::search::{Mode, Query, asks_something, search};
use crate::error::Result;
use crate::index::Patience;
use crate::retrieve::rerank::REACH;
use crate::retrieve::{Hit, Leg};

/// Find passages, by meaning and by words
///
/// Exit code 3 when there are none.
#[derive(Args)]
#[command(after_long_help = help::examples(EXAMPLES))]
pub struct Search {
    /// Words or a question, in quotes
    query: String,
    /// Collection to search [default: default]
    #[arg(short, long, value_name = "NAME")]
    collection: Option<String>,
    #[command(flatten)]
    narrow: narrow::Where,
    /// How to look
    #[arg(long, value_enum, default_value_t = Legs::Hybrid)]
    mode: Legs,
    /// Passages to show
    #[arg(short, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1000))]
    k: u16,
    /// Encoder, if it is not where the collection's was [default: the collection's]
    #[arg(long, value_name = "NAME|DIR")]
    embedder: Option<String>,
    /// Cross-encoder that reads the best passages again and orders them [default: none]
    #[arg(long, value_name = "DIR")]
    rerank: Option<String>,
    /// Where models of this machine compute [default: cpu]
    #[arg(long, value_enum)]
    device: Option<device::Kind>,
    /// Print the passages as JSON
    #[arg(long)]
    json: bool,
    /// Show each leg's rank, score and share of the fused score
    #[arg(long)]
    explain: bool,
}

const EXAMPLES: help::Examples = &[
    ("The five best passages, and why they are", "incontext search \"support contract\" -k 5 --explain"),
    ("Exact words, such as a name or an error message", "incontext search \"E0502\" --mode lexical"),
    (
        "In some documents only, by path and by front matter",
        "incontext search \"owls\" --where 'path=notes/**' --where 'year>=2020'",
    ),
    (
        "Every file that has something on it",
        "incontext search tea -k 100 --json | jq -r '.hits[].path' | sort -u",
    ),
];

#[derive(Clone, Copy, ValueEnum)]
enum Legs {
    /// By meaning
    Dense,
    /// By words
    Lexical,
    /// Both, fused
    Hybrid,
}

pub fn run(command: &Search, settings: &Settings, printer: &Printer) -> Result<Ending> {
    let start = Instant::now();
    let mode = match command.mode {
        Legs::Dense => Mode::Dense,
        Legs::Lexical => Mode::Lexical,
        Legs::Hybrid => Mode::Hybrid,
    };
    asks_something(&command.query)?;
    let name = settings.collection(command.collection.as_deref());
    let collection = settings.home.open(&name)?;
    let collection = narrow::only(&command.narrow.filter(settings), collection, printer)?;
    let device = settings.device(command.device)?;
    let embedder = match mode {
        Mode::Lexical => None,
        _ => Some(load::collection_embedder(&collection, command.embedder.as_deref(), &device, settings)?),
    };
    let reranker = load::reranker(command.rerank.as_deref(), &device, settings)?;
    let k = usize::from(command.k);
    let query = Query::new(&command.query, mode, embedder.as_ref())?;
    let reader = collection.read(Patience::default())?;
    let found = search(&reader, &collection.profile().fusion, &query, k)?;
    let mut hits = found.hits(&reader, if reranker.is_some() { k.max(REACH) } else { k })?;
    drop(reader);
    if let Some(reranker) = &reranker {
        hits = reranker.rerank(&command.query, hits)?;
        hits.truncate(k);
    }
    if command.json {
        let hits: Vec<_> = hits.iter().map(|hit| as_json(hit, &settings.places)).collect();
        let ms = start.elapsed().as_millis() as u64;
        printer.json(&json!({ "query": command.query, "mode": mode, "hits": hits, "ms": ms }))?;
    } else {
        hits.iter().try_for_each(|hit| show(hit, &settings.places, command.explain, printer))?;
    }
    match hits.is_empty() {
        true => {
            printer.note("no passage has anything in common with the query");
            Ok(Ending::No(NOTHING_RELEVANT))
        }
        false => Ok(Ending::Done),
    }
}

fn as_json(hit: &Hit, places: &Places) -> serde_json::Value {
    let chunk = &hit.passage.chunk;
    let mut json = json!({ "rank": hit.rank, "path": places.shown(&hit.passage.path), "title": hit.passage.title,
        "header": chunk.header, "page": chunk.page(0), "lines": [chunk.lines.0, chunk.lines.1],
        "bytes": [chunk.bytes.start, chunk.bytes.end], "text": chunk.text, "score": hit.score, "legs": hit.legs });
    if let (None, Some(json)) = (chunk.page(0), json.as_object_mut()) {
        json.shift_remove("page");
    }
    if let Some(relevance) = hit.relevance {
        json["relevance"] = relevance.into();
    }
    json
}

fn show(hit: &Hit, places: &Places, explain: bool, printer: &Printer) -> Result<()> {
    let chunk = &hit.passage.chunk;
    let place = place(&places.shown(&hit.passage.path), chunk.page(0), chunk.lines);
    printer.line(format!("{:>2}. {:.4}  {place}  {}", hit.rank, hit.score, tidy(&chunk.header)))?;
    if explain {
        let leg = |name: &str, leg: Option<Leg>| match leg {
            Some(Leg { rank, score, share }) => {
                format!("{name} rank {rank}, score {score:.4}, share {share:.4}")
            }
            None => format!("{name} not among its candidates"),
        };
        let (dense, lexical) = (leg("dense", hit.legs.dense), leg("lexical", hit.legs.lexical));
        printer.line(format!("    {dense}; {lexical}"))?;
        if let Some(relevance) = hit.relevance {
            printer.line(format!("    read again: relevance {relevance:.4}"))?;
        }
    }
    let words: Vec<&str> = chunk.text.split_whitespace().take(40).collect();
    printer.line(format!("    {}\n", tidy(&words.join(" "))))
}
