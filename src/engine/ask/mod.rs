//! Question -> answer with citations that hold.
//!
//! The answer is built from the documents' own sentences, or written by a model and accepted only when every sentence of it
//! is supported by a passage; otherwise the documents' sentences stand in and the answer says so. A question the
//! documents do not answer is refused before anything is written.

mod answer;
mod extractive;
mod generated;
mod to_the_point;
mod wording;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::time::Instant;

pub use answer::{Answer, Answering, FORMAT, Nearest, PromptName, Tokens};

use super::Places;
use super::search::{Mode, Query, search};
use crate::embed::Embedder;
use crate::error::Result;
use crate::generate::Generator;
use crate::index::{Analyser, Collection, Patience, Reader};
use crate::prompt::budget::Dropped;
use crate::prompt::{Said, Template};
use crate::retrieve::coverage;
use crate::retrieve::diversify::{LAMBDA, NEAR_DUPLICATE, distinct, mmr};
use crate::retrieve::extract::{Asked, Kind};
use crate::retrieve::gate::{Features, Gate};
use crate::retrieve::{Hit, merge_neighbours};

/// Hits that compete for a place in the prompt.
const POOL: usize = 20;

/// Hits among which the sentence is looked for that defines what a question asks the meaning of.
const POOL_OF_DEFINITIONS: usize = 100;

/// Passages to read, unless another number is asked for; a small model is shown the first few of them.
const PASSAGES: usize = 5;
const PASSAGES_OF_SMALL: usize = 3;

/// Below this many parameters a model is small.
const SMALL: usize = 300_000_000;

/// Below this many parameters a model that is merely prompted tends to garble what it reads (arXiv 2603.11513).
const FIT_TO_GENERATE: usize = 1_000_000_000;

/// Whether a model that is merely prompted can be trusted with the wording; one of unknown size was named on purpose.
pub fn is_fit(generator: &Generator) -> bool {
    generator.parameters().is_none_or(|size| size >= FIT_TO_GENERATE)
}

/// Everything a question is answered with.
pub struct Ask<'a> {
    pub collection: &'a Collection,
    pub embedder: &'a Embedder,
    pub gate: Gate,
    /// Only when something may be generated.
    pub generation: Option<Generation<'a>>,
    pub answering: Answering,
    /// Passages to read; a default by the model's size when `None`.
    pub k: Option<usize>,
    pub places: &'a Places,
}

/// What the collection has to say.
struct Retrieved {
    /// Of the question's words.
    idf: BTreeMap<String, f32>,
    /// Of the question.
    vector: Vec<f32>,
    confidence: f32,
    /// Only when nothing is relevant.
    nearest: Vec<Nearest>,
    /// To read, best first; empty when nothing is relevant.
    passages: Vec<Hit>,
    /// The rest of what was found near, where only a definition is looked for.
    further: Vec<Hit>,
}

/// What writes the answer.
pub struct Generation<'a> {
    pub generator: &'a Generator,
    pub template: &'a Template,
    /// What was said before, oldest first, for a template that shows it.
    pub history: &'a [Said],
}

