//! What a line of Markdown is, told from the line alone: for text that may begin anywhere, where a parser would have to
//! guess what came before.

use std::ops::Range;

pub fn is_fence(line: &str) -> bool {
    line.starts_with("```") && !line[3..].contains('`') || line.starts_with("~~~")
}

/// Whether the text starts in the middle of a code block whose opening fence was cut off. A fence alone does not say
/// whether it opens or closes, so both readings are tried and the one in which fewer lines look out of place is taken.
pub fn begins_inside_code(text: &str, lines: &[Range<usize>]) -> bool {
    const NAMED_FENCE: usize = 10; // "```rust" cannot close anything
    let misplaced = |mut in_code: bool| {
        let mut misplaced = 0;
        for line in lines.iter().map(|line| text[line.clone()].trim()) {
            if is_fence(line) {
                let is_named = line.contains(|c: char| c.is_alphanumeric());
                misplaced += if in_code && is_named { NAMED_FENCE } else { 0 };
                in_code = !in_code;
            } else {
                let looks_wrong =
                    if in_code { looks_like_prose(line) } else { line.ends_with([';', '{', '}']) };
                misplaced += usize::from(looks_wrong);
            }
        }
        misplaced
    };
    misplaced(true) < misplaced(false)
}

fn looks_like_prose(line: &str) -> bool {
    line.split(' ').count() > 4
        && line.starts_with(char::is_alphabetic)
        && !line.ends_with([';', '{', '}', ')'])
}

/// Length of the `>` marks a quoted line begins with, and the space after them.
pub fn quote_len(line: &str) -> usize {
    let rest = line.trim_start_matches('>');
    let marks = line.len() - rest.len();
    if marks == 0 { 0 } else { line.len() - rest.trim_start_matches([' ', '\t']).len() }
}

pub fn is_heading(line: &str) -> bool {
    let title = line.trim_start_matches('#');
    (1..=6).contains(&(line.len() - title.len())) && (title.is_empty() || title.starts_with([' ', '\t']))
}

/// `---`, `===`, `***`, `- - -`: a rule or the line under a heading.
pub fn is_underline(line: &str) -> bool {
    let mut marks = line.chars().filter(|c| !c.is_whitespace());
    let Some(first) = marks.next() else { return false };
    matches!(first, '-' | '=' | '*' | '_') && line.len() >= 3 && marks.all(|c| c == first)
}

/// Length of what introduces a list item: `- `, `12. `, `* [x] `.
pub fn marker_len(line: &str) -> usize {
    let mut rest = line;
    loop {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let after = if (1..=3).contains(&digits)
            && (rest[digits..].starts_with(". ") || rest[digits..].starts_with(") "))
        {
            &rest[digits + 2..]
        } else if let Some(after) = ["- ", "* ", "+ ", "• ", "[ ] ", "[x] ", "[X] "]
            .iter()
            .find_map(|marker| rest.strip_prefix(marker))
        {
            after
        } else {
            return line.len() - rest.len();
        };
        rest = after.trim_start();
    }
}

/// Whether nothing is left of `text` once links, images, addresses and tags are taken out.
pub fn is_only_links(text: &str) -> bool {
    if let Some((label, target)) = text.split_once("]: ")
        && label.starts_with('[')
        && !label.contains(' ')
        && !target.trim_end().contains(". ")
    {
        return true; // a link definition
    }
    let mut rest = text.trim();
    let mut links = 0;
    while !rest.is_empty() {
        let next = skip_link(rest).or_else(|| {
            let glue = rest.chars().next().filter(|c| !c.is_alphanumeric())?;
            Some((&rest[glue.len_utf8()..], 0))
        });
        let Some((after, found)) = next else { return false };
        (rest, links) = (after, links + found);
    }
    links > 0 || !text.chars().any(char::is_alphanumeric)
}

/// What follows a link at the start of `text`.
fn skip_link(text: &str) -> Option<(&str, usize)> {
    let label = text.strip_prefix('!').unwrap_or(text);
    if label.starts_with('[') {
        let (_, after) = label.split_once("](")?;
        return after.split_once(')').map(|(_, after)| (after, 1));
    }
    if text.starts_with("http://") || text.starts_with("https://") {
        let end = text.find(|c: char| c.is_whitespace() || matches!(c, '>' | ')')).unwrap_or(text.len());
        return Some((&text[end..], 1));
    }
    let tag = text.strip_prefix('<')?;
    tag.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '/' | '!')).then_some(())?;
    tag.split_once('>').map(|(_, after)| (after, 1))
}
