//! EPUB: the chapters of a book in the order in which they are read, each through the reader of HTML.
//!
//! A chapter without a heading of its own is headed by its page's title. Pictures, styles and scripts are not read.

use std::collections::BTreeMap;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::archive::{Archive, damage};
use super::extracted::Extracted;
use super::html;
use super::xml::{attribute, text_of};
use crate::error::{Error, Result};
use crate::text::document::{Block, BlockKind};

/// The text of the EPUB `bytes`.
///
/// # Errors
/// `Invalid`, with what to do, for what is no such file, damaged or locked, and for one that unpacks to more than anybody
/// writes.
pub(super) fn read(bytes: Vec<u8>) -> Result<Extracted> {
    let mut archive = Archive::open(bytes)?;
    let Some(container) = archive.text("META-INF/container.xml")? else {
        return Err(Error::invalid("a zip archive, but not an EPUB: no `META-INF/container.xml` inside")
            .hint("give it the ending of what it is, or leave it out with a line in .ignore"));
    };
    if archive.text("META-INF/encryption.xml")?.is_some_and(|xml| locks_text(&xml)) {
        return Err(Error::invalid("locked against copying").hint("ingest a copy without the lock"));
    }
    let package =
        package_path(&container)?.ok_or_else(|| damage("damaged: it does not say where its book is"))?;
    let folder = package.rsplit_once('/').map_or("", |(folder, _)| folder);
    let Some(xml) = archive.text(&package)? else {
        return Err(damage(format!("damaged: no `{package}` inside")));
    };
    let title = text_of(&xml, "title")?;
    let mut out = Extracted { title, ..Extracted::default() };
    for chapter in spine(&xml)? {
        if let Some(page) = archive.text(&inside(folder, &chapter))? {
            add(&mut out, page);
        }
    }
    if out.blocks.is_empty() {
        return Err(Error::invalid("an EPUB without text: pictures of pages")
            .hint("leave it out with a line in .ignore"));
    }
    Ok(out)
}

/// Appends the text of a chapter.
fn add(out: &mut Extracted, page: String) {
    // In a book every page is XHTML, whatever it is called.
    let page = html::read("chapter.xhtml", page);
    let headed = page.blocks.iter().any(|block| matches!(block.kind, BlockKind::Heading(_)));
    if let (false, Some(title)) = (headed || page.blocks.is_empty(), &page.title)
        && out.title.as_ref() != Some(title)
    {
        out.block(BlockKind::Heading(1), title);
    }
    for Block { kind, range } in &page.blocks {
        out.block(*kind, &page.text[range.clone()]);
    }
}

/// Whether pages are encrypted, and not only fonts.
fn locks_text(encryption: &str) -> bool {
    let lower = encryption.to_lowercase();
    [".xhtml\"", ".html\"", ".htm\""].iter().any(|ending| lower.contains(ending))
}

fn package_path(container: &str) -> Result<Option<String>> {
    let mut path = None;
    elements(container, &mut |name, start| {
        if name == "rootfile" && path.is_none() {
            path = attribute(start, "full-path");
        }
    })?;
    Ok(path)
}

/// The chapters' files as the package names them, in reading order.
fn spine(package: &str) -> Result<Vec<String>> {
    let mut files = BTreeMap::new();
    let mut order = Vec::new();
    elements(package, &mut |name, start| match name {
        "item" => {
            let is_page = attribute(start, "media-type").is_some_and(|kind| kind.contains("html"));
            if let (true, Some(id), Some(file)) = (is_page, attribute(start, "id"), attribute(start, "href"))
            {
                files.insert(id, file);
            }
        }
        "itemref" => order.extend(attribute(start, "idref")),
        _ => {}
    })?;
    Ok(order.iter().filter_map(|id| files.remove(id)).collect())
}

