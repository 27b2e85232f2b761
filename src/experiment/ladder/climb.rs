//! A comparison, ready to be climbed: which rungs there are, what has to be trained, and the experiment whose cells they are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::cost::Costs;
use super::judged::Judged;
use super::rung::{On, Rung};
use super::snapshot::{Remark, Snapshot};
use super::task::Comparison;
use crate::classify::label;
use crate::error::Result;
use crate::experiment::axis::{Axes, Demos, NO_ADAPTER, Prompt};
use crate::experiment::cache;
use crate::experiment::matrix::{self, Cell};
use crate::experiment::plan::{Plan, Resources};
use crate::experiment::spec::{Data, Experiment, Labels, Run};
use crate::experiment::task::Task;
use crate::retrieve::demos::Select;

/// The adapters of the reward models: the one that PPO learns from, and the one that judges.
const REWARD: &str = "reward";
const JUDGE: &str = "judge";

/// A comparison with its rows.
pub struct Climb {
    pub task: Comparison,
    pub snapshot: Snapshot,
    /// Answers that somebody compared, where the task has them.
    pub judged: Option<Judged>,
    /// The reward model that judges all rungs then.
    pub judge: Option<Order>,
    /// Generator and encoder, as they are called wherever the results lie.
    pub generator: String,
    pub encoder: String,
    /// In the order of the file, those of the curve last.
    pub rungs: Vec<Planned>,
    pub dir: PathBuf,
}

/// A rung of this comparison.
#[derive(Debug, Clone, PartialEq)]
pub struct Planned {
    pub rung: Rung,
    /// As the report calls it.
    pub name: String,
    pub prompt: Prompt,
    /// Rows that it learns from; shown or trained on.
    pub rows: usize,
    /// What was trained, by its name; [`NO_ADAPTER`] for a prompt.
    pub adapter: String,
    /// Whether it is only there for the curve.
    pub of_curve: bool,
    /// How it is trained; `None` for a prompt.
    pub order: Option<Order>,
}

impl Planned {
    /// Whether it can be asked: it is a prompt, or was trained.
    pub fn is_ready(&self, costs: &Costs) -> bool {
        self.order.as_ref().is_none_or(|order| costs.cost(order).is_some())
    }
}

/// Something to train.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// The adapter to make.
    pub adapter: String,
    /// Of `incontext`, but for where adapters are to lie.
    pub args: Vec<String>,
    /// A hash over everything that decides it.
    pub key: String,
    /// What has to be trained before it, because it begins there or learns from it.
    pub first: Vec<Order>,
}

/// Whether `method` learns from its own answers.
fn is_online(method: &str) -> bool {
    matches!(method, "ppo" | "grpo")
}

impl Order {
    /// Whether a classifier is fitted on features, at once.
    pub fn is_fitted(&self) -> bool {
        self.args.get(1).is_some_and(|method| method == "features")
    }

    /// Whether it learns from its own answers, by updates.
    pub fn is_online(&self) -> bool {
        self.args.get(1).is_some_and(|method| is_online(method))
    }

    /// All that has to be trained for it, each once and before what needs it; itself at the end.
    pub fn sequence(&self) -> Vec<&Self> {
        let mut all: Vec<&Self> = Vec::new();
        for order in self.first.iter().flat_map(Self::sequence).chain([self]) {
            if !all.iter().any(|known| known.adapter == order.adapter) {
                all.push(order);
            }
        }
        all
    }
}

impl Climb {
    /// Draws the rows of `task` into the folder `dir` and lays the rungs out.
    ///
    /// # Errors
    /// As [`Snapshot::take`]; what is wrong with a model or a template.
    pub fn new(
        task: Comparison,
        generator: String,
        encoder: String,
        resources: &dyn Resources,
        dir: &Path,
    ) -> Result<Self> {
        let mut snapshot = Snapshot::take(&task, dir)?;
        let mut rungs = planned(&task, snapshot.rows);
        let judged = match &task.preferences {
            Some(data) => {
                let template = resources.template(&task.prompts[0].template)?;
                let judged = Judged::take(data, &task, &template, dir)?;
                rungs.iter_mut().filter(|planned| planned.rung.is_judged()).for_each(|planned| {
                    planned.rows = judged.learned;
                });
                snapshot.remarks.push(Remark::Judge { prompts: judged.judging });
                Some(judged)
            }
            None => None,
        };
        let dir = dir.to_owned();
        let mut climb = Self { task, snapshot, judged, judge: None, generator, encoder, rungs, dir };
        climb.judge = match &climb.judged {
            Some(judged) => Some(climb.learning(judged, "reward", JUDGE, Vec::new(), resources)?),
            None => None,
        };
        let orders: Vec<Option<Order>> =
            climb.rungs.iter().map(|planned| climb.order(planned, resources)).collect::<Result<_>>()?;
        climb.rungs.iter_mut().zip(orders).for_each(|(planned, order)| planned.order = order);
        Ok(climb)
    }

