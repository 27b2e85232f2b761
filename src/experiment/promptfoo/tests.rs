//! Tests -> rows: vars as texts, every combination of lists, and what has to hold.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value};

use super::asserts;
use super::template::{self, Piece};
use super::{check, file, table, yaml};
use crate::error::{Error, Result};

/// A row to be.
pub(super) struct Test {
    pub id: String,
    pub vars: BTreeMap<String, String>,
    pub asserts: Vec<Value>,
}

#[derive(Default)]
pub(super) struct Tests {
    pub rows: Vec<Test>,
    /// What has to hold of every row alike.
    pub asserts: Vec<Value>,
    /// Who grades.
    pub judge: Option<String>,
    pub is_graded: bool,
}

const IDLE: &[&str] = &["metadata"];

pub(super) fn read(
    value: Option<&Value>,
    default: Option<&Value>,
    base: &Path,
    notes: &mut Vec<String>,
) -> Result<Tests> {
    let empty = Map::new();
    let default = default.map_or(Ok(&empty), |default| table(default, "defaultTest"))?;
    check(default, "defaultTest", &["vars", "assert", "options"], &["metadata", "description"], notes)?;
    let mut tests = Tests::default();
    tests.options(default, "defaultTest")?;
    let (each, all): (Vec<Placed>, Vec<Placed>) = list(default.get("assert"), "defaultTest")?
        .into_iter()
        .partition(|(_, assert)| asserts::has_vars(assert));
    for (place, assert) in &all {
        let assert = tests.assert(assert, place, &BTreeMap::new(), notes)?;
        tests.asserts.push(assert);
    }
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for (number, test) in (1..).zip(listed(value, base)?) {
        let place = format!("test {number}");
        let test = table(&test, &place)?;
        check(test, &place, &["vars", "assert", "description", "options"], IDLE, notes)?;
        tests.options(test, &place)?;
        let mut vars = Map::new();
        for of in [default, test] {
            vars.extend(of.get("vars").map_or(Ok(empty.clone()), |vars| table(vars, &place).cloned())?);
        }
        let name = test.get("description").and_then(Value::as_str).map_or(number.to_string(), str::to_owned);
        let own = list(test.get("assert"), &place)?;
        for vars in combinations(&vars, base, &place)? {
            let mut asserts = Vec::new();
            for (place, assert) in each.iter().chain(&own) {
                asserts.push(tests.assert(assert, place, &vars, notes)?);
            }
            let times = seen.entry(name.clone()).or_default();
            *times += 1;
            let id = if *times == 1 { name.clone() } else { format!("{name} ({times})") };
            tests.rows.push(Test { id, vars, asserts });
        }
    }
    Ok(tests)
}

impl Tests {
    fn assert(
        &mut self,
        assert: &Value,
        place: &str,
        vars: &BTreeMap<String, String>,
        notes: &mut Vec<String>,
    ) -> Result<Value> {
        let read = asserts::read(assert, place, vars, notes)?;
        self.is_graded |= read.is_graded;
        self.grader(read.judge, place)?;
        Ok(read.assert)
    }

    /// Of a test's options only who grades.
    fn options(&mut self, test: &Map<String, Value>, place: &str) -> Result<()> {
        let Some(options) = test.get("options").filter(|options| !options.is_null()) else { return Ok(()) };
        let options = table(options, place)?;
        check(options, &format!("{place}, options"), &["provider"], &[], &mut Vec::new())?;
        let judge = options.get("provider").map(|provider| asserts::judge(provider, place)).transpose()?;
        self.grader(judge, place)
    }

