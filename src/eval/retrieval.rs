//! Search over a judged collection: what each leg finds, and how good that is.
//!
//! One passage is one document, whole and uncut: what is measured is search, not chunking. A title is put before the text
//! as the header of a chunk is. The legs are the product's: words by [`Words`] in a folder that is gone afterwards, vectors
//! compared one by one, lists fused by [`rank`]. Where vectors come from is the caller's business.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::data::{self, Judgements, Passage, Question};
use super::metrics::Metric;
use super::trec::{self, Ranking};
use crate::error::{Error, IoContext, Result};
use crate::index::profile::{Fusion, Lexical};
use crate::index::{ChunkId, Point, Store, Words, WordsWriter, store};
use crate::retrieve::rank::{Mode, rank};
use crate::retrieve::rerank::{CrossEncoder, REACH};
use crate::text::chunk;
use crate::text::records::Source;

/// Of one leg: for each question its candidates, best first.
pub type Leg = Vec<Vec<(ChunkId, f32)>>;

/// A collection, the questions that somebody judged, and the judgements.
#[derive(Debug)]
pub struct Judged {
    pub passages: Vec<Passage>,
    /// In the order of their file, without those that nobody judged.
    pub questions: Vec<Question>,
    judgements: Judgements,
    /// Documents that were judged and are not in the collection: pairs, the first of them by its line.
    pub absent: Vec<(usize, String)>,
}

/// What the legs found. A leg that no mode needs is empty.
#[derive(Debug, Default)]
pub struct Found {
    /// How many candidates a leg was asked for.
    pub asked: usize,
    pub dense: Leg,
    pub lexical: Leg,
}

impl Judged {
    /// # Errors
    /// As [`data::passages`], [`data::questions`] and [`data::judgements`]; `Invalid` when the judgements name a question
    /// that is not there, or only documents that are not.
    pub fn read(corpus: &Source, queries: &Source, qrels: &Source) -> Result<Self> {
        let passages = data::passages(corpus)?;
        let mut questions = data::questions(queries)?;
        let judgements = data::judgements(qrels)?;

        let known: BTreeMap<&str, ()> = questions.iter().map(|question| (question.id.as_str(), ())).collect();
        let lines = |of: &BTreeMap<String, data::Judgement>| of.values().map(|j| j.line).min().unwrap_or(0);
        let unknown = judgements.iter().filter(|(id, _)| !known.contains_key(id.as_str()));
        if let Some((id, of)) = unknown.min_by_key(|(_, of)| lines(of)) {
            let missing =
                Error::invalid(format!("the question `{id}` is not in `{}`", queries.path().display()));
            return Err(qrels.at(lines(of), missing).hint("are the two of one collection?"));
        }
        let known: BTreeMap<&str, ()> = passages.iter().map(|passage| (passage.id.as_str(), ())).collect();
        let pairs = judgements.values().flatten();
        let mut absent: Vec<(usize, String)> = pairs
            .clone()
            .filter(|(id, _)| !known.contains_key(id.as_str()))
            .map(|(id, judgement)| (judgement.line, id.clone()))
            .collect();
        absent.sort_unstable();
        if let Some((line, id)) = absent.first().filter(|_| absent.len() == pairs.count()) {
            let missing = Error::invalid(format!(
                "the document `{id}` is not in `{}`, nor is any other that is judged",
                corpus.path().display()
            ));
            return Err(qrels.at(*line, missing).hint("are the two of one collection?"));
        }
        questions.retain(|question| judgements.contains_key(&question.id));
        Ok(Self { passages, questions, judgements, absent })
    }

    /// How many pairs of question and document were judged.
    pub fn judgements(&self) -> usize {
        self.judgements.values().map(BTreeMap::len).sum()
    }

    /// What is embedded and indexed of each passage.
    pub fn texts(&self) -> Vec<String> {
        self.passages.iter().map(text).collect()
    }

