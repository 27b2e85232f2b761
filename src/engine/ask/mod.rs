//! Question -> answer with citations that hold.
//!
//! The answer is built from the documents' own sentences, or written by a model and accepted only when every sentence of it
//! is supported by a passage; otherwise the documents' sentences stand in and the answer says so. A question the
//! documents do not answer is refused before anything is written.

mod answer;
mod check;
mod extractive;
mod generated;
mod look;
mod to_the_point;
mod wording;

use std::ops::ControlFlow;
use std::time::Instant;

pub use answer::{Answer, Answering, FORMAT, Nearest, PromptName, Tokens};
pub use check::{Checked, check, refuses};
pub use look::Found;

use self::generated::Written;
use self::look::{Looking, PASSAGES};
use super::Places;
use crate::embed::Embedder;
use crate::error::Result;
use crate::generate::Generator;
use crate::index::Collection;
use crate::prompt::budget::Dropped;
use crate::prompt::{Demo, Order, Said, Template};
use crate::retrieve::Hit;
use crate::retrieve::gate::Features;
use crate::retrieve::rank::Mode;
use crate::retrieve::rerank::CrossEncoder;

/// Passages that a small model is shown.
const PASSAGES_OF_SMALL: usize = 3;

/// Below this many parameters a model is small.
const SMALL: usize = 300_000_000;

/// Below this many parameters a model that is merely prompted tends to garble what it reads (arXiv 2603.11513).
const FIT_TO_GENERATE: usize = 1_000_000_000;

/// Whether a model can be trusted with the wording: one that was tuned to and measured, or one that is merely prompted and
/// large enough; one of unknown size was named on purpose.
pub fn is_fit(generator: &Generator) -> bool {
    generator.is_trusted() || generator.parameters().is_none_or(|size| size >= FIT_TO_GENERATE)
}

/// What the gate goes by when `question` is asked: what there is to calibrate it on.
///
/// # Errors
/// As [`Ask::run`]'s retrieval.
pub fn features(question: &str, collection: &Collection, embedder: &Embedder) -> Result<Features> {
    let looking = Looking { collection, embedder, reranker: None, mode: Mode::Hybrid, k: PASSAGES };
    Ok(looking.look(question)?.features)
}

/// Everything a question is answered with.
#[derive(Clone)]
pub struct Ask<'a> {
    pub collection: &'a Collection,
    pub embedder: &'a Embedder,
    /// Reads the best hits again and puts them in order.
    pub reranker: Option<&'a CrossEncoder>,
    /// Only when something may be generated.
    pub generation: Option<Generation<'a>>,
    pub answering: Answering,
    /// Passages to read; a default by the model's size when `None`.
    pub k: Option<usize>,
    pub places: &'a Places,
}

/// What writes the answer.
#[derive(Clone)]
pub struct Generation<'a> {
    pub generator: &'a Generator,
    pub template: &'a Template,
    /// What was said before, oldest first, for a template that shows it.
    pub history: &'a [Said],
    /// Worked examples, nearest first, for a template that shows them, and in which order.
    pub demos: &'a [Demo],
    pub order: Order,
}

impl<'a> Generation<'a> {
    /// For a question on its own.
    pub fn new(generator: &'a Generator, template: &'a Template) -> Self {
        Self { generator, template, history: &[], demos: &[], order: Order::default() }
    }
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
        let found = self.look(question, Mode::Hybrid)?;
        let mut answer = self.answer(question, &found, on_progress)?;
        answer.ms = start.elapsed().as_millis() as u64;
        Ok(answer)
    }

    /// What the collection has on `question`, to answer from: once, for however many ways to answer.
    ///
    /// # Errors
    /// `Invalid` for an empty question; whatever retrieval fails with.
    pub fn look(&self, question: &str, mode: Mode) -> Result<Found> {
        let (collection, embedder, reranker) = (self.collection, self.embedder, self.reranker);
        let k = self.k.unwrap_or(PASSAGES);
        Looking { collection, embedder, reranker, mode, k }.look(question)
    }

    /// Answers `question` from what was found; how long that took, finding aside, is in `ms`.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn answer(
        &self,
        question: &str,
        found: &Found,
        on_progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Answer> {
        let start = Instant::now();
        let mut answer = Answer::not_found(question);
        let nearest =
            || found.hits().iter().take(3).map(|hit| Nearest::of(&hit.passage, self.places)).collect();
        let gate = self.collection.profile().gate.unwrap_or_default();
        answer.confidence = gate.confidence(&found.features);
        if found.passages().is_empty() || !gate.is_answerable(&found.features) {
            answer.nearest = nearest();
            answer.ms = start.elapsed().as_millis() as u64;
            return Ok(answer);
        }
        let stopped = on_progress(Progress::Read(found.passages())).is_break();
        let written = match &self.generation {
            Some(_) if stopped => Written::Nothing,
            Some(generation) if self.generates(generation.generator) => {
                let small = generation.generator.parameters().is_some_and(|size| size < SMALL);
                let passages = self.shown(found, small);
                self.generate(generation, question, passages, &mut answer, on_progress)?
            }
            _ => Written::Nothing,
        };
        let text = match written {
            Written::Text(text) => text,
            Written::Nothing => self.extract(found, question, &mut answer),
            Written::Declined => String::new(),
        };
        // Passages without a sentence (headings, pictures) answer nothing, however near they are.
        if text.is_empty() {
            answer.nearest = nearest();
        } else {
            answer.answered = true;
            answer.answer = text;
        }
        answer.ms = start.elapsed().as_millis() as u64;
        Ok(answer)
    }

    /// The passages that the prompt of a question shows, best first: of a model of this size, `None` where nobody knows it.
    ///
    /// # Errors
    /// As [`Self::run`]'s retrieval.
    pub fn passages(&self, question: &str, parameters: Option<usize>) -> Result<Vec<Hit>> {
        let found = self.look(question, Mode::Hybrid)?;
        let small = parameters.is_some_and(|size| size < SMALL);
        Ok(self.shown(&found, small).to_vec())
    }

    /// As many of the passages that were found as a prompt shows.
    fn shown<'a>(&self, found: &'a Found, small: bool) -> &'a [Hit] {
        let most = self.k.unwrap_or(if small { PASSAGES_OF_SMALL } else { PASSAGES });
        &found.passages()[..most.min(found.passages().len())]
    }

    fn generates(&self, generator: &Generator) -> bool {
        match self.answering {
            Answering::Generate => true,
            Answering::Extractive => false,
            Answering::Auto => is_fit(generator),
        }
    }
}
