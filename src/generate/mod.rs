//! Turns -> text, one token after another; or how likely given texts are to follow them.

mod head;
mod http;
pub mod labels;
mod local;
mod prepare;
mod reading;
mod score;
mod scripted;
mod stream;

pub use head::Head;
pub use http::HttpGenerator;
pub use local::LocalGenerator;
pub use prepare::keys_and_values;
pub use reading::Reading;
pub use score::Scored;
pub use scripted::Scripted;

use std::ops::ControlFlow;

use serde::Serialize;

use crate::error::{Error, Result};
use crate::text::layout::Layout;
use crate::text::tokenizer::Tokenizer;

/// What writes text. A closed set: each way of generating is a variant.
pub enum Generator {
    Local(Box<LocalGenerator>),
    /// A model behind an OpenAI-compatible endpoint.
    Http(HttpGenerator),
    /// Answers from a list or a function: for tests of what lies above.
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

    /// What the adapter over the model is called, where there is one.
    pub fn adapter(&self) -> Option<&str> {
        match self {
            Self::Local(model) => model.adapter_name(),
            Self::Http(_) | Self::Scripted(_) => None,
        }
    }

    /// Whether it was measured to write well, whatever its size.
    pub fn is_trusted(&self) -> bool {
        matches!(self, Self::Local(model) if model.is_trusted())
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

    /// What all of `layouts` begin with, to be read once for all of them: the longest beginning in tokens that they share
    /// and that each goes on behind. Nothing where the model is elsewhere.
    ///
    /// What is generated or scored from a head depends on the head, if only in the last digits. So make it of all the
    /// prompts of a run, whichever of them are still to do.
    ///
    /// # Errors
    /// As [`Self::render`].
    pub fn head<'a>(&self, layouts: impl IntoIterator<Item = &'a Layout>) -> Result<Head> {
        let Self::Local(model) = self else { return Ok(Head::none()) };
        let mut common: Option<Vec<u32>> = None;
        for layout in layouts {
            let ids = model.tokenizer().encode_prompt(&model.render(layout)?)?;
            let but_last = &ids[..ids.len().saturating_sub(1)];
            let common = common.get_or_insert_with(|| but_last.to_vec());
            common.truncate(common.iter().zip(but_last).take_while(|(a, b)| a == b).count());
        }
        let mut common = common.unwrap_or_default();
        common.truncate(model.context().saturating_sub(1)); // a prompt that is too long says so itself
        model.head(&common)
    }

    /// Continues what `layout` says.
    ///
    /// # Errors
    /// `TooLong` when prompt and completion do not fit the context together; whatever an endpoint fails with.
    pub fn generate(&self, layout: &Layout, sampling: &Sampling, on_text: OnText) -> Result<Completion> {
        self.generate_from(&Head::none(), layout, sampling, on_text)
    }

    /// [`Self::generate`], where a prompt that begins with `head` is read from its end on.
    ///
    /// # Errors
    /// As [`Self::generate`]; `Mismatch` when another model made the head.
    pub fn generate_from(
        &self,
        head: &Head,
        layout: &Layout,
        sampling: &Sampling,
        on_text: OnText,
    ) -> Result<Completion> {
        match self {
            Self::Local(model) => model.generate(head, layout, sampling, on_text),
            Self::Http(model) => model.generate(layout, sampling, on_text),
            Self::Scripted(script) => script.generate(&layout.text(), on_text),
        }
    }

    /// How likely each of `continuations` is to follow `layout`, in 32-bit floats.
    ///
    /// A space goes before a continuation unless the prompt as rendered ends in white space. An empty prompt is one of the
    /// model's first token, or the token that ends a text where it has none.
    ///
    /// ```
    /// use incontext::generate::{Generator, LocalGenerator, labels};
    /// use incontext::{nn::Precision, text::layout::Layout};
    ///
    /// # fn main() -> incontext::Result<()> {
    /// let (path, cpu) = (std::path::Path::new("tests/golden/tiny/llama"), candle_core::Device::Cpu);
    /// let generator = Generator::Local(Box::new(LocalGenerator::load("tiny", path, &cpu, Precision::Int8)?));
    /// let kinds = ["dami fenu".to_owned(), "balo".to_owned()];
    /// let scored = generator.score(&Layout::Text("garo hasi kelu".into()), &kinds)?;
    /// let probabilities = labels::probabilities(&labels::Scoring::Acc.scores(&scored, &[]));
    /// assert_eq!(kinds[labels::choose(&probabilities)], "balo");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `Invalid` for an endpoint, which does not tell, and for a continuation without tokens; `TooLong` when prompt and
    /// continuation do not fit the context together.
    pub fn score(&self, layout: &Layout, continuations: &[String]) -> Result<Vec<Scored>> {
        self.score_from(&Head::none(), layout, continuations)
    }

    /// [`Self::score`], where a prompt that begins with `head` is read from its end on.
    ///
    /// # Errors
    /// As [`Self::score`]; `Mismatch` when another model made the head.
    pub fn score_from(&self, head: &Head, layout: &Layout, continuations: &[String]) -> Result<Vec<Scored>> {
        match self {
            Self::Local(model) => model.score(head, layout, continuations),
            Self::Http(_) => Err(cannot_score()),
            Self::Scripted(script) => script.score(&layout.text(), continuations),
        }
    }

    /// How likely the continuations are, token for token as [`Self::score`] has them behind `layout`, when nothing stands
    /// before them: what `acc_pmi` compares with.
    ///
    /// # Errors
    /// As [`Self::score`].
    pub fn unconditional(&self, layout: &Layout, continuations: &[String]) -> Result<Vec<Scored>> {
        match self {
            Self::Local(model) => model.unconditional(layout, continuations),
            Self::Http(_) => Err(cannot_score()),
            Self::Scripted(script) => Ok(script.unconditional(continuations)),
        }
    }
}

fn cannot_score() -> Error {
    Error::invalid("an endpoint does not tell log-probabilities of given texts")
        .hint("use generation and match the label in the reply, or a local model")
}