    /// The model that a rung asks.
    pub fn model(&self, planned: &Planned) -> &str {
        match &planned.rung {
            Rung::Trained { on: On::Encoder, .. } => &self.encoder,
            _ => &self.generator,
        }
    }

    fn order(&self, planned: &Planned, resources: &dyn Resources) -> Result<Option<Order>> {
        let Some((mut args, method)) = planned.rung.command() else { return Ok(None) };
        if let (true, Some(judged)) = (planned.rung.is_judged(), &self.judged) {
            return self.taught(judged, method, resources).map(Some);
        }
        let is_fitted = args[1] == "features";
        let model = self.model(planned);
        let classes = self.task.task == Task::Classify;
        let classifier = planned.rung.is_classifier();
        let learned = match (classes, classifier) {
            (true, true) => "label",
            (true, false) => "word",
            (false, _) => "answers",
        };
        let mut decide: Vec<String> = ["--input", "input", "--label", learned].map(str::to_owned).to_vec();
        decide.extend(["--limit".to_owned(), planned.rows.to_string()]);
        decide.extend(["--seed".to_owned(), self.task.seed.to_string()]);
        let mut version = String::new();
        if !classifier {
            let template = resources.template(&planned.prompt.template)?;
            version = template.version().to_owned();
            decide.extend(["--template".to_owned(), planned.prompt.template.clone()]);
        }
        let choice: Vec<String> = match classifier {
            true => self.snapshot.labels.iter().map(|label| label.class.clone()).collect(),
            false => label::words(&self.snapshot.labels),
        };
        // A list with commas cannot hold words with commas; then the rows' own classes are taken.
        if !choice.is_empty() && choice.iter().all(|word| !word.contains(',')) {
            decide.extend(["--labels".to_owned(), choice.join(",")]);
        }
        decide.extend(if is_fitted { self.task.own_options(method) } else { self.task.options(method) });
        let fingerprint = resources.fingerprint(model, NO_ADAPTER)?;
        let parts = [args.join("\0"), decide.join("\0"), self.snapshot.hash.clone(), fingerprint, version];
        let key = cache::key(&parts.each_ref().map(String::as_bytes))[..16].to_owned();
        args.extend(decide);
        args.extend(["--data".to_owned(), self.snapshot.train.to_string_lossy().into_owned()]);
        args.extend(["--model".to_owned(), model.to_owned(), "--out".to_owned(), planned.adapter.clone()]);
        args.push("--json".to_owned());
        Ok(Some(Order { adapter: planned.adapter.clone(), args, key, first: Vec::new() }))
    }

    /// What trains a rung that learns from judgements, with all that comes before it.
    fn taught(&self, judged: &Judged, method: &str, resources: &dyn Resources) -> Result<Order> {
        let sft = || self.learning(judged, "sft", "sft", Vec::new(), resources);
        match method {
            "sft" => sft(),
            "dpo" => self.learning(judged, method, method, vec![sft()?], resources),
            _ => {
                let reward = self.learning(judged, "reward", REWARD, vec![sft()?], resources)?;
                self.learning(judged, method, method, vec![sft()?, reward], resources)
            }
        }
    }

    /// `incontext rlhf METHOD`, making `adapter`.
    fn learning(
        &self,
        judged: &Judged,
        method: &str,
        adapter: &str,
        first: Vec<Order>,
        resources: &dyn Resources,
    ) -> Result<Order> {
        let mut args = vec!["rlhf".to_owned(), method.to_owned()];
        let data = match (method, adapter) {
            ("sft", _) => &judged.sft,
            (_, JUDGE) => &judged.judge,
            ("reward" | "dpo", _) => &judged.preferences,
            _ => &judged.prompts,
        };
        let mut decide = vec!["--seed".to_owned(), self.task.seed.to_string()];
        for before in &first {
            let flag = if before.adapter == REWARD { "--reward" } else { "--from" };
            decide.extend([flag.to_owned(), before.adapter.clone()]);
        }
        if adapter == JUDGE {
            decide.extend(["--scale-prompts", "0"].map(str::to_owned));
        } else if judged.plain {
            decide.push("--plain".to_owned());
        }
        // What learns by updates takes no options of steps.
        let options =
            if is_online(method) { self.task.own_options(method) } else { self.task.options(method) };
        decide.extend(options);
        let fingerprint = resources.fingerprint(&self.generator, NO_ADAPTER)?;
        let before: String = first.iter().map(|order| order.key.as_str()).collect();
        let parts = [args.join("\0"), decide.join("\0"), judged.hash.clone(), fingerprint, before];
        let key = cache::key(&parts.each_ref().map(String::as_bytes))[..16].to_owned();
        args.extend(decide);
        args.extend(["--data".to_owned(), data.to_string_lossy().into_owned()]);
        args.extend(["--model".to_owned(), self.generator.clone(), "--out".to_owned(), adapter.to_owned()]);
        args.push("--json".to_owned());
        Ok(Order { adapter: adapter.to_owned(), args, key, first })
    }

