//! Which models are asked, and how: chat models behind an OpenAI-compatible endpoint, all in one way.

use serde_json::{Map, Value};

use super::{check, table};
use crate::error::{Error, Result};

/// What promptfoo asks for where a provider does not say.
const MAX_TOKENS: u64 = 1024;

pub(super) struct Providers {
    /// As `--model` has it.
    pub models: Vec<String>,
    pub max_tokens: u64,
    pub temperature: f64,
}

/// Kinds of models of OpenAI's that are no chat.
const OTHERS: [&str; 13] = [
    "agents",
    "assistant",
    "chatkit",
    "codex-sdk",
    "completion",
    "embedding",
    "embeddings",
    "image",
    "moderation",
    "realtime",
    "responses",
    "transcription",
    "video",
];

pub(super) fn read(value: Option<&Value>, notes: &mut Vec<String>) -> Result<Providers> {
    let all = match value {
        Some(Value::Array(all)) if !all.is_empty() => all.clone(),
        Some(one @ (Value::String(_) | Value::Object(_))) => vec![one.clone()],
        _ => return Err(Error::invalid("`providers` names no model")),
    };
    let mut found: Option<Providers> = None;
    for (number, value) in (1..).zip(&all) {
        let place = format!("provider {number}");
        let (id, options) = one(value, &place)?;
        let model = model(&id, &place)?;
        check(&options, &place, &["id", "config"], &["label", "delay"], notes)?;
        let empty = Map::new();
        let config = options.get("config").map_or(Ok(&empty), |config| table(config, &place))?;
        let idle = ["apiKey", "apiKeyEnvar", "apiBaseUrl", "apiHost", "organization", "cost"];
        check(config, &place, &["temperature", "max_tokens"], &idle, notes)?;
        if config.contains_key("apiBaseUrl") || config.contains_key("apiHost") {
            notes.push("where models are served says OPENAI_BASE_URL, or `incontext config`".to_owned());
        }
        let temperature = config.get("temperature").and_then(Value::as_f64).unwrap_or(0.0);
        let max_tokens = config.get("max_tokens").and_then(Value::as_u64).unwrap_or(MAX_TOKENS);
        let known = found.get_or_insert(Providers { models: Vec::new(), max_tokens, temperature });
        if (known.max_tokens, known.temperature) != (max_tokens, temperature) {
            return Err(Error::invalid(format!(
                "{place}: its `temperature` or `max_tokens` is not that of the providers before it"
            ))
            .hint("an experiment asks all models in one way: make two files of it"));
        }
        if !known.models.contains(&model) {
            known.models.push(model);
        }
    }
    found.ok_or_else(|| Error::invalid("`providers` names no model"))
}

/// A name, a table with an `id`, or a table under a name.
fn one(value: &Value, place: &str) -> Result<(String, Map<String, Value>)> {
    if let Value::String(id) = value {
        return Ok((id.clone(), Map::new()));
    }
    let options = table(value, place)?;
    match (options.get("id"), options.iter().next()) {
        (Some(Value::String(id)), _) => Ok((id.clone(), options.clone())),
        (None, Some((id, options @ Value::Object(_)))) => Ok((id.clone(), table(options, place)?.clone())),
        _ => Err(Error::invalid(format!("{place}: has no `id`"))),
    }
}

/// `openai:chat:NAME` -> `openai:NAME`
pub(super) fn model(id: &str, place: &str) -> Result<String> {
    let name = id.strip_prefix("openai:").map(|name| name.strip_prefix("chat:").unwrap_or(name));
    let kind = name.and_then(|name| name.split(':').next()).unwrap_or_default();
    match name {
        Some(name) if !name.is_empty() && name != "chat" && !OTHERS.contains(&kind) => {
            Ok(format!("openai:{name}"))
        }
        _ => Err(Error::invalid(format!(
            "{place}: `{id}` is no chat model behind an OpenAI-compatible endpoint"
        ))
        .hint("write `openai:chat:NAME`, and name where it is served with OPENAI_BASE_URL")),
    }
}
