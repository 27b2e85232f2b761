//! Answers that somebody compared, as the rungs that learn from them want them: prompts laid out as they will be asked.
//!
//! ```text
//! preferences, by their prompts -+- one half: sft.jsonl, preferences.jsonl, prompts.jsonl     what rungs learn from
//!                                `- the other: judge.jsonl                                    what judges them all
//! ```
//!
//! Whoever is judged by the model that taught it is praised for what that model gets wrong; hence the halves.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::task::Comparison;
use crate::error::{Error, Result};
use crate::experiment::spec::Data;
use crate::files;
use crate::prompt::Template;
use crate::prompt::budget::{Contents, Window, fit};
use crate::random::SplitMix;
use crate::text::layout::Layout;
use crate::text::records::Source;

/// Keeps the halving apart from other uses of one seed.
const HALVES: u64 = 0x6861_6c76_6573;

/// Files beside the results.
#[derive(Debug, Clone)]
pub struct Judged {
    /// The best answer to each prompt, each answer that is better than another, and the prompts alone.
    pub sft: PathBuf,
    pub preferences: PathBuf,
    pub prompts: PathBuf,
    pub judge: PathBuf,
    /// Prompts of each half.
    pub learned: usize,
    pub judging: usize,
    /// Prompts stand as they are, without the model's chat layout.
    pub plain: bool,
    /// Of all of them.
    pub hash: String,
}

/// A line: what was asked, and answers, the best first.
struct Line {
    prompt: String,
    answers: Vec<String>,
}

impl Judged {
    /// Halves the preferences of `task` into the folder `dir`; `template` lays prompts out.
    ///
    /// # Errors
    /// What is wrong with a row, by file and line; `Invalid` for fewer than two prompts.
    pub fn take(data: &Data, task: &Comparison, template: &Template, dir: &Path) -> Result<Self> {
        let mut by_prompt: BTreeMap<String, Vec<Line>> = BTreeMap::new();
        for line in lines(data)? {
            by_prompt.entry(line.prompt.clone()).or_default().push(line);
        }
        let mut groups: Vec<(String, Vec<Line>)> = by_prompt.into_iter().collect();
        if groups.len() < 2 {
            return Err(Error::invalid(format!(
                "`{}` has judgements of {} prompts: one half is to teach the rungs, the other to judge them",
                data.file.display(),
                groups.len()
            ))
            .hint("give judgements of more prompts"));
        }
        SplitMix::new(task.seed, HALVES).shuffle(&mut groups);
        let judging = groups.split_off(groups.len().div_ceil(2));
        let mut files: [(&str, String); 4] = [
            ("sft.jsonl", String::new()),
            ("preferences.jsonl", String::new()),
            ("prompts.jsonl", String::new()),
            ("judge.jsonl", String::new()),
        ];
        for (prompt, lines) in &groups {
            let asked = laid_out(template, prompt, task)?;
            let mut put = |file: usize, line: Value| files[file].1 += &format!("{line}\n");
            put(0, json!({ "prompt": asked, "completion": lines[0].answers[0] }));
            put(2, json!({ "prompt": asked }));
            for line in lines {
                put(1, json!({ "prompt": asked, "responses": line.answers }));
            }
        }
        for line in judging.iter().flat_map(|(_, lines)| lines) {
            files[3].1 += &format!("{}\n", json!({ "prompt": line.prompt, "responses": line.answers }));
        }
        let mut hasher = blake3::Hasher::new();
        let mut put = |(name, text): &(&str, String)| -> Result<PathBuf> {
            let path = dir.join(name);
            hasher.update(text.as_bytes());
            files::replace(&path, text.as_bytes())?;
            Ok(path)
        };
        let [sft, preferences, prompts, judge] = &files;
        Ok(Self {
            sft: put(sft)?,
            preferences: put(preferences)?,
            prompts: put(prompts)?,
            judge: put(judge)?,
            learned: groups.len(),
            judging: judging.len(),
            plain: !template.is_chat(),
            hash: hasher.finalize().to_hex()[..16].to_owned(),
        })
    }
}

