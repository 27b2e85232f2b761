//! DOCX: the paragraphs of a word processor, with headings by their styles, lists, and rows of tables.
//!
//! What was deleted with changes tracked is not text, nor are heads and feet of pages; footnotes and endnotes come after the
//! text. There are no pages: where one ends is up to the program that prints it.

use std::collections::BTreeMap;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::archive::{Archive, damage};
use super::extracted::Extracted;
use super::xml::{attribute, text_of, word};
use crate::error::{Error, Result};
use crate::text::document::BlockKind;

/// The text of the DOCX `bytes`.
///
/// # Errors
/// `Invalid`, with what to do, for what is no such file or damaged, and for one that unpacks to more than anybody writes.
pub(super) fn read(bytes: Vec<u8>) -> Result<Extracted> {
    let mut archive = Archive::open(bytes)?;
    let Some(body) = archive.text("word/document.xml")? else {
        return Err(Error::invalid("a zip archive, but not a DOCX: no `word/document.xml` inside")
            .hint("give it the ending of what it is, or leave it out with a line in .ignore"));
    };
    let styles = match archive.text("word/styles.xml")? {
        Some(styles) => levels(&styles)?,
        None => BTreeMap::new(),
    };
    let mut out = Extracted::default();
    let mut title = None;
    for part in [Some(body), archive.text("word/footnotes.xml")?, archive.text("word/endnotes.xml")?] {
        let Some(part) = part else { continue };
        let mut body =
            Body { styles: &styles, out: &mut out, title: &mut title, paragraph: None, cells: Vec::new() };
        body.read(&part)?;
    }
    let given = match archive.text("docProps/core.xml")? {
        Some(core) => text_of(&core, "title")?,
        None => None,
    };
    let heading = || {
        let first = out.blocks.iter().find(|block| matches!(block.kind, BlockKind::Heading(_)))?;
        Some(out.text[first.range.clone()].to_owned())
    };
    out.title = given.or(title).or_else(heading);
    Ok(out)
}

/// What a paragraph style makes of a paragraph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    Title,
    Heading(u8),
}

/// The styles that are headings, by id: by outline level, or by the name that is the same in every language.
fn levels(styles: &str) -> Result<BTreeMap<String, Style>> {
    let mut reader = Reader::from_str(styles);
    let mut found = BTreeMap::new();
    let mut id = None;
    loop {
        match reader.read_event().map_err(not_xml)? {
            Event::Eof => return Ok(found),
            Event::Start(start) if start.local_name().as_ref() == "style" => {
                id = attribute(&start, "styleId")
            }
            Event::Start(start) | Event::Empty(start) => {
                let Some(id) = &id else { continue };
                let value = attribute(&start, "val").unwrap_or_default().to_lowercase();
                let style = match start.local_name().as_ref() {
                    "name" if value == "title" => Some(Style::Title),
                    "name" => value.strip_prefix("heading ").and_then(|n| n.parse().ok()).map(Style::Heading),
                    // 9 is body text.
                    "outlineLvl" => value
                        .parse()
                        .ok()
                        .filter(|level| *level < 9)
                        .map(|level: u8| Style::Heading(level + 1)),
                    _ => None,
                };
                if let Some(style) = style {
                    found.entry(id.clone()).or_insert(style);
                }
            }
            _ => {}
        }
    }
}

fn not_xml(error: quick_xml::Error) -> Error {
    damage(format!("damaged inside: {error}"))
}

#[derive(Default)]
struct Paragraph {
    text: String,
    style: Option<Style>,
    is_item: bool,
}

struct Body<'a> {
    styles: &'a BTreeMap<String, Style>,
    out: &'a mut Extracted,
    title: &'a mut Option<String>,
    paragraph: Option<Paragraph>,
    /// Rows of the tables that are open, each a list of cells; a table in a cell is its text.
    cells: Vec<Table>,
}

#[derive(Default)]
struct Table {
    rows: Vec<String>,
    row: Vec<String>,
    cell: String,
}

