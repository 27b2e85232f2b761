//! Grounding as a reward: whether an answer stands in its passages is checked by the code that checks every answer, and nobody has
//! to label it.
//!
//! ```text
//! what is asked           an answer                                                     a refusal
//! stands in the passages  F1 + 1/2 if it is accepted - 1/2 of the share without support   0
//! does not                -1/2                                                            1
//! ```
//!
//! F1 is that with the nearest known answer, as `eval qa` counts it; to be accepted is what `ask` asks of what a model writes.

use crate::engine::ask::{check, refuses};
use crate::engine::tune::Question;
use crate::eval::qa::f1;

/// What `text` is worth as an answer to `question`, which `refusal` refuses.
pub fn reward(text: &str, question: &Question, refusal: Option<&str>) -> f64 {
    let text = text.trim();
    let known = &question.example.answers;
    match (refuses(refusal, text), known.is_empty()) {
        (true, true) => 1.0,
        (true, false) => 0.0,
        (false, true) => -0.5,
        (false, false) => {
            let checked = check(text, &question.example.input, &question.passages);
            let right = known.iter().map(|known| f1(text, known)).fold(0.0, f64::max);
            let accepted = f64::from(u8::from(checked.objection.is_none()));
            right + 0.5 * accepted - 0.5 * (1.0 - f64::from(checked.grounding.share()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::Passage;
    use crate::retrieve::{Hit, Legs};
    use crate::text::chunk::Chunk;
    use crate::text::document::{Format, Origin};
    use crate::text::example::Example;
    use crate::train::Row;

    fn question(answers: &[&str]) -> Question {
        let text = "The tower was built in 1887. It is made of iron.";
        let chunk = Chunk {
            ordinal: 0,
            header: "Towers".into(),
            text: text.into(),
            bytes: 0..text.len(),
            lines: (1, 1),
            tokens: 12,
            origin: Origin::Same,
            source: None,
        };
        let (path, format) = ("tower.md".into(), Format::Markdown);
        let passage = Passage { id: 1, path, title: None, url: None, format, chunk };
        let hit = Hit { passage, rank: 1, score: 1.0, legs: Legs::default(), relevance: None };
        Question {
            example: Example {
                id: "1".into(),
                input: "When was the tower built?".into(),
                answers: answers.iter().map(|answer| (*answer).to_owned()).collect(),
                fields: serde_json::Map::new(),
            },
            passages: vec![hit],
            row: Row::from_ids(&[1], &[2]),
        }
    }

    #[test]
    fn what_is_right_and_supported_is_worth_most() {
        let (answered, unanswered) = (question(&["1887"]), question(&[]));
        let refusal = Some("I don't know.");
        let of = |text: &str, question: &Question| reward(text, question, refusal);
        assert_eq!(of("The tower was built in 1887.", &answered), 1.0 / 3.0 + 0.5);
        let invented = of("The tower was built in 1923.", &answered);
        assert!(invented < 0.0, "{invented}");
        assert!(of("1887", &answered) > of("It is made of iron.", &answered));
        assert_eq!((of("I don't know", &answered), of("I don't know.", &unanswered)), (0.0, 1.0));
        assert_eq!(of("The tower was built in 1887.", &unanswered), -0.5);
        assert_eq!(of("", &answered), -0.5);
    }
}
