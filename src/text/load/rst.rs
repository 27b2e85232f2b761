//! reStructuredText: headings by their underlines, roles and links reduced to what they show, directives to their content.
//!
//! Line by line, not a parser: what is not known stays as it is written, so nothing a reader could see goes missing. Left
//! out are comments, targets of links, options, and directives that only place something (pictures, contents, indexes).

use std::collections::BTreeMap;
use std::ops::Range;

use super::text_builder::TextBuilder;
use super::{after_bom, trimmed};
use crate::text::document::{Block, BlockKind, Document, Flaws, Format};

pub(super) fn read(name: &str, source: String) -> Document {
    let mut start = after_bom(&source);
    let lines = source[start..].split_inclusive('\n').map(|line| {
        let range = start..start + line.len();
        start = range.end;
        range
    });
    let lines: Vec<Range<usize>> = lines.collect();
    let mut writer = Writer {
        source: &source,
        builder: TextBuilder::default(),
        blocks: Vec::new(),
        open: None,
        levels: Vec::new(),
    };
    writer.read(&lines);
    let Writer { builder, blocks, .. } = writer;
    let (text, origin) = builder.finish();
    let heading = blocks.iter().find(|block| matches!(block.kind, BlockKind::Heading(_)));
    let title = heading.map(|block| text[block.range.clone()].to_owned());
    Document {
        path: name.to_owned(),
        format: Format::Rst,
        title,
        text,
        origin,
        blocks,
        fields: BTreeMap::new(),
        flaws: Flaws::default(),
        source,
    }
}

/// Directives whose argument is shown, before their content.
const SHOWN: &[&str] = &[
    "admonition",
    "attention",
    "caution",
    "danger",
    "deprecated",
    "error",
    "hint",
    "important",
    "note",
    "rubric",
    "seealso",
    "sidebar",
    "tip",
    "todo",
    "topic",
    "versionadded",
    "versionchanged",
    "warning",
    "epigraph",
    "highlights",
    "pull-quote",
    "compound",
    "container",
    "centered",
    "glossary",
    "list-table",
    "table",
    "csv-table",
    "py:class",
    "py:function",
    "py:method",
    "py:attribute",
    "class",
    "function",
    "method",
    "attribute",
    "data",
    "option",
    "envvar",
    "describe",
    "confval",
    "module",
    "exception",
    "tab",
    "tab-item",
    "dropdown",
];
/// Directives whose content is code.
const CODE: &[&str] = &[
    "code",
    "code-block",
    "sourcecode",
    "parsed-literal",
    "literalinclude",
    "doctest",
    "testcode",
    "prompt",
    "console",
    "math",
    "ipython",
];

struct Writer<'a> {
    source: &'a str,
    builder: TextBuilder,
    blocks: Vec<Block>,
    open: Option<(BlockKind, usize)>,
    /// The ways in which headings are underlined, outermost first; with a line above is another way.
    levels: Vec<(char, bool)>,
}

