//! `incontext completions` and `incontext man`: what shells and `man` want to know, made from the commands themselves, so
//! that neither can be out of date.

use std::fs;
use std::path::{Path, PathBuf};

use clap::builder::Resettable;
use clap::{Args, Command};
use clap_complete::Shell;
use clap_mangen::Man as Page;

use super::Ending;
use super::help;
use super::printer::Printer;
use crate::error::{Error, IoContext, Result};

/// Print a completion script for a shell
///
/// The script completes commands, options and their values. It belongs to this version: make it again after an update.
#[derive(Args)]
#[command(after_long_help = help::examples(COMPLETIONS))]
pub struct Completions {
    /// The shell that will read it
    #[arg(value_enum)]
    shell: Shell,
}

const COMPLETIONS: help::Examples = &[
    ("For bash", "incontext completions bash > ~/.local/share/bash-completion/completions/incontext"),
    ("For zsh, in a folder of your $fpath", "incontext completions zsh > ~/.zfunc/_incontext"),
    ("For fish", "incontext completions fish > ~/.config/fish/completions/incontext.fish"),
];

/// Print the manual page, or write one for every command
///
/// Without a folder the page of the program itself goes to standard output; with one, a page for it and for each of its
/// commands is written there.
#[derive(Args)]
#[command(after_long_help = help::examples(MAN))]
pub struct Man {
    /// Folder for the pages, made if need be
    dir: Option<PathBuf>,
}

const MAN: help::Examples = &[
    ("Read it", "incontext man > incontext.1 && man ./incontext.1"),
    ("Install all pages for yourself", "incontext man ~/.local/share/man/man1"),
];

pub fn completions(command: &Completions, printer: &Printer) -> Result<Ending> {
    let mut script = Vec::new();
    clap_complete::generate(command.shell, &mut super::command(), "incontext", &mut script);
    printer.data(&String::from_utf8_lossy(&script))?;
    Ok(Ending::Done)
}

pub fn man(command: &Man, printer: &Printer) -> Result<Ending> {
    let mut program = super::command().disable_help_subcommand(true);
    // Fills in the names of subcommands and what they inherit.
    program.build();
    match &command.dir {
        None => printer.data(&page(program)?)?,
        Some(dir) => {
            fs::create_dir_all(dir).at("create", dir)?;
            let written = pages(program, dir)?;
            printer.note(format!("{written} pages in {}", dir.display()));
        }
    }
    Ok(Ending::Done)
}

/// Writes the pages of `command` and of everything below it; how many there were.
fn pages(command: Command, dir: &Path) -> Result<usize> {
    let mut written = 1;
    for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help") {
        written += pages(inner.clone(), dir)?;
    }
    let file = dir.join(Page::new(command.clone()).get_filename());
    fs::write(&file, page(command)?).at("write", &file)?;
    Ok(written)
}

fn page(command: Command) -> Result<String> {
    let end = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
    let mut roff = Vec::new();
    Page::new(command.after_long_help(Resettable::Reset))
        .manual("incontext manual")
        .render(&mut roff)
        .map_err(|source| Error::io("cannot make the manual page", source))?;
    Ok(String::from_utf8_lossy(&roff).into_owned() + &sections(&end))
}

/// The end of a command's help, its headings as sections and its lines as they are: left to itself, `man` would run
/// examples together into a paragraph.
fn sections(help: &str) -> String {
    let mut roff = String::new();
    for line in help.lines() {
        match line.strip_suffix(':').filter(|title| !title.starts_with(' ')) {
            Some(title) => roff.push_str(&format!(".fi\n.SH {}\n.nf\n", title.to_uppercase())),
            None => {
                let line = line.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq");
                // A line that begins with a full stop would be an order.
                roff.push_str(&format!("\\&{line}\n"));
            }
        }
    }
    roff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_becomes_sections_and_no_line_of_it_an_order() {
        let roff = sections("Examples:\n  # it's\n.so x");
        assert_eq!(roff, ".fi\n.SH EXAMPLES\n.nf\n\\&  # it\\(aqs\n\\&.so x\n");
    }
}
