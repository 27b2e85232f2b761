//! A causal model on this machine: prefill the prompt, then decode token by token over a cache.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::{Device, Tensor};
use candle_transformers::generation::{LogitsProcessor, Sampling as Draw};

use super::prepare::prepared;
use super::stream::TextStream;
use super::{Completion, Finish, Head, OnText, Sampling};
use crate::error::{Error, Result};
use crate::models::{Batch, Config, Model, Transformer};
use crate::nn::{Adapter, Bare, KvCache, Pass, Precision, kernel};
use crate::text::layout::Layout;
use crate::text::tokenizer::Tokenizer;

/// Copies share the weights: each may have an adapter of its own.
#[derive(Clone)]
pub struct LocalGenerator {
    name: String,
    path: PathBuf,
    model: Arc<Model>,
    tokenizer: Arc<Tokenizer>,
    adapter: Arc<dyn Adapter>,
    /// What the adapter is called, where there is one.
    adapter_name: Option<String>,
    /// What prompts begin with that the adapter's prefix stands for.
    covered: Vec<u32>,
    /// Tokens that fit beside what the adapter brings.
    room: usize,
    /// Whether it was measured to write well, whatever its size.
    trusted: bool,
    device: Device,
    precision: Precision,
    /// Tells this model, with its adapter, from all others.
    mark: Arc<()>,
}

/// What a pass is computed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arithmetic {
    /// 32-bit floats.
    Exact,
    /// As the model was loaded.
    Quick,
}

impl Arithmetic {
    fn of<R>(self, f: impl FnOnce() -> R) -> R {
        match self {
            Self::Exact => kernel::in_floats(f),
            Self::Quick => f(),
        }
    }
}

impl LocalGenerator {
    /// A Hugging Face directory or a GGUF file of a causal model, computed in `precision`.
    ///
    /// # Errors
    /// `Invalid` when the model is an encoder; `NotFound` without a tokenizer.
    pub fn load(name: &str, path: &Path, device: &Device, precision: Precision) -> Result<Self> {
        let mut model = Model::load(path, device)?;
        let tokenizer = writes(path, &model.transformer.config, model.tokenizer.take())?;
        model.transformer = model.transformer.quantised(precision)?;
        let (name, path) = (name.to_owned(), path.to_owned());
        let room = model.transformer.config.context;
        let (model, tokenizer) = (Arc::new(model), Arc::new(tokenizer));
        Ok(Self {
            name,
            path,
            model,
            tokenizer,
            adapter: Arc::new(Bare),
            adapter_name: None,
            covered: Vec::new(),
            room,
            trusted: false,
            device: device.clone(),
            precision,
            mark: Arc::default(),
        })
    }

    /// The same model as `adapter`, called `name`, changes it, for everything that it reads from now on. What does not depend
    /// on what is read (keys and values of virtual tokens) is computed here, once.
    ///
    /// # Errors
    /// When the adapter was made for a network of another shape.
    pub fn with_adapter(self, name: &str, adapter: Arc<dyn Adapter>) -> Result<Self> {
        let adapter = Arithmetic::Exact.of(|| prepared(&self.model.transformer, adapter))?;
        let room = self.model.transformer.room(&*adapter)?;
        Ok(Self { adapter, adapter_name: Some(name.to_owned()), room, mark: Arc::default(), ..self })
    }

    /// The same model with `weights` in place of its own of those names. It shares nothing with other copies.
    ///
    /// # Errors
    /// `Corrupt`, naming it, for a tensor that the model does not have in this shape.
    pub fn with_weights(self, weights: BTreeMap<String, Tensor>) -> Result<Self> {
        let mut model = Model::load_over(&self.path, &self.device, weights)?;
        model.transformer = model.transformer.quantised(self.precision)?;
        Ok(Self { model: Arc::new(model), mark: Arc::default(), ..self })
    }

    /// The same model, called after what was made of it.
    #[must_use]
    pub fn named(self, adapter: &str) -> Self {
        Self { adapter_name: Some(adapter.to_owned()), ..self }
    }

    /// The same model, under an adapter whose prefix stands for `ids` as well: prompts that begin with them are read without.
    #[must_use]
    pub fn covering(self, ids: Vec<u32>) -> Self {
        Self { covered: ids, ..self }
    }

