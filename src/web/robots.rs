//! robots.txt (RFC 9309): which pages of a site its owner lets programs fetch.
//!
//! Of the groups for our name, or else those for everybody, the rule with the longest pattern decides; of an `Allow` and
//! a `Disallow` of one length, the `Allow`. `Crawl-delay`, which the RFC does not know and many sites have, is kept.

use std::time::Duration;

use url::Url;

/// What a group calls us.
const NAME: &str = "incontext";
/// Bytes that are read of it; the RFC asks for no more than 500 KiB.
pub(super) const MOST: u64 = 512 << 10;
/// Nobody waits longer between two pages.
const LONGEST_DELAY: Duration = Duration::from_secs(30);

/// What a site allows.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Robots {
    rules: Vec<Rule>,
    pub(super) delay: Option<Duration>,
}

#[derive(Debug, Clone, PartialEq)]
struct Rule {
    allow: bool,
    /// With `*` for anything, and `$` at its end for the end.
    pattern: String,
}

/// A group as it is written: whom it is for, and what it says.
#[derive(Default)]
struct Group {
    names: Vec<String>,
    robots: Robots,
}

impl Robots {
    pub(super) fn parse(text: &str) -> Self {
        let mut groups: Vec<Group> = Vec::new();
        let mut named = false;
        for line in text.trim_start_matches('\u{feff}').lines() {
            let line = line.split('#').next().unwrap_or_default();
            let Some((key, value)) = line.split_once(':') else { continue };
            let (key, value) = (key.trim().to_ascii_lowercase(), value.trim());
            if key == "user-agent" {
                if !named {
                    groups.push(Group::default());
                }
                named = true;
                if let Some(group) = groups.last_mut() {
                    group.names.push(value.to_ascii_lowercase());
                }
                continue;
            }
            // Anything else than a rule ends no list of names: sitemaps stand wherever they like.
            let Some(group) = groups.last_mut() else { continue };
            match key.as_str() {
                "allow" | "disallow" => {
                    named = false;
                    if !value.is_empty() {
                        group.robots.rules.push(Rule { allow: key == "allow", pattern: normal(value) });
                    }
                }
                "crawl-delay" => {
                    named = false;
                    let seconds =
                        value.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
                    group.robots.delay = seconds.map(|seconds| seconds.min(LONGEST_DELAY));
                }
                _ => {}
            }
        }
        let for_us = |name: &String| {
            let token: String =
                name.chars().take_while(|c| c.is_ascii_alphabetic() || matches!(c, '-' | '_')).collect();
            token == NAME
        };
        let ours = groups.iter().any(|group| group.names.iter().any(for_us));
        let chosen = |group: &&Group| match ours {
            true => group.names.iter().any(for_us),
            false => group.names.iter().any(|name| name == "*"),
        };
        let mut robots = Self::default();
        for group in groups.iter().filter(chosen) {
            robots.rules.extend(group.robots.rules.iter().cloned());
            robots.delay = robots.delay.max(group.robots.delay);
        }
        robots
    }

    pub(super) fn allows(&self, url: &Url) -> bool {
        let place = match url.query() {
            Some(query) => normal(&format!("{}?{query}", url.path())),
            None => normal(url.path()),
        };
        let matching = self.rules.iter().filter(|rule| matches(&rule.pattern, &place));
        matching.max_by_key(|rule| (rule.pattern.len(), rule.allow)).is_none_or(|rule| rule.allow)
    }
}

/// Escapes written in one way, so that `/ä`, `/%c3%a4` and `/%C3%A4` are one place, and `/%61` is `/a`.
fn normal(text: &str) -> String {
    let bytes = text.as_bytes();
    let hex =
        |at: usize| bytes.get(at).and_then(|&digit| char::from(digit).to_digit(16)).map(|digit| digit as u8);
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = (bytes[at] == b'%').then(|| Some(hex(at + 1)? << 4 | hex(at + 2)?)).flatten();
        let byte = escaped.unwrap_or(bytes[at]);
        let plain = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
        match escaped {
            Some(_) if !plain => out.push_str(&format!("%{byte:02X}")),
            None if !byte.is_ascii() => out.push_str(&format!("%{byte:02X}")),
            _ => out.push(char::from(byte)),
        }
        at += if escaped.is_some() { 3 } else { 1 };
    }
    out
}

