//! What is taken out of a file whose bytes are nothing to look at: a text, its outline, and the pages it stood on.
//!
//! The text becomes its own source. It can travel from a process that reads a file to one that trusts it, see
//! [`super::child`]; so what arrives is checked before it is believed.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::text::boundaries::trimmed;
use crate::text::document::{Block, BlockKind, Document, Flaws, Format, Origin, PageStart};

/// The readable part of a file, in reading order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extracted {
    pub title: Option<String>,
    pub text: String,
    pub blocks: Vec<Block>,
    pub pages: Vec<PageStart>,
}

impl Extracted {
    /// Starts page `number` behind what is there.
    pub(super) fn page(&mut self, number: u32) {
        self.pages.push(PageStart { text: self.text.len(), number });
    }

    /// Appends a block, apart from what is before it. One without words is left out.
    pub(super) fn block(&mut self, kind: BlockKind, text: &str) {
        let Some(inner) = trimmed(text, 0..text.len()) else { return };
        // The first line of code keeps its indentation.
        let start = match kind {
            BlockKind::Code => text[..inner.start].rfind('\n').map_or(0, |end| end + 1),
            _ => inner.start,
        };
        self.separate(kind);
        let at = self.text.len();
        self.text.push_str(&text[start..inner.end]);
        self.blocks.push(Block { kind, range: at..self.text.len() });
    }

    fn separate(&mut self, kind: BlockKind) {
        let Some(last) = self.blocks.last() else { return };
        let items = kind == BlockKind::ListItem && last.kind == BlockKind::ListItem;
        let before = self.text.len();
        self.text.push_str(if items { "\n" } else { "\n\n" });
        // A page starts with its first words, not with the blank before them.
        for page in self.pages.iter_mut().rev().take_while(|page| page.text == before) {
            page.text = self.text.len();
        }
    }

    /// As the document `name`, taken out of the file with the hash `file`.
    ///
    /// # Errors
    /// `Corrupt` when ranges do not fit the text.
    pub(super) fn document(self, name: &str, format: Format, file: String) -> Result<Document> {
        let Self { title, text, blocks, pages } = self;
        let fits = |range: &Range<usize>| range.start <= range.end && text.get(range.clone()).is_some();
        let apart = blocks.windows(2).all(|pair| pair[0].range.end <= pair[1].range.start);
        let ordered = pages.windows(2).all(|pair| pair[0].text <= pair[1].text);
        if !(apart && ordered && blocks.iter().all(|block| fits(&block.range))) {
            return Err(Error::corrupt("its reader returned an outline that does not fit its text"));
        }
        let title = title.map(|title| title.split_whitespace().collect::<Vec<_>>().join(" "));
        let title = title.filter(|title| !title.is_empty()).or_else(|| Some(stem(name)));
        Ok(Document {
            path: name.to_owned(),
            format,
            title,
            source: text.clone(),
            text,
            origin: Origin::Extracted { file, pages },
            blocks,
            fields: BTreeMap::new(),
            flaws: Flaws::default(),
        })
    }
}

/// What a file without a title of its own is called.
fn stem(name: &str) -> String {
    let file = name.rsplit('/').next().unwrap_or(name);
    file.rsplit_once('.').map_or(file, |(stem, _)| stem).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_set_apart_and_a_page_starts_with_its_first_words() {
        let mut out = Extracted::default();
        out.page(1);
        out.block(BlockKind::Heading(1), "One ");
        out.page(2);
        out.block(BlockKind::Paragraph, " \n");
        out.block(BlockKind::ListItem, "* a");
        out.block(BlockKind::ListItem, "* b");
        out.block(BlockKind::Code, "\n  x\n  y\n");
        assert_eq!(out.text, "One\n\n* a\n* b\n\n  x\n  y");
        let document = out.document("a/b.c.pdf", Format::Pdf, "ab".into()).unwrap();
        assert_eq!(document.origin.page(0), Some(1));
        assert_eq!(document.origin.page(document.text.find('*').unwrap()), Some(2));
        assert_eq!(document.title.as_deref(), Some("b.c"));
    }

    #[test]
    fn an_outline_that_does_not_fit_is_not_believed() {
        let block = |range| Block { kind: BlockKind::Paragraph, range };
        for blocks in [vec![block(0..9)], vec![block(1..2)], vec![block(0..2), block(0..2)]] {
            let out = Extracted { text: "é".into(), blocks, ..Extracted::default() };
            assert!(out.document("a.pdf", Format::Pdf, String::new()).is_err());
        }
    }
}
