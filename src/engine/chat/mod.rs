//! A conversation: turns, what a follow-up leans on, and what of it a model is shown.
//!
//! ```text
//! asked -> stand-alone question -> ask -> answer -> a turn
//! ```
//!
//! The question is made to stand alone before anything is looked for, by rule ([`follow_up`]) or by a model that is fit
//! for it ([`rewrite`]): search knows no pronouns. Only answered turns are what the next one may lean on; where nothing
//! has been answered yet, the last is better than nothing.

mod action;
pub mod courtesy;
pub mod follow_up;
mod leaning;
mod markdown;
mod names;
mod phrases;
pub mod rewrite;
mod topic;
mod words;

use std::ops::ControlFlow;

use serde::Serialize;

use super::ask::{Answer, is_fit};
use crate::error::Result;
use crate::generate::Generator;
use crate::prompt::{Said, Template};
use follow_up::Before;

/// Turns, in order.
#[derive(Debug, Clone, Default)]
pub struct Conversation {
    turns: Vec<Turn>,
}

/// A question and its answer; as JSON the fields of [`Answer`] and two more.
#[derive(Debug, Clone, Serialize)]
pub struct Turn {
    /// As it was typed; the answer has the question as it was asked.
    pub asked: String,
    /// Who made it stand alone; `None` when it is as typed.
    pub rewritten: Option<By>,
    #[serde(flatten)]
    pub answer: Answer,
}

/// What made a question stand alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum By {
    Rule,
    Model,
}

/// A question that can be understood by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StandAlone {
    pub question: String,
    /// `None` when it is as typed.
    pub by: Option<By>,
}

/// A model that may rewrite a follow-up, and how it is told to.
pub struct Rewriter<'a> {
    pub generator: &'a Generator,
    pub template: &'a Template,
}

impl StandAlone {
    /// The question as it was typed.
    pub fn literal(asked: &str) -> Self {
        Self { question: asked.trim().to_owned(), by: None }
    }
}

impl Conversation {
    pub fn turns(&self) -> &[Turn] {
        &self.turns
    }

    pub fn push(&mut self, turn: Turn) {
        self.turns.push(turn);
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.turns.clear();
    }

    /// What was asked and answered, oldest first.
    pub fn history(&self) -> Vec<Said> {
        self.turns.iter().filter(|turn| turn.answer.answered).map(Turn::said).collect()
    }

    /// `asked` as a question that stands alone: by the model when it is fit for it and its proposal holds, else by rule.
    /// Of a first question, nothing but courtesies is taken away. `go_on` is asked while the model writes.
    ///
    /// # Errors
    /// Whatever keeps the model from answering at all; a bad proposal is no error.
    pub fn stand_alone(
        &self,
        asked: &str,
        rewriter: Option<Rewriter>,
        go_on: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<StandAlone> {
        let typed = asked.trim();
        let asked = courtesy::without(typed);
        let as_it_is = || StandAlone { question: asked.to_owned(), by: (asked != typed).then_some(By::Rule) };
        let leaned_on = self.leaned_on();
        let Some(last) = leaned_on.last() else { return Ok(as_it_is()) };
        if let Some(rewriter) = rewriter.filter(|rewriter| is_fit(rewriter.generator)) {
            let said: Vec<Said> = leaned_on.iter().map(|turn| turn.said()).collect();
            if let Some(question) = rewrite::proposed(&rewriter, asked, &said, go_on)? {
                let is_same = rewrite::is_same(&question, asked);
                return Ok(if is_same { as_it_is() } else { StandAlone { question, by: Some(By::Model) } });
            }
        }
        let answer = last.said().answer;
        let before = Before {
            question: &last.answer.question,
            earlier: leaned_on.len().checked_sub(2).map(|at| leaned_on[at].answer.question.as_str()),
            answer: &answer,
            title: last.answer.citations.first().and_then(|citation| citation.title.as_deref()),
        };
        let rewritten = follow_up::stand_alone(asked, &before);
        Ok(rewritten.map_or_else(as_it_is, |question| StandAlone { question, by: Some(By::Rule) }))
    }

    /// The turns a follow-up may lean on: what was not found is nothing to go on from.
    fn leaned_on(&self) -> Vec<&Turn> {
        let answered: Vec<&Turn> = self.turns.iter().filter(|turn| turn.answer.answered).collect();
        if answered.is_empty() { self.turns.last().into_iter().collect() } else { answered }
    }
}

impl Turn {
    /// The turn as a prompt shows it: the question that was asked, the answer without the numbers of its citations, which
    /// would be taken for those of the passages.
    fn said(&self) -> Said {
        let mut answer = self.answer.answer.clone();
        for citation in &self.answer.citations {
            answer = answer.replace(&format!(" [{}]", citation.n), "");
        }
        Said { question: self.answer.question.clone(), answer }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Citation, Status};
    use crate::generate::Scripted;
    use crate::prompt::Library;

