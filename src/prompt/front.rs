//! The front matter of a template: what it is called, what it needs, how to generate from it.
//!
//! Plain data, read strictly: an unknown key is refused by name and line, because a misspelt `temperature` would
//! otherwise be a silent default.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::retrieve::demos::Select;
use crate::text::toml::from_toml;

/// What the front matter says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Front {
    pub name: String,
    pub task: String,
    /// Names a caller has to give a value.
    #[serde(default)]
    pub inputs: Vec<String>,
    #[serde(default)]
    pub params: Params,
    pub fewshot: Option<FewShot>,
    /// Slots, by name.
    #[serde(default)]
    pub vars: BTreeMap<String, Slot>,
}

/// How to generate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Params {
    pub max_tokens: usize,
    /// Texts that end the completion; not part of it.
    pub stop: Vec<String>,
    /// 0 is greedy.
    pub temperature: f32,
}

impl Default for Params {
    fn default() -> Self {
        Self { max_tokens: 64, stop: Vec::new(), temperature: 0.0 }
    }
}

/// Where demonstrations come from; the template sees them as `demos`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FewShot {
    /// A JSON Lines file of examples; without one, whoever renders brings them.
    #[serde(default)]
    pub pool: Option<String>,
    #[serde(default = "four")]
    pub k: usize,
    #[serde(default)]
    pub select: Select,
    #[serde(default)]
    pub order: Order,
}

fn four() -> usize {
    4
}

/// In which order demonstrations stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    #[default]
    NearestLast,
    NearestFirst,
    /// As the pool has them.
    Pool,
}

/// A place in the prompt with alternatives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slot {
    /// At least one; the first is the default.
    pub choices: Vec<String>,
}

/// Front matter and body.
pub(super) fn split<'a>(place: &str, source: &'a str) -> Result<(&'a str, &'a str)> {
    let missing = || {
        Error::invalid(format!("template `{place}` has no front matter"))
            .hint("begin with TOML between two lines `+++`, at least `name`, `task` and `inputs`")
    };
    let rest = source.strip_prefix("+++\n").ok_or_else(missing)?;
    if let Some(body) = rest.strip_prefix("+++\n") {
        return Ok(("", body));
    }
    match rest.split_once("\n+++\n") {
        Some(parts) => Ok(parts),
        None => rest.strip_suffix("\n+++").map(|front| (front, "")).ok_or_else(missing),
    }
}

pub(super) fn read(place: &str, text: &str) -> Result<Front> {
    let wrong = |what: String| Error::invalid(format!("template `{place}`: {what}"));
    // The first line is `+++`.
    let front: Front = from_toml(text, 2).map_err(|error| error.within(format!("template `{place}`")))?;
    let plain = |name: &str| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
    };
    for (key, name) in [("name", &front.name), ("task", &front.task)] {
        if !plain(name) {
            return Err(wrong(format!("{key} `{name}` is not letters, digits, `-` and `_`")));
        }
    }
    if let Some(twice) = front.vars.keys().find(|name| front.inputs.contains(name)) {
        return Err(wrong(format!("`{twice}` is both an input and a variable")));
    }
    if let Some((name, _)) = front.vars.iter().find(|(_, slot)| slot.choices.is_empty()) {
        return Err(wrong(format!("variable `{name}` has no choices")));
    }
    if front.params.max_tokens == 0 {
        return Err(wrong("max_tokens is 0: nothing could be answered".into()));
    }
    if !(front.params.temperature.is_finite() && front.params.temperature >= 0.0) {
        return Err(wrong(format!("temperature {} is not 0 or more", front.params.temperature)));
    }
    Ok(front)
}
