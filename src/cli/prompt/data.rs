//! What a template is filled with, as it is typed: values, a row of a data set, demonstrations, choices of slots.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Map, Value};

use crate::cli::load;
use crate::cli::settings::Settings;
use crate::cli::shots::{self, Shots};
use crate::error::{Error, Result};
use crate::hub;
use crate::prompt::{self, Given, Order, Template};
use crate::retrieve::demos::Select;
use crate::text::example::{Columns, Example, Rows, labels};
use crate::text::records::Source;

/// Inputs that no single text can be.
pub const LISTS: [&str; 4] = ["labels", "passages", "demos", "history"];

/// The options.
#[derive(Args)]
pub struct Data {
    /// Give an input this text
    #[arg(long, value_name = "INPUT=TEXT", value_parser = pair)]
    set: Vec<(String, String)>,
    /// Give an input this JSON value: a list, a number
    #[arg(long, value_name = "INPUT=JSON", value_parser = json)]
    set_json: Vec<(String, Value)>,
    /// Give `question` and `input` this text
    #[arg(long, value_name = "TEXT", conflicts_with = "data")]
    question: Option<String>,
    /// Give the inputs what a row of this JSON Lines file has: the first, unless --id or --row says which
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    /// Row of --data with this `id`
    #[arg(long, requires = "data", conflicts_with = "row")]
    id: Option<String>,
    /// Row of --data by its place, from 1
    #[arg(long, value_name = "N", requires = "data", value_parser = clap::value_parser!(u64).range(1..))]
    row: Option<u64>,
    /// Only rows of --data and --demos whose field `split` says this
    #[arg(long, value_name = "NAME")]
    split: Option<String>,
    /// What their rows call what comes in [default: `input`, `question` or `text`]
    #[arg(long, value_name = "FIELD")]
    input_field: Option<String>,
    /// What their rows call what is right [default: `answers`, `answer`, `output`, `label_text` or `label`]
    #[arg(long, value_name = "FIELD")]
    answer_field: Option<String>,
    /// Show demonstrations out of this JSON Lines file
    #[arg(long, value_name = "FILE")]
    demos: Option<PathBuf>,
    #[command(flatten)]
    shots: Shots,
    /// Take this choice of a slot, as it is written or by its number from 1
    #[arg(long, value_name = "SLOT=CHOICE|N", value_parser = pair)]
    slot: Vec<(String, String)>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').map(|(key, value)| (key.trim().to_owned(), value.to_owned()));
    pair.filter(|(key, _)| !key.is_empty()).ok_or_else(|| "write NAME=VALUE".to_owned())
}

fn json(text: &str) -> Result<(String, Value), String> {
    let (key, value) = pair(text)?;
    let value = serde_json::from_str(&value).map_err(|error| {
        format!(
            "not JSON ({error}); a list is written '{key}=[\"one\", \"two\"]', a plain text goes with --set"
        )
    })?;
    Ok((key, value))
}

impl Data {
    /// Whether anything was typed.
    pub fn is_given(&self) -> bool {
        let Self { set, set_json, question, data, demos, slot, .. } = self;
        question.is_some()
            || data.is_some()
            || demos.is_some()
            || !(set.is_empty() && set_json.is_empty() && slot.is_empty())
    }

    /// Refuses what none of `templates` has a place for.
    ///
    /// # Errors
    /// `Invalid`, naming the input or slot, with those there are.
    pub fn check(&self, templates: &[&Template]) -> Result<()> {
        let quoted = |names: Vec<&str>| match &names[..] {
            [] => "none".to_owned(),
            names => names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
        };
        let ids: Vec<String> = templates.iter().map(|template| format!("`{}`", template.id())).collect();
        let ids = ids.join(" and ");
        let slots: Vec<&str> =
            templates.iter().flat_map(|template| template.front().vars.keys()).map(String::as_str).collect();
        let inputs: Vec<&str> = templates.iter().flat_map(|template| template.asked()).collect();
        let keys = self.set.iter().map(|(key, _)| key).chain(self.set_json.iter().map(|(key, _)| key));
        for key in keys.map(String::as_str) {
            if slots.contains(&key) {
                return Err(Error::invalid(format!("`{key}` is a slot of {ids}"))
                    .hint(format!("choose with --slot {key}=N")));
            }
            if !inputs.contains(&key) {
                return Err(Error::invalid(format!("{ids} has no input `{key}`"))
                    .hint(format!("inputs: {}", quoted(inputs))));
            }
        }
        if let Some((list, _)) = self.set.iter().find(|(key, _)| LISTS.contains(&key.as_str())) {
            return Err(Error::invalid(format!("`{list}` is a list"))
                .hint(format!("give it with --set-json '{list}=[...]'")));
        }
        if let Some((slot, _)) = self.slot.iter().find(|(slot, _)| !slots.contains(&slot.as_str())) {
            return Err(Error::invalid(format!("{ids} has no slot `{slot}`"))
                .hint(format!("slots: {}", quoted(slots))));
        }
        if self.shots.is_given() && self.demos.is_none() {
            return Err(Error::invalid("there is nothing to choose demonstrations from").hint("--demos FILE"));
        }
        if self.demos.is_some() && !templates.iter().any(|template| template.shows_demos()) {
            return Err(Error::invalid(format!("{ids} shows no demonstrations"))
                .hint("`demos` among its `inputs` says that a template does"));
        }
        Ok(())
    }

