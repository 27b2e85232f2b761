//! CSV and TSV: each row as lines of `name: value`, so that a value found alone still says what it is.
//!
//! The first row holds the names. A row leads back to its own bytes: names were put in by us and lead nowhere. What parts
//! values follows from the ending and the first line: a comma, a semicolon or a tab.

use std::collections::BTreeMap;
use std::ops::Range;

use csv_core::{ReadFieldResult, Reader, ReaderBuilder};

use super::text_builder::TextBuilder;
use super::{after_bom, trimmed};
use crate::error::{Error, Result};
use crate::text::document::{Block, BlockKind, Document, Flaws, Format};

/// Rows of a table that is read: more are a database, and would take hours to embed.
const ROWS: usize = 200_000;

/// # Errors
/// `TooLong` for a table of more rows than anybody reads.
pub(super) fn read(name: &str, source: String) -> Result<Document> {
    let start = after_bom(&source);
    let mut rows = Rows { source: &source, at: start, reader: reader(name, &source[start..]) };
    let mut builder = TextBuilder::default();
    let mut blocks = Vec::new();
    let names: Vec<String> =
        rows.next().unwrap_or_default().into_iter().map(|at| plain(&source[at])).collect();
    let mut count = 0usize;
    for row in rows {
        count += 1;
        if count > ROWS {
            return Err(Error::too_long(format!("a table of more than {ROWS} rows")).hint(
                "keep the rows and columns that say something in words, or split it and ingest the parts",
            ));
        }
        add(&source, &names, &row, &mut builder, &mut blocks);
    }
    let (text, origin) = builder.finish();
    Ok(Document {
        path: name.to_owned(),
        format: Format::Table,
        title: Some(name.rsplit('/').next().unwrap_or(name).to_owned()),
        text,
        origin,
        blocks,
        fields: BTreeMap::new(),
        flaws: Flaws::default(),
        source,
    })
}

fn add(
    source: &str,
    names: &[String],
    row: &[Range<usize>],
    builder: &mut TextBuilder,
    blocks: &mut Vec<Block>,
) {
    let mut start = None;
    for (column, value) in row.iter().enumerate() {
        let Some(value) = trimmed(source, inner(source, value.clone())) else { continue };
        if builder.len() > 0 {
            builder.insert(if start.is_none() { "\n\n" } else { "\n" });
        }
        start.get_or_insert(builder.len());
        match names.get(column).filter(|name| !name.is_empty()) {
            Some(name) => builder.insert(name),
            None => builder.insert(&format!("column {}", column + 1)),
        }
        builder.insert(": ");
        // A quote in quotes is written twice.
        let doubled = source[..value.start].ends_with('"');
        let mut at = value.start;
        while let Some(quote) = source[at..value.end].find("\"\"").filter(|_| doubled) {
            builder.copy(source, at..at + quote);
            builder.decoded('"', at + quote..at + quote + 2);
            at += quote + 2;
        }
        builder.copy(source, at..value.end);
    }
    if let Some(start) = start {
        blocks.push(Block { kind: BlockKind::Paragraph, range: start..builder.len() });
    }
}

fn reader(name: &str, text: &str) -> Reader {
    let first = text.lines().next().unwrap_or_default();
    let count = |delimiter: char| first.matches(delimiter).count();
    let delimiter = match name.to_lowercase().ends_with(".tsv") || count('\t') > count(',').max(count(';')) {
        true => b'\t',
        false if count(';') > count(',') => b';',
        false => b',',
    };
    ReaderBuilder::new().delimiter(delimiter).build()
}

/// The value at `field` without the quotes around it.
fn inner(source: &str, field: Range<usize>) -> Range<usize> {
    let Some(field) = trimmed(source, field.clone()) else { return field };
    let text = &source[field.clone()];
    match text.len() >= 2 && text.starts_with('"') && text.ends_with('"') {
        true => field.start + 1..field.end - 1,
        false => field,
    }
}

