//! Lines of a person's file ([`Line`]) as rows: in which layout, which of it is learned, and whether it fits.
//!
//! The ids of a prompt are exactly those that asking makes of it, and an answer is a text of its own behind them, as a model
//! writes it, with the token that ends its turn.

use serde_json::Value;

use super::line::{Line, WANTED};
use super::row::{Fit, Row};
use crate::error::{Error, Result};
use crate::text::example::{self, Columns, Example};
use crate::text::layout::Layout;
use crate::text::records::Source;
use crate::text::tokenizer::{Message, Tokenizer};

/// How lines become rows.
pub struct Reading<'a> {
    pub tokenizer: &'a Tokenizer,
    pub kind: Kind,
    pub style: Style,
    /// Tokens a row may have.
    pub window: usize,
    pub too_long: TooLong,
    /// What the file calls its columns, where that is none of the names above.
    pub columns: Columns,
    /// Which of its lines.
    pub lines: example::Rows,
    /// A row for each answer of a line with several, instead of the first alone.
    pub every_answer: bool,
    /// Turns that every prompt shows before the first of the user's: worked examples.
    pub before: Vec<Message>,
}

/// What is learned of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// To write the answer.
    Answers,
    /// To tell the class: by a decoder or an encoder, out of those `known`; out of those in the file where none are.
    Classes { causal: bool, known: Vec<String> },
}

/// How a prompt is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Style {
    /// As turns of a chat, a text as one of the user's, where the model has a layout for them.
    #[default]
    Chat,
    /// As it stands.
    Plain,
}

/// What becomes of a row that does not fit the window. An answer that does not is an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TooLong {
    /// It is left out, and counted.
    #[default]
    Drop,
    /// Its prompt loses its beginning. A text of a class loses its end.
    Cut,
}

/// The rows of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Data {
    pub rows: Vec<Row>,
    /// The classes that rows number, sorted unless they were known; none where rows have answers.
    pub classes: Vec<String>,
    /// Rows that were too long and left out, and those that were cut.
    pub left_out: usize,
    pub cut: usize,
}

impl<'a> Reading<'a> {
    /// Of answers, in the model's chat layout if it has one; what does not fit `window` tokens is left out.
    pub fn new(tokenizer: &'a Tokenizer, window: usize) -> Self {
        Self {
            tokenizer,
            kind: Kind::Answers,
            style: Style::default(),
            window,
            too_long: TooLong::default(),
            columns: Columns::default(),
            lines: example::Rows::default(),
            every_answer: false,
            before: Vec::new(),
        }
    }

    /// The rows of `source`.
    ///
    /// # Errors
    /// `Invalid` naming the first line that is none, `TooLong` naming one whose answer alone does not fit.
    pub fn read(&self, source: &Source) -> Result<Data> {
        let data = match &self.kind {
            Kind::Answers => self.answers(source)?,
            Kind::Classes { causal, known } => self.classes(source, *causal, known)?,
        };
        if data.rows.is_empty() {
            let (path, window) = (source.path().display(), self.window);
            return Err(Error::too_long(format!("no row of `{path}` fits the window of {window} tokens"))
                .hint("--max-length takes longer ones, as far as the model reads; --cut cuts prompts"));
        }
        Ok(data)
    }

    fn answers(&self, source: &Source) -> Result<Data> {
        let mut data = Data { rows: Vec::new(), classes: Vec::new(), left_out: 0, cut: 0 };
        let end = end_of_turn(self.tokenizer);
        let lines = self.wanted(source.json_lines().map_err(|error| error.hint(WANTED))?);
        let lines = lines.into_iter().map(|(number, value)| {
            let line = Line::of(value, number, &self.columns);
            Ok((number, line.map_err(|error| source.at(number, error))?))
        });
        let lines: Vec<(usize, Line)> = lines.collect::<Result<_>>()?;
        // Where others are answered, a text alone has lost its answer.
        if lines.iter().any(|(_, line)| matches!(line, Line::Example(_)))
            && let Some((number, _)) = lines.iter().find(|(_, line)| matches!(line, Line::Text(_)))
        {
            return Err(source.at(*number, self.unanswered()));
        }
        let none = lines.is_empty();
        for (number, line) in lines {
            let place = |error| source.at(number, error);
            for row in self.of_line(line, end).map_err(place)? {
                self.fit(row, &mut data).map_err(place)?;
            }
        }
        if none {
            let path = source.path().display();
            return Err(match &self.lines.split {
                Some(split) => Error::invalid(format!("`{path}` has no row of the split `{split}`")),
                None if self.lines.limit == Some(0) => {
                    Error::invalid("no row is asked for").hint("--limit takes 1 or more")
                }
                None => Error::invalid(format!("`{path}` is empty")).hint(WANTED),
            });
        }
        Ok(data)
    }