    /// What `template` is given of it.
    ///
    /// # Errors
    /// What is wrong with a file, a row that is not there, a choice that is none.
    pub fn given(&self, template: &Template, settings: &Settings) -> Result<Given> {
        let columns = Columns { input: self.input_field.clone(), answer: self.answer_field.clone() };
        let rows = Rows { split: self.split.clone(), limit: None };
        let all = |path: &PathBuf| Example::all(&Source::read(path)?, &columns, &rows);
        let mut values = Map::new();
        if let Some(path) = &self.data {
            let examples = all(path)?;
            values = self.chosen(path, &examples)?.asked(&columns);
            if template.asked().any(|input| input == "labels") && !values.contains_key("labels") {
                values.insert("labels".to_owned(), labels(&examples).into());
            }
        }
        if let Some(question) = &self.question {
            values.extend(["question", "input"].map(|name| (name.to_owned(), question.as_str().into())));
        }
        values.extend(self.set.iter().map(|(key, text)| (key.clone(), text.as_str().into())));
        values.extend(self.set_json.iter().cloned());
        for (slot, wanted) in &self.slot {
            if let Some(choices) = template.front().vars.get(slot).map(|slot| &slot.choices) {
                values.insert(slot.clone(), choice(slot, wanted, choices)?.into());
            }
        }
        let mut given = Given::of(values)?;
        given.order = Order::Pool;
        if let Some(path) = self.demos.as_ref().filter(|_| template.shows_demos()) {
            let asked = ["input", "question"].iter().find_map(|name| given.values.get(*name)?.as_str());
            let asked = asked.unwrap_or_default();
            let mut select = self.shots.select(template);
            let encoder = settings.embedder(None);
            // Nothing is fetched to look at a prompt: without the encoder, the first rows do, unless it is asked for.
            if self.shots.select.is_none() && !load::is_served(&encoder) && hub::resolve(&encoder).is_err() {
                select = Select::First;
            }
            let embedder = match select.needs_vectors() {
                true => Some(load::embedder(&encoder, &settings.device(None)?, settings)?),
                false => None,
            };
            let pool = self.shots.of(all(path)?, select, template, embedder.as_ref(), settings)?;
            let vector = shots::vector(&pool, embedder.as_ref(), asked)?;
            (given.demos, given.order) = prompt::shots(&pool, template, asked, &vector)?;
        }
        Ok(given)
    }

    fn chosen<'a>(&self, path: &std::path::Path, rows: &'a [Example]) -> Result<&'a Example> {
        let found = match (&self.id, self.row) {
            (Some(id), _) => rows.iter().find(|row| row.id == *id),
            (None, row) => rows.get(row.map_or(0, |row| row as usize - 1)),
        };
        found.ok_or_else(|| {
            let which = self.id.as_ref().map_or_else(
                || format!("row {}", self.row.unwrap_or(1)),
                |id| format!("row with the id `{id}`"),
            );
            let first =
                rows.first().map_or(String::new(), |row| format!(", the first has the id `{}`", row.id));
            Error::not_found(format!("`{}` has no {which}", path.display()))
                .hint(format!("it has {} rows{first}", rows.len()))
        })
    }
}

/// The choice that is meant: as it is written, or by its number.
fn choice<'a>(slot: &str, wanted: &str, choices: &'a [String]) -> Result<&'a str> {
    let written = choices.iter().find(|choice| *choice == wanted);
    let numbered = || choices.get(wanted.parse::<usize>().ok()?.checked_sub(1)?);
    written.or_else(numbered).map(String::as_str).ok_or_else(|| {
        let numbered = (1..).zip(choices).map(|(number, choice)| format!("\n{number}: `{choice}`"));
        Error::invalid(format!("`{wanted}` is no choice of `{slot}`"))
            .hint(format!("choices:{}", numbered.collect::<String>()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_written_out_or_numbered_and_the_writing_goes_first() {
        let choices = ["a", "1", ""].map(str::to_owned);
        let chosen = |wanted| choice("s", wanted, &choices).ok();
        assert_eq!(
            [chosen("a"), chosen("1"), chosen("2"), chosen("3")],
            [Some("a"), Some("1"), Some("1"), Some("")]
        );
        assert_eq!([chosen("0"), chosen("4"), chosen("-1"), chosen("b")], [None; 4]);
    }

    #[test]
    fn values_are_cut_at_the_first_equals_sign() {
        assert_eq!(pair("a = b=c"), Ok(("a".to_owned(), " b=c".to_owned())));
        assert!(pair("a").is_err() && pair("=b").is_err());
        assert_eq!(json("a=[1]").unwrap().1, serde_json::json!([1]));
        assert!(json("a=b").unwrap_err().contains("--set"));
    }
}
