//! Does a passage support this sentence? Deterministic: words are counted, nothing is asked of a model.
//!
//! A generated answer is cut into claims, one a sentence. A passage supports a claim when one of its sentences, or two that
//! are close, hold at least three quarters of the claim's content words (all of them, when there are only a few), with
//! * every capitalised name exactly as written,
//! * every number exactly as written, near what the claim counts or says with it,
//! * every word that the claim has from the question: what a claim is about is not among the quarter that may be missing.
//!   What the question names may stand in the headings or in another passage of the same document;
//! * and, in one sentence, all names and numbers that the claim adds to the question, with at least half of the question's
//!   words that it repeats: a name from the next sentence is another answer.
//!
//! A claim that says "not" where its source does not (or the other way round) is contradicted, whatever its words. This
//! catches invented facts, not bad reasoning: a claim that rearranges its source's own words can still be wrong.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::document::Format;
use super::sentences::{Sentence, SentenceKind, sentences};
use super::terms::{fold, is_negation, is_stop_word, terms, words};

/// The share of a claim's content words that its quote has to hold.
pub const MIN_RECALL: f32 = 0.75;

/// A claim of at most this many content words has to find them all: one of four makes another claim of it.
const FEW_WORDS: usize = 4;

/// A quote is at most this many sentences, at most this far from the first chosen: far apart they speak of other things.
const MAX_QUOTED: usize = 2;
const CLOSE: usize = 2;

/// A number belongs to the words at most this far from it, in words; what it counts is closer.
const NEAR: usize = 6;
const COUNTED: usize = 4;

/// A passage a claim may rest on.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    pub text: &'a str,
    /// Its headings; a name may stand there instead of in the text.
    pub header: &'a str,
    pub format: Format,
    /// Which document it is of: passages of one document may say together what they are about.
    pub document: &'a str,
}

/// An answer held against its passages.
#[derive(Debug, Clone, PartialEq)]
pub struct Grounding {
    /// In answer order; sentences without a letter or digit are not claims.
    pub claims: Vec<Claim>,
}

impl Grounding {
    /// Whether there is an answer and every sentence of it is supported. A heading must be supported like the rest, but
    /// headings alone answer nothing.
    pub fn is_grounded(&self) -> bool {
        let says_something = self.claims.iter().any(|claim| claim.kind != SentenceKind::Heading);
        says_something && self.claims.iter().all(|claim| claim.supported)
    }

    /// The share of claims that are supported; 0 without claims.
    pub fn share(&self) -> f32 {
        let supported = self.claims.iter().filter(|claim| claim.supported).count();
        supported as f32 / self.claims.len().max(1) as f32
    }
}

/// One sentence of an answer and the passage that comes closest to supporting it.
#[derive(Debug, Clone, PartialEq)]
pub struct Claim {
    /// Bytes of the answer.
    pub range: Range<usize>,
    pub kind: SentenceKind,
    pub supported: bool,
    /// Index of the passage; `None` when no passage shares a word with the claim.
    pub passage: Option<usize>,
    /// Share of the claim's content words found in that passage.
    pub recall: f32,
    /// Numbers, names and words of the question that the claim has and the passage does not, as written in the claim.
    pub missing: Vec<String>,
    /// One of claim and source denies what the other says.
    pub contradicted: bool,
    /// The fewest sentences of the passage that carry the claim, in order: bytes of its text.
    pub quotes: Vec<Range<usize>>,
}

/// Holds every sentence of `answer`, given to `question`, against `passages`, best first: of equally good passages the
/// first is named.
///
/// ```
/// use incontext::text::{document::Format, ground::{Evidence, ground}};
/// let text = "A value has one owner. It is dropped when its owner goes out of scope.";
/// let passages = [Evidence { text, header: "Ownership", format: Format::Markdown, document: "book.md" }];
/// let question = "When is a value dropped?";
/// assert!(ground("The value is dropped when the owner goes out of scope.", question, &passages).is_grounded());
/// assert!(!ground("The value is dropped after 30 seconds.", question, &passages).is_grounded());
/// ```
pub fn ground(answer: &str, question: &str, passages: &[Evidence]) -> Grounding {
    let sources: Vec<Source> = passages.iter().map(|passage| Source::new(passage, passages)).collect();
    let asked = term_set(question);
    let spoken = without_marks(answer);
    let claims = sentences(&spoken, Format::Markdown).into_iter();
    let claims = claims.filter(|claim| spoken[claim.range.clone()].chars().any(char::is_alphanumeric));
    Grounding { claims: claims.map(|claim| judge(claim, &spoken, &asked, &sources)).collect() }
}

