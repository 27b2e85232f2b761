//! Rows to train on: lines of a file as they are, or laid out by the very prompt builder that asks.

use std::path::Path;

use super::Data;
use crate::embed::Embedder;
use crate::engine::Places;
use crate::engine::ask::{Answering, Ask};
use crate::error::{Error, Result};
use crate::eval::qa::contains;
use crate::index::Collection;
use crate::prompt::budget::{Contents, Window, fit};
use crate::prompt::{Demo, Order, Prompt, Shown, Template};
use crate::retrieve::Hit;
use crate::retrieve::rerank::CrossEncoder;
use crate::text::example::{self, Example, Rows as Lines};
use crate::text::records;
use crate::text::tokenizer::{Message, Tokenizer};
use crate::train::{self, Kind, Reading, Row, Style, TooLong, end_of_turn};

/// What rows are made from.
pub struct Source<'a> {
    pub tokenizer: &'a Tokenizer,
    /// Tokens a row may have.
    pub window: usize,
    /// Whether the model writes; an encoder reads its own tokens around a text.
    pub causal: bool,
    /// Of the model, to show it as many passages as asking does.
    pub parameters: usize,
    pub documents: Option<Documents<'a>>,
}

/// What passages are found in, as asking finds them.
#[derive(Clone, Copy)]
pub struct Documents<'a> {
    pub collection: &'a Collection,
    pub embedder: &'a Embedder,
    pub reranker: Option<&'a CrossEncoder>,
    pub places: &'a Places,
    /// Tells what is in the collection, and how it was built, from what else there may be.
    pub version: &'a str,
}

/// Rows, and what became of the others.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Laid {
    pub rows: Vec<Row>,
    pub skipped: Skipped,
    /// What the template was told may be chosen, or the classes that rows number.
    pub labels: Vec<String>,
}

impl From<train::Data> for Laid {
    fn from(read: train::Data) -> Self {
        let skipped = Skipped { too_long: read.left_out, cut: read.cut, ..Skipped::default() };
        Self { rows: read.rows, skipped, labels: read.classes }
    }
}

/// How many lines are no rows, and why; and how many rows were cut.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Skipped {
    pub too_long: usize,
    pub cut: usize,
    /// The answer stands in none of the passages that were found: the model would learn to make answers up.
    pub not_found: usize,
    /// Of answers that somebody compared: equal ones, empty ones, and those without another to compare.
    pub equal: usize,
    pub empty: usize,
    pub alone: usize,
}

/// The rows of `file` as they stand there. `before` are turns that every prompt shows first.
///
/// # Errors
/// As [`Reading::read`].
pub fn plain(
    source: &Source,
    data: &Data,
    file: &Path,
    split: Option<&str>,
    before: &[Message],
) -> Result<Laid> {
    let read = Reading {
        style: if data.plain { Style::Plain } else { Style::Chat },
        kind: Kind::Answers,
        too_long: if data.cut { TooLong::Cut } else { TooLong::Drop },
        columns: data.columns.clone(),
        lines: Lines { split: split.map(str::to_owned), limit: data.limit },
        every_answer: data.every_answer,
        before: before.to_vec(),
        ..Reading::new(source.tokenizer, source.window)
    }
    .read(&records::Source::read(file)?)?;
    Ok(read.into())
}

/// The texts of `file` and their classes, of those that `data` knows.
///
/// # Errors
/// As [`Reading::read`].
pub fn classes(source: &Source, data: &Data, file: &Path, split: Option<&str>) -> Result<Laid> {
    let read = Reading {
        kind: Kind::Classes { causal: source.causal, known: data.labels.clone() },
        // What a text is about stands in its beginning more often than not.
        too_long: TooLong::Cut,
        columns: data.columns.clone(),
        lines: Lines { split: split.map(str::to_owned), limit: data.limit },
        ..Reading::new(source.tokenizer, source.window)
    }
    .read(&records::Source::read(file)?)?;
    Ok(read.into())
}

/// A question, the passages that its prompt shows, best first, and the row that it makes: prompt and answer, or refusal.
pub struct Question {
    pub example: Example,
    pub passages: Vec<Hit>,
    pub row: Row,
}

/// The rows of `file` laid out by the template. `demos` are shown by every prompt; `on` hears of each line and may stop.
///
/// # Errors
/// `Invalid` naming the row that has no answer; as laying out and finding fail.
pub fn templated(
    source: &Source,
    template: &Template,
    data: &Data,
    place: (&Path, Option<&str>),
    demos: &[Demo],
    on: OnLine,
) -> Result<Laid> {
    let mut rows = Vec::new();
    let laid = questions(source, template, data, place, demos, &mut |question| rows.push(question.row), on)?;
    Ok(Laid { rows, ..laid })
}

/// Hears of each line, of how many, and may stop.
pub type OnLine<'a> = &'a mut dyn FnMut(usize, usize) -> std::ops::ControlFlow<()>;

