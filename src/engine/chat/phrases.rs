//! What a question talks about: its noun phrases, found between the function words.
//!
//! Where a phrase ends and the verb begins is a guess from the shape of the question: after `does`, the subject goes up
//! to the last known verb; after `is` in a question that wants a yes, up to the last word. A wrong guess costs a word
//! more or less in a rewritten question, which search forgives.

use std::ops::Range;

use super::words::{Kind, Word};

/// A longer run of words is no phrase, and nothing to repeat in another question.
const LONGEST: usize = 8;

/// A noun phrase, its article included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Phrase {
    /// Of the list of words.
    pub words: Range<usize>,
    /// Of the text.
    pub range: Range<usize>,
    pub is_plural: bool,
    /// Whether it has a name in it, and not merely the capital that a sentence begins with.
    pub is_named: bool,
}

/// The noun phrases of a question, in order.
pub(super) fn phrases(words: &[Word]) -> Vec<Phrase> {
    let mut found: Vec<Range<usize>> = Vec::new();
    let mut at = 0;
    while at < words.len() {
        if !words[at].is(Kind::Content) {
            at += 1;
            continue;
        }
        let end = run_end(words, at);
        let noun = at + usize::from(is_no_noun(words, at, end));
        let split = verb_of(words, noun, end);
        for part in [noun..split.unwrap_or(end), split.map_or(end, |verb| verb + 1)..end] {
            if words[part.clone()].iter().any(|word| !word.is_vague()) {
                found.push(with_article(words, part));
            }
        }
        at = end;
    }
    joined(words, found)
        .into_iter()
        .filter(|range| range.len() <= LONGEST)
        .map(|range| phrase(words, range))
        .collect()
}

/// Where the run of content words that begins at `at` ends.
fn run_end(words: &[Word], at: usize) -> usize {
    let more = |at: &usize| words.get(*at).is_some_and(|word| word.is(Kind::Content));
    (at + 1..).find(|next| words[next - 1].breaks || !more(next)).unwrap_or(words.len())
}

/// Whether the first word of a run is something other than a noun: `fast` of `how fast`, `signed` of `who signed`, an
/// order such as `explain`.
fn is_no_noun(words: &[Word], at: usize, end: usize) -> bool {
    let before = at.checked_sub(1).map(|at| &words[at]);
    match before {
        None => words[at].is_vague() && end > at + 1,
        Some(before) if before.breaks => false,
        Some(before) if before.is_one_of(&["how", "who"]) => true,
        // `I create`, `do they need`
        Some(before) if before.is_one_of(&["i", "we", "you", "they", "it", "he", "she"]) => true,
        // `what rules apply`, `what colour is` name what is asked for; `what happens` does not.
        Some(before) if before.is_one_of(&["what"]) => {
            let named = match words.get(at + 1) {
                Some(next) if at + 1 < end => next.is_verb(),
                next => next.is_some_and(|next| next.is(Kind::Auxiliary)),
            };
            !named
        }
        // `to end`, not `to borrowing`
        Some(before) => {
            before.is_one_of(&["to"]) && words[at].is_verb() && !words[at].folded.ends_with("ing")
        }
    }
}

/// The word of a run, not its first, that is the verb or what is said of the subject.
fn verb_of(words: &[Word], start: usize, end: usize) -> Option<usize> {
    let later = start + 1..end;
    let (first, auxiliary) = (words.first()?, auxiliary_before(words, start));
    let at_end = end == words.len() || !words[end].is(Kind::Content);
    let be = auxiliary.is_some_and(is_be);
    let participle = |word: &Word| {
        word.folded.ends_with("ed")
            || (be && (word.folded.ends_with("ing") || word.is_one_of(IRREGULAR_PARTICIPLES)))
    };
    if auxiliary.is_some() && !be {
        let verb = later.clone().rev().find(|&at| words[at].is_verb());
        // An unknown verb is taken for one where nothing follows it.
        return verb.or_else(|| later.last().filter(|_| end == words.len()));
    }
    let last = later.last().filter(|_| at_end)?;
    if participle(&words[last]) || (auxiliary.is_none() && words[last].is_verb() && start > 0) {
        return Some(last);
    }
    // `Is ownership safe?`, `Why is concatenation slow?`
    let judged = first.is(Kind::Auxiliary) || first.is_one_of(&["why", "how"]);
    (be && judged && end == words.len()).then_some(last)
}

/// The auxiliary whose subject begins at `at`, an article between them or not.
fn auxiliary_before<'a, 'b>(words: &'a [Word<'b>], at: usize) -> Option<&'a Word<'b>> {
    let before = words[..at].iter().rev().find(|word| !word.is(Kind::Determiner));
    before.filter(|word| word.is(Kind::Auxiliary))
}

fn is_be(word: &Word) -> bool {
    word.is_one_of(&["is", "are", "was", "were", "be", "been", "am", "'s", "'re", "isn't", "aren't"])
}

