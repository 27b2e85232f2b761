//! Axes -> cells: every combination of what is varied, but for those that are left out.
//!
//! A cell's `key` is a hash over everything that decides its rows. Rows that were made under the same key hold, whatever
//! else of the experiment was edited meanwhile; its id (`c01`) is only how people call it.

use std::collections::BTreeMap;

use super::axis::{Answer, Axes, Decide, Demos, NO_ADAPTER, Prompt};
use super::spec::Experiment;
use super::summary::Axis;
use crate::error::{Error, Result};
use crate::generate::labels::Calibration;
use crate::retrieve::rank::Mode;

/// The axes, in the order in which cells differ: the last one first.
const NAMES: [&str; 10] =
    ["model", "adapter", "prompt", "demos", "retrieval", "k", "answer", "scoring", "calibration", "seed"];

/// One combination.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    /// `c01`
    pub id: String,
    pub prompt: Prompt,
    pub demos: Demos,
    pub retrieval: Mode,
    /// Passages to read; the usual number where it is 0.
    pub k: usize,
    pub answer: Answer,
    pub scoring: Decide,
    pub calibration: Calibration,
    pub model: String,
    pub adapter: String,
    pub seed: u64,
    /// Its value on every axis, as the experiment's file calls it.
    pub values: BTreeMap<String, String>,
}

/// The cells of an experiment, and the axes on which they differ.
///
/// # Errors
/// `Invalid` when an axis means nothing for the task, a value stands twice on an axis, an exclusion names what is not
/// there, or nothing is left.
pub fn cells(experiment: &Experiment) -> Result<(Vec<Cell>, Vec<Axis>)> {
    let axes = named(&experiment.matrix);
    for (name, values) in &axes {
        if values.len() > 1 && experiment.task.lacks().contains(name) {
            let what = format!("the axis `{name}` means nothing for the task `{}`", experiment.task.name());
            return Err(Error::invalid(what).hint("leave it out"));
        }
        if let Some(at) = (1..values.len()).find(|&at| values[..at].contains(&values[at])) {
            let what = format!("`{}` stands twice on the axis `{name}`", values[at]);
            return Err(Error::invalid(what).hint("give one of them another `name`, or leave it out"));
        }
    }
    let Axes { only, exclude: excluded, .. } = &experiment.matrix;
    for (name, value) in only.iter().chain(excluded).flatten().chain(&experiment.baseline) {
        check_value(&axes, name, value)?;
    }
    let total: usize = axes.iter().map(|(_, values)| values.len()).product();
    let mut cells = Vec::new();
    for number in 0..total {
        let mut rest = number;
        let mut at = [0; NAMES.len()];
        for axis in (0..NAMES.len()).rev() {
            let length = axes[axis].1.len();
            (at[axis], rest) = (rest % length, rest / length);
        }
        let values: BTreeMap<String, String> = axes
            .iter()
            .zip(at)
            .map(|((name, values), at)| ((*name).to_owned(), values[at].clone()))
            .collect();
        let is_wanted = only.is_empty() || only.iter().any(|only| has_all(&values, only));
        if !is_wanted || excluded.iter().any(|exclude| has_all(&values, exclude)) {
            continue;
        }
        cells.push(cell(&experiment.matrix, at, values, cells.len() + 1));
    }
    if cells.is_empty() {
        return Err(Error::invalid("every combination of the matrix is excluded").hint("leave some in"));
    }
    let differ = axes.into_iter().filter(|(_, values)| values.len() > 1);
    let differ = differ.map(|(name, values)| Axis { name: name.to_owned(), values }).collect();
    Ok((cells, differ))
}

/// Whether `values` are those of `wanted`, as far as that names any.
pub fn has_all(values: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>) -> bool {
    wanted.iter().all(|(name, value)| values.get(name) == Some(value))
}

fn check_value(axes: &[(&str, Vec<String>)], name: &str, value: &str) -> Result<()> {
    let Some((_, values)) = axes.iter().find(|(axis, _)| *axis == name) else {
        return Err(
            Error::invalid(format!("there is no axis `{name}`")).hint(format!("axes: {}", NAMES.join(", ")))
        );
    };
    match values.iter().any(|one| one == value) {
        true => Ok(()),
        false => Err(Error::invalid(format!("`{value}` is not on the axis `{name}`"))
            .hint(format!("it has: {}", values.join(", ")))),
    }
}

/// What stands on each axis, as the table shows it.
fn named(axes: &Axes) -> Vec<(&'static str, Vec<String>)> {
    let texts = |values: &mut dyn Iterator<Item = String>| values.collect::<Vec<String>>();
    let values = [
        texts(&mut axes.model.iter().cloned()),
        texts(&mut axes.adapter.iter().cloned()),
        texts(&mut axes.prompt.iter().map(Prompt::label)),
        texts(&mut axes.demos.iter().map(|demos| String::from(*demos))),
        texts(&mut axes.retrieval.iter().map(|mode| mode.name().to_owned())),
        texts(&mut axes.k.iter().map(ToString::to_string)),
        texts(&mut axes.answer.iter().map(|answer| answer.name().to_owned())),
        texts(&mut axes.scoring.iter().map(|scoring| scoring.name().to_owned())),
        texts(&mut axes.calibration.iter().map(|calibration| calibration.name().to_owned())),
        texts(&mut axes.seed.iter().map(ToString::to_string)),
    ];
    NAMES.into_iter().zip(values).collect()
}

