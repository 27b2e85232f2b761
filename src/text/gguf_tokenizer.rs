//! The tokenizer inside a GGUF file, rebuilt so that ids equal the original's.
//!
//! GGUF stores vocabulary, merges or scores, and the *name* of a pre-tokenizer. A generic pipeline for an unknown name
//! gives wrong ids without a word, so an unknown name is refused instead. Source of the pipelines: each model's
//! `tokenizer.json`; for SentencePiece models, what `transformers` converts them to.

use std::collections::HashMap;

use candle_core::quantized::gguf_file::{Content, Value};
use tokenizers::decoders::byte_fallback::ByteFallback;
use tokenizers::decoders::fuse::Fuse;
use tokenizers::decoders::sequence::Sequence as Decoders;
use tokenizers::decoders::strip::Strip;
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::normalizers::{Prepend, Replace, Sequence as Normalizers, unicode::NFC};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, SplitDelimiterBehavior, Tokenizer};

use crate::error::{Error, Result};

/// How Llama 3 and Qwen 2 cut text before merging; they differ in how many digits stay together.
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// SentencePiece writes a space as this.
const SPACE: &str = "\u{2581}";

pub(super) fn build(content: &Content) -> Result<Tokenizer> {
    let model = text(content, "tokenizer.ggml.model").unwrap_or_default();
    let pre = text(content, "tokenizer.ggml.pre").unwrap_or_default();
    let mut tokenizer = match (model, pre) {
        ("gpt2", _) => byte_level(content, pre)?,
        ("llama", "" | "default") => sentence_piece(content)?,
        _ => return Err(unknown(model, pre)),
    };
    let tokens = strings(content, "tokenizer.ggml.tokens")?;
    tokenizer.add_special_tokens(whole_tokens(content, &tokens, CONTROL)).map_err(damaged)?;
    tokenizer.add_tokens(whole_tokens(content, &tokens, USER_DEFINED)).map_err(damaged)?;
    Ok(tokenizer)
}

/// Byte-level BPE: every byte is a visible character, so no text is unknown.
fn byte_level(content: &Content, pre: &str) -> Result<Tokenizer> {
    let split = |regex: &str| {
        Split::new(SplitPattern::Regex(regex.to_owned()), SplitDelimiterBehavior::Isolated, false)
            .map_err(damaged)
    };
    let bytes = ByteLevel::new(false, true, false);
    let words = ByteLevel::new(false, true, true);
    let (cuts, keeps_whole_words) = match pre {
        // Every digit alone, and no space put before the text.
        "smollm" => (Sequence::new(vec![Digits::new(true).into(), words.into()]), false),
        "gpt-2" => (Sequence::new(vec![words.into()]), false),
        "llama-bpe" | "llama3" | "smaug-bpe" => {
            (Sequence::new(vec![split(LLAMA3)?.into(), bytes.into()]), true)
        }
        "qwen2" => (Sequence::new(vec![split(QWEN2)?.into(), bytes.into()]), false),
        _ => return Err(unknown("gpt2", pre)),
    };
    let merges = strings(content, "tokenizer.ggml.merges")?
        .into_iter()
        .map(|merge| {
            let (left, right) = merge
                .split_once(' ')
                .ok_or_else(|| Error::corrupt(format!("GGUF tokenizer: `{merge}` is not a merge")))?;
            Ok((left.to_owned(), right.to_owned()))
        })
        .collect::<Result<Vec<_>>>()?;
    let bpe = BPE::builder().vocab_and_merges(vocab(content)?, merges).ignore_merges(keeps_whole_words);
    let mut tokenizer = Tokenizer::new(bpe.build().map_err(damaged)?);
    if pre == "qwen2" {
        tokenizer.with_normalizer(Some(NFC)).map_err(damaged)?;
    }
    tokenizer.with_pre_tokenizer(Some(cuts));
    tokenizer.with_decoder(Some(words));
    Ok(tokenizer)
}