    /// The first `k` passages by words, for each question.
    ///
    /// # Errors
    /// `Io` or `Corrupt` when the folder for temporary files cannot hold the index.
    pub fn lexical(&self, settings: &Lexical, k: usize) -> Result<Leg> {
        let dir = tempfile::tempdir().at("create a folder in", std::env::temp_dir())?;
        let mut writer = WordsWriter::open(dir.path(), settings)?;
        for (id, text) in (0..).zip(self.texts()) {
            writer.add(id, &text)?;
        }
        writer.commit()?;
        writer.close()?;
        let words = Words::open(dir.path(), settings)?;
        self.questions.par_iter().map(|question| words.search(&question.text, k)).collect()
    }

    /// The first `k` passages by cosine, for each question; vectors in the order of passages and questions.
    ///
    /// # Errors
    /// `Invalid` for vectors that are not all of one length.
    pub fn dense(&self, passages: &[Vec<f32>], questions: &[Vec<f32>], k: usize) -> Result<Leg> {
        let dimension = passages.first().map_or(0, Vec::len);
        let mut store = Store::memory(store::Settings { dimension, exact_below: usize::MAX });
        let points: Vec<Point> = (0..).zip(passages).map(|(id, vector)| Point::bare(id, vector)).collect();
        store.upsert(&points)?;
        questions.par_iter().map(|vector| store.search(vector, k, true)).collect()
    }

    /// The first `k` of each question's passages, as `search --mode` would list them.
    pub fn rankings(&self, mode: Mode, fusion: &Fusion, found: &Found, k: usize) -> Vec<Ranking<'_>> {
        let candidates = |leg: &'_ Leg, at: usize| leg.get(at).cloned().unwrap_or_default();
        let ranking = |at: usize| {
            let (dense, lexical) = (candidates(&found.dense, at), candidates(&found.lexical, at));
            let ranked = rank(mode, fusion, found.asked, &dense, &lexical);
            let mut ranking: Ranking<'_> = ranked
                .iter()
                .filter_map(|&(id, score, _)| Some((self.passages.get(id as usize)?.id.as_str(), score)))
                .collect();
            ranking.sort_by(trec::order);
            ranking.truncate(k);
            ranking
        };
        (0..self.questions.len()).map(ranking).collect()
    }

    /// Of the first [`REACH`] of `ranking`, the `at`-th question's, the order that `encoder` puts them in; the others stay behind
    /// them. Scores are moved so that they still fall.
    ///
    /// # Errors
    /// As [`CrossEncoder::score`].
    pub fn reranked<'a>(
        &'a self,
        at: usize,
        mut ranking: Ranking<'a>,
        encoder: &CrossEncoder,
    ) -> Result<Ranking<'a>> {
        let behind = ranking.split_off(REACH.min(ranking.len()));
        let texts: Vec<String> = ranking.iter().map(|(id, _)| self.text_of(id)).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let scores = encoder.score(&self.questions[at].text, &texts)?;
        let lowest = scores.iter().copied().fold(f32::INFINITY, f32::min);
        let floor = behind.first().map_or(0.0, |(_, score)| score + 1.0);
        for ((_, old), score) in ranking.iter_mut().zip(scores) {
            *old = floor + (score - lowest);
        }
        ranking.sort_by(trec::order);
        ranking.extend(behind);
        Ok(ranking)
    }

    /// What was embedded of the passage `id`.
    fn text_of(&self, id: &str) -> String {
        self.passages.iter().find(|passage| passage.id == id).map(text).unwrap_or_default()
    }

    /// The value of every metric for every question, by metric.
    pub fn measure(&self, rankings: &[Ranking<'_>]) -> BTreeMap<Metric, Vec<f64>> {
        let mut values: BTreeMap<Metric, Vec<f64>> = BTreeMap::new();
        for (question, ranking) in self.questions.iter().zip(rankings) {
            let of = &self.judgements[&question.id];
            let judged: Vec<i64> = of.values().map(|judgement| judgement.score).collect();
            let score = |(id, _): &(&str, f32)| of.get(*id).map_or(0, |judgement| judgement.score);
            let found: Vec<i64> = ranking.iter().map(score).collect();
            for metric in Metric::ALL {
                values.entry(metric).or_default().push(metric.of(&found, &judged));
            }
        }
        values
    }
}

fn text(passage: &Passage) -> String {
    let title = passage.title.as_deref().unwrap_or_default();
    let header = title.split_whitespace().collect::<Vec<_>>().join(" ");
    chunk::with_header(&header, &passage.text)
}
