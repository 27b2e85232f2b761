//! The rows that all rungs learn from and are asked: drawn once, looked at, and kept beside the results.
//!
//! Which of a file's rows are taken is decided by the seed and the file alone, so a comparison that is gone on with asks the
//! same. Rows keep their fields; `input`, and what is right under `answers` (for classes: `label`, and `word`, as a model says
//! it), are written over them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Value, json};

use super::task::Comparison;
use crate::classify::label::{self, Label};
use crate::error::{Error, Result};
use crate::experiment::spec::{Data, Labels};
use crate::experiment::task::Task;
use crate::files;
use crate::random::SplitMix;
use crate::text::example::{self, Example, Rows};
use crate::text::records::Source;

/// Rows on the disk, and what there is to say of them.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub train: PathBuf,
    pub test: PathBuf,
    /// Rows in each.
    pub rows: usize,
    pub asked: usize,
    /// Empty unless the task is to choose one.
    pub labels: Vec<Label>,
    /// Of the training rows as they are kept: what was trained on others is trained again.
    pub hash: String,
    pub remarks: Vec<Remark>,
}

/// What a careful person would want to know of the rows before believing a figure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "about")]
pub enum Remark {
    /// Texts of the test rows that are among the training rows.
    Duplicates { rows: usize },
    /// A class with few training rows.
    Rare { class: String, rows: usize, of: usize },
    /// A class that no test row is of.
    Unasked { class: String },
    /// Who judges, having learned from judgements of so many prompts.
    Judge { prompts: usize },
}

impl Snapshot {
    /// Draws the rows of `task` into the folder `dir`.
    ///
    /// # Errors
    /// What is wrong with a row, by file and line; `Invalid` for classes that are no choice, or that training lacks.
    pub fn take(task: &Comparison, dir: &Path) -> Result<Self> {
        let (train, test) = (drawn(&task.train, task.seed)?, drawn(&task.test, task.seed)?);
        answered(&task.train, &train)?;
        answered(&task.test, &test)?;
        let labels = labels(task, &train, &test)?;
        let [kept_train, kept_test] = [(&train, "train.jsonl"), (&test, "test.jsonl")].map(
            |(rows, name)| -> Result<(PathBuf, String)> {
                let path = dir.join(name);
                let lines: String =
                    rows.iter().map(|row| format!("{}\n", kept(row, &labels, &task.values))).collect();
                files::replace(&path, lines.as_bytes())?;
                Ok((path, blake3::hash(lines.as_bytes()).to_hex()[..16].to_owned()))
            },
        );
        let ((train_file, hash), (test_file, _)) = (kept_train?, kept_test?);
        Ok(Self {
            train: train_file,
            test: test_file,
            rows: train.len(),
            asked: test.len(),
            remarks: remarks(&train, &test, &labels),
            labels,
            hash,
        })
    }

    /// The rows of `file` as an experiment reads them.
    pub fn data(file: &Path, task: Task) -> Data {
        let answer = if task == Task::Classify { "label" } else { "answers" };
        let (input, answer) = (Some("input".to_owned()), Some(answer.to_owned()));
        Data { file: file.to_owned(), split: None, limit: None, input, answer }
    }
}

/// So many rows as are asked for, by chance, in an order of chance.
fn drawn(data: &Data, seed: u64) -> Result<Vec<Example>> {
    let rows = Rows { split: data.split.clone(), limit: None };
    let mut examples = Example::all(&Source::read(&data.file)?, &data.columns(), &rows)?;
    let mut ids = BTreeSet::new();
    if let Some(row) = examples.iter().find(|row| !ids.insert(row.id.clone())) {
        return Err(Error::invalid(format!(
            "two rows of `{}` have the id `{}`",
            data.file.display(),
            row.id
        ))
        .hint("every id stands for one row"));
    }
    SplitMix::new(seed, ROWS).shuffle(&mut examples);
    examples.truncate(data.limit.unwrap_or(usize::MAX));
    Ok(examples)
}

