//! An answer in the documents' own words: the one to three sentences that say most about the question.
//!
//! Two steps, because embedding is not done here: [`candidates`] lists the sentences worth embedding, [`choose`] takes
//! their vectors back. What is chosen is verbatim: a passage and a range of its text, nothing rewritten.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::ops::Range;

use super::coverage::Question;
use super::{Hit, cosine};
use crate::text::sentences::{SentenceKind, sentences};
use crate::text::terms::fold;

/// Weights of likeness to the question, of its words found, and of the passage's rank.
const WEIGHTS: (f32, f32, f32) = (0.5, 0.3, 0.2);

/// A further sentence is worth reading when its score is at least this share of the best one's.
const WORTH: f32 = 0.85;

/// Two sentences above this cosine say the same.
const SAME: f32 = 0.95;

/// A sentence of one of the passages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Index of the passage in the list given, best first.
    pub passage: usize,
    /// Bytes of that passage's `chunk.text`.
    pub range: Range<usize>,
}

/// A chosen sentence.
#[derive(Debug, Clone, PartialEq)]
pub struct Extract {
    pub passage: usize,
    /// Bytes of that passage's `chunk.text`.
    pub range: Range<usize>,
    /// In `[-0.5, 1]`; comparable within one question only.
    pub score: f32,
}

impl Candidate {
    /// The sentence itself, which is what to embed.
    pub fn text<'a>(&self, hits: &'a [Hit]) -> &'a str {
        &hits[self.passage].passage.chunk.text[self.range.clone()]
    }
}

/// The sentences of `hits` that could be an answer: prose and table rows, and lines of code only where a passage has
/// nothing else. A sentence that several passages share (their overlap) is listed once.
pub fn candidates(hits: &[Hit]) -> Vec<Candidate> {
    let mut seen = BTreeSet::new();
    let mut candidates = Vec::new();
    for (passage, hit) in hits.iter().enumerate() {
        let text = hit.passage.chunk.text.as_str();
        let all = sentences(text, hit.passage.format);
        let prose = |kind| matches!(kind, SentenceKind::Prose | SentenceKind::Row);
        let only_code = !all.iter().any(|sentence| prose(sentence.kind));
        for sentence in all {
            let fits = prose(sentence.kind) || (only_code && sentence.kind == SentenceKind::Code);
            let says_something = text[sentence.range.clone()].chars().any(char::is_alphanumeric);
            if fits && says_something && seen.insert(&text[sentence.range.clone()]) {
                candidates.push(Candidate { passage, range: sentence.range });
            }
        }
    }
    candidates
}

/// The best one to `most` sentences, in document order: passages of the best-ranked file first, each file from top to
/// bottom.
///
/// `vectors[i]` is the embedding of `candidates[i]`, `asked` that of the question; a candidate without a vector scores
/// without likeness. A chosen sentence that opens with "It" or "This" brings the sentence before it along, if there is
/// room: alone it could not be understood.
pub fn choose<V: AsRef<[f32]>>(
    question: &Question,
    asked: &[f32],
    hits: &[Hit],
    candidates: &[Candidate],
    vectors: &[V],
    most: usize,
) -> Vec<Extract> {
    let likeness = |at: usize| vectors.get(at).map_or(0.0, |vector| cosine(asked, vector.as_ref()));
    let score = |(at, candidate): (usize, &Candidate)| {
        let rank = 1.0 / (candidate.passage + 1) as f32;
        WEIGHTS.0 * likeness(at) + WEIGHTS.1 * question.coverage(candidate.text(hits)) + WEIGHTS.2 * rank
    };
    let scores: Vec<f32> = candidates.iter().enumerate().map(score).collect();
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]).then(a.cmp(&b)));

    let same = |a: usize, b: usize| match (vectors.get(a), vectors.get(b)) {
        (Some(a), Some(b)) => cosine(a.as_ref(), b.as_ref()) > SAME,
        _ => false,
    };
    let mut chosen: Vec<usize> = Vec::new();
    for &at in &order {
        let worth = chosen.is_empty() || scores[at] >= WORTH * scores[order[0]];
        if chosen.len() >= most || !worth {
            break;
        }
        if chosen.iter().any(|&kept| kept == at || same(kept, at)) {
            continue;
        }
        let before = leads_in(candidates, hits, at).filter(|before| !chosen.contains(before));
        chosen.push(at);
        if let Some(before) = before
            && chosen.len() < most
        {
            chosen.push(before);
        }
    }
    chosen.sort_by(|&a, &b| reading_order(hits, &candidates[a], &candidates[b]));
    let extract = |at: usize| {
        let Candidate { passage, range } = candidates[at].clone();
        Extract { passage, range, score: scores[at] }
    };
    chosen.into_iter().map(extract).collect()
}

