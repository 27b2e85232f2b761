//! The tokenizer inside a GGUF file, rebuilt so that ids equal the original's.
//!
//! GGUF stores vocabulary, merges and the *name* of a pre-tokenizer. candle knows some of those names and takes a
//! GPT-2 pipeline that adds a leading space for the rest, which gives wrong ids without a word; here an unknown name is
//! refused instead. Source of the pipelines: each model's `tokenizer.json`.

use candle_core::quantized::gguf_file::{Content, Value};
use candle_core::quantized::tokenizer::TokenizerFromGguf;
use tokenizers::AddedToken;
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;

use crate::error::{Error, Result};

pub(super) fn build(content: &Content) -> Result<tokenizers::Tokenizer> {
    let model = text(content, "tokenizer.ggml.model").unwrap_or_default();
    let pre = text(content, "tokenizer.ggml.pre").unwrap_or_default();
    match (model, pre) {
        ("gpt2", "smollm") => smollm(content),
        ("gpt2", "qwen2" | "llama3" | "smaug-bpe" | "lfm2") => tokenizers::Tokenizer::from_gguf(content)
            .map_err(|e| Error::corrupt(format!("GGUF tokenizer: {e}"))),
        _ => Err(Error::invalid(format!("no pipeline for the GGUF tokenizer `{model}` / `{pre}`"))
            .hint("use the model's Hugging Face directory (with tokenizer.json) instead of the GGUF file")),
    }
}

/// Byte-level BPE that splits off every single digit and adds no leading space.
fn smollm(content: &Content) -> Result<tokenizers::Tokenizer> {
    let damaged = |e: tokenizers::Error| Error::corrupt(format!("GGUF tokenizer: {e}"));
    let tokens = strings(content, "tokenizer.ggml.tokens")?;
    let merges = strings(content, "tokenizer.ggml.merges")?
        .into_iter()
        .map(|merge| {
            let (left, right) = merge
                .split_once(' ')
                .ok_or_else(|| Error::corrupt(format!("GGUF tokenizer: `{merge}` is not a merge")))?;
            Ok((left.to_owned(), right.to_owned()))
        })
        .collect::<Result<Vec<_>>>()?;
    let vocab: Vocab = tokens.iter().enumerate().map(|(id, token)| (token.clone(), id as u32)).collect();
    let bpe = BPE::builder().vocab_and_merges(vocab, merges).build().map_err(damaged)?;

    let byte_level = ByteLevel::new(false, true, true);
    let mut tokenizer = tokenizers::Tokenizer::new(bpe);
    tokenizer.with_pre_tokenizer(Some(Sequence::new(vec![Digits::new(true).into(), byte_level.into()])));
    tokenizer.with_decoder(Some(byte_level));
    tokenizer.add_special_tokens(control_tokens(content, &tokens)).map_err(damaged)?;
    Ok(tokenizer)
}

/// Tokens of type "control" (3): never produced from text, left out when decoding.
fn control_tokens(content: &Content, tokens: &[String]) -> Vec<AddedToken> {
    const CONTROL: i32 = 3;
    let Some(Value::Array(types)) = content.metadata.get("tokenizer.ggml.token_type") else {
        return Vec::new();
    };
    let control = |kind: &Value| kind.to_i32().is_ok_and(|kind| kind == CONTROL);
    let special = types.iter().zip(tokens).filter(|(kind, _)| control(kind));
    special.map(|(_, token)| AddedToken::from(token.clone(), true)).collect()
}

fn text<'a>(content: &'a Content, key: &str) -> Option<&'a str> {
    content.metadata.get(key)?.to_string().ok().map(String::as_str)
}

fn strings(content: &Content, key: &str) -> Result<Vec<String>> {
    let missing = || Error::corrupt(format!("GGUF tokenizer: `{key}` is missing or not a list of texts"));
    let Some(Value::Array(values)) = content.metadata.get(key) else { return Err(missing()) };
    values.iter().map(|value| value.to_string().cloned().map_err(|_| missing())).collect()
}
