//! A generator that answers from a list, in turn, or as a function says: what lies above it can be tested without a model.

use std::ops::ControlFlow;
use std::sync::Mutex;

use super::{Completion, Finish, OnText, Scored};
use crate::error::{Error, Result};

/// Log-probability of a continuation that is not the answer.
const UNLIKELY: f64 = -10.0;

pub struct Scripted {
    script: Script,
}

enum Script {
    /// The next one last.
    Answers(Mutex<Vec<String>>),
    Function(Box<dyn Fn(&str) -> String + Send + Sync>),
}

impl Scripted {
    /// Gives `answers` one after another; asking for more is an error.
    pub fn new<S: Into<String>>(answers: impl IntoIterator<Item = S>) -> Self {
        let mut answers: Vec<String> = answers.into_iter().map(Into::into).collect();
        answers.reverse();
        Self { script: Script::Answers(Mutex::new(answers)) }
    }

    /// Answers every prompt with `answer(prompt)`; may be asked from several threads.
    pub fn function(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        Self { script: Script::Function(Box::new(answer)) }
    }

    pub fn name(&self) -> &str {
        "scripted"
    }

    fn answer(&self, prompt: &str) -> Result<String> {
        match &self.script {
            Script::Answers(answers) => {
                let next = answers.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).pop();
                next.ok_or_else(|| Error::invalid("the script has no more answers"))
            }
            Script::Function(answer) => Ok(answer(prompt)),
        }
    }

    pub(super) fn generate(&self, prompt: &str, on_text: OnText) -> Result<Completion> {
        let text = self.answer(prompt)?;
        let finish = match on_text(&text) {
            ControlFlow::Continue(()) => Finish::Stop,
            ControlFlow::Break(()) => Finish::Cancelled,
        };
        Ok(Completion { prompt_tokens: words(prompt), completion_tokens: words(&text), text, finish })
    }

    /// Certain of the continuation that is the answer, all others being unlikely.
    pub(super) fn score(&self, prompt: &str, continuations: &[String]) -> Result<Vec<Scored>> {
        let answer = self.answer(prompt)?;
        let is_answer = |text: &String| text.trim() == answer.trim();
        Ok(continuations.iter().map(|text| scored(text, is_answer(text))).collect())
    }

    /// Without a prompt there is no answer.
    pub(super) fn unconditional(&self, continuations: &[String]) -> Vec<Scored> {
        continuations.iter().map(|text| scored(text, false)).collect()
    }
}

fn words(text: &str) -> usize {
    text.split_whitespace().count()
}

fn scored(text: &str, is_answer: bool) -> Scored {
    Scored {
        log_probability: if is_answer { 0.0 } else { UNLIKELY },
        tokens: words(text),
        characters: text.chars().count(),
        bytes: text.len(),
        greedy: is_answer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_answers_and_scores_any_prompt() {
        let script = Scripted::function(|prompt| if prompt.ends_with('?') { "yes" } else { "no" }.into());
        let labels = ["yes".to_owned(), "no".to_owned()];
        let scores = |prompt| {
            let scored = script.score(prompt, &labels).unwrap();
            scored.iter().map(|label| label.log_probability).collect::<Vec<_>>()
        };
        assert_eq!(scores("Really?"), [0.0, -10.0]);
        assert_eq!(scores("Really."), [-10.0, 0.0]);
        let completion = script.generate("Really?", &mut |_| ControlFlow::Continue(())).unwrap();
        assert_eq!(completion.text, "yes");
    }
}
