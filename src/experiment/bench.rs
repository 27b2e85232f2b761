//! One cell at work: a row of the data becomes a prompt, the prompt an answer, the answer numbers.
//!
//! What is fixed for a cell (its template, its demonstrations, the beginning that its prompts share) is made once. A row
//! depends on the cell and its own data alone, never on the rows before it.

use std::cmp::Ordering;
use std::sync::Arc;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::axis::Decide;
use super::cache::{self, Cache};
use super::documents::Library;
use super::matrix::Cell;
use super::metric::{Metric, Output};
use super::plan::{Plan, Resources};
use super::rows::{Asked, Checked, Row};
use super::task::Task;
use crate::classify::Trained;
use crate::classify::label;
use crate::classify::{Rule, probabilities};
use crate::engine::rlhf::RewardModel;
use crate::error::{Error, Result};
use crate::eval::assertion::Verdict;
use crate::eval::{judge, qa};
use crate::generate::labels::{self, Calibration};
use crate::generate::{Generator, Head, Sampling, Scored};
use crate::prompt::budget::{Contents, Dropped, Fitted, Window, fit};
use crate::prompt::{Demo, Order, Prompt, Template, shots, standing};
use crate::retrieve::demos::{Demonstrations, Select};
use crate::text::example::Example;
use crate::text::layout::Layout;

/// What a cell works with.
pub struct Bench<'a> {
    pub plan: &'a Plan,
    pub cell: &'a Cell,
    pub generator: &'a Generator,
    /// Of the generator with its adapter.
    pub fingerprint: &'a str,
    pub cache: &'a Cache,
    /// Grades what only a model can; with its fingerprint.
    pub judge: Option<(&'a Generator, &'a str)>,
    /// Says which of two answers is better.
    pub reward: Option<&'a RewardModel>,
    /// What was found for each question; only of questions over a collection.
    pub library: Option<&'a Library<'a>>,
    /// Tells the classes, instead of the generator.
    pub classifier: Option<&'a Trained>,
    template: &'a Template,
    decide: Decide,
    demos: Option<Demonstrations>,
    /// Of the items, where demonstrations are chosen by nearness.
    vectors: &'a [Vec<f32>],
    head: Head,
}

/// Log-probability of what a model rules out.
const UNTHINKABLE: f64 = -1e9;

/// A prompt for a row.
pub struct Laid {
    pub fitted: Fitted,
    /// Ids of the demonstrations, in the order in which they stand.
    demos: Vec<String>,
}

/// A text and what it took, as the cache keeps it.
#[derive(Serialize, Deserialize)]
struct Said {
    text: String,
    tokens: [usize; 2],
    ms: f64,
}

/// Vectors of the items and of the pool; empty where nothing is chosen by them.
#[derive(Default)]
pub struct Vectors {
    pub items: Vec<Vec<f32>>,
    pub pool: Arc<[Vec<f32>]>,
}

impl Vectors {
    /// What demonstrations of `cells` are chosen by.
    ///
    /// # Errors
    /// As [`Resources::embed`].
    pub fn of<'c>(
        plan: &Plan,
        cells: impl Iterator<Item = &'c Cell> + Clone,
        resources: &dyn Resources,
    ) -> Result<Self> {
        let any = |is: fn(Select) -> bool| cells.clone().any(|cell| is(cell.demos.select));
        let embed = |rows: &[Example]| {
            resources.embed(&rows.iter().map(|row| row.input.as_str()).collect::<Vec<_>>())
        };
        let pool = if any(Select::needs_vectors) { embed(&plan.pool)? } else { Vec::new() };
        let items = if any(Select::is_by_nearness) { embed(&plan.items)? } else { Vec::new() };
        Ok(Self { items, pool: pool.into() })
    }
}

/// What a row's labels score: to be decided on at once, or when all of a batch are there.
pub struct Weighed {
    pub row: Row,
    /// One a label, calibrated but for the batch's own.
    pub probabilities: Vec<f64>,
}

impl<'a> Bench<'a> {
    /// `cell` of `plan` under `generator`, whose `fingerprint` (with its adapter's) tells its answers from others'.
    pub fn new(
        plan: &'a Plan,
        cell: &'a Cell,
        (generator, fingerprint): (&'a Generator, &'a str),
        vectors: &'a Vectors,
        cache: &'a Cache,
    ) -> Self {
        let select = cell.demos.select;
        let demos = (select != Select::None).then(|| {
            Demonstrations::new(
                Arc::clone(&plan.pool),
                Arc::clone(&vectors.pool),
                select,
                cell.demos.k,
                cell.seed,
            )
        });
        // An endpoint tells no log-probabilities: unless scores are asked for by name, it is asked to write.
        let unasked = plan.experiment.matrix.scoring == [Decide::default()];
        let served = matches!(generator, Generator::Http(_));
        Self {
            plan,
            cell,
            generator,
            fingerprint,
            cache,
            judge: None,
            reward: None,
            library: None,
            classifier: None,
            template: plan.template(cell),
            decide: if served && unasked { Decide::Generate } else { cell.scoring },
            demos,
            vectors: &vectors.items,
            head: Head::none(),
        }
    }

