//! Prompt -> text, one token after another.

mod local;
mod scripted;
mod stream;

pub use local::LocalGenerator;
pub use scripted::Scripted;

use std::ops::ControlFlow;

use serde::Serialize;

use crate::error::Result;
use crate::text::tokenizer::Tokenizer;

/// What writes text. A closed set: each way of generating is a variant.
pub enum Generator {
    Local(Box<LocalGenerator>),
    /// Answers from a list: for tests of what lies above.
    Scripted(Scripted),
}

/// How to choose and when to stop.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampling {
    /// Most tokens to write.
    pub max_tokens: usize,
    /// 0 takes the most likely token each time (greedy).
    pub temperature: f64,
    /// Draw only from the most likely tokens that together reach this probability; 1 draws from all.
    pub top_p: f64,
    pub seed: u64,
    /// Texts that end the answer; they are not part of it.
    pub stop: Vec<String>,
}

impl Default for Sampling {
    fn default() -> Self {
        Self { max_tokens: 64, temperature: 0.0, top_p: 1.0, seed: 0, stop: Vec::new() }
    }
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Completion {
    pub text: String,
    pub finish: Finish,
    pub prompt_tokens: usize,
    pub completion_tokens: usize,
}

/// Why writing ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Finish {
    /// The model ended its turn, or a stop text appeared.
    Stop,
    /// `max_tokens` were written.
    Length,
    /// The reader had enough.
    Cancelled,
}

/// Receives text as it is written; breaking ends the completion.
pub type OnText<'a> = &'a mut dyn FnMut(&str) -> ControlFlow<()>;

impl Generator {
    /// As the person named it.
    pub fn name(&self) -> &str {
        match self {
            Self::Local(model) => model.name(),
            Self::Scripted(script) => script.name(),
        }
    }

    /// Tokens the model can hold, prompt and completion together.
    pub fn context(&self) -> usize {
        match self {
            Self::Local(model) => model.context(),
            Self::Scripted(_) => usize::MAX,
        }
    }

    /// Parameters of the model, to judge how much text it can digest; `None` when unknown.
    pub fn parameters(&self) -> Option<usize> {
        match self {
            Self::Local(model) => Some(model.parameters()),
            Self::Scripted(_) => None,
        }
    }

    /// Counts tokens and lays out chats as the model reads them; `None` where only the endpoint knows.
    pub fn tokenizer(&self) -> Option<&Tokenizer> {
        match self {
            Self::Local(model) => Some(model.tokenizer()),
            Self::Scripted(_) => None,
        }
    }

    /// Continues `prompt`.
    ///
    /// # Errors
    /// `TooLong` when prompt and completion do not fit the context together.
    pub fn generate(&self, prompt: &str, sampling: &Sampling, on_text: OnText) -> Result<Completion> {
        match self {
            Self::Local(model) => model.generate(prompt, sampling, on_text),
            Self::Scripted(script) => script.generate(prompt, on_text),
        }
    }
}
