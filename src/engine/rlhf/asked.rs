//! What a policy is asked, and what its answers are held against.

use std::ops::ControlFlow;

use super::run::{Places, Progress};
use super::{Job, RewardSource};
use crate::engine::tune::{Data, OnLine, Question, Source, questions};
use crate::error::{Error, Result};
use crate::models::Model;
use crate::text::example::Rows as Lines;
use crate::text::records;
use crate::train::{Reading, Row, Style};

/// Prompts, as ids.
#[derive(Default)]
pub struct Prompts {
    pub ids: Vec<Vec<u32>>,
    /// What each asks and what it shows, where answers are held against passages; none otherwise.
    pub questions: Vec<Question>,
}

impl Prompts {
    fn split_off(&mut self, at: usize) -> Self {
        let questions = self.questions.split_off(at.min(self.questions.len()));
        Self { ids: self.ids.split_off(at), questions }
    }
}

/// All that a run reads.
pub struct Asked {
    pub prompts: Prompts,
    pub held_out: Prompts,
    /// Answers as they should be.
    pub sft: Vec<Row>,
    /// How many leave no room for an answer, and how many ask what the passages shown do not answer although they should.
    pub too_long: usize,
    pub not_found: usize,
}

impl Asked {
    /// What `job` reads, which is held against what it read before; a prompt and its answer have `window` tokens.
    ///
    /// # Errors
    /// What is wrong with a file; `Mismatch` where it is another than it was.
    pub fn of(
        job: &mut Job,
        model: &Model,
        places: &Places,
        window: usize,
        on: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Self> {
        let source = records::Source::read(&job.prompts.file)?;
        job.settle("file of prompts", source.hash.clone())?;
        let room = window.saturating_sub(job.settings.max_tokens);
        let style = if job.prompts.plain { Style::Plain } else { Style::Chat };
        let lines = Lines { split: job.prompts.split.clone(), limit: job.prompts.limit };
        let (mut prompts, too_long, not_found) = match &job.reward {
            RewardSource::Model { .. } => {
                let reading = Reading { style, lines, ..Reading::new(model.tokenizer()?, room) };
                let (ids, too_long) = reading.prompts(&source)?;
                (Prompts { ids, questions: Vec::new() }, too_long, 0)
            }
            RewardSource::Grounding { .. } => {
                grounded(job, model, places, room, &mut |at, of| on(Progress::LayingOut(at, of)))?
            }
        };
        let (count, held_out) = (prompts.ids.len(), job.prompts.held_out);
        if count <= held_out {
            return Err(Error::invalid(format!(
                "`{}` has {count} prompts that fit, and {held_out} are to be held out",
                job.prompts.file.display()
            ))
            .hint("hold out fewer, or give more prompts"));
        }
        let held_out = prompts.split_off(count - held_out);
        let sft = match job.sft.clone() {
            None => Vec::new(),
            Some(file) => {
                let source = records::Source::read(&file)?;
                job.settle("file of answers", source.hash.clone())?;
                Reading { style, ..Reading::new(model.tokenizer()?, window) }.read(&source)?.rows
            }
        };
        Ok(Self { prompts, held_out, sft, too_long, not_found })
    }
}

/// Questions over a collection, laid out as asking lays them out; how many are too long, and how many are not answered there.
fn grounded(
    job: &Job,
    model: &Model,
    places: &Places,
    room: usize,
    on: OnLine,
) -> Result<(Prompts, usize, usize)> {
    let (Some(template), RewardSource::Grounding { k, .. }) = (places.template, &job.reward) else {
        return Err(Error::invalid("grounding needs a template and a collection"));
    };
    let source = Source {
        tokenizer: model.tokenizer()?,
        window: room,
        causal: true,
        parameters: model.transformer.parameters(),
        documents: places.documents,
    };
    let data = Data { limit: job.prompts.limit, k: *k, ..Data::default() };
    let mut prompts = Prompts::default();
    let mut take = |question: Question| {
        prompts.ids.push(question.row.prompt().to_vec());
        prompts.questions.push(question);
    };
    let place = (job.prompts.file.as_path(), job.prompts.split.as_deref());
    let laid = questions(&source, template, &data, place, &[], &mut take, on)?;
    Ok((prompts, laid.skipped.too_long, laid.skipped.not_found))
}
