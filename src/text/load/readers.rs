//! Who reads which file: what is built in, in a process of its own where that is safer, and commands of the person's own.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::{child, decode, format_of, parse_as, paths, plain, taken_out};
use crate::error::{Error, Result};
use crate::text::document::{Block, BlockKind, Document, Format};

/// Stands for the file's path in a command.
const PATH: &str = "{}";

/// How files are read. The default reads everything in this process and knows no commands.
#[derive(Debug, Clone, Default)]
pub struct Readers {
    /// This program, to be started again for files that may do harm.
    program: Option<PathBuf>,
    /// By ending, in lower case.
    commands: BTreeMap<String, Vec<String>>,
}

impl Readers {
    /// Readers that start `program` again for files that may do harm; it has to hand the words behind [`child::WORD`] to
    /// [`child::serve`] before it does anything else.
    pub fn apart(program: PathBuf) -> Self {
        Self { program: Some(program), commands: BTreeMap::new() }
    }

    /// The same, with a command for an ending as `ENDING=COMMAND {}`; what it prints is the text of a file. It is started
    /// as it stands, not by a shell. It goes before what is built in.
    ///
    /// # Errors
    /// `Invalid`, with the form it should have, for anything else.
    pub fn with(mut self, given: &str) -> Result<Self> {
        const FORM: &str = "write ENDING=COMMAND, with {} for the file, such as 'odt=pandoc -t plain {}'";
        let refused = |why: &str| Error::invalid(format!("loader `{given}`: {why}")).hint(FORM);
        let (ending, command) = given.split_once('=').ok_or_else(|| refused("no `=`"))?;
        let ending = ending.trim().trim_start_matches('.').to_lowercase();
        if ending.is_empty() || !ending.chars().all(char::is_alphanumeric) {
            return Err(refused("no ending of a file name before `=`"));
        }
        let words = shlex::split(command).ok_or_else(|| refused("a quote that is not closed"))?;
        match words.split_first() {
            None => return Err(refused("no command behind `=`")),
            Some((program, _)) if program.contains(PATH) => return Err(refused("the file is no command")),
            Some((_, arguments)) if !arguments.iter().any(|word| word.contains(PATH)) => {
                return Err(refused("no {} for the file"));
            }
            Some(_) => {}
        }
        self.commands.insert(ending, words);
        Ok(self)
    }

    /// Whether the name of the file at `path` says how it is read.
    pub fn know(&self, path: &Path) -> bool {
        self.command(path).is_some() || format_of(path).is_some()
    }

    fn command(&self, path: &Path) -> Option<&[String]> {
        let ending = path.extension()?.to_str()?.to_lowercase();
        self.commands.get(&ending).map(Vec::as_slice)
    }

    /// Reads `bytes`, the content of the file at `path` that is called `name`.
    ///
    /// # Errors
    /// As [`super::parse`], and `Invalid` when a reader goes beyond its limits or a command fails.
    pub fn read(&self, path: &Path, name: &str, bytes: Vec<u8>) -> Result<Document> {
        if let Some(words) = self.command(path) {
            let file = blake3::hash(&bytes).to_hex().to_string();
            return self
                .printed(words, path, name, file)
                .map_err(|error| error.within(format_args!("`{name}`")));
        }
        match (format_of(Path::new(name)), &self.program) {
            (Some(Format::Pdf), Some(program)) => {
                taken_out(Format::Pdf, name, bytes, |bytes| child::read_pdf(program, bytes))
                    .map_err(|error| error.within(format_args!("`{name}`")))
            }
            (format, _) => parse_as(format.unwrap_or(Format::Text), name, bytes),
        }
    }

    fn printed(&self, words: &[String], path: &Path, name: &str, file: String) -> Result<Document> {
        // From the root: a name that begins with a dash is no option then.
        let path = paths::absolute(path);
        let path = path.to_str().ok_or_else(|| Error::invalid("its path is not UTF-8"))?;
        let words: Vec<OsString> = words.iter().map(|word| word.replace(PATH, path).into()).collect();
        let text = decode(child::run(self.program.as_deref(), &words)?)
            .map_err(|error| error.within("what its loader printed").hint("let it print UTF-8 text"))?;
        let paragraphs = plain::paragraphs(&text, 0..text.len());
        let blocks =
            paragraphs.into_iter().map(|range| Block { kind: BlockKind::Paragraph, range }).collect();
        let extracted = super::extracted::Extracted { text, blocks, ..Default::default() };
        extracted.document(name, Format::Command, file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loader_is_an_ending_and_a_command_with_the_file_in_it() {
        let readers = Readers::default().with(".ODT=pandoc -t plain 'a b' {}").unwrap();
        assert!(readers.know(Path::new("x/Y.odt")) && !readers.know(Path::new("x.ods")));
        assert_eq!(readers.commands["odt"], ["pandoc", "-t", "plain", "a b", "{}"]);
        for (given, why) in [
            ("odt", "no `=`"),
            ("=cat {}", "no ending"),
            ("a/b=cat {}", "no ending"),
            ("odt=", "no command"),
            ("odt={}", "the file is no command"),
            ("odt=cat", "no {}"),
            ("odt=cat '{}", "a quote"),
        ] {
            let error = Readers::default().with(given).unwrap_err();
            assert!(error.to_string().contains(why) && error.advice().is_some(), "{given}: {error}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn what_a_command_prints_is_the_text_and_what_it_complains_of_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("- odd.xyz");
        std::fs::write(&path, "one\n\ntwo\n").unwrap();
        let read = |loader: &str| {
            Readers::default().with(loader)?.read(&path, "- odd.xyz", b"one\n\ntwo\n".to_vec())
        };
        let document = read("xyz=cat {}").unwrap();
        assert_eq!((document.text.as_str(), document.blocks.len()), ("one\n\ntwo\n", 2));
        assert_eq!(document.format, Format::Command);
        let error = read("xyz=ls {}/none").unwrap_err().to_string();
        assert!(error.starts_with("`- odd.xyz`: `ls` failed (exit code "), "{error}");
        let error = read("xyz=no-such-program {}").unwrap_err();
        assert!(error.to_string().contains("`no-such-program`"), "{error}");
    }
}
