//! Markdown: the text is the source, the outline comes from CommonMark (with tables, footnotes and task lists).
//!
//! Front matter is read into fields and left out of the blocks. Everything else a reader could see belongs to a block:
//! what the parser does not report (link definitions, rules) becomes a paragraph, so that no byte goes missing.

use std::collections::BTreeMap;
use std::ops::Range;

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use super::{after_bom, trimmed};
use crate::text::document::{Block, BlockKind, Document, Flaws, Format, Origin};
use crate::text::fields;

pub(super) fn read(name: &str, source: String) -> Document {
    let start = after_bom(&source);
    let (fields, body) = front_matter(&source, start);
    let blocks = blocks(&source, body);
    let heading = |wanted: Option<u8>| {
        let found = blocks.iter().find(|block| match block.kind {
            BlockKind::Heading(level) => wanted.is_none_or(|wanted| level == wanted),
            _ => false,
        })?;
        Some(heading_text(&source[found.range.clone()])).filter(|title| !title.is_empty())
    };
    let title = fields.get("title").cloned().or_else(|| heading(Some(1))).or_else(|| heading(None));
    Document {
        path: name.to_owned(),
        format: Format::Markdown,
        title,
        text: source.clone(),
        source,
        origin: Origin::Same,
        blocks,
        fields,
        flaws: Flaws::default(),
    }
}

/// What a heading says, without its `#`, emphasis, links and code marks.
pub fn heading_text(heading: &str) -> String {
    let mut text = String::new();
    for event in Parser::new_ext(heading, options()) {
        match event {
            Event::Text(part) | Event::Code(part) => text.push_str(&part),
            Event::SoftBreak | Event::HardBreak => text.push(' '),
            _ => {}
        }
    }
    text.trim().to_owned()
}

fn options() -> Options {
    Options::ENABLE_TABLES
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_HEADING_ATTRIBUTES
}

/// The outline of `source[body..]`.
pub(super) fn blocks(source: &str, body: usize) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let (mut quotes, mut lists) = (0u32, 0u32);
    // True right after a list item or footnote began: its first child is part of it, not a block beside it.
    let mut fresh = false;
    for (event, range) in Parser::new_ext(&source[body..], options()).into_offset_iter() {
        let kind = match event {
            Event::Start(Tag::BlockQuote(_)) => {
                quotes += 1;
                if quotes > 1 {
                    continue;
                }
                BlockKind::Paragraph
            }
            Event::End(TagEnd::BlockQuote(_)) => {
                quotes -= 1;
                continue;
            }
            // A quote stays in one piece, whatever it quotes.
            _ if quotes > 0 => continue,
            Event::Start(Tag::List(_)) => {
                lists += 1;
                if let Some(item) = blocks.last_mut() {
                    item.range.end = item.range.end.min(body + range.start);
                }
                continue;
            }
            Event::End(TagEnd::List(_)) => {
                lists -= 1;
                continue;
            }
            Event::Start(Tag::Heading { level, .. }) if lists == 0 => BlockKind::Heading(level as u8),
            Event::Start(Tag::CodeBlock(_)) => BlockKind::Code,
            Event::Start(Tag::Item) => BlockKind::ListItem,
            Event::Start(Tag::Paragraph | Tag::Heading { .. }) if fresh => {
                fresh = false;
                continue;
            }
            Event::Start(
                Tag::Paragraph
                | Tag::Heading { .. }
                | Tag::HtmlBlock
                | Tag::Table(_)
                | Tag::FootnoteDefinition(_),
            ) => BlockKind::Paragraph,
            _ => continue,
        };
        fresh = matches!(event, Event::Start(Tag::Item | Tag::FootnoteDefinition(_)));
        let range = body + range.start..body + range.end;
        if let Some(before) = blocks.last_mut() {
            before.range.end = before.range.end.min(range.start);
        }
        blocks.push(Block { kind, range });
    }
    without_gaps(source, body, blocks)
}

/// The blocks without whitespace at their ends and empty ones, and a paragraph for whatever lies between them.
fn without_gaps(source: &str, body: usize, blocks: Vec<Block>) -> Vec<Block> {
    let mut whole = Vec::with_capacity(blocks.len());
    let mut at = body;
    let gap = |range: Range<usize>| {
        let range = trimmed(source, range)?;
        Some(Block { kind: BlockKind::Paragraph, range })
    };
    for block in blocks {
        let Some(range) = trimmed(source, block.range.start.max(at)..block.range.end.max(at)) else {
            continue;
        };
        whole.extend(gap(at..range.start));
        at = range.end;
        whole.push(Block { kind: block.kind, range });
    }
    whole.extend(gap(at..source.len()));
    whole
}

