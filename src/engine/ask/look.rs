//! What a collection has on a question: passages to read, their sentences, and what the gate goes by.

use std::collections::{BTreeMap, BTreeSet};

use crate::embed::{Embedder, Overflow};
use crate::engine::search::{Mode, Query, search};
use crate::error::Result;
use crate::index::{Analyser, ChunkId, Collection, Patience};
use crate::retrieve::coverage::Question;
use crate::retrieve::diversify::{LAMBDA, NEAR_DUPLICATE, distinct, mmr};
use crate::retrieve::extract::{Asked, Candidate, Kind, candidates};
use crate::retrieve::gate::{Features, Seen};
use crate::retrieve::rerank::{CrossEncoder, REACH};
use crate::retrieve::{Hit, merge_neighbours};

/// Hits that compete for a place among the passages.
const POOL: usize = 20;
// Scores of those that were read again and of those that were not cannot be compared.
const _: () = assert!(POOL <= REACH);

/// Hits among which the sentence is looked for that defines what a question asks the meaning of.
const POOL_OF_DEFINITIONS: usize = 100;

/// Passages to read, unless another number is asked for.
pub(super) const PASSAGES: usize = 5;

/// Where to look, and how far.
pub(super) struct Looking<'a> {
    pub collection: &'a Collection,
    pub embedder: &'a Embedder,
    /// Which legs look. Sentences are compared by meaning in any mode.
    pub mode: Mode,
    /// Puts the pool in order, where there is one.
    pub reranker: Option<&'a CrossEncoder>,
    /// Passages to read.
    pub k: usize,
}

/// What was found.
pub struct Found {
    pub(super) asked: Asked,
    /// Of the question's words.
    idf: BTreeMap<String, f32>,
    /// Of the question.
    pub(super) vector: Vec<f32>,
    /// Best first: those to read, then the rest of what was found near.
    hits: Vec<Hit>,
    read: usize,
    /// What could be quoted, of all hits, and its vectors.
    pub(super) sentences: Vec<Candidate>,
    pub(super) vectors: Vec<Vec<f32>>,
    pub(super) features: Features,
}

impl Looking<'_> {
    /// Looks for `question`. The collection is free for writers again before passages are read again and sentences embedded,
    /// which takes its time.
    pub fn look(&self, question: &str) -> Result<Found> {
        let asked = Asked::new(question);
        let query = Query { mode: self.mode, ..Query::new(question, Mode::Hybrid, Some(self.embedder))? };
        let reader = self.collection.read(Patience::default())?;
        let found = search(&reader, &self.collection.profile().fusion, &query, POOL)?;
        let reach = if asked.kind == Kind::Definition { POOL_OF_DEFINITIONS } else { POOL };
        let mut pool = found.hits(&reader, reach)?;
        let far = pool.split_off(POOL.min(pool.len()));
        let idf: BTreeMap<String, f32> = reader.query_terms(question)?.into_iter().collect();
        let best = pool.first().map(|hit| hit.passage.chunk.embedded_text()).unwrap_or_default();
        let ids: Vec<ChunkId> = pool.iter().map(|hit| hit.passage.id).collect();
        let vectors = reader.vectors(&ids)?.into_iter().map(Option::unwrap_or_default);
        let vectors: BTreeMap<ChunkId, Vec<f32>> = ids.into_iter().zip(vectors).collect();
        drop(reader);
        let pool = match self.reranker {
            Some(reranker) => reranker.rerank(question, pool)?,
            None => pool,
        };
        let (mut hits, rest) = self.choose(&vectors, pool);

        let read = hits.len();
        hits.extend(rest);
        hits.extend(far);
        let sentences = candidates(&asked, &hits, read);
        let texts: Vec<&str> = sentences.iter().map(|sentence| sentence.text(&hits)).collect();
        let vectors = self.embedder.embed(&texts, Overflow::Truncate)?;
        let features = with_words(question, &idf, self.collection, |words| {
            let seen = Seen {
                dense: &found.dense,
                lexical: &found.lexical,
                best: &best,
                vector: &query.vector,
                sentences: &texts,
                vectors: &vectors,
            };
            Features::gather(words, &seen)
        });
        Ok(Found { asked, idf, vector: query.vector, hits, read, sentences, vectors, features })
    }

    /// The passages to read, best first: no near-duplicates, diverse, neighbours joined; and the rest of the pool.
    fn choose(&self, vectors: &BTreeMap<ChunkId, Vec<f32>>, pool: Vec<Hit>) -> (Vec<Hit>, Vec<Hit>) {
        let vectors: Vec<&[f32]> = pool.iter().map(|hit| &vectors[&hit.passage.id][..]).collect();
        let kept = distinct(&vectors, NEAR_DUPLICATE);
        let relevance: Vec<f32> =
            kept.iter().map(|&at| pool[at].relevance.unwrap_or(pool[at].score)).collect();
        let vectors: Vec<&[f32]> = kept.iter().map(|&at| vectors[at]).collect();
        let chosen: BTreeSet<usize> =
            mmr(&relevance, &vectors, LAMBDA, self.k).into_iter().map(|at| kept[at]).collect();
        let (read, rest): (Vec<_>, Vec<_>) =
            pool.into_iter().enumerate().partition(|(at, _)| chosen.contains(at));
        let hits = |numbered: Vec<(usize, Hit)>| numbered.into_iter().map(|(_, hit)| hit).collect();
        (merge_neighbours(hits(read)), hits(rest))
    }
}

/// Hands `f` the question as the collection's own words, weighing what `idf` says.
fn with_words<T>(
    question: &str,
    idf: &BTreeMap<String, f32>,
    collection: &Collection,
    f: impl FnOnce(&Question) -> T,
) -> T {
    let analyser = Analyser::new(&collection.profile().lexical);
    let analyse = |text: &str| analyser.analyse(text).words;
    f(&Question::new(question, &analyse, |term| idf.get(term).copied().unwrap_or(0.0)))
}

impl Found {
    /// The passages to read, best first.
    pub fn passages(&self) -> &[Hit] {
        &self.hits[..self.read]
    }

    /// Those, and whatever else a sentence may come from.
    pub fn hits(&self) -> &[Hit] {
        &self.hits
    }

    /// Hands `f` the question as the collection's own words and weights.
    pub(super) fn with_words<T>(
        &self,
        question: &str,
        collection: &Collection,
        f: impl FnOnce(&Question) -> T,
    ) -> T {
        with_words(question, &self.idf, collection, f)
    }
}