/// What a person may follow while the answer comes about.
pub enum Progress<'a> {
    /// What was found to answer from, best first.
    Read(&'a [Hit]),
    /// The prompt, as the model reads it, and what did not fit.
    Prompt { text: &'a str, dropped: &'a [Dropped] },
    /// Text as the model writes it; not yet checked.
    Text(&'a str),
}

impl Ask<'_> {
    /// Answers `question`.
    ///
    /// # Errors
    /// `Invalid` for an empty question, `TooLong` when not even one passage fits the model's window; whatever
    /// retrieval or generation fails with.
    pub fn run(
        &self,
        question: &str,
        on_progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Answer> {
        let start = Instant::now();
        let mut answer = Answer::not_found(question);
        let retrieved = self.retrieve(question)?;
        answer.confidence = retrieved.confidence;
        if retrieved.passages.is_empty() {
            answer.nearest = retrieved.nearest;
            answer.ms = start.elapsed().as_millis() as u64;
            return Ok(answer);
        }
        let stopped = on_progress(Progress::Read(&retrieved.passages)).is_break();
        let text = match &self.generation {
            Some(_) if stopped => None,
            Some(generation) if self.generates(generation.generator) => {
                let small = generation.generator.parameters().is_some_and(|size| size < SMALL);
                let shown = self.k.unwrap_or(if small { PASSAGES_OF_SMALL } else { PASSAGES });
                let passages = &retrieved.passages[..shown.min(retrieved.passages.len())];
                self.generate(generation, question, passages, &mut answer, on_progress)?
            }
            _ => None,
        };
        let text = match text {
            Some(text) => text,
            None => self.extract(&retrieved, question, &mut answer)?,
        };
        // Passages without a sentence (headings, pictures) answer nothing, however near they are.
        if text.is_empty() {
            answer.nearest =
                retrieved.passages.iter().take(3).map(|hit| Nearest::of(&hit.passage, self.places)).collect();
        } else {
            answer.answered = true;
            answer.answer = text;
        }
        answer.ms = start.elapsed().as_millis() as u64;
        Ok(answer)
    }

    /// Everything that needs the collection; it is free for writers again before a model speaks.
    fn retrieve(&self, question: &str) -> Result<Retrieved> {
        let query = Query::new(question, Mode::Hybrid, Some(self.embedder))?;
        let reader = self.collection.read(Patience::default())?;
        let found = search(&reader, &self.collection.profile().fusion, &query, POOL)?;
        let asks_what_it_is = Asked::new(question).kind == Kind::Definition;
        let mut pool = found.hits(&reader, if asks_what_it_is { POOL_OF_DEFINITIONS } else { POOL })?;
        let far = pool.split_off(POOL.min(pool.len()));
        let idf: BTreeMap<String, f32> = reader.words()?.query_terms(question)?.into_iter().collect();
        let mut retrieved = Retrieved {
            idf,
            vector: Vec::new(),
            confidence: 0.0,
            nearest: Vec::new(),
            passages: Vec::new(),
            further: Vec::new(),
        };
        let best = pool.first().map(|hit| hit.passage.chunk.embedded_text()).unwrap_or_default();
        let features = self.with_asked(question, &retrieved.idf, |asked| {
            Features::gather(asked, &found.dense, &found.lexical, &best)
        });
        retrieved.confidence = self.gate.confidence(&features);
        if pool.is_empty() || !self.gate.is_answerable(&features) {
            retrieved.nearest =
                pool.iter().take(3).map(|hit| Nearest::of(&hit.passage, self.places)).collect();
            return Ok(retrieved);
        }
        (retrieved.passages, retrieved.further) = self.passages(&reader, pool)?;
        retrieved.further.extend(far);
        retrieved.vector = query.vector;
        Ok(retrieved)
    }

    /// Hands `f` the question as the collection's own words and weights.
    fn with_asked<T>(
        &self,
        question: &str,
        idf: &BTreeMap<String, f32>,
        f: impl FnOnce(&coverage::Question) -> T,
    ) -> T {
        let analyser = Analyser::new(&self.collection.profile().lexical);
        let analyse = |text: &str| analyser.analyse(text).words;
        f(&coverage::Question::new(question, &analyse, |term| idf.get(term).copied().unwrap_or(0.0)))
    }

    fn generates(&self, generator: &Generator) -> bool {
        match self.answering {
            Answering::Generate => true,
            Answering::Extractive => false,
            Answering::Auto => is_fit(generator),
        }
    }

    /// The passages to read, best first: no near-duplicates, diverse, neighbours joined; and the rest of the pool.
    fn passages(&self, reader: &Reader, pool: Vec<Hit>) -> Result<(Vec<Hit>, Vec<Hit>)> {
        let k = self.k.unwrap_or(PASSAGES);
        let ids: Vec<_> = pool.iter().map(|hit| hit.passage.id).collect();
        let vectors: Vec<Vec<f32>> =
            reader.vectors(&ids)?.into_iter().map(Option::unwrap_or_default).collect();
        let kept = distinct(&vectors, NEAR_DUPLICATE);
        let relevance: Vec<f32> = kept.iter().map(|&at| pool[at].score).collect();
        let vectors: Vec<&[f32]> = kept.iter().map(|&at| &vectors[at][..]).collect();
        let chosen: BTreeSet<usize> =
            mmr(&relevance, &vectors, LAMBDA, k).into_iter().map(|at| kept[at]).collect();
        let (read, rest): (Vec<_>, Vec<_>) =
            pool.into_iter().enumerate().partition(|(at, _)| chosen.contains(at));
        let hits = |numbered: Vec<(usize, Hit)>| numbered.into_iter().map(|(_, hit)| hit).collect();
        Ok((merge_neighbours(hits(read)), hits(rest)))
    }
}
