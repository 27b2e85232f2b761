//! Source code and configuration: blocks of lines that belong together, judged by indentation alone.
//!
//! A block starts at a line without indentation that follows a blank line, which is where top-level items start in
//! nearly every language that is laid out by people or formatters. No parser, so no language is left out.

use std::collections::BTreeMap;

use super::{after_bom, trimmed};
use crate::text::document::{Block, BlockKind, Document, Flaws, Format, Origin};

pub(super) fn read(name: &str, source: String) -> Document {
    let file_name = name.rsplit('/').next().unwrap_or(name);
    Document {
        path: name.to_owned(),
        format: Format::Code,
        title: Some(file_name.to_owned()),
        blocks: blocks(&source),
        text: source.clone(),
        source,
        origin: Origin::Same,
        fields: BTreeMap::new(),
        flaws: Flaws::default(),
    }
}

fn blocks(source: &str) -> Vec<Block> {
    let mut starts = vec![after_bom(source)];
    let mut after_blank = false;
    let mut at = starts[0];
    for line in source[at..].split_inclusive('\n') {
        let blank = line.trim().is_empty();
        let closes = line.starts_with(['}', ')', ']']);
        if after_blank && !blank && !closes && !line.starts_with(char::is_whitespace) {
            starts.push(at);
        }
        after_blank = blank;
        at += line.len();
    }
    starts.push(source.len());
    let stretches = starts.windows(2).filter_map(|pair| trimmed(source, pair[0]..pair[1]));
    stretches.map(|range| Block { kind: BlockKind::Code, range }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn top_level_items_are_blocks_and_blank_lines_inside_them_are_not_boundaries() {
        let document = read(
            "src/a.py",
            "import os\nimport sys\n\ndef f():\n    a = 1\n\n    return a\n\nx = f()\n".into(),
        );
        let found: Vec<_> = document.blocks.iter().map(|b| &document.text[b.range.clone()]).collect();
        assert_eq!(found, ["import os\nimport sys", "def f():\n    a = 1\n\n    return a", "x = f()"]);
        assert_eq!(document.title.as_deref(), Some("a.py"));
    }
}
