//! Plain text: paragraphs between blank lines, and no outline.

use std::collections::BTreeMap;
use std::ops::Range;

use super::after_bom;
use crate::text::document::{Block, BlockKind, Document, Flaws, Format, Origin};

pub(super) fn read(name: &str, source: String) -> Document {
    let blocks = paragraphs(&source, after_bom(&source)..source.len())
        .into_iter()
        .map(|range| Block { kind: BlockKind::Paragraph, range })
        .collect();
    Document {
        path: name.to_owned(),
        format: Format::Text,
        title: None,
        text: source.clone(),
        source,
        origin: Origin::Same,
        blocks,
        fields: BTreeMap::new(),
        flaws: Flaws::default(),
    }
}

/// The stretches of `text[within]` between blank lines, without the whitespace at their ends.
pub(super) fn paragraphs(text: &str, within: Range<usize>) -> Vec<Range<usize>> {
    let mut paragraphs: Vec<Range<usize>> = Vec::new();
    let mut open = false;
    let mut at = within.start;
    for line in text[within].split_inclusive('\n') {
        let range = at..at + line.len();
        at = range.end;
        let Some(line) = super::trimmed(text, range) else {
            open = false;
            continue;
        };
        match paragraphs.last_mut() {
            Some(paragraph) if open => paragraph.end = line.end,
            _ => paragraphs.push(line),
        }
        open = true;
    }
    paragraphs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_lines_part_paragraphs_even_when_they_hold_spaces() {
        let text = "\n one\ntwo  \n \t\n\u{3000}\nthree";
        let found: Vec<_> = paragraphs(text, 0..text.len()).into_iter().map(|r| &text[r]).collect();
        assert_eq!(found, ["one\ntwo", "three"]);
    }
}
