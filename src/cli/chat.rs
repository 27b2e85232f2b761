//! `incontext chat`: a conversation over a collection.
//!
//! Here is what may be typed on the command line and the loop over what is typed afterwards; [`session`] is what is kept
//! between two questions, [`turn`] how one is answered.

mod command;
mod input;
mod save;
mod session;
mod turn;
mod typed_ahead;
mod work;

use std::path::Path;

use clap::Args;

use super::answers::{How, With};
use super::printer::Printer;
use super::settings::Settings;
use super::{Ending, help, narrow};
use crate::engine::chat::courtesy;
use crate::error::Result;
use command::{Command, Typed};
use input::Input;
use session::Session;

/// Hold a conversation over a collection
///
/// A question that leans on the one before ("Why does it matter?") is made to stand alone, and you are told how it was
/// asked. Collection and models are loaded once. Ctrl-C stops an answer and not the session. Where input is no terminal,
/// each line is a question, and is repeated before its answer.
#[derive(Args)]
#[command(after_long_help = help::examples(EXAMPLES))]
pub struct Chat {
    /// Collection to ask [default: default]
    #[arg(short, long, value_name = "NAME")]
    collection: Option<String>,
    #[command(flatten)]
    narrow: narrow::Where,
    /// How answers come about
    #[arg(long, value_enum, default_value_t = How::Auto)]
    answer: How,
    #[command(flatten)]
    with: With,
    /// Print each answer as JSON on a line of its own
    #[arg(long)]
    json: bool,
}

const EXAMPLES: help::Examples = &[
    ("A conversation; `/help` in it lists what else can be typed", "incontext chat"),
    (
        "With a model of yours, over the collection `papers`",
        "incontext chat -c papers --model ./models/my-model.gguf --answer generate",
    ),
    ("About the documents of one year", "incontext chat --where 'date=2024'"),
    ("Questions from a file, an answer a line", "cat questions.txt | incontext chat --json | jq -r .answer"),
];

/// What was typed in earlier sessions, in the home.
const HISTORY: &str = "chat-history";

pub fn run(command: &Chat, settings: &Settings, printer: &Printer) -> Result<Ending> {
    let mut session = Session::begin(command, settings, printer)?;
    let mut input = Input::new(&settings.home.dir().join(HISTORY), command.json)?;
    if input.is_edited() {
        printer.note(format!("asking `{}`; /help says what else can be typed", session.collection()));
    }
    let echoes = input.is_unseen() && !command.json;
    while let Some(line) = input.next(printer)? {
        if echoes && !line.trim().is_empty() {
            printer.echo(line.trim())?;
        }
        if !answer(&line, &mut session, printer)? {
            break;
        }
    }
    Ok(Ending::Done)
}

/// Does what `line` says; `false` ends the session. What goes wrong is said, and the session goes on with what it had.
fn answer(line: &str, session: &mut Session, printer: &Printer) -> Result<bool> {
    let command = match command::parse(line) {
        Ok(Typed::Nothing) => return Ok(true),
        Ok(Typed::Question { text, literal }) => {
            let done = match courtesy::reply(text).filter(|_| !literal) {
                Some(reply) => session.polite(text, reply),
                None => session.turn(text, literal),
            };
            return done.map(|()| true);
        }
        Ok(Typed::Command(command)) => command,
        Err(error) => {
            printer.error(&error);
            return Ok(true);
        }
    };
    let done = match command {
        Command::Quit => return Ok(false),
        Command::Help => return session.say(&command::help()).map(|()| true),
        Command::Sources => return session.sources().map(|()| true),
        Command::Prompt => return session.prompt().map(|()| true),
        Command::New => {
            session.forget();
            Ok(())
        }
        Command::Model(None) => return session.say(&session.model()).map(|()| true),
        Command::Model(Some(name)) => session.switch_model(name),
        Command::Adapter(None) => return session.say(session.adapter()).map(|()| true),
        Command::Adapter(Some(name)) => session.switch_adapter(name),
        Command::Collection(None) => return session.say(session.collection()).map(|()| true),
        Command::Collection(Some(name)) => session.switch_collection(name),
        Command::Answer(None) => return session.say(&session.answering()).map(|()| true),
        Command::Answer(Some(how)) => session.switch_answering(how),
        Command::Save { file, replace } => session.save(Path::new(file), replace),
    };
    if let Err(error) = done {
        printer.error(&error);
    }
    Ok(true)
}