fn judge(claim: Sentence, answer: &str, asked: &BTreeSet<String>, sources: &[Source]) -> Claim {
    let Sentence { range, kind } = claim;
    let wanted = Wanted::new(&answer[range.clone()], asked);
    let judged = sources.iter().enumerate().map(|(at, source)| {
        let verdict = source.judge(&wanted);
        (at, verdict)
    });
    // Supported first, then what comes closest; the first of equals.
    let better = |a: &Verdict, b: &Verdict| {
        let rank = |v: &Verdict| (v.supported, v.recall, Reverse(v.missing.len()), !v.contradicted);
        rank(a).partial_cmp(&rank(b)).is_some_and(std::cmp::Ordering::is_gt)
    };
    let best = judged.reduce(|best, next| if better(&next.1, &best.1) { next } else { best });
    let (passage, verdict) = match best {
        Some((at, verdict)) => (Some(at).filter(|_| verdict.recall > 0.0), verdict),
        None => (None, Verdict { missing: wanted.all_required(), ..Verdict::default() }),
    };
    let Verdict { supported, recall, missing, contradicted, quotes } = verdict;
    Claim { range, kind, supported, passage, recall, missing, contradicted, quotes }
}

#[derive(Default)]
struct Verdict {
    supported: bool,
    recall: f32,
    missing: Vec<String>,
    contradicted: bool,
    quotes: Vec<Range<usize>>,
}

/// What a claim needs to find in its source.
struct Wanted<'a> {
    text: &'a str,
    terms: BTreeSet<String>,
    /// Of these, the question's, each as the claim writes it first.
    asked: BTreeMap<String, &'a str>,
    numbers: Vec<Number<'a>>,
    names: Vec<&'a str>,
}

/// A number and the words, as terms, that tell what it is the number of.
struct Number<'a> {
    written: &'a str,
    /// The word right behind it: `14 tutorials`.
    counted: Option<String>,
    /// Everything else that is said with it.
    said_with: BTreeSet<String>,
}

impl<'a> Wanted<'a> {
    fn new(text: &'a str, question: &BTreeSet<String>) -> Self {
        let listed = terms(text);
        let from_question = listed.iter().rev().filter(|term| question.contains(&term.text));
        let asked = from_question.map(|term| (term.text.clone(), &text[term.range.clone()])).collect();
        let terms: BTreeSet<String> = listed.iter().map(|term| term.text.clone()).collect();
        let is_word = |term: &&String| !term.chars().any(char::is_numeric);
        let mut said_with: BTreeSet<String> = terms.iter().filter(is_word).cloned().collect();
        if said_with.is_empty() {
            said_with.extend(question.iter().filter(is_word).cloned()); // "14." answers in the question's words
        }
        let mut wanted = Self { text, terms, asked, numbers: Vec::new(), names: Vec::new() };
        let words = words(text);
        for (at, range) in words.iter().enumerate() {
            let written = bare(&text[range.clone()]);
            if written.chars().any(char::is_numeric) {
                let next = words.get(at + 1).filter(|next| text[range.end..next.start].trim().is_empty());
                let counted = next.and_then(|next| listed.iter().find(|term| term.range == *next));
                let counted = counted.map(|term| term.text.clone()).filter(|term| is_word(&term));
                wanted.numbers.push(Number { written, counted, said_with: said_with.clone() });
            } else if is_name(text, &words, at) {
                wanted.names.push(written);
            }
        }
        wanted
    }

    /// Whether the question says this word too.
    fn repeats(&self, word: &str) -> bool {
        let mut terms = terms(word).into_iter().peekable();
        terms.peek().is_some() && terms.all(|term| self.asked.contains_key(&term.text))
    }

    fn all_required(&self) -> Vec<String> {
        let numbers = self.numbers.iter().map(|number| number.written);
        numbers.chain(self.names.iter().copied()).map(str::to_owned).collect()
    }
}