/// The candidate just before `at` in the same paragraph, when `at` cannot be understood without it.
fn leads_in(candidates: &[Candidate], hits: &[Hit], at: usize) -> Option<usize> {
    const POINTS_BACK: &[&str] =
        &["he", "it", "its", "she", "such", "that", "their", "these", "they", "this", "those"];
    let first = candidates[at].text(hits).split(|c: char| !c.is_alphabetic()).next()?;
    POINTS_BACK.binary_search(&fold(first).as_str()).ok()?;
    let before = at.checked_sub(1)?;
    let (one, other) = (&candidates[before], &candidates[at]);
    if one.passage != other.passage {
        return None;
    }
    let between = hits[one.passage].passage.chunk.text.get(one.range.end..other.range.start)?;
    (between.trim().is_empty() && between.matches('\n').count() < 2).then_some(before)
}

fn reading_order(hits: &[Hit], a: &Candidate, b: &Candidate) -> Ordering {
    let key = |candidate: &Candidate| {
        let passage = &hits[candidate.passage].passage;
        let best = hits.iter().position(|hit| hit.passage.path == passage.path);
        (best, passage.chunk.ordinal, candidate.range.start)
    };
    key(a).cmp(&key(b))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::coverage::tests::analyse;
    use super::*;
    use crate::index::Passage;
    use crate::retrieve::Legs;
    use crate::text::chunk::Chunk;
    use crate::text::document::{Format, Origin};

    fn hits(passages: &[(&str, u32, &str)]) -> Vec<Hit> {
        let hit = |(at, &(path, ordinal, text)): (usize, &(&str, u32, &str))| {
            let chunk = Chunk {
                ordinal,
                header: String::new(),
                text: text.into(),
                bytes: 0..text.len(),
                lines: (1, 1),
                tokens: 1,
                origin: Origin::Same,
                source: None,
            };
            let passage =
                Passage { id: at as u64, path: path.into(), title: None, format: Format::Markdown, chunk };
            Hit { passage, rank: at + 1, score: 1.0, legs: Legs::default() }
        };
        passages.iter().enumerate().map(hit).collect()
    }

    /// A question's vector and a sentence's: close when the sentence is among `close`.
    fn answer(question: &str, hits: &[Hit], close: &[&str], most: usize) -> Vec<String> {
        let listed = candidates(hits);
        let vector = |(at, candidate): (usize, &Candidate)| {
            let near = if close.contains(&candidate.text(hits)) { 0.9f32 } else { 0.1 };
            let mut vector = vec![0.0; listed.len() + 1];
            vector[0] = near;
            vector[at + 1] = (1.0 - near * near).sqrt();
            vector
        };
        let vectors: Vec<Vec<f32>> = listed.iter().enumerate().map(vector).collect();
        let mut asked = vec![0.0; listed.len() + 1];
        asked[0] = 1.0;
        let question = Question::new(question, &analyse, |_| 1.0);
        let chosen = choose(&question, &asked, hits, &listed, &vectors, most);
        chosen.iter().map(|e| hits[e.passage].passage.chunk.text[e.range.clone()].to_owned()).collect()
    }

    #[test]
    fn the_sentence_that_answers_is_returned_alone_and_verbatim() {
        let hits =
            hits(&[("a.md", 0, "# Scope\n\nTea is nice. A value is\ndropped with its owner. Cats purr.")]);
        let close = ["A value is\ndropped with its owner."];
        assert_eq!(answer("When is a value dropped?", &hits, &close, 3), close);
    }

    #[test]
    fn several_answers_come_in_document_order_and_no_more_than_asked_for() {
        let hits = hits(&[
            ("b.md", 7, "The value is dropped late."),
            ("a.md", 1, "A dropped value is gone."),
            ("b.md", 2, "A value is dropped early."),
        ]);
        let close = ["The value is dropped late.", "A dropped value is gone.", "A value is dropped early."];
        assert_eq!(answer("When is a value dropped?", &hits, &close, 3), [close[2], close[0], close[1]]);
        assert_eq!(answer("When is a value dropped?", &hits, &close, 1), [close[0]]);
        assert!(answer("When is a value dropped?", &hits, &close, 0).is_empty());
    }

    #[test]
    fn headings_fences_links_and_repetitions_are_no_candidates() {
        let text = "# Drop\n\n[Next](b.md)\n\n```rust\ndrop(x);\n```\nDropped.";
        let found = hits(&[("a.md", 0, text), ("a.md", 1, "Dropped.\n\n---")]);
        let listed = candidates(&found);
        let texts: Vec<&str> = listed.iter().map(|candidate| candidate.text(&found)).collect();
        assert_eq!(texts, ["Dropped."]);
        let code = hits(&[("a.md", 0, "```\ndrop(x);\n}\n```")]);
        let texts: Vec<_> = candidates(&code).iter().map(|candidate| candidate.text(&code)).collect();
        assert_eq!(texts, ["drop(x);"]);
    }

    #[test]
    fn a_sentence_that_points_back_brings_what_it_points_at() {
        let hits = hits(&[("a.md", 0, "Rust calls drop. It frees the memory at once.\n\nIt rains.")]);
        let close = ["It frees the memory at once."];
        let whole = ["Rust calls drop.", "It frees the memory at once."];
        assert_eq!(answer("What frees the memory?", &hits, &close, 3), whole);
        assert_eq!(answer("What falls?", &hits, &["It rains."], 3), ["It rains."]);
    }

    #[test]
    fn two_sentences_that_say_the_same_are_not_both_quoted() {
        let hits = hits(&[("a.md", 0, "A value is dropped."), ("b.md", 0, "The value is dropped!")]);
        let listed = candidates(&hits);
        let question = Question::new("value dropped", &analyse, |_| 1.0);
        let chosen = choose(&question, &[1.0], &hits, &listed, &[[1.0], [1.0]], 3);
        assert_eq!(chosen.len(), 1);
        assert_eq!(chosen[0].score, 1.0);
    }

    proptest! {
        #[test]
        fn what_is_chosen_is_verbatim_and_within_bounds(
            texts in prop::collection::vec("([a-zé。.!\n#`-]| ){0,40}", 0..4), most in 0usize..4,
        ) {
            let passages: Vec<(&str, u32, &str)> = texts.iter().map(|text| ("a.md", 0, text.as_str())).collect();
            let hits = hits(&passages);
            let listed = candidates(&hits);
            let question = Question::new("a b c", &analyse, |_| 1.0);
            let chosen = choose::<Vec<f32>>(&question, &[], &hits, &listed, &[], most);
            prop_assert!(chosen.len() <= most);
            prop_assert_eq!(chosen.is_empty(), listed.is_empty() || most == 0);
            for extract in chosen {
                prop_assert!(texts[extract.passage].get(extract.range).is_some());
            }
        }
    }
}
