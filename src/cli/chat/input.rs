//! Where lines come from: a terminal with editing and a memory, or anything else that has lines.

use std::borrow::Cow;
use std::cell::Cell;
use std::io::{self, BufRead, IsTerminal};
use std::path::{Path, PathBuf};

use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::Validator;
use rustyline::{Config, Context, Editor, Helper};

use super::command;
use crate::cli::printer::Printer;
use crate::error::{Error, Result};

const PROMPT: &str = "> ";
/// Lines that are remembered.
const REMEMBERED: usize = 1000;

pub enum Input {
    Edited(Box<Terminal>),
    Lines(io::StdinLock<'static>),
}

/// Lines edited by a person.
pub struct Terminal {
    editor: Editor<Typing, FileHistory>,
    history: PathBuf,
    /// Ctrl-C was pressed on an empty line: once more and the session ends.
    leaving: bool,
}

impl Input {
    /// Edited lines where a person sits at both ends, remembered in the file `history`.
    ///
    /// # Errors
    /// `Io` when the terminal cannot be used.
    pub fn new(history: &Path, json: bool) -> Result<Self> {
        if json || !io::stdin().is_terminal() || !io::stdout().is_terminal() {
            return Ok(Self::Lines(io::stdin().lock()));
        }
        let config = Config::builder().max_history_size(REMEMBERED).map_err(broken)?.build();
        let mut editor = Editor::with_config(config).map_err(broken)?;
        editor.set_helper(Some(Typing { empty: Cell::new(true) }));
        // The first session has none, and one that cannot be read is not worth stopping for.
        let _ = editor.load_history(history);
        let terminal = Terminal { editor, history: history.to_owned(), leaving: false };
        Ok(Self::Edited(Box::new(terminal)))
    }

    pub fn is_edited(&self) -> bool {
        matches!(self, Self::Edited(_))
    }

    /// Whether lines come from where nobody sees them: a file or another program.
    pub fn is_unseen(&self) -> bool {
        !self.is_edited() && !io::stdin().is_terminal()
    }

    /// The next line; `None` when there are no more.
    ///
    /// # Errors
    /// `Io` when it cannot be read.
    pub fn next(&mut self, printer: &Printer) -> Result<Option<String>> {
        match self {
            Self::Edited(terminal) => terminal.next(printer),
            Self::Lines(lines) => {
                let mut line = Vec::new();
                let read = lines.read_until(b'\n', &mut line);
                let read = read.map_err(|error| Error::io("cannot read stdin", error))?;
                // What is no UTF-8 is no reason to end the session.
                Ok((read > 0).then(|| String::from_utf8_lossy(&line).into_owned()))
            }
        }
    }
}

impl Terminal {
    fn next(&mut self, printer: &Printer) -> Result<Option<String>> {
        loop {
            match self.editor.readline(PROMPT) {
                Ok(line) => {
                    self.leaving = false;
                    self.remember(&line);
                    return Ok(Some(line));
                }
                Err(ReadlineError::Eof) => return Ok(None),
                Err(ReadlineError::Interrupted) => {
                    let empty = self.editor.helper().is_some_and(|typing| typing.empty.get());
                    if empty && self.leaving {
                        return Ok(None);
                    }
                    self.leaving = empty;
                    if empty {
                        printer.note("(Ctrl-C again or Ctrl-D leaves)");
                    }
                }
                Err(error) => return Err(broken(error)),
            }
        }
    }

    /// Kept at once, so that no crash can lose it. A home that cannot be written is no reason to end the session.
    fn remember(&mut self, line: &str) {
        if self.editor.add_history_entry(line.trim()).unwrap_or(false) {
            let _ = self.editor.append_history(&self.history);
        }
    }
}

fn broken(error: ReadlineError) -> Error {
    match error {
        ReadlineError::Io(error) => Error::io("cannot read from the terminal", error),
        error => Error::io("cannot read from the terminal", io::Error::other(error.to_string())),
    }
}

/// Completes commands, and knows whether something is typed.
struct Typing {
    empty: Cell<bool>,
}

impl Completer for Typing {
    type Candidate = String;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        let typed = line.get(..at).and_then(|typed| typed.strip_prefix('/'));
        let matching = |typed| command::names().filter(move |name| name.starts_with(typed));
        let names = typed.into_iter().flat_map(matching).map(|name| format!("/{name}"));
        Ok((0, names.collect()))
    }
}

impl Hinter for Typing {
    type Hint = String;

    /// Hints at nothing: it is asked whenever the line changes.
    fn hint(&self, line: &str, _: usize, _: &Context<'_>) -> Option<String> {
        self.empty.set(line.is_empty());
        None
    }
}

impl Highlighter for Typing {
    fn highlight<'l>(&self, line: &'l str, _: usize) -> Cow<'l, str> {
        Cow::Borrowed(line)
    }
}

impl Validator for Typing {}

impl Helper for Typing {}