    /// Those of a file's lines that are asked for.
    pub(super) fn wanted(&self, lines: Vec<(usize, Value)>) -> Vec<(usize, Value)> {
        let of_split = |(_, value): &(usize, Value)| {
            let split = value.get("split").and_then(Value::as_str);
            self.lines.split.as_deref().is_none_or(|wanted| split == Some(wanted))
        };
        lines.into_iter().filter(of_split).take(self.lines.limit.unwrap_or(usize::MAX)).collect()
    }

    fn unanswered(&self) -> Error {
        let name = self.columns.answer.as_deref().unwrap_or("output");
        Error::invalid(format!("no `{name}` in it, hence nothing to learn")).hint(WANTED)
    }

    /// Adds `row` to `data` if it fits, or can be made to.
    fn fit(&self, mut row: Row, data: &mut Data) -> Result<()> {
        let (answer, window) = (row.longest_answer(), self.window);
        // A text without a prompt has been cut to windows already.
        if answer >= window && row.ids.len() > window {
            return Err(Error::too_long(format!(
                "its answer has {answer} tokens, a row with its prompt has room for {window}"
            ))
            .hint("shorten it, or take a longer window: --max-length, up to the model's"));
        }
        match row.fit(window, self.too_long == TooLong::Cut) {
            Fit::Not => {
                data.left_out += 1;
                return Ok(());
            }
            Fit::Cut => data.cut += 1,
            Fit::Whole => {}
        }
        data.rows.push(row);
        Ok(())
    }

    fn of_line(&self, line: Line, end: Option<u32>) -> Result<Vec<Row>> {
        let asked = |text| [Message::new("user", text)];
        match line {
            Line::Chat { turns, learned_from } => self.of_chat(&turns, learned_from, end),
            Line::Texts { prompt, completion } if !self.chats() => {
                // The two stand together as they are, examples as well.
                let mut before = String::new();
                for pair in self.before.chunks(2) {
                    before.extend(pair.iter().map(|turn| turn.content.as_str()).chain(["\n\n"]));
                }
                let (prompt, answers) = self.continued(&(before + &prompt), &[&completion])?;
                Ok(vec![Row::from_ids(&prompt, &answers[0])])
            }
            Line::Texts { prompt, completion } => Ok(vec![self.of_turn(&asked(prompt), &completion)?]),
            Line::Answered { turns, completion } => Ok(vec![self.of_turn(&turns, &completion)?]),
            Line::Text(text) => self.of_text(&text),
            Line::Example(example) if example.answers.is_empty() => Err(self.unanswered()),
            Line::Example(example) => {
                let answers = if self.every_answer { &example.answers[..] } else { &example.answers[..1] };
                let turn = asked(example.input);
                answers.iter().map(|answer| self.of_turn(&turn, answer)).collect()
            }
        }
    }

    /// The lines of `source` as worked examples: what was asked and what was answered, turn by turn.
    ///
    /// # Errors
    /// `Invalid` naming the first line that is none.
    pub fn turns(&self, source: &Source) -> Result<Vec<Message>> {
        let lines: Vec<(usize, Value)> = source.json_lines().map_err(|error| error.hint(WANTED))?;
        if lines.is_empty() {
            let path = source.path().display();
            return Err(Error::invalid(format!("`{path}` is empty")).hint(WANTED));
        }
        let mut shown = Vec::new();
        for (line, value) in lines {
            let example = Line::of(value, line, &self.columns).and_then(Line::shown);
            shown.extend(example.map_err(|error| source.at(line, error))?);
        }
        Ok(shown)
    }

