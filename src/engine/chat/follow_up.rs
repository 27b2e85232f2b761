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

use super::phrases::phrases;
use super::topic::Topic;
use super::words::{Kind, Word, words};

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
    let (opening, rest) = opening(&all);
    let topic = Topic::of(before);
    let is_empty = rest.iter().all(|word| !word.is(Kind::Content) || word.is_vague());
    let rewritten = match leaning(rest, 0) {
        _ if all.is_empty() || before.question.trim().is_empty() => None,
        // `Why?`, `Tell me more`, `How is that?`
        None if is_empty => Some(following(asked, rest, before.question)),
        Some(at) if is_empty && is_all_there_is(rest, at) => Some(following(asked, rest, before.question)),
        // `And below that?`, `Why not in winter?`
        _ if lacks_a_verb(rest) => Some(following(asked, rest, before.question)),
        Some(_) => Some(filled(asked, rest, &topic)),
        None if points_back(rest) => Some(appended(asked, &topic)),
        None if is_fragment(asked, opening, rest) => swapped(asked, rest, before.question, &topic),
        None => None,
    };
    rewritten.filter(|rewritten| rewritten != asked.trim() && !rewritten.is_empty())
}

/// `that` in `And that?` and `Why is that?`: it stands for the whole of what was said.
fn is_all_there_is(rest: &[Word], at: usize) -> bool {
    let before = &rest[..at];
    let why = before.first().is_some_and(|first| first.is_one_of(&["why", "how"]));
    rest.len() == 1
        || (rest[at].is_one_of(&["this", "that"])
            && at + 1 == rest.len()
            && at == 2
            && why
            && before[1].is(Kind::Auxiliary))
}

/// A question that cannot be filled in word for word: a pronoun behind a preposition and nothing else, or `why not` with
/// a place or time.
fn lacks_a_verb(rest: &[Word]) -> bool {
    let no_verb = !rest.iter().any(|word| word.is(Kind::Auxiliary) || word.is_verb());
    match rest {
        [first, second] => first.is(Kind::Preposition) && second.is(Kind::Pronoun),
        [first, second, ..] => {
            let not = second.is_one_of(&["not"])
                || (second.is(Kind::Preposition) && !second.is_one_of(&["to", "about", "of"]));
            no_verb && not && first.is_one_of(&["why", "when", "where", "how"])
        }
        _ => false,
    }
}

/// How a question begins when it goes on with the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opening {
    Plain,
    /// and, or, but
    And,
    /// what about
    About,
}

fn opening<'a, 'b>(words: &'a [Word<'b>]) -> (Opening, &'a [Word<'b>]) {
    let is_and =
        |word: &&Word| word.is_one_of(&["and", "or", "but", "so", "then", "also", "ok", "okay", "now"]);
    let ands = words.iter().take_while(is_and).count();
    let rest = &words[ands..];
    match rest {
        [first, second, ..] if first.is_one_of(&["what", "how"]) && second.is_one_of(&["about", "of"]) => {
            (Opening::About, &rest[2..])
        }
        _ if ands > 0 => (Opening::And, rest),
        _ => (Opening::Plain, rest),
    }
}

/// The first pronoun from `from` on that stands for something said before.
fn leaning(words: &[Word], from: usize) -> Option<usize> {
    let own = phrases(words);
    (from..words.len()).find(|&at| {
        let stands_for = words[at].is(Kind::Pronoun)
            && !(is_empty_it(words, at) || is_relative(words, at) || is_counted_one(words, at));
        stands_for && {
            let possessive = words[at].is_one_of(&["its", "their", "his", "her", "itself", "themselves"]);
            // `What happens to a value when its owner goes?` names what it means.
            !own.iter().any(|phrase| {
                phrase.words.end <= at && (possessive || parts(words, phrase.words.end - 1, at))
            })
        }
    })
}

/// Whether a new clause begins between the words `from` and `to`.
fn parts(words: &[Word], from: usize, to: usize) -> bool {
    words[from].breaks
        || words[from + 1..to].iter().any(|word| {
            word.breaks
                || matches!(word.kind, Kind::Conjunction | Kind::Ask)
                || word.is_one_of(&["before", "after", "until", "since"])
        })
}

/// `it` that stands for nothing: `is it possible to`, `does it take long to`.
fn is_empty_it(words: &[Word], at: usize) -> bool {
    const JUDGEMENTS: &[&str] = &[
        "allowed",
        "bad",
        "best",
        "better",
        "common",
        "dangerous",
        "difficult",
        "easier",
        "easy",
        "enough",
        "faster",
        "good",
        "hard",
        "harder",
        "impossible",
        "legal",
        "necessary",
        "normal",
        "ok",
        "okay",
        "permitted",
        "possible",
        "required",
        "right",
        "safe",
        "safer",
        "true",
        "useful",
        "wise",
        "worth",
        "wrong",
        "important",
    ];
    let follows =
        |words: &[Word]| words.iter().any(|word| word.is_one_of(&["to", "that", "if", "for", "when"]));
    words[at].folded == "it"
        && match &words[at + 1..] {
            [judgement, rest @ ..] if judgement.is_one_of(JUDGEMENTS) => {
                judgement.folded == "worth" || follows(&rest[..rest.len().min(1)])
            }
            [verb, rest @ ..] if verb.is_one_of(&["take", "takes", "mean", "means", "cost", "matter"]) => {
                follows(&rest[..rest.len().min(2)])
            }
            _ => false,
        }
}

