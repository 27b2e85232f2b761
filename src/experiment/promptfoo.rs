//! A configuration of promptfoo -> an experiment: as much of it as asks chat models and holds answers against assertions.
//!
//! ```text
//! promptfooconfig.yaml -> prompts, providers, tests -> NAME.toml   NAME.jsonl   prompts/*.j2
//! ```
//!
//! Read strictly: a key that changes no answer and no verdict is passed over with a note; any other that we do not have is
//! refused by name and place, because an experiment that looks the same and measures something else is worse than none.

mod asserts;
mod prompts;
mod providers;
mod template;
mod tests;

use std::collections::BTreeSet;
use std::path::Path;

use serde::Serialize;
use serde_json::{Map, Value, json};

use self::tests::Test;
use super::spec::Experiment;
use crate::error::{Error, IoContext, Result};
use crate::eval::assertion::Assertion;
use crate::files;
use crate::prompt::Template;
use crate::text::example::ASSERT;

/// An experiment that was made of a configuration, to be written.
#[derive(Debug)]
pub struct Imported {
    pub name: String,
    /// The text of `NAME.toml`.
    pub experiment: String,
    /// The lines of `NAME.jsonl`.
    pub rows: Vec<Value>,
    /// Files in `prompts/`, and what they say.
    pub prompts: Vec<(String, String)>,
    /// What was passed over, and what was chosen for want of a word.
    pub notes: Vec<String>,
}

/// Fields of a row that mean something of their own, and names that templates know already.
const RESERVED: [&str; 15] = [
    "id",
    "_id",
    ASSERT,
    "split",
    "answers",
    "answer",
    "output",
    "label_text",
    "label",
    "labels",
    "answerable",
    "is_impossible",
    "demos",
    "passages",
    "history",
];
/// What a row's input may be called without being renamed, best first.
const INPUTS: [&str; 2] = ["question", "input"];

/// Keys of the file that change neither answers nor verdicts.
const IDLE: &[&str] = &[
    "$schema",
    "commandLineOptions",
    "derivedMetrics",
    "env",
    "metadata",
    "outputPath",
    "sharing",
    "tags",
    "writeLatestResults",
];

/// Reads a configuration, with the files it names.
///
/// # Errors
/// `Invalid` naming the place of what is wrong or not supported, `Io` for a file that cannot be read.
pub fn read(path: &Path) -> Result<Imported> {
    let text = std::fs::read_to_string(path).at("read", path)?;
    let name = path.file_stem().map_or("promptfoo".into(), |stem| stem.to_string_lossy().into_owned());
    let base = path.parent().unwrap_or(Path::new(""));
    import(&name, &text, base).map_err(|error| error.within(format!("`{}`", path.display())))
}