/// Simple `key: value` (between `---`) or `key = value` (between `+++`) pairs, and where the text after them starts. The
/// lines `- item` below a key without a value are a list.
fn front_matter(source: &str, start: usize) -> (BTreeMap<String, String>, usize) {
    let none = (BTreeMap::new(), start);
    let mut lines = source[start..].split_inclusive('\n');
    let Some(first) = lines.next() else { return none };
    let (separator, closing): (char, &[&str]) = match first.trim_end() {
        "---" => (':', &["---", "..."]),
        "+++" => ('=', &["+++"]),
        _ => return none,
    };
    let mut found = BTreeMap::new();
    let mut any_key = false;
    let mut list: Option<(String, Vec<String>)> = None;
    let mut at = start + first.len();
    for line in lines {
        at += line.len();
        let line = line.trim_end();
        let item = line.trim_start().strip_prefix("- ").filter(|_| separator == ':');
        if let (Some(item), Some((_, items))) = (item, &mut list) {
            items.push(unquoted(item.trim()).to_owned());
            continue;
        }
        let is_end = closing.contains(&line);
        let pair = line.split_once(separator).filter(|(key, _)| is_key(key.trim_end()));
        if (is_end || pair.is_some())
            && let Some((key, items)) = list.take()
            && !items.is_empty()
        {
            found.insert(key, fields::list(&items));
        }
        if is_end {
            return (found, at);
        }
        match pair {
            Some((key, value)) => {
                any_key = true;
                let (key, value) = (key.trim_end().to_owned(), unquoted(value.trim()));
                match value {
                    "" => list = Some((key, Vec::new())),
                    value => drop(found.insert(key, value.to_owned())),
                }
            }
            // A document may also just begin with a rule: then no key comes first.
            None if !(any_key || line.is_empty() || line.starts_with(['#', '['])) => return none,
            None => {}
        }
    }
    none
}

fn is_key(key: &str) -> bool {
    !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'))
}

fn unquoted(value: &str) -> &str {
    let inside = |quote| value.strip_prefix(quote)?.strip_suffix(quote);
    inside('"').or_else(|| inside('\'')).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outline(source: &str) -> Vec<(BlockKind, &str)> {
        let blocks = blocks(source, 0).into_iter();
        blocks.map(|block| (block.kind, &source[block.range])).collect()
    }

    #[test]
    fn every_kind_of_block_has_its_place_and_nothing_is_lost() {
        let source = "# A *b* `c`\n\nText\nmore.\n\n- one\n- two\n  - inner\n\n  tail\n\n```rust\nlet a;\n\nlet b;\n```\n\n\
                      > quote\n>\n> ## not a section\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n<div>\nhtml\n</div>\n\n\
                      [link]: x.md\n\n---\n\nSetext\n===\n";
        use BlockKind::*;
        assert_eq!(
            outline(source),
            [
                (Heading(1), "# A *b* `c`"),
                (Paragraph, "Text\nmore."),
                (ListItem, "- one"),
                (ListItem, "- two"),
                (ListItem, "- inner"),
                (Paragraph, "tail"),
                (Code, "```rust\nlet a;\n\nlet b;\n```"),
                (Paragraph, "> quote\n>\n> ## not a section"),
                (Paragraph, "| a | b |\n|---|---|\n| 1 | 2 |"),
                (Paragraph, "<div>\nhtml\n</div>"),
                (Paragraph, "[link]: x.md\n\n---"),
                (Heading(1), "Setext\n==="),
            ]
        );
    }

    #[test]
    fn headings_are_read_as_people_read_them() {
        for (line, text) in [
            ("## What Is `Ownership`? ##", "What Is Ownership?"),
            ("# [Intro](a.md) to *it* {#intro}", "Intro to it"),
            ("Two\nlines\n---", "Two lines"),
        ] {
            assert_eq!(heading_text(line), text);
        }
    }

    #[test]
    fn front_matter_is_fields_and_not_text() {
        let yaml = "---\ntags:\n  - a\n  - \"b, c\"\ntitle: \"On owls\"\nempty:\nby:\n- x: y\n---\n# H\n";
        let document = read("a.md", yaml.to_owned());
        assert_eq!(document.title.as_deref(), Some("On owls"));
        assert_eq!(document.fields["tags"], "[a, \"b, c\"]");
        assert_eq!(document.fields["by"], "[x: y]");
        assert_eq!(document.fields.len(), 3);
        assert_eq!(&document.text[document.blocks[0].range.clone()], "# H");

        let toml = "+++\r\ntitle = 'On owls'\r\n+++\r\nText\r\n";
        let document = read("a.md", toml.to_owned());
        assert_eq!(document.fields["title"], "On owls");
        assert_eq!(&document.text[document.blocks[0].range.clone()], "Text");
    }

    #[test]
    fn a_rule_at_the_top_is_not_front_matter() {
        for source in ["---\n\nText without a key.\n\n---\n", "---\nopen: never closed\n"] {
            assert_eq!(read("a.md", source.to_owned()).fields.len(), 0, "{source}");
        }
        assert_eq!(outline("---\n\nText.\n").len(), 2);
    }

    #[test]
    fn the_first_heading_names_a_document_without_a_top_heading() {
        assert_eq!(read("a.md", "## Second\n\n# First\n".to_owned()).title.as_deref(), Some("First"));
        assert_eq!(read("a.md", "## Second\n\ntext\n".to_owned()).title.as_deref(), Some("Second"));
        assert_eq!(read("a.md", "text\n".to_owned()).title, None);
    }
}