impl Body<'_> {
    fn read(&mut self, xml: &str) -> Result<()> {
        let mut reader = Reader::from_str(xml);
        // How deep inside something that is not text.
        let mut skipped = 0usize;
        let mut in_text = false;
        loop {
            let event = reader.read_event().map_err(not_xml)?;
            match &event {
                Event::Start(start) if is_skipped(start) || skipped > 0 => skipped += 1,
                Event::End(_) if skipped > 0 => skipped -= 1,
                Event::Eof => return Ok(()),
                _ if skipped > 0 => {}
                Event::Start(start) => {
                    in_text = start.local_name().as_ref() == "t";
                    self.start(start);
                }
                Event::Empty(start) => self.start(start),
                Event::End(end) => {
                    in_text = false;
                    self.end(end.local_name().as_ref());
                }
                event if in_text => {
                    if let (Some(paragraph), Some(text)) = (&mut self.paragraph, word(event)) {
                        paragraph.text.push_str(&text);
                    }
                }
                _ => {}
            }
        }
    }

    fn start(&mut self, start: &BytesStart<'_>) {
        match start.local_name().as_ref() {
            // A text box stands within a paragraph: what is there so far goes first.
            "p" => {
                self.close();
                self.paragraph = Some(Paragraph::default());
            }
            "tbl" => {
                self.close();
                self.cells.push(Table::default());
            }
            name => {
                let Some(paragraph) = &mut self.paragraph else { return };
                match name {
                    "pStyle" => {
                        let style = attribute(start, "val").unwrap_or_default();
                        paragraph.style = self.styles.get(&style).copied();
                    }
                    "outlineLvl" => {
                        let level: Option<u8> = attribute(start, "val").and_then(|level| level.parse().ok());
                        paragraph.style =
                            level.filter(|level| *level < 9).map(|level| Style::Heading(level + 1));
                    }
                    "numPr" => paragraph.is_item = true,
                    "tab" => paragraph.text.push(' '),
                    "br" | "cr" => paragraph.text.push('\n'),
                    "noBreakHyphen" => paragraph.text.push('-'),
                    _ => {}
                }
            }
        }
    }

    fn end(&mut self, name: &str) {
        match name {
            "p" => self.close(),
            "tc" => {
                if let Some(table) = self.cells.last_mut() {
                    let cell = std::mem::take(&mut table.cell);
                    table.row.push(cell);
                }
            }
            "tr" => {
                if let Some(table) = self.cells.last_mut() {
                    let row = std::mem::take(&mut table.row).join(" | ");
                    table.rows.push(row);
                }
            }
            "tbl" => {
                let Some(table) = self.cells.pop() else { return };
                let rows = table.rows.join("\n");
                match self.cells.last_mut() {
                    Some(outer) => add(&mut outer.cell, &rows),
                    None => self.out.block(BlockKind::Paragraph, &rows),
                }
            }
            _ => {}
        }
    }

    /// Ends the open paragraph.
    fn close(&mut self) {
        let Some(Paragraph { text, style, is_item }) = self.paragraph.take() else { return };
        if let Some(table) = self.cells.last_mut() {
            return add(&mut table.cell, &text);
        }
        if style == Some(Style::Title) && !text.trim().is_empty() {
            self.title.get_or_insert_with(|| text.clone());
        }
        let kind = match style {
            Some(Style::Title) => BlockKind::Heading(1),
            Some(Style::Heading(level)) => BlockKind::Heading(level),
            None if is_item => BlockKind::ListItem,
            None => BlockKind::Paragraph,
        };
        match kind {
            BlockKind::ListItem => self.out.block(kind, &format!("• {}", text.trim())),
            kind => self.out.block(kind, &text),
        }
    }
}

/// Adds a paragraph to a cell, which is one line.
fn add(cell: &mut String, text: &str) {
    let words: Vec<&str> = text.split_whitespace().collect();
    if !cell.is_empty() && !words.is_empty() {
        cell.push(' ');
    }
    cell.push_str(&words.join(" "));
}

