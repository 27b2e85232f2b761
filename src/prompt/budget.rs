//! Fit the passages into the window, worst ones out first, and say what was left out.
//!
//! Tokens are counted on the whole prompt as the model will read it (chat layout included), because that is what has
//! to fit. Only when the best passage does not fit alone is it shortened, by whole sentences from its end.

use serde::Serialize;
use serde_json::{Map, Value};

use super::{Prompt, Shown, Template};
use crate::error::{Error, Result};
use crate::text::document::Format;
use crate::text::sentences::sentences;

/// Room, in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// What the model can hold.
    pub size: usize,
    /// How much of it is kept free for the answer.
    pub completion: usize,
}

impl Window {
    fn room(self) -> usize {
        self.size.saturating_sub(self.completion)
    }
}

/// A prompt that fits.
#[derive(Debug, Clone, PartialEq)]
pub struct Fitted {
    pub prompt: Prompt,
    /// Tokens of the prompt, at most `size - completion`.
    pub tokens: usize,
    /// How many passages it shows: the best ones.
    pub shown: usize,
    /// What it does not show, worst passage first.
    pub dropped: Vec<Dropped>,
}

/// Something left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Dropped {
    /// A whole passage, by its index.
    Passage(usize),
    /// The end of a passage: its text from byte `from` on.
    Rest { passage: usize, from: usize },
}

/// Renders `template` with `values` (its other inputs, the question among them) and as many of `passages`, best first,
/// as fit. `count` gives the tokens of a prompt as the model reads it.
///
/// # Errors
/// `TooLong` when the prompt does not fit even with one sentence of one passage (or, given none, with none); whatever
/// `count` and rendering fail with.
pub fn fit(
    template: &Template,
    values: &Map<String, Value>,
    passages: &[Shown],
    window: Window,
    count: &dyn Fn(&Prompt) -> Result<usize>,
) -> Result<Fitted> {
    let room = window.room();
    let attempt = |passages: &[Shown]| -> Result<(Prompt, usize)> {
        let mut values = values.clone();
        let shown = serde_json::to_value(passages)
            .map_err(|error| Error::invalid(format!("passages cannot be shown: {error}")))?;
        values.insert("passages".to_owned(), shown);
        let prompt = template.render(&values)?;
        let tokens = count(&prompt)?;
        Ok((prompt, tokens))
    };

    let mut dropped = Vec::new();
    for shown in (1..=passages.len()).rev() {
        let (prompt, tokens) = attempt(&passages[..shown])?;
        if tokens <= room {
            return Ok(Fitted { prompt, tokens, shown, dropped });
        }
        if shown > 1 {
            dropped.push(Dropped::Passage(shown - 1));
        }
    }
    let Some(best) = passages.first() else {
        let (prompt, tokens) = attempt(&[])?;
        if tokens <= room {
            return Ok(Fitted { prompt, tokens, shown: 0, dropped });
        }
        return Err(too_long(template, "without any passage", tokens, window));
    };

    // The ends a passage may have, shortest first; the most that fit are found by halving.
    let mut ends: Vec<usize> =
        sentences(&best.text, Format::Markdown).into_iter().map(|s| s.range.end).collect();
    ends.pop(); // the whole was tried
    let shortened = |end: usize| Shown { text: best.text[..end].to_owned(), ..best.clone() };
    let (mut fits, mut too_many) = (None, ends.len());
    let mut least = 0;
    while least < too_many {
        let middle = least + (too_many - least) / 2;
        let (prompt, tokens) = attempt(&[shortened(ends[middle])])?;
        if tokens <= room {
            fits = Some((prompt, tokens, ends[middle]));
            least = middle + 1;
        } else {
            too_many = middle;
        }
    }
    if let Some((prompt, tokens, from)) = fits {
        dropped.push(Dropped::Rest { passage: 0, from });
        return Ok(Fitted { prompt, tokens, shown: 1, dropped });
    }
    let (_, tokens) = match ends.first() {
        Some(&end) => attempt(&[shortened(end)])?,
        None => attempt(&passages[..1])?,
    };
    Err(too_long(template, "with one sentence of the best passage", tokens, window))
}

