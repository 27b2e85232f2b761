//! What a page is read as, and its text as UTF-8.

use std::path::Path;

use url::Url;

use crate::text::load::format_of;

/// What the name of a copy ends in so that it is read as what it is; `None` for what is not read at all. A site that does
/// not say what it sends, or says only that it is text or bytes, is taken at the word of the address.
pub(super) fn ending(kind: &str, url: &Url) -> Option<&'static str> {
    const NAMED: [&str; 14] = [
        "html", "htm", "xhtml", "md", "txt", "pdf", "json", "jsonl", "csv", "tsv", "rst", "docx", "epub",
        "ipynb",
    ];
    let path = Path::new(url.path());
    let named = || {
        let end = path.extension()?.to_str()?.to_ascii_lowercase();
        NAMED.into_iter().find(|name| *name == end)
    };
    Some(match kind {
        "text/html" => "html",
        "application/xhtml+xml" => "xhtml",
        "text/markdown" | "text/x-markdown" => "md",
        "application/pdf" => "pdf",
        "application/json" => "json",
        "application/jsonl" | "application/x-ndjson" | "application/x-jsonlines" => "jsonl",
        "text/csv" => "csv",
        "text/tab-separated-values" => "tsv",
        "text/x-rst" | "text/prs.fallenstein.rst" => "rst",
        "application/epub+zip" => "epub",
        "application/x-ipynb+json" => "ipynb",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document" => "docx",
        "text/plain" => named().unwrap_or("txt"),
        "" | "application/octet-stream" | "binary/octet-stream" => named()?,
        // Programs are read as code, whatever a site calls them.
        text if text.starts_with("text/") && !matches!(text, "text/css" | "text/javascript") => {
            format_of(path).map_or("txt", |_| named().unwrap_or("txt"))
        }
        _ => return None,
    })
}

/// `bytes` as UTF-8 where they are text in the one old character set that is still about; anything else is left to whoever
/// reads it.
pub(super) fn as_utf8(bytes: Vec<u8>, charset: Option<&str>, ending: &str) -> Vec<u8> {
    /// Of windows-1252, where it differs from Latin-1: 0x80 to 0x9f.
    const ODD: [char; 32] = [
        '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}',
        '\u{90}', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
    ];
    if matches!(ending, "pdf" | "docx" | "epub") || std::str::from_utf8(&bytes).is_ok() {
        return bytes;
    }
    let start = String::from_utf8_lossy(&bytes[..bytes.len().min(1024)]).to_ascii_lowercase();
    let within = start.split("charset=").nth(1).map(|rest| {
        rest.trim_start_matches(['"', '\''])
            .chars()
            .take_while(|c| c.is_ascii_alphanumeric() || "-_".contains(*c))
            .collect()
    });
    let charset = charset.map(str::to_owned).or(within).unwrap_or_default();
    if !matches!(&*charset, "iso-8859-1" | "latin1" | "windows-1252" | "cp1252" | "us-ascii") {
        return bytes;
    }
    let letter = |&byte: &u8| match byte {
        0x80..=0x9f => ODD[usize::from(byte - 0x80)],
        byte => char::from(byte),
    };
    bytes.iter().map(letter).collect::<String>().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_media_type_says_how_a_copy_is_read_and_the_address_only_where_it_does_not() {
        let of = |kind: &str, place: &str| {
            ending(kind, &super::super::parse(&format!("http://a.org{place}")).unwrap())
        };
        for (kind, place, expected) in [
            ("text/html", "/a.pdf", Some("html")),
            ("text/plain", "/a.md", Some("md")),
            ("text/plain", "/a", Some("txt")),
            ("text/plain", "/a.rs", Some("txt")),
            ("application/octet-stream", "/a.PDF", Some("pdf")),
            ("application/octet-stream", "/a.zip", None),
            ("", "/a.epub", Some("epub")),
            ("", "/a", None),
            ("image/png", "/a.md", None),
            ("text/css", "/a.css", None),
            ("text/x-rust", "/a.rs", Some("txt")),
        ] {
            assert_eq!(of(kind, place), expected, "{kind} {place}");
        }
    }

    #[test]
    fn an_old_character_set_is_read_where_it_is_named() {
        let latin = b"<meta charset='windows-1252'>caf\xe9 \x80".to_vec();
        assert_eq!(as_utf8(latin.clone(), None, "html"), "<meta charset='windows-1252'>café €".as_bytes());
        assert_eq!(as_utf8(b"\xe9".to_vec(), Some("iso-8859-1"), "txt"), "é".as_bytes());
        assert_eq!(as_utf8(latin.clone(), Some("shift_jis"), "html"), latin);
        assert_eq!(
            as_utf8("é".into(), Some("iso-8859-1"), "txt"),
            "é".as_bytes(),
            "it is UTF-8 whatever it says"
        );
    }
}