/// A passage, read once for all claims.
struct Source<'a> {
    text: &'a str,
    /// Words exactly as written, and their terms; a stop word has none.
    words: Vec<(&'a str, Option<String>)>,
    header: BTreeSet<&'a str>,
    header_terms: BTreeSet<String>,
    /// Words, as written and as terms, of the whole document as far as it is shown.
    document: BTreeSet<&'a str>,
    document_terms: BTreeSet<String>,
    sentences: Vec<Quotable<'a>>,
}

struct Quotable<'a> {
    range: Range<usize>,
    terms: BTreeSet<String>,
    written: BTreeSet<&'a str>,
}

impl<'a> Source<'a> {
    fn new(evidence: &Evidence<'a>, passages: &[Evidence<'a>]) -> Self {
        let text = evidence.text;
        let quotable = |Sentence { range, .. }: Sentence| Quotable {
            terms: term_set(&text[range.clone()]),
            written: written(&text[range.clone()]),
            range,
        };
        let sentences = sentences(text, evidence.format).into_iter();
        let sentences = sentences.filter(|sentence| sentence.kind != SentenceKind::Markup);
        let same = passages.iter().filter(|other| other.document == evidence.document);
        let document: Vec<&str> = same.flat_map(|other| [other.header, other.text]).collect();
        let word = |range: Range<usize>| {
            let word = &text[range];
            (bare(word), terms(word).into_iter().next().map(|term| term.text))
        };
        Self {
            text,
            words: words(text).into_iter().map(word).collect(),
            header: written(evidence.header),
            header_terms: term_set(evidence.header),
            document: document.iter().flat_map(|text| written(text)).collect(),
            document_terms: document.iter().flat_map(|text| term_set(text)).collect(),
            sentences: sentences.map(quotable).collect(),
        }
    }

    fn judge(&self, wanted: &Wanted) -> Verdict {
        if let Some(quotes) = self.verbatim(wanted.text) {
            return Verdict { supported: true, recall: 1.0, quotes, ..Verdict::default() };
        }
        let quoted = self.quote(wanted);
        let is_quoted = |term: &String| quoted.iter().any(|&at| self.sentences[at].terms.contains(term));
        let is_known = |term: &String| {
            self.header_terms.contains(term)
                || (wanted.asked.contains_key(term) && self.document_terms.contains(term))
        };
        // Whether something is denied is judged below.
        let said: Vec<&String> = wanted.terms.iter().filter(|term| !is_negation(term)).collect();
        let found = said.iter().filter(|term| is_quoted(term) || is_known(term)).count();
        let recall = found as f32 / said.len().max(1) as f32;

        let numbers = wanted.numbers.iter().filter(|number| !self.has(number)).map(|number| number.written);
        let names = wanted.names.iter().copied().filter(|name| !self.names(name, wanted));
        let asked = wanted.asked.iter().filter(|(term, _)| !self.document_terms.contains(*term));
        let mut missing: Vec<&str> = Vec::new();
        for written in numbers.chain(names).chain(asked.map(|(_, written)| *written)) {
            if !missing.contains(&written) {
                missing.push(written);
            }
        }
        let missing: Vec<String> = missing.into_iter().map(str::to_owned).collect();

        let contradicted =
            quoted.first().is_some_and(|&best| self.denies(&self.sentences[best].range, wanted));
        let enough = if said.len() <= FEW_WORDS { 1.0 } else { MIN_RECALL };
        let answers = quoted.iter().any(|&at| self.answers(&self.sentences[at], wanted));
        let supported = recall >= enough && missing.is_empty() && !contradicted && answers;
        let mut quotes: Vec<_> = quoted.into_iter().map(|at| self.sentences[at].range.clone()).collect();
        quotes.sort_by_key(|range| range.start);
        Verdict { supported, recall, missing, contradicted, quotes }
    }

    /// Whether the sentence has all that the claim adds to the question in names and numbers, and enough of what it repeats
    /// of it. Repeated names do not count: a document calls its subject by name once, and "it" from then on.
    fn answers(&self, sentence: &Quotable, wanted: &Wanted) -> bool {
        let numbers = wanted.numbers.iter().map(|number| number.written);
        let mut added = numbers.chain(wanted.names.iter().copied()).filter(|word| !wanted.repeats(word));
        let here = |word: &str| sentence.written.contains(word) || self.header.contains(word);
        let repeated = wanted.asked.iter().filter(|(_, written)| !wanted.names.contains(written));
        let repeated: Vec<&String> = repeated.map(|(term, _)| term).collect();
        let said = repeated
            .iter()
            .filter(|term| sentence.terms.contains(**term) || self.header_terms.contains(**term));
        added.all(here) && 2 * said.count() >= repeated.len()
    }

    /// Whether the name stands here, or, if the question has it, in the document.
    fn names(&self, name: &str, wanted: &Wanted) -> bool {
        self.words.iter().any(|(written, _)| *written == name)
            || self.header.contains(name)
            || (self.document.contains(name) && wanted.repeats(name))
    }

    /// Whether the number stands near what it is the number of.
    fn has(&self, number: &Number) -> bool {
        let near = |at: usize, reach: usize| {
            let around = &self.words[at.saturating_sub(reach)..(at + reach + 1).min(self.words.len())];
            around.iter().filter_map(|(_, term)| term.as_ref())
        };
        (0..self.words.len()).filter(|&at| self.words[at].0 == number.written).any(|at| {
            match &number.counted {
                Some(counted) => near(at, COUNTED).any(|term| term == counted),
                None if number.said_with.is_empty() => true,
                None => near(at, NEAR).any(|term| number.said_with.contains(term)),
            }
        })
    }

    /// The whole sentences that say the claim word for word, whatever their white space. Part of a sentence is not
    /// enough: "cats fly" is also part of "It is not true that cats fly".
    fn verbatim(&self, claim: &str) -> Option<Vec<Range<usize>>> {
        let claim: Vec<&str> = said(claim).collect();
        (0..self.sentences.len()).find_map(|first| {
            let mut rest = claim.as_slice();
            for last in first..self.sentences.len() {
                for word in said(&self.text[self.sentences[last].range.clone()]) {
                    rest = rest.strip_prefix(&[word])?;
                }
                if rest.is_empty() {
                    return Some(self.sentences[first..=last].iter().map(|s| s.range.clone()).collect());
                }
            }
            None
        })
    }

    /// The fewest sentences that carry the claim, the most telling first: each adds what the ones before lack, numbers
    /// and names above words, until three quarters of the words and all numbers and names found here are quoted.
    fn quote(&self, wanted: &Wanted) -> Vec<usize> {
        let mut terms: BTreeSet<&str> = wanted.terms.iter().map(String::as_str).collect();
        let quotable = |word: &&str| self.sentences.iter().any(|sentence| sentence.written.contains(word));
        let numbers = wanted.numbers.iter().map(|number| number.written);
        let mut required: BTreeSet<&str> =
            numbers.chain(wanted.names.iter().copied()).filter(quotable).collect();
        let enough = wanted.terms.len() as f32 * (1.0 - MIN_RECALL);
        let mut chosen = Vec::new();
        while chosen.len() < MAX_QUOTED {
            if !chosen.is_empty() && required.is_empty() && terms.len() as f32 <= enough {
                break;
            }
            let gain = |sentence: &Quotable| {
                let words = terms.iter().filter(|term| sentence.terms.contains(**term)).count();
                let exact = required.iter().filter(|word| sentence.written.contains(**word)).count();
                2 * exact + words
            };
            // The most gain; of equal ones the shortest, then the first.
            let close = |at: &usize| chosen.first().is_none_or(|first: &usize| first.abs_diff(*at) <= CLOSE);
            let scored = (0..self.sentences.len()).filter(close).map(|at| {
                let sentence = &self.sentences[at];
                (gain(sentence), Reverse(sentence.range.len()), at)
            });
            let best = scored.max_by_key(|&(gain, len, at)| (gain, len, Reverse(at)));
            let Some((_, _, at)) = best.filter(|&(gain, ..)| gain > 0) else { break };
            terms.retain(|term| !self.sentences[at].terms.contains(*term));
            required.retain(|word| !self.sentences[at].written.contains(word));
            chosen.push(at);
        }
        chosen
    }

    /// Whether exactly one of claim and source says "not", looking only at the words they share and just before them.
    fn denies(&self, sentence: &Range<usize>, wanted: &Wanted) -> bool {
        let source = &self.text[sentence.clone()];
        let shared: BTreeSet<String> = term_set(source).intersection(&wanted.terms).cloned().collect();
        let shared: BTreeSet<String> = shared.into_iter().filter(|term| !is_negation(term)).collect();
        if shared.len() < 2 {
            return false;
        }
        negated(source, &shared) != negated(wanted.text, &shared)
    }
}

