//! Quoted words as a person reads them: without what only a renderer needs.
//!
//! The citation keeps the file's exact bytes; this is about the line above it. Quote marks, comments, link targets and
//! footnote marks of Markdown go; a word that a plain text breaks over two lines is one word again; lists and code keep
//! their lines.

use std::collections::BTreeSet;

use crate::text::document::Format;
use crate::text::markup::{is_fence, marker_len, quote_len};

/// `text`, which stands in a passage with the words `known`.
pub(super) fn readable(text: &str, format: Format, known: &BTreeSet<&str>) -> String {
    if format != Format::Markdown {
        return one_line(text.lines().collect(), known);
    }
    let mut blocks: Vec<String> = Vec::new();
    let mut prose: Vec<&str> = Vec::new();
    let mut in_code = false;
    for line in text.lines() {
        let line = unquoted(line);
        let is_fence = is_fence(line.trim());
        let starts = is_fence || in_code || marker_len(line.trim_start()) > 0;
        if starts && !prose.is_empty() {
            blocks.push(unmarked(&one_line(std::mem::take(&mut prose), known)));
        }
        if is_fence || in_code {
            blocks.push(line.trim_end().to_owned());
            in_code ^= is_fence;
        } else {
            prose.push(line);
        }
    }
    if !prose.is_empty() {
        blocks.push(unmarked(&one_line(prose, known)));
    }
    blocks.retain(|block| !block.trim().is_empty());
    blocks.join("\n")
}

/// A line without the marks that a quotation repeats in each of its lines.
fn unquoted(line: &str) -> &str {
    let mut rest = line.trim_start();
    if quote_len(rest) == 0 {
        return line;
    }
    while quote_len(rest) > 0 {
        rest = &rest[quote_len(rest)..];
    }
    rest
}

/// Lines joined by a space, and by nothing where the end of one breaks a word: `mate-` and `rials`. A hyphen stays where
/// what follows it is a word of the passage by itself (`high-` and `level`).
fn one_line(lines: Vec<&str>, known: &BTreeSet<&str>) -> String {
    let mut joined = String::new();
    for line in lines {
        let mut words = line.split_whitespace();
        let Some(first) = words.next() else { continue };
        let stem = joined.strip_suffix('-').filter(|stem| stem.ends_with(char::is_lowercase));
        if let Some(stem) = stem.filter(|_| first.starts_with(char::is_lowercase)) {
            let is_word = known.contains(first.trim_end_matches(|c: char| !c.is_alphanumeric()));
            joined.truncate(stem.len() + usize::from(is_word));
        } else if !joined.is_empty() {
            joined.push(' ');
        }
        joined.push_str(first);
        words.for_each(|word| {
            joined.push(' ');
            joined.push_str(word);
        });
    }
    joined
}

/// One line of Markdown without comments, footnote marks and the targets of links; an address that its label does not
/// name stays, in parentheses.
fn unmarked(text: &str) -> String {
    let text = without_comments(text);
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(at) = rest.find(['[', '`', '<']) {
        plain.push_str(&rest[..at]);
        rest = &rest[at..];
        let (shown, used) = match rest.as_bytes()[0] {
            b'`' => code(rest),
            b'<' => tag(rest),
            _ => link(rest),
        };
        if plain.ends_with('!') && used > 1 && rest.starts_with('[') {
            plain.pop(); // a picture is its description
        }
        plain.push_str(&shown);
        rest = &rest[used..];
    }
    plain + rest
}

/// Code is left as it is: its span, to the mark that closes it.
fn code(text: &str) -> (String, usize) {
    let marks = text.len() - text.trim_start_matches('`').len();
    let end = text[marks..].find(&text[..marks]).map_or(marks, |at| marks + at + marks);
    (text[..end].to_owned(), end)
}

/// Tags that lay out words say nothing; anything else in angle brackets (`Vec<T>`) is text, and an address is itself.
fn tag(text: &str) -> (String, usize) {
    const LAYOUT: &[&str] =
        &["a", "b", "br", "code", "em", "i", "img", "kbd", "p", "small", "span", "strong", "sub", "sup"];
    let none = ("<".to_owned(), 1);
    let Some((inside, _)) = text[1..].split_once('>') else { return none };
    let used = inside.len() + 2;
    if inside.starts_with("http://") || inside.starts_with("https://") {
        return (inside.to_owned(), used);
    }
    let name = inside.trim_start_matches('/').split([' ', '/']).next().unwrap_or_default();
    if LAYOUT.contains(&name) { (String::new(), used) } else { none }
}