    /// Reads what the prompts of `items` begin with, once for all of them.
    ///
    /// # Errors
    /// As laying out a prompt fails, but for rows that are too long: those fail by themselves.
    pub fn share_head(&mut self, items: &[usize]) -> Result<()> {
        if !matches!(self.generator, Generator::Local(_)) || self.plan.experiment.task == Task::Qa {
            return Ok(());
        }
        let mut layouts = Vec::new();
        for &item in items {
            match self.lay_out(item, None) {
                Ok(laid) => layouts.push(laid.fitted.prompt.layout),
                Err(Error::TooLong(_)) => {}
                Err(error) => return Err(error),
            }
        }
        self.head = self.generator.head(&layouts)?;
        Ok(())
    }

    /// Gives the room of that back.
    pub fn forget_head(&mut self) {
        self.head = Head::none();
    }

    /// Whether rows of the cell can only be decided on together.
    pub fn is_batch(&self) -> bool {
        self.plan.experiment.task == Task::Classify
            && self.classifier.is_none()
            && self.decide != Decide::Generate
            && self.cell.calibration == Calibration::Batch
    }

    /// The prompt of an item; `input` takes the place of its own.
    ///
    /// # Errors
    /// `TooLong` when it does not fit the window.
    pub fn lay_out(&self, item: usize, input: Option<&str>) -> Result<Laid> {
        let example = &self.plan.items[item];
        let values = self.plan.values(example, input);
        let (demos, order) = self.demos(item)?;
        let contents = Contents { demos: &demos, order, ..Contents::of(&values) };
        let completion = match self.plan.experiment.task == Task::Classify && self.decide != Decide::Generate
        {
            true => label::room(&self.plan.labels, self.generator)?,
            false => self.sampling(0).max_tokens,
        };
        let window = Window { size: self.generator.context(), completion };
        let count = |prompt: &Prompt| self.generator.count(&prompt.layout);
        let fitted = fit(self.template, &contents, window, &count)?;
        let shown = standing(&demos[..fitted.demos], order).into_iter();
        let demos = shown.map(|demo| demo.id.clone()).collect();
        Ok(Laid { fitted, demos })
    }

    /// Demonstrations for an item, nearest first, and the order in which they are to stand.
    ///
    /// # Errors
    /// As [`Demo::of`].
    pub fn demos(&self, item: usize) -> Result<(Vec<Demo>, Order)> {
        let Some(demos) = &self.demos else { return Ok((Vec::new(), Order::default())) };
        let vector = self.vectors.get(item).map_or(&[][..], Vec::as_slice);
        let (demos, order) = shots(demos, self.template, &self.plan.items[item].input, vector)?;
        Ok((label::worded(&self.plan.labels, demos), order))
    }

    fn sampling(&self, repeat: usize) -> Sampling {
        let (params, run) = (&self.template.front().params, &self.plan.experiment.run);
        Sampling {
            max_tokens: run.max_tokens.unwrap_or(params.max_tokens),
            temperature: run.temperature.unwrap_or(f64::from(params.temperature)),
            stop: run.stop.clone().unwrap_or_else(|| params.stop.clone()),
            seed: self.cell.seed.wrapping_mul(1_000_003).wrapping_add(repeat as u64),
            ..Sampling::default()
        }
    }

    /// The row of an item; what fails is said in it.
    pub fn row(&self, item: usize, repeat: usize) -> Row {
        match self.weigh(item, repeat) {
            Weighed { row, probabilities } if !probabilities.is_empty() => self.decided(row, &probabilities),
            Weighed { row, .. } => row,
        }
    }

    /// As [`Self::row`], with labels still to be decided on.
    pub fn weigh(&self, item: usize, repeat: usize) -> Weighed {
        let example = &self.plan.items[item];
        let mut row = Row {
            cell: self.cell.id.clone(),
            item: example.id.clone(),
            repeat,
            input: example.input.clone(),
            expected: example.answers.clone(),
            ..Row::default()
        };
        let mut probabilities = Vec::new();
        let done = match self.plan.experiment.task {
            _ if let Some(classifier) = self.classifier => self.told(classifier, &mut row),
            Task::Qa => self.ask(item, &mut row),
            Task::Classify if self.decide != Decide::Generate => {
                self.scores(item, &mut row).map(|scores| probabilities = scores)
            }
            _ => self.write(item, repeat, &mut row),
        };
        if let Err(error) = done {
            row.error = Some(match error.advice() {
                Some(hint) => format!("{error} (hint: {hint})"),
                None => error.to_string(),
            });
            probabilities.clear();
        }
        Weighed { row, probabilities }
    }

