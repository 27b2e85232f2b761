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
//! Nothing is trimmed before it is compared. What differs from promptfoo is refused, never approximated: JSON has to be JSON
//! (there, near misses are repaired), is held against no schema, and patterns are those of the `regex` crate, which have no
//! look-around. A rubric is judged by whoever calls ([`super::judge`]); here is only what it says.

use std::fmt;

use regex::Regex;
use serde::{Deserialize, Serialize};
use serde_json::Value;

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
        let one = || text(value()?).ok_or_else(|| wrong("`value` is not a text that is not empty"));
        let several = || {
            let texts = value()?.as_array().and_then(|all| all.iter().map(text).collect::<Option<Vec<_>>>());
            texts.filter(|texts| !texts.is_empty()).ok_or_else(|| wrong("`value` is not a list of texts"))
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
                Check::Latency(most.ok_or_else(|| wrong("`threshold` is not a number of milliseconds"))?)
            }
            "rouge-l" => {
                let references = if value()?.is_array() { several()? } else { vec![one()?] };
                let threshold = table.threshold.unwrap_or(SIMILAR);
                if !(0.0..=1.0).contains(&threshold) {
                    return Err(wrong(&format!("`threshold` {threshold} is not between 0 and 1")));
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
        Some(meant) => format!("; `{meant}` was meant?"),
        None => String::new(),
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
                false => (false, format!("starts with {}, not {}", shown(output), shown(start))),
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

fn equals(output: &str, value: &Value) -> (bool, String) {
    if value.is_array() || value.is_object() {
        return match serde_json::from_str::<Value>(output) {
            Ok(json) if same(&json, value) => (true, "is the JSON that was expected".into()),
            Ok(_) => (false, format!("is {}, not {}", shown(output), shown(&written(value)))),
            Err(error) => (false, format!("is not JSON: {error}")),
        };
    }
    let wanted = written(value);
    match output == wanted {
        true => (true, format!("equals {}", shown(&wanted))),
        false if output.trim() == wanted.trim() => {
            (false, format!("is {}, but for white space around it", shown(&wanted)))
        }
        false => (false, format!("is {}, not {}", shown(output), shown(&wanted))),
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

fn contains(output: &str, texts: &[String], all: bool, any_case: bool) -> (bool, String) {
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

fn is_json(output: &str, required: &[String]) -> (bool, String) {
    match serde_json::from_str::<Value>(output) {
        Err(error) => (false, format!("is not JSON: {error}")),
        Ok(json) => match lacking(&json, required) {
            lacking if lacking.is_empty() => (true, "is JSON".into()),
            lacking => (false, format!("is JSON without {}", named(&lacking))),
        },
    }
}

fn contains_json(output: &str, required: &[String]) -> (bool, String) {
    let mut lacks = None;
    for json in objects(output) {
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

/// The JSON objects in a text, from left to right, none inside another.
pub(super) fn objects(text: &str) -> Vec<Value> {
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some(open) = text[at..].find('{') {
        at += open;
        let mut stream = serde_json::Deserializer::from_str(&text[at..]).into_iter::<Value>();
        match stream.next() {
            Some(Ok(object)) => {
                found.push(object);
                at += stream.byte_offset();
            }
            _ => at += 1,
        }
    }
    found
}

/// A text that is looked for: numbers as they are written, nothing else.
fn text(value: &Value) -> Option<String> {
    matches!(value, Value::String(_) | Value::Number(_))
        .then(|| written(value))
        .filter(|text| !text.is_empty())
}

/// Text as it is, numbers as JavaScript writes them (`1` for 1.0), anything else as JSON.
fn written(value: &Value) -> String {
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

/// Between backticks, on one line and not too long.
fn shown(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("`{}...`", &line[..end]),
        None => format!("`{line}`"),
    }
}

fn named(texts: &[String]) -> String {
    texts.iter().map(|text| shown(text)).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assertion(toml: &str) -> Assertion {
        toml::from_str(toml).unwrap()
    }

    fn refused(toml: &str) -> String {
        toml::from_str::<Assertion>(toml).unwrap_err().message().to_owned()
    }

    /// Whether it passes, and why.
    fn judge(toml: &str, output: &str) -> (bool, String) {
        let grade = |_: &str| Err(Error::invalid("no judge"));
        let Verdict { passed, why } = assertion(toml).verdict(output, 900, &grade).unwrap();
        (passed, why)
    }

    #[test]
    fn outputs_pass_and_fail_for_reasons_a_person_understands() {
        for (toml, output, passed, why) in [
            ("type = 'equals'\nvalue = 'Paris'", "Paris", true, "equals `Paris`"),
            (
                "type = 'equals'\nvalue = 'Paris'",
                "Paris\n",
                false,
                "is `Paris`, but for white space around it",
            ),
            ("type = 'equals'\nvalue = 'Paris'", "In Paris.", false, "is `In Paris.`, not `Paris`"),
            ("type = 'equals'\nvalue = 42", "42", true, "equals `42`"),
            ("type = 'equals'\nvalue = 1.0", "1", true, "equals `1`"),
            ("type = 'equals'\nvalue = true", "true", true, "equals `true`"),
            ("type = 'contains'\nvalue = 'Paris'", "Not Paris!", true, "contains `Paris`"),
            ("type = 'contains'\nvalue = 'paris'", "Paris", false, "does not contain `paris`"),
            ("type = 'contains'\nvalue = 0", "10", true, "contains `0`"),
            ("type = 'icontains'\nvalue = 'pARIS, ÉTÉ'", "Paris, été", true, "contains `pARIS, ÉTÉ`"),
            ("type = 'contains-all'\nvalue = ['a', 'b', 3]", "a3", false, "does not contain `b`"),
            ("type = 'icontains-all'\nvalue = ['a', 'b']", "AB", true, "contains `a`, `b`"),
            ("type = 'contains-any'\nvalue = ['a', 'b']", "cb", true, "contains `b`"),
            ("type = 'contains-any'\nvalue = ['a', 'b']", "AB", false, "contains none of `a`, `b`"),
            ("type = 'starts-with'\nvalue = 'Yes'", "Yes, it is", true, "starts with `Yes`"),
            ("type = 'starts-with'\nvalue = 'Yes'", " Yes", false, "starts with `Yes`, not `Yes`"),
            ("type = 'regex'\nvalue = '[0-9]{4}'", "in 1887.", true, "matches `[0-9]{4}`: `1887`"),
            ("type = 'regex'\nvalue = '^a$'", "b\na", false, "does not match `^a$`"),
            ("type = 'latency'\nthreshold = 900", "", true, "took 900 ms, at most 900"),
            ("type = 'latency'\nthreshold = 899.5", "", false, "took 900 ms, more than 899.5"),
            ("type = 'rouge-l'\nvalue = 'a b c d'", "a b c", true, "ROUGE-L is 0.857, at least 0.75"),
            (
                "type = 'rouge-l'\nvalue = ['x', 'a b']\nthreshold = 0.9",
                "a b c",
                false,
                "ROUGE-L is 0.800, below 0.9",
            ),
        ] {
            assert_eq!(judge(toml, output), (passed, why.to_owned()), "{toml} of {output:?}");
            let not = toml.replacen("type = '", "type = 'not-", 1);
            assert_eq!(judge(&not, output), (!passed, why.to_owned()), "{not} of {output:?}");
        }
    }

    #[test]
    fn json_is_json_and_nothing_near_it() {
        for (toml, output, passed, why) in [
            ("type = 'is-json'", "42", true, "is JSON"),
            ("type = 'is-json'", " \"text\"\n", true, "is JSON"),
            ("type = 'is-json'", "{'a': 1}", false, "is not JSON: key must be a string at line 1 column 2"),
            ("type = 'is-json'", "", false, "is not JSON: EOF while parsing a value at line 1 column 0"),
            ("type = 'is-json'\nrequired = ['a', 'b']", "{\"a\": null}", false, "is JSON without `b`"),
            ("type = 'is-json'\nrequired = ['a']", "[1]", false, "is JSON without `a`"),
            ("type = 'contains-json'", "see ```json\n{\"a\": {}}\n```", true, "contains a JSON object"),
            ("type = 'contains-json'", "{ {no} [1, 2]", false, "contains no JSON object"),
            (
                "type = 'contains-json'\nrequired = ['b']",
                "{\"a\": 1} {\"b\": 1} {}",
                true,
                "contains a JSON object",
            ),
            (
                "type = 'contains-json'\nrequired = ['b']",
                "{\"a\": {\"b\": 1}}",
                false,
                "contains JSON without `b`",
            ),
            (
                "type = 'equals'\nvalue = { a = 1, b = ['x'] }",
                "{\"b\": [\"x\"], \"a\": 1.0}",
                true,
                "is the JSON that was expected",
            ),
            ("type = 'equals'\nvalue = { a = 1 }", "{\"a\": 2}", false, "is `{\"a\": 2}`, not `{\"a\":1}`"),
            (
                "type = 'not-equals'\nvalue = { a = 1 }",
                "a",
                true,
                "is not JSON: expected value at line 1 column 1",
            ),
        ] {
            assert_eq!(judge(toml, output), (passed, why.to_owned()), "{toml} of {output:?}");
        }
    }

    #[test]
    fn objects_are_found_wherever_they_stand() {
        let found = objects("x {\"a\": \"}\"} {bad {\"b\": {\"c\": 1}} é{}");
        let shown: Vec<String> = found.iter().map(Value::to_string).collect();
        assert_eq!(shown, ["{\"a\":\"}\"}", "{\"b\":{\"c\":1}}", "{}"]);
    }

    #[test]
    fn what_is_no_assertion_is_refused_by_name() {
        assert_eq!(
            refused("type = 'not-contain'\nvalue = 'a'"),
            "no assertion is called `contain`; `contains` was meant? There are equals, contains, icontains, \
             contains-all, icontains-all, contains-any, icontains-any, starts-with, regex, is-json, contains-json, \
             latency, rouge-l, llm-rubric; each with `not-` before it"
        );
        assert_eq!(
            refused("type = 'equals'\nvalue = 'a'\ntreshold = 1"),
            "unknown field `treshold`, expected one of `type`, `value`, `threshold`, `required`, `weight`"
        );
        for (toml, message) in [
            ("type = 'contains'", "assertion `contains`: `value` is missing"),
            (
                "type = 'contains'\nvalue = ''",
                "assertion `contains`: `value` is not a text that is not empty",
            ),
            (
                "type = 'contains-all'\nvalue = 'a, b'",
                "assertion `contains-all`: `value` is not a list of texts",
            ),
            ("type = 'contains-any'\nvalue = []", "assertion `contains-any`: `value` is not a list of texts"),
            ("type = 'is-json'\nvalue = {}", "assertion `is-json` takes `required`, not `value`"),
            (
                "type = 'equals'\nvalue = 1\nthreshold = 1",
                "assertion `equals` takes `value`, not `threshold`",
            ),
            ("type = 'latency'", "assertion `latency`: `threshold` is not a number of milliseconds"),
            (
                "type = 'rouge-l'\nvalue = 'a'\nthreshold = 75",
                "assertion `rouge-l`: `threshold` 75 is not between 0 and 1",
            ),
            ("type = 'is-json'\nweight = -1", "assertion `is-json`: `weight` -1 is not 0 or more"),
            ("type = 'regex'\nvalue = '(a'", "assertion `regex`: unclosed group"),
            (
                "type = 'regex'\nvalue = 'a(?=b)'",
                "assertion `regex`: look-around, including look-ahead and look-behind, is not supported",
            ),
        ] {
            assert_eq!(refused(toml), message, "{toml}");
        }
        let json = serde_json::from_str::<Assertion>(r#"{"type": "equals", "value": 1}"#).unwrap();
        assert_eq!(json.to_string(), "equals `1`");
    }

    #[test]
    fn a_rubric_is_judged_by_who_calls_and_turned_round_here() {
        let rubric = assertion("type = 'not-llm-rubric'\nvalue = 'Polite.'");
        let seen = std::cell::RefCell::new(String::new());
        let grade = |rubric: &str| {
            seen.replace(rubric.to_owned());
            Ok(Verdict { passed: true, why: "It is.".into() })
        };
        assert!(rubric.is_graded() && !rubric.verdict("Thanks!", 1, &grade).unwrap().passed);
        assert_eq!(
            (seen.into_inner().as_str(), rubric.to_string().as_str()),
            ("Polite.", "not-llm-rubric `Polite.`")
        );
        let broken = |_: &str| Err(Error::invalid("no judge"));
        assert!(rubric.verdict("Thanks!", 1, &broken).is_err());
    }

    #[test]
    fn weights_say_how_much_a_failure_counts() {
        let verdict = |passed| Verdict { passed, why: String::new() };
        let heavy = assertion("type = 'is-json'\nweight = 3");
        let light = assertion("type = 'is-json'");
        let watched = assertion("type = 'latency'\nthreshold = 1\nweight = 0");
        let (yes, no) = (verdict(true), verdict(false));
        let judged = [(&heavy, &yes), (&light, &no), (&watched, &no)];
        assert_eq!((score(judged), passed(judged)), (0.75, false));
        assert_eq!((score([(&watched, &no)]), passed([(&watched, &no)])), (1.0, true));
    }
}
