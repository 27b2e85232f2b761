//! Turns -> text, one token after another.

mod http;
mod local;
mod reading;
mod scripted;
mod stream;

pub use http::HttpGenerator;
pub use local::LocalGenerator;
pub use reading::Reading;
pub use scripted::Scripted;

use std::ops::ControlFlow;

use serde::Serialize;

use crate::error::Result;
use crate::text::layout::Layout;
use crate::text::tokenizer::Tokenizer;

/// What writes text. A closed set: each way of generating is a variant.
pub enum Generator {
    Local(Box<LocalGenerator>),
    /// A model behind an OpenAI-compatible endpoint.
    Http(HttpGenerator),
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
    /// 0 where an endpoint does not count.
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
            Self::Http(model) => model.name(),
            Self::Scripted(script) => script.name(),
        }
    }

    /// Tokens the model can hold, prompt and completion together.
    pub fn context(&self) -> usize {
        match self {
            Self::Local(model) => model.context(),
            Self::Http(model) => model.context(),
            Self::Scripted(_) => usize::MAX,
        }
    }

    /// Parameters of the model, to judge how much text it can digest; `None` when unknown.
    pub fn parameters(&self) -> Option<usize> {
        match self {
            Self::Local(model) => Some(model.parameters()),
            Self::Http(_) | Self::Scripted(_) => None,
        }
    }

    /// Counts tokens and lays out chats as the model reads them; `None` where only the endpoint knows.
    pub fn tokenizer(&self) -> Option<&Tokenizer> {
        match self {
            Self::Local(model) => Some(model.tokenizer()),
            Self::Http(_) | Self::Scripted(_) => None,
        }
    }

    /// The prompt as a person may look at it: what a local model reads to the letter, an endpoint's turns one by one.
    ///
    /// # Errors
    /// `Invalid` when the model's chat template refuses the turns.
    pub fn render(&self, layout: &Layout) -> Result<String> {
        match self {
            Self::Local(model) => model.render(layout),
            Self::Http(_) => Ok(layout.marked()),
            Self::Scripted(_) => Ok(layout.text()),
        }
    }

    /// Tokens of the prompt, to fit it into the window: counted where the tokenizer is here, else a guess on the safe side.
    ///
    /// # Errors
    /// As [`Self::render`].
    pub fn count(&self, layout: &Layout) -> Result<usize> {
        let text = self.render(layout)?;
        match self.tokenizer() {
            Some(tokenizer) => tokenizer.count(&text),
            // A token is rarely shorter than three characters; an endpoint will say if that was wrong.
            None => Ok(text.chars().count() / 3),
        }
    }

    /// Continues what `layout` says.
    ///
    /// # Errors
    /// `TooLong` when prompt and completion do not fit the context together; whatever an endpoint fails with.
    pub fn generate(&self, layout: &Layout, sampling: &Sampling, on_text: OnText) -> Result<Completion> {
        match self {
            Self::Local(model) => model.generate(layout, sampling, on_text),
            Self::Http(model) => model.generate(layout, sampling, on_text),
            Self::Scripted(script) => script.generate(&layout.text(), on_text),
        }
    }
}
