//! An answer in the documents' own words: the one to three sentences that say most about the question.
//!
//! Two steps, because embedding is not done here: [`candidates`] lists the sentences worth embedding, [`choose`] takes
//! their vectors back. What is chosen is verbatim: a passage and a range of its text, nothing rewritten.

mod asked;
mod blocks;
mod score;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use self::asked::DEFINING;
pub use self::asked::{Asked, Kind};
use self::blocks::{announced, announcing};
use self::score::{Evidence, score};
use super::coverage::Question;
use super::{Hit, cosine};
use crate::text::sentences::{SentenceKind, sentences};
use crate::text::terms::fold;

/// A further sentence is worth reading when it is at least this share as likely the answer as the best one.
const WORTH: f32 = 0.15;

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
    /// How likely it is the answer, among all sentences of the passages: they sum to 1.
    pub score: f32,
}

impl Candidate {
    /// The sentence itself, which is what to embed.
    pub fn text<'a>(&self, hits: &'a [Hit]) -> &'a str {
        &hits[self.passage].passage.chunk.text[self.range.clone()]
    }
}

/// The sentences of `hits` that could be an answer: of the first `read`, prose and table rows, and lines of code only
/// where a passage has nothing else; of the rest, what defines the thing that a question asks the meaning of, for which
/// nearness to the question says little. A sentence that several passages share (their overlap) is listed once.
pub fn candidates(asked: &Asked, hits: &[Hit], read: usize) -> Vec<Candidate> {
    let mut seen = BTreeSet::new();
    let mut candidates = Vec::new();
    let hits = hits.iter().enumerate();
    for (passage, hit) in hits.take_while(|(at, _)| *at < read || asked.kind == Kind::Definition) {
        let text = hit.passage.chunk.text.as_str();
        let all = sentences(text, hit.passage.format);
        let prose = |kind| matches!(kind, SentenceKind::Prose | SentenceKind::Row);
        let only_code = !all.iter().any(|sentence| prose(sentence.kind));
        for sentence in all {
            let fits = prose(sentence.kind) || (only_code && sentence.kind == SentenceKind::Code);
            let words = &text[sentence.range.clone()];
            let says_something = words.chars().any(char::is_alphanumeric);
            let is_read = passage < read || asked.defines(words) >= DEFINING;
            if fits && says_something && is_read && seen.insert(words) {
                candidates.push(Candidate { passage, range: sentence.range });
            }
        }
    }
    candidates
}

/// How likely each candidate is the answer, as the logits of [`choose`]'s chances; arguments as there.
pub fn logits<V: AsRef<[f32]>>(
    asked: &Asked,
    words: &Question,
    vector: &[f32],
    hits: &[Hit],
    candidates: &[Candidate],
    vectors: &[V],
) -> Vec<f32> {
    // Once a passage, not once a sentence: reading it is most of the work.
    let passages: BTreeSet<usize> = candidates.iter().map(|candidate| candidate.passage).collect();
    let covered = |passage: usize| {
        let chunk = &hits[passage].passage.chunk;
        (passage, words.coverage(&format!("{}\n{}", chunk.header, chunk.text)))
    };
    let in_passage: BTreeMap<usize, f32> = passages.into_iter().map(covered).collect();
    let logit = |at: usize| {
        let Candidate { passage, range } = &candidates[at];
        let chunk = &hits[*passage].passage.chunk;
        let sentence = candidates[at].text(hits);
        let before = at.checked_sub(1).map(|before| &candidates[before]);
        let before = before.filter(|before| before.passage == *passage);
        score(
            words,
            asked,
            &Evidence {
                sentence,
                before: before.map_or("", |before| before.text(hits)),
                header: &chunk.header,
                in_passage: in_passage[passage],
                likeness: vectors.get(at).map_or(0.0, |other| cosine(vector, other.as_ref())),
                rank: passage + 1,
                is_fragment: is_fragment(&chunk.text[range.clone()]),
            },
        )
    };
    (0..candidates.len()).map(logit).collect()
}

/// The best one to `most` sentences, in document order: the file of the likeliest sentence first, each file from top to
/// bottom.
///
/// `vectors[i]` is the embedding of `candidates[i]`, `vector` that of the question; a candidate without a vector scores
/// without likeness. A chosen sentence brings along, if there is room, what it cannot be understood without: the sentence
/// before it when it opens with "It" or "This", the line that announces the list it is an item of. One that announces a
/// list or a piece of code is quoted with it.
pub fn choose<V: AsRef<[f32]>>(
    asked: &Asked,
    words: &Question,
    vector: &[f32],
    hits: &[Hit],
    candidates: &[Candidate],
    vectors: &[V],
    most: usize,
) -> Vec<Extract> {
    let chances = softmax(&logits(asked, words, vector, hits, candidates, vectors));
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    order.sort_by(|&a, &b| chances[b].total_cmp(&chances[a]).then(a.cmp(&b)));

    let same = |a: usize, b: usize| match (vectors.get(a), vectors.get(b)) {
        (Some(a), Some(b)) => cosine(a.as_ref(), b.as_ref()) > SAME,
        _ => false,
    };
    let mut chosen: Vec<usize> = Vec::new();
    for &at in &order {
        let worth = chosen.is_empty() || chances[at] >= WORTH * chances[order[0]];
        if chosen.len() >= most || !worth {
            break;
        }
        if chosen.iter().any(|&kept| kept == at || same(kept, at)) {
            continue;
        }
        chosen.push(at);
        let needed = leads_in(candidates, hits, at).or_else(|| announces(candidates, hits, at));
        chosen.extend(needed.filter(|before| !chosen.contains(before) && chosen.len() < most));
    }
    let first = order.first().map(|&at| &hits[candidates[at].passage].passage.path);
    chosen.sort_by_key(|&at| reading_order(hits, first, &candidates[at]));
    let mut extracts: Vec<Extract> = Vec::new();
    for at in chosen {
        let Candidate { passage, mut range } = candidates[at].clone();
        let within = |last: &&mut Extract| last.passage == passage && range.end <= last.range.end;
        if let Some(last) = extracts.last_mut().filter(within) {
            last.score = last.score.max(chances[at]);
            continue;
        }
        if let Some(end) = announced(&hits[passage].passage.chunk.text, &range) {
            range.end = end;
        }
        extracts.push(Extract { passage, range, score: chances[at] });
    }
    extracts
}

