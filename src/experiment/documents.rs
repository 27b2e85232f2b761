//! Questions over a collection: looked for once, answered by as many cells as ask.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use super::axis::Answer as How;
use super::matrix::Cell;
use super::metric::Output;
use super::plan::{Documents, Plan};
use super::rows::{Asked, Retrieved, Row};
use crate::engine::ask::{Answering, Ask, Found, Generation, Progress};
use crate::error::{Error, Result};
use crate::generate::Generator;
use crate::index::Passage;
use crate::prompt::budget::Dropped;
use crate::prompt::{Demo, Order, Template};
use crate::retrieve::rank::Mode;
use crate::text::example::Example;

/// Hits that a row keeps.
const KEPT: usize = 10;

/// What is looked for, and how: an item, a mode, a number of passages.
type Sought = (usize, &'static str, usize);

/// What was found, for as long as some cell may ask for it.
pub struct Library<'a> {
    plan: &'a Plan,
    documents: &'a Documents,
    found: Mutex<BTreeMap<Sought, Arc<Found>>>,
}

impl<'a> Library<'a> {
    /// `None` when the plan asks no collection.
    pub fn of(plan: &'a Plan) -> Option<Self> {
        let documents = plan.documents.as_ref()?;
        Some(Self { plan, documents, found: Mutex::default() })
    }

    /// Forgets what was found for items before `item`: no cell asks for it again.
    pub fn forget_before(&self, item: usize) {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        *found = found.split_off(&(item, "", 0));
    }

    fn look(&self, ask: &Ask, item: usize, mode: Mode, k: usize) -> Result<Arc<Found>> {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let sought = (item, mode.name(), k);
        if let Some(found) = found.get(&sought) {
            return Ok(Arc::clone(found));
        }
        let fresh = Arc::new(ask.look(&self.plan.items[item].input, mode)?);
        found.insert(sought, Arc::clone(&fresh));
        Ok(fresh)
    }

    /// Answers an item as a cell has it; the row gets what is to be seen of it, metrics the rest.
    ///
    /// # Errors
    /// As [`Ask::run`].
    pub fn answer(
        &self,
        cell: &Cell,
        item: usize,
        generator: &Generator,
        template: &Template,
        (demos, order): (&[Demo], Order),
        row: &mut Row,
    ) -> Result<Output<'static>> {
        let generates = cell.answer == How::Generate;
        let ask = Ask {
            collection: &self.documents.collection,
            embedder: &self.documents.embedder,
            reranker: None,
            generation: generates.then(|| Generation {
                demos,
                order,
                ..Generation::new(generator, template)
            }),
            answering: if generates { Answering::Generate } else { Answering::Extractive },
            k: (cell.k > 0).then_some(cell.k),
            places: &self.documents.places,
        };
        let example = &self.plan.items[item];
        let found = self.look(&ask, item, cell.retrieval, cell.k)?;
        let answer = ask.answer(&example.input, &found, &mut |progress| {
            if let Progress::Prompt { text, dropped } = progress {
                row.prompt = Some(Asked {
                    text: text.to_owned(),
                    tokens: 0,
                    demos: demos.iter().map(|demo| demo.id.clone()).collect(),
                    dropped: Dropped::in_words(dropped),
                });
            }
            ControlFlow::Continue(())
        })?;
        let relevant = relevant(example)?;
        let passages: Vec<&Passage> = found.hits().iter().map(|hit| &hit.passage).collect();
        row.passages = found
            .hits()
            .iter()
            .take(KEPT)
            .map(|hit| Retrieved {
                place: place(&hit.passage),
                score: hit.score,
                relevant: relevant.as_ref().map(|ids| ids.iter().any(|id| is(&hit.passage, id))),
            })
            .collect();
        row.output.clone_from(&answer.answer);
        row.ms = answer.ms as f64;
        row.tokens = [answer.tokens.prompt, answer.tokens.completion];
        if let Some(prompt) = &mut row.prompt {
            prompt.tokens = answer.tokens.prompt;
        }
        // Extracts are the documents' own words; a generated answer was held against them.
        let grounded = answer.answered && (!generates || answer.mode == Answering::Generate);
        let judged = relevant.map(|ids| judged(&passages, &ids));
        let refused = Some(!answer.answered);
        if !answer.answered {
            row.output.clear();
        }
        Ok(Output { grounded: Some(grounded), refused, judged, ..Output::default() })
    }
}

/// The documents that answer a row's question, where its `doc_ids` say.
fn relevant(example: &Example) -> Result<Option<BTreeSet<String>>> {
    let Some(value) = example.fields.get("doc_ids") else { return Ok(None) };
    let ids: Option<BTreeSet<String>> = match value {
        Value::Array(all) => all.iter().map(|id| id.as_str().map(str::to_owned)).collect(),
        Value::String(one) => Some(BTreeSet::from([one.clone()])),
        _ => None,
    };
    ids.map(Some).ok_or_else(|| Error::invalid(format!("`doc_ids` of `{}` is no list of texts", example.id)))
}

/// Whether a passage is of the document that data calls `id`: by path, by file name with or without its ending, or by title.
fn is(passage: &Passage, id: &str) -> bool {
    let path = Path::new(&passage.path);
    passage.path == id
        || path.file_name().is_some_and(|name| name == id)
        || path.file_stem().is_some_and(|stem| stem == id)
        || passage.title.as_deref() == Some(id)
}

/// 1 for each document found that is among `ids`, in the order in which they were first found, and 1 for each there is.
fn judged(found: &[&Passage], ids: &BTreeSet<String>) -> (Vec<i64>, Vec<i64>) {
    let mut seen = BTreeSet::new();
    let documents = found.iter().filter(|passage| seen.insert(passage.path.as_str()));
    let scores = documents.map(|passage| i64::from(ids.iter().any(|id| is(passage, id)))).collect();
    (scores, vec![1; ids.len()])
}

fn place(passage: &Passage) -> String {
    let (first, last) = passage.chunk.lines;
    format!("{}:{first}-{last}", passage.path)
}
