//! Text <-> token ids, and a model's own chat layout.
//!
//! Wraps `tokenizers` with what our callers need: padding and truncation switched off (we pack, and we refuse to cut
//! silently), special ids, and the model's chat template.

use std::fs;
use std::ops::Range;
use std::path::Path;

use candle_core::quantized::gguf_file;
use serde::{Deserialize, Serialize};
use tokenizers::processors::template::TemplateProcessing;

use crate::error::{Error, IoContext, Result};
use crate::text::gguf_tokenizer;

/// Steps that laying out a chat may take: a template comes with a model, and loops in it need not end in anyone's lifetime.
const MOST_STEPS: u64 = 1_000_000;

/// What ends a turn in the layouts of chats. Files whose only end token is that of a whole text have one of these as well.
const ENDS_OF_TURN: [&str; 4] = ["<|im_end|>", "<end_of_turn>", "<|eot_id|>", "<|end|>"];

/// One turn of a chat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user` or `assistant`.
    pub role: String,
    pub content: String,
}

/// Two texts as a model reads them together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    pub ids: Vec<u32>,
    /// Which of the two each id belongs to, as the model counts.
    pub types: Vec<u32>,
}

impl Message {
    pub fn new(role: &str, content: impl Into<String>) -> Self {
        Self { role: role.to_owned(), content: content.into() }
    }
}

pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    bos: Option<u32>,
    eos: Vec<u32>,
    /// Of these the one that a chat layout calls `eos_token`.
    end: Option<u32>,
    /// Whether every text is to begin with `bos`.
    begins_with_bos: bool,
    chat_template: Option<String>,
}

impl Tokenizer {
    /// Reads `tokenizer.json` and, where present, the chat template and special tokens beside it.
    ///
    /// # Errors
    /// `NotFound` without a `tokenizer.json`, `Corrupt` when a file is not what its name says.
    pub fn from_dir(dir: &Path) -> Result<Self> {
        let file = dir.join("tokenizer.json");
        if !file.exists() {
            return Err(Error::not_found(format!("`{}` has no tokenizer.json", dir.display())).hint(
                "save the tokenizer beside the weights; `save_pretrained` of a fast tokenizer writes it",
            ));
        }
        let bytes = fs::read(&file).at("read", &file)?;
        let mut inner = tokenizers::Tokenizer::from_bytes(&bytes).map_err(|e| {
            Error::corrupt(format!("`{}` is not a tokenizer: {e}", file.display()))
                .hint("fetch or save the model again")
        })?;
        // Before the first text: a file may ask for more padding than any memory holds.
        inner.with_padding(None);
        inner.with_truncation(None).map_err(failed)?;
        let config = json_object(&dir.join("tokenizer_config.json"))?;
        let generation = json_object(&dir.join("generation_config.json"))?;
        let model = json_object(&dir.join("config.json"))?;

        let token = |name: &str| {
            let value = config.get(name)?;
            let text = value.as_str().or_else(|| value.get("content")?.as_str())?;
            inner.token_to_id(text)
        };
        let id = |value: &serde_json::Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
        let ids = |value: Option<&serde_json::Value>| -> Vec<u32> {
            match value {
                Some(serde_json::Value::Array(many)) => many.iter().filter_map(id).collect(),
                Some(one) => id(one).into_iter().collect(),
                None => Vec::new(),
            }
        };
        let mut eos = ids(generation.get("eos_token_id"));
        let end = token("eos_token");
        eos.extend(end);
        if eos.is_empty() {
            eos = ids(model.get("eos_token_id"));
        }
        let bos = token("bos_token").or_else(|| ids(model.get("bos_token_id")).first().copied());
        let jinja = dir.join("chat_template.jinja");
        let chat_template = if jinja.exists() {
            Some(fs::read_to_string(&jinja).at("read", &jinja)?)
        } else {
            config.get("chat_template").and_then(|t| t.as_str()).map(str::to_owned)
        };
        let around = inner.encode("", true).map_err(failed)?;
        let begins_with_bos = bos.is_some() && around.get_ids().first().copied() == bos;
        let end = end.or(eos.first().copied());
        Ok(Self::new(inner, bos, eos, end, begins_with_bos, chat_template))
    }

