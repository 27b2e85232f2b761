//! Assertions: what an output has to be, in the words and with the meaning that promptfoo gives them.
//!
//! ```toml
//! assert = [
//!     { type = "contains-any", value = ["Paris", "Lutetia"] },
//!     { type = "not-icontains", value = "as a language model" },
//!     { type = "is-json", required = ["city"], weight = 2 },
//!     { type = "latency", threshold = 800 },
//!     { type = "llm-rubric", value = "Polite, and no longer than two sentences." },
//! ]
//! ```
//!
//! Nothing is trimmed before it is compared. Where this differs from promptfoo: JSON has to be JSON (there, near misses are
//! repaired) and is held against a list of keys, not a schema; what is looked for is not empty, and several texts are a
//! list; patterns are those of the `regex` crate, which has no look-around, and whose `\d` is a digit of any script. A rubric
//! is judged by whoever calls ([`super::judge`]); here is only what it says.

mod checks;

use std::fmt;

use regex::Regex;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use checks::{contains, contains_json, equals, is_json, named, shown, text, unlike, written};

pub(super) use checks::objects;

use super::rouge::rouge_l;
use crate::error::{Error, Result};
use crate::text::slip::closest;

/// What an output is held against.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "Table", into = "Table")]
pub struct Assertion {
    check: Check,
    /// Whether it is wanted not to hold.
    not: bool,
    /// How much it counts in [`score`]. At 0 it is looked at, and nothing fails by it.
    pub weight: f64,
    /// As written: ``not-contains `Paris` ``.
    written: String,
    table: Table,
}

impl PartialEq for Assertion {
    fn eq(&self, other: &Self) -> bool {
        self.table == other.table
    }
}

impl From<Assertion> for Table {
    fn from(assertion: Assertion) -> Self {
        assertion.table
    }
}

/// Whether an output is as it should be, and what it is: ``does not contain `Paris` ``.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    pub passed: bool,
    pub why: String,
}

#[derive(Debug, Clone)]
enum Check {
    /// A table or list as JSON, whatever way it is written; anything else as text.
    Equals(Value),
    Contains {
        texts: Vec<String>,
        all: bool,
        any_case: bool,
    },
    StartsWith(String),
    Regex(Regex),
    Json {
        /// Nothing but JSON, of any kind; else an object somewhere in the text.
        whole: bool,
        /// Keys that an object has to have.
        required: Vec<String>,
    },
    /// At most so many milliseconds.
    Latency(f64),
    RougeL {
        references: Vec<String>,
        threshold: f64,
    },
    Rubric(String),
}

/// Every type there is, with the keys it takes besides `type` and `weight`; each also with `not-` before it.
const TYPES: [(&str, &[&str]); 14] = [
    ("equals", &["value"]),
    ("contains", &["value"]),
    ("icontains", &["value"]),
    ("contains-all", &["value"]),
    ("icontains-all", &["value"]),
    ("contains-any", &["value"]),
    ("icontains-any", &["value"]),
    ("starts-with", &["value"]),
    ("regex", &["value"]),
    ("is-json", &["required"]),
    ("contains-json", &["required"]),
    ("latency", &["threshold"]),
    ("rouge-l", &["value", "threshold"]),
    ("llm-rubric", &["value"]),
];

/// The least ROUGE-L, where none is named.
const SIMILAR: f64 = 0.75;

/// An assertion as it stands in a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    r#type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    threshold: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    required: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    weight: Option<f64>,
}

impl TryFrom<Table> for Assertion {
    type Error = Error;

