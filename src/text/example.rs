//! One row of a person's task: what comes in and what would be right. Demonstrations, experiments and training share it.
//!
//! A row is a JSON object, a line each. What comes in is called `input`, `question` or `text`; what is right is called
//! `answers`, `answer`, `output`, `label_text` or `label`, and may be one value or a list, any of which is right. Data with
//! other names says so once ([`Columns`]); everything else a row holds is kept for templates that ask for it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::records::Source;
use crate::error::{Error, Result};

/// Names of what comes in, the first that a row has.
const INPUTS: [&str; 3] = ["input", "question", "text"];
/// Names of what is right, the first that a row has; the others are no input either.
pub const ANSWERS: [&str; 5] = ["answers", "answer", "output", "label_text", "label"];
/// What has to hold of an output for this row, in `eval::assertion`'s words: a model is told it no more than the answer.
pub const ASSERT: &str = "assert";

const WANTED: &str = "a JSON object a line: {\"input\": \"...\", \"output\": \"...\"}; also `question`, `text`, `answers`, `label`";

/// A row.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Example {
    /// Its `id` or `_id`, else the number of its line.
    pub id: String,
    pub input: String,
    /// Any of them is right; none when nothing is, as for a question that the documents do not answer.
    pub answers: Vec<String>,
    /// The whole row.
    pub fields: Map<String, Value>,
}

/// What a file calls its columns, where that is not what [`Example`] looks for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Columns {
    pub input: Option<String>,
    pub answer: Option<String>,
}

/// Which rows of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rows {
    /// Only those whose field `split` says this.
    pub split: Option<String>,
    /// The first so many of them.
    pub limit: Option<usize>,
}

impl Example {
    /// The rows of a file, in its order.
    ///
    /// # Errors
    /// `Invalid` naming the first line that is no row, or when there is none (of that split).
    pub fn all(source: &Source, columns: &Columns, rows: &Rows) -> Result<Vec<Self>> {
        let lines: Vec<(usize, Value)> = source.json_lines().map_err(|error| error.hint(WANTED))?;
        let mut examples = Vec::new();
        let mut splits: BTreeMap<String, usize> = BTreeMap::new();
        for (line, row) in lines {
            if let Some(wanted) = &rows.split {
                let split = row.get("split").and_then(Value::as_str).unwrap_or("(none)");
                *splits.entry(split.to_owned()).or_default() += 1;
                if split != wanted {
                    continue;
                }
            }
            examples.push(Self::of(row, line, columns).map_err(|error| source.at(line, error))?);
            if rows.limit == Some(examples.len()) {
                break;
            }
        }
        if !examples.is_empty() {
            return Ok(examples);
        }
        let path = source.path().display();
        match &rows.split {
            Some(wanted) if !splits.is_empty() => {
                let there: Vec<String> =
                    splits.iter().map(|(split, count)| format!("`{split}` ({count} rows)")).collect();
                Err(Error::invalid(format!("`{path}` has no row of the split `{wanted}`"))
                    .hint(format!("its rows say: {}", there.join(", "))))
            }
            _ => Err(Error::invalid(format!("`{path}` is empty")).hint(WANTED)),
        }
    }

