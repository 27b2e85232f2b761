//! Who writes the answers that a person is to judge.

use std::ops::ControlFlow;

use serde_json::{Value, json};

use super::{Case, Rate};
use crate::cli::printer::Printer;
use crate::cli::settings::{Key, Settings};
use crate::cli::{load, tuned};
use crate::embed::Embedder;
use crate::engine::ask::{Answering, Ask, Generation};
use crate::error::{Error, Result};
use crate::generate::{Generator, Sampling};
use crate::index::Collection;
use crate::prompt::Template;
use crate::text::layout::Layout;
use crate::text::tokenizer::Message;

/// What questions over a collection are laid out by, unless told otherwise.
const TEMPLATE: &str = "qa/grounded";

/// How often an answer that was there already is drawn anew.
const MORE_TRIES: u64 = 4;

/// Answers that are ranked by a digit each.
const MOST: u64 = 9;

/// Answers that each writer gives.
fn of_each(command: &Rate, writers: usize) -> u64 {
    command.num_answers.map_or(if writers == 1 { 2 } else { 1 }, u64::from)
}

/// Who answers, and from what.
pub struct Writers {
    generators: Vec<Generator>,
    /// What questions are laid out from, where they are asked of documents.
    documents: Option<(Collection, Embedder, Template)>,
}

impl Writers {
    pub fn load(command: &Rate, settings: &Settings, printer: &Printer) -> Result<Self> {
        let device = settings.device(command.device)?;
        let names: Vec<Option<&str>> = match command.adapter.is_empty() {
            true => vec![None],
            false => command.adapter.iter().map(|name| Some(name.as_str())).collect(),
        };
        let count = of_each(command, names.len()) * names.len() as u64;
        if !(2..=MOST).contains(&count) {
            return Err(Error::invalid(format!("{count} answers to a question cannot be ranked"))
                .hint(format!("2 to {MOST}: fewer adapters, or another --num-answers")));
        }
        let mut generators = Vec::new();
        for name in names {
            let (model, adapter) =
                (settings.get(Key::Model, command.model.as_deref()), settings.get(Key::Adapter, name));
            let chosen = tuned::chosen(model, adapter, settings)?;
            printer.note(format!("loading {} ...", chosen.name()));
            generators.push(load::generator(&chosen, &device, settings)?);
        }
        let documents = match &command.collection {
            None => None,
            Some(name) => {
                let collection = settings.home.open(name)?;
                let embedder = load::collection_embedder(&collection, None, &device, settings)?;
                let template = settings.library().load(command.prompt.as_deref().unwrap_or(TEMPLATE))?;
                Some((collection, embedder, template))
            }
        };
        Ok(Self { generators, documents })
    }

    /// Different answers to a prompt.
    pub fn answer(&self, command: &Rate, settings: &Settings, asked: Value, shown: String) -> Result<Case> {
        let of_each = of_each(command, self.generators.len());
        let mut case = Case { prompt: asked.clone(), shown, answers: Vec::new() };
        for generator in &self.generators {
            let layout = self.layout(generator, settings, &asked, &case.shown)?;
            if self.documents.is_some() {
                case.prompt = json!(layout.messages());
            }
            let (mut left, mut seed) = (of_each, 0);
            while left > 0 && seed < of_each + MORE_TRIES {
                let sampling = Sampling {
                    max_tokens: command.max_tokens,
                    temperature: command.temperature,
                    seed: command.seed.wrapping_mul(1_000_003).wrapping_add(seed),
                    ..Sampling::default()
                };
                let go_on = &mut |_: &str| ControlFlow::Continue(());
                let text = generator.generate(&layout, &sampling, go_on)?.text.trim().to_owned();
                if !text.is_empty() && !case.answers.contains(&text) {
                    case.answers.push(text);
                    left -= 1;
                }
                seed += 1;
            }
        }
        Ok(case)
    }

    fn layout(
        &self,
        generator: &Generator,
        settings: &Settings,
        prompt: &Value,
        shown: &str,
    ) -> Result<Layout> {
        let Some((collection, embedder, template)) = &self.documents else {
            return Ok(match prompt {
                Value::Array(_) => {
                    Layout::Chat(serde_json::from_value::<Vec<Message>>(prompt.clone()).map_err(|error| {
                        Error::invalid(format!("a prompt's turns: {error}"))
                            .hint("a list of `role` and `content`")
                    })?)
                }
                _ => Layout::Chat(vec![Message::new("user", shown.to_owned())]),
            });
        };
        let ask = Ask {
            collection,
            embedder,
            reranker: None,
            generation: None,
            answering: Answering::Generate,
            k: None,
            places: &settings.places,
        };
        let passages = ask.passages(shown, generator.parameters())?;
        Ok(ask.prompt(&Generation::new(generator, template), shown, &passages)?.prompt.layout)
    }
}
