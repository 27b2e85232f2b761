//! A comparison as a file: a task's rows, the ways to compare, what may be spent.
//!
//! ```toml
//! task = "classify"
//! rungs = ["zero-shot", "few-shot", "knn", "features", "encoder lora", "lora"]   # all that suit the task, unless given
//! minutes = 60                        # rungs that would go beyond are left out
//!
//! [train]
//! file = "questions.jsonl"
//! split = "train"
//! limit = 500                         # drawn by chance, by `seed`
//!
//! [test]
//! file = "questions.jsonl"
//! split = "test"
//!
//! [preferences]                       # for the rungs sft, dpo, ppo, grpo and the metric `win rate`
//! file = "preferences.jsonl"
//!
//! [curve]                             # some rungs, with fewer rows to learn from
//! rungs = ["features", "lora"]
//! rows = [50, 150]
//!
//! [options]                           # of `incontext tune`, for a method or for all
//! all = ["--steps", "64"]
//! lora = ["--rank", "4"]
//! ```
//!
//! Read strictly, as an experiment is; paths are meant from the file's folder.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::rung::{self, Rung};
use crate::error::{Error, IoContext, Result};
use crate::experiment::axis::Prompt;
use crate::experiment::metric::Metric;
use crate::experiment::spec::{Data, Labels};
use crate::experiment::task::Task;
use crate::text::toml::from_toml;

/// The file, read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Comparison {
    /// The file's, unless it says another.
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub description: Option<String>,
    pub task: Task,
    pub train: Data,
    pub test: Data,
    /// Answers that somebody compared, which the rungs `sft`, `dpo`, `ppo` and `grpo` learn from; half of them teach the reward
    /// model that judges all rungs.
    #[serde(default)]
    pub preferences: Option<Data>,
    /// The classes; those of the training rows, unless given. A table says in which words a model is to say each.
    #[serde(default)]
    pub labels: Labels,
    /// What rungs are compared by; the first that is usual for the task, unless given.
    #[serde(default)]
    pub metric: Option<Metric>,
    /// Generator, as `--model` has it; the folder's own, unless given.
    #[serde(default)]
    pub model: Option<String>,
    /// Encoder of features and of the rungs that begin with `encoder`; the default one, unless given.
    #[serde(default)]
    pub encoder: Option<String>,
    /// Given to templates, where a row says nothing of that name: `schema = "name, price"`.
    #[serde(default)]
    pub values: BTreeMap<String, toml::Value>,
    /// Templates; models are tuned by the first. The usual one of the task, unless given.
    #[serde(default)]
    pub prompts: Vec<Prompt>,
    /// Demonstrations of `few-shot` and `knn`.
    #[serde(default = "four")]
    pub demos: usize,
    #[serde(default)]
    pub rungs: Vec<Rung>,
    #[serde(default)]
    pub curve: Option<Curve>,
    /// Minutes that all of it may take.
    #[serde(default)]
    pub minutes: Option<f64>,
    /// Questions whose answering counts into a rung's cost, beside its training.
    #[serde(default = "thousand")]
    pub queries: usize,
    /// Decides which rows are taken, and all that chance decides in training.
    #[serde(default)]
    pub seed: u64,
    /// Over what the template says.
    #[serde(default)]
    pub max_tokens: Option<usize>,
    #[serde(default)]
    pub options: BTreeMap<String, Vec<String>>,
}

/// Rungs that are trained on fewer rows as well.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Curve {
    pub rungs: Vec<Rung>,
    pub rows: Vec<usize>,
}

fn four() -> usize {
    4
}

fn thousand() -> usize {
    1000
}

