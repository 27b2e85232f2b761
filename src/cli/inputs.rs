//! Texts that something is to be done with, from wherever they come, one after another: standard input is read as it is written.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};

use flate2::read::MultiGzDecoder;
use serde_json::{Value, json};

use crate::error::{Error, IoContext, Result};
use crate::text::example::{Columns, Example};

/// What a gzip file begins with (RFC 1952).
const GZIP: [u8; 2] = [0x1f, 0x8b];

pub struct Inputs {
    pub columns: Columns,
    /// Whether there may be more than one.
    pub many: bool,
    pub rest: Box<dyn Iterator<Item = Result<Example>>>,
}

impl Inputs {
    /// # Errors
    /// `Io` when the file cannot be read.
    pub fn open(texts: &[String], file: Option<&str>, columns: Columns) -> Result<Self> {
        let rest: Box<dyn Iterator<Item = Result<Example>>> = match file {
            None => {
                let texts: Vec<String> = texts.to_vec();
                Box::new((1..).zip(texts).map(|(number, text)| plain(number, &text)))
            }
            Some("-") => Box::new(rows("standard input".into(), Box::new(std::io::stdin()), columns.clone())),
            Some(path) => {
                let mut head = Vec::new();
                File::open(path).at("read", path)?.take(2).read_to_end(&mut head).at("read", path)?;
                let file = File::open(path).at("read", path)?;
                let read: Box<dyn Read> =
                    if head == GZIP { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
                Box::new(rows(format!("`{path}`"), read, columns.clone()))
            }
        };
        Ok(Self { columns, many: file.is_some() || texts.len() > 1, rest })
    }

    /// # Errors
    /// What is wrong with it.
    pub fn first(&mut self) -> Result<Option<Example>> {
        self.rest.next().transpose()
    }
}

fn plain(number: usize, text: &str) -> Result<Example> {
    if text.trim().is_empty() {
        return Err(Error::invalid("a text is empty").hint("give one with something on it"));
    }
    Example::of(json!({ "input": text.trim() }), number, &Columns::default())
}

/// A row for each line with something on it. The first of them tells JSON Lines from plain text.
fn rows(name: String, read: Box<dyn Read>, columns: Columns) -> impl Iterator<Item = Result<Example>> {
    let mut is_json = None;
    (1..).zip(BufReader::new(read).lines()).filter_map(move |(number, line)| {
        let line = match line {
            Ok(line) => line,
            Err(error) => return Some(Err(Error::io(format!("cannot read {name} line {number}"), error))),
        };
        let line = line.trim_start_matches('\u{feff}').trim();
        if line.is_empty() {
            return None;
        }
        let row = match *is_json.get_or_insert_with(|| line.starts_with('{')) {
            true => serde_json::from_str::<Value>(line)
                .map_err(|error| Error::invalid(format!("not JSON ({error})")).hint("a JSON object a line"))
                .and_then(|row| Example::of(row, number, &columns)),
            false => plain(number, line),
        };
        Some(row.map_err(|error| error.within(format!("{name} line {number}"))))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &'static str) -> Vec<Result<(String, String)>> {
        let rows = rows("here".into(), Box::new(text.as_bytes()), Columns::default());
        rows.map(|row| row.map(|row| (row.id, row.input))).collect()
    }

    #[test]
    fn the_first_line_tells_json_from_text_and_a_bad_line_is_named() {
        let rows = read("\nplain\n\n{odd\n");
        let rows: Vec<(String, String)> = rows.into_iter().map(Result::unwrap).collect();
        assert_eq!(rows, [("2", "plain"), ("4", "{odd")].map(|(id, text)| (id.to_owned(), text.to_owned())));
        let rows = read("{\"id\": \"x\", \"text\": \"t\"}\nplain\n");
        assert_eq!(rows[0].as_ref().unwrap().0, "x");
        assert!(rows[1].as_ref().unwrap_err().to_string().starts_with("here line 2: not JSON"));
    }
}
