//! JSON Lines: one record a line, its text in `text`, `content`, `body` or `passage`, optionally a `title` and an id.
//!
//! A line may also be a bare string. The document's text is the decoded strings, one after another; every record is a
//! section of its own, headed by its title. A line that cannot be read is left out and named in [`Document::flaws`], so that
//! somebody notices what is missing; a file without a single good line is refused.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::Value;

use super::json_places::{decode, members};
use super::text_builder::TextBuilder;
use super::{after_bom, plain, trimmed};
use crate::error::{Error, Report, Result};
use crate::text::document::{Block, BlockKind, Document, Flaws, Format};

/// Where a record's text may be, best first.
pub(super) const TEXT_FIELDS: [&str; 4] = ["text", "content", "body", "passage"];
const ID_FIELDS: [&str; 2] = ["_id", "id"];

pub(super) fn read(name: &str, source: String) -> Result<Document> {
    let mut builder = TextBuilder::default();
    let mut blocks = Vec::new();
    let mut flaws = Flaws::default();
    let mut at = after_bom(&source);
    for (line, number) in source[at..].split_inclusive('\n').zip(1..) {
        let range = at..at + line.len();
        at = range.end;
        let Some(range) = trimmed(&source, range) else { continue };
        if let Err(report) = record(&source, range, &mut builder, &mut blocks) {
            flaws.add(|| Report { what: format!("line {number}: {}", report.what), ..report });
        }
    }
    if blocks.is_empty()
        && let Some(first) = flaws.named.first()
    {
        return Err(Error::Invalid(first.clone()));
    }
    let (text, origin) = builder.finish();
    Ok(Document {
        path: name.to_owned(),
        format: Format::JsonLines,
        title: None,
        text,
        source,
        origin,
        blocks,
        fields: BTreeMap::new(),
        flaws,
    })
}

/// The id (`_id` or `id`) of a record, given its line; how a found passage leads back to a judged corpus.
pub fn record_id(line: &str) -> Option<String> {
    let record: Value = serde_json::from_str(line).ok()?;
    match ID_FIELDS.iter().find_map(|field| record.get(field))? {
        Value::String(id) => Some(id.clone()),
        Value::Number(id) => Some(id.to_string()),
        _ => None,
    }
}

/// Adds the record at `source[line]`: a [`BlockKind::Record`] over its title, then its paragraphs.
pub(super) fn record(
    source: &str,
    line: Range<usize>,
    builder: &mut TextBuilder,
    blocks: &mut Vec<Block>,
) -> Result<(), Report> {
    let refused = |what: String, hint: String| Report { what, hint: Some(hint) };
    let parsed: Value = serde_json::from_str(&source[line.clone()]).map_err(|error| {
        // serde_json saw one line only: its own "at line 1" would contradict the number of the line.
        let (why, column) = (error.to_string(), error.column());
        let why = why.split(" at line ").next().unwrap_or_default();
        refused(format!("not JSON: {why} at column {column}"), "every line is one JSON object".into())
    })?;
    let (title, text) = match &parsed {
        Value::String(_) => (None, Some(line)),
        Value::Object(_) => {
            let members = members(source, line);
            let string = |field: &str| {
                let (_, value) = members.iter().find(|(key, _)| &source[key.clone()] == field)?;
                source[value.clone()].starts_with('"').then(|| value.clone())
            };
            if !TEXT_FIELDS.iter().any(|field| parsed.get(field).is_some()) {
                let hint = format!("put it in one of these fields: {}", TEXT_FIELDS.join(", "));
                return Err(refused("a record without text".into(), hint));
            }
            (string("title"), TEXT_FIELDS.iter().find_map(|field| string(field)))
        }
        _ => {
            let what = "neither a JSON object nor a string";
            return Err(refused(what.into(), "every line is one JSON object".into()));
        }
    };

    if builder.len() > 0 {
        builder.insert("\n\n");
    }
    let titled = title.and_then(|title| decode(source, title, builder));
    let heading = match &titled {
        Some(title) => {
            builder.insert("\n\n");
            title.clone()
        }
        None => builder.len()..builder.len(),
    };
    blocks.push(Block { kind: BlockKind::Record, range: heading });
    if let Some(range) = text.and_then(|text| decode(source, text, builder)) {
        let paragraphs = plain::paragraphs(builder.text(), range).into_iter();
        blocks.extend(paragraphs.map(|range| Block { kind: BlockKind::Paragraph, range }));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(document: &Document) -> Vec<(BlockKind, &str)> {
        document.blocks.iter().map(|block| (block.kind, &document.text[block.range.clone()])).collect()
    }

    #[test]
    fn a_record_is_its_title_and_its_paragraphs() {
        let source = concat!(
            r#"{"_id": "7", "meta": {"text": "no", "l": [1, "}"]}, "title": "On \"owls\"", "text": "One.\n\nTwo \u00e9\ud83d\ude00."}"#,
            "\n\n\"bare\"\n"
        );
        let document = read("a.jsonl", source.to_owned()).unwrap();
        assert_eq!(
            blocks(&document),
            [
                (BlockKind::Record, "On \"owls\""),
                (BlockKind::Paragraph, "One."),
                (BlockKind::Paragraph, "Two é😀."),
                (BlockKind::Record, ""),
                (BlockKind::Paragraph, "bare"),
            ]
        );
        let two = document.blocks[2].range.clone();
        assert_eq!(&document.source[document.origin.source_range(two)], r"Two \u00e9\ud83d\ude00.");
        assert_eq!(record_id(source.lines().next().unwrap()).as_deref(), Some("7"));
    }

    #[test]
    fn the_first_field_that_holds_a_string_is_the_text() {
        let document = read("a.jsonl", r#"{"body":"b","text":null,"content":["x"]}"#.to_owned()).unwrap();
        assert_eq!(blocks(&document)[1], (BlockKind::Paragraph, "b"));
    }

    #[test]
    fn what_is_not_a_record_is_named_by_its_line_and_left_out() {
        for (line, complaint) in [
            ("{oops", "line 2: not JSON"),
            ("[1]", "line 2: neither"),
            (r#"{"a":1}"#, "line 2: a record without text"),
        ] {
            let document = read("a.jsonl", format!("\"fine\"\n{line}\n\"too\"\n")).unwrap();
            assert_eq!(document.text, "fine\n\ntoo");
            assert_eq!(document.flaws.count, 1);
            let flaw = &document.flaws.named[0];
            assert!(flaw.what.starts_with(complaint), "{flaw}");
            assert!(flaw.hint.is_some());
        }
    }

    #[test]
    fn a_file_without_a_good_line_is_refused_and_flaws_beyond_the_first_few_are_counted() {
        let error = read("a.jsonl", "a,b\n1,2\n".to_owned()).unwrap_err();
        assert!(error.to_string().starts_with("line 1: not JSON"), "{error}");
        let document = read("a.jsonl", format!("{}\"fine\"", "1\n".repeat(100))).unwrap();
        assert_eq!((document.flaws.count, document.flaws.named.len()), (100, 5));
    }
}