/// SentencePiece BPE (Llama 2, Mistral, TinyLlama, Gemma): merges in the order of the pieces' scores, unknown characters as
/// their bytes.
fn sentence_piece(content: &Content) -> Result<Tokenizer> {
    let tokens = strings(content, "tokenizer.ggml.tokens")?;
    let scores = numbers(content, "tokenizer.ggml.scores")?;
    let vocab = vocab(content)?;
    let unknown_id = content.metadata.get("tokenizer.ggml.unknown_token_id").and_then(|id| id.to_u32().ok());
    let unknown = tokens.get(unknown_id.unwrap_or(0) as usize).cloned().unwrap_or_default();
    let merges = merges_by_score(&tokens, &scores, &vocab);
    let bpe =
        BPE::builder().vocab_and_merges(vocab, merges).unk_token(unknown).fuse_unk(true).byte_fallback(true);
    let mut tokenizer = Tokenizer::new(bpe.build().map_err(damaged)?);

    let underscored = Replace::new(" ", SPACE).map_err(damaged)?;
    let prefix = content.metadata.get("tokenizer.ggml.add_space_prefix").and_then(|flag| flag.to_bool().ok());
    let prefix = prefix.unwrap_or(true);
    let mut steps = Vec::new();
    if prefix {
        steps.push(Prepend::new(SPACE.to_owned()).into());
    }
    steps.push(underscored.into());
    tokenizer.with_normalizer(Some(Normalizers::new(steps))).map_err(damaged)?;
    let spaces = Replace::new(SPACE, " ").map_err(damaged)?;
    let mut steps = vec![spaces.into(), ByteFallback::new().into(), Fuse::new().into()];
    if prefix {
        // The space that was put before the text.
        steps.push(Strip::new(' ', 1, 0).into());
    }
    tokenizer.with_decoder(Some(Decoders::new(steps)));
    Ok(tokenizer)
}

/// Every way to put a piece together from two others, best pieces first.
fn merges_by_score(tokens: &[String], scores: &[f32], vocab: &Vocab) -> Vec<(String, String)> {
    let mut merges: Vec<(f32, &str, &str)> = Vec::new();
    for (token, &score) in tokens.iter().zip(scores) {
        let mut parts: Vec<(u32, u32, &str, &str)> = token
            .char_indices()
            .skip(1)
            .filter_map(|(at, _)| {
                let (left, right) = token.split_at(at);
                Some((*vocab.get(left)?, *vocab.get(right)?, left, right))
            })
            .collect();
        parts.sort_unstable_by_key(|&(left, right, ..)| (left, right));
        merges.extend(parts.into_iter().map(|(.., left, right)| (score, left, right)));
    }
    let length = |text: &str| text.chars().count();
    merges.sort_by(|a, b| {
        b.0.total_cmp(&a.0).then((length(b.1), length(b.2)).cmp(&(length(a.1), length(a.2))))
    });
    merges.into_iter().map(|(_, left, right)| (left.to_owned(), right.to_owned())).collect()
}

/// Types of tokens that are found in a text before anything is merged. Those of "control" are left out when decoding; those of
/// "user-defined" are text like any other (Gemma's runs of line breaks, Qwen's `<tool_call>`).
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;

/// The tokens of type `wanted`.
fn whole_tokens(content: &Content, tokens: &[String], wanted: i32) -> Vec<AddedToken> {
    let Some(Value::Array(types)) = content.metadata.get("tokenizer.ggml.token_type") else {
        return Vec::new();
    };
    let is_wanted = |kind: &Value| kind.to_i32().is_ok_and(|kind| kind == wanted);
    let found = types.iter().zip(tokens).filter(|(kind, _)| is_wanted(kind));
    // A text token may follow a special one without a space between them, as in chats.
    found.map(|(_, token)| AddedToken::from(token.clone(), wanted == CONTROL).normalized(false)).collect()
}

fn vocab(content: &Content) -> Result<Vocab> {
    let tokens = strings(content, "tokenizer.ggml.tokens")?;
    let vocab: HashMap<String, u32> = tokens.into_iter().zip(0..).collect();
    Ok(vocab.into_iter().collect())
}

fn text<'a>(content: &'a Content, key: &str) -> Option<&'a str> {
    content.metadata.get(key)?.to_string().ok().map(String::as_str)
}

fn array<'a>(content: &'a Content, key: &str) -> Result<&'a [Value]> {
    match content.metadata.get(key) {
        Some(Value::Array(values)) => Ok(values),
        _ => Err(Error::corrupt(format!("GGUF tokenizer: `{key}` is missing or no list"))),
    }
}

fn strings(content: &Content, key: &str) -> Result<Vec<String>> {
    let wrong = |_| Error::corrupt(format!("GGUF tokenizer: `{key}` holds something else than texts"));
    array(content, key)?.iter().map(|value| value.to_string().cloned().map_err(wrong)).collect()
}

fn numbers(content: &Content, key: &str) -> Result<Vec<f32>> {
    let wrong = |_| Error::corrupt(format!("GGUF tokenizer: `{key}` holds something else than numbers"));
    array(content, key)?.iter().map(|value| value.to_f32().map_err(wrong)).collect()
}

fn damaged(error: tokenizers::Error) -> Error {
    Error::corrupt(format!("GGUF tokenizer: {error}"))
}

fn unknown(model: &str, pre: &str) -> Error {
    Error::invalid(format!("no pipeline for the GGUF tokenizer `{model}` / `{pre}`"))
        .hint("use the model's Hugging Face directory (with tokenizer.json) instead of the GGUF file")
}

#[cfg(test)]
mod tests;