    /// The row with the label that is most probable.
    pub fn decided(&self, mut row: Row, probabilities: &[f64]) -> Row {
        row.output.clone_from(&self.plan.labels[labels::choose(probabilities)].class);
        self.judge(&mut row, None);
        row
    }

    fn told(&self, classifier: &Trained, row: &mut Row) -> Result<()> {
        let start = Instant::now();
        let mut all = classifier.probabilities(&[&row.input])?;
        row.ms = milliseconds(start);
        let probabilities = all.pop().unwrap_or_default();
        let logs = probabilities.iter().map(|p| p.ln().max(UNTHINKABLE));
        row.labels = classifier.labels().iter().cloned().zip(logs).collect();
        row.output.clone_from(&classifier.labels()[labels::choose(&probabilities)]);
        self.judge(row, None);
        Ok(())
    }

    fn ask(&self, item: usize, row: &mut Row) -> Result<()> {
        let library = self.library.ok_or_else(|| Error::invalid("there is no collection to ask"))?;
        let (demos, order) = self.demos(item)?;
        let asked = library.answer(self.cell, item, self.generator, self.template, (&demos, order), row)?;
        self.judge(row, Some(&asked));
        Ok(())
    }

    fn write(&self, item: usize, repeat: usize, row: &mut Row) -> Result<()> {
        let laid = self.lay_out(item, None)?;
        self.tell(&laid, row)?;
        let said = self.said(&laid.fitted.prompt.layout, &self.sampling(repeat), repeat, row)?;
        (row.ms, row.tokens) = (said.ms, said.tokens);
        row.output = match self.plan.experiment.task {
            Task::Classify => label::named(&self.plan.labels, &said.text)
                .map_or_else(|| said.text.trim().to_owned(), |label| label.class.clone()),
            _ => said.text.trim().to_owned(),
        };
        self.judge(row, None);
        Ok(())
    }

    /// The prompt, as the row keeps it.
    fn tell(&self, laid: &Laid, row: &mut Row) -> Result<()> {
        row.prompt = Some(Asked {
            text: self.generator.render(&laid.fitted.prompt.layout)?,
            tokens: laid.fitted.tokens,
            demos: laid.demos.clone(),
            dropped: Dropped::in_words(&laid.fitted.dropped),
        });
        Ok(())
    }

    fn said(&self, layout: &Layout, sampling: &Sampling, repeat: usize, row: &mut Row) -> Result<Said> {
        let prompt = self.generator.render(layout)?;
        let how = format!(
            "{} {} {:?} {}",
            sampling.max_tokens,
            sampling.temperature,
            sampling.stop,
            if sampling.temperature > 0.0 { sampling.seed } else { 0 }
        );
        let key = cache::key(&[
            b"text",
            self.fingerprint.as_bytes(),
            prompt.as_bytes(),
            how.as_bytes(),
            &repeat.to_le_bytes(),
        ]);
        if let Some(said) = self.cache.get(&key) {
            row.cached = true;
            return Ok(said);
        }
        let start = Instant::now();
        let go_on = &mut |_: &str| std::ops::ControlFlow::Continue(());
        let completion = self.generator.generate_from(&self.head, layout, sampling, go_on)?;
        let said = Said {
            tokens: [completion.prompt_tokens, completion.completion_tokens],
            text: completion.text,
            ms: milliseconds(start),
        };
        self.cache.put(&key, &said);
        Ok(said)
    }

    /// Probabilities of the labels.
    fn scores(&self, item: usize, row: &mut Row) -> Result<Vec<f64>> {
        let laid = self.lay_out(item, None)?;
        self.tell(&laid, row)?;
        let rule =
            Rule { scoring: self.decide.scoring().unwrap_or_default(), calibration: self.cell.calibration };
        let layout = &laid.fitted.prompt.layout;
        let scored = self.scored(layout, row)?;
        // JSON has no infinity.
        let finite = |scored: &Scored| scored.log_probability.max(UNTHINKABLE);
        row.labels =
            self.plan.labels.iter().zip(&scored).map(|(l, s)| (l.class.clone(), finite(s))).collect();
        row.tokens = [laid.fitted.tokens, 0];
        probabilities(rule, &scored, &|| self.alone(layout), &|input| {
            let layout = self.lay_out(item, Some(input))?.fitted.prompt.layout;
            self.scored(&layout, &mut Row::default())
        })
    }

