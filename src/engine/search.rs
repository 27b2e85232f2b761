//! Question -> hits: both legs, fused, with what each leg said.

use std::collections::BTreeMap;

use crate::embed::{Embedder, Overflow};
use crate::error::{Error, Result};
use crate::index::profile;
use crate::index::{ChunkId, Passage, Reader};
use crate::retrieve::{Hit, Legs};

pub use crate::retrieve::rank::{Mode, rank};

/// Candidates of both legs, best first, and their fusion.
pub struct Found {
    pub dense: Vec<(ChunkId, f32)>,
    pub lexical: Vec<(ChunkId, f32)>,
    /// Best first, all candidates.
    pub ranked: Vec<(ChunkId, f32, Legs)>,
}

/// A question, ready to look with.
pub struct Query<'a> {
    pub text: &'a str,
    /// Empty when only words are looked for.
    pub vector: Vec<f32>,
    pub mode: Mode,
}

/// Whether there is anything to look for.
///
/// # Errors
/// `Invalid` for a text without a letter or digit.
pub fn asks_something(text: &str) -> Result<()> {
    match text.chars().any(char::is_alphanumeric) {
        true => Ok(()),
        false => Err(Error::invalid("the question is empty").hint("ask in words")),
    }
}

impl<'a> Query<'a> {
    /// Embeds `text` unless `mode` needs no vector. Done before a collection is opened: writers wait for readers.
    ///
    /// # Errors
    /// `Invalid` for a text without a letter or digit, and when the mode needs an embedder and there is none.
    pub fn new(text: &'a str, mode: Mode, embedder: Option<&Embedder>) -> Result<Self> {
        asks_something(text)?;
        let vector = match (mode, embedder) {
            (Mode::Lexical, _) => Vec::new(),
            (_, Some(embedder)) => embedder.embed(&[text], Overflow::Truncate)?.pop().unwrap_or_default(),
            (_, None) => {
                return Err(Error::invalid("searching by meaning needs the collection's embedder")
                    .hint("or use --mode lexical"));
            }
        };
        Ok(Self { text, vector, mode })
    }
}

/// Asks the legs that the query's mode names for `fusion.candidates` each (at least `k`).
///
/// # Errors
/// When the collection cannot be read.
pub fn search(reader: &Reader, fusion: &profile::Fusion, query: &Query, k: usize) -> Result<Found> {
    let candidates = fusion.candidates.max(k);
    let dense = match query.mode {
        Mode::Lexical => Vec::new(),
        _ => reader.dense(&query.vector, candidates)?,
    };
    let lexical = match query.mode {
        Mode::Dense => Vec::new(),
        _ => reader.lexical(query.text, candidates)?,
    };
    let ranked = rank(query.mode, fusion, candidates, &dense, &lexical);
    Ok(Found { dense, lexical, ranked })
}

impl Found {
    /// The first `k` with their passages.
    pub fn hits(&self, reader: &Reader, k: usize) -> Result<Vec<Hit>> {
        let best = &self.ranked[..k.min(self.ranked.len())];
        let ids: Vec<ChunkId> = best.iter().map(|(id, ..)| *id).collect();
        let mut passages: BTreeMap<ChunkId, Passage> =
            reader.passages(&ids)?.into_iter().map(|passage| (passage.id, passage)).collect();
        let found = best.iter().filter_map(|(id, score, legs)| Some((passages.remove(id)?, *score, *legs)));
        let hit = |(at, (passage, score, legs))| Hit { passage, rank: at + 1, score, legs, relevance: None };
        Ok(found.enumerate().map(hit).collect())
    }
}