fn import(name: &str, text: &str, base: &Path) -> Result<Imported> {
    let Value::Object(file) = yaml(text)? else {
        return Err(Error::invalid("is no table of `prompts`, `providers` and `tests`"));
    };
    let mut notes = Vec::new();
    let taken = ["description", "prompts", "providers", "targets", "tests", "defaultTest", "evaluateOptions"];
    check(&file, "the file", &taken, IDLE, &mut notes)?;
    let value = |key: &str| file.get(key).filter(|value| !value.is_null());
    let prompts = prompts::read(value("prompts"), base)?;
    let providers = providers::read(value("providers").or(value("targets")), &mut notes)?;
    let tests = tests::read(value("tests"), value("defaultTest"), base, &mut notes)?;
    let used: Vec<String> = prompts::used(&prompts);
    let columns = Columns::choose(&used, &tests.rows);
    if let Some(renamed) = columns.renamed() {
        notes.push(renamed);
    }
    for var in &used {
        let lacks = tests.rows.iter().filter(|test| !test.vars.contains_key(var)).count();
        if lacks > 0 {
            notes.push(format!("{lacks} tests have no var `{var}`: it is empty there, as in promptfoo"));
        }
    }
    let rows: Vec<Value> = tests.rows.iter().map(|test| columns.row(test, &used)).collect();
    let files: Vec<(String, String)> =
        (1..).zip(&prompts).map(|(n, prompt)| (format!("prompt-{n}.j2"), prompt.file(n, &columns))).collect();
    for (file, source) in &files {
        Template::parse(file, source, &|name| Err(Error::not_found(format!("no file `{name}`"))))?;
    }
    let judge = match tests.judge {
        None if tests.is_graded => {
            notes.push(format!(
                "no grader is named for `llm-rubric`: `{}` grades; `judge` under `[run]` names another",
                providers.models[0]
            ));
            Some(providers.models[0].clone())
        }
        judge => judge,
    };
    let mut run = Map::new();
    run.insert("max_tokens".into(), providers.max_tokens.into());
    run.insert("temperature".into(), providers.temperature.into());
    run.extend(judge.map(|judge| ("judge".to_owned(), Value::from(judge))));
    run.extend(options(value("evaluateOptions"), &mut notes)?);
    let named = (files.iter())
        .zip(&prompts)
        .map(|((file, _), prompt)| json!({ "template": format!("prompts/{file}"), "name": prompt.name }));
    let description = match value("description") {
        Some(Value::String(text)) => Some(text.clone()),
        _ => None,
    };
    let experiment = File {
        name,
        description,
        task: "generate",
        data: json!({ "file": format!("{name}.jsonl"), "input": columns.input }),
        matrix: json!({ "prompt": named.collect::<Vec<_>>(), "model": providers.models }),
        run: Value::Object(run),
        assert: tests.asserts,
    };
    let experiment = toml::to_string(&experiment)
        .map_err(|error| Error::invalid(format!("the experiment cannot be written: {error}")))?;
    Experiment::parse(&experiment)?;
    let mut told = BTreeSet::new();
    notes.retain(|note| told.insert(note.clone()));
    Ok(Imported { name: name.to_owned(), experiment, rows, prompts: files, notes })
}

/// The experiment's file, as far as a configuration decides on it.
#[derive(Serialize)]
struct File<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    task: &'a str,
    data: Value,
    matrix: Value,
    run: Value,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    assert: Vec<Value>,
}

impl Imported {
    /// The experiment's file in `dir`.
    pub fn file(&self) -> String {
        format!("{}.toml", self.name)
    }

    /// Writes everything into `dir`, made if it is not there.
    ///
    /// # Errors
    /// `Invalid` when there is an experiment already, unless it is to be replaced; `Io` when a file cannot be written.
    pub fn write(&self, dir: &Path, replace: bool) -> Result<()> {
        let file = dir.join(self.file());
        if file.exists() && !replace {
            return Err(Error::invalid(format!("`{}` is there already", file.display()))
                .hint("--replace writes over it; -o names another folder"));
        }
        let prompts = dir.join("prompts");
        std::fs::create_dir_all(&prompts).at("create", &prompts)?;
        for (name, text) in &self.prompts {
            files::replace(&prompts.join(name), text.as_bytes())?;
        }
        let rows: String = self.rows.iter().map(|row| format!("{row}\n")).collect();
        files::replace(&dir.join(format!("{}.jsonl", self.name)), rows.as_bytes())?;
        // Last: whoever sees it sees the whole.
        files::replace(&file, self.experiment.as_bytes())
    }
}

/// What the vars are called in the data.
struct Columns {
    input: String,
    /// Whether no var can be the input, so that a column of our own is.
    own: bool,
    taken: BTreeSet<String>,
}

impl Columns {
    /// The input is the first var that no test leaves empty: what a person tells the rows by.
    fn choose(used: &[String], tests: &[Test]) -> Self {
        let whole = |name: &&str| {
            let filled = |test: &Test| test.vars.get(*name).is_some_and(|text| !text.trim().is_empty());
            used.iter().any(|var| var == name) && !RESERVED.contains(name) && tests.iter().all(filled)
        };
        let input = INPUTS.into_iter().chain(used.iter().map(String::as_str)).find(whole);
        let vars = tests.iter().flat_map(|test| test.vars.keys());
        let taken = vars.chain(used).cloned().collect();
        Self { input: input.unwrap_or("input").to_owned(), own: input.is_none(), taken }
    }