fn with_article(words: &[Word], part: Range<usize>) -> Range<usize> {
    let is_article =
        |at: &usize| words[*at].is(Kind::Determiner) && !words[*at].breaks && !words[*at].is_one_of(&["any"]);
    part.start.checked_sub(1).filter(is_article).unwrap_or(part.start)..part.end
}

const IRREGULAR_PARTICIPLES: &[&str] = &[
    "bought", "bound", "broken", "built", "chosen", "done", "drawn", "found", "given", "held", "kept",
    "known", "left", "lost", "made", "meant", "paid", "put", "read", "run", "seen", "sent", "set", "shown",
    "sold", "spent", "taken", "told", "written",
];

/// Phrases with `of` between them are one, and so are those with `and`.
fn joined(words: &[Word], parts: Vec<Range<usize>>) -> Vec<Range<usize>> {
    let mut joined: Vec<Range<usize>> = Vec::new();
    for part in parts {
        match joined.last_mut() {
            Some(last) if last.end + 1 == part.start && words[last.end].is_one_of(&["of", "and"]) => {
                last.end = part.end;
            }
            _ => joined.push(part),
        }
    }
    joined
}

fn phrase(words: &[Word], range: Range<usize>) -> Phrase {
    let inside = &words[range.clone()];
    let head = inside.iter().take_while(|word| !word.is_one_of(&["of"])).last().unwrap_or(&inside[0]);
    let singular_ends = ["ss", "us", "is"];
    let is_plural = inside.iter().any(|word| word.folded == "and")
        || (head.folded.len() > 3
            && head.folded.ends_with('s')
            && !singular_ends.iter().any(|end| head.folded.ends_with(end)));
    let is_name = |(at, word): (usize, &Word)| {
        at > 0 && word.is(Kind::Content) && word.text.chars().any(|c| c.is_uppercase() || c.is_ascii_digit())
    };
    let is_named = range.clone().zip(inside).any(is_name);
    let bytes = inside[0].range.start..inside[inside.len() - 1].range.end;
    Phrase { words: range, range: bytes, is_plural, is_named }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::words::words;
    use super::*;

    fn found(text: &str) -> Vec<&str> {
        phrases(&words(text)).into_iter().map(|phrase| &text[phrase.range]).collect()
    }

    #[test]
    fn a_subject_ends_where_the_verb_begins() {
        for (question, expected) in [
            ("What is ownership?", &["ownership"][..]),
            ("Why does ownership matter?", &["ownership"]),
            ("When does the support contract end?", &["the support contract"]),
            ("How does Rust drop values?", &["Rust", "values"]),
            ("How are slices related to borrowing?", &["slices", "borrowing"]),
            ("Who signed the support contract?", &["the support contract"]),
            ("Is ownership safe?", &["ownership"]),
            ("Is the lease signed by Anna Meyer?", &["the lease", "Anna Meyer"]),
            ("Why is string concatenation slow?", &["string concatenation"]),
            ("Where is the support contract?", &["the support contract"]),
            ("How does the drop check work?", &["the drop check"]),
            ("What happens to a value when its owner goes out of scope?", &["a value", "owner", "scope"]),
            ("What rules apply to references?", &["rules", "references"]),
            ("What are the rules of ownership?", &["the rules of ownership"]),
            ("How fast is Rc<T>?", &["Rc<T>"]),
            ("How many hives are in the orchard?", &["hives", "the orchard"]),
            ("Explain lifetimes to me", &["lifetimes"]),
            ("How do I create a vector?", &["a vector"]),
            ("What is the difference between String and &str?", &["String and &str"]),
            ("How is error handling done in Rust?", &["error handling", "Rust"]),
            ("tomato watering", &["tomato watering"]),
        ] {
            assert_eq!(found(question), expected, "{question}");
        }
    }

    #[test]
    fn questions_without_a_subject_have_no_phrase() {
        for question in ["Why?", "How does it work?", "What happens then?", "Tell me more.", "", "?!"] {
            assert_eq!(found(question), [""; 0], "{question}");
        }
    }

    #[test]
    fn number_and_names_are_seen() {
        let of = |text: &str| {
            let found = phrases(&words(text));
            found.into_iter().map(|phrase| (phrase.is_plural, phrase.is_named)).collect::<Vec<_>>()
        };
        assert_eq!(of("What are slices?"), [(true, false)]);
        assert_eq!(of("Who is Anna Meyer?"), [(false, true)]);
        assert_eq!(of("What is the status of leases?"), [(false, false)]);
        assert_eq!(of("a slice and the lease"), [(true, false)]);
    }

    proptest! {
        #[test]
        fn phrases_stand_in_the_text_in_order_and_stay_short(
            text in "((the|of|is|does|what|why|who|to|end|slices|contract|Rust|it|,|\\?|é) ?){0,30}",
        ) {
            let words = words(&text);
            let mut end = 0;
            for phrase in phrases(&words) {
                prop_assert!(!text[phrase.range.clone()].is_empty() && phrase.range.start >= end);
                prop_assert!(phrase.words.len() <= LONGEST);
                end = phrase.range.end;
            }
        }
    }
}