impl Comparison {
    /// Reads a file; its paths become ones that can be opened from anywhere.
    ///
    /// # Errors
    /// `Invalid` naming the line and key of what is wrong, `Io` when the file cannot be read.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).at("read", path)?;
        let mut task = Self::parse(&text).map_err(|error| error.within(format!("`{}`", path.display())))?;
        if task.name.is_empty() {
            task.name = path.file_stem().map_or("task".into(), |stem| stem.to_string_lossy().into_owned());
        }
        let folder = path.parent().unwrap_or(Path::new(""));
        for data in [&mut task.train, &mut task.test].into_iter().chain(&mut task.preferences) {
            data.file = std::path::absolute(folder.join(&data.file)).at("find", &data.file)?;
        }
        for prompt in task.prompts.iter_mut().filter(|prompt| prompt.template.ends_with(".j2")) {
            let path = std::path::absolute(folder.join(&prompt.template)).at("find", &prompt.template)?;
            // A rung is called as the file calls it.
            prompt.name = Some(prompt.label());
            prompt.template = path.to_string_lossy().into_owned();
        }
        Ok(task)
    }

    /// # Errors
    /// As [`Self::read`].
    pub fn parse(text: &str) -> Result<Self> {
        let mut task: Self = from_toml(text, 1)?;
        if task.task == Task::Qa {
            return Err(Error::invalid("questions over a collection cannot be compared in this way yet")
                .hint("`incontext experiment run` compares prompts and adapters over a collection"));
        }
        if task.prompts.is_empty() {
            task.prompts =
                vec![Prompt { template: usual(task.task).into(), name: None, vars: BTreeMap::new() }];
        }
        if task.rungs.is_empty() {
            task.rungs = rung::usual(task.task == Task::Classify, task.preferences.is_some());
        }
        task.check()?;
        Ok(task)
    }

    /// What a parser cannot know.
    ///
    /// # Errors
    /// `Invalid` for rungs, a curve, options or a budget that cannot be.
    pub fn check(&self) -> Result<()> {
        let classes = self.task == Task::Classify;
        for rung in self.rungs.iter().chain(self.curve.iter().flat_map(|curve| &curve.rungs)) {
            if rung.is_classifier() && !classes {
                return Err(Error::invalid(format!(
                    "`{rung}` tells classes apart, and the task is `{}`",
                    self.task.name()
                ))
                .hint("leave it out; what writes is: zero-shot, few-shot, knn, and the methods of `tune` by their names"));
            }
        }
        if self.preferences.is_none() {
            let judged = self.rungs.iter().find(|rung| rung.is_judged()).map(ToString::to_string);
            let by = (self.metric == Some(Metric::WinRate)).then(|| Metric::WinRate.name().to_owned());
            if let Some(name) = judged.or(by) {
                return Err(Error::invalid(format!("`{name}` wants answers that somebody compared"))
                    .hint("name their file under `[preferences]`: rows of prompt, chosen and rejected"));
            }
        }
        if self.preferences.is_some() && !matches!(self.task, Task::Generate | Task::Translate) {
            return Err(Error::invalid(format!(
                "preferences are for what is written, and the task is `{}`",
                self.task.name()
            ))
            .hint("task = \"generate\""));
        }
        if let Some(rung) = self.curve.iter().flat_map(|curve| &curve.rungs).find(|rung| rung.is_judged()) {
            return Err(Error::invalid(format!("`{rung}` learns from preferences: it has no curve")));
        }
        if let Some(at) = (1..self.rungs.len()).find(|&at| self.rungs[..at].contains(&self.rungs[at])) {
            return Err(Error::invalid(format!("the rung `{}` stands there twice", self.rungs[at]))
                .hint("name it once"));
        }
        if let Some(curve) = &self.curve {
            if let Some(rung) = curve.rungs.iter().find(|rung| !rung.is_trained()) {
                return Err(Error::invalid(format!("`{rung}` learns from no rows: it has no curve"))
                    .hint("name rungs that are trained"));
            }
            if curve.rows.contains(&0) {
                return Err(Error::invalid("nothing is learned from 0 rows").hint("give sizes above 0"));
            }
        }
        if self.prompts.iter().skip(1).any(|prompt| self.prompts[0].label() == prompt.label()) {
            return Err(Error::invalid("two prompts have one name").hint("give one of them another `name`"));
        }
        let known = |name: &str| name == ALL || rung::method_names().any(|method| method == name);
        if let Some(name) = self.options.keys().find(|name| !known(name)) {
            return Err(Error::invalid(format!("`options` names `{name}`, which is no method")).hint(
                format!("`{ALL}`, or one of {}", rung::method_names().collect::<Vec<_>>().join(", ")),
            ));
        }
        if self.minutes.is_some_and(|minutes| minutes.is_nan() || minutes <= 0.0) {
            return Err(Error::invalid("`minutes` is above 0, or left out"));
        }
        match self.demos {
            0 => {
                Err(Error::invalid("`demos` is at least 1")
                    .hint("leave the rungs few-shot and knn out instead"))
            }
            _ => Ok(()),
        }
    }

    /// The options of `incontext tune` for `method`, those for all methods first.
    pub fn options(&self, method: &str) -> Vec<String> {
        self.own_options(ALL).into_iter().chain(self.own_options(method)).collect()
    }

    /// Those for `method` alone: what is fitted at once takes no options of training.
    pub fn own_options(&self, method: &str) -> Vec<String> {
        self.options.get(method).cloned().unwrap_or_default()
    }

    /// What rungs are compared by, then what else is measured.
    pub fn metrics(&self) -> Vec<Metric> {
        let judged = self.preferences.as_ref().map(|_| Metric::WinRate);
        let usual: Vec<Metric> = judged.into_iter().chain(self.task.metrics()).collect();
        let others = usual.into_iter().filter(|metric| Some(*metric) != self.metric);
        self.metric.into_iter().chain(others).collect()
    }
}