    /// The column of a var.
    fn of(&self, var: &str) -> String {
        let is_input = var == self.input && !self.own;
        if is_input || !(RESERVED.contains(&var) || INPUTS.contains(&var)) {
            return var.to_owned();
        }
        let mut name = format!("{var}_");
        while self.taken.contains(&name) {
            name.push('_');
        }
        name
    }

    fn renamed(&self) -> Option<String> {
        let other = |var: &&String| self.of(var) != **var;
        let renamed: Vec<String> =
            self.taken.iter().filter(other).map(|var| format!("`{var}` is `{}`", self.of(var))).collect();
        let why = "the names mean something else in a row of data";
        (!renamed.is_empty()).then(|| format!("{}: {why}", renamed.join(", ")))
    }

    fn row(&self, test: &Test, used: &[String]) -> Value {
        let mut row = Map::from_iter([("id".to_owned(), Value::from(test.id.clone()))]);
        if self.own {
            row.insert("input".to_owned(), test.id.clone().into());
        }
        for var in used.iter().filter(|var| !test.vars.contains_key(*var)) {
            row.insert(self.of(var), "".into());
        }
        row.extend(test.vars.iter().map(|(var, text)| (self.of(var), text.clone().into())));
        if !test.asserts.is_empty() {
            row.insert(ASSERT.to_owned(), test.asserts.clone().into());
        }
        Value::Object(row)
    }
}

fn options(value: Option<&Value>, notes: &mut Vec<String>) -> Result<Map<String, Value>> {
    let mut run = Map::new();
    let Some(value) = value else { return Ok(run) };
    let options = table(value, "evaluateOptions")?;
    let idle = ["delay", "showProgressBar", "cache", "timeoutMs", "maxEvalTimeMs", "interactiveProviders"];
    check(options, "evaluateOptions", &["maxConcurrency", "repeat"], &idle, notes)?;
    for (theirs, ours) in [("maxConcurrency", "concurrency"), ("repeat", "repeats")] {
        run.extend(options.get(theirs).map(|number| (ours.to_owned(), number.clone())));
    }
    Ok(run)
}

/// YAML as JSON has it.
fn yaml(text: &str) -> Result<Value> {
    let options = serde_saphyr::options! { strict_booleans: true, with_snippet: false };
    serde_saphyr::from_str_with_options(text, options)
        .map_err(|error| Error::invalid(format!("is no YAML that can be read: {error}")))
}

/// Refuses every key of a table but those that are `taken`, or `idle`, which are noted.
fn check(
    table: &Map<String, Value>,
    place: &str,
    taken: &[&str],
    idle: &[&str],
    notes: &mut Vec<String>,
) -> Result<()> {
    for key in table.keys().map(String::as_str) {
        if idle.contains(&key) {
            notes.push(format!("{place}: `{key}` is ignored"));
        } else if !taken.contains(&key) {
            return Err(Error::invalid(format!("{place}: `{key}` is not supported")).hint(format!(
                "take it out if the results hold without it; there are: {}",
                taken.join(", ")
            )));
        }
    }
    Ok(())
}

fn table<'a>(value: &'a Value, place: &str) -> Result<&'a Map<String, Value>> {
    value.as_object().ok_or_else(|| Error::invalid(format!("{place}: is no table")))
}

/// The file that a `file://` names, beside the configuration.
fn file(reference: &str, base: &Path, place: &str) -> Result<String> {
    let path = base.join(reference.trim_start_matches("file://"));
    if reference.contains(['*', '?']) {
        return Err(Error::invalid(format!("{place}: patterns such as `{reference}` are not supported"))
            .hint("name every file"));
    }
    std::fs::read_to_string(&path).at("read", &path).map_err(|error| error.within(place))
}

/// Whether `table` is an assertion that can be checked here.
fn is_assertion(table: &Value) -> Result<(), serde_json::Error> {
    serde_json::from_value::<Assertion>(table.clone()).map(|_| ())
}

#[cfg(test)]
#[path = "promptfoo/import_tests.rs"]
mod import_tests;