    /// The experiment whose cells are `rungs`.
    pub fn experiment(&self, rungs: &[&Planned]) -> Experiment {
        let task = &self.task;
        let mut axes = Axes {
            prompt: Vec::new(),
            demos: Vec::new(),
            model: Vec::new(),
            adapter: Vec::new(),
            ..Axes::default()
        };
        for planned in rungs {
            put(&mut axes.prompt, planned.prompt.clone());
            put(&mut axes.demos, self.demos(planned));
            put(&mut axes.model, self.model(planned).to_owned());
            put(&mut axes.adapter, planned.adapter.clone());
            axes.only.push(self.values(planned));
        }
        let shows = axes.demos.iter().any(|demos| demos.select != Select::None);
        Experiment {
            name: task.name.clone(),
            description: task.description.clone(),
            task: task.task,
            data: Snapshot::data(&self.snapshot.test, task.task),
            pool: shows.then(|| self.pool()),
            labels: match self.snapshot.labels.is_empty() {
                true => Labels::default(),
                false => Labels::Worded(
                    self.snapshot
                        .labels
                        .iter()
                        .map(|label| (label.class.clone(), label.word.clone()))
                        .collect(),
                ),
            },
            values: BTreeMap::new(),
            baseline: rungs.first().map(|planned| self.values(planned)).unwrap_or_default(),
            matrix: axes,
            metrics: task.metrics(),
            run: Run {
                max_tokens: task.max_tokens,
                reward: self.judge.as_ref().map(|judge| judge.adapter.clone()),
                ..Run::default()
            },
            asserts: Vec::new(),
            requires: Vec::new(),
        }
    }

    /// The cell of `plan` that `planned` is.
    pub fn cell<'p>(&self, planned: &Planned, plan: &'p Plan) -> Option<&'p Cell> {
        let values = self.values(planned);
        plan.cells.iter().find(|cell| matrix::has_all(&cell.values, &values))
    }

    fn pool(&self) -> Data {
        Snapshot::data(&self.snapshot.train, self.task.task)
    }

    fn demos(&self, planned: &Planned) -> Demos {
        match &planned.rung {
            Rung::Prompted(Select::None) | Rung::Trained { .. } => Demos::default(),
            Rung::Prompted(select) => Demos { select: *select, k: self.task.demos },
        }
    }

    fn values(&self, planned: &Planned) -> BTreeMap<String, String> {
        BTreeMap::from([
            ("prompt".to_owned(), planned.prompt.label()),
            ("demos".to_owned(), self.demos(planned).into()),
            ("model".to_owned(), self.model(planned).to_owned()),
            ("adapter".to_owned(), planned.adapter.clone()),
        ])
    }
}

fn put<T: PartialEq>(values: &mut Vec<T>, value: T) {
    if !values.contains(&value) {
        values.push(value);
    }
}

/// The rungs of `task`, for so many training rows.
fn planned(task: &Comparison, rows: usize) -> Vec<Planned> {
    let mut rungs = Vec::new();
    for rung in &task.rungs {
        match rung {
            Rung::Prompted(select) => {
                for prompt in &task.prompts {
                    let name = match task.prompts.len() {
                        1 => rung.to_string(),
                        _ => format!("{rung}, {}", prompt.label()),
                    };
                    let shown = if *select == Select::None { 0 } else { task.demos };
                    rungs.push(Planned {
                        rung: rung.clone(),
                        name,
                        prompt: prompt.clone(),
                        rows: shown,
                        adapter: NO_ADAPTER.to_owned(),
                        of_curve: false,
                        order: None,
                    });
                }
            }
            Rung::Trained { .. } => rungs.push(trained(task, rung, rows, false)),
        }
    }
    if let Some(curve) = &task.curve {
        for rung in &curve.rungs {
            let sizes = curve.rows.iter().filter(|size| **size < rows);
            rungs.extend(sizes.map(|size| trained(task, rung, *size, true)));
        }
    }
    rungs
}

fn trained(task: &Comparison, rung: &Rung, rows: usize, of_curve: bool) -> Planned {
    let name = rung.to_string();
    let adapter = name.replace(' ', "-");
    Planned {
        rung: rung.clone(),
        name: if of_curve { format!("{name}, {rows} rows") } else { name },
        prompt: task.prompts[0].clone(),
        rows,
        adapter: if of_curve { format!("{adapter}-{rows}") } else { adapter },
        of_curve,
        order: None,
    }
}
