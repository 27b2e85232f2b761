//! A prompt as a model of this machine reads it, without what takes long to load: its weights.

use std::path::Path;

use super::local::writes;
use crate::error::Result;
use crate::models::Model;
use crate::text::layout::Layout;
use crate::text::tokenizer::Tokenizer;

/// What stands between a prompt and a model: its chat layout, its tokens, its window.
pub struct Reading {
    tokenizer: Tokenizer,
    context: usize,
    parameters: usize,
}

impl Reading {
    /// Of a Hugging Face directory or a GGUF file of a causal model.
    ///
    /// # Errors
    /// As [`super::LocalGenerator::load`].
    pub fn load(path: &Path) -> Result<Self> {
        let (config, tokenizer) = Model::describe(path)?;
        let tokenizer = writes(path, &config, tokenizer)?;
        Ok(Self { tokenizer, context: config.context, parameters: config.parameters() })
    }

    /// As [`super::Generator::context`].
    pub fn context(&self) -> usize {
        self.context
    }

    /// As [`super::Generator::parameters`].
    pub fn parameters(&self) -> usize {
        self.parameters
    }

    /// As [`super::Generator::render`].
    ///
    /// # Errors
    /// `Invalid` when the model's chat template refuses the turns.
    pub fn render(&self, layout: &Layout) -> Result<String> {
        layout.rendered(&self.tokenizer)
    }

    /// Tokens of `text`.
    ///
    /// # Errors
    /// When the tokenizer fails.
    pub fn count(&self, text: &str) -> Result<usize> {
        self.tokenizer.count(text)
    }
}
