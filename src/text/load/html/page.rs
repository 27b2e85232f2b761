//! Tags and strings -> blocks of text: which elements stand alone, which are not seen, and what becomes of whitespace.

use std::ops::Range;

use html5gum::emitters::callback::CallbackEvent;

use super::entity;
use crate::text::boundaries::trimmed;
use crate::text::document::{Block, BlockKind};
use crate::text::load::text_builder::TextBuilder;

/// Elements whose content nobody sees.
const HIDDEN: &[&str] =
    &["iframe", "noembed", "noframes", "noscript", "script", "style", "svg", "template", "object"];

/// Elements that stand on lines of their own.
const BLOCKS: &[&str] = &[
    "address",
    "article",
    "aside",
    "blockquote",
    "body",
    "caption",
    "center",
    "dd",
    "details",
    "dialog",
    "dir",
    "div",
    "dl",
    "dt",
    "fieldset",
    "figcaption",
    "figure",
    "footer",
    "form",
    "head",
    "header",
    "hgroup",
    "hr",
    "html",
    "legend",
    "main",
    "menu",
    "nav",
    "ol",
    "optgroup",
    "option",
    "p",
    "search",
    "section",
    "select",
    "summary",
    "table",
    "tbody",
    "textarea",
    "tfoot",
    "thead",
    "ul",
];

/// Whitespace seen but not yet written: it only counts when text follows it in the same block.
#[derive(Clone, Copy, PartialEq)]
enum Pending {
    Nothing,
    /// A space of the source, at this byte.
    Space(usize),
    /// Some other whitespace that collapses to a space, or a table cell's edge.
    Gap,
    /// A table row's edge or `<br>`.
    Line,
}

/// A page being read, one event of the tokenizer after the other.
pub(super) struct Page<'a> {
    source: &'a str,
    xhtml: bool,
    pub(super) builder: TextBuilder,
    pub(super) blocks: Vec<Block>,
    /// Where the block being read starts; `None` before its first character.
    open: Option<usize>,
    kind: BlockKind,
    pending: Pending,
    /// How many `<pre>` we are in.
    pre: u32,
    /// The hidden element we are in, and how deep it is nested in itself.
    hidden: Option<(String, u32)>,
    /// The start tag being read.
    tag: String,
    in_title: bool,
    pub(super) title: Option<String>,
}

impl<'a> Page<'a> {
    pub(super) fn new(source: &'a str, xhtml: bool) -> Self {
        Self {
            source,
            xhtml,
            builder: TextBuilder::default(),
            blocks: Vec::new(),
            open: None,
            kind: BlockKind::Paragraph,
            pending: Pending::Nothing,
            pre: 0,
            hidden: None,
            tag: String::new(),
            in_title: false,
            title: None,
        }
    }

    pub(super) fn event(&mut self, event: CallbackEvent<'_>, span: Range<usize>) {
        match event {
            CallbackEvent::OpenStartTag { name } => {
                self.tag = String::from_utf8_lossy(name).into_owned();
                let tag = std::mem::take(&mut self.tag);
                self.start_tag(&tag);
                self.tag = tag;
            }
            CallbackEvent::CloseStartTag { self_closing: true } if self.xhtml || self.tag == "svg" => {
                let tag = std::mem::take(&mut self.tag);
                self.end_tag(&tag);
            }
            CallbackEvent::EndTag { name } => self.end_tag(&String::from_utf8_lossy(name)),
            CallbackEvent::String { value } if self.hidden.is_none() => {
                let value = String::from_utf8_lossy(value);
                if self.in_title {
                    self.title.get_or_insert_default().push_str(&value);
                } else {
                    self.string(&value, span);
                }
            }
            _ => {}
        }
    }

