//! `incontext eval retrieval`: search, measured on a collection that people have judged.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::{Value, json};

use crate::cli::printer::Printer;
use crate::cli::settings::Settings;
use crate::cli::{Ending, device, help, load};
use crate::embed::{Cache, Embedder};
use crate::error::{Error, Result};
use crate::eval::metrics::Metric;
use crate::eval::retrieval::{Found, Judged, Leg};
use crate::eval::stats::{Bootstrap, CONFIDENCE, Difference, Estimate, SIGNIFICANT, holm};
use crate::eval::trec::{self, Ranking};
use crate::index::Profile;
use crate::index::profile::{Fusion, Method, Scale};
use crate::retrieve::rank::Mode;
use crate::retrieve::rerank::{CrossEncoder, REACH};
use crate::text::records::Source;

/// Measure search on a collection that people have judged
///
/// Each line of the corpus is one document, neither stored nor cut; only questions that were judged are asked. Every figure
/// comes with the interval in which it would lie for other questions like these, and modes are compared question by
/// question. Vectors are kept in the home folder, so that a second run computes none.
#[derive(Args)]
#[command(after_long_help = help::examples(EXAMPLES))]
pub struct Retrieval {
    /// Documents, JSON lines with `_id`, `title` and `text`; may be gzipped, as may the others
    #[arg(long, value_name = "FILE")]
    corpus: PathBuf,
    /// Questions, JSON lines with `_id` and `text`
    #[arg(long, value_name = "FILE")]
    queries: PathBuf,
    /// Judgements: a table of `query-id corpus-id score`, or TREC's four columns
    #[arg(long, value_name = "FILE")]
    qrels: PathBuf,
    /// How to look
    #[arg(long, value_enum, default_value_t = Modes::All)]
    mode: Modes,
    /// Write the ranking as a TREC run file; that of the hybrid mode, where several run
    #[arg(long, value_name = "FILE")]
    run: Option<PathBuf>,
    /// Encoder [default: all-minilm-l6-v2]
    #[arg(long, value_name = "NAME|DIR")]
    embedder: Option<String>,
    /// Cross-encoder that reads the best passages again and orders them [default: none]
    #[arg(long, value_name = "DIR")]
    rerank: Option<String>,
    /// Where models of this machine compute [default: cpu]
    #[arg(long, value_enum)]
    device: Option<device::Kind>,
    /// Documents to rank for a question; each leg hands over as many candidates, but no fewer than the profile says
    #[arg(short, long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
    k: u16,
    /// Index profile with the weights of words and of fusion [default: the built-in one]
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    /// How the legs are fused [default: as the profile says]
    #[arg(long, value_enum)]
    fusion: Option<Way>,
    /// Share of the dense leg in a convex fusion, from 0 to 1 [default: as the profile says]
    #[arg(long, value_name = "SHARE")]
    alpha: Option<f32>,
    /// Print results, configuration and hashes of the data as JSON
    #[arg(long)]
    json: bool,
}

const EXAMPLES: help::Examples = &[
    (
        "All three modes on SciFact as BEIR has it",
        "incontext eval retrieval --corpus corpus.jsonl --queries queries.jsonl --qrels qrels/test.tsv",
    ),
    (
        "A ranking for trec_eval",
        "incontext eval retrieval --corpus c.jsonl.gz --queries q.jsonl --qrels qrels.tsv --mode hybrid --run hybrid.trec",
    ),
];

#[derive(Clone, Copy, ValueEnum)]
enum Modes {
    /// By meaning
    Dense,
    /// By words
    Lexical,
    /// Both, fused
    Hybrid,
    /// One after the other, and compared
    All,
}

#[derive(Clone, Copy, ValueEnum)]
enum Way {
    /// By ranks
    Rrf,
    /// By scores, as far apart as they are
    Convex,
    /// By scores, each leg's stretched from 0 to 1
    Minmax,
}

impl Modes {
    fn each(self) -> &'static [Mode] {
        match self {
            Self::Dense => &[Mode::Dense],
            Self::Lexical => &[Mode::Lexical],
            Self::Hybrid => &[Mode::Hybrid],
            Self::All => &[Mode::Dense, Mode::Lexical, Mode::Hybrid],
        }
    }
}

/// One mode's figures.
#[derive(Serialize)]
struct Figures {
    mode: Mode,
    metrics: BTreeMap<String, Estimate>,
    #[serde(skip)]
    values: BTreeMap<Metric, Vec<f64>>,
}

/// Two modes, held against each other by the first metric.
#[derive(Serialize)]
struct Comparison {
    better: Mode,
    than: Mode,
    metric: String,
    #[serde(flatten)]
    difference: Difference,
    /// After Holm, for as many comparisons as there are.
    adjusted_p: f64,
    significant: bool,
}