fn too_long(template: &Template, how: &str, tokens: usize, window: Window) -> Error {
    let Window { size, completion } = window;
    Error::too_long(format!(
        "the prompt `{}` {how} has {tokens} tokens; the window of {size} leaves {} for it",
        template.id(),
        window.room()
    ))
    .hint(format!("ask a shorter question, keep fewer than {completion} tokens for the answer, or use a shorter template or a model with a larger window"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::prompt::Library;

    fn shown(text: &str) -> Shown {
        Shown { title: "T".into(), path: "a.md".into(), text: text.into() }
    }

    fn values() -> Map<String, Value> {
        Map::from_iter([("question".to_owned(), Value::from("Why?"))])
    }

    fn words(prompt: &Prompt) -> Result<usize> {
        Ok(prompt.text().split_whitespace().count())
    }

    fn fitted(passages: &[Shown], size: usize) -> Result<Fitted> {
        let template = Library::default().load("qa/plain").unwrap();
        fit(&template, &values(), passages, Window { size: size + 10, completion: 10 }, &words)
    }

    /// `qa/plain` without passages.
    fn frame() -> usize {
        fitted(&[], 1000).unwrap().tokens
    }

    #[test]
    fn what_fits_is_shown_whole() {
        let fitted = fitted(&[shown("One two."), shown("Three.")], 1000).unwrap();
        assert_eq!((fitted.shown, fitted.dropped.len()), (2, 0));
        assert!(fitted.prompt.text().contains("One two.") && fitted.prompt.text().contains("Three."));
    }

    #[test]
    fn the_worst_passages_go_first() {
        let passages = [shown("One two three."), shown("Four five six."), shown("Seven eight nine.")];
        let per_passage = 3 + 2 + 2; // words, number and title, quotation marks
        let fitted = fitted(&passages, frame() + 2 * per_passage).unwrap();
        assert_eq!((fitted.shown, fitted.dropped), (2, vec![Dropped::Passage(2)]));
        assert!(fitted.prompt.text().contains("Four five six."));
    }

    #[test]
    fn a_passage_too_long_alone_is_cut_at_a_sentence_and_that_is_said() {
        let text = "One two three. Four five. Six seven.";
        let fitted = fitted(&[shown(text), shown("x")], frame() + 4 + 5).unwrap();
        assert_eq!(fitted.dropped, [Dropped::Passage(1), Dropped::Rest { passage: 0, from: 25 }]);
        assert!(fitted.prompt.text().contains("One two three. Four five.\n"));
        assert!(!fitted.prompt.text().contains("Six"));
    }

    #[test]
    fn too_long_says_by_how_much() {
        let error = fitted(&[shown("One two three. Four.")], frame() + 5).unwrap_err();
        assert!(matches!(error, Error::TooLong(_)), "{error}");
        assert!(error.to_string().contains(&format!("leaves {}", frame() + 5)), "{error}");
        assert!(matches!(fitted(&[], 1).unwrap_err(), Error::TooLong(_)));
        assert!(matches!(fitted(&[shown("")], 1).unwrap_err(), Error::TooLong(_)));
    }

    proptest! {
        #[test]
        fn nothing_that_comes_back_is_longer_than_the_room(
            texts in prop::collection::vec("([a-z]{1,3}[ .]){0,12}", 0..5), size in 0usize..80,
        ) {
            let passages: Vec<Shown> = texts.iter().map(|text| shown(text)).collect();
            if let Ok(fitted) = fitted(&passages, size) {
                prop_assert!(fitted.tokens <= size);
                let whole = fitted.dropped.iter().filter(|d| matches!(d, Dropped::Passage(_))).count();
                prop_assert_eq!(whole + fitted.shown, passages.len());
            }
        }
    }
}
