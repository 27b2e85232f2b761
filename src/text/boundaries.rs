//! Where a text may be cut without hurting a reader: sentences, lines, words.
//!
//! Sentences follow UAX-29, with three things added that documents need: a line end inside a paragraph is only a space
//! (unless a list item or table row starts there), `；` ends a sentence, and an abbreviation or a list number does not.

use std::ops::Range;

use unicode_segmentation::UnicodeSegmentation;

/// Words that end in a full stop without ending a sentence, in lower case.
const ABBREVIATIONS: &[&str] = &[
    "al.", "approx.", "cf.", "dr.", "e.g.", "eq.", "fig.", "i.e.", "mr.", "mrs.", "ms.", "pp.", "prof.",
    "vol.", "vs.",
];

/// The sentences of `text`, in order, without the whitespace between them; together they hold everything else.
pub fn sentences(text: &str) -> Vec<Range<usize>> {
    let mut sentences: Vec<Range<usize>> = Vec::new();
    let mut joins = false;
    let soft = softened(text);
    for (start, bounded) in soft.split_sentence_bound_indices() {
        let mut at = start;
        for part in bounded.split_inclusive('；') {
            let range = at..at + part.len();
            at = range.end;
            let Some(range) = trimmed(text, range) else { continue };
            match sentences.last_mut() {
                Some(last) if joins => last.end = range.end,
                _ => sentences.push(range),
            }
            joins = sentences.last().is_some_and(|last| unfinished(&text[last.clone()]));
        }
    }
    sentences
}

/// `text` with those line ends turned into spaces that are only there to keep lines short; byte for byte as long.
fn softened(text: &str) -> String {
    let mut soft = String::with_capacity(text.len());
    let mut lines = text.split_inclusive('\n').peekable();
    while let Some(line) = lines.next() {
        let content = line.trim_end_matches(['\n', '\r']);
        soft.push_str(content);
        let end = &line[content.len()..];
        let hard = lines.peek().is_some_and(|next| starts_anew(next)) || content.trim().is_empty();
        match hard {
            true => soft.push_str(end),
            false => soft.extend(end.chars().map(|_| ' ')),
        }
    }
    soft
}

/// Whether a line is a row or an item of its own, or blank, rather than the last one going on.
fn starts_anew(line: &str) -> bool {
    let line = line.trim_start();
    line.is_empty()
        || line.starts_with(['|', '#'])
        || ["- ", "* ", "+ ", "• "].iter().any(|mark| line.starts_with(mark))
}

/// Whether what was taken for a sentence ends in an abbreviation, or is only a number or a mark in front of one.
fn unfinished(sentence: &str) -> bool {
    let last = sentence.rsplit(char::is_whitespace).next().unwrap_or(sentence);
    let last = last.trim_start_matches(['(', '[', '"', '\'', '*', '_']);
    let listed = || sentence.len() <= 8 && sentence.ends_with('.') && !sentence.contains(char::is_alphabetic);
    (last.len() <= 8 && ABBREVIATIONS.contains(&last.to_lowercase().as_str())) || listed()
}

/// The lines of `text[within]` that are not blank, each with its indentation and without its line end, and whether the
/// line before it was blank.
pub fn lines(text: &str, within: Range<usize>) -> Vec<(Range<usize>, bool)> {
    let mut lines = Vec::new();
    let (mut at, mut after_blank) = (within.start, false);
    for line in text[within].split_inclusive('\n') {
        let content = line.trim_end();
        if !content.is_empty() {
            lines.push((at..at + content.len(), after_blank));
        }
        after_blank = content.is_empty();
        at += line.len();
    }
    lines
}

/// The stretches of `text[within]` between whitespace.
pub fn words(text: &str, within: Range<usize>) -> Vec<Range<usize>> {
    let slice = &text[within.clone()];
    let address = |word: &str| word.as_ptr() as usize - slice.as_ptr() as usize + within.start;
    slice.split_whitespace().map(|word| address(word)..address(word) + word.len()).collect()
}

/// `range` of `text` without the whitespace at its ends; `None` when nothing is left.
pub fn trimmed(text: &str, range: Range<usize>) -> Option<Range<usize>> {
    let slice = &text[range.clone()];
    let start = range.start + (slice.len() - slice.trim_start().len());
    let end = range.start + slice.trim_end().len();
    (start < end).then_some(start..end)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(text: &str) -> Vec<&str> {
        sentences(text).into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn a_wrapped_line_does_not_end_a_sentence() {
        assert_eq!(split("One goes\non. Two,\r\nthough."), ["One goes\non.", "Two,\r\nthough."]);
        assert_eq!(split("Items:\n- one\n- two"), ["Items:", "- one", "- two"]);
        assert_eq!(split("| a |\n|---|\n| 1 |"), ["| a |", "|---|", "| 1 |"]);
    }

    #[test]
    fn chinese_stops_end_sentences() {
        assert_eq!(
            split("所有权是什么？它是规则；不是魔法。好！"),
            ["所有权是什么？", "它是规则；", "不是魔法。", "好！"]
        );
    }

    #[test]
    fn abbreviations_and_numbers_do_not() {
        assert_eq!(
            split("See e.g. Knuth et al. Rust 1.95 is out. Good."),
            ["See e.g. Knuth et al. Rust 1.95 is out.", "Good."]
        );
        assert_eq!(split("1. First. 2. Second."), ["1. First.", "2. Second."]);
    }

    proptest! {
        #[test]
        fn sentences_hold_everything_but_whitespace(text in "[a-zA-Z0-9 .!?；。\n\r\t|#*\u{3000}é😀-]{0,80}") {
            let mut at = 0;
            for range in sentences(&text) {
                prop_assert!(text[at..range.start].trim().is_empty());
                prop_assert!(!text[range.clone()].trim().is_empty());
                at = range.end;
            }
            prop_assert!(text[at..].trim().is_empty());
        }
    }
}
