//! JSON: every string with the path to it, `a.b[2]: value`; an array of records with text is read as JSON Lines are.
//!
//! Numbers and truth values are left out: alone they say nothing that anybody would ask for. What hangs together, the strings
//! of one object or array, is one block. Paths were put in by us and lead nowhere; a value leads back to its own bytes.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::Value;

use super::json_lines::{TEXT_FIELDS, record};
use super::json_places::{decode, elements, members};
use super::text_builder::TextBuilder;
use super::{after_bom, trimmed};
use crate::error::{Error, Report, Result};
use crate::text::document::{Block, BlockKind, Document, Flaws, Format};

/// # Errors
/// `Invalid`, with the place, for what is not JSON or nested too deeply.
pub(super) fn read(name: &str, source: String) -> Result<Document> {
    let start = after_bom(&source);
    let value: Value = serde_json::from_str(&source[start..]).map_err(|error| {
        Error::invalid(format!("not JSON: {error}"))
            .hint("correct it, or leave it out with a line in .ignore")
    })?;
    let mut walk = Walk { source: &source, builder: TextBuilder::default(), blocks: Vec::new(), block: None };
    let mut flaws = Flaws::default();
    if let Some(whole) = trimmed(&source, start..source.len()) {
        match value.as_array().filter(|records| are_records(records)) {
            Some(_) => {
                for (place, number) in elements(&source, whole).into_iter().zip(1..) {
                    if let Err(report) = record(&source, place, &mut walk.builder, &mut walk.blocks) {
                        flaws.add(|| Report { what: format!("record {number}: {}", report.what), ..report });
                    }
                }
            }
            None => walk.value("", whole),
        }
    }
    walk.close();
    let Walk { builder, blocks, .. } = walk;
    let (text, origin) = builder.finish();
    let title = value.get("title").and_then(Value::as_str).map(str::trim).filter(|title| !title.is_empty());
    let file = name.rsplit('/').next().unwrap_or(name);
    Ok(Document {
        path: name.to_owned(),
        format: Format::Json,
        title: Some(title.unwrap_or(file).to_owned()),
        text,
        origin,
        blocks,
        fields: BTreeMap::new(),
        flaws,
        source,
    })
}

/// Whether these are objects of which most have a text, as in a corpus.
fn are_records(values: &[Value]) -> bool {
    let has_text =
        |value: &&Value| TEXT_FIELDS.iter().any(|field| value.get(field).is_some_and(Value::is_string));
    !values.is_empty() && 2 * values.iter().filter(has_text).count() > values.len()
}

struct Walk<'a> {
    source: &'a str,
    builder: TextBuilder,
    blocks: Vec<Block>,
    /// Where the block that is open starts.
    block: Option<usize>,
}

impl Walk<'_> {
    /// Adds the strings of the value at `place`, which is reached by `path`.
    fn value(&mut self, path: &str, place: Range<usize>) {
        match self.source.as_bytes().get(place.start) {
            Some(b'"') => self.string(path, place),
            Some(b'{') => {
                self.close();
                for (key, value) in members(self.source, place) {
                    let key = &self.source[key];
                    let path = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
                    self.value(&path, value);
                }
                self.close();
            }
            Some(b'[') => {
                for (value, index) in elements(self.source, place).into_iter().zip(0..) {
                    self.value(&format!("{path}[{index}]"), value);
                }
            }
            _ => {}
        }
    }

    fn string(&mut self, path: &str, place: Range<usize>) {
        if !self.source[place.clone()].contains(char::is_alphabetic) {
            return;
        }
        if self.builder.len() > 0 {
            self.builder.insert(if self.block.is_some() { "\n" } else { "\n\n" });
        }
        let start = self.builder.len();
        if !path.is_empty() {
            self.builder.insert(path);
            self.builder.insert(": ");
        }
        decode(self.source, place, &mut self.builder);
        self.block.get_or_insert(start);
    }

    /// Ends the block that is open.
    fn close(&mut self) {
        let Some(start) = self.block.take() else { return };
        if let Some(range) = trimmed(self.builder.text(), start..self.builder.len()) {
            self.blocks.push(Block { kind: BlockKind::Paragraph, range });
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn blocks(source: &str) -> Vec<String> {
        let document = read("a.json", source.to_owned()).unwrap();
        document.blocks.iter().map(|block| document.text[block.range.clone()].to_owned()).collect()
    }

    #[test]
    fn strings_have_their_paths_and_objects_are_blocks() {
        let json =
            r#"{"title": "T", "n": 5, "a": {"b": "x \"y\"", "c": ["one", "two", {"d": "z"}]}, "e": "f"}"#;
        assert_eq!(
            blocks(json),
            ["title: T", "a.b: x \"y\"\na.c[0]: one\na.c[1]: two", "a.c[2].d: z", "e: f"]
        );
        assert_eq!(read("x/a.json", json.to_owned()).unwrap().title.as_deref(), Some("T"));
        assert_eq!(blocks(" \"alone\" "), ["alone"]);
        assert_eq!(blocks("[1, {}, [], \"12\"]"), [""; 0]);
    }

    #[test]
    fn records_with_text_are_sections() {
        let json = r#"[{"title": "A", "text": "One."}, {"text": "Two."}, 7]"#;
        let document = read("a.json", json.to_owned()).unwrap();
        let kinds: Vec<_> =
            document.blocks.iter().map(|b| (b.kind, &document.text[b.range.clone()])).collect();
        use BlockKind::*;
        assert_eq!(kinds, [(Record, "A"), (Paragraph, "One."), (Record, ""), (Paragraph, "Two.")]);
        assert_eq!(document.flaws.count, 1);
        assert!(document.flaws.named[0].what.starts_with("record 3: "), "{:?}", document.flaws);
    }

    #[test]
    fn a_value_leads_back_to_its_own_bytes_and_bad_json_to_its_line() {
        let document = read("a.json", "{\"a\": \"caf\\u00e9\"}".to_owned()).unwrap();
        assert_eq!(document.text, "a: café");
        assert_eq!(&document.source[document.origin.source_range(0..document.text.len())], "caf\\u00e9");
        let error = read("a.json", "{\n \"a\": }".to_owned()).unwrap_err();
        assert!(error.to_string().contains("line 2"), "{error}");
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i32>().prop_map(Value::from),
            "[a-z{}\\[\\],:\"\\\\ é😀]{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::vec(("[a-z\\\\\":]{0,4}", inner), 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    fn strings(value: &Value) -> usize {
        match value {
            Value::String(text) => usize::from(text.contains(char::is_alphabetic)),
            Value::Array(values) => values.iter().map(strings).sum(),
            Value::Object(members) => members.values().map(strings).sum(),
            _ => 0,
        }
    }

    proptest! {
        #[test]
        fn every_string_is_found(value in json(), pretty in any::<bool>()) {
            let source = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
            let document = read("a.json", source.unwrap()).unwrap();
            // A value of letters has a line of its own: none of these holds a line end.
            let lines = document.blocks.iter().map(|block| document.text[block.range.clone()].lines().count());
            prop_assert_eq!(lines.sum::<usize>(), strings(&value));
        }

        #[test]
        fn no_text_makes_it_panic(source in "[ -~é\n]{0,60}") {
            let _ = read("a.json", source);
        }
    }
}
