//! Where a run begins: its rows, laid out, and what the values that are trained are before the first step.

use std::ops::ControlFlow;
use std::path::Path;

use super::rows::{self, Laid, Skipped};
use super::{Compiled, Data, Job, Method, Progress, Source, Tuning, compile, preference};
use crate::adapters::{AdapterConfig, Prefix, Start};
use crate::error::{Error, Result};
use crate::generate::keys_and_values;
use crate::models::Model;
use crate::prompt::Demo;
use crate::text::example::{self, Example, Rows as Lines};
use crate::text::records;
use crate::train::{Fit, Row, Rows};

/// The classes that rows are of, sorted, unless they were said.
pub(super) fn classes(job: &Job) -> Result<Vec<String>> {
    let data = &job.data;
    if !data.labels.is_empty() {
        return Ok(data.labels.clone());
    }
    let lines = Lines { split: data.split.clone(), limit: data.limit };
    let examples = Example::all(&records::Source::read(&data.file)?, &data.columns, &lines)?;
    let labels = example::labels(&examples);
    match labels.len() {
        0 | 1 => Err(Error::invalid(format!(
            "the rows of `{}` are of {} classes, which is no choice",
            data.file.display(),
            labels.len()
        ))
        .hint("give each row a `label`, of two kinds or more; --label names another field")),
        _ => Ok(labels),
    }
}

/// Rows, and what the values begin as.
pub(super) struct Begun {
    pub start: Start,
    rows: Vec<Row>,
    validation: Option<Vec<Row>>,
    pub skipped: Skipped,
    /// What the prefix begins as, where that is a prompt.
    pub covered: Vec<u32>,
}