    /// Builds the tokenizer a GGUF file carries in its metadata.
    ///
    /// # Errors
    /// `Invalid` for a kind of tokenizer we cannot reproduce, rather than ids that are almost right.
    pub fn from_gguf(content: &gguf_file::Content) -> Result<Self> {
        let inner = gguf_tokenizer::build(content)?;
        let id = |key: &str| {
            let value = content.metadata.get(key)?;
            value.to_u32().ok()
        };
        let template =
            content.metadata.get("tokenizer.chat_template").and_then(|t| t.to_string().ok()).cloned();
        let ends = ["tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"];
        let turns = ENDS_OF_TURN.iter().filter_map(|token| inner.token_to_id(token));
        let eos: Vec<u32> = ends.iter().filter_map(|key| id(key)).chain(turns).collect();
        let flag = content.metadata.get("tokenizer.ggml.add_bos_token").and_then(|flag| flag.to_bool().ok());
        // Where a file does not say, SentencePiece models begin with it and byte-level ones do not.
        let sentence_piece = content.metadata.contains_key("tokenizer.ggml.scores");
        let begins_with_bos = flag.unwrap_or(sentence_piece);
        let bos = id("tokenizer.ggml.bos_token_id");
        let end = id(ends[0]).or(eos.first().copied());
        Ok(Self::new(inner, bos, eos, end, begins_with_bos, template))
    }

    /// `inner` neither pads nor truncates.
    fn new(
        inner: tokenizers::Tokenizer,
        bos: Option<u32>,
        mut eos: Vec<u32>,
        end: Option<u32>,
        begins_with_bos: bool,
        chat_template: Option<String>,
    ) -> Self {
        eos.sort_unstable();
        eos.dedup();
        Self { inner, bos, eos, end, begins_with_bos, chat_template }
    }