    /// Of the JSON object on line `line`. `"answerable": false`, or SQuAD's `"is_impossible": true`, say that nothing is
    /// right.
    ///
    /// # Errors
    /// `Invalid` when it is no object, has no input, or its answers are no texts.
    pub fn of(row: Value, line: usize, columns: &Columns) -> Result<Self> {
        let Value::Object(fields) = row else {
            return Err(Error::invalid("not a JSON object").hint(WANTED));
        };
        let input = match &columns.input {
            Some(name) => Some(name.as_str()),
            None => INPUTS.into_iter().find(|name| fields.contains_key(*name)),
        };
        let Some((name, value)) = input.and_then(|name| Some((name, fields.get(name)?))) else {
            let name = columns.input.as_deref().unwrap_or("input");
            return Err(Error::invalid(format!("no `{name}` in it")).hint(has(&fields)));
        };
        let input = text(value).ok_or_else(|| Error::invalid(format!("`{name}` is no text")).hint(WANTED))?;
        if input.trim().is_empty() {
            return Err(
                Error::invalid(format!("`{name}` is empty")).hint("leave the row out, or say what it asks")
            );
        }
        let answer = match &columns.answer {
            Some(name) => Some(name.as_str()),
            None => ANSWERS.into_iter().find(|name| fields.contains_key(*name)),
        };
        let is = |field, value| fields.get(field).and_then(Value::as_bool) == Some(value);
        let answers = match answer.and_then(|name| Some((name, fields.get(name)?))) {
            _ if is("answerable", false) || is("is_impossible", true) => Vec::new(),
            Some((name, value)) => answers(value)
                .ok_or_else(|| Error::invalid(format!("`{name}` is neither a text nor a list of texts")))?,
            None if columns.answer.is_some() => {
                let name = columns.answer.as_deref().unwrap_or_default();
                return Err(Error::invalid(format!("no `{name}` in it")).hint(has(&fields)));
            }
            None => Vec::new(),
        };
        let id = ["id", "_id"].iter().find_map(|name| fields.get(*name)).and_then(text);
        Ok(Self { id: id.unwrap_or_else(|| line.to_string()), input, answers, fields })
    }

    /// The first of what is right.
    pub fn output(&self) -> Option<&str> {
        self.answers.first().map(String::as_str)
    }

    /// What a template may be told of a row that is to be answered: all fields but the answer and what is asserted of it,
    /// `input`, and the same under `question`.
    pub fn asked(&self, columns: &Columns) -> Map<String, Value> {
        let answer =
            |name: &str| ANSWERS.contains(&name) || name == ASSERT || columns.answer.as_deref() == Some(name);
        let mut values: Map<String, Value> = self.fields.clone();
        values.retain(|name, _| !answer(name));
        for name in ["input", "question"] {
            values.insert(name.to_owned(), self.input.clone().into());
        }
        values
    }

    /// What a template is told of a row that is shown as a demonstration: its fields, `input` and `output`.
    pub fn shown(&self) -> Map<String, Value> {
        let mut values = self.fields.clone();
        values.shift_remove(ASSERT);
        values.insert("input".to_owned(), self.input.clone().into());
        values.insert("output".to_owned(), self.output().unwrap_or_default().into());
        values
    }
}

/// The distinct first answers, sorted: the classes of a classification.
pub fn labels(examples: &[Example]) -> Vec<String> {
    let labels: std::collections::BTreeSet<&str> = examples.iter().filter_map(Example::output).collect();
    labels.into_iter().map(str::to_owned).collect()
}

/// A value that can stand for a text: a class may be a number.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        _ => None,
    }
}

/// One answer, a list of answers, none, or an object that is to come back as JSON.
fn answers(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::Null => Some(Vec::new()),
        Value::Array(all) => all.iter().map(text).collect(),
        Value::Object(_) => Some(vec![value.to_string()]),
        one => Some(vec![text(one)?]),
    }
}

