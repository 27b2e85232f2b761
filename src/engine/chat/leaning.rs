//! Whether a question leans on what was said before it, and how: by a pronoun, by pointing back, by being no question.
//!
//! In doubt it does not. A question rewritten for no reason is a question nobody asked.

use super::phrases::phrases;
use super::words::{Kind, Word, is_in};

/// `that` in `And that?` and `Why is that?`: it stands for the whole of what was said.
pub(super) fn is_all_there_is(rest: &[Word], at: usize) -> bool {
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
pub(super) fn lacks_a_verb(rest: &[Word]) -> bool {
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
pub(super) enum Opening {
    Plain,
    /// and, or, but
    And,
    /// what about
    About,
}

pub(super) fn opening<'a, 'b>(words: &'a [Word<'b>]) -> (Opening, &'a [Word<'b>]) {
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
pub(super) fn leaning(words: &[Word], from: usize) -> Option<usize> {
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

/// What may be said of nothing in particular: `is it possible to`.
const JUDGEMENTS: &str = "
    allowed bad best better common dangerous difficult easier easy enough faster good hard harder important
    impossible legal necessary normal ok okay permitted possible required right safe safer true useful wise
    worth wrong
";

/// `it` that stands for nothing: `is it possible to`, `does it take long to`.
fn is_empty_it(words: &[Word], at: usize) -> bool {
    let follows =
        |words: &[Word]| words.iter().any(|word| word.is_one_of(&["to", "that", "if", "for", "when"]));
    words[at].folded == "it"
        && match &words[at + 1..] {
            [judgement, rest @ ..] if is_in(JUDGEMENTS, &judgement.folded) => {
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
pub(super) fn points_back(words: &[Word]) -> bool {
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

/// A question after what sets several things apart, which names none of them: `Which is faster?`, `the difference?`.
pub(super) fn compares(words: &[Word]) -> bool {
    let own = words.iter().filter(|word| word.is(Kind::Content));
    let difference = |word: &Word| word.is_one_of(&["difference", "differences"]);
    match words {
        [.., last] if difference(last) => own.filter(|word| !difference(word)).all(Word::is_vague),
        [which, .., last] if which.is_one_of(&["which"]) && last.is(Kind::Content) => {
            words[1].is(Kind::Auxiliary) && own.count() == 1
                || words[1].is_one_of(&["one"]) && points_back(words)
        }
        [which, ..] => which.is_one_of(&["which"]) && words.len() > 1 && points_back(words),
        [] => false,
    }
}

/// A few words that make no question: `the lease?`, `And in summer?`.
pub(super) fn is_fragment(asked: &str, opening: Opening, rest: &[Word]) -> bool {
    let begins = rest.first().is_some_and(|first| first.is_vague());
    let whole = begins || rest.iter().any(|word| matches!(word.kind, Kind::Ask | Kind::Auxiliary));
    match opening {
        Opening::About => true,
        Opening::And => !whole,
        // Without a question mark they are words to search for.
        Opening::Plain => !whole && rest.len() <= 4 && asked.trim_end().ends_with('?'),
    }
}
