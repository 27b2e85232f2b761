//! A follow-up becomes a question that stands alone, by rule: what it leans on is filled in from the question before.
//!
//! ```text
//! What is ownership?
//! Why does it matter?              Why does ownership matter?           a pronoun becomes what was talked about
//! And what about borrowing?        Why does borrowing matter?           a fragment takes its place
//! And in C++?                      Why does borrowing matter in C++?    or goes where it belongs
//! How so?                          Why does borrowing matter? How so?   what has no content follows the question
//! How do threads share memory?     (as it is)
//! ```
//!
//! It is English only, reads no answer but for the name of a person, and prefers doing nothing: a question that names
//! what it is about is left to the letter, even after "and".

use super::action::{before_action, is_action};
use super::leaning::{
    Opening, compares, is_all_there_is, is_fragment, lacks_a_verb, leaning, opening, points_back,
};
use super::phrases::phrases;
use super::topic::Topic;
use super::words::{Kind, Word, words};

/// A question of more words says itself what it is about.
const LONGEST: usize = 50;

/// What a follow-up may lean on.
#[derive(Debug, Clone, Copy, Default)]
pub struct Before<'a> {
    /// The last question, as it stands alone.
    pub question: &'a str,
    /// The one before it: what both talk about is what the conversation is about.
    pub earlier: Option<&'a str>,
    /// What was answered, for the name of a person.
    pub answer: &'a str,
    /// Where the answer stood, for a question that names nothing.
    pub title: Option<&'a str>,
}

/// `asked` as a question that can be understood without `before`; `None` when it can already.
pub fn stand_alone(asked: &str, before: &Before) -> Option<String> {
    let all = words(asked);
    if all.is_empty() || all.len() > LONGEST || before.question.trim().is_empty() {
        return None;
    }
    let (opening, rest) = opening(&all);
    let topic = Topic::of(before);
    let is_empty = rest.iter().all(|word| !word.is(Kind::Content) || word.is_vague());
    let rewritten = match leaning(rest, 0) {
        None if compares(rest) && topic.several.is_some() => Some(compared(asked, rest, &topic)),
        // `Why?`, `Tell me more`, `How is that?`
        None if is_empty => Some(following(asked, rest, before.question)),
        Some(at) if is_empty && is_all_there_is(rest, at) => Some(following(asked, rest, before.question)),
        // `And below that?`, `Why not in winter?`
        _ if lacks_a_verb(rest) => Some(following(asked, rest, before.question)),
        _ if opening == Opening::And && is_action(rest) => done(asked, rest, before.question, &topic),
        Some(_) => filled(asked, rest, &topic),
        None if points_back(rest) => Some(appended(asked, topic.texts.first())),
        None if is_fragment(asked, opening, rest) => swapped(asked, rest, before.question, &topic),
        None => None,
    };
    rewritten.filter(|rewritten| rewritten != asked.trim() && !rewritten.is_empty())
}

/// Every pronoun that leans on what was said, filled in. Where none can be, the subject is said behind, unless the
/// question has more than one of its own: `What does this book say about traits?`
fn filled(asked: &str, rest: &[Word], topic: &Topic) -> Option<String> {
    let mut text = String::new();
    let (mut copied, mut at, mut named) = (0, 0, false);
    while let Some(pronoun) = leaning(rest, at) {
        let word = &rest[pronoun];
        let next = rest.get(pronoun + 1).filter(|_| !word.breaks);
        // Not what is asked of it: `Is that safe?`
        let judged = |next: &&Word| {
            next.range.end == end_of(rest) && rest[..pronoun].last().is_some_and(|w| w.is(Kind::Auxiliary))
        };
        let noun = next.filter(|next| next.is(Kind::Content) && !next.is_verb() && !next.is_vague());
        let noun = noun.filter(|next| !judged(next));
        at = pronoun + 1;
        let Some(meant) = topic.meant(word) else { continue };
        let (end, meant) = match word.folded.as_str() {
            "its" | "their" | "theirs" | "his" | "hers" => (word.range.end, possessive(meant)),
            "her" if noun.is_some() => (word.range.end, possessive(meant)),
            // `this contract` is the contract talked about, or something the question names itself.
            "this" | "that" | "these" | "those" if noun.is_some() => match noun {
                Some(noun) if is_called(meant, noun) => (noun.range.end, meant.to_owned()),
                _ => continue,
            },
            _ => (word.range.end, meant.to_owned()),
        };
        text.push_str(&asked[copied..word.range.start]);
        text.push_str(&meant);
        copied = end;
        named = true;
        // `they're` cannot hang on another word.
        if let Some(next) = next.filter(|next| next.range.start == end) {
            let whole = [("'re", " are"), ("'ll", " will"), ("'ve", " have"), ("'d", " would")];
            if let Some((_, whole)) = whole.iter().find(|(clitic, _)| next.folded == *clitic) {
                text.push_str(whole);
                copied = next.range.end;
            }
        }
    }
    text.push_str(&asked[copied..]);
    match named {
        true => Some(text),
        false => (phrases(rest).len() < 2).then(|| appended(asked, topic.texts.first())),
    }
}

