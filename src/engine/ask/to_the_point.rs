//! Does a text that its passages support answer *this* question? What can be told without understanding it.
//!
//! A small model likes to repeat the question, or itself, or to say something true that was not asked. None of these is an
//! invention, so grounding lets them pass.

use std::collections::BTreeSet;

use crate::retrieve::extract::{Asked, Kind};
use crate::text::ground::Grounding;
use crate::text::terms::terms;

/// The words of the question that the quoted sentences and their headings have, at least.
const MIN_SHARE: f32 = 0.5;

/// Why `text`, grounded in sentences and headings `sources`, is no answer to `question`; `None` when nothing speaks against
/// it.
pub(super) fn beside_the_point(
    question: &str,
    text: &str,
    grounding: &Grounding,
    sources: &[&str],
) -> Option<&'static str> {
    let asked = Asked::new(question);
    if asked.wants_a_fact() && asked.news(text) == 0.0 {
        return Some("the model only repeated the question");
    }
    let mut said = BTreeSet::new();
    if !grounding.claims.iter().all(|claim| said.insert(text[claim.range.clone()].trim())) {
        return Some("the model repeated itself");
    }
    if matches!(asked.kind, Kind::Number | Kind::Date | Kind::Name) && asked.fits(text) == 0.0 {
        return Some(match asked.kind {
            Kind::Number => "the model's answer has no number",
            Kind::Date => "the model's answer has no date",
            _ => "the model's answer names nobody and nothing",
        });
    }
    let wanted = term_set(question);
    let there: BTreeSet<String> = sources.iter().flat_map(|source| term_set(source)).collect();
    let share = wanted.intersection(&there).count() as f32 / wanted.len().max(1) as f32;
    (share < MIN_SHARE).then_some("what the model says is there, but has little to do with the question")
}

fn term_set(text: &str) -> BTreeSet<String> {
    terms(text).into_iter().map(|term| term.text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::document::Format;
    use crate::text::ground::{Evidence, ground};

    fn objection(question: &str, text: &str, source: &str) -> Option<&'static str> {
        let evidence = Evidence { text: source, header: "", format: Format::Text, document: "" };
        let grounding = ground(text, question, &[evidence]);
        assert!(grounding.is_grounded(), "{grounding:?}");
        beside_the_point(question, text, &grounding, &[source])
    }

    #[test]
    fn what_repeats_the_question_or_itself_is_no_answer() {
        let source = "The war galvanized Muslims around the world to send aid.";
        let question = "What did the war galvanize Muslims around the world to do?";
        let repeated = "The war galvanized Muslims around the world.";
        assert!(objection(question, repeated, source).is_some());
        assert_eq!(objection(question, "It galvanized Muslims to send aid.", source), None);
        let twice = "It galvanized Muslims to send aid. It galvanized Muslims to send aid.";
        assert!(objection(question, twice, source).is_some());
        assert_eq!(objection("Did the war galvanize Muslims?", "The war galvanized Muslims.", source), None);
    }

    #[test]
    fn a_number_is_wanted_where_one_is_asked_for() {
        let source = "The lesson on loops takes 20 minutes. The lesson on loops is taught live.";
        let question = "How long does the lesson on loops take?";
        assert!(objection(question, "The lesson on loops is taught live.", source).is_some());
        assert_eq!(objection(question, "The lesson on loops takes 20 minutes.", source), None);
    }

    #[test]
    fn what_was_not_asked_is_beside_the_point() {
        let question = "What church runs some private schools in Victoria?";
        let source = "Victoria has about 63,519 teachers.";
        assert!(objection(question, source, source).is_some());
    }
}