fn lines(data: &Data) -> Result<Vec<Line>> {
    let source = Source::read(&data.file)?;
    let mut lines = Vec::new();
    for (number, row) in source.json_lines::<Value>()? {
        if data.split.as_deref().is_some_and(|split| row["split"] != split) {
            continue;
        }
        if data.limit.is_some_and(|most| lines.len() >= most) {
            break;
        }
        let line = line(&row).ok_or_else(|| {
            source.at(number, Error::invalid("no judgement in it")).hint(
                "texts under `prompt`, `chosen` and `rejected`, or `prompt` and `responses`, the best first",
            )
        })?;
        lines.push(line);
    }
    Ok(lines)
}

fn line(row: &Value) -> Option<Line> {
    let text = |name: &str| row.get(name)?.as_str().map(str::to_owned);
    let prompt = text("prompt")?;
    let answers = match row.get("responses") {
        Some(list) => {
            list.as_array()?.iter().map(|one| one.as_str().map(str::to_owned)).collect::<Option<_>>()?
        }
        None => vec![text("chosen")?, text("rejected")?],
    };
    (answers.len() > 1).then_some(Line { prompt, answers })
}

/// The prompt as a rung is asked it: turns, or a text.
fn laid_out(template: &Template, prompt: &str, task: &Comparison) -> Result<Value> {
    let mut values = Map::new();
    for (name, value) in &task.values {
        values.insert(name.clone(), serde_json::to_value(value).unwrap_or_default());
    }
    values.insert("input".to_owned(), prompt.into());
    let window = Window { size: usize::MAX, completion: 0 };
    let fitted = fit(template, &Contents::of(&values), window, &|_| Ok(0))?;
    Ok(match fitted.prompt.layout {
        Layout::Chat(turns) => json!(turns),
        Layout::Text(text) => text.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prompt::Library;

    #[test]
    fn prompts_are_halved_whole_and_laid_out_as_they_are_asked() {
        let dir = tempfile::tempdir().unwrap();
        let rows: String = (0..20)
            .map(|n| format!("{}\n", json!({ "prompt": format!("why {}?", n / 2), "chosen": "so", "rejected": n.to_string(), "split": "a" })))
            .collect();
        std::fs::write(dir.path().join("p.jsonl"), rows + "{\"split\": \"b\"}\n").unwrap();
        let text = "task = \"generate\"\n[train]\nfile = \"t\"\n[test]\nfile = \"t\"\n[preferences]\nfile = \"p.jsonl\"\nsplit = \"a\"\n";
        std::fs::write(dir.path().join("task.toml"), text).unwrap();
        let task = Comparison::read(&dir.path().join("task.toml")).unwrap();
        let mut data = task.preferences.clone().unwrap();
        let taken = |template: &str, data: &Data| {
            let template = Library::new([]).load(template).unwrap();
            Judged::take(data, &task, &template, dir.path())
        };
        let judged = taken("generate/chat", &data).unwrap();
        assert_eq!((judged.learned, judged.judging, judged.plain), (5, 5, false));
        let read = |path: &Path| -> Vec<Value> {
            let text = std::fs::read_to_string(path).unwrap();
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
        };
        assert_eq!((read(&judged.sft).len(), read(&judged.preferences).len()), (5, 10));
        let turns = read(&judged.prompts)[0]["prompt"].clone();
        assert_eq!((&turns[0]["role"], &turns[1]["role"]), (&json!("system"), &json!("user")));
        let asked = turns[1]["content"].as_str().unwrap();
        assert!(read(&judged.judge).iter().all(|row| row["prompt"] != asked), "whoever judges saw others");
        let plain = taken("generate/plain", &data).unwrap();
        assert!(plain.plain && read(&plain.prompts)[0]["prompt"].is_string() && plain.hash != judged.hash);
        data.split = None;
        let error = taken("generate/chat", &data).unwrap_err().to_string();
        assert!(error.contains("line 21") && error.contains("no judgement"), "{error}");
    }
}