/// Whether `phrase` is a phrase of `noun`, such as `the support contract` of `contract`.
fn is_called(phrase: &str, noun: &Word) -> bool {
    let words = words(phrase);
    let head = words.iter().take_while(|word| !word.is(Kind::Preposition)).last();
    head.is_some_and(|head| head.folded == noun.folded) || phrase.to_lowercase().ends_with(&noun.folded)
}

/// The last question with something else done in it; where it is not about what somebody does, as any other follow-up.
fn done(asked: &str, rest: &[Word], last: &str, topic: &Topic) -> Option<String> {
    let filled = match leaning(rest, 0) {
        Some(_) => filled(asked, rest, topic)?,
        None => {
            // `And drop the value?` says itself what is dropped, and not where it was.
            let known = asked.to_lowercase();
            appended(asked, topic.texts.iter().find(|text| !known.contains(&text.to_lowercase())))
        }
    };
    let Some(before) = before_action(first_question(last)) else { return Some(filled) };
    let done = filled[rest.first()?.range.start..].trim_end_matches(['?', '.', '!', ' ']);
    Some(format!("{before}{done}?"))
}

/// What is to be compared, said behind: `What is the difference between Rc and Arc?`
fn compared(asked: &str, rest: &[Word], topic: &Topic) -> String {
    let several = topic.several.as_ref();
    match (rest.last(), several) {
        (Some(last), Some(several)) if last.is_one_of(&["difference", "differences"]) => {
            format!("{} between {several}?", asked[..last.range.end].trim_start())
        }
        _ => appended(asked, several),
    }
}

fn end_of(words: &[Word]) -> usize {
    words.last().map_or(0, |word| word.range.end)
}

fn possessive(phrase: &str) -> String {
    if phrase.ends_with('s') { format!("{phrase}'") } else { format!("{phrase}'s") }
}

/// The question, and what it is about in brackets.
fn appended(asked: &str, subject: Option<&String>) -> String {
    let trimmed = asked.trim();
    match subject {
        None => trimmed.to_owned(),
        Some(text) => {
            let question = trimmed.trim_end_matches(['?', '.', '!', ' ']);
            let end = if trimmed.ends_with('?') { "?" } else { "" };
            format!("{question} ({text}){end}")
        }
    }
}

/// The last question with the fragment in the place of what it was about, or where such a fragment stands.
fn swapped(asked: &str, rest: &[Word], last: &str, topic: &Topic) -> Option<String> {
    let (first, end) = (rest.first()?, rest.last()?.range.end);
    let fragment = &asked[first.range.start..end];
    let last = first_question(last);
    let frame = last.trim_end_matches(['?', '.', '!', ' ']);
    let question = words(frame);
    // `And` of the question before went on from another one.
    let begin = self::opening(&question).1.first().map_or(0, |first| first.range.start);
    if matches!(first.kind, Kind::Preposition | Kind::Ask | Kind::Conjunction) {
        // `in winter` takes the place of `in summer`.
        let same = question.iter().skip(1).rfind(|word| word.folded == first.folded);
        let kept = same.map_or(frame.len(), |word| word.range.start);
        return Some(format!("{} {fragment}?", frame[begin..kept].trim_end()));
    }
    let Some(place) = topic.place_of(&question, first) else {
        return Some(appended(asked, topic.texts.first()));
    };
    let (start, end) = (question[place.start].range.start, question[place.end - 1].range.end);
    let fragment_is_plural = phrases(rest).first().is_some_and(|phrase| phrase.is_plural);
    let verb = place.start.checked_sub(1).map(|at| &question[at]);
    let agreeing = verb.and_then(|verb| Some((verb, agreeing(&verb.folded, fragment_is_plural)?)));
    let before = match agreeing {
        Some((verb, agreeing)) => {
            format!("{}{agreeing}{}", &frame[begin..verb.range.start], &frame[verb.range.end..start])
        }
        None => frame[begin..start].to_owned(),
    };
    Some(format!("{before}{fragment}{}?", &frame[end..]))
}

/// The auxiliary for a subject of the other number, when it changes.
fn agreeing(auxiliary: &str, plural: bool) -> Option<&'static str> {
    let pairs = [("is", "are"), ("was", "were"), ("does", "do"), ("has", "have")];
    pairs.iter().find_map(|&(one, many)| match auxiliary {
        verb if verb == one && plural => Some(many),
        verb if verb == many && !plural => Some(one),
        _ => None,
    })
}

/// What has no content of its own, behind the question it goes on from.
fn following(asked: &str, rest: &[Word], last: &str) -> String {
    let (asked, last) = (asked.trim(), first_question(last));
    if let ([ask], [auxiliary, ..]) = (rest, &words(last)[..])
        && ask.is(Kind::Ask)
        && auxiliary.is(Kind::Auxiliary)
    {
        // `Is it checked?` `Why?`
        return format!("{} {}{}", ask.text, auxiliary.folded, &last[auxiliary.range.end..]);
    }
    let end = if last.ends_with(['?', '.', '!']) { "" } else { "?" };
    format!("{last}{end} {asked}")
}

/// Up to the first question mark: what followed has been answered.
fn first_question(text: &str) -> &str {
    text.find("? ").map_or(text, |end| &text[..=end]).trim_end()
}

#[cfg(test)]
#[path = "follow_up_tests.rs"]
mod tests;