impl Begun {
    /// # Errors
    /// What is wrong with the rows, or with where the method is to begin.
    pub fn of(
        job: &mut Job,
        tuning: &Tuning,
        model: &Model,
        on: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Self> {
        let tokenizer = model.tokenizer()?;
        let mut start = Start { seed: job.train.seed, ..Start::default() };
        if let Some(text) = &job.init_text {
            start.text = tokenizer.encode(text, false)?;
        }
        let begins_as_text = job.init_demos.is_none() && !start.text.is_empty();
        if let (Method::Adapter(AdapterConfig::Prefix(prefix)), true) = (&mut job.method, begins_as_text) {
            prefix.num_virtual_tokens = start.text.len();
        }
        let context = model.transformer.config.context;
        let room = |before: usize| room(context, before, job.train.max_length);
        // How many rows examples in a prompt become is known when they are laid out.
        let window = match &job.init_demos {
            Some(_) => usize::MAX,
            None => room(virtual_tokens(&job.method))?,
        };
        let source = Source {
            tokenizer,
            window,
            causal: model.transformer.config.causal,
            parameters: model.transformer.parameters(),
            documents: tuning.documents,
        };
        let mut lay_out =
            |data: &Data, file: &Path, split: Option<&str>, shown: Option<&Path>| -> Result<Laid> {
                match tuning.template {
                    _ if job.preference.is_some() => preference::rows(&source, data, file, split),
                    _ if job.classify => rows::classes(&source, data, file, split),
                    Some(template) => {
                        let demos = shown.map_or(Ok(Vec::new()), |file| demos_of(file, data))?;
                        let mut heard = |at, of| on(Progress::LayingOut(at, of));
                        rows::templated(&source, template, data, (file, split), &demos, &mut heard)
                    }
                    None => {
                        let before =
                            shown.map_or(Ok(Vec::new()), |file| rows::shown_turns(&source, data, file))?;
                        rows::plain(&source, data, file, split, &before)
                    }
                }
            };
        let mut data = job.data.clone();
        let laid = lay_out(&data, &data.file, data.split.as_deref(), None)?;
        // Whatever rows hold, all prompts offer the same.
        if !job.classify {
            data.labels = laid.labels;
        }
        let held_out = match (&data.validation, &data.validation_split) {
            (Some(file), split) => Some((file.as_path(), split.as_deref())),
            (None, Some(split)) => Some((data.file.as_path(), Some(split.as_str()))),
            (None, None) => None,
        };
        let mut held_out_rows = |shown: Option<&Path>| -> Result<Option<Vec<Row>>> {
            let rows = |(file, split)| -> Result<Vec<Row>> { Ok(lay_out(&data, file, split, shown)?.rows) };
            held_out.map(rows).transpose()
        };
        let validation = held_out_rows(None)?;
        let mut begun =
            Self { start, rows: laid.rows, validation, skipped: laid.skipped, covered: Vec::new() };
        match (&job.init_demos, &mut job.method) {
            (Some(demos), Method::Adapter(AdapterConfig::Prefix(prefix))) => {
                let held_out = held_out_rows(Some(demos))?;
                let shown = lay_out(&data, &data.file, data.split.as_deref(), Some(demos))?.rows;
                let before = begun.begin_as(shown, held_out, prefix, model)?;
                let window = room(before).map_err(|error| error.within(demos.display()))?;
                begun.keep_what_fits(window, data.cut)?;
            }
            (Some(_), method) => {
                return Err(Error::invalid(format!(
                    "{} cannot begin as examples in a prompt",
                    method.name()
                ))
                .hint("`tune prefix` can"));
            }
            // A prefix that begins as a text: what the model makes of it.
            (None, Method::Adapter(AdapterConfig::Prefix(prefix))) if begins_as_text => {
                let ids = begun.start.text.clone();
                begun.cache_of(&ids, prefix, model)?;
            }
            (None, _) => {}
        }
        job.data = data;
        Ok(begun)
    }

    /// The rows, those that were held out apart from the others.
    pub fn take_rows(&mut self, job: &Job) -> Rows {
        let rows = std::mem::take(&mut self.rows);
        match self.validation.take() {
            Some(validation) => Rows::new(rows, validation),
            None => Rows::of(rows, &job.train),
        }
    }

    /// The prefix begins as what the prompts of `shown` and `held_out`, rows that show examples, have before those without; how
    /// many tokens that is.
    fn begin_as(
        &mut self,
        shown: Vec<Row>,
        held_out: Option<Vec<Row>>,
        prefix: &mut Prefix,
        model: &Model,
    ) -> Result<usize> {
        let training = self.rows.len();
        let asked: Vec<Row> = self.rows.drain(..).chain(self.validation.take().unwrap_or_default()).collect();
        let several = held_out.is_some();
        let shown: Vec<Row> = shown.into_iter().chain(held_out.unwrap_or_default()).collect();
        let Compiled { prefix: ids, covered, mut rows } = compile(&asked, &shown)?;
        self.validation = several.then(|| rows.split_off(training));
        (self.rows, self.covered) = (rows, covered);
        if ids.len() < model.transformer.config.context {
            self.cache_of(&ids, prefix, model)?;
        }
        Ok(ids.len())
    }

    /// Leaves out, or cuts, what is longer than `window`.
    fn keep_what_fits(&mut self, window: usize, cut: bool) -> Result<()> {
        let Self { rows, validation, skipped, .. } = self;
        let mut fits = |row: &mut Row| {
            let fit = row.fit(window, cut);
            skipped.cut += usize::from(fit == Fit::Cut);
            skipped.too_long += usize::from(fit == Fit::Not);
            fit != Fit::Not
        };
        rows.retain_mut(&mut fits);
        validation.iter_mut().for_each(|rows| rows.retain_mut(&mut fits));
        match rows.is_empty() {
            true => {
                Err(Error::too_long(format!("no row fits behind the examples, where {window} tokens do"))
                    .hint("show fewer examples, or allow longer rows with --max-length"))
            }
            false => Ok(()),
        }
    }

    /// The prefix begins as keys and values of `ids`.
    fn cache_of(&mut self, ids: &[u32], prefix: &mut Prefix, model: &Model) -> Result<()> {
        prefix.num_virtual_tokens = ids.len();
        self.start.cache = Some(Prefix::flat(&keys_and_values(&model.transformer, ids)?)?);
        Ok(())
    }
}

/// Tokens that a row may have behind `before` virtual ones.
fn room(context: usize, before: usize, most: usize) -> Result<usize> {
    match context.saturating_sub(before) {
        0 | 1 => Err(Error::too_long(format!(
            "{before} virtual tokens leave no room for a text in the model's window of {context}"
        ))
        .hint("take fewer, or a shorter beginning")),
        left => Ok(left.min(most)),
    }
}

/// The examples of a file as a template shows them.
fn demos_of(file: &Path, data: &Data) -> Result<Vec<Demo>> {
    let examples = Example::all(&records::Source::read(file)?, &data.columns, &Lines::default())?;
    examples.iter().enumerate().map(|(place, example)| Demo::of(example, place)).collect()
}

/// Rows of the window that texts cannot have.
fn virtual_tokens(method: &Method) -> usize {
    match method {
        Method::Adapter(AdapterConfig::SoftPrompt(method)) => method.num_virtual_tokens,
        Method::Adapter(AdapterConfig::PTuning(method)) => method.num_virtual_tokens,
        Method::Adapter(AdapterConfig::Prefix(method)) => method.num_virtual_tokens,
        _ => 0,
    }
}
