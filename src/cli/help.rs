//! How help reads: commands in groups, worked examples, exit codes and the environment.
//!
//! `-h` stays a summary; what is added here is shown by `--help`, by `incontext help COMMAND` and on the manual pages.

use std::fmt::Write;

use clap::Command;
use clap::builder::{StyledStr, Styles};

use super::EXIT_CODES;
use super::settings::VARIABLES;

/// What somebody wants, and the command that does it.
pub type Examples = &'static [(&'static str, &'static str)];

/// The program's commands by what a person is about to do.
const GROUPS: [(&str, &[&str]); 7] = [
    ("Ask your documents", &["quickstart", "ingest", "ask", "chat", "search"]),
    ("Have a model do your task", &["classify", "generate"]),
    ("Find the prompt that works", &["prompt", "experiment", "optimise"]),
    ("Tune the model", &["tune", "rlhf", "use", "modes", "adapters"]),
    ("Measure", &["compare", "eval", "tune-fusion", "calibrate", "verify"]),
    ("Keep things in order", &["doctor", "collections", "models", "config"]),
    ("More", &["completions", "man", "help"]),
];

const START: Examples = &[
    ("From nothing to a first cited answer", "incontext quickstart"),
    ("A folder of yours", "incontext ingest notes/"),
    (
        "A question; one the documents do not answer exits with 3",
        "incontext ask \"When does the contract end?\"",
    ),
];

/// Variables of others that are heeded.
const BORROWED: [(&str, &str); 3] = [
    ("XDG_CACHE_HOME", "models are kept below it, in incontext/models"),
    ("HF_ENDPOINT", "mirror to fetch models from"),
    ("HF_HUB_CACHE, HF_HOME", "where other programs may have fetched them already"),
];

/// Worked examples, as they stand at the end of a command's help.
pub fn examples(examples: Examples) -> StyledStr {
    let examples = examples.iter().map(|(purpose, line)| format!("  # {purpose}\n  {line}"));
    format!("{}\n{}", heading("Examples"), examples.collect::<Vec<_>>().join("\n\n")).into()
}

/// The program's own help: commands in groups, and at the end of `--help` what holds for all of them.
pub fn of_the_program(program: Command) -> Command {
    let template = format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{}\n{}\n{{options}}{{after-help}}",
        groups(&program),
        heading("Options")
    );
    let mut end = examples(START).ansi().to_string();
    let codes = EXIT_CODES.map(|(code, meaning)| (code.to_string(), meaning));
    let codes = codes.each_ref().map(|(code, meaning)| (code.as_str(), *meaning));
    for (title, rows) in [("Exit codes", &codes[..]), ("Environment", &[&VARIABLES[..], &BORROWED].concat())]
    {
        let _ = write!(end, "\n\n{}{}", heading(title), table(rows));
    }
    end.push_str("\n\n`incontext help COMMAND` shows a command's options and examples.");
    program.help_template(template).after_long_help(StyledStr::from(end))
}

fn groups(program: &Command) -> String {
    let mut text = String::new();
    for (title, names) in GROUPS {
        let about = |name: &&'static str| {
            let command = program.find_subcommand(name);
            let about = command.and_then(Command::get_about).map(ToString::to_string);
            // clap adds the command `help` later than this is asked.
            (*name, about.unwrap_or_else(|| "Show a command's help".to_owned()))
        };
        let rows: Vec<(&str, String)> = names.iter().map(about).collect();
        let rows: Vec<(&str, &str)> = rows.iter().map(|(name, about)| (*name, about.as_str())).collect();
        let _ = writeln!(text, "{}{}\n", heading(title), table(&rows));
    }
    text.pop();
    text
}

fn heading(title: &str) -> String {
    let styles = Styles::default();
    let style = styles.get_header();
    format!("{style}{title}:{style:#}")
}

/// Two columns, each row on a line of its own, which it begins.
fn table(rows: &[(&str, &str)]) -> String {
    let width = rows.iter().map(|(left, _)| left.len()).max().unwrap_or(0);
    rows.iter().map(|(left, right)| format!("\n  {left:width$}  {right}")).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_command_stands_in_one_group() {
        let mut program = crate::cli::command();
        program.build();
        let there: BTreeSet<&str> = program.get_subcommands().map(Command::get_name).collect();
        let listed: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        assert_eq!(listed.len(), there.len(), "{listed:?}");
        assert_eq!(listed.into_iter().collect::<BTreeSet<_>>(), there);
    }

    #[test]
    fn every_command_has_worked_examples_that_can_be_read_back() {
        fn check(command: &Command, path: &str) {
            if command.has_subcommands() {
                return command.get_subcommands().filter(|c| c.get_name() != "help").for_each(|inner| {
                    check(inner, &format!("{path} {}", inner.get_name()));
                });
            }
            let help = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains(path), "`{path}` has no example:\n{help}");
        }
        let mut program = crate::cli::command();
        program.build();
        check(&program, "incontext");
    }

    #[test]
    fn lines_of_help_fit_a_terminal_of_100_columns() {
        let help = crate::cli::command().render_long_help().to_string();
        for line in help.lines() {
            assert!(line.chars().count() <= 100, "{line}");
        }
    }
}