impl Writer<'_> {
    fn line(&self, line: &Range<usize>) -> &str {
        self.source[line.clone()].trim_end()
    }

    fn read(&mut self, lines: &[Range<usize>]) {
        let mut at = 0;
        // The next indented lines are code, after `::`.
        let mut literal = false;
        while at < lines.len() {
            let line = self.line(&lines[at]).to_owned();
            let indent = indent(&line);
            if line.trim().is_empty() {
                self.close();
                at += 1;
            } else if literal && indent > 0 {
                at += self.code(&lines[at..]);
                literal = false;
            } else if let Some(used) = self.heading(&lines[at..]) {
                at += used;
                literal = false;
            } else if let Some(explicit) =
                line.trim_start().strip_prefix("..").filter(|rest| rest.is_empty() || rest.starts_with(' '))
            {
                self.close();
                at += self.explicit(explicit.trim(), indent, &lines[at..]);
                literal = false;
            } else {
                literal = line.ends_with("::");
                self.text(&lines[at], &line);
                at += 1;
            }
        }
        self.close();
    }

    /// A line of text.
    fn text(&mut self, place: &Range<usize>, line: &str) {
        let words = line.trim_start();
        let is_item = ["* ", "- ", "+ ", "#. "].iter().any(|mark| words.starts_with(mark)) || numbered(words);
        // A rule, or the border of a simple table.
        if words.chars().all(|letter| "=-+~*# ".contains(letter)) && words.len() > 3 {
            return self.close();
        }
        if is_item {
            self.close();
        }
        let start = place.start + (line.len() - words.len());
        let mut end = place.start + line.len();
        // `text::` announces code and shows as `text:`.
        if words == "::" {
            return self.close();
        }
        if words.ends_with("::") {
            end -= 1;
        }
        self.begin(if is_item { BlockKind::ListItem } else { BlockKind::Paragraph });
        self.inline(start..end);
    }

    /// Begins a line of a block of `kind`, or goes on with the one that is open.
    fn begin(&mut self, kind: BlockKind) {
        if self.open.is_some() {
            return self.builder.insert("\n");
        }
        if self.builder.len() > 0 {
            let items =
                kind == BlockKind::ListItem && self.blocks.last().is_some_and(|last| last.kind == kind);
            self.builder.insert(if items { "\n" } else { "\n\n" });
        }
        self.open = Some((kind, self.builder.len()));
    }

    fn close(&mut self) {
        let Some((kind, start)) = self.open.take() else { return };
        if let Some(range) = trimmed(self.builder.text(), start..self.builder.len()) {
            let range = if kind == BlockKind::Code { start..range.end } else { range };
            self.blocks.push(Block { kind, range });
        }
    }

    /// The heading that `lines` begin with, if they do, and how many lines it takes.
    fn heading(&mut self, lines: &[Range<usize>]) -> Option<usize> {
        let line = |at: usize| lines.get(at).map(|line| self.line(line)).unwrap_or_default();
        let (title, mark, over, used) = match (adornment(line(0)), adornment(line(2))) {
            (Some(above), Some(below))
                if above == below && !line(1).is_empty() && adornment(line(1)).is_none() =>
            {
                (1, above, true, 3)
            }
            _ => (0, adornment(line(1))?, false, 2),
        };
        let text = line(title);
        let long = line(title + 1).chars().count() + 2 >= text.trim().chars().count();
        // A line of text within a paragraph has no underline of its own.
        if text.trim().is_empty()
            || !long
            || (!over && (indent(text) > 0 || adornment(text).is_some()))
            || self.open.is_some()
        {
            return None;
        }
        let way = (mark, over);
        let level = self.levels.iter().position(|known| *known == way).unwrap_or_else(|| {
            self.levels.push(way);
            self.levels.len() - 1
        });
        let place = trimmed(self.source, lines[title].clone())?;
        self.begin(BlockKind::Heading((level + 1).min(6) as u8));
        self.inline(place);
        self.close();
        Some(used)
    }

    /// The indented block that `lines` begin with, as code; how many lines it takes.
    fn code(&mut self, lines: &[Range<usize>]) -> usize {
        let used = block_len(self.source, lines, 0);
        let blank = |line: &&Range<usize>| self.line(line).trim().is_empty();
        let shown: Vec<Range<usize>> = lines[..used].iter().skip_while(blank).cloned().collect();
        let filled = shown.iter().filter(|line| !self.line(line).trim().is_empty());
        let margin = filled.map(|line| indent(self.line(line))).min().unwrap_or(0);
        self.close();
        for place in &shown {
            self.begin(BlockKind::Code);
            let line = self.line(place);
            let (start, end) = (place.start + margin.min(line.len()), place.start + line.len());
            self.builder.copy(self.source, start..end);
        }
        self.close();
        used
    }

    /// What begins with two dots: a directive, a target, a note, a comment. How many lines are done with.
    fn explicit(&mut self, explicit: &str, indent: usize, lines: &[Range<usize>]) -> usize {
        let used = 1 + block_len(self.source, &lines[1..], indent);
        let first = &lines[0];
        let after =
            |what: &str| first.start + self.source[first.clone()].find(what).unwrap_or(0) + what.len();
        if explicit.starts_with('[') {
            // A footnote or a citation: what it says is text.
            let start = after("]");
            if let Some(place) = trimmed(self.source, start..first.end) {
                self.begin(BlockKind::Paragraph);
                self.inline(place);
            }
            return 1;
        }
        let Some((directive, argument)) = explicit.split_once("::") else { return used };
        if directive.starts_with('_') || directive.starts_with('|') {
            return used;
        }
        let options =
            lines[1..used].iter().take_while(|line| self.line(line).trim().starts_with(':')).count();
        if CODE.contains(&directive) {
            let body = 1 + options;
            self.code(&lines[body..used]);
            return used;
        }
        if !SHOWN.contains(&directive) {
            return used;
        }
        if !argument.trim().is_empty() {
            let start = after("::");
            if let Some(place) = trimmed(self.source, start..first.end) {
                self.begin(BlockKind::Paragraph);
                self.inline(place);
                // With lines below, an argument goes on; behind a blank line it is over.
            }
        }
        1 + options
    }

    /// Appends `source[place]`, one line, with roles and links as what they show.
    fn inline(&mut self, place: Range<usize>) {
        let Range { start: mut at, end } = place;
        while at < end {
            let rest = &self.source[at..end];
            let Some(tick) = rest.find('`') else { break };
            // Two are code, and shown as written.
            if rest[tick..].starts_with("``") {
                let close = rest[tick + 2..].find("``").map_or(rest.len(), |close| tick + 2 + close + 2);
                self.builder.copy(self.source, at..at + close);
                at += close;
                continue;
            }
            let Some(close) = rest[tick + 1..].find('`').map(|close| tick + 1 + close) else { break };
            // Markup begins with a word.
            if rest[tick + 1..].starts_with(char::is_whitespace) {
                self.builder.copy(self.source, at..at + tick + 1);
                at += tick + 1;
                continue;
            }
            let role = role_start(&rest[..tick]);
            self.builder.copy(self.source, at..at + role);
            let inside = &rest[tick + 1..close];
            // `shown <target>`; a target alone is shown without `~` and `!`.
            let shown = match inside.find(" <").filter(|_| inside.ends_with('>')) {
                Some(target) => 0..target,
                None => inside.len() - inside.trim_start_matches(['~', '!']).len()..inside.len(),
            };
            self.builder.copy(self.source, at + tick + 1 + shown.start..at + tick + 1 + shown.end);
            at += close + 1;
            let link = self.source[at..end].bytes().take(2).take_while(|byte| *byte == b'_').count();
            at += link;
        }
        self.builder.copy(self.source, at..end);
    }
}

