//! `Thanks`, `ok` and `hello`: said to be polite, and nothing to look for or to talk about.
//!
//! Only a line that is nothing else is one, or what stands before or behind a question with punctuation between. A line
//! with a question mark asks something, and a word such as `ok` in front of a question is the question's own affair.

use super::words::{Word, words};

/// What a courtesy is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Aim {
    Agrees,
    Greets,
    Leaves,
    Thanks,
}

impl Aim {
    const ALL: [Self; 4] = [Self::Agrees, Self::Greets, Self::Leaves, Self::Thanks];

    /// As [`Word::folded`] has the words, where `that's` is two.
    fn phrases(self) -> impl Iterator<Item = &'static str> {
        let phrases = match self {
            Self::Agrees => AGREES,
            Self::Greets => GREETS,
            Self::Leaves => LEAVES,
            Self::Thanks => THANKS,
        };
        phrases.split(',').map(str::trim)
    }

    fn reply(self) -> &'static str {
        match self {
            Self::Agrees => "Ask on whenever you like.",
            Self::Greets => "Hello. Ask a question about your documents.",
            Self::Leaves => "Goodbye. /quit or Ctrl-D leaves.",
            Self::Thanks => "You are welcome.",
        }
    }
}

const AGREES: &str = "
    ok, okay, k, alright, all right, right, sure, yes, yeah, yep, no, nope, fine, good, great, nice, cool,
    perfect, awesome, excellent, wonderful, brilliant, fantastic, amazing, lovely, interesting, wow, very good,
    very nice, very helpful, very interesting, well done, good job, good answer, great answer, good to know,
    got it, i got it, i see, i understand, understood, makes sense, that makes sense, that helps, that helped,
    that 's it, that 's all, that is all, that 's great, that is great, that 's good, that is good,
    that 's helpful, that is helpful, sounds good, never mind, nevermind, sorry, hm, hmm, ah, oh, and, so
";

const GREETS: &str = "
    hello, hello there, hi, hi there, hey, hey there, good morning, good afternoon, good evening, good day
";

const LEAVES: &str = "
    bye, bye bye, goodbye, good bye, good night, see you, see you later
";

const THANKS: &str = "
    thanks, thanks a lot, thanks so much, thanks very much, thanks again, many thanks, thanks for that,
    thanks for the answer, thanks for your help, thanks for the help, thank you, thank you very much,
    thank you so much, thank you again, thank you for that, thank you for your help, thank you for the answer,
    thank you for the help, thx, ty, cheers
";

/// What may be said to `text`, if it is a courtesy and nothing else.
pub fn reply(text: &str) -> Option<&'static str> {
    let words = words(text);
    let (end, aim) = courtesies(&words);
    (end == words.len() && !text.contains('?')).then_some(aim?.reply())
}

/// The question without courtesies before and behind it; as it is when there is nothing else.
pub(super) fn without(text: &str) -> &str {
    let all = words(text);
    let (polite, meant) = courtesies(&all);
    if polite == all.len() {
        return text.trim();
    }
    let between = |at: usize| &text[all[at - 1].range.end..all[at].range.start];
    // `Hello, world` is a program; a comma says little.
    let enough = if meant == Some(Aim::Thanks) { &['.', '!', ','][..] } else { &['.', '!'] };
    let start = (1..=polite).rev().find(|&at| between(at).contains(enough));
    let is_polite = |at: usize| courtesies(&all[at..]).0 == all.len() - at;
    let end = (polite + 1..all.len()).find(|&at| between(at).contains(['?', '.', '!']) && is_polite(at));
    // Punctuation before the question stays with the courtesy, that behind it with the question.
    text[start.map_or(0, |at| all[at].range.start)..end.map_or(text.len(), |at| all[at].range.start)].trim()
}

/// How many words from the first on are courtesies, and what they are for: `ok, thanks` thanks.
fn courtesies(words: &[Word]) -> (usize, Option<Aim>) {
    let (mut end, mut meant) = (0, None);
    while let Some((length, aim)) = longest(&words[end..]) {
        end += length;
        meant = meant.max(Some(aim));
    }
    (end, meant)
}

/// The longest phrase that `words` begin with.
fn longest(words: &[Word]) -> Option<(usize, Aim)> {
    let length = |phrase: &str| {
        let length = phrase.split(' ').count();
        let same = words.len() >= length && phrase.split(' ').zip(words).all(|(a, b)| a == b.folded);
        same.then_some(length)
    };
    let matching = |aim: Aim| aim.phrases().filter_map(move |phrase| Some((length(phrase)?, aim)));
    Aim::ALL.into_iter().flat_map(matching).max()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_that_is_nothing_but_polite_has_a_reply() {
        for (said, expected) in [
            ("thanks", Aim::Thanks),
            ("Thank you very much!", Aim::Thanks),
            ("ok, great, thanks", Aim::Thanks),
            ("OK", Aim::Agrees),
            ("great", Aim::Agrees),
            ("That's great.", Aim::Agrees),
            ("I see", Aim::Agrees),
            ("Hello!", Aim::Greets),
            ("Thanks and bye", Aim::Thanks),
            ("good night", Aim::Leaves),
        ] {
            assert_eq!(reply(said), Some(expected.reply()), "{said}");
        }
        for asked in [
            "",
            "?!",
            "ok?",
            "Is that good?",
            "is it good",
            "great expectations",
            "the right answer",
            "ok and the lease",
            "Thanks to whom did it end",
            "no smoking",
            "所有权",
        ] {
            assert_eq!(reply(asked), None, "{asked}");
        }
    }

    #[test]
    fn a_question_is_freed_of_the_courtesies_around_it() {
        for (said, asked) in [
            ("Thanks! Who signed it?", "Who signed it?"),
            ("Ok, great. And the lease?", "And the lease?"),
            ("Thanks, and the lease?", "and the lease?"),
            ("Who signed it? Thanks!", "Who signed it?"),
            ("Hi! What is Rust? Thank you.", "What is Rust?"),
            ("ok and the lease?", "ok and the lease?"),
            ("Great expectations", "Great expectations"),
            ("Hello, world in Rust", "Hello, world in Rust"),
            ("Is it a \"yes\", a \"no\"?", "Is it a \"yes\", a \"no\"?"),
            (" thanks ", "thanks"),
            ("Is it right?", "Is it right?"),
            ("What is a \"yes\"?", "What is a \"yes\"?"),
        ] {
            assert_eq!(without(said), asked, "{said}");
        }
    }

    proptest! {
        #[test]
        fn anything_may_be_said(said in "((thanks|ok|and|that's|the lease|\\?|!|,|é|  ) ?){0,10}|\\PC{0,40}") {
            let asked = without(&said);
            prop_assert!(said.contains(asked));
            prop_assert_eq!(asked.is_empty(), said.trim().is_empty());
            if reply(&said).is_some() {
                prop_assert_eq!(asked, said.trim());
            }
        }
    }
}
