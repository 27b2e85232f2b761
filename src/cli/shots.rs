//! Demonstrations as they are typed: a pool, how many of it, and by what they are chosen.

use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::load;
use super::settings::Settings;
use crate::embed::{Embedder, Overflow};
use crate::error::{Error, Result};
use crate::prompt::Template;
use crate::retrieve::demos::{Demonstrations, Select};
use crate::text::example::{Columns, Example, Rows};
use crate::text::records::Source;

/// Demonstrations, unless another number is asked for; that of a template's `fewshot.k`, too.
pub const USUAL: usize = 4;

/// Which of a pool, and how many.
#[derive(Args, Clone, Default)]
pub struct Shots {
    /// Demonstrations to show [default: 4]
    #[arg(long, value_name = "K")]
    pub shots: Option<usize>,
    /// How they are chosen [default: knn]
    #[arg(long, value_parser = select())]
    pub select: Option<Select>,
    /// What decides a drawn choice [default: 0]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

fn select() -> impl TypedValueParser<Value = Select> {
    PossibleValuesParser::new(Select::ALL.map(Select::name)).try_map(|name| name.parse::<Select>())
}

impl Shots {
    /// Whether anything was typed.
    pub fn is_given(&self) -> bool {
        self.shots.is_some() || self.select.is_some() || self.seed.is_some()
    }

    /// By what they are chosen: as it is typed, as `template` says, or by nearness.
    pub fn select(&self, template: &Template) -> Select {
        let fewshot = template.front().fewshot.as_ref();
        self.select.unwrap_or(fewshot.map_or(Select::default(), |fewshot| fewshot.select))
    }

    /// `pool`, ready to be chosen from. `embedder` is needed where [`Select::needs_vectors`] says so.
    ///
    /// # Errors
    /// As embedding fails.
    pub fn of(
        &self,
        pool: Vec<Example>,
        select: Select,
        template: &Template,
        embedder: Option<&Embedder>,
        settings: &Settings,
    ) -> Result<Demonstrations> {
        let vectors = match embedder.filter(|_| select.needs_vectors()) {
            Some(embedder) => {
                let inputs: Vec<&str> = pool.iter().map(|row| row.input.as_str()).collect();
                load::vectors(&inputs, embedder, settings)?
            }
            None => Vec::new(),
        };
        let usual = template.front().fewshot.as_ref().map_or(USUAL, |fewshot| fewshot.k);
        let k = self.shots.unwrap_or(usual);
        Ok(Demonstrations::new(pool, vectors, select, k, self.seed.unwrap_or(0)))
    }
}

/// A file to choose from.
#[derive(Args, Clone, Default)]
pub struct Pool {
    /// Examples to choose demonstrations from: JSON Lines with an input and an answer, gzipped or not
    #[arg(long, value_name = "FILE")]
    pub pool: Option<PathBuf>,
    /// Only rows of --pool whose field `split` says this
    #[arg(long, value_name = "NAME", requires = "pool")]
    split: Option<String>,
}

impl Pool {
    /// The rows of the pool that is typed or that `template` names; `None` without one.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn rows(&self, template: &Template, columns: &Columns) -> Result<Option<Vec<Example>>> {
        let own =
            template.front().fewshot.as_ref().and_then(|fewshot| fewshot.pool.as_deref()).map(Path::new);
        let Some(path) = self.pool.as_deref().or(own) else { return Ok(None) };
        let rows = Rows { split: self.split.clone(), limit: None };
        Example::all(&Source::read(path)?, columns, &rows).map(Some)
    }
}

/// The vector that demonstrations for `text` are chosen by; empty where it does not matter.
///
/// # Errors
/// As embedding fails.
pub fn vector(demos: &Demonstrations, embedder: Option<&Embedder>, text: &str) -> Result<Vec<f32>> {
    match embedder.filter(|_| demos.select().is_by_nearness()) {
        Some(embedder) => Ok(embedder.embed(&[text], Overflow::Truncate)?.pop().unwrap_or_default()),
        None => Ok(Vec::new()),
    }
}

/// Refuses a template that shows none.
///
/// # Errors
/// `Invalid`, naming it.
pub fn check(template: &Template) -> Result<()> {
    match template.shows_demos() {
        true => Ok(()),
        false => Err(Error::invalid(format!("`{}` shows no demonstrations", template.id())).hint(
            "`demos` among its `inputs` says that a template does; `qa/fewshot` and `classify/plain` do",
        )),
    }
}