/// Where the role, `:name:`, that `before` ends with starts; its end when there is none.
fn role_start(before: &str) -> usize {
    let Some(inner) = before.strip_suffix(':') else { return before.len() };
    let Some(start) = inner.rfind(|letter: char| !(letter.is_alphanumeric() || ":-_+.".contains(letter)))
    else {
        return if inner.starts_with(':') { 0 } else { before.len() };
    };
    let start = start + before[start..].chars().next().map_or(1, char::len_utf8);
    if before[start..].starts_with(':') { start } else { before.len() }
}

/// How many of `lines` are indented by more than `margin` or blank, without blank ones at the end.
fn block_len(source: &str, lines: &[Range<usize>], margin: usize) -> usize {
    let line = |place: &Range<usize>| source[place.clone()].trim_end();
    let inside = |place: &&Range<usize>| line(place).trim().is_empty() || indent(line(place)) > margin;
    let all = lines.iter().take_while(inside).count();
    let blank = lines[..all].iter().rev().take_while(|place| line(place).trim().is_empty()).count();
    all - blank
}

/// Bytes of white space before `line`'s first word. Only spaces and tabs, each a byte.
fn indent(line: &str) -> usize {
    line.bytes().take_while(|byte| matches!(byte, b' ' | b'\t')).count()
}