/// Keeps the drawing of rows apart from other uses of one seed.
const ROWS: u64 = 0x726f_7773;

fn answered(data: &Data, rows: &[Example]) -> Result<()> {
    match rows.iter().find(|row| row.answers.is_empty()) {
        Some(row) => Err(Error::invalid(format!(
            "`{}` row {}: nothing says what is right",
            data.file.display(),
            row.id
        ))
        .hint("give it a `label`, an `output` or `answers`; `answer = \"FIELD\"` names another field")),
        None => Ok(()),
    }
}

fn labels(task: &Comparison, train: &[Example], test: &[Example]) -> Result<Vec<Label>> {
    if task.task != Task::Classify {
        return Ok(Vec::new());
    }
    let labels: Vec<Label> = match &task.labels {
        Labels::Worded(words) => words.iter().map(|(class, word)| Label::new(class, word)).collect(),
        Labels::Listed(classes) if !classes.is_empty() => {
            classes.iter().map(|class| Label::plain(class)).collect()
        }
        Labels::Listed(_) => example::labels(train).iter().map(|class| Label::plain(class)).collect(),
    };
    label::check(&labels).map_err(|error| error.within(task.train.file.display()))?;
    label::check_rows(&labels, "training rows", train)?;
    let known: BTreeSet<&str> = train.iter().filter_map(Example::output).collect();
    let strange = test.iter().find(|row| row.answers.iter().all(|answer| !known.contains(answer.as_str())));
    if let Some(row) = strange {
        return Err(Error::invalid(format!(
            "`{}` row {} is of the class `{}`, which no training row is of",
            task.test.file.display(),
            row.id,
            row.output().unwrap_or_default()
        ))
        .hint("no rung could learn it: give training rows of it (a higher `limit`), or leave those test rows out"));
    }
    if let Some(label) = labels.iter().find(|label| !known.contains(label.class.as_str())) {
        return Err(Error::invalid(format!("no training row is of the class `{}`", label.class))
            .hint("give some, or leave it out of `labels`"));
    }
    Ok(labels)
}

fn kept(row: &Example, labels: &[Label], values: &BTreeMap<String, toml::Value>) -> Value {
    let mut fields = row.fields.clone();
    for (name, value) in values {
        fields.entry(name.clone()).or_insert_with(|| serde_json::to_value(value).unwrap_or_default());
    }
    for name in example::ANSWERS {
        fields.shift_remove(name);
    }
    fields.insert("id".to_owned(), row.id.clone().into());
    fields.insert("input".to_owned(), row.input.clone().into());
    match labels.iter().find(|label| row.answers.contains(&label.class)) {
        Some(label) => {
            fields.insert("label".to_owned(), label.class.clone().into());
            fields.insert("word".to_owned(), label.word.clone().into());
        }
        None => drop(fields.insert("answers".to_owned(), json!(row.answers))),
    }
    Value::Object(fields)
}

fn remarks(train: &[Example], test: &[Example], labels: &[Label]) -> Vec<Remark> {
    let mut remarks = Vec::new();
    let known: BTreeSet<&str> = train.iter().map(|row| row.input.trim()).collect();
    let rows = test.iter().filter(|row| known.contains(row.input.trim())).count();
    if rows > 0 {
        remarks.push(Remark::Duplicates { rows });
    }
    let count = |rows: &[Example]| {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for row in rows {
            *counts.entry(row.output().unwrap_or_default().to_owned()).or_default() += 1;
        }
        counts
    };
    let (learned, asked) = (count(train), count(test));
    let most = learned.values().max().copied().unwrap_or(0);
    for Label { class, .. } in labels {
        let rows = learned.get(class).copied().unwrap_or(0);
        if label::is_rare(rows, most) {
            remarks.push(Remark::Rare { class: class.clone(), rows, of: train.len() });
        }
        if !asked.contains_key(class) {
            remarks.push(Remark::Unasked { class: class.clone() });
        }
    }
    remarks
}