    fn scored(&self, layout: &Layout, row: &mut Row) -> Result<Vec<Scored>> {
        let (prompt, words) = (self.generator.render(layout)?, label::words(&self.plan.labels));
        let key = cache::key(&[
            b"labels",
            self.fingerprint.as_bytes(),
            prompt.as_bytes(),
            words.join("\0").as_bytes(),
        ]);
        if let Some((scored, ms)) = self.cache.get::<(Vec<Scored>, f64)>(&key) {
            (row.cached, row.ms) = (true, ms);
            return Ok(scored);
        }
        let start = Instant::now();
        let scored = self.generator.score_from(&self.head, layout, &words)?;
        row.ms = milliseconds(start);
        self.cache.put(&key, &(&scored, row.ms));
        Ok(scored)
    }

    /// The labels without a prompt, cut into tokens as they are behind `layout`.
    fn alone(&self, layout: &Layout) -> Result<Vec<Scored>> {
        let words = label::words(&self.plan.labels);
        let ending: String = self.generator.render(layout)?.chars().rev().take(8).collect();
        let said = words.join("\0");
        let key = cache::key(&[b"alone", self.fingerprint.as_bytes(), ending.as_bytes(), said.as_bytes()]);
        if let Some(scored) = self.cache.get(&key) {
            return Ok(scored);
        }
        let scored = self.generator.unconditional(layout, &words)?;
        self.cache.put(&key, &scored);
        Ok(scored)
    }

    /// Holds a row's output against what is right and against the assertions. `asked` is what only an answer over a
    /// collection has.
    fn judge(&self, row: &mut Row, asked: Option<&Output>) {
        let item = row.item.clone();
        for assertion in self.plan.asserts(&item) {
            let grade = |rubric: &str| self.grade(rubric, &row.input, &row.output);
            let checked = match assertion.verdict(&row.output, row.ms as u64, &grade) {
                Ok(Verdict { passed, why }) => {
                    // What weighs nothing is looked at, and nothing fails by it.
                    let passed = passed || assertion.weight == 0.0;
                    Checked { assertion: assertion.to_string(), passed, why }
                }
                Err(error) => {
                    row.error = Some(format!("{assertion}: {error}"));
                    Checked { assertion: assertion.to_string(), passed: false, why: error.to_string() }
                }
            };
            row.assertions.push(checked);
        }
        let passed =
            (!row.assertions.is_empty()).then(|| row.assertions.iter().all(|checked| checked.passed));
        let text = match self.plan.experiment.task {
            Task::Qa => qa::without_citations(&row.output),
            _ => row.output.clone(),
        };
        let win = match self.win(&row.input, &text, row.expected.first()) {
            Ok(win) => win,
            Err(error) => {
                row.error = Some(format!("the reward model: {error}"));
                None
            }
        };
        let output = Output {
            text: &text,
            expected: &row.expected,
            passed,
            win,
            ms: row.ms,
            tokens: row.tokens.iter().sum(),
            ..asked.cloned().unwrap_or_default()
        };
        // What cannot be computed from the row again is kept even if nobody asked for it yet.
        let lasting = Metric::ALL.into_iter().filter(|metric| metric.needs_the_answer());
        let metrics = self.plan.metrics.iter().copied().chain(lasting);
        row.metrics =
            metrics.filter_map(|metric| Some((metric.name().to_owned(), metric.of(&output)?))).collect();
    }

    /// Whether the reward model prefers `text` to the known answer; `None` without either.
    fn win(&self, input: &str, text: &str, known: Option<&String>) -> Result<Option<f64>> {
        let Some((reward, known)) = self.reward.zip(known) else { return Ok(None) };
        if text.trim().is_empty() {
            return Ok(Some(0.0));
        }
        let scores = reward.of_texts(input, &[text, known])?;
        Ok(Some(match scores[0].total_cmp(&scores[1]) {
            Ordering::Greater => 1.0,
            Ordering::Equal => 0.5,
            Ordering::Less => 0.0,
        }))
    }

    fn grade(&self, rubric: &str, input: &str, output: &str) -> Result<Verdict> {
        let (judge, fingerprint) = self.judge.ok_or_else(|| {
            Error::invalid("a rubric needs a judge").hint("name a model as `judge` under `[run]`")
        })?;
        let ask = |layout: &Layout| {
            let sampling = Sampling { max_tokens: 200, ..Sampling::default() };
            let prompt = judge.render(layout)?;
            let key = cache::key(&[b"judge", fingerprint.as_bytes(), prompt.as_bytes()]);
            if let Some(text) = self.cache.get(&key) {
                return Ok(text);
            }
            let text = judge.generate(layout, &sampling, &mut |_| std::ops::ControlFlow::Continue(()))?.text;
            self.cache.put(&key, &text);
            Ok(text)
        };
        judge::grade(rubric, input, output, &ask)
    }
}

fn milliseconds(start: Instant) -> f64 {
    (start.elapsed().as_secs_f64() * 1e6).round() / 1e3
}
