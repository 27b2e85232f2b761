//! What holds of an output, each as a fact and the words for it.

use serde_json::Value;

pub fn equals(output: &str, value: &Value) -> (bool, String) {
    if value.is_array() || value.is_object() {
        return match serde_json::from_str::<Value>(output) {
            Ok(json) if same(&json, value) => (true, "is the JSON that was expected".into()),
            Ok(_) => (false, unlike("is", output, &written(value))),
            Err(error) => (false, format!("is not JSON: {error}")),
        };
    }
    let wanted = written(value);
    match output == wanted {
        true => (true, format!("equals {}", shown(&wanted))),
        false => (false, unlike("is", output, &wanted)),
    }
}

/// Whether both are the same JSON; `1` and `1.0` are, as in JavaScript.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        _ => a == b,
    }
}

pub fn contains(output: &str, texts: &[String], all: bool, any_case: bool) -> (bool, String) {
    let folded = |text: &str| if any_case { text.to_lowercase() } else { text.to_owned() };
    let output = folded(output);
    let (found, missing): (Vec<_>, Vec<_>) =
        texts.iter().cloned().partition(|text| output.contains(&folded(text)));
    match all {
        true if missing.is_empty() => (true, format!("contains {}", named(&found))),
        true => (false, format!("does not contain {}", named(&missing))),
        false if found.is_empty() => (false, format!("contains none of {}", named(&missing))),
        false => (true, format!("contains {}", named(&found))),
    }
}

pub fn is_json(output: &str, required: &[String]) -> (bool, String) {
    match serde_json::from_str::<Value>(output) {
        Err(error) => (false, format!("is not JSON: {error}")),
        Ok(json) => match lacking(&json, required) {
            lacking if lacking.is_empty() => (true, "is JSON".into()),
            lacking => (false, format!("is JSON without {}", named(&lacking))),
        },
    }
}

pub fn contains_json(output: &str, required: &[String]) -> (bool, String) {
    let mut lacks = None;
    for json in objects(output).0 {
        match lacking(&json, required) {
            lacking if lacking.is_empty() => return (true, "contains a JSON object".into()),
            lacking => lacks = Some(lacking),
        }
    }
    match lacks {
        None => (false, "contains no JSON object".into()),
        Some(lacks) => (false, format!("contains JSON without {}", named(&lacks))),
    }
}

fn lacking(json: &Value, required: &[String]) -> Vec<String> {
    required.iter().filter(|key| json.get(key.as_str()).is_none()).cloned().collect()
}

/// The JSON objects in a text, from left to right, none inside another; and how many braces open none.
pub fn objects(text: &str) -> (Vec<Value>, usize) {
    let (mut found, mut stray, mut at) = (Vec::new(), 0, 0);
    while let Some(open) = text[at..].find('{') {
        at += open;
        let mut stream = serde_json::Deserializer::from_str(&text[at..]).into_iter::<Value>();
        match stream.next() {
            Some(Ok(object)) => {
                found.push(object);
                at += stream.byte_offset();
            }
            _ => {
                stray += 1;
                at += 1;
            }
        }
    }
    (found, stray)
}

/// A text that is looked for: numbers as they are written, nothing else.
pub fn text(value: &Value) -> Option<String> {
    matches!(value, Value::String(_) | Value::Number(_))
        .then(|| written(value))
        .filter(|text| !text.is_empty())
}

/// Text as it is, numbers as JavaScript writes them (`1` for 1.0), anything else as JSON.
pub fn written(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
            Some(float) => float.to_string(),
            None => number.to_string(),
        },
        other => other.to_string(),
    }
}

/// Characters of a text that are shown of it.
const SHOWN: usize = 60;

/// Between backticks, line ends and the like as escapes, and not too long.
pub fn shown(text: &str) -> String {
    let escaped = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    let more = if text.chars().nth(SHOWN).is_some() { "..." } else { "" };
    format!("`{}{more}`", text.chars().take(SHOWN).map(escaped).collect::<String>())
}

/// What it is, and what it is not.
pub fn unlike(is: &str, output: &str, wanted: &str) -> String {
    let (output_shown, wanted_shown) = (shown(output), shown(wanted));
    if output_shown != wanted_shown {
        return format!("{is} {output_shown}, not {wanted_shown}");
    }
    let alike = output.chars().zip(wanted.chars()).take_while(|(a, b)| a == b).count();
    format!("{is} {output_shown}, as it should for {alike} characters only")
}

pub fn named(texts: &[String]) -> String {
    texts.iter().map(|text| shown(text)).collect::<Vec<_>>().join(", ")
}