/// What a reader sees of the link that `text` begins with, and its length; a bracket that begins none is one.
fn link(text: &str) -> (String, usize) {
    let none = ("[".to_owned(), 1);
    let Some(end) = closing(text) else { return none };
    let label = &text[1..end];
    if label.starts_with('^') {
        return (String::new(), end + 1);
    }
    let after = &text[end + 1..];
    if after.starts_with('[') {
        return match after.find(']') {
            Some(reference) => (unmarked(label), end + 1 + reference + 1),
            None => none,
        };
    }
    match after.strip_prefix('(').and_then(|target| target.split_once(')')) {
        Some((target, _)) => {
            let address = target.split_whitespace().next().unwrap_or_default();
            let is_new = address.starts_with("http") && !label.contains(address);
            let shown = if is_new { format!("{} ({address})", unmarked(label)) } else { unmarked(label) };
            (shown, end + 1 + target.len() + 2)
        }
        None => none,
    }
}

/// Where the bracket that `text` begins with is closed.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0usize;
    for (at, c) in text.char_indices() {
        match c {
            '[' => depth += 1,
            ']' if depth == 1 => return Some(at),
            ']' => depth = depth.checked_sub(1)?,
            _ => {}
        }
    }
    None
}

fn without_comments(text: &str) -> String {
    let mut parts = text.split("<!--");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |kept, part| match part.split_once("-->") {
        Some((_, after)) => kept + after,
        None => kept + "<!--" + part,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn markdown(text: &str) -> String {
        readable(text, Format::Markdown, &BTreeSet::new())
    }

    #[test]
    fn a_quotation_over_lines_loses_its_marks_and_a_comparison_keeps_its_own() {
        let quoted = "You won't need to think\n> about the stack\n> > or the heap.";
        assert_eq!(markdown(quoted), "You won't need to think about the stack or the heap.");
        assert_eq!(markdown("a > b\nholds"), "a > b holds");
        assert_eq!(readable("if a\n> b", Format::Text, &BTreeSet::new()), "if a > b");
        let comments = "See [it][it]<!-- ignore --> now, <!-- and -->then <!-- no end";
        assert_eq!(markdown(comments), "See it now, then <!-- no end");
    }

    #[test]
    fn links_are_their_labels_and_addresses_that_say_more_stay() {
        assert_eq!(markdown("Go to [https://a.b/c][install] now[^1]."), "Go to https://a.b/c now.");
        assert_eq!(
            markdown("See [the guide](guide.md#x) and [a](https://a.b)."),
            "See the guide and a (https://a.b)."
        );
        assert_eq!(markdown("![A map](map.png) of [it][]"), "A map of it");
        assert_eq!(markdown("`v[i][j]` of [1, 2] and [open"), "`v[i][j]` of [1, 2] and [open");
        assert_eq!(
            markdown("A <a id=\"x\"></a>tag, Vec<T>, <b>bold</b> 1 < 2, <https://a.b>."),
            "A tag, Vec<T>, bold 1 < 2, https://a.b."
        );
        assert_eq!(markdown("[[“Types”][t]]"), "[“Types”]");
    }

    #[test]
    fn lists_and_code_keep_their_lines() {
        let list = "The rules:\n\n- One\n  owner.\n- Only [one](a.md).";
        assert_eq!(markdown(list), "The rules:\n- One owner.\n- Only one.");
        let code = "Declare\nit:\n\n```rust\nlet v = a[i](j);\n\n  x\n```";
        assert_eq!(markdown(code), "Declare it:\n```rust\nlet v = a[i](j);\n  x\n```");
    }

    #[test]
    fn a_broken_word_is_whole_again_and_a_compound_keeps_its_hyphen() {
        let known = BTreeSet::from(["level"]);
        let text = "Found in mate-\nrials on high-\nlevel design - as\nSelf-\nHelp, pre-\n\nand";
        assert_eq!(
            readable(text, Format::Text, &known),
            "Found in materials on high-level design - as Self- Help, preand"
        );
    }

    proptest! {
        #[test]
        fn words_outside_of_marks_stay(text in "([a-z]{1,5}|[\\[\\]()`!^<>-]|\n| ){0,30}") {
            readable(&text, Format::Markdown, &BTreeSet::new());
            let plain: String = text.chars().filter(|c| c.is_alphabetic() || c.is_whitespace()).collect();
            let words: Vec<&str> = plain.split_whitespace().collect();
            let shown = markdown(&plain);
            prop_assert_eq!(shown.split_whitespace().collect::<Vec<_>>(), words);
        }
    }
}