    pub(super) fn turn(asked: &str, question: &str, answer: Option<&str>) -> Turn {
        let mut turn = Turn {
            asked: asked.to_owned(),
            rewritten: (asked != question).then_some(By::Rule),
            answer: Answer::not_found(question),
        };
        if let Some(text) = answer {
            turn.answer.answered = true;
            turn.answer.answer = text.to_owned();
            turn.answer.citations = vec![Citation {
                n: 1,
                path: "notes/contract.md".into(),
                title: Some("Support contract".into()),
                url: None,
                page: None,
                lines: [3, 4],
                bytes: [20, 64],
                quote: "The support contract\nends in May.".into(),
                score: 1.0,
                status: Status::Verified,
            }];
        }
        turn
    }

    fn asked(conversation: &Conversation, question: &str, model: Option<&Generator>) -> StandAlone {
        let template = Library::default().load("chat/standalone").unwrap();
        let rewriter = model.map(|generator| Rewriter { generator, template: &template });
        conversation.stand_alone(question, rewriter, &mut || ControlFlow::Continue(())).unwrap()
    }

    fn contract() -> Conversation {
        let mut conversation = Conversation::default();
        conversation.push(turn(
            "When does the support contract end?",
            "When does the support contract end?",
            Some("The support contract ends in May. [1]"),
        ));
        conversation
    }

    #[test]
    fn a_first_question_is_asked_as_it_is_whoever_might_rewrite_it() {
        let model = Generator::Scripted(Scripted::new(["What is it?"]));
        let first = asked(&Conversation::default(), " Why does it matter? ", Some(&model));
        assert_eq!(first, StandAlone::literal("Why does it matter?"));
    }

    #[test]
    fn courtesies_around_a_question_are_not_asked() {
        let free = |question: &str| StandAlone { question: question.into(), by: Some(By::Rule) };
        assert_eq!(asked(&Conversation::default(), "Hello! What is Rust?", None), free("What is Rust?"));
        let signed = free("Who signed the support contract?");
        assert_eq!(asked(&contract(), "Thanks! Who signed it?", None), signed);
        let model = Generator::Scripted(Scripted::new(["What is Rust?"]));
        assert_eq!(asked(&contract(), "Ok. What is Rust?", Some(&model)), free("What is Rust?"));
    }

    #[test]
    fn a_follow_up_is_rewritten_by_the_model_or_where_its_proposal_fails_by_rule() {
        let by = |question: &str, by| StandAlone { question: question.into(), by };
        let rule = by("Who signed the support contract?", Some(By::Rule));
        assert_eq!(asked(&contract(), "Who signed it?", None), rule);
        for (proposal, expected) in [
            (
                "Who signed the support contract in May?",
                by("Who signed the support contract in May?", Some(By::Model)),
            ),
            ("\"Who signed the contract?\"", by("Who signed the contract?", Some(By::Model))),
            ("who signed it", by("Who signed it?", None)),
            ("It was signed by Anna. It ends in 2031.", rule.clone()),
            ("  ", rule.clone()),
        ] {
            let model = Generator::Scripted(Scripted::new([proposal]));
            assert_eq!(asked(&contract(), "Who signed it?", Some(&model)), expected, "{proposal}");
        }
    }

    #[test]
    fn what_was_not_found_is_leant_on_only_when_nothing_else_was_said() {
        let mut conversation = contract();
        conversation.push(turn("Who is Kasparov?", "Who is Kasparov?", None));
        assert_eq!(asked(&conversation, "Who signed it?", None).question, "Who signed the support contract?");
        assert_eq!(conversation.history().len(), 1);
        conversation.clear();
        conversation.push(turn("What is ownership?", "What is ownership?", None));
        assert_eq!(asked(&conversation, "Why does it matter?", None).question, "Why does ownership matter?");
        assert!(conversation.history().is_empty());
    }

    #[test]
    fn history_has_no_numbers_of_citations_and_json_has_both_questions() {
        let conversation = contract();
        assert_eq!(conversation.history()[0].answer, "The support contract ends in May.");
        let json = serde_json::to_value(turn("and it?", "Who signed the lease?", None)).unwrap();
        assert_eq!((&json["asked"], &json["rewritten"]), (&"and it?".into(), &"rule".into()));
        assert_eq!((&json["question"], &json["format"]), (&"Who signed the lease?".into(), &1.into()));
    }
}
