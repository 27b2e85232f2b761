//! Addresses: which are pages of one site, and what a copy of a page is called.

use std::path::PathBuf;

use url::{Host, Url};

use crate::error::{Error, Result};

/// Bytes of one part of a copy's path; a longer one is cut and told apart by a hash.
const PART: usize = 80;

/// Whether `text` means a page and not a file.
pub fn is_address(text: &str) -> bool {
    let starts =
        |scheme: &str| text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    starts("http://") || starts("https://")
}

/// The page that `text` names; a place within it is left out.
///
/// # Errors
/// [`Error::Invalid`] for what is no address of a page, or has a password in it.
pub fn parse(text: &str) -> Result<Url> {
    let refused = |why: &str| Error::invalid(format!("`{text}` is no address of a page: {why}"));
    let url = Url::parse(text).map_err(|error| {
        refused(&error.to_string()).hint("an address looks like https://docs.example.org/guide/")
    })?;
    if !url.username().is_empty() || url.password().is_some() {
        // Not repeated: it may be a secret.
        let host = url.host_str().unwrap_or_default();
        return Err(Error::invalid(format!(
            "the address at `{host}` has a name or password in it, which would be kept with every page"
        ))
        .hint("pages behind a password are not fetched; save them as files"));
    }
    page(url).ok_or_else(|| refused("it is neither http nor https"))
}

/// Whether the page is on this machine, so that reaching it takes no network.
pub fn is_here(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Where `link` on the page at `base` leads, if that is a page.
pub(super) fn follow(base: &Url, link: &str) -> Option<Url> {
    let url = base.join(link.trim()).ok()?;
    (url.username().is_empty() && url.password().is_none()).then_some(url).and_then(page)
}

/// One address for one page: nothing behind `#`, and no `?` with nothing behind it.
fn page(mut url: Url) -> Option<Url> {
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return None;
    }
    url.set_fragment(None);
    if url.query() == Some("") {
        url.set_query(None);
    }
    Some(url)
}

/// Whether both are pages of one site: the same scheme, host and port.
pub(super) fn same_site(one: &Url, other: &Url) -> bool {
    one.origin() == other.origin()
}

/// The folder for the copies of a site's pages.
pub(super) fn site(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default().replace(['[', ']'], "").replace(':', "-");
    url.port().map_or(host.clone(), |port| format!("{host}_{port}"))
}

/// What the copy of the page is called in its site's folder: the page's path, with `ending`, so that its name says how it
/// is read.
pub(super) fn copy(url: &Url, ending: &str) -> PathBuf {
    let mut parts: Vec<String> = url.path().split('/').filter(|part| !part.is_empty()).map(part).collect();
    let mut name = match url.path().ends_with('/') {
        true => "index".to_owned(),
        false => parts.pop().unwrap_or_else(|| "index".to_owned()),
    };
    if let Some(query) = url.query() {
        name = part(&format!("{name}@{query}"));
    }
    let has_ending =
        name.rsplit_once('.').is_some_and(|(stem, end)| !stem.is_empty() && end.eq_ignore_ascii_case(ending));
    if !has_ending {
        name = format!("{name}.{ending}");
    }
    parts.into_iter().chain([name]).collect()
}

/// Another name for a page whose own is taken.
pub(super) fn other_copy(url: &Url, ending: &str) -> PathBuf {
    PathBuf::from(format!("page-{}.{ending}", hash(url.as_str())))
}

/// A part of an address as a part of a path that every file system can hold and no walk takes for hidden.
fn part(part: &str) -> String {
    let mut safe = String::with_capacity(part.len());
    for byte in part.bytes() {
        match byte {
            b'a'..=b'z'
            | b'A'..=b'Z'
            | b'0'..=b'9'
            | b'-'
            | b'_'
            | b'~'
            | b'%'
            | b'@'
            | b'='
            | b'+'
            | b',' => {
                safe.push(char::from(byte));
            }
            b'.' if !safe.is_empty() => safe.push('.'),
            byte => safe.push_str(&format!("%{byte:02X}")),
        }
    }
    if safe.len() > PART {
        let end = safe.rsplit_once('.').filter(|(_, end)| end.len() < 8).map(|(_, end)| format!(".{end}"));
        safe.truncate(PART - 30);
        safe = format!("{safe}-{}{}", hash(part), end.unwrap_or_default());
    }
    safe
}

fn hash(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex()[..16].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        parse(text).unwrap()
    }

    #[test]
    fn one_page_has_one_address_however_it_is_written() {
        for written in ["HTTP://Example.org:80/a/../b", "http://example.org/b#part", "http://example.org/b?"]
        {
            assert_eq!(url(written).as_str(), "http://example.org/b", "{written}");
        }
        assert_eq!(follow(&url("http://a.org/x/y"), " ../z?q#f ").unwrap().as_str(), "http://a.org/z?q");
        for none in ["mailto:a@b.org", "javascript:void(0)", "http://user:word@a.org/", "http://[oops/"] {
            assert_eq!(follow(&url("http://a.org/"), none), None, "{none}");
        }
        assert!(is_address("HTTPS://a.org") && !is_address("httpx/a.md") && !is_address("é://"));
        for none in ["http://", "http://user@a.org/", "ftp://a.org/"] {
            assert!(matches!(parse(none), Err(Error::Invalid(_))), "{none}");
        }
    }

    #[test]
    fn a_site_is_a_scheme_a_host_and_a_port() {
        let here = url("https://a.org/x");
        assert!(same_site(&here, &url("https://a.org:443/y")));
        for other in ["http://a.org/x", "https://a.org:444/x", "https://www.a.org/x"] {
            assert!(!same_site(&here, &url(other)), "{other}");
        }
        assert_eq!(site(&url("http://127.0.0.1:8080/")), "127.0.0.1_8080");
        assert_eq!(site(&url("http://[::1]/")), "--1");
        assert!(is_here(&url("http://[::1]/")) && is_here(&url("http://localhost:1/")) && !is_here(&here));
    }

    #[test]
    fn a_copy_has_the_path_of_its_page_and_an_ending_that_says_how_it_is_read() {
        for (page, ending, name) in [
            ("http://a.org/", "html", "index.html"),
            ("http://a.org/docs/", "html", "docs/index.html"),
            ("http://a.org/docs", "html", "docs.html"),
            ("http://a.org/v1.2/notes.HTML", "html", "v1.2/notes.HTML"),
            ("http://a.org/paper", "pdf", "paper.pdf"),
            ("http://a.org/a?page=2&x=/", "html", "a@page=2%26x=%2F.html"),
            ("http://a.org/.hidden/b:c", "md", "%2Ehidden/b%3Ac.md"),
            ("http://a.org/..%2f..%2fetc", "txt", "%2E.%2f..%2fetc.txt"),
        ] {
            assert_eq!(copy(&url(page), ending), PathBuf::from(name), "{page}");
        }
        let long = format!("http://a.org/{}.html", "x".repeat(300));
        let name = copy(&url(&long), "html").display().to_string();
        assert!(name.len() <= PART && name.ends_with(".html"), "{name}");
    }
}
