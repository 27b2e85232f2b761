//! Assertions as promptfoo writes them -> as `eval::assertion` does, with a test's vars filled in.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::template::{self, Piece};
use super::{check, is_assertion, providers, table, yaml};
use crate::error::{Error, Result};

/// Types that mean the same in both, each also with `not-` before it.
const TYPES: [&str; 13] = [
    "equals",
    "contains",
    "icontains",
    "contains-all",
    "icontains-all",
    "contains-any",
    "icontains-any",
    "starts-with",
    "regex",
    "is-json",
    "contains-json",
    "latency",
    "llm-rubric",
];

/// Types whose `not-` promptfoo 0.119 takes and does not heed.
const NEVER_NEGATED: [&str; 2] = ["latency", "llm-rubric"];

/// An assertion, and who grades it where that is said.
pub(super) struct Read {
    pub assert: Value,
    pub judge: Option<String>,
    pub is_graded: bool,
}

/// Whether a test's vars decide what is asserted.
pub(super) fn has_vars(assert: &Value) -> bool {
    match assert {
        Value::String(text) => {
            template::read(text).is_ok_and(|pieces| pieces.iter().any(|piece| matches!(piece, Piece::Var(_))))
        }
        Value::Array(all) => all.iter().any(has_vars),
        Value::Object(all) => all.values().any(has_vars),
        _ => false,
    }
}

pub(super) fn read(
    value: &Value,
    place: &str,
    vars: &BTreeMap<String, String>,
    notes: &mut Vec<String>,
) -> Result<Read> {
    let theirs = table(value, place)?;
    let kind = theirs.get("type").and_then(Value::as_str);
    let kind = kind.ok_or_else(|| Error::invalid(format!("{place}: has no `type`")))?;
    let (not, base) = kind.strip_prefix("not-").map_or((false, kind), |base| (true, base));
    if !TYPES.contains(&base) {
        return Err(Error::invalid(format!("{place}: assertions of the type `{kind}` are not supported"))
            .hint(format!("take it out, or say it in another way; there are: {}", TYPES.join(", "))));
    }
    let taken = ["type", "value", "threshold", "weight", "provider"];
    check(theirs, place, &taken, &["metric"], notes)?;
    let wrong = |what: &str| Error::invalid(format!("{place}: `{kind}`: {what}"));
    let mut ours = Map::from_iter([("type".to_owned(), Value::from(kind))]);
    if not && NEVER_NEGATED.contains(&base) {
        notes.push(format!(
            "`{kind}` is checked as `{base}`, as promptfoo does: mend it in the data if `not-` is meant"
        ));
        ours.insert("type".to_owned(), base.into());
    }
    ours.extend(theirs.get("weight").map(|weight| ("weight".to_owned(), weight.clone())));
    let value = theirs.get("value").filter(|value| !value.is_null());
    let filled = value.map(|value| fill(value, vars)).transpose().map_err(|error| error.within(place))?;
    match (base, filled, theirs.get("threshold")) {
        ("latency", _, threshold) => {
            ours.extend(threshold.map(|threshold| ("threshold".to_owned(), threshold.clone())));
        }
        ("is-json" | "contains-json", schema, _) => {
            if let Some(schema) = schema {
                let required = required(&schema).filter(|_| !not);
                let required = required.ok_or_else(|| {
                    wrong("a schema with more than `required` is not supported").hint(
                        "what is checked is that the output is JSON and has the keys of `required`: \
                         value: {type: object, required: [a, b]}",
                    )
                })?;
                ours.insert("required".to_owned(), json!(required));
            }
        }
        ("llm-rubric", _, Some(_)) => {
            return Err(wrong("`threshold` is not supported: a judge passes or fails"));
        }
        (_, Some(Value::String(text)), _) if base.ends_with("-all") || base.ends_with("-any") => {
            ours.insert("value".to_owned(), json!(listed(&text)));
        }
        (_, value, _) => ours.extend(value.map(|value| ("value".to_owned(), value))),
    }
    let assert = Value::Object(ours);
    is_assertion(&assert).map_err(|error| Error::invalid(format!("{place}: {error}")))?;
    let judge = theirs.get("provider").map(|provider| judge(provider, place)).transpose()?;
    Ok(Read { assert, judge, is_graded: base == "llm-rubric" })
}

/// Who grades, of a provider as promptfoo names it.
pub(super) fn judge(provider: &Value, place: &str) -> Result<String> {
    let id = provider.as_str().or_else(|| provider.get("id").and_then(Value::as_str));
    let id = id.ok_or_else(|| Error::invalid(format!("{place}: its `provider` has no `id`")))?;
    providers::model(id, place)
}

/// The value with `vars` in its texts, and in those of a list.
fn fill(value: &Value, vars: &BTreeMap<String, String>) -> Result<Value> {
    match value {
        Value::String(text) if text.starts_with("file://") => {
            Err(Error::invalid(format!("values from a file (`{text}`) are not supported"))
                .hint("write the value here"))
        }
        Value::String(text) => Ok(template::fill(&template::read(text)?, vars).into()),
        Value::Array(all) => all.iter().map(|value| fill(value, vars)).collect(),
        other => Ok(other.clone()),
    }
}

/// The keys that an object has to have, where a schema says nothing else.
fn required(schema: &Value) -> Option<Vec<String>> {
    let parsed = schema.as_str().and_then(|text| yaml(text).ok());
    let schema = parsed.as_ref().unwrap_or(schema).as_object()?;
    let plain = schema.iter().all(|(key, value)| key == "required" || key == "type" && value == "object");
    let names = schema.get("required").and_then(Value::as_array).filter(|_| plain)?;
    names.iter().map(|name| name.as_str().map(str::to_owned)).collect()
}

/// `a, "b, c"` -> a and `b, c`
fn listed(text: &str) -> Vec<String> {
    let (mut parts, mut quoted) = (vec![String::new()], false);
    for c in text.chars() {
        quoted ^= c == '"';
        match (c, parts.last_mut()) {
            (',', _) if !quoted => parts.push(String::new()),
            (_, Some(part)) => part.push(c),
            _ => {}
        }
    }
    let bare = |part: &String| {
        let part = part.trim();
        part.strip_prefix('"').and_then(|part| part.strip_suffix('"')).unwrap_or(part).to_owned()
    };
    parts.iter().map(bare).collect()
}

/// As a cell of a table says it: `contains: Paris`, `not-latency(900)`; anything else has to be equal.
pub(super) fn of_cell(text: &str) -> Value {
    let (head, value) = text.split_once(':').map_or((text, None), |(head, value)| (head, Some(value)));
    let (kind, threshold) = match head.strip_suffix(')').and_then(|head| head.split_once('(')) {
        Some((kind, number)) => (kind, number.parse::<f64>().ok()),
        None => (head, None),
    };
    let kind = if kind == "grade" { "llm-rubric" } else { kind };
    let base = kind.strip_prefix("not-").unwrap_or(kind);
    let looks_like_one = !base.is_empty() && base.chars().all(|c| c.is_ascii_lowercase() || c == '-');
    let code = ["javascript", "fn", "eval", "python"].contains(&base);
    if code || TYPES.contains(&base) || value.is_some() && looks_like_one && base.contains('-') {
        let value = value.map(str::trim).filter(|value| !value.is_empty());
        let mut assert = Map::from_iter([("type".to_owned(), Value::from(kind))]);
        assert.extend(value.map(|value| ("value".to_owned(), Value::from(value))));
        assert.extend(threshold.map(|threshold| ("threshold".to_owned(), Value::from(threshold))));
        return Value::Object(assert);
    }
    json!({ "type": "equals", "value": text })
}
