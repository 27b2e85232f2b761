//! HTML: what a reader sees, with the way back to the bytes between the tags.
//!
//! A tokenizer, not a tree: block elements part paragraphs wherever they open or close, which needs no well-formed page.
//! Scripts, styles and templates are left out; whitespace is collapsed as a browser would, except in `<pre>`; characters
//! written as entities are decoded. Styles are not read, so text hidden by CSS is text.

mod entity;
mod page;

use std::collections::BTreeMap;
use std::convert::Infallible;

use html5gum::emitters::callback::{CallbackEmitter, CallbackEvent};
use html5gum::{Span, Tokenizer};

use self::page::Page;
use super::after_bom;
use crate::text::document::{Block, BlockKind, Document, Flaws, Format};

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
        flaws: Flaws::default(),
        source,
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
                // An entity may be as long as what it stands for: `&#0` is U+FFFD in three bytes.
                if piece.text_len == piece.source_len && !raw.starts_with('&') {
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