    fn start_tag(&mut self, tag: &str) {
        if let Some((element, depth)) = &mut self.hidden {
            *depth += u32::from(element == tag);
            return;
        }
        match tag {
            "title" => self.in_title = self.title.is_none(),
            "pre" => {
                self.close_as(BlockKind::Code);
                self.pre += 1;
            }
            "li" => self.close_as(BlockKind::ListItem),
            "br" | "tr" => self.pend(Pending::Line),
            "td" | "th" => self.pend(Pending::Gap),
            _ if heading(tag).is_some() => self.close_as(heading(tag).unwrap_or(BlockKind::Paragraph)),
            _ if HIDDEN.contains(&tag) => self.hidden = Some((tag.to_owned(), 1)),
            // `<li><p>` is still a list item, `<h2><div>` still a heading.
            _ if BLOCKS.contains(&tag) && self.open.is_some() => self.close(),
            _ => {}
        }
    }

    fn end_tag(&mut self, tag: &str) {
        if let Some((element, depth)) = &mut self.hidden {
            *depth -= u32::from(element == tag);
            if *depth == 0 {
                self.hidden = None;
            }
            return;
        }
        match tag {
            "title" => {
                self.in_title = false;
                if let Some(title) = &mut self.title {
                    *title = title.split_whitespace().collect::<Vec<_>>().join(" ");
                }
            }
            "pre" => {
                self.pre = self.pre.saturating_sub(1);
                self.close();
            }
            "td" | "th" => self.pend(Pending::Gap),
            "tr" => self.pend(Pending::Line),
            _ if tag == "li" || heading(tag).is_some() || BLOCKS.contains(&tag) => self.close(),
            _ => {}
        }
    }

    /// Ends the block being read; the next one is a paragraph (or code, still inside `<pre>`).
    pub(super) fn close(&mut self) {
        self.close_as(if self.pre > 0 { BlockKind::Code } else { BlockKind::Paragraph });
    }

    fn close_as(&mut self, next: BlockKind) {
        if let Some(start) = self.open.take()
            && let Some(mut range) = trimmed(self.builder.text(), start..self.builder.len())
        {
            if self.kind == BlockKind::Code {
                // The first line keeps its indentation.
                let skipped = &self.builder.text()[start..range.start];
                range.start = start + skipped.rfind('\n').map_or(0, |at| at + 1);
            }
            self.blocks.push(Block { kind: self.kind, range });
        }
        self.pending = Pending::Nothing;
        self.kind = next;
    }

    fn pend(&mut self, whitespace: Pending) {
        if self.pre > 0 && whitespace == Pending::Line {
            self.write_in_block(|builder| builder.insert("\n"));
        } else if whitespace == Pending::Line || self.pending == Pending::Nothing {
            self.pending = whitespace;
        }
    }

    /// The characters between two tags, at `span`, which decode to `value`.
    fn string(&mut self, value: &str, span: Range<usize>) {
        for (character, at) in entity::decode(self.source, span, value) {
            let exact = self
                .source
                .get(at.clone())
                .is_some_and(|raw| raw.len() == character.len_utf8() && raw.starts_with(character));
            if self.pre == 0 && character.is_ascii_whitespace() {
                self.pend(if exact && character == ' ' { Pending::Space(at.start) } else { Pending::Gap });
                continue;
            }
            let source = self.source;
            self.write_in_block(|builder| {
                if exact { builder.copy(source, at) } else { builder.decoded(character, at) }
            });
        }
    }

    /// Writes into the current block, after what is due before it: a blank line between blocks, collapsed whitespace.
    fn write_in_block(&mut self, write: impl FnOnce(&mut TextBuilder)) {
        let pending = std::mem::replace(&mut self.pending, Pending::Nothing);
        if self.open.is_none() {
            if self.builder.len() > 0 {
                self.builder.insert("\n\n");
            }
            self.open = Some(self.builder.len());
        } else {
            match pending {
                Pending::Nothing => {}
                Pending::Space(at) => self.builder.copy(self.source, at..at + 1),
                Pending::Gap => self.builder.insert(" "),
                Pending::Line => self.builder.insert("\n"),
            }
        }
        write(&mut self.builder);
    }
}

fn heading(tag: &str) -> Option<BlockKind> {
    match tag.as_bytes() {
        [b'h', level @ b'1'..=b'6'] => Some(BlockKind::Heading(level - b'0')),
        _ => None,
    }
}