impl std::fmt::Display for Remark {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Self::Duplicates { rows: 1 } => f.write_str(
                "the text of 1 test row is among the training rows: trained rungs may know it by heart",
            ),
            Self::Duplicates { rows } => write!(
                f,
                "the texts of {rows} test rows are among the training rows: trained rungs may know them by heart"
            ),
            Self::Rare { class, rows, of } => {
                write!(f, "`{class}` has {rows} of {of} training rows: accuracy hardly sees how it is told")
            }
            Self::Unasked { class } => write!(f, "no test row is of the class `{class}`"),
            Self::Judge { prompts } => write!(
                f,
                "`win rate` is what a reward model says that learned from judgements of {prompts} prompts, none of which a rung learned \
                 from: it is no person"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(dir: &Path, train: &[(&str, &str)], test: &[(&str, &str)], more: &str) -> Comparison {
        for (name, rows) in [("train", train), ("test", test)] {
            let lines: String = rows
                .iter()
                .map(|(text, label)| format!("{}\n", json!({"text": text, "label": label, "n": 1})))
                .collect();
            std::fs::write(dir.join(format!("{name}.txt")), lines).unwrap();
        }
        let text = format!(
            "task = \"classify\"\n{more}\n[train]\nfile = \"train.txt\"\n[test]\nfile = \"test.txt\"\n"
        );
        std::fs::write(dir.join("task.toml"), text).unwrap();
        Comparison::read(&dir.join("task.toml")).unwrap()
    }

    #[test]
    fn rows_are_drawn_the_same_way_again_and_keep_their_fields() {
        let dir = tempfile::tempdir().unwrap();
        let rows: Vec<(String, &str)> =
            (0..40).map(|n| (format!("text {n}"), if n % 2 == 0 { "P" } else { "N" })).collect();
        let rows: Vec<(&str, &str)> = rows.iter().map(|(text, label)| (text.as_str(), *label)).collect();
        let mut task =
            task(dir.path(), &rows[..30], &rows[30..], "labels = { P = \"positive\", N = \"negative\" }");
        task.train.limit = Some(12);
        let first = Snapshot::take(&task, dir.path()).unwrap();
        let text = std::fs::read_to_string(&first.train).unwrap();
        assert_eq!((text.lines().count(), first.rows, first.asked), (12, 12, 10));
        let line: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!(line["n"], 1);
        assert!(line["word"] == "positive" && line["label"] == "P" || line["word"] == "negative");
        assert_ne!(line["input"], "text 0", "drawn by chance");
        assert_eq!(Snapshot::take(&task, dir.path()).unwrap().hash, first.hash);
        task.seed = 1;
        assert_ne!(Snapshot::take(&task, dir.path()).unwrap().hash, first.hash);
    }

    #[test]
    fn what_would_mislead_is_said_and_what_cannot_be_learned_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mut train: Vec<(&str, &str)> = vec![("good", "P"); 1];
        train.extend([("bad", "N"); 10]);
        let taken = |train: &[(&str, &str)], test: &[(&str, &str)]| {
            Snapshot::take(&task(dir.path(), train, test, ""), dir.path())
        };
        let remarks = taken(&train, &[("bad ", "N"), ("new", "N")]).unwrap().remarks;
        assert_eq!(
            remarks,
            [
                Remark::Duplicates { rows: 1 },
                Remark::Rare { class: "P".into(), rows: 1, of: 11 },
                Remark::Unasked { class: "P".into() },
            ]
        );
        for (train, test, what) in [
            (&train[1..], &[("x", "N")][..], "is no choice"),
            (&train[..], &[("x", "Q")][..], "which no training row is of"),
        ] {
            let error = taken(train, test).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        }
    }
}