/// Whether a negation stands inside the shortest stretch of `text` with all of `shared`, or up to three words before it.
fn negated(text: &str, shared: &BTreeSet<String>) -> bool {
    const REACH: usize = 3;
    let marks: Vec<_> = terms(text).into_iter().filter(|term| shared.contains(&term.text)).collect();
    let mut best: Option<Range<usize>> = None;
    for (first, start) in marks.iter().enumerate() {
        let mut seen = BTreeSet::new();
        let end = marks[first..].iter().find(|mark| {
            seen.insert(mark.text.as_str());
            seen.len() == shared.len()
        });
        let Some(end) = end else { break };
        let stretch = start.range.start..end.range.end;
        if best.as_ref().is_none_or(|best| stretch.len() < best.len()) {
            best = Some(stretch);
        }
    }
    let Some(stretch) = best else { return false };
    let words = words(text);
    let first = words.partition_point(|word| word.end <= stretch.start);
    // A comma or a semicolon ends the reach of a "not" before it.
    let clause = text[..stretch.start].rfind([',', ';', ':', '；', '，']).unwrap_or(0);
    let reached = words[first.saturating_sub(REACH)..].iter();
    let reached = reached.filter(|word| word.start >= clause && word.start < stretch.end);
    let cjk = |word: &str| matches!(word, "不" | "没" | "無" | "无" | "非" | "未");
    reached.map(|word| fold(&text[word.clone()])).any(|word| is_negation(&word) || cjk(&word))
}

