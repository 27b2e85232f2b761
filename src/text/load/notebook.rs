//! Jupyter notebooks: cells of Markdown as Markdown, cells of code as fenced code; what code printed is left out.
//!
//! The text is one Markdown document. Its pieces lead back into the strings of the JSON that a notebook is; the fences were
//! put in by us and lead nowhere.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::Value;

use super::json_places::{decode, elements, members};
use super::text_builder::TextBuilder;
use super::{after_bom, markdown, trimmed};
use crate::error::{Error, Result};
use crate::text::document::{BlockKind, Document, Flaws, Format};

/// # Errors
/// `Invalid` for what is not JSON, and for JSON that is no notebook.
pub(super) fn read(name: &str, source: String) -> Result<Document> {
    const SAVE: &str = "open it in Jupyter and save it anew, or leave it out with a line in .ignore";
    let start = after_bom(&source);
    let notebook: Value = serde_json::from_str(&source[start..])
        .map_err(|error| Error::invalid(format!("a damaged notebook: not JSON: {error}")).hint(SAVE))?;
    let cells = trimmed(&source, start..source.len())
        .filter(|_| notebook.get("cells").is_some_and(Value::is_array))
        .and_then(|whole| member(&source, whole, "cells"));
    let Some(cells) = cells else {
        return Err(Error::invalid("JSON, but no notebook of version 4: it has no `cells`").hint(SAVE));
    };
    let info = notebook
        .pointer("/metadata/language_info/name")
        .or(notebook.pointer("/metadata/kernelspec/language"));
    let language = info.and_then(Value::as_str).filter(|name| name.chars().all(char::is_alphanumeric));
    let mut builder = TextBuilder::default();
    for cell in elements(&source, cells) {
        add(&source, cell, language.unwrap_or_default(), &mut builder);
    }
    let (text, origin) = builder.finish();
    let blocks = markdown::blocks(&text, 0);
    let heading = blocks.iter().find(|block| matches!(block.kind, BlockKind::Heading(_)));
    let heading = heading.map(|block| markdown::heading_text(&text[block.range.clone()]));
    let file = name.rsplit('/').next().unwrap_or(name);
    Ok(Document {
        path: name.to_owned(),
        format: Format::Markdown,
        title: heading.filter(|title| !title.is_empty()).or_else(|| Some(file.to_owned())),
        text,
        origin,
        blocks,
        fields: BTreeMap::new(),
        flaws: Flaws::default(),
        source,
    })
}

/// Appends the cell at `source[cell]`.
fn add(source: &str, cell: Range<usize>, language: &str, builder: &mut TextBuilder) {
    if !source[cell.clone()].starts_with('{') {
        return;
    }
    let kind = member(source, cell.clone(), "cell_type").map(|kind| &source[kind]);
    let Some(content) = member(source, cell, "source") else { return };
    let lines = match source.as_bytes().get(content.start) {
        Some(b'[') => elements(source, content),
        _ => vec![content],
    };
    let lines: Vec<Range<usize>> =
        lines.into_iter().filter(|line| source[line.clone()].starts_with('"')).collect();
    if lines.iter().all(|line| line.len() == 2) {
        return;
    }
    if builder.len() > 0 {
        builder.insert("\n\n");
    }
    let is_code = kind == Some("\"code\"");
    // Longer than any fence inside.
    let fence = "`".repeat(if lines.iter().any(|line| source[line.clone()].contains("```")) { 8 } else { 3 });
    if is_code {
        builder.insert(&format!("{fence}{language}\n"));
    }
    for line in lines {
        decode(source, line, builder);
    }
    if is_code {
        builder.insert(if builder.text().ends_with('\n') { "" } else { "\n" });
        builder.insert(&fence);
    }
}

/// The value of the member `key` of the object at `source[object]`.
fn member(source: &str, object: Range<usize>, key: &str) -> Option<Range<usize>> {
    members(source, object).into_iter().find(|(name, _)| &source[name.clone()] == key).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn cells_are_markdown_and_code_and_lead_back() {
        use BlockKind::*;
        let json = r##"{"cells": [
            {"cell_type": "markdown", "metadata": {}, "source": ["# A *title*\n", "\n", "Some \"words\"."]},
            {"cell_type": "code", "source": "x = 1\nprint(x)\n", "outputs": [{"text": ["noise"]}]},
            {"cell_type": "code", "source": []}, 7,
            {"cell_type": "raw", "source": "as it is"}],
            "metadata": {"language_info": {"name": "python"}}, "nbformat": 4}"##;
        let document = read("a.ipynb", json.to_owned()).unwrap();
        assert_eq!(
            document.text,
            "# A *title*\n\nSome \"words\".\n\n```python\nx = 1\nprint(x)\n```\n\nas it is"
        );
        let kinds: Vec<_> = document.blocks.iter().map(|block| block.kind).collect();
        assert_eq!(kinds, [Heading(1), Paragraph, Code, Paragraph]);
        assert_eq!(document.title.as_deref(), Some("A title"));
        let at = document.text.find("print").unwrap();
        assert_eq!(&document.source[document.origin.source_range(at..at + 8)], "print(x)");
        let at = document.text.find("Some").unwrap();
        assert_eq!(&document.source[document.origin.source_range(at..at + 12)], "Some \\\"words\\\"");
    }

    #[test]
    fn what_is_no_notebook_says_so() {
        for (json, why) in [("{", "not JSON"), ("[]", "no notebook"), ("{\"cells\": 1}", "no notebook")] {
            let error = read("a.ipynb", json.to_owned()).unwrap_err();
            assert!(error.to_string().contains(why) && error.advice().is_some(), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_source_makes_it_panic(source in "[ -~é\n]{0,60}", cells in proptest::collection::vec("[ -~é\n#`]{0,30}", 0..4)) {
            let _ = read("a.ipynb", source);
            let cells: Vec<Value> = cells
                .into_iter()
                .enumerate()
                .map(|(at, source)| {
                    serde_json::json!({"cell_type": if at % 2 == 0 { "code" } else { "markdown" }, "source": [source, 3]})
                })
                .collect();
            let document = read("a.ipynb", serde_json::json!({ "cells": cells }).to_string()).unwrap();
            prop_assert!(document.blocks.windows(2).all(|pair| pair[0].range.end <= pair[1].range.start));
        }
    }
}