pub fn run(command: &Retrieval, settings: &Settings, printer: &Printer) -> Result<Ending> {
    let profile = profile(command)?;
    let sources = [&command.corpus, &command.queries, &command.qrels].map(|path| Source::read(path));
    let [corpus, queries, qrels] = sources;
    let (corpus, queries, qrels) = (corpus?, queries?, qrels?);
    let judged = Judged::read(&corpus, &queries, &qrels)?;
    if let Some((line, id)) = judged.absent.first() {
        printer.note(format!(
            "{} judged documents are not in the corpus and count as not found; the first is `{id}`, line {line} of `{}`",
            judged.absent.len(),
            qrels.path().display()
        ));
    }
    let modes = command.mode.each();
    let k = usize::from(command.k);
    let candidates = profile.fusion.candidates.max(k);
    let mut found = Found { asked: candidates, ..Found::default() };
    if modes.iter().any(|mode| *mode != Mode::Dense) {
        found.lexical = judged.lexical(&profile.lexical, candidates)?;
    }
    let device = settings.device(command.device)?;
    let mut embedder = None;
    if modes.iter().any(|mode| *mode != Mode::Lexical) {
        let loaded = load::embedder(&settings.embedder(command.embedder.as_deref()), &device, settings)?;
        found.dense = dense(&judged, &loaded, candidates, settings, printer)?;
        embedder = Some(loaded);
    }

    let reranker = load::reranker(command.rerank.as_deref(), &device, settings)?;
    let bootstrap = Bootstrap::default();
    let mut figures = Vec::new();
    for &mode in modes {
        let rankings = judged.rankings(mode, &profile.fusion, &found, k);
        let rankings = read_again(&judged, rankings, reranker.as_ref(), printer)?;
        let values = judged.measure(&rankings);
        let metrics = values.iter().map(|(metric, values)| (metric.name(), bootstrap.mean(values)));
        figures.push(Figures { mode, metrics: metrics.collect(), values });
        // The last mode is the one that is written: alone, or the hybrid one of all.
        if let (Some(path), true) = (&command.run, modes.last() == Some(&mode)) {
            let questions = judged.questions.iter().map(|question| question.id.as_str());
            trec::write(path, &format!("incontext-{}", mode.name()), questions.zip(&rankings))?;
        }
    }
    let comparisons = compare(&figures, bootstrap);
    if !command.json {
        show(&judged, &figures, &comparisons, printer)?;
        return Ok(Ending::Done);
    }
    let file = |source: &Source, count: usize| json!({ "path": source.path(), "blake3": source.hash, "used": count });
    let embedder =
        embedder.map(|embedder| json!({ "name": embedder.name(), "fingerprint": embedder.fingerprint() }));
    let reranker = reranker.map(|reranker| json!({ "name": reranker.name(), "reach": REACH }));
    printer.json(&json!({
        "format": 1,
        "version": env!("CARGO_PKG_VERSION"),
        "data": {
            "corpus": file(&corpus, judged.passages.len()),
            "queries": file(&queries, judged.questions.len()),
            "qrels": file(&qrels, judged.judgements()),
            "judged_but_absent": judged.absent.len(),
        },
        "config": {
            "embedder": embedder, "k": k, "candidates": candidates, "lexical": profile.lexical,
            "fusion": fused(&profile.fusion), "rerank": reranker, "bootstrap": bootstrap, "confidence": CONFIDENCE,
        },
        "results": figures,
        "comparisons": comparisons,
    }))?;
    Ok(Ending::Done)
}

/// The profile, with what the command line says of fusion.
fn profile(command: &Retrieval) -> Result<Profile> {
    let mut profile = command.profile.as_deref().map(Profile::load).transpose()?.unwrap_or_default();
    let fusion = &mut profile.fusion;
    match command.fusion {
        Some(Way::Rrf) => fusion.method = Method::Rrf,
        Some(Way::Convex) => (fusion.method, fusion.scale) = (Method::Convex, Scale::Natural),
        Some(Way::Minmax) => (fusion.method, fusion.scale) = (Method::Convex, Scale::MinMax),
        None => {}
    }
    if let Some(alpha) = command.alpha {
        if !(0.0..=1.0).contains(&alpha) {
            return Err(Error::invalid(format!("--alpha {alpha} is no share")).hint("from 0 to 1"));
        }
        if fusion.method != Method::Convex {
            return Err(Error::invalid("--alpha weighs scores, and the legs are fused by ranks")
                .hint("add --fusion convex"));
        }
        fusion.alpha = alpha;
    }
    Ok(profile)
}