    /// `turns` behind those that every prompt shows; a system's stay in front.
    fn behind_examples(&self, turns: &[Message]) -> Vec<Message> {
        let system = turns.iter().take_while(|turn| turn.role == "system").count();
        [&turns[..system], &self.before, &turns[system..]].concat()
    }

    /// Whether turns are laid out as the model's chats.
    fn chats(&self) -> bool {
        self.style == Style::Chat && self.tokenizer.has_chat_template()
    }

    /// What the assistant said after `turns`.
    fn of_turn(&self, turns: &[Message], answer: &str) -> Result<Row> {
        let (prompt, answers) = self.answered(turns, &[answer])?;
        Ok(Row::from_ids(&prompt, &answers[0]))
    }

    /// The ids of `turns` and of each of several answers to them.
    ///
    /// # Errors
    /// `Invalid` for an empty answer, and when the model's layout refuses the turns.
    pub fn answered(&self, turns: &[Message], answers: &[&str]) -> Result<(Vec<u32>, Vec<Vec<u32>>)> {
        let layout = Layout::Chat(self.behind_examples(turns));
        if self.chats() {
            return self.laid_out(&layout, "", answers);
        }
        // As the texts of demonstrations have it: behind a space, on the line that asked.
        self.laid_out(&Layout::Text(layout.text()), " ", answers)
    }

    /// The ids of a text as it stands, and of each of several that go on with it.
    ///
    /// # Errors
    /// `Invalid` for an empty answer.
    pub fn continued(&self, text: &str, answers: &[&str]) -> Result<(Vec<u32>, Vec<Vec<u32>>)> {
        self.laid_out(&Layout::Text(text.to_owned()), "", answers)
    }

    fn laid_out(&self, layout: &Layout, space: &str, answers: &[&str]) -> Result<(Vec<u32>, Vec<Vec<u32>>)> {
        let prompt = self.tokenizer.encode_prompt(&layout.rendered(self.tokenizer)?)?;
        let end = end_of_turn(self.tokenizer);
        let answers = answers.iter().map(|answer| self.answer(&format!("{space}{answer}"), end));
        Ok((prompt, answers.collect::<Result<_>>()?))
    }

    fn answer(&self, answer: &str, end: Option<u32>) -> Result<Vec<u32>> {
        if answer.trim().is_empty() {
            return Err(Error::invalid("its answer is empty").hint("give it one, or leave the row out"));
        }
        let mut ids = self.tokenizer.encode(answer, false)?;
        ids.extend(end);
        Ok(ids)
    }

    /// A chat whose turns of the assistant, from number `from` on, are learned: one row where each is read in the very
    /// ids that were laid out for it to be asked, else a row a turn.
    fn of_chat(&self, turns: &[Message], from: usize, end: Option<u32>) -> Result<Vec<Row>> {
        let said = |(at, turn): (usize, &Message)| (turn.role == "assistant" && at >= from).then_some(at);
        let learned: Vec<usize> = turns.iter().enumerate().filter_map(said).collect();
        if learned.is_empty() {
            return Err(Error::invalid("no turn of the assistant in it, hence nothing to learn")
                .hint("a turn is learned whose `role` is `assistant`"));
        }
        if self.chats()
            && self.before.is_empty()
            && let Some(row) = self.whole_chat(turns, &learned, end)?
        {
            return Ok(vec![row]);
        }
        learned.into_iter().map(|at| self.of_turn(&turns[..at], &turns[at].content)).collect()
    }

    /// `None` where the layout changes what was said before, as some do with what a model thought aloud.
    fn whole_chat(&self, turns: &[Message], learned: &[usize], end: Option<u32>) -> Result<Option<Row>> {
        let (Some(end), Some(last)) = (end, learned.last()) else { return Ok(None) };
        let whole = self.tokenizer.render_turns(&turns[..=*last])?;
        let mark = self.tokenizer.token(end).unwrap_or_default();
        let mut row = Row::from_ids(&[], &[]);
        let mut done = 0;
        for &at in learned {
            let asked = self.tokenizer.render_chat(&turns[..at])?;
            let answer = &turns[at].content;
            let before = whole.strip_prefix(&asked).filter(|_| asked.len() >= done);
            let behind = before.and_then(|rest| rest.strip_prefix(answer.as_str()));
            if !behind.is_some_and(|rest| rest.starts_with(&mark)) {
                return Ok(None);
            }
            let between = &asked[done..];
            row.read(&match done {
                0 => self.tokenizer.encode_prompt(between)?,
                _ => self.tokenizer.encode(between, false)?,
            });
            row.learn(&self.answer(answer, Some(end))?);
            done = asked.len() + answer.len() + mark.len();
        }
        Ok(Some(row))
    }