/// As [`templated`]: each row with what it was made of, handed to `take`.
///
/// # Errors
/// As that.
pub fn questions(
    source: &Source,
    template: &Template,
    data: &Data,
    (file, split): (&Path, Option<&str>),
    demos: &[Demo],
    take: &mut dyn FnMut(Question),
    on: OnLine,
) -> Result<Laid> {
    let records = records::Source::read(file)?;
    let lines = Lines { split: split.map(str::to_owned), limit: data.limit };
    let examples = Example::all(&records, &data.columns, &lines)?;
    let chooses = template.front().inputs.iter().any(|input| input == "labels");
    let labels = match (chooses, data.labels.is_empty()) {
        (false, _) => Vec::new(),
        (true, true) => example::labels(&examples),
        (true, false) => data.labels.clone(),
    };
    let mut laid = Laid::default();
    let refusal = template.var("refusal");
    let end = end_of_turn(source.tokenizer);
    let (count, mut taken) = (examples.len(), 0);
    for (at, example) in examples.into_iter().enumerate() {
        if on(at, count).is_break() {
            return Err(Error::interrupted("laying out the rows was stopped").hint("start again"));
        }
        let named = |error: Error| error.within(format!("`{}` row {}", file.display(), example.id));
        let passages = match &source.documents {
            Some(documents) => documents.passages(&example, data.k, source.parameters).map_err(named)?,
            None => Vec::new(),
        };
        let answer = match (example.output(), refusal) {
            (Some(answer), _) => {
                let shown =
                    |answer: &String| passages.iter().any(|hit| contains(&hit.passage.chunk.text, answer));
                // The first that the passages say: another would have to be made up.
                let found = example.answers.iter().find(|answer| shown(answer)).map(String::as_str);
                match (source.documents.is_some(), found) {
                    (false, _) => answer,
                    (true, Some(found)) => found,
                    (true, None) => {
                        laid.skipped.not_found += 1;
                        continue;
                    }
                }
            }
            (None, Some(refusal)) => refusal,
            (None, None) => {
                return Err(named(
                    Error::invalid("no answer in it, hence nothing to learn")
                        .hint("give it an `output`, or a template with a `refusal`"),
                ));
            }
        };
        let tokens = source.tokenizer.encode(answer, false)?.len();
        if tokens >= source.window {
            return Err(named(
                Error::too_long(format!(
                    "its answer has {tokens} tokens, a row with its prompt has room for {}",
                    source.window
                ))
                .hint("shorten it, or take a longer window: --max-length, up to the model's"),
            ));
        }
        let mut values = example.asked(&data.columns);
        values.shift_remove("passages");
        if chooses {
            values.insert("labels".to_owned(), labels.clone().into());
        }
        let shown: Vec<Shown> = passages.iter().map(|hit| Shown::from(&hit.passage)).collect();
        let contents =
            Contents { values: &values, passages: &shown, demos, order: Order::NearestFirst, history: &[] };
        let most = template.front().params.max_tokens;
        let window = Window { size: source.window, completion: most.min(source.window / 2) };
        let count = |prompt: &Prompt| source.tokenizer.count(&prompt.layout.rendered(source.tokenizer)?);
        let fitted = match fit(template, &contents, window, &count) {
            Ok(fitted) => fitted,
            Err(Error::TooLong(_)) => {
                laid.skipped.too_long += 1;
                continue;
            }
            Err(error) => return Err(named(error)),
        };
        let text = fitted.prompt.layout.rendered(source.tokenizer)?;
        let mut answer = answer_of(source.tokenizer, &text, answer)?;
        answer.extend(end);
        let row = Row::from_ids(&source.tokenizer.encode_prompt(&text)?, &answer);
        if row.ids.len() > source.window {
            laid.skipped.too_long += 1;
            continue;
        }
        taken += 1;
        let mut passages = passages;
        passages.truncate(fitted.shown);
        take(Question { example, passages, row });
    }
    if taken == 0 {
        return Err(Error::invalid(format!("`{}` gives no row to train on", file.display())).hint(
            "its rows are too long for the window, or their answers stand in no passage that was found",
        ));
    }
    laid.labels = labels;
    Ok(laid)
}

/// The ids of an answer behind `prompt`, as a model writes it and labels are scored: a space between them unless the prompt ends
/// in white space.
fn answer_of(tokenizer: &Tokenizer, prompt: &str, answer: &str) -> Result<Vec<u32>> {
    let space = if prompt.is_empty() || prompt.ends_with(char::is_whitespace) { "" } else { " " };
    tokenizer.encode(&format!("{space}{answer}"), false)
}

impl Documents<'_> {
    fn passages(&self, example: &Example, k: Option<usize>, parameters: usize) -> Result<Vec<Hit>> {
        let ask = Ask {
            collection: self.collection,
            embedder: self.embedder,
            reranker: self.reranker,
            generation: None,
            answering: Answering::Generate,
            k,
            places: self.places,
        };
        ask.passages(&example.input, Some(parameters))
    }
}

/// The examples of `file` as turns of a chat, one pair each.
///
/// # Errors
/// As [`Reading::turns`].
pub fn shown_turns(source: &Source, data: &Data, file: &Path) -> Result<Vec<Message>> {
    let reading = Reading { columns: data.columns.clone(), ..Reading::new(source.tokenizer, source.window) };
    reading.turns(&records::Source::read(file)?)
}
