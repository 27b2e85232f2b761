//! Lines that break between words at the edge of a terminal. What is piped is never broken.

use std::io::IsTerminal;

use terminal_size::{Width, terminal_size_of};
use unicode_width::UnicodeWidthStr;

/// A narrower terminal would hold a word or two a line; it may break them as it likes.
const NARROWEST: usize = 20;

/// The columns that a line on stdout has, where a person watches it.
pub fn columns() -> Option<usize> {
    let stdout = std::io::stdout();
    let columns = stdout.is_terminal().then(|| terminal_size_of(&stdout)).flatten();
    columns.map(|(Width(columns), _)| usize::from(columns)).filter(|columns| *columns >= NARROWEST)
}

/// `text` with lines of at most `columns`; what is carried over begins with `indent`. A word that is longer stays whole,
/// and so does the white space that a line begins with.
pub fn wrap(text: &str, columns: usize, indent: &str) -> String {
    text.split('\n').map(|line| wrap_line(line, columns, indent)).collect::<Vec<_>>().join("\n")
}

fn wrap_line(line: &str, columns: usize, indent: &str) -> String {
    if line.width() <= columns {
        return line.to_owned();
    }
    let begin = line.len() - line.trim_start().len();
    let (mut text, mut used) = (line[..begin].to_owned(), line[..begin].width());
    let mut is_first = true;
    for word in line[begin..].split_inclusive(' ') {
        let width = word.trim_end().width();
        if !is_first && used + width > columns {
            text.truncate(text.trim_end().len());
            text.push('\n');
            text.push_str(indent);
            used = indent.width();
        }
        text.push_str(word);
        used += word.width();
        is_first = false;
    }
    text.truncate(text.trim_end().len());
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_break_between_words_and_go_on_below_their_beginning() {
        assert_eq!(wrap("The lease ends in May. [1]", 12, ""), "The lease\nends in May.\n[1]");
        assert_eq!(wrap("    | one two three", 12, "    | "), "    | one\n    | two\n    | three");
        assert_eq!(wrap("short\nand  as  it is", 20, ""), "short\nand  as  it is");
        assert_eq!(wrap("a_word_longer_than_a_line is whole", 10, ""), "a_word_longer_than_a_line\nis whole");
        // Wide characters take two columns each.
        assert_eq!(wrap("所有 权是 什么", 9, ""), "所有 权是\n什么");
    }

    proptest! {
        #[test]
        fn words_stay_whole_in_order_and_lines_fit(text in "([a-zé]{1,12}[ \n]{1,2}){0,20}", columns in 13usize..40) {
            let wrapped = wrap(&text, columns, "");
            prop_assert!(wrapped.split_whitespace().eq(text.split_whitespace()));
            prop_assert!(wrapped.lines().all(|line| line.trim_end().width() <= columns));
        }
    }
}
