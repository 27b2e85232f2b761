//! A follow-up rewritten by a model, held against the conversation before it is asked.
//!
//! A model may answer instead of rewriting, go on talking, or bring in what nobody said. Then its proposal is dropped, and
//! the rule stands in.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use serde_json::{Map, Value};

use super::Rewriter;
use crate::error::{Error, Result};
use crate::generate::Sampling;
use crate::prompt::budget::{Contents, Window, fit};
use crate::prompt::{Prompt, Said};
use crate::text::document::Format;
use crate::text::sentences::sentences;
use crate::text::terms::terms;

/// A question may grow by this much, in characters.
const GROWTH: usize = 160;

/// What the model makes of `asked` after `said`, oldest first; `None` when that is no question to ask.
///
/// # Errors
/// As [`crate::generate::Generator::generate`], but for what a model refuses or cannot hold: that is no proposal.
pub(super) fn proposed(
    rewriter: &Rewriter,
    asked: &str,
    said: &[Said],
    go_on: &mut dyn FnMut() -> ControlFlow<()>,
) -> Result<Option<String>> {
    let Rewriter { generator, template } = rewriter;
    let params = &template.front().params;
    let values = Map::from_iter([("question".to_owned(), Value::from(asked))]);
    let window = Window { size: generator.context(), completion: params.max_tokens };
    let count = |prompt: &Prompt| generator.count(&prompt.layout);
    // Greedy, whatever a template of somebody's own says: the same conversation asks the same questions.
    let sampling =
        Sampling { max_tokens: params.max_tokens, stop: params.stop.clone(), ..Sampling::default() };
    let contents = Contents { history: said, ..Contents::of(&values) };
    let written = fit(template, &contents, window, &count)
        .and_then(|fitted| generator.generate(&fitted.prompt.layout, &sampling, &mut |_| go_on()));
    match written {
        Ok(completion) => Ok(accepted(&completion.text, asked, said)),
        Err(Error::Invalid(_) | Error::TooLong(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether two questions differ in no more than case, space and punctuation.
pub(super) fn is_same(one: &str, other: &str) -> bool {
    let letters = |text: &str| {
        text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect::<String>()
    };
    letters(one) == letters(other)
}

/// The proposal as a question: one line, one sentence, not much longer than what was asked, and about nothing that was
/// not said.
fn accepted(text: &str, asked: &str, said: &[Said]) -> Option<String> {
    let quotes = |c: char| c.is_whitespace() || matches!(c, '"' | '\u{201c}' | '\u{201d}');
    let question = text.trim_matches(quotes);
    let has_words = question.chars().any(char::is_alphanumeric);
    let one_line = !question.contains(['\n', '\r']) && !question.chars().any(char::is_control);
    let longest = said.last().map_or(0, |said| said.question.chars().count());
    let is_short = question.chars().count() <= asked.chars().count() + longest + GROWTH;
    if !(has_words && one_line && is_short && sentences(question, Format::Text).len() == 1) {
        return None;
    }
    let mut known: BTreeSet<String> = terms(asked).into_iter().map(|term| term.text).collect();
    for said in said {
        known.extend(terms(&said.question).into_iter().chain(terms(&said.answer)).map(|term| term.text));
    }
    let new: Vec<String> =
        terms(question).into_iter().map(|term| term.text).filter(|term| !known.contains(term)).collect();
    let invents = new.iter().any(|term| term.contains(char::is_numeric));
    // Half of the words may be other ones for the same.
    (!invents && new.len() * 2 <= terms(question).len()).then(|| question.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn said() -> Vec<Said> {
        vec![Said { question: "What is ownership?".into(), answer: "Ownership is a set of rules.".into() }]
    }

    fn accepts(text: &str) -> Option<String> {
        accepted(text, "Why does it matter?", &said())
    }

    #[test]
    fn a_proposal_is_one_question_about_what_was_said() {
        for good in ["Why does ownership matter?", "Why is ownership important?", " \"Why ownership?\" "] {
            assert_eq!(accepts(good).as_deref(), Some(good.trim_matches([' ', '"'])));
        }
        for bad in [
            "",
            "?",
            "Why does ownership\nmatter?",
            "Ownership matters. It is a set of rules.",
            "Why does ownership matter since 2015?",
            "Garbage collectors pause programs unpredictably.",
        ] {
            assert_eq!(accepts(bad), None, "{bad}");
        }
        assert_eq!(accepts(&format!("Why does ownership {} matter?", "really ".repeat(40))), None);
    }

    #[test]
    fn case_and_punctuation_make_no_other_question() {
        assert!(is_same("why does it matter", "Why does it matter?"));
        assert!(!is_same("Why does this matter?", "Why does it matter?"));
    }

    proptest! {
        #[test]
        fn what_is_accepted_is_one_bounded_line(text in "\\PC{0,300}|([a-z]{1,8}[ ?.\n]){0,40}") {
            if let Some(question) = accepts(&text) {
                prop_assert!(!question.trim().is_empty() && !question.contains('\n'));
                prop_assert!(question.chars().count() <= 19 + 18 + GROWTH);
            }
        }
    }
}