/// Whether `place` begins as `pattern` says.
fn matches(pattern: &str, place: &str) -> bool {
    let (pattern, to_the_end) = match pattern.strip_suffix('$') {
        Some(pattern) => (pattern, true),
        None => (pattern, false),
    };
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| place.strip_prefix(first)) else { return false };
    let parts: Vec<&str> = parts.collect();
    for (number, part) in parts.iter().enumerate() {
        if to_the_end && number + 1 == parts.len() {
            return rest.ends_with(part);
        }
        // The earliest place leaves the most for what follows.
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    !to_the_end || rest.is_empty()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn allows(text: &str, place: &str) -> bool {
        Robots::parse(text).allows(&Url::parse(&format!("http://a.org{place}")).unwrap())
    }

    #[test]
    fn our_own_group_counts_and_otherwise_that_for_everybody() {
        let text = "User-agent: other\nDisallow: /\n\nUser-Agent: *\nDisallow: /all\n\nuser-agent: InContext/1.0\n\
                    User-agent: friend\nDisallow: /us # a remark\nCrawl-delay: 2.5\n\nUser-agent: incontext\nDisallow: /more\n";
        for (place, allowed) in [("/", true), ("/all", true), ("/us/x", false), ("/more", false)] {
            assert_eq!(allows(text, place), allowed, "{place}");
        }
        assert_eq!(Robots::parse(text).delay, Some(Duration::from_millis(2500)));
        let others = text.replace("InContext", "somebody").replace("incontext", "somebody");
        assert!(!allows(&others, "/all/x") && allows(&others, "/us"));
        assert!(!allows("User-agent: incontextual\nAllow: /\nUser-agent: *\nDisallow: /", "/"));
    }

    #[test]
    fn the_longest_rule_decides_and_an_allow_beats_a_disallow_as_long() {
        // As in RFC 9309, 5.2 and 2.2.2.
        let text = "User-Agent: *\nAllow: /example/page/\nDisallow: /example/page/disallowed.gif\nDisallow: /p\nAllow: /p\n";
        assert!(allows(text, "/example/page/x.gif") && !allows(text, "/example/page/disallowed.gif"));
        assert!(allows(text, "/page"));
        assert!(allows("User-agent: *\nDisallow:\n", "/anything"));
        assert!(allows("", "/anything") && allows("Disallow: /\n", "/before/any/group"));
    }

    #[test]
    fn patterns_have_stars_and_ends_and_escapes() {
        for (pattern, place, matched) in [
            ("/*.gif$", "/x/a.gif", true),
            ("/*.gif$", "/x/a.gif?b", false),
            ("/this/*/exactly", "/this/is/exactly/x", true),
            ("/a*b*b$", "/ab", false),
            ("/a*b*b$", "/abxb", true),
            ("/$", "/", true),
            ("/$", "/a", false),
            ("*", "/a", true),
            ("/foo/bar/%e3%83%84", "/foo/bar/ツ", true),
            ("/foo/bar/ツ", "/foo/bar/%E3%83%84", true),
            ("/foo/bar/%62%61%7A", "/foo/bar/baz", true),
            ("/q?a=", "/q?a=1", true),
            ("/%2f", "//", false),
        ] {
            assert_eq!(
                !allows(&format!("User-agent: *\nDisallow: {pattern}\n"), place),
                matched,
                "{pattern} {place}"
            );
        }
    }

    #[test]
    fn a_delay_is_a_number_of_seconds_and_has_an_end() {
        let delay = |value: &str| Robots::parse(&format!("User-agent: *\nCrawl-delay: {value}\n")).delay;
        assert_eq!(delay("3600"), Some(LONGEST_DELAY));
        assert_eq!(["-1", "soon", "nan", "1e400"].map(delay), [None; 4]);
    }

    proptest! {
        #[test]
        fn anything_may_be_written_there(text in "(?s)((user-agent|allow|disallow|crawl-delay)?[: *$/%a-zé\\n]{0,9}){0,9}", place in "/[a-z%*$é]{0,9}") {
            let _ = allows(&text, &place);
            prop_assert_eq!(normal(&normal(&text)), normal(&text));
        }
    }
}
