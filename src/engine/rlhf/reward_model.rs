//! A reward model on its own: what it says of answers that somebody compared.

use std::path::Path;
use std::sync::Arc;

use candle_core::Device;

use crate::adapters::{About, Stored, Task};
use crate::error::{Error, Result};
use crate::models::Model;
use crate::nn::{Adapter, Bare, Params};
use crate::rlhf::surrogate::numbers;
use crate::text::example::Rows as Lines;
use crate::text::records::Source;
use crate::text::tokenizer::Message;
use crate::train::{Judgements, Reading, Row, Seen, Style, Subject, TrainConfig, look};

/// A model, an adapter and a head of one output.
pub struct RewardModel {
    model: Model,
    adapter: Arc<dyn Adapter>,
    /// Tokens of a prompt with an answer that were read in training; longer ones are not judged.
    window: usize,
    /// Prompts were read as they stand, without the model's chat layout.
    plain: bool,
}

impl RewardModel {
    /// That in the folder `dir`, on the model at `path`.
    ///
    /// # Errors
    /// `Invalid` for an adapter that gives no score; as [`Stored::read`].
    pub fn load(path: &Path, dir: &Path, device: &Device) -> Result<Self> {
        let place = |error: Error| error.within(dir.display());
        let base = Model::load(path, device)?;
        let stored = Stored::read(dir, &base.transformer)?;
        let about = stored.about.clone().unwrap_or_default();
        let no_score = || {
            place(Error::invalid("this adapter gives no score")).hint("train one: `incontext rlhf reward`")
        };
        if stored.task != Task::SeqCls || stored.base.is_empty() {
            return Err(no_score());
        }
        let model = Model::load_over(path, device, stored.base.clone()).map_err(place)?;
        if model.classifier.as_ref().is_none_or(|head| head.classes() != 1) {
            return Err(no_score());
        }
        let adapter: Arc<dyn Adapter> = match &stored.config {
            Some(config) => config.attach(&model.transformer, &stored.tensors).map_err(place)?,
            None => Arc::new(Bare),
        };
        let About { training, .. } = about;
        let longest = training["job"]["train"]["max_length"].as_u64().map(|most| most as usize);
        let longest = longest.unwrap_or(TrainConfig::default().max_length);
        let window = longest.min(model.transformer.room(&*adapter)?);
        Ok(Self { model, adapter, window, plain: training["job"]["data"]["plain"] == true })
    }

    /// The judgements of `source` as it reads them, those that fit.
    ///
    /// # Errors
    /// As [`Reading::judgements`].
    pub fn read(&self, source: &Source, lines: Lines) -> Result<Judgements> {
        let style = if self.plain { Style::Plain } else { Style::Chat };
        Reading { style, lines, ..Reading::new(self.model.tokenizer()?, self.window) }.judgements(source)
    }

    /// The score of each of several answers to a question, cut where they are longer than what is read.
    ///
    /// # Errors
    /// As the network fails; `Invalid` for an empty answer.
    pub fn of_texts(&self, question: &str, answers: &[&str]) -> Result<Vec<f64>> {
        let style = if self.plain { Style::Plain } else { Style::Chat };
        let reading = Reading { style, ..Reading::new(self.model.tokenizer()?, self.window) };
        let (prompt, answers) = reading.answered(&[Message::new("user", question)], answers)?;
        let rows: Vec<Row> = answers
            .iter()
            .map(|answer| {
                let ids: Vec<u32> = prompt.iter().chain(answer).copied().take(self.window).collect();
                Row::from_ids(&ids, &[])
            })
            .collect();
        Ok(self.scores(&rows, &mut |_, _| true)?.into_iter().flatten().collect())
    }

    /// The score of each answer of each row. `on` hears which piece of how many comes next, and may break off.
    ///
    /// # Errors
    /// As the network fails; `Interrupted`.
    pub fn scores(&self, rows: &[Row], on: &mut dyn FnMut(usize, usize) -> bool) -> Result<Vec<Vec<f64>>> {
        let params = Params::new();
        let subject = Subject { adapter: &*self.adapter, ..Subject::new("reward", &self.model, &params) };
        let of = |seen: &Seen| {
            let Some(head) = &seen.model.classifier else { return Ok(Vec::new()) };
            let scores = head.forward(seen.hidden, &seen.piece.batch, seen.adapter, seen.mode)?; // (S, 1)
            let scores = numbers(&scores.squeeze(1)?)?;
            Ok(seen.piece.sequences.iter().map(|answers| scores[answers.clone()].to_vec()).collect())
        };
        let micro_tokens = TrainConfig::default().micro_tokens;
        look(&subject, rows, micro_tokens, &of, on)?
            .ok_or_else(|| Error::interrupted("stopped before all answers were scored"))
    }
}