    /// A text in pieces of one window, all of it learned.
    fn of_text(&self, text: &str) -> Result<Vec<Row>> {
        let mut ids = self.tokenizer.encode_prompt(text)?;
        ids.extend(self.tokenizer.end());
        // Nothing foretells the first token of a piece, so that one token is no row.
        let pieces = ids.chunks(self.window.max(1)).filter(|piece| piece.len() > 1);
        let rows: Vec<Row> = pieces.map(|piece| Row::from_ids(&[], piece)).collect();
        match rows.is_empty() {
            true => Err(Error::invalid("its text is empty")),
            false => Ok(rows),
        }
    }

    fn classes(&self, source: &Source, causal: bool, known: &[String]) -> Result<Data> {
        let examples = Example::all(source, &self.columns, &self.lines)?;
        let classes = if known.is_empty() { example::labels(&examples) } else { known.to_vec() };
        let mut data = Data { rows: Vec::new(), classes, left_out: 0, cut: 0 };
        for example in &examples {
            let place =
                |error: Error| error.within(format!("`{}` row {}", source.path().display(), example.id));
            let name = self.columns.answer.as_deref().unwrap_or("label");
            let label = example.output().ok_or_else(|| {
                place(Error::invalid(format!("no `{name}` in it")))
                    .hint("give the row one, or name its field: --label FIELD")
            })?;
            let class = data.classes.iter().position(|class| class == label).ok_or_else(|| {
                place(Error::invalid(format!("`{label}` is none of the classes")))
                    .hint(format!("the classes are: {}", data.classes.join(", ")))
            })?;
            let (ids, whole) =
                ids_of_text(self.tokenizer, &example.input, causal, self.window).map_err(place)?;
            match (whole, self.too_long) {
                (false, TooLong::Drop) => data.left_out += 1,
                (whole, _) => {
                    data.cut += usize::from(!whole);
                    data.rows.push(Row::of_class(ids, class as u32));
                }
            }
        }
        Ok(data)
    }
}

/// The ids of a text that is to be told a class, at most `window` of them, and whether that is all of it. An encoder reads its
/// own tokens around it, a decoder its first token before it.
///
/// # Errors
/// When the tokenizer fails; `Invalid` for a text without a token.
pub fn ids_of_text(
    tokenizer: &Tokenizer,
    text: &str,
    causal: bool,
    window: usize,
) -> Result<(Vec<u32>, bool)> {
    let mut ids = if causal { tokenizer.encode_prompt(text)? } else { tokenizer.encode(text, true)? };
    if ids.is_empty() {
        return Err(Error::invalid("a text without a token"));
    }
    let whole = ids.len() <= window;
    if !whole {
        let last = ids.last().copied().filter(|_| !causal);
        ids.truncate(window - usize::from(last.is_some() && window > 0));
        ids.extend(last);
    }
    Ok((ids, whole))
}

/// The token that a model ends its turn with: where its chats are laid out, the last in them that stops it; else the one that
/// ends a text.
pub fn end_of_turn(tokenizer: &Tokenizer) -> Option<u32> {
    let turns = [Message::new("user", "a"), Message::new("assistant", "b")];
    let of_chat = || -> Option<u32> {
        let ids = tokenizer.encode(&tokenizer.render_turns(&turns).ok()?, false).ok()?;
        ids.into_iter().rev().find(|id| tokenizer.eos().contains(id))
    };
    tokenizer.has_chat_template().then(of_chat).flatten().or(tokenizer.end())
}

#[cfg(test)]
#[path = "data_tests.rs"]
mod tests;