fn term_set(text: &str) -> BTreeSet<String> {
    terms(text).into_iter().map(|term| term.text).collect()
}

fn written(text: &str) -> BTreeSet<&str> {
    words(text).into_iter().map(|range| bare(&text[range])).collect()
}

/// A word without its possessive ending.
fn bare(word: &str) -> &str {
    word.strip_suffix("'s").or_else(|| word.strip_suffix("\u{2019}s")).unwrap_or(word)
}

/// Whether the word at `at` is a name: it has a capital, and not only because a sentence begins with it. A first word
/// is a name when its capital is inside (`GitHub`) or when another capitalised word follows ("Marie Curie ...").
fn is_name(text: &str, words: &[Range<usize>], at: usize) -> bool {
    let word = bare(&text[words[at].clone()]);
    if word == "I" || word.starts_with("I'") || word.starts_with("I\u{2019}") || is_stop_word(&fold(word)) {
        return false;
    }
    let mut letters = word.chars();
    let capital = letters.next().is_some_and(char::is_uppercase);
    if letters.any(char::is_uppercase) {
        return true;
    }
    if !capital {
        return false;
    }
    let before =
        text[..words[at].start].trim_end_matches(|c: char| c.is_whitespace() || "\"'“‘(*_`".contains(c));
    let opens = before.is_empty() || before.ends_with(['.', '!', '?', ':', '-', '>', '#', '。']);
    if !opens {
        return true;
    }
    let next = words.get(at + 1).map(|next| &text[next.clone()]);
    next.is_some_and(|next| next.starts_with(char::is_uppercase) && !is_stop_word(&fold(next)) && next != "I")
}

/// The answer without what is not said in it: our citations (`[1]`, `[2, 3]`) and the quote marks lines begin with are
/// blanked, byte for byte.
fn without_marks(answer: &str) -> String {
    let mut bytes = answer.as_bytes().to_vec();
    for (start, _) in answer.match_indices('[') {
        let Some(len) = answer[start..].find(']') else { break };
        let inside = &answer[start + 1..start + len];
        let digits = inside.bytes().any(|b| b.is_ascii_digit());
        if digits && inside.bytes().all(|b| b.is_ascii_digit() || matches!(b, b',' | b' ')) {
            bytes[start..=start + len].fill(b' ');
        }
    }
    let mut opens_line = true;
    for byte in &mut bytes {
        match *byte {
            b'>' if opens_line => *byte = b' ',
            b'\n' => opens_line = true,
            b' ' | b'\t' => {}
            _ => opens_line = false,
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| answer.to_owned()) // only whole ASCII characters were replaced
}

/// The words of a text as they are written, without the quote marks between its lines.
fn said(text: &str) -> impl Iterator<Item = &str> {
    text.split_whitespace().filter(|word| word.bytes().any(|byte| byte != b'>'))
}

#[cfg(test)]
#[path = "ground_tests.rs"]
mod tests;
