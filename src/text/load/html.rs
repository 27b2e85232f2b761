//! HTML: what a reader sees, with the way back to the bytes between the tags.
//!
//! A tokenizer, not a tree: block elements part paragraphs wherever they open or close, which needs no well-formed page.
//! Scripts, styles and templates are left out; whitespace is collapsed as a browser would, except in `<pre>`; characters
//! written as entities are decoded. Styles are not read, so text hidden by CSS is text.

mod entity;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ops::Range;

use html5gum::emitters::callback::{CallbackEmitter, CallbackEvent};
use html5gum::{Span, Tokenizer};

use super::text_builder::TextBuilder;
use super::{after_bom, trimmed};
use crate::text::document::{Block, BlockKind, Document, Format};

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

pub(super) fn read(name: &str, source: String) -> Document {
    // In XHTML an element may close itself (`<script src="a.js"/>`) and nothing is raw text.
    let xhtml = name.to_ascii_lowercase().ends_with(".xhtml");
    let start = after_bom(&source);
    let mut page = Page::new(&source, xhtml);
    let mut emitter =
        CallbackEmitter::new(|event: CallbackEvent<'_>, span: Span<usize>| -> Option<Infallible> {
            page.event(event, start + span.start..start + span.end);
            None
        });
    emitter.naively_switch_states(!xhtml);
    let Ok(()) = Tokenizer::new_with_emitter(&source[start..], emitter).finish();
    page.close();

    let Page { builder, blocks, title, .. } = page;
    let (text, origin) = builder.finish();
    let heading = |wanted: u8| {
        let found = blocks.iter().find(|block: &&Block| block.kind == BlockKind::Heading(wanted))?;
        Some(text[found.range.clone()].split_whitespace().collect::<Vec<_>>().join(" "))
    };
    let title = title.filter(|title| !title.is_empty()).or_else(|| (1..=6).find_map(heading));
    Document {
        path: name.to_owned(),
        format: Format::Html,
        title,
        text,
        origin,
        blocks,
        fields: BTreeMap::new(),
        source,
    }
}

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

struct Page<'a> {
    source: &'a str,
    xhtml: bool,
    builder: TextBuilder,
    blocks: Vec<Block>,
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
    title: Option<String>,
}

impl<'a> Page<'a> {
    fn new(source: &'a str, xhtml: bool) -> Self {
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

    fn event(&mut self, event: CallbackEvent<'_>, span: Range<usize>) {
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
    fn close(&mut self) {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::text::document::Origin;

    fn outline(html: &str) -> Vec<(BlockKind, String)> {
        let document = read("a.html", html.to_owned());
        document.blocks.iter().map(|b| (b.kind, document.text[b.range.clone()].to_owned())).collect()
    }

    #[test]
    fn a_reader_sees_the_text_in_blocks() {
        use BlockKind::*;
        let html = "<!doctype html><title> My\n page </title><style>p{}</style><h1>Head <em>ing</em></h1>\
                    <p>One  two\n three<br>four<p>five &amp; six<script>if (a < b) {}</script>\
                    <ul><li><p>item</p><li>other</ul><pre>\n  fn a() {\n\n  }\n</pre><table><tr><td>1<td>2<tr><td>3</table>";
        let expected = [
            (Heading(1), "Head ing"),
            (Paragraph, "One two three\nfour"),
            (Paragraph, "five & six"),
            (ListItem, "item"),
            (ListItem, "other"),
            (Code, "  fn a() {\n\n  }"),
            (Paragraph, "1 2\n3"),
        ];
        assert_eq!(outline(html), expected.map(|(kind, text)| (kind, text.to_owned())));
        assert_eq!(read("a.html", html.to_owned()).title.as_deref(), Some("My page"));
    }

    #[test]
    fn a_decoded_range_leads_back_to_the_bytes_between_the_tags() {
        let html = "<p>caf&eacute; <b>&notit; &ngE; &#x1F600;&bogus;</b> a < b</p>";
        let document = read("a.html", html.to_owned());
        assert_eq!(document.text, "café ¬it; ≧\u{338} 😀&bogus; a < b");
        for (shown, raw) in
            [("café", "caf&eacute;"), ("¬it;", "&notit;"), ("\u{338}", "&ngE;"), ("😀&", "&#x1F600;&")]
        {
            let at = document.text.find(shown).unwrap();
            let range = document.origin.source_range(at..at + shown.len());
            assert_eq!(&document.source[range], raw);
        }
    }

    #[test]
    fn an_xhtml_script_may_close_itself() {
        let page = "<html><head><script src='a'/><title>T</title></head><body><p>seen</p></body></html>";
        assert_eq!(read("a.xhtml", page.to_owned()).text, "seen");
    }

    fn markup() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            "[a-z 　é漢😀\r\n\t]{0,12}",
            "[ -~]{0,8}",
            proptest::sample::select(vec![
                "<p>",
                "</p>",
                "<b>",
                "</b>",
                "<br>",
                "<pre>",
                "</pre>",
                "<li>",
                "<h2>",
                "</h2>",
                "<td>",
                "<tr>",
                "<!--",
                "-->",
                "<script>",
                "</script>",
                "<title>",
                "</title>",
                "<textarea>",
                "&amp;",
                "&eacute",
                "&ngE;",
                "&#65;",
                "&#0;",
                "&bad;",
                "&",
                "<",
                "&notit;",
                "&Tab;",
                "&NewLine;",
                "<a href=\"x>y\">",
                "<![CDATA[",
                "<svg/>",
                "<svg>",
            ])
            .prop_map(str::to_owned),
        ];
        proptest::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn every_character_comes_from_a_piece_or_is_inserted_whitespace(html in markup()) {
            let document = read("a.html", html);
            let Origin::Pieces(pieces) = &document.origin else { panic!("HTML is never its own text") };
            let mut at = 0;
            for piece in pieces {
                prop_assert!(document.text[at..piece.text].chars().all(char::is_whitespace));
                let shown = &document.text[piece.text..piece.text + piece.text_len];
                let raw = &document.source[piece.source..piece.source + piece.source_len];
                if piece.text_len == piece.source_len {
                    prop_assert_eq!(shown, raw);
                }
                at = piece.text + piece.text_len;
            }
            prop_assert!(document.text[at..].chars().all(char::is_whitespace));
            for block in &document.blocks {
                prop_assert!(!document.text[block.range.clone()].trim().is_empty());
            }
        }
    }
}