    fn grader(&mut self, judge: Option<String>, place: &str) -> Result<()> {
        match (&self.judge, judge) {
            (Some(known), Some(judge)) if *known != judge => {
                Err(Error::invalid(format!("{place}: `{judge}` is to grade, and before it `{known}` was"))
                    .hint("an experiment has one judge"))
            }
            (None, judge @ Some(_)) => {
                self.judge = judge;
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// An assertion, and where it stands.
type Placed = (String, Value);

fn list(value: Option<&Value>, place: &str) -> Result<Vec<Placed>> {
    let placed = |(at, assert): (usize, &Value)| (format!("{place}, assertion {at}"), assert.clone());
    match value {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(all)) => Ok((1..).zip(all).map(placed).collect()),
        _ => Err(Error::invalid(format!("{place}: `assert` is no list"))),
    }
}

/// The tests themselves, those of files in their places; one without vars where there are none.
fn listed(value: Option<&Value>, base: &Path) -> Result<Vec<Value>> {
    let all = match value {
        None => return Ok(vec![Value::Object(Map::new())]),
        Some(Value::Array(all)) => all.clone(),
        Some(one) => vec![one.clone()],
    };
    let mut tests = Vec::new();
    for test in all {
        match test.as_str() {
            Some(name) => tests.extend(of_file(name, base)?),
            None => tests.push(test),
        }
    }
    match tests.is_empty() {
        true => Err(Error::invalid("`tests` has no test")),
        false => Ok(tests),
    }
}

fn of_file(name: &str, base: &Path) -> Result<Vec<Value>> {
    let place = format!("tests of `{name}`");
    let text = || file(name, base, &place);
    let list = |value: Value| match value {
        Value::Array(all) => all,
        one => vec![one],
    };
    match name.rsplit_once('.').map_or("", |(_, ending)| ending) {
        "csv" => rows(&text()?, &place),
        "jsonl" => {
            let text = text()?;
            let lines = text.lines().filter(|line| !line.trim().is_empty());
            let read = |line| serde_json::from_str(line);
            lines
                .map(read)
                .collect::<Result<_, _>>()
                .map_err(|error| Error::invalid(format!("{place}: {error}")))
        }
        "yaml" | "yml" | "json" => Ok(list(yaml(&text()?).map_err(|error| error.within(&place))?)),
        _ => Err(Error::invalid(format!("{place}: no file of a kind that is supported"))
            .hint("there are: csv, jsonl, yaml, json")),
    }
}

/// A table: columns are vars, but for `__expected` (also with a number) and `__description`.
fn rows(text: &str, place: &str) -> Result<Vec<Value>> {
    let mut reader = csv_core::Reader::new();
    let mut bytes = text.trim_start_matches('\u{feff}').as_bytes();
    let (mut field, mut record, mut all) = (Vec::new(), Vec::new(), Vec::new());
    let mut buffer = [0; 1024];
    loop {
        let (result, read, written) = reader.read_field(bytes, &mut buffer);
        bytes = &bytes[read..];
        field.extend_from_slice(&buffer[..written]);
        match result {
            csv_core::ReadFieldResult::Field { record_end } => {
                record.push(String::from_utf8_lossy(&std::mem::take(&mut field)).into_owned());
                if record_end {
                    all.push(std::mem::take(&mut record));
                }
            }
            csv_core::ReadFieldResult::End => break,
            csv_core::ReadFieldResult::InputEmpty | csv_core::ReadFieldResult::OutputFull => {}
        }
    }
    let mut records = all.into_iter();
    let header = records.next().unwrap_or_default();
    records.map(|record| row(&header, record, place)).collect()
}

fn row(header: &[String], record: Vec<String>, place: &str) -> Result<Value> {
    let (mut vars, mut test, mut asserts) = (Map::new(), Map::new(), Vec::new());
    for (name, cell) in header.iter().map(|name| name.trim()).zip(record) {
        match name.strip_prefix("__") {
            Some(special) if special.trim_end_matches(|c: char| c.is_ascii_digit()) == "expected" => {
                asserts.extend(Some(cell.trim()).filter(|cell| !cell.is_empty()).map(asserts::of_cell));
            }
            Some("description") => {
                test.insert("description".to_owned(), cell.into());
            }
            Some(_) if cell.trim().is_empty() => {}
            Some(_) => {
                return Err(Error::invalid(format!("{place}: the column `{name}` is not supported"))
                    .hint("there are: `__expected`, `__expected1` and so on, `__description`"));
            }
            None => {
                vars.insert(name.to_owned(), cell.into());
            }
        }
    }
    test.insert("vars".to_owned(), vars.into());
    test.insert("assert".to_owned(), asserts.into());
    Ok(test.into())
}

/// Vars as texts, once for every combination of those that are lists of texts.
fn combinations(
    vars: &Map<String, Value>,
    base: &Path,
    place: &str,
) -> Result<Vec<BTreeMap<String, String>>> {
    let mut all: Vec<BTreeMap<String, String>> = vec![BTreeMap::new()];
    for (name, value) in vars {
        let place = format!("{place}, var `{name}`");
        let values = match value {
            Value::Array(values) if values.first().is_some_and(Value::is_string) => values.clone(),
            one => vec![one.clone()],
        };
        let texts = values.iter().map(|value| text(value, base, &place)).collect::<Result<Vec<_>>>()?;
        let with = |of: BTreeMap<String, String>| {
            let name = name.clone();
            texts.clone().into_iter().map(move |text| {
                let mut more = of.clone();
                more.insert(name.clone(), text);
                more
            })
        };
        all = all.into_iter().flat_map(with).collect();
    }
    for vars in &mut all {
        resolve(vars, place)?;
    }
    Ok(all)
}

/// As a template writes it in JavaScript.
fn text(value: &Value, base: &Path, place: &str) -> Result<String> {
    const OTHERS: [&str; 11] = ["js", "cjs", "mjs", "ts", "py", "yaml", "yml", "pdf", "png", "jpg", "jpeg"];
    Ok(match value {
        Value::String(name) if name.starts_with("file://") => {
            if OTHERS.iter().any(|ending| name.ends_with(&format!(".{ending}"))) {
                return Err(Error::invalid(format!("{place}: `{name}` is no file of text"))
                    .hint("files of text are read; write anything else as a text"));
            }
            file(name, base, place)?.trim().to_owned()
        }
        Value::String(text) => text.strip_suffix('\n').unwrap_or(text).to_owned(),
        Value::Number(number) if number.is_f64() => number.as_f64().unwrap_or_default().to_string(),
        Value::Number(_) | Value::Bool(_) => value.to_string(),
        Value::Null => String::new(),
        _ => {
            return Err(Error::invalid(format!("{place}: is neither a text nor a list of texts"))
                .hint("templates would write a table as [object Object]: give each of its fields a var"));
        }
    })
}

/// Vars that name other vars get their texts.
fn resolve(vars: &mut BTreeMap<String, String>, place: &str) -> Result<()> {
    let before = vars.clone();
    for (name, text) in vars.iter_mut().filter(|(_, text)| text.contains("{{") || text.contains("{%")) {
        let pieces = template::read(text).map_err(|error| error.within(format!("{place}, var `{name}`")))?;
        if pieces.iter().any(|piece| matches!(piece, Piece::Var(_))) {
            *text = template::fill(&pieces, &before);
        }
    }
    Ok(())
}
