//! What can be typed in a conversation: a question, or a command that begins with `/`.

use clap::ValueEnum;

use crate::cli::answers::How;
use crate::error::{Error, Result};
use crate::text::slip;

/// One line.
#[derive(Debug, PartialEq)]
pub enum Typed<'a> {
    Nothing,
    /// `literal` is to be asked as it is typed.
    Question {
        text: &'a str,
        literal: bool,
    },
    Command(Command<'a>),
}

#[derive(Debug, PartialEq)]
pub enum Command<'a> {
    Help,
    Sources,
    Prompt,
    /// `None` asks which.
    Model(Option<&'a str>),
    Adapter(Option<&'a str>),
    Collection(Option<&'a str>),
    Answer(Option<How>),
    Save {
        file: &'a str,
        replace: bool,
    },
    New,
    Quit,
}

/// What is typed, and what it does.
const HELP: [(&str, &str); 12] = [
    ("= QUESTION", "ask it to the letter, whatever was said before"),
    ("/sources", "the citations of the last answer, and the passages it was made from"),
    ("/prompt", "what the model read for the last answer, and what did not fit"),
    ("/new", "forget the conversation"),
    ("/save FILE", "write the conversation as Markdown; /save! replaces a file"),
    ("/model NAME", "switch the generator; without NAME, say which"),
    ("/adapter NAME", "switch the adapter over it, `none` for the model as it is; without NAME, say which"),
    ("/collection NAME", "ask another collection; without NAME, say which"),
    ("/answer HOW", "auto, extractive or generate; without HOW, say which"),
    ("/help", "this list"),
    ("/quit", "leave, as does Ctrl-D"),
    ("Ctrl-C", "stop an answer, or clear the line"),
];

/// The names of the commands, without their `/`.
pub fn names() -> impl Iterator<Item = &'static str> {
    HELP.iter().filter_map(|(typed, _)| typed.strip_prefix('/')?.split(' ').next())
}

/// The list that `/help` prints.
pub fn help() -> String {
    let row = |(typed, what): &(&str, &str)| format!("  {typed:16}  {what}");
    HELP.iter().map(row).collect::<Vec<_>>().join("\n")
}

/// # Errors
/// `Invalid` for a command there is not, or one that lacks what it needs.
pub fn parse(line: &str) -> Result<Typed<'_>> {
    let line = line.trim();
    if let Some(text) = line.strip_prefix('=') {
        let text = text.trim();
        return Ok(if text.is_empty() { Typed::Nothing } else { Typed::Question { text, literal: true } });
    }
    let Some(command) = line.strip_prefix('/') else {
        let question = Typed::Question { text: line, literal: false };
        return Ok(if line.is_empty() { Typed::Nothing } else { question });
    };
    let (name, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
    let given = Some(rest.trim()).filter(|rest| !rest.is_empty());
    let alone = |command| match given {
        None => Ok(command),
        Some(_) => Err(Error::invalid(format!("`/{name}` takes nothing behind it"))
            .hint(format!("to ask it, begin with `=`: = {line}"))),
    };
    let command = match name {
        "help" | "?" => alone(Command::Help)?,
        "sources" => alone(Command::Sources)?,
        "prompt" => alone(Command::Prompt)?,
        "new" => alone(Command::New)?,
        "quit" | "exit" | "q" => alone(Command::Quit)?,
        "model" => Command::Model(given),
        "adapter" => Command::Adapter(given),
        "collection" => Command::Collection(given),
        "answer" => Command::Answer(given.map(how).transpose()?),
        "save" | "save!" => {
            let file = given.ok_or_else(|| {
                Error::invalid(format!("`/{name}` needs a file")).hint(format!("as in: /{name} talk.md"))
            })?;
            Command::Save { file, replace: name == "save!" }
        }
        _ => return Err(unknown(name)),
    };
    Ok(Typed::Command(command))
}

fn how(word: &str) -> Result<How> {
    How::from_str(word, true).map_err(|_| {
        let ways: Vec<String> = How::value_variants()
            .iter()
            .filter_map(|way| Some(format!("`{}`", way.to_possible_value()?.get_name())))
            .collect();
        Error::invalid(format!("there is no way to answer called `{}`", word.escape_debug()))
            .hint(format!("there are {}", ways.join(", ")))
    })
}

fn unknown(name: &str) -> Error {
    let there: Vec<String> = names().map(|name| format!("/{name}")).collect();
    let there = there.join(" ");
    let hint = match slip::closest(&name.to_lowercase(), names()) {
        Some(meant) => format!("did you mean `/{meant}`? there are: {there}"),
        None => format!("there are: {there}; a question that begins with `/` is asked as `= /...`"),
    };
    Error::invalid(format!("there is no command `/{}`", name.escape_debug())).hint(hint)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_are_questions_commands_or_nothing() {
        let question = |text, literal| Typed::Question { text, literal };
        assert_eq!(parse("  Why? ").unwrap(), question("Why?", false));
        assert_eq!(parse("= Why?").unwrap(), question("Why?", true));
        assert_eq!(parse("=/etc/hosts").unwrap(), question("/etc/hosts", true));
        assert_eq!(parse(" \t").unwrap(), Typed::Nothing);
        assert_eq!(parse("=").unwrap(), Typed::Nothing);
        let command = |line| match parse(line).unwrap() {
            Typed::Command(command) => command,
            other => panic!("{other:?}"),
        };
        assert_eq!(command("/model"), Command::Model(None));
        assert_eq!(command("/model  openai:big "), Command::Model(Some("openai:big")));
        assert_eq!(command("/answer GENERATE"), Command::Answer(Some(How::Generate)));
        assert_eq!(command("/save my talk.md"), Command::Save { file: "my talk.md", replace: false });
        assert_eq!(command("/save! a.md"), Command::Save { file: "a.md", replace: true });
        assert_eq!(command("/exit"), Command::Quit);
    }

    #[test]
    fn what_cannot_be_done_says_what_can() {
        let refused = |line| {
            let error = parse(line).unwrap_err();
            format!("{error} | {}", error.advice().unwrap_or_default())
        };
        insta::assert_snapshot!(refused("/sorces"), @"there is no command `/sorces` | did you mean `/sources`? there are: /sources /prompt /new /save /model /adapter /collection /answer /help /quit");
        insta::assert_snapshot!(refused("/etc/hosts?"), @"there is no command `/etc/hosts?` | there are: /sources /prompt /new /save /model /adapter /collection /answer /help /quit; a question that begins with `/` is asked as `= /...`");
        insta::assert_snapshot!(refused("/save"), @"`/save` needs a file | as in: /save talk.md");
        insta::assert_snapshot!(refused("/answer me"), @"there is no way to answer called `me` | there are `auto`, `extractive`, `generate`");
        insta::assert_snapshot!(refused("/new idea?"), @"`/new` takes nothing behind it | to ask it, begin with `=`: = /new idea?");
    }

    #[test]
    fn every_command_of_the_list_is_one() {
        for name in names() {
            for line in [format!("/{name}"), format!("/{name} auto")] {
                let known =
                    parse(&line).err().is_none_or(|e| !e.to_string().starts_with("there is no command"));
                assert!(known, "{line}");
            }
        }
    }

    proptest! {
        #[test]
        fn anything_may_be_typed(line in "[/=]?\\PC{0,40}") {
            let _ = parse(&line);
        }
    }
}