/// `e^x`, so that all sum to 1.
fn softmax(logits: &[f32]) -> Vec<f32> {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f32> = logits.iter().map(|logit| (logit - most).exp()).collect();
    let sum: f32 = powers.iter().sum();
    powers.iter().map(|power| power / sum).collect()
}

/// A few words without an end mark: a heading, an entry of a table of contents, a label.
fn is_fragment(sentence: &str) -> bool {
    const FEW: usize = 12;
    let ends = sentence.trim_end_matches(['"', '\u{201d}', ')', '*', '_', '`', ']']);
    !ends.ends_with(['.', '!', '?', ':', ';', '。', '！', '？', '：', '；'])
        && sentence.split_whitespace().count() < FEW
}

/// The candidate that announces the list whose item `at` is.
fn announces(candidates: &[Candidate], hits: &[Hit], at: usize) -> Option<usize> {
    let Candidate { passage, range } = &candidates[at];
    let end = announcing(&hits[*passage].passage.chunk.text, range.start)?;
    candidates[..at].iter().rposition(|before| before.passage == *passage && before.range.end == end)
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

/// The file of the likeliest sentence comes first, then files by their best passage; each from top to bottom.
fn reading_order(hits: &[Hit], first: Option<&String>, candidate: &Candidate) -> impl Ord + use<> {
    let passage = &hits[candidate.passage].passage;
    let best = hits.iter().position(|hit| hit.passage.path == passage.path);
    (Some(&passage.path) != first, best, passage.chunk.ordinal, candidate.range.start)
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
            let passage = Passage {
                id: at as u64,
                path: path.into(),
                title: None,
                url: None,
                format: Format::Markdown,
                chunk,
            };
            Hit { passage, rank: at + 1, score: 1.0, legs: Legs::default(), relevance: None }
        };
        passages.iter().enumerate().map(hit).collect()
    }

    /// A question's vector and a sentence's: close when the sentence is among `close`.
    fn answer(question: &str, hits: &[Hit], close: &[&str], most: usize) -> Vec<String> {
        let listed = candidates(&Asked::new(question), hits, hits.len());
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
        let words = Question::new(question, &analyse, |_| 1.0);
        let chosen = choose(&Asked::new(question), &words, &asked, hits, &listed, &vectors, most);
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
        let asked = Asked::new("dropped");
        let listed = candidates(&asked, &found, 2);
        let texts: Vec<&str> = listed.iter().map(|candidate| candidate.text(&found)).collect();
        assert_eq!(texts, ["Dropped."]);
        let code = hits(&[("a.md", 0, "```\ndrop(x);\n}\n```")]);
        let texts: Vec<_> =
            candidates(&asked, &code, 1).iter().map(|candidate| candidate.text(&code)).collect();
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
        let asked = Asked::new("value dropped");
        let listed = candidates(&asked, &hits, 2);
        let question = Question::new("value dropped", &analyse, |_| 1.0);
        let chosen = choose(&asked, &question, &[1.0], &hits, &listed, &[[1.0], [1.0]], 3);
        assert_eq!(chosen.len(), 1);
        assert!(chosen[0].score > 0.5);
    }

    proptest! {
        #[test]
        fn what_is_chosen_is_verbatim_and_within_bounds(
            texts in prop::collection::vec("([a-zé。.!\n#`-]| ){0,40}", 0..4), most in 0usize..4,
        ) {
            let passages: Vec<(&str, u32, &str)> = texts.iter().map(|text| ("a.md", 0, text.as_str())).collect();
            let hits = hits(&passages);
            let asked = Asked::new("a b c");
            let listed = candidates(&asked, &hits, 4);
            let question = Question::new("a b c", &analyse, |_| 1.0);
            let chosen = choose::<Vec<f32>>(&asked, &question, &[], &hits, &listed, &[], most);
            prop_assert!(chosen.len() <= most);
            prop_assert_eq!(chosen.is_empty(), listed.is_empty() || most == 0);
            for extract in chosen {
                prop_assert!(texts[extract.passage].get(extract.range).is_some());
            }
        }
    }
}
