//! An answer in the documents' own words: chosen sentences, each with its citation.

use std::collections::BTreeSet;

use super::look::Found;
use super::wording::readable;
use super::{Answer, Answering, Ask};
use crate::retrieve::Hit;
use crate::retrieve::extract::{Extract, choose};

/// Sentences of an answer, at most.
const MOST_SENTENCES: usize = 3;

impl Ask<'_> {
    /// The documents' own sentences, each with its citation.
    pub(super) fn extract(&self, found: &Found, question: &str, answer: &mut Answer) -> String {
        answer.mode = Answering::Extractive;
        let passages = found.hits();
        let extracts = found.with_words(question, self.collection, |words| {
            let Found { asked, vector, sentences, vectors, .. } = found;
            choose(asked, words, vector, passages, sentences, vectors, MOST_SENTENCES)
        });
        let known: BTreeSet<&str> =
            passages.iter().flat_map(|hit| whole_words(&hit.passage.chunk.text)).collect();
        let mut said = Vec::new();
        for extract in joined(extracts, passages) {
            let passage = &passages[extract.passage].passage;
            let text = readable(&passage.chunk.text[extract.range.clone()], passage.format, &known);
            let n = answer.cite(passage, extract.range, extract.score, self.places);
            said.push(cited(&text, n));
        }
        said.join(" ").replace("\n ", "\n").trim_end().to_owned()
    }
}

/// The text with its mark: behind its first line when a list or code follows, which then ends a line of its own.
fn cited(text: &str, n: usize) -> String {
    match text.split_once('\n') {
        Some((first, block)) => format!("{first} [{n}]\n{block}\n"),
        None => format!("{text} [{n}]"),
    }
}

/// The words of `text` that no line end breaks.
fn whole_words(text: &str) -> impl Iterator<Item = &str> {
    let mut is_broken = false;
    text.split_whitespace().flat_map(move |word| {
        let piece = std::mem::replace(&mut is_broken, word.ends_with('-'));
        word.split(|c: char| !c.is_alphanumeric()).skip(usize::from(piece))
    })
}

/// Sentences that follow each other in one paragraph become one extract, cited once, with the better score.
fn joined(extracts: Vec<Extract>, passages: &[Hit]) -> Vec<Extract> {
    let mut joined: Vec<Extract> = Vec::new();
    for next in extracts {
        let follows = |last: &Extract| {
            let text = &passages[next.passage].passage.chunk.text;
            let between = text.get(last.range.end..next.range.start);
            last.passage == next.passage
                && between.is_some_and(|b| b.trim().is_empty() && b.matches('\n').count() < 2)
        };
        match joined.last_mut().filter(|last| follows(last)) {
            Some(last) => {
                last.range.end = next.range.end;
                last.score = last.score.max(next.score);
            }
            None => joined.push(next),
        }
    }
    joined
}