    /// The ids of `text`; `special` adds what the model expects around a text (`[CLS]`, `[SEP]`, a first token).
    pub fn encode(&self, text: &str, special: bool) -> Result<Vec<u32>> {
        let encoding = self.inner.encode_fast(text, special).map_err(failed)?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The ids of a prompt to continue: as it stands, behind the first token where the model expects one and the text (a
    /// rendered chat) does not bring it.
    pub fn encode_prompt(&self, text: &str) -> Result<Vec<u32>> {
        let mut ids = self.encode(text, false)?;
        if let Some(bos) = self.bos.filter(|bos| self.begins_with_bos && ids.first() != Some(bos)) {
            ids.insert(0, bos);
        }
        Ok(ids)
    }

    /// The ids of many texts, in order; uses all threads.
    pub fn encode_batch(&self, texts: &[&str], special: bool) -> Result<Vec<Vec<u32>>> {
        let encodings = self.inner.encode_batch_fast(texts.to_vec(), special).map_err(failed)?;
        Ok(encodings.into_iter().map(|encoding| encoding.get_ids().to_vec()).collect())
    }

    /// `first` with each of `seconds`, special tokens around and between them. Of a pair of more than `most` tokens the end of
    /// the second text is left out, and of the first when that is not enough.
    pub fn encode_pairs(&self, first: &str, seconds: &[&str], most: usize) -> Result<Vec<Pair>> {
        let pairs: Vec<_> = seconds.iter().map(|second| (first, *second)).collect();
        let encodings = self.inner.encode_batch(pairs, true).map_err(failed)?;
        Ok(encodings.iter().map(|encoding| shortened(encoding, most)).collect())
    }

    /// Number of tokens of `text`, without special tokens.
    pub fn count(&self, text: &str) -> Result<usize> {
        Ok(self.inner.encode_fast(text, false).map_err(failed)?.len())
    }

    /// The bytes of `text` each token stands for, in order, without special tokens.
    pub fn offsets(&self, text: &str) -> Result<Vec<Range<usize>>> {
        let encoding = self.inner.encode(text, false).map_err(failed)?;
        Ok(encoding.get_offsets().iter().map(|&(start, end)| start..end).collect())
    }

    /// The text of `ids`, special tokens left out.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        self.inner.decode(ids, true).map_err(failed)
    }

    /// The files of a model's directory that hold this tokenizer: names and contents.
    ///
    /// # Errors
    /// `Invalid` when it cannot be written down.
    pub fn files(&self) -> Result<Vec<(&'static str, String)>> {
        let token = |id: Option<u32>| id.and_then(|id| self.inner.id_to_token(id));
        let mut inner = self.inner.clone();
        if let Some((bos, name)) = self.bos.filter(|_| self.begins_with_bos).zip(token(self.bos)) {
            let around = TemplateProcessing::builder()
                .try_single(format!("{name} $A"))
                .and_then(|builder| builder.try_pair(format!("{name} $A {name} $B")))
                .map_err(|error| Error::invalid(format!("tokenizer: {error}")))?
                .special_tokens(vec![(name, bos)])
                .build()
                .map_err(|error| Error::invalid(format!("tokenizer: {error}")))?;
            inner.with_post_processor(Some(around));
        }
        let about = serde_json::json!({
            "bos_token": token(self.bos), "eos_token": token(self.end), "chat_template": self.chat_template,
            "tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": false,
        });
        let generation = serde_json::json!({ "bos_token_id": self.bos, "eos_token_id": self.eos });
        Ok(vec![
            ("tokenizer.json", inner.to_string(false).map_err(failed)?),
            ("tokenizer_config.json", about.to_string()),
            ("generation_config.json", generation.to_string()),
        ])
    }

    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// What stands before a text that nothing stands before: the first token where the model has one, else the token that
    /// ends the text before, as lm-evaluation-harness has it.
    pub fn start(&self) -> Option<u32> {
        self.bos.or(self.end)
    }

    /// The token that ends a text, as the model's configuration names it.
    pub fn end(&self) -> Option<u32> {
        self.end
    }

    /// A token as it stands in its vocabulary.
    pub fn token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// Ids that end a turn or a text.
    pub fn eos(&self) -> &[u32] {
        &self.eos
    }

    pub fn has_chat_template(&self) -> bool {
        self.chat_template.is_some()
    }

    /// Lays out a conversation as this model was trained to read it, ready for the assistant's next words.
    ///
    /// # Errors
    /// `Invalid` without a chat template, or when the template itself refuses the conversation.
    pub fn render_chat(&self, messages: &[Message]) -> Result<String> {
        self.render(messages, true)
    }

    /// The same of a conversation that is over: nobody is asked to go on.
    ///
    /// # Errors
    /// As [`Self::render_chat`].
    pub fn render_turns(&self, messages: &[Message]) -> Result<String> {
        self.render(messages, false)
    }

    fn render(&self, messages: &[Message], asks: bool) -> Result<String> {
        let template = self.chat_template.as_deref().ok_or_else(|| {
            Error::invalid("this model has no chat template").hint("use a template that writes plain text")
        })?;
        let token = |id: Option<u32>| id.and_then(|id| self.inner.id_to_token(id)).unwrap_or_default();
        let mut env = minijinja::Environment::new();
        env.set_fuel(Some(MOST_STEPS));
        env.set_trim_blocks(true);
        env.set_lstrip_blocks(true);
        env.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        env.add_function("raise_exception", |message: String| -> Result<String, minijinja::Error> {
            Err(minijinja::Error::new(minijinja::ErrorKind::InvalidOperation, message))
        });
        env.render_str(
            template,
            minijinja::context! {
                messages => messages, add_generation_prompt => asks,
                // Qwen 3 would think aloud, and what it thinks is no answer.
                enable_thinking => false,
                bos_token => token(self.bos), eos_token => token(self.end),
            },
        )
        .map_err(|e| Error::invalid(format!("the model's chat template failed: {e:#}")))
    }
}

fn shortened(encoding: &tokenizers::Encoding, most: usize) -> Pair {
    let of = encoding.get_sequence_ids();
    let mut surplus = encoding.len().saturating_sub(most);
    let mut kept = vec![true; encoding.len()];
    for text in [1, 0] {
        let places = (0..of.len()).rev().filter(|&at| of[at] == Some(text)).take(surplus);
        let left_out: Vec<usize> = places.collect();
        surplus -= left_out.len();
        left_out.into_iter().for_each(|at| kept[at] = false);
    }
    let pick = |values: &[u32]| {
        values.iter().zip(&kept).filter(|(_, kept)| **kept).map(|(value, _)| *value).collect()
    };
    Pair { ids: pick(encoding.get_ids()), types: pick(encoding.get_type_ids()) }
}

fn failed(error: tokenizers::Error) -> Error {
    Error::invalid(format!("tokenizer: {error}"))
}

/// A JSON file's object; empty when the file is absent.
fn json_object(file: &Path) -> Result<serde_json::Map<String, serde_json::Value>> {
    if !file.exists() {
        return Ok(serde_json::Map::new());
    }
    let bytes = fs::read(file).at("read", file)?;
    serde_json::from_slice(&bytes)
        .map_err(|e| Error::corrupt(format!("`{}` is not a JSON object: {e}", file.display())))
}

#[cfg(test)]
pub(crate) mod tests;