/// A name as it is shown, on one line.
fn plain(field: &str) -> String {
    let inner = inner(field, 0..field.len());
    field[inner].replace("\"\"", "\"").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The rows of a table, each the places of its values, one row at a time.
struct Rows<'a> {
    source: &'a str,
    at: usize,
    reader: Reader,
}

impl Iterator for Rows<'_> {
    type Item = Vec<Range<usize>>;

    fn next(&mut self) -> Option<Self::Item> {
        let bytes = self.source.as_bytes();
        let mut row = Vec::new();
        let mut start = self.at;
        // What a value says is of no interest here, only where it ends.
        let mut scratch = [0; 1024];
        loop {
            let (result, read, _) = self.reader.read_field(&bytes[self.at..], &mut scratch);
            self.at += read;
            match result {
                ReadFieldResult::InputEmpty | ReadFieldResult::OutputFull => {}
                ReadFieldResult::Field { record_end } => {
                    row.push(start..self.value_end(start));
                    start = self.at;
                    if record_end {
                        return Some(row);
                    }
                }
                ReadFieldResult::End => return None,
            }
        }
    }
}

impl Rows<'_> {
    /// Where the value from `start` ends: before the character that parts it from the next, if that was read.
    fn value_end(&self, start: usize) -> usize {
        let last = self.source.as_bytes()[start..self.at].last();
        let parted = last.is_some_and(|last| matches!(last, b',' | b';' | b'\t' | b'\n' | b'\r'));
        if parted { self.at - 1 } else { self.at }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::text::document::Origin;

    fn rows(name: &str, source: &str) -> Vec<String> {
        let document = read(name, source.to_owned()).unwrap();
        document.blocks.iter().map(|block| document.text[block.range.clone()].to_owned()).collect()
    }

    #[test]
    fn a_row_is_lines_of_names_and_values() {
        let csv = "Name,\"Full, age\",\n Ann ,5,x\n\n\"Bo \"\"b\"\"\nC\",,\n";
        assert_eq!(rows("a.csv", csv), ["Name: Ann\nFull, age: 5\ncolumn 3: x", "Name: Bo \"b\"\nC"]);
        assert_eq!(rows("a.csv", "a;b\r\n1,5;2\r\n"), ["a: 1,5\nb: 2"]);
        assert_eq!(rows("a.tsv", "a\tb\n1\t2"), ["a: 1\nb: 2"]);
        assert_eq!(rows("a.csv", "only,names\n"), [""; 0]);
    }

    #[test]
    fn a_row_leads_back_to_its_own_bytes() {
        let document = read("a.csv", "name,says\nAnn,\"a \"\"b\"\" c\"\nBo,d\n".to_owned()).unwrap();
        let back = |block: usize| {
            &document.source[document.origin.source_range(document.blocks[block].range.clone())]
        };
        assert_eq!([back(0), back(1)], ["Ann,\"a \"\"b\"\" c", "Bo,d"]);
    }

    #[test]
    fn more_rows_than_anybody_reads_are_refused() {
        let error = read("a.csv", "1,2\n".repeat(ROWS + 2)).unwrap_err();
        assert!(error.to_string().contains("200000 rows") && error.advice().is_some(), "{error}");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_and_pieces_are_what_they_lead_to(source in "[a-c,;\"\n\r\té 😀]{0,80}") {
            for name in ["a.csv", "a.tsv"] {
                let document = read(name, source.clone()).unwrap();
                let Origin::Pieces(pieces) = &document.origin else { panic!("a table is never its own text") };
                let mut end = 0;
                for piece in pieces {
                    prop_assert!(piece.source >= end);
                    end = piece.source + piece.source_len;
                    if piece.text_len == piece.source_len {
                        prop_assert_eq!(
                            &document.text[piece.text..piece.text + piece.text_len],
                            &document.source[piece.source..end]
                        );
                    }
                }
            }
        }
    }
}