/// The name in `options` that stands for all methods that train by steps.
const ALL: &str = "all";

/// The template of a task, unless another is asked for.
fn usual(task: Task) -> &'static str {
    match task {
        Task::Classify => "classify/plain",
        Task::Extract => "extract/json",
        Task::Translate => "translate/plain",
        _ => "generate/plain",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATA: &str = "[train]\nfile = \"a.jsonl\"\n[test]\nfile = \"b.jsonl\"\n";

    fn complaint(text: &str) -> String {
        Comparison::parse(&format!("{text}\n{DATA}")).unwrap_err().to_string()
    }

    #[test]
    fn a_short_file_gets_what_is_usual() {
        let task = Comparison::parse(&format!("task = \"classify\"\n{DATA}")).unwrap();
        assert_eq!(task.prompts[0].template, "classify/plain");
        assert_eq!((task.demos, task.queries, task.metrics()[0]), (4, 1000, Metric::Accuracy));
        assert!(task.rungs.len() > 8 && task.rungs[0].to_string() == "zero-shot");
        let task = Comparison::parse(&format!("task = \"generate\"\nmetric = \"BLEU\"\n{DATA}")).unwrap();
        assert_eq!(task.metrics()[0], Metric::Bleu);
        assert!(task.rungs.iter().all(|rung| !rung.is_classifier()));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, what) in [
            ("task = \"classify\"\nrungs = [\"lorra\"]", "`lorra` is no rung; there are: zero-shot"),
            ("task = \"classify\"\nmetric = \"acuracy\"", "no metric `acuracy`; there are: accuracy"),
            ("task = \"classify\"\nrungs = [\"lora\", \"lora\"]", "stands there twice"),
            ("task = \"generate\"\nrungs = [\"features\"]", "tells classes apart"),
            ("task = \"classify\"\noptions = { lorra = [] }", "`lorra`, which is no method"),
            ("task = \"classify\"\nminutes = 0", "`minutes` is above 0"),
            ("task = \"classify\"\ndemos = 0", "at least 1"),
            ("task = \"classify\"\ncurve = { rungs = [\"knn\"], rows = [5] }", "it has no curve"),
            ("task = \"qa\"", "cannot be compared"),
            ("task = \"classify\"\nrung = []", "line 2"),
        ] {
            let said = complaint(text);
            assert!(said.contains(what), "{said}");
        }
    }

    #[test]
    fn options_of_all_methods_come_before_a_methods_own() {
        let text =
            "task = \"classify\"\noptions = { all = [\"--steps\", \"4\"], lora = [\"--rank\", \"2\"] }";
        let task = Comparison::parse(&format!("{text}\n{DATA}")).unwrap();
        assert_eq!(task.options("lora"), ["--steps", "4", "--rank", "2"]);
        assert_eq!(task.options("ia3"), ["--steps", "4"]);
    }
}