    fn try_from(table: Table) -> Result<Self> {
        let kind = table.r#type.as_str();
        let (not, base) = kind.strip_prefix("not-").map_or((false, kind), |base| (true, base));
        let known = TYPES.iter().find(|(name, _)| *name == base).ok_or_else(|| unknown(base))?;
        let given = [
            ("value", table.value.is_some()),
            ("threshold", table.threshold.is_some()),
            ("required", table.required.is_some()),
        ];
        if let Some((key, _)) = given.iter().find(|(key, given)| *given && !known.1.contains(key)) {
            let takes = known.1.join("` and `");
            return Err(Error::invalid(format!("assertion `{kind}` takes `{takes}`, not `{key}`")));
        }
        let wrong = |what: &str| Error::invalid(format!("assertion `{kind}`: {what}"));
        let weight = table.weight.unwrap_or(1.0);
        if !(weight.is_finite() && weight >= 0.0) {
            return Err(wrong(&format!("`weight` {weight} is not 0 or more")));
        }
        let value = || table.value.as_ref().ok_or_else(|| wrong("`value` is missing"));
        let one = || text(value()?).ok_or_else(|| wrong("`value` has to be a text, and not empty"));
        let several = || {
            let texts = value()?.as_array().and_then(|all| all.iter().map(text).collect::<Option<Vec<_>>>());
            texts
                .filter(|texts| !texts.is_empty())
                .ok_or_else(|| wrong("`value` has to be a list of texts, none of them empty"))
        };
        let any_case = base.starts_with('i');
        let check = match base {
            "equals" => Check::Equals(value()?.clone()),
            "contains" | "icontains" => Check::Contains { texts: vec![one()?], all: true, any_case },
            "contains-all" | "icontains-all" => Check::Contains { texts: several()?, all: true, any_case },
            "contains-any" | "icontains-any" => Check::Contains { texts: several()?, all: false, any_case },
            "starts-with" => Check::StartsWith(one()?),
            "regex" => Check::Regex(Regex::new(&one()?).map_err(|error| {
                // The last line says what; those before it draw an arrow below the pattern.
                let error = error.to_string();
                wrong(error.lines().last().unwrap_or_default().trim_start_matches("error: "))
            })?),
            "is-json" | "contains-json" => {
                Check::Json { whole: base == "is-json", required: table.required.clone().unwrap_or_default() }
            }
            "latency" => {
                let most = table.threshold.filter(|most| most.is_finite() && *most >= 0.0);
                Check::Latency(most.ok_or_else(|| wrong("`threshold` has to be a number of milliseconds"))?)
            }
            "rouge-l" => {
                let references = if value()?.is_array() { several()? } else { vec![one()?] };
                let threshold = table.threshold.unwrap_or(SIMILAR);
                if !(0.0..=1.0).contains(&threshold) {
                    return Err(wrong(&format!("`threshold` {threshold} has to be between 0 and 1")));
                }
                Check::RougeL { references, threshold }
            }
            _ => Check::Rubric(one()?),
        };
        let detail = match (&table.value, table.threshold) {
            (Some(Value::Array(all)), _) => {
                format!(" {}", named(&all.iter().map(written).collect::<Vec<_>>()))
            }
            (Some(value), _) => format!(" {}", named(&[written(value)])),
            (None, Some(threshold)) => format!(" {threshold}"),
            (None, None) => String::new(),
        };
        let written = format!("{kind}{detail}");
        Ok(Self { check, not, weight, written, table })
    }
}

fn unknown(typed: &str) -> Error {
    let names = TYPES.map(|(name, _)| name);
    let meant = match closest(typed, names) {
        Some(meant) => format!("; is it `{meant}`?"),
        None => ".".to_owned(),
    };
    let all = names.join(", ");
    Error::invalid(format!(
        "no assertion is called `{typed}`{meant} There are {all}; each with `not-` before it"
    ))
}

impl Assertion {
    /// Whether a model has to judge: then [`Self::verdict`] asks for it.
    pub fn is_graded(&self) -> bool {
        matches!(self.check, Check::Rubric(_))
    }

    /// Holds an output against it, which took so many milliseconds. A rubric is given to `grade`.
    ///
    /// # Errors
    /// Those of `grade`.
    pub fn verdict(&self, output: &str, ms: u64, grade: &dyn Fn(&str) -> Result<Verdict>) -> Result<Verdict> {
        let (holds, why) = match &self.check {
            Check::Equals(value) => equals(output, value),
            Check::Contains { texts, all, any_case } => contains(output, texts, *all, *any_case),
            Check::StartsWith(start) => match output.starts_with(start) {
                true => (true, format!("starts with {}", shown(start))),
                false => (false, unlike("starts with", output, start)),
            },
            Check::Regex(regex) => match regex.find(output) {
                Some(found) => (true, format!("matches `{regex}`: {}", shown(found.as_str()))),
                None => (false, format!("does not match `{regex}`")),
            },
            Check::Json { whole: true, required } => is_json(output, required),
            Check::Json { whole: false, required } => contains_json(output, required),
            Check::Latency(most) if ms as f64 <= *most => (true, format!("took {ms} ms, at most {most}")),
            Check::Latency(most) => (false, format!("took {ms} ms, more than {most}")),
            Check::RougeL { references, threshold } => {
                let f = rouge_l(output, references).f;
                let holds = f >= *threshold;
                (
                    holds,
                    format!("ROUGE-L is {f:.3}, {} {threshold}", if holds { "at least" } else { "below" }),
                )
            }
            Check::Rubric(rubric) => {
                let Verdict { passed, why } = grade(rubric)?;
                (passed, why)
            }
        };
        Ok(Verdict { passed: holds != self.not, why })
    }
}

impl fmt::Display for Assertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

/// Whether nothing failed that has a weight.
pub fn passed<'a>(judged: impl IntoIterator<Item = (&'a Assertion, &'a Verdict)>) -> bool {
    judged.into_iter().all(|(assertion, verdict)| verdict.passed || assertion.weight == 0.0)
}

/// The weights of what passed, as a share of all weights; 1 when nothing weighs anything.
pub fn score<'a>(judged: impl IntoIterator<Item = (&'a Assertion, &'a Verdict)>) -> f64 {
    let (mut reached, mut all) = (0.0, 0.0);
    for (assertion, verdict) in judged {
        all += assertion.weight;
        reached += if verdict.passed { assertion.weight } else { 0.0 };
    }
    if all == 0.0 { 1.0 } else { reached / all }
}

#[cfg(test)]
#[path = "assertion_tests.rs"]
mod tests;
