//! Prompts: texts, lists of messages as JSON or YAML, and files of either.

use std::path::Path;

use serde_json::{Value, json};

use super::template::{self, Piece};
use super::{Columns, file, yaml};
use crate::error::{Error, Result};

pub(super) struct Prompt {
    /// How the table calls it.
    pub name: String,
    /// Role and content, one after another.
    turns: Vec<(String, Vec<Piece>)>,
}

/// Characters of a prompt that stand for its name.
const SHOWN: usize = 40;
/// Parts several prompts in one text file.
const DELIMITER: &str = "---";
/// Files that we read as text.
const TEXTS: [&str; 3] = ["txt", "md", "j2"];

pub(super) fn read(value: Option<&Value>, base: &Path) -> Result<Vec<Prompt>> {
    let all = match value {
        Some(Value::Array(all)) if !all.is_empty() => all.clone(),
        Some(one @ Value::String(_)) => vec![one.clone()],
        _ => {
            return Err(
                Error::invalid("`prompts` has no prompt").hint("list texts, or files: file://prompt.txt")
            );
        }
    };
    let mut prompts: Vec<Prompt> = Vec::new();
    for (number, value) in (1..).zip(&all) {
        let place = format!("prompt {number}");
        for (label, text) in texts(value, base, &place)? {
            let turns = turns(&text).map_err(|error| error.within(&place))?;
            let name = match prompts.iter().any(|prompt| prompt.name == label) {
                true => format!("{label} ({})", prompts.len() + 1),
                false => label,
            };
            prompts.push(Prompt { name, turns });
        }
    }
    Ok(prompts)
}

/// Labels and texts: a file may hold several.
fn texts(value: &Value, base: &Path, place: &str) -> Result<Vec<(String, String)>> {
    let (raw, label) = match value {
        Value::String(raw) => (raw.clone(), None),
        Value::Object(options) => {
            super::check(options, place, &["raw", "id", "label"], &[], &mut Vec::new())?;
            let text = |key| options.get(key).and_then(Value::as_str).map(str::to_owned);
            let raw = text("raw").or(text("id"));
            (raw.ok_or_else(|| Error::invalid(format!("{place}: has no `raw`")))?, text("label"))
        }
        _ => return Err(Error::invalid(format!("{place}: is neither a text nor a table with `raw`"))),
    };
    let plain = |text: &str| {
        let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let start: String = line.chars().take(SHOWN).collect();
        if start == line { line } else { format!("{start}…") }
    };
    let known = |ending: &str| TEXTS.contains(&ending) || ending == "json";
    let ending = raw.rsplit_once('.').map_or("", |(_, ending)| ending);
    let is_file = raw.starts_with("file://") || !raw.contains(char::is_whitespace) && known(ending);
    if !is_file {
        return Ok(vec![(label.unwrap_or_else(|| plain(&raw)), raw)]);
    }
    if !known(ending) {
        return Err(Error::invalid(format!("{place}: `{raw}` is no file of a kind that is supported"))
            .hint(format!("there are: {}, json", TEXTS.join(", "))));
    }
    let text = file(&raw, base, place)?;
    let label = label.unwrap_or_else(|| raw.trim_start_matches("file://").to_owned());
    if ending != "txt" {
        return Ok(vec![(label, text)]);
    }
    let mut parts = vec![String::new()];
    for line in text.lines() {
        match (line.trim() == DELIMITER, parts.last_mut()) {
            (false, Some(part)) => *part += &format!("{line}\n"),
            _ => parts.push(String::new()),
        }
    }
    let parts = parts.iter().map(|part| part.trim()).filter(|part| !part.is_empty());
    Ok(parts.map(|part| (label.clone(), part.to_owned())).collect())
}

/// What a model is told: a list of messages, or the text as a person's.
fn turns(text: &str) -> Result<Vec<(String, Vec<Piece>)>> {
    let start = text.trim_start();
    let list = match start.starts_with("- role:") {
        true => Some(yaml(text)?),
        false => serde_json::from_str(text).ok().filter(|json: &Value| json.is_array() || json.is_object()),
    };
    let Some(list) = list else {
        if start.starts_with(['[', '{']) && !start.starts_with("{{") && text.contains("\"role\"") {
            return Err(Error::invalid(
                "is a list of messages that is no JSON before its vars are filled in",
            )
            .hint("put variables within the quotation marks of a `content`"));
        }
        return Ok(vec![("user".to_owned(), template::read(text)?)]);
    };
    let turn = |message: &Value| {
        let text = |key| message.get(key).and_then(Value::as_str);
        let (Some(role @ ("system" | "user" | "assistant")), Some(content)) = (text("role"), text("content"))
        else {
            return Err(Error::invalid(
                "has a message without a role (system, user, assistant) and a text as content",
            ));
        };
        Ok((role.to_owned(), template::read(content)?))
    };
    let messages = list.as_array().filter(|all| !all.is_empty());
    messages.ok_or_else(|| Error::invalid("is JSON, and no list of messages"))?.iter().map(turn).collect()
}

/// The vars of all prompts, in the order in which they come.
pub(super) fn used(prompts: &[Prompt]) -> Vec<String> {
    let mut used = Vec::new();
    for piece in prompts.iter().flat_map(|prompt| &prompt.turns).flat_map(|(_, pieces)| pieces) {
        if let Piece::Var(name) = piece
            && !used.contains(name)
        {
            used.push(name.clone());
        }
    }
    used
}

impl Prompt {
    /// The template, as prompt number `number`.
    pub fn file(&self, number: usize, columns: &Columns) -> String {
        let column = |var: &str| columns.of(var);
        let alone = [Prompt { name: String::new(), turns: self.turns.clone() }];
        let inputs: Vec<String> = used(&alone).iter().map(|var| column(var)).collect();
        let mut text = format!(
            "+++\nname = \"prompt-{number}\"\ntask = \"generate\"\ninputs = {}\n+++\n",
            json!(inputs)
        );
        for (role, pieces) in &self.turns {
            text += &format!("<|{role}|>\n{}\n", template::body(pieces, &column));
        }
        text
    }
}