    /// What is read of a prompt of these ids.
    pub(super) fn uncovered<'a>(&self, ids: &'a [u32]) -> &'a [u32] {
        ids.strip_prefix(&self.covered[..]).filter(|rest| !rest.is_empty()).unwrap_or(ids)
    }

    /// The same model, as one that was measured to write well or not.
    #[must_use]
    pub fn trusted(self, trusted: bool) -> Self {
        Self { trusted, ..self }
    }

    /// Whether it was measured to write well, whatever its size.
    pub fn is_trusted(&self) -> bool {
        self.trusted
    }

    /// What the adapter is called, where there is one.
    pub fn adapter_name(&self) -> Option<&str> {
        self.adapter_name.as_deref()
    }

    /// The network, for adapters to be made for.
    pub fn network(&self) -> &Transformer {
        &self.model.transformer
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Tokens that a prompt and its answer may have together.
    pub fn context(&self) -> usize {
        self.room + self.covered.len()
    }

    pub fn parameters(&self) -> usize {
        self.model.transformer.parameters()
    }

    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn mark(&self) -> &Arc<()> {
        &self.mark
    }

    /// For prompts that begin with `ids`, to read those once.
    ///
    /// # Errors
    /// `TooLong` when nothing could follow them.
    pub fn head(&self, ids: &[u32]) -> Result<Head> {
        if ids.len() >= self.context() {
            return Err(Error::too_long(format!(
                "{} tokens leave no room in the context of {}",
                ids.len(),
                self.context()
            ))
            .hint("use fewer or shorter demonstrations"));
        }
        Ok(Head::new(self.uncovered(ids), &self.mark))
    }

    pub(super) fn render(&self, layout: &Layout) -> Result<String> {
        layout.rendered(&self.tokenizer)
    }

    pub(super) fn generate(
        &self,
        head: &Head,
        layout: &Layout,
        sampling: &Sampling,
        on_text: OnText,
    ) -> Result<Completion> {
        let ids = self.tokenizer.encode_prompt(&self.render(layout)?)?;
        let ids = self.uncovered(&ids);
        let needed = ids.len() + sampling.max_tokens;
        if needed > self.context() {
            return Err(Error::too_long(format!(
                "{} prompt tokens and {} to write do not fit the context of {}",
                ids.len(),
                sampling.max_tokens,
                self.context()
            ))
            .hint("use fewer or shorter passages, or a smaller max_tokens"));
        }
        let mut processor = LogitsProcessor::from_sampling(sampling.seed, draw(sampling));
        let mut stream = TextStream::new(&self.tokenizer, &sampling.stop, on_text);
        let mut write = |cache: &mut KvCache, mut logits: Tensor| -> Result<Finish> {
            while stream.tokens() < sampling.max_tokens {
                let token = processor.sample(&logits)?;
                if self.tokenizer.eos().contains(&token) {
                    return Ok(Finish::Stop);
                }
                if let Some(finish) = stream.push(token)? {
                    return Ok(finish);
                }
                if stream.tokens() < sampling.max_tokens {
                    logits = self.read(&[token], cache)?;
                }
            }
            Ok(Finish::Length)
        };
        let finish = head.continued_by(ids, self, Arithmetic::Quick, |cache, rest| {
            let logits = self.read(rest, cache)?;
            kernel::together(|| write(cache, logits))
        })?;
        let completion_tokens = stream.tokens();
        let text = stream.finish(finish)?;
        Ok(Completion { text, finish, prompt_tokens: ids.len(), completion_tokens })
    }

    /// Reads `ids` behind what is cached; the logits of the token that comes next, `(V,)`.
    fn read(&self, ids: &[u32], cache: &mut KvCache) -> Result<Tensor> {
        let hidden = self.hidden(&[ids], cache, Arithmetic::Quick)?;
        let last = hidden.narrow(0, hidden.dim(0)? - 1, 1)?; // (1, H)
        let logits = self.logits(&last, Arithmetic::Quick)?.squeeze(0)?; // (V,)
        // One value that is no number makes the sum none.
        if !logits.sum_all()?.to_scalar::<f32>()?.is_finite() {
            return Err(Model::why_not_finite(&self.path));
        }
        Ok(logits)
    }

    /// Hidden states `(N, H)` of sequences that continue `cache`.
    pub(super) fn hidden(
        &self,
        sequences: &[&[u32]],
        cache: &mut KvCache,
        arithmetic: Arithmetic,
    ) -> Result<Tensor> {
        let (batch, pass) = (Batch::of(sequences), Pass::cached(&*self.adapter, cache));
        arithmetic.of(|| self.model.transformer.forward(&batch, pass))
    }

    /// `(n, H) -> (n, V)`
    pub(super) fn logits(&self, hidden: &Tensor, arithmetic: Arithmetic) -> Result<Tensor> {
        arithmetic.of(|| self.model.transformer.logits(hidden))
    }
}

/// The tokenizer of the model at `path`, if that is one that writes.
pub(super) fn writes(path: &Path, config: &Config, tokenizer: Option<Tokenizer>) -> Result<Tokenizer> {
    if !config.causal {
        return Err(Error::invalid(format!("`{}` is an encoder and cannot write text", path.display()))
            .hint("give the directory or GGUF file of a generator, for example smollm2-135m-instruct"));
    }
    tokenizer.ok_or_else(|| {
        Error::not_found(format!("`{}` has no tokenizer.json", path.display()))
            .hint("save the tokenizer beside the weights")
    })
}

fn draw(sampling: &Sampling) -> Draw {
    let temperature = sampling.temperature;
    match sampling {
        _ if temperature <= 0.0 => Draw::ArgMax,
        Sampling { top_p, .. } if *top_p < 1.0 => Draw::TopP { p: *top_p, temperature },
        _ => Draw::All { temperature },
    }
}