/// Shows every element of `xml`: its name and the whole of it.
fn elements(xml: &str, show: &mut dyn FnMut(&str, &BytesStart<'_>)) -> Result<()> {
    let mut reader = Reader::from_str(xml);
    loop {
        match reader.read_event().map_err(|error| damage(format!("damaged inside: {error}")))? {
            Event::Eof => return Ok(()),
            Event::Start(start) | Event::Empty(start) => {
                show(start.local_name().as_ref(), &start);
            }
            _ => {}
        }
    }
}

/// The path of `reference`, as the package in `folder` writes it, inside the archive.
fn inside(folder: &str, reference: &str) -> String {
    let reference = decoded(reference.split('#').next().unwrap_or_default());
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in reference.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// With `%20` and the like as what they stand for.
fn decoded(reference: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = reference.as_bytes();
    while let [first, more @ ..] = rest {
        let hex = more.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match hex.and_then(|digits| u8::from_str_radix(digits, 16).ok()).filter(|_| *first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = &more[2..];
            }
            None => {
                bytes.push(*first);
                rest = more;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::archive::tests::zipped;
    use super::*;

    const CONTAINER: &str =
        r#"<container><rootfiles><rootfile full-path="OEBPS/book.opf"/></rootfiles></container>"#;
    const PACKAGE: &str = r#"<package><metadata><dc:title>A Book</dc:title></metadata><manifest>
        <item id="b" href="text/b%20c.xhtml" media-type="application/xhtml+xml"/>
        <item id="p" href="p.png" media-type="image/png"/>
        <item id="a" href="../a.xhtml#x" media-type="application/xhtml+xml"/></manifest>
        <spine><itemref idref="a"/><itemref idref="p"/><itemref idref="b"/><itemref idref="b"/></spine></package>"#;

    fn epub(a: &str, b: &str) -> Vec<u8> {
        zipped(&[
            ("META-INF/container.xml", CONTAINER),
            ("OEBPS/book.opf", PACKAGE),
            ("a.xhtml", a),
            ("OEBPS/text/b c.xhtml", b),
        ])
    }

    #[test]
    fn chapters_come_in_reading_order_and_have_headings() {
        use BlockKind::*;
        let found = read(epub(
            "<html><head><title>Opening</title></head><body><p>First.</p></body></html>",
            "<html><head><title>A Book</title></head><body><h2>Two</h2><p>Then <i>this</i>.</p><ul><li>item</li></ul></body></html>",
        ))
        .unwrap();
        let blocks: Vec<_> = found.blocks.iter().map(|b| (b.kind, &found.text[b.range.clone()])).collect();
        let expected = [
            (Heading(1), "Opening"),
            (Paragraph, "First."),
            (Heading(2), "Two"),
            (Paragraph, "Then this."),
            (ListItem, "item"),
        ];
        assert_eq!(blocks, expected);
        assert_eq!(found.title.as_deref(), Some("A Book"));
    }

    #[test]
    fn what_is_no_book_says_so() {
        for (bytes, why) in [
            (zipped(&[("a.txt", "b")]), "not an EPUB"),
            (zipped(&[("META-INF/container.xml", CONTAINER)]), "no `OEBPS/book.opf`"),
            (zipped(&[("META-INF/container.xml", "<container/>")]), "does not say where"),
            (epub("<html/>", "<html><body><img src='a'/></body></html>"), "without text"),
        ] {
            let error = read(bytes).unwrap_err();
            assert!(error.to_string().contains(why) && error.advice().is_some(), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(page in "[ -~]{0,60}", at in 0..900usize, bytes in proptest::collection::vec(any::<u8>(), 0..20)) {
            let _ = read(epub(&page, &page));
            let _ = read(zipped(&[("META-INF/container.xml", CONTAINER), ("OEBPS/book.opf", &page)]));
            let mut file = epub("<p>some words</p>", "<p>and more</p>");
            let at = at.min(file.len());
            let end = (at + bytes.len()).min(file.len());
            file.splice(at..end, bytes);
            if let Ok(found) = read(file) {
                prop_assert!(found.document("a.epub", crate::text::document::Format::Epub, String::new()).is_ok());
            }
        }
    }
}