fn has(fields: &Map<String, Value>) -> String {
    let names: Vec<String> = fields.keys().map(|name| format!("`{name}`")).collect();
    format!("it has {}; {WANTED}", if names.is_empty() { "nothing".to_owned() } else { names.join(", ") })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(text: &str, columns: &Columns, rows: &Rows) -> Result<Vec<Example>> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Example::all(&Source::read(file.path())?, columns, rows)
    }

    fn of(row: Value) -> Result<Example> {
        Example::of(row, 7, &Columns::default())
    }

    #[test]
    fn the_usual_names_are_found_and_a_class_may_be_a_number() {
        let example = of(json!({"id": 3, "text": "a", "label": 1, "label_text": "one"})).unwrap();
        assert_eq!(
            (&*example.id, &*example.input, &example.answers[..]),
            ("3", "a", &["one".to_owned()][..])
        );
        let example = of(json!({"question": "a", "answers": ["b", "c"]})).unwrap();
        assert_eq!((&*example.id, example.answers.len(), example.output()), ("7", 2, Some("b")));
        assert_eq!(of(json!({"input": "a", "label": 0})).unwrap().answers, ["0"]);
        assert_eq!(of(json!({"input": "a", "output": {"b": 1}})).unwrap().answers, ["{\"b\":1}"]);
    }

    #[test]
    fn a_question_without_an_answer_is_a_row_and_one_without_an_input_is_none() {
        assert!(of(json!({"question": "a"})).unwrap().answers.is_empty());
        assert!(
            of(json!({"question": "a", "answers": ["b"], "is_impossible": true})).unwrap().answers.is_empty()
        );
        let error = of(json!({"sentence": "a"})).unwrap_err();
        assert_eq!(error.to_string(), "no `input` in it");
        assert!(error.advice().unwrap().starts_with("it has `sentence`"), "{error:?}");
        assert!(of(json!({"question": "a", "answerable": false, "answer": "b"})).unwrap().answers.is_empty());
        let error = of(json!({"text": " "})).unwrap_err();
        assert_eq!((&*error.to_string(), error.advice().is_some()), ("`text` is empty", true));
        assert_eq!(of(json!({"input": null})).unwrap_err().to_string(), "`input` is no text");
        assert!(of(json!(["input"])).is_err());
        assert!(of(json!({"input": "a", "answers": [["b"]]})).unwrap_err().to_string().contains("`answers`"));
    }

    #[test]
    fn other_names_are_told_once_and_have_to_be_there() {
        let columns = Columns { input: Some("en".into()), answer: Some("de".into()) };
        let example = Example::of(json!({"en": "a", "de": "b"}), 1, &columns).unwrap();
        assert_eq!((&*example.input, example.output()), ("a", Some("b")));
        let error = Example::of(json!({"en": "a"}), 1, &columns).unwrap_err();
        assert_eq!(error.to_string(), "no `de` in it");
        assert!(!example.asked(&columns).contains_key("de"));
    }

    #[test]
    fn what_is_asked_never_holds_the_answer_and_what_is_shown_does() {
        let row = json!({"text": "a", "label": 1, "label_text": "one", "topic": "t", "assert": [{"type": "is-json"}]});
        let example = of(row).unwrap();
        let asked: Vec<String> = example.asked(&Columns::default()).keys().cloned().collect();
        assert_eq!(asked, ["text", "topic", "input", "question"]);
        assert_eq!(example.shown()["output"], "one");
        assert!(!example.shown().contains_key("assert"));
    }

    #[test]
    fn splits_and_limits_choose_rows_and_a_split_that_is_not_there_is_answered_with_those_that_are() {
        let text = "{\"input\":\"a\",\"split\":\"train\"}\n{\"input\":\"b\",\"split\":\"test\"}\n{\"input\":\"c\",\"split\":\"train\"}\n";
        let rows = |split: &str, limit| Rows { split: Some(split.to_owned()), limit };
        let inputs = |rows: &Rows| -> Vec<String> {
            read(text, &Columns::default(), rows).unwrap().into_iter().map(|row| row.input).collect()
        };
        assert_eq!(inputs(&rows("train", None)), ["a", "c"]);
        assert_eq!(inputs(&rows("train", Some(1))), ["a"]);
        assert_eq!(inputs(&Rows::default()).len(), 3);
        let error = read(text, &Columns::default(), &rows("dev", None)).unwrap_err();
        assert_eq!(error.advice(), Some("its rows say: `test` (1 rows), `train` (2 rows)"));
    }

    #[test]
    fn a_bad_line_is_named() {
        let complaint =
            |text: &str| read(text, &Columns::default(), &Rows::default()).unwrap_err().to_string();
        assert!(complaint("{\"input\":\"a\"}\nnonsense\n").contains("line 2: "));
        assert!(complaint("{\"input\":\"a\"}\n{\"answer\":\"a\"}\n").contains("line 2: no `input`"));
        assert!(complaint("\n").contains("is empty"));
    }

    #[test]
    fn classes_are_the_distinct_first_answers() {
        let rows = ["b", "a", "b"].map(|label| of(json!({"input": label, "label": label})).unwrap());
        assert_eq!(labels(&rows), ["a", "b"]);
    }
}