/// The sign `line` is made of, if it is nothing but one sign again and again.
fn adornment(line: &str) -> Option<char> {
    let sign = line.chars().next().filter(|sign| sign.is_ascii_punctuation())?;
    (line.len() >= 3 && line.chars().all(|letter| letter == sign)).then_some(sign)
}

/// Whether `words` begin with a number of a list.
fn numbered(words: &str) -> bool {
    let digits = words.bytes().take_while(u8::is_ascii_digit).count();
    (1..=3).contains(&digits) && (words[digits..].starts_with(". ") || words[digits..].starts_with(") "))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::text::document::Origin;

    fn blocks(source: &str) -> Vec<(BlockKind, String)> {
        let document = read("a.rst", source.to_owned());
        document.blocks.iter().map(|b| (b.kind, document.text[b.range.clone()].to_owned())).collect()
    }

    #[test]
    fn headings_directives_and_roles_are_reduced_to_what_they_show() {
        use BlockKind::*;
        let source = "=====\nTitle\n=====\n\n.. _target:\n\nSee :ref:`the guide <guide>` and :py:func:`~a.b`,\n`a link <http://x>`__ and ``code``.\n\n\
            Part\n----\n\n* one\n* two\n  more\n\n.. note:: Be careful.\n   Really.\n\n.. image:: a.png\n   :alt: no\n\n\
            .. code-block:: python\n   :linenos:\n\n   def f():\n\n       pass\n\nAs here::\n\n    x = 1\n\n.. a comment\n   goes on\n\nDeeper\n~~~~~~\n\n\
            .. [1] A footnote.\n\nOther\n-----\nend\n";
        let expected = [
            (Heading(1), "Title"),
            (Paragraph, "See the guide and a.b,\na link and ``code``."),
            (Heading(2), "Part"),
            (ListItem, "* one"),
            (ListItem, "* two\nmore"),
            (Paragraph, "Be careful.\nReally."),
            (Code, "def f():\n\n    pass"),
            (Paragraph, "As here:"),
            (Code, "x = 1"),
            (Heading(3), "Deeper"),
            (Paragraph, "A footnote."),
            (Heading(2), "Other"),
            (Paragraph, "end"),
        ];
        assert_eq!(blocks(source), expected.map(|(kind, text)| (kind, text.to_owned())));
        assert_eq!(read("a.rst", source.to_owned()).title.as_deref(), Some("Title"));
    }

    #[test]
    fn what_looks_like_markup_and_is_none_stays() {
        use BlockKind::*;
        assert_eq!(blocks("a ` b :x: `c\n"), [(Paragraph, "a ` b :x: `c".to_owned())]);
        assert_eq!(blocks("one\ntwo\n---\n"), [(Paragraph, "one\ntwo\n---".to_owned())]);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_and_every_piece_is_the_source(
            source in proptest::collection::vec(
                proptest::sample::select(vec![
                    "word", " ", "\n", "\n\n", "   ", "====", "----", ".. ", "note::", "code::", ":ref:`a <b>`", "`", "``", "::",
                    "* ", "é", "\u{3000}", "\t", ".. _x:", "|", "[1] ", ":opt: v",
                ]),
                0..40,
            ),
        ) {
            let document = read("a.rst", source.concat());
            let Origin::Pieces(pieces) = &document.origin else { panic!("never its own text") };
            let mut end = 0;
            for piece in pieces {
                prop_assert!(piece.source >= end);
                end = piece.source + piece.source_len;
                prop_assert_eq!(&document.text[piece.text..piece.text + piece.text_len], &document.source[piece.source..end]);
            }
            prop_assert!(document.blocks.windows(2).all(|pair| pair[0].range.end <= pair[1].range.start));
        }
    }
}
