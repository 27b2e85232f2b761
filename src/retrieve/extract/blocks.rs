//! What belongs to a chosen sentence: the list or code that it announces, the line that announces the list it is in.

use std::ops::Range;

use crate::text::markup::{is_fence, is_heading, marker_len};

/// A list or a piece of code longer than this is not an answer; in bytes.
const LONGEST: usize = 900;

/// Lines of code worth showing behind a sentence.
const MOST_CODE: usize = 12;

/// Where the list or code block ends that the sentence at `range` announces: with a colon at its own end, or, for a list, with
/// a colon at the end of its paragraph. `None` when there is none, or when the text ends in the middle of code.
pub(super) fn announced(text: &str, range: &Range<usize>) -> Option<usize> {
    let rest = &text[range.end..];
    let paragraph = rest.find("\n\n").unwrap_or(rest.len());
    let first_item =
        rest[..paragraph].match_indices('\n').map(|(at, _)| at).find(|at| is_item(line(&rest[at + 1..])));
    let own = text[range.clone()].trim_end().ends_with([':', '：']);
    let head = &rest[..first_item.unwrap_or(paragraph)];
    // At most one more sentence may stand between.
    let introduces = own && head.trim().is_empty()
        || head.trim_end().ends_with([':', '：'])
            && !head.trim_end().trim_end_matches([':', '：']).contains(". ");
    if !introduces {
        return None;
    }
    let start = first_item.unwrap_or(paragraph);
    let block = rest[start..].trim_start_matches(['\n', '\r']);
    let block_start = range.end + rest.len() - block.len();
    let len = if is_item(line(block)) {
        list_len(block)
    } else if own && is_fence(line(block).trim()) {
        code_len(block)?
    } else {
        return None;
    };
    (len > 0 && len <= LONGEST).then(|| block_start + block[..len].trim_end().len())
}

/// Whether the text before `at` is a list's announcement followed by nothing but items: where its last line stands.
pub(super) fn announcing(text: &str, at: usize) -> Option<usize> {
    let start = text[..at].rfind('\n').map_or(0, |end| end + 1);
    if !is_item(line(&text[start..])) {
        return None;
    }
    let mut end = start;
    while end > 0 {
        let start = text[..end - 1].rfind('\n').map_or(0, |end| end + 1);
        let line = text[start..end].trim_end();
        if !line.is_empty() && !is_item(line) && !line.starts_with([' ', '\t']) {
            return (line.ends_with([':', '：']) && !is_heading(line)).then_some(start + line.len());
        }
        end = start;
    }
    None
}

fn line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

fn is_item(line: &str) -> bool {
    marker_len(line.trim_start()) > 0
}

/// Items and the indented lines that belong to them; a blank line between items is part of the list.
fn list_len(text: &str) -> usize {
    let mut len = 0;
    let mut end = 0;
    let mut after_blank = false;
    for line in text.split_inclusive('\n') {
        let is_blank = line.trim().is_empty();
        let belongs =
            is_item(line) || line.starts_with([' ', '\t']) || (!after_blank && !is_fence(line.trim()));
        if !is_blank && !belongs {
            break;
        }
        len += line.len();
        after_blank = is_blank;
        if !is_blank {
            end = len;
        }
    }
    end
}

/// A fenced block, fences included; `None` when it is not closed here, too long to show, or only says what a renderer is
/// to fetch (`{{#include a.rs}}`).
fn code_len(text: &str) -> Option<usize> {
    let mut len = 0;
    let mut has_code = false;
    for (at, line) in text.split_inclusive('\n').enumerate() {
        len += line.len();
        if at > 0 && is_fence(line.trim()) {
            return has_code.then_some(len);
        }
        has_code |= at > 0 && !line.trim().is_empty() && !line.trim().starts_with("{{#");
        if at > MOST_CODE {
            return None;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_block<'a>(text: &'a str, sentence: &str) -> Option<&'a str> {
        let start = text.find(sentence).unwrap();
        let range = start..start + sentence.len();
        announced(text, &range).map(|end| &text[start..end])
    }

    #[test]
    fn a_colon_brings_its_list_and_its_code() {
        let text = "The rules:\n\n- One owner.\n- One at a time,\n  always.\n\nTea is nice.";
        assert_eq!(
            with_block(text, "The rules:"),
            Some("The rules:\n\n- One owner.\n- One at a time,\n  always.")
        );
        let code = "Declare it:\n\n```rust\nconst A: u8 = 1;\n```\n\nDone.";
        assert_eq!(with_block(code, "Declare it:"), Some("Declare it:\n\n```rust\nconst A: u8 = 1;\n```"));
        assert_eq!(with_block("Declare it:\n\n```rust\nconst A", "Declare it:"), None);
        assert_eq!(with_block("Declare it:\n\nLike so.", "Declare it:"), None);
        let tight = "Two of them:\n1. this\n2. that\n";
        assert_eq!(with_block(tight, "Two of them:"), Some("Two of them:\n1. this\n2. that"));
    }

    #[test]
    fn the_paragraph_s_colon_brings_the_list_to_the_sentence_before() {
        let text = "See the rules. Keep them in\nmind here:\n\n* a b\n* c d\n";
        assert_eq!(with_block(text, "See the rules."), Some(text.trim_end()));
        let code = "See the code. It is this:\n\n```\nx\n```\n";
        assert_eq!(with_block(code, "See the code."), None);
        let far = "See it. Then more. And:\n\n* a\n";
        assert_eq!(with_block(far, "See it."), None);
        assert_eq!(with_block("No list. At all.", "No list."), None);
    }

    #[test]
    fn an_item_finds_the_line_that_announces_its_list() {
        let text = "For each:\n\n* one\n  more\n* two\n\nAfter:\n\nthree";
        let found = |word: &str| announcing(text, text.find(word).unwrap()).map(|end| &text[..end]);
        assert_eq!(found("two"), Some("For each:"));
        assert_eq!(found("one"), Some("For each:"));
        assert_eq!(found("three"), None);
        assert_eq!(announcing("* one", 2), None);
        assert_eq!(announcing("Tea.\n\n* one", 8), None);
    }

    #[test]
    fn a_long_list_is_not_an_answer() {
        let text = format!("All:\n\n{}", "- an item of some length\n".repeat(60));
        assert_eq!(with_block(&text, "All:"), None);
    }
}