fn cell(axes: &Axes, at: [usize; NAMES.len()], values: BTreeMap<String, String>, number: usize) -> Cell {
    let [model, adapter, prompt, demos, retrieval, k, answer, scoring, calibration, seed] = at;
    Cell {
        id: format!("c{number:02}"),
        prompt: axes.prompt[prompt].clone(),
        demos: axes.demos[demos],
        retrieval: axes.retrieval[retrieval],
        k: axes.k[k],
        answer: axes.answer[answer],
        scoring: axes.scoring[scoring],
        calibration: axes.calibration[calibration],
        model: axes.model[model].clone(),
        adapter: axes.adapter[adapter].clone(),
        seed: axes.seed[seed],
        values,
    }
}

impl Cell {
    /// Whether it is about the model as it is.
    pub fn is_base(&self) -> bool {
        self.adapter == NO_ADAPTER
    }

    /// Its values on the axes that differ.
    pub fn told(&self, axes: &[Axis]) -> BTreeMap<String, String> {
        axes.iter().map(|axis| (axis.name.clone(), self.values[&axis.name].clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(matrix: &str) -> Result<(Vec<Cell>, Vec<Axis>)> {
        let text = format!(
            "task = \"classify\"\n[data]\nfile = \"d.jsonl\"\n[pool]\nfile = \"d.jsonl\"\n[matrix]\n{matrix}"
        );
        cells(&Experiment::parse(&text)?)
    }

    #[test]
    fn every_combination_is_a_cell_and_axes_of_one_value_are_not_told() {
        let (cells, axes) = of(
            "prompt = [\"classify/plain\"]\ndemos = [\"none\", \"knn 8\"]\nscoring = [\"acc\", \"acc_norm\"]",
        )
        .unwrap();
        let told: Vec<Vec<String>> =
            cells.iter().map(|cell| cell.told(&axes).into_values().collect()).collect();
        assert_eq!(told, [["none", "acc"], ["none", "acc_norm"], ["knn 8", "acc"], ["knn 8", "acc_norm"]]);
        assert_eq!(axes.iter().map(|axis| axis.name.as_str()).collect::<Vec<_>>(), ["demos", "scoring"]);
        assert_eq!((cells[3].id.as_str(), cells[3].demos.k), ("c04", 8));
    }

    #[test]
    fn combinations_may_be_left_out() {
        let matrix = "prompt = [\"a/b\"]\ndemos = [\"none\", \"knn\"]\nseed = [1, 2]\nexclude = [{ demos = \"none\", seed = \"2\" }]";
        let ids: Vec<String> = of(matrix).unwrap().0.into_iter().map(|cell| cell.id).collect();
        assert_eq!(ids, ["c01", "c02", "c03"]);
        let complaint = |exclude: &str| {
            of(&format!("prompt = [\"a/b\"]\nexclude = [{{ {exclude} }}]")).unwrap_err().to_string()
        };
        assert_eq!(complaint("demo = \"none\""), "there is no axis `demo`");
        assert_eq!(complaint("demos = \"knn\""), "`knn` is not on the axis `demos`");
        assert!(complaint("demos = \"none\"").contains("every combination"));
    }

    #[test]
    fn combinations_may_be_listed() {
        let matrix = "prompt = [\"a/b\"]\ndemos = [\"none\", \"knn\"]\nseed = [1, 2]\nonly = [{ demos = \"knn 4\", seed = \"2\" }, { demos = \"none\", seed = \"1\" }]";
        let told: Vec<Vec<String>> = {
            let (cells, axes) = of(matrix).unwrap();
            cells.iter().map(|cell| cell.told(&axes).into_values().collect()).collect()
        };
        assert_eq!(told, [["none", "1"], ["knn 4", "2"]]);
        let error = of("prompt = [\"a/b\"]\nonly = [{ seeds = \"0\" }]").unwrap_err();
        assert_eq!(error.to_string(), "there is no axis `seeds`");
    }

    #[test]
    fn an_axis_of_another_task_and_a_value_named_twice_are_refused() {
        let complaint = |matrix: &str| of(matrix).unwrap_err().to_string();
        assert!(
            complaint("prompt = [\"a/b\"]\nk = [1, 2]").contains("means nothing for the task `classify`")
        );
        assert!(complaint("prompt = [\"a/b\", \"a/b\"]").contains("stands twice on the axis `prompt`"));
        assert!(complaint("prompt = []").contains("an axis of the matrix is empty"));
        let said = complaint("prompt = [\"a/b\"]\ndemos = [\"near 4\"]");
        assert!(
            said.ends_with(
                "no way to choose demonstrations; there are: none, first, random, balanced, knn, mmr, votek"
            ),
            "{said}"
        );
    }

    #[test]
    fn filled_slots_are_told_apart() {
        let matrix = "prompt = [\"a/b\", { template = \"a/b\", vars = { instruction = \"Say it.\" } }, { template = \"a/b\", name = \"mine\", vars = { instruction = \"Say.\" } }]";
        let (_, axes) = of(matrix).unwrap();
        assert_eq!(axes[0].values, ["a/b", "a/b (instruction: Say it.)", "mine"]);
    }
}
