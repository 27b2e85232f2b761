//! A generator that answers from a list, in turn: the loop above it can be tested without a model.

use std::ops::ControlFlow;
use std::sync::Mutex;

use super::{Completion, Finish, OnText};
use crate::error::{Error, Result};

pub struct Scripted {
    answers: Mutex<Vec<String>>,
}

impl Scripted {
    /// Gives `answers` one after another; asking for more is an error.
    pub fn new<S: Into<String>>(answers: impl IntoIterator<Item = S>) -> Self {
        let mut answers: Vec<String> = answers.into_iter().map(Into::into).collect();
        answers.reverse();
        Self { answers: Mutex::new(answers) }
    }

    pub fn name(&self) -> &str {
        "scripted"
    }

    pub(super) fn generate(&self, prompt: &str, on_text: OnText) -> Result<Completion> {
        let next = self.answers.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).pop();
        let text = next.ok_or_else(|| Error::invalid("the script has no more answers"))?;
        let finish = match on_text(&text) {
            ControlFlow::Continue(()) => Finish::Stop,
            ControlFlow::Break(()) => Finish::Cancelled,
        };
        let words = |text: &str| text.split_whitespace().count();
        Ok(Completion { prompt_tokens: words(prompt), completion_tokens: words(&text), text, finish })
    }
}