/// Only the constants that the method uses.
fn fused(fusion: &Fusion) -> Value {
    match fusion.method {
        Method::Rrf => json!({ "method": "rrf", "k": fusion.k }),
        Method::Convex => json!({ "method": "convex", "scale": fusion.scale, "alpha": fusion.alpha }),
    }
}

/// The rankings as a cross-encoder puts them in order, where there is one.
fn read_again<'a>(
    judged: &'a Judged,
    rankings: Vec<Ranking<'a>>,
    reranker: Option<&CrossEncoder>,
    printer: &Printer,
) -> Result<Vec<Ranking<'a>>> {
    let Some(reranker) = reranker else { return Ok(rankings) };
    let bar = printer.bar(rankings.len() as u64);
    bar.set_message("reading again");
    let reranked = rankings.into_iter().enumerate().map(|(at, ranking)| {
        bar.inc(1);
        judged.reranked(at, ranking, reranker)
    });
    let reranked = reranked.collect();
    bar.finish_and_clear();
    reranked
}

fn dense(
    judged: &Judged,
    embedder: &Embedder,
    k: usize,
    settings: &Settings,
    printer: &Printer,
) -> Result<Leg> {
    settings.home.create()?;
    let mut cache = Cache::open(&settings.home.embeddings(), embedder)?;
    let passages = judged.texts();
    let passages: Vec<&str> = passages.iter().map(String::as_str).collect();
    let questions: Vec<&str> = judged.questions.iter().map(|question| question.text.as_str()).collect();
    let mut embed = |what: &'static str, texts: &[&str]| {
        let bar = printer.bar(texts.iter().map(|text| text.len() as u64).sum());
        bar.set_message(what);
        let vectors = cache.embed(texts, |bytes| bar.set_position(bytes));
        bar.finish_and_clear();
        vectors
    };
    let (passages, questions) = (embed("corpus", &passages)?, embed("queries", &questions)?);
    judged.dense(&passages, &questions, k)
}

/// Every two modes, by the first metric.
fn compare(figures: &[Figures], bootstrap: Bootstrap) -> Vec<Comparison> {
    let metric = Metric::ALL[0];
    let mut comparisons = Vec::new();
    for (at, one) in figures.iter().enumerate() {
        for other in &figures[at + 1..] {
            let mut sides = (one, other);
            if one.metrics[&metric.name()].mean < other.metrics[&metric.name()].mean {
                sides = (other, one);
            }
            let difference = bootstrap.difference(&sides.0.values[&metric], &sides.1.values[&metric]);
            let (better, than) = (sides.0.mode, sides.1.mode);
            let (adjusted_p, significant) = (difference.p, false);
            comparisons.push(Comparison {
                better,
                than,
                metric: metric.name(),
                difference,
                adjusted_p,
                significant,
            });
        }
    }
    let p: Vec<f64> = comparisons.iter().map(|comparison| comparison.difference.p).collect();
    for (comparison, p) in comparisons.iter_mut().zip(holm(&p)) {
        (comparison.adjusted_p, comparison.significant) = (p, p < SIGNIFICANT);
    }
    comparisons
}

fn show(judged: &Judged, figures: &[Figures], comparisons: &[Comparison], printer: &Printer) -> Result<()> {
    let (documents, questions) = (judged.passages.len(), judged.questions.len());
    printer.line(format!("{documents} documents, {questions} judged questions\n"))?;
    let heads = figures.iter().map(|figures| format!("  {:<21}", figures.mode.name()));
    printer.line(format!("{:<10}{}", "", heads.collect::<String>()).trim_end())?;
    for metric in Metric::ALL {
        let name = metric.name();
        let cell = |figures: &Figures| {
            let Estimate { mean, low, high } = figures.metrics[&name];
            format!("  {mean:.4} {:<14}", format!("({low:.3}-{high:.3})"))
        };
        printer.line(format!("{name:<10}{}", figures.iter().map(cell).collect::<String>()).trim_end())?;
    }
    if !comparisons.is_empty() {
        printer.line("")?;
    }
    for Comparison { better, than, metric, difference, adjusted_p, significant } in comparisons {
        let Estimate { mean, low, high } = difference.estimate;
        let verdict = if *significant { "significant" } else { "may be luck" };
        printer.line(format!(
            "{metric}: {} over {} by {mean:.4} ({low:.4} to {high:.4}), p = {adjusted_p:.4}: {verdict}",
            better.name(),
            than.name()
        ))?;
    }
    let tests = if comparisons.is_empty() { "" } else { "; p by paired bootstrap, corrected by Holm" };
    printer.note(format!(
        "in brackets the {:.0} % interval, by bootstrap over the questions{tests}",
        100.0 * CONFIDENCE
    ));
    Ok(())
}
