//! One line of a person's file, in whichever of its forms:
//!
//! ```text
//! {"prompt": ..., "completion": ...}           texts, or lists of turns {"role": ..., "content": ...}
//! {"messages": [...]}                          every turn of the assistant is learned
//! {"instruction": ..., "input": ..., "output": ...}    Alpaca's; `input` may be missing
//! {"input": ..., "output": ...}                and whatever else `text::example` reads
//! {"text": ...}                                all of it is learned
//! {"text": ..., "label": ...}                  for classes
//! ```
//!
//! What becomes of it is `data`'s.

use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::text::example::{self, Columns, Example};
use crate::text::tokenizer::Message;

/// What a line should be, as advice.
pub const WANTED: &str = "a JSON object a line: {\"prompt\": \"...\", \"completion\": \"...\"}; also `messages`, \
                          `instruction` and `output`, `input` and `output`, or `text`; other fields by --input and --label";

pub enum Line {
    /// Whose turns of the assistant are learned from number `learned_from` on.
    Chat { turns: Vec<Message>, learned_from: usize },
    /// A text behind a text.
    Texts { prompt: String, completion: String },
    /// A text that the assistant answers turns with.
    Answered { turns: Vec<Message>, completion: String },
    /// All of it is learned.
    Text(String),
    /// An input and what may be answered, perhaps nothing.
    Example(Example),
}

impl Line {
    /// The line numbered `line`; where `columns` name fields, only those are looked at.
    ///
    /// # Errors
    /// `Invalid`, saying what is missing or of another kind.
    pub fn of(value: Value, line: usize, columns: &Columns) -> Result<Self> {
        let Value::Object(fields) = &value else {
            return Err(Error::invalid("not a JSON object").hint(WANTED));
        };
        let named = *columns != Columns::default();
        let has = |name: &str| !named && fields.contains_key(name);
        if has("messages") {
            return Ok(Self::Chat { turns: turns(&fields["messages"], "messages")?, learned_from: 0 });
        }
        if has("prompt") {
            return Self::completion(&fields["prompt"], required(fields, "completion")?);
        }
        if has("instruction") {
            return Self::instruction(fields);
        }
        if has("text") && fields.keys().all(|name| !example::ANSWERS.contains(&name.as_str())) {
            return Ok(Self::Text(text(&fields["text"], "text")?));
        }
        Example::of(value, line, columns).map(Self::Example).map_err(|error| error.hint(WANTED))
    }

    fn completion(prompt: &Value, completion: &Value) -> Result<Self> {
        let before = |prompt: &Value| match prompt {
            Value::String(text) => Ok(vec![Message::new("user", text.clone())]),
            list => turns(list, "prompt"),
        };
        if let Value::Array(_) = completion {
            let mut all = before(prompt)?;
            let learned_from = all.len();
            all.extend(turns(completion, "completion")?);
            return Ok(Self::Chat { turns: all, learned_from });
        }
        let completion = text(completion, "completion")?;
        Ok(match prompt {
            Value::String(prompt) => Self::Texts { prompt: prompt.clone(), completion },
            prompt => Self::Answered { turns: before(prompt)?, completion },
        })
    }

    /// Alpaca's.
    fn instruction(fields: &Map<String, Value>) -> Result<Self> {
        let mut asked = text(required(fields, "instruction")?, "instruction")?;
        if let Some(input) = fields.get("input").and_then(Value::as_str).filter(|text| !text.is_empty()) {
            asked = format!("{asked}\n\n{input}");
        }
        let completion = text(required(fields, "output")?, "output")?;
        Ok(Self::Answered { turns: vec![Message::new("user", asked)], completion })
    }

    /// The turns of a worked example, without a system's.
    ///
    /// # Errors
    /// `Invalid` where nothing is answered.
    pub fn shown(self) -> Result<Vec<Message>> {
        let answered = |mut turns: Vec<Message>, answer: String| {
            turns.push(Message::new("assistant", answer));
            turns
        };
        let turns = match self {
            Self::Chat { turns, .. } => turns,
            Self::Texts { prompt, completion } => answered(vec![Message::new("user", prompt)], completion),
            Self::Answered { turns, completion } => answered(turns, completion),
            Self::Example(example) if !example.answers.is_empty() => {
                answered(vec![Message::new("user", example.input)], example.answers[0].clone())
            }
            Self::Text(_) | Self::Example(_) => {
                return Err(Error::invalid("no answer in it, hence nothing to show").hint(WANTED));
            }
        };
        Ok(turns.into_iter().filter(|turn| turn.role != "system").collect())
    }
}

pub(super) fn required<'a>(fields: &'a Map<String, Value>, name: &str) -> Result<&'a Value> {
    fields.get(name).ok_or_else(|| {
        let names: Vec<String> = fields.keys().map(|name| format!("`{name}`")).collect();
        Error::invalid(format!("no `{name}` in it")).hint(format!("it has {}; {WANTED}", names.join(", ")))
    })
}

pub(super) fn text(value: &Value, name: &str) -> Result<String> {
    let text = value.as_str().map(str::to_owned);
    text.ok_or_else(|| Error::invalid(format!("`{name}` is no text")).hint(WANTED))
}

pub(super) fn turns(value: &Value, name: &str) -> Result<Vec<Message>> {
    let turns: Vec<Message> = serde_json::from_value(value.clone()).map_err(|error| {
        Error::invalid(format!("`{name}` is no list of turns: {error}"))
            .hint("each turn is {\"role\": \"user\", \"content\": \"...\"}")
    })?;
    match turns.iter().find(|turn| !["system", "user", "assistant"].contains(&&*turn.role)) {
        Some(turn) => Err(Error::invalid(format!("a turn of `{}`, who takes no part", turn.role))
            .hint("roles are `system`, `user` and `assistant`")),
        None => Ok(turns),
    }
}
