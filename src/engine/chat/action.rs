//! Something else to be done with what was talked about: `And remove them?` after `How do I add elements to a vector?`.

use super::words::{Kind, Word, words};

/// Whether `rest` is a verb and what it is done to, and no more: `remove them`, `drop the value`.
pub(super) fn is_action(rest: &[Word]) -> bool {
    let [verb, object, more @ ..] = rest else { return false };
    let ends = more.first().is_none_or(|next| object.breaks || next.is(Kind::Preposition));
    let done_to = match object.kind {
        Kind::Pronoun => ends,
        Kind::Determiner => verb.is_verb(),
        // `remove elements`, but not `stores of tea` nor `open source`, which a plural tells apart.
        Kind::Content => {
            verb.is_verb() && !verb.folded.ends_with('s') && object.folded.ends_with('s') && ends
        }
        _ => false,
    };
    let asks = rest.iter().any(|word| matches!(word.kind, Kind::Ask | Kind::Auxiliary));
    verb.is(Kind::Content) && !verb.breaks && done_to && !asks
        // `removing them` is a thing that one can ask about.
        && !verb.folded.ends_with("ing")
}

/// A question up to what somebody does in it: `How do I ` of `How do I add elements?`, `how to ` of `how to add them`.
pub(super) fn before_action(question: &str) -> Option<&str> {
    let words = words(question);
    let verb = (2..words.len()).find(|&at| {
        let (before, doer) = (&words[at - 2], &words[at - 1]);
        let is_done = match doer.folded.as_str() {
            "i" | "we" | "you" | "one" => before.is(Kind::Auxiliary),
            "to" => before.is(Kind::Ask),
            _ => false,
        };
        is_done && words[at].is(Kind::Content) && !doer.breaks
    })?;
    Some(&question[..words[verb].range.start])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_action_is_a_verb_with_an_object() {
        for action in
            ["remove them", "delete it", "move it to another thread", "drop the value", "remove elements"]
        {
            assert!(is_action(&words(action)), "{action}");
        }
        for other in [
            "contracts that end",
            "the lease",
            "its price",
            "removing them",
            "is it safe",
            "remove",
            "store costs more",
        ] {
            assert!(!is_action(&words(other)), "{other}");
        }
    }

    #[test]
    fn a_question_of_what_somebody_does_has_a_place_for_another_action() {
        for (question, before) in [
            ("How do I add elements to a vector?", Some("How do I ")),
            ("When should we use a slice?", Some("When should we ")),
            ("how to sort a list", Some("how to ")),
            ("What is a vector?", None),
            ("How does Rust drop values?", None),
        ] {
            assert_eq!(before_action(question), before, "{question}");
        }
    }
}
