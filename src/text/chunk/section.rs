//! The sections of a document and the headings each stands under.

use std::ops::Range;

use crate::error::Result;
use crate::text::document::{Block, BlockKind, Document, Format};
use crate::text::load::markdown;
use crate::text::tokenizer::Tokenizer;

/// Blocks that belong under one heading.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Section {
    /// Which of [`Document::blocks`], heading included.
    pub(super) blocks: Range<usize>,
    /// The document's title and the headings above and of this section, outermost first.
    pub(super) path: Vec<String>,
}

/// The sections of `document`, in order; together they hold every block.
///
/// A heading with nothing under it joins the section that follows (or, at the end, the one before): a chunk of nothing
/// but headings answers no question.
pub(super) fn sections(document: &Document) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    let mut headings: Vec<(u8, String)> = Vec::new();
    // Whether the last section has nothing but headings so far.
    let mut bare = false;
    for (index, block) in document.blocks.iter().enumerate() {
        let starts = match block.kind {
            BlockKind::Heading(level) => {
                headings.retain(|(above, _)| *above < level);
                headings.push((level, heading_text(document, block)));
                !bare
            }
            BlockKind::Record => {
                headings = vec![(1, heading_text(document, block))];
                true
            }
            _ => sections.is_empty(),
        };
        if starts {
            sections.push(Section { blocks: index..index, path: Vec::new() });
        }
        bare = matches!(block.kind, BlockKind::Heading(_));
        if let Some(section) = sections.last_mut() {
            section.blocks.end = index + 1;
            if starts || bare {
                section.path = path(document, &headings);
            }
        }
    }
    if bare && sections.len() > 1 {
        let last = sections.pop();
        if let (Some(last), Some(before)) = (last, sections.last_mut()) {
            before.blocks.end = last.blocks.end;
        }
    }
    sections
}

fn heading_text(document: &Document, block: &Block) -> String {
    let text = &document.text[block.range.clone()];
    match document.format {
        Format::Markdown => markdown::heading_text(text),
        _ => text.split_whitespace().collect::<Vec<_>>().join(" "),
    }
}

/// The title and the headings, none of them empty or the same as the one before.
fn path(document: &Document, headings: &[(u8, String)]) -> Vec<String> {
    let mut path: Vec<String> = document.title.iter().cloned().collect();
    path.extend(headings.iter().map(|(_, text)| text.clone()));
    path.retain(|part| !part.trim().is_empty());
    path.dedup();
    path
}

/// `path` joined by ` > `, cut from the left so that it has at most `limit` tokens.
pub(super) fn header(path: &[String], limit: usize, tokenizer: &Tokenizer) -> Result<String> {
    let mut header = path.join(" > ");
    while !header.is_empty() {
        let tokens = tokenizer.offsets(&header)?;
        let Some(excess) = tokens.len().checked_sub(limit).filter(|&excess| excess > 0) else { break };
        let least = tokens.get(excess).map_or(header.len(), |token| token.start).max(1);
        // Whole words where there are spaces; a script without them is cut between its tokens.
        let word = header[..].char_indices().find(|&(at, c)| at >= least && c == ' ').map(|(at, _)| at);
        let near = word.filter(|at| at - least <= 24);
        let cut = near.unwrap_or_else(|| ceil_char_boundary(&header, least));
        header = header[cut..].trim_start_matches([' ', '>']).to_owned();
    }
    Ok(header)
}

pub(super) fn ceil_char_boundary(text: &str, at: usize) -> usize {
    (at..text.len()).find(|&at| text.is_char_boundary(at)).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::load::parse;
    use crate::text::tokenizer::tests::tiny_bert;

    fn outline(markdown: &str) -> Vec<(String, String)> {
        let document = parse("a.md", markdown.as_bytes().to_vec()).unwrap();
        let text = |section: &Section| {
            let blocks = &document.blocks[section.blocks.clone()];
            document.text[blocks[0].range.start..blocks[blocks.len() - 1].range.end].to_owned()
        };
        sections(&document).iter().map(|section| (section.path.join(" > "), text(section))).collect()
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|&(path, text)| (path.to_owned(), text.to_owned())).collect()
    }

    #[test]
    fn a_section_knows_the_headings_above_it() {
        let expected = pairs(&[
            ("Book", "intro"),
            ("Book > One", "# One\n\na"),
            ("Book > One > Two", "## Two\n\nb"),
            ("Book > Three", "# Three\n\nc"),
        ]);
        let source = "---\ntitle: Book\n---\nintro\n\n# One\n\na\n\n## Two\n\nb\n\n# Three\n\nc\n";
        assert_eq!(outline(source), expected);
    }

    #[test]
    fn bare_headings_join_what_follows_or_at_the_end_what_was_before() {
        let source = "# One\n\n## Two\n\ntext\n\n## Three\n\n### Four\n";
        assert_eq!(
            outline(source),
            pairs(&[("One > Two", "# One\n\n## Two\n\ntext\n\n## Three\n\n### Four")])
        );
        assert_eq!(outline("# One\n\n## Two\n"), pairs(&[("One > Two", "# One\n\n## Two")]));
    }

    #[test]
    fn a_long_header_loses_its_left() {
        let tokenizer = tiny_bert();
        let path = ["alpha beta".to_owned(), "gamma".to_owned(), "delta".to_owned()];
        let whole = header(&path, 1000, &tokenizer).unwrap();
        assert_eq!(whole, "alpha beta > gamma > delta");
        for limit in 0..tokenizer.count(&whole).unwrap() {
            let cut = header(&path, limit, &tokenizer).unwrap();
            assert!(tokenizer.count(&cut).unwrap() <= limit);
            assert!(whole.ends_with(&cut) && cut.len() < whole.len());
        }
    }
}