/// What says the same again for older programs, what was deleted, and the separators of notes.
fn is_skipped(start: &BytesStart<'_>) -> bool {
    match start.local_name().as_ref() {
        "Fallback" | "del" | "moveFrom" | "instrText" => true,
        "footnote" | "endnote" => attribute(start, "type").is_some(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::archive::tests::zipped;
    use super::*;

    const STYLES: &str = r#"<w:styles><w:style w:styleId="T"><w:name w:val="Title"/></w:style>
        <w:style w:styleId="berschrift1"><w:name w:val="heading 1"/></w:style>
        <w:style w:styleId="Own"><w:name w:val="Mine"/><w:pPr><w:outlineLvl w:val="1"/></w:pPr></w:style></w:styles>"#;

    fn docx(body: &str, more: &[(&str, &str)]) -> Vec<u8> {
        let document = format!("<?xml version=\"1.0\"?><w:document><w:body>{body}</w:body></w:document>");
        zipped(&[&[("word/document.xml", document.as_str()), ("word/styles.xml", STYLES)], more].concat())
    }

    fn paragraph(style: &str, text: &str) -> String {
        format!("<w:p><w:pPr>{style}</w:pPr><w:r><w:t>{text}</w:t></w:r></w:p>")
    }

    #[test]
    fn headings_lists_tables_and_notes_are_read() {
        use BlockKind::*;
        let cell = |text: &str| format!("<w:tc>{}</w:tc>", paragraph("", text));
        let body = [
            paragraph(r#"<w:pStyle w:val="berschrift1"/>"#, "Fish &amp; chips"),
            "<w:p><w:r><w:t xml:space=\"preserve\">One </w:t></w:r><w:del><w:r><w:delText>no</w:delText></w:r></w:del>\
             <w:r><w:t>two</w:t><w:br/><w:t>three</w:t></w:r></w:p>"
                .to_owned(),
            paragraph(r#"<w:pStyle w:val="Own"/>"#, "Below"),
            paragraph("<w:numPr><w:ilvl/></w:numPr>", "item"),
            paragraph("<w:numPr/>", "other"),
            format!("<w:tbl><w:tr>{}{}</w:tr><w:tr>{}{}</w:tr></w:tbl>", cell("a"), cell("b"), cell("c"), cell("d")),
            "<w:p><mc:AlternateContent><mc:Choice><w:r><w:t>once</w:t></w:r></mc:Choice><mc:Fallback><w:r><w:t>twice</w:t></w:r></mc:Fallback></mc:AlternateContent></w:p>".to_owned(),
        ]
        .concat();
        let notes = format!(
            "<w:footnotes><w:footnote w:type=\"separator\">{}</w:footnote><w:footnote>{}</w:footnote></w:footnotes>",
            paragraph("", "-"),
            paragraph("", "A note.")
        );
        let found = read(docx(&body, &[("word/footnotes.xml", &notes)])).unwrap();
        let blocks: Vec<_> = found.blocks.iter().map(|b| (b.kind, &found.text[b.range.clone()])).collect();
        let expected = [
            (Heading(1), "Fish & chips"),
            (Paragraph, "One two\nthree"),
            (Heading(2), "Below"),
            (ListItem, "• item"),
            (ListItem, "• other"),
            (Paragraph, "a | b\nc | d"),
            (Paragraph, "once"),
            (Paragraph, "A note."),
        ];
        assert_eq!(blocks, expected);
        assert_eq!(found.title.as_deref(), Some("Fish & chips"));
    }

    #[test]
    fn the_title_is_the_file_s_own_then_the_paragraph_of_that_style() {
        let body = [paragraph("", "x"), paragraph(r#"<w:pStyle w:val="T"/>"#, "Styled")].concat();
        assert_eq!(read(docx(&body, &[])).unwrap().title.as_deref(), Some("Styled"));
        let core = "<cp:coreProperties><dc:title>Given</dc:title></cp:coreProperties>";
        assert_eq!(
            read(docx(&body, &[("docProps/core.xml", core)])).unwrap().title.as_deref(),
            Some("Given")
        );
    }

    #[test]
    fn another_archive_and_damaged_xml_say_so() {
        let error = read(zipped(&[("a.txt", "b")])).unwrap_err();
        assert!(error.to_string().contains("not a DOCX"), "{error}");
        let error = read(zipped(&[("word/document.xml", "<w:p><w:t>a</w:x></w:p>")])).unwrap_err();
        assert!(error.to_string().contains("damaged inside"), "{error}");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(body in "[ -~]{0,80}", at in 0..400usize, bytes in proptest::collection::vec(any::<u8>(), 0..20)) {
            let _ = read(docx(&body, &[]));
            let mut file = docx(&paragraph("", "some words"), &[]);
            let at = at.min(file.len());
            let end = (at + bytes.len()).min(file.len());
            file.splice(at..end, bytes);
            if let Ok(found) = read(file) {
                prop_assert!(found.document("a.docx", crate::text::document::Format::Docx, String::new()).is_ok());
            }
        }
    }
}