/// `that` behind a noun, which begins a clause of its own: `a rule that says`.
fn is_relative(words: &[Word], at: usize) -> bool {
    let last = at + 1 == words.len() || words[at].breaks;
    words[at].folded == "that"
        && !last
        && at.checked_sub(1).is_some_and(|before| {
            !words[before].breaks && matches!(words[before].kind, Kind::Content | Kind::Pronoun)
        })
}

/// `one` that is a number, or one of several: `one thread`, `which one`. The one of `When do I need one?` is not.
fn is_counted_one(words: &[Word], at: usize) -> bool {
    let next = words.get(at + 1).filter(|_| !words[at].breaks);
    let chosen = at.checked_sub(1).is_some_and(|before| {
        matches!(words[before].kind, Kind::Determiner | Kind::Ask | Kind::Content | Kind::Pronoun)
            && !words[before].is_verb()
    });
    words[at].folded == "one"
        && (chosen || at == 0 || next.is_some_and(|next| next.is(Kind::Content) || next.is_one_of(&["of"])))
}

/// `the same`, `the latter`, `what else`, `which one`.
fn points_back(words: &[Word]) -> bool {
    words.iter().enumerate().any(|(at, word)| {
        let before = at.checked_sub(1).map(|before| &words[before]);
        let next = words.get(at + 1).filter(|_| !word.breaks);
        match word.folded.as_str() {
            "same" => next.is_none_or(|next| {
                next.is_verb() || (next.is(Kind::Preposition) && !next.is_one_of(&["as"]))
            }),
            "former" | "latter" => next.is_none_or(|next| !next.is(Kind::Content) || next.is_verb()),
            "else" => before.is_some_and(|before| before.is(Kind::Ask)),
            "instead" => next.is_none_or(|next| !next.is_one_of(&["of"])),
            "one" => before.is_some_and(|before| before.is_one_of(&["which", "other", "first", "second"])),
            _ => false,
        }
    })
}

/// A few words that make no question: `the lease?`, `And in summer?`.
fn is_fragment(asked: &str, opening: Opening, rest: &[Word]) -> bool {
    let begins = rest.first().is_some_and(|first| first.is_vague());
    let whole = begins || rest.iter().any(|word| matches!(word.kind, Kind::Ask | Kind::Auxiliary));
    match opening {
        Opening::About => true,
        Opening::And => !whole,
        // Without a question mark they are words to search for.
        Opening::Plain => !whole && rest.len() <= 4 && asked.trim_end().ends_with('?'),
    }
}

/// Every pronoun that leans on what was said, filled in; what cannot be is said behind.
fn filled(asked: &str, rest: &[Word], topic: &Topic) -> String {
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
                Some(noun) if meant.to_lowercase().ends_with(&noun.folded) => {
                    (noun.range.end, meant.to_owned())
                }
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
    if named { text } else { appended(asked, topic) }
}

fn end_of(words: &[Word]) -> usize {
    words.last().map_or(0, |word| word.range.end)
}

fn possessive(phrase: &str) -> String {
    if phrase.ends_with('s') { format!("{phrase}'") } else { format!("{phrase}'s") }
}

/// The question, and what it is about in brackets.
fn appended(asked: &str, topic: &Topic) -> String {
    let trimmed = asked.trim();
    match topic.texts.first() {
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
    if matches!(first.kind, Kind::Preposition | Kind::Ask | Kind::Conjunction) {
        // `in winter` takes the place of `in summer`.
        let same = question.iter().skip(1).rfind(|word| word.folded == first.folded);
        let kept = same.map_or(frame, |word| frame[..word.range.start].trim_end());
        return Some(format!("{kept} {fragment}?"));
    }
    let Some(phrase) = topic.phrases.first().filter(|phrase| phrase.range.end <= frame.len()) else {
        return Some(appended(asked, topic));
    };
    let mut text = frame[..phrase.range.start].to_owned();
    let fragment_is_plural = phrases(rest).first().is_some_and(|phrase| phrase.is_plural);
    if let Some(verb) = phrase.words.start.checked_sub(1).and_then(|at| question.get(at))
        && let Some(agreeing) = agreeing(&verb.folded, fragment_is_plural)
    {
        text =
            format!("{}{agreeing}{}", &frame[..verb.range.start], &frame[verb.range.end..phrase.range.start]);
    }
    Some(format!("{text}{fragment}{}?", &frame[phrase.range.end..]))
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
