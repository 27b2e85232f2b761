//! Two texts held against each other, for a person to read: line by line, and in lines that are much alike word by word.
//!
//! What only the first has stands in `[-...-]`, what only the second has in `{+...+}`, as in `git diff --word-diff`.

use similar::{ChangeTag, DiffOp, TextDiff};

/// Blocks of lines that share less of their letters are shown one after the other.
const ALIKE: f64 = 0.4;

/// A line of the comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Where the first text is by then, from 1.
    pub number: usize,
    pub changed: bool,
    pub text: String,
}

/// All lines of both texts, changes marked.
pub fn difference(old: &str, new: &str) -> Vec<Line> {
    let diff = TextDiff::from_lines(old, new);
    let mut lines = Vec::new();
    for op in diff.ops() {
        let (was, is) =
            (diff.old_slices()[op.old_range()].concat(), diff.new_slices()[op.new_range()].concat());
        let number = op.old_range().start + 1;
        let mut push = |text: &str, changed: bool| {
            let numbered = text.lines().enumerate();
            lines.extend(numbered.map(|(at, text)| Line {
                number: number + at,
                changed,
                text: text.to_owned(),
            }));
        };
        match op {
            DiffOp::Equal { .. } => push(&was, false),
            DiffOp::Delete { .. } => push(&marked(&was, DELETED), true),
            DiffOp::Insert { .. } => push(&marked(&is, INSERTED), true),
            DiffOp::Replace { .. } => push(&by_words(&was, &is), true),
        }
    }
    lines
}

const DELETED: [&str; 2] = ["[-", "-]"];
const INSERTED: [&str; 2] = ["{+", "+}"];

fn by_words(was: &str, is: &str) -> String {
    let diff = TextDiff::from_words(was, is);
    let changes: Vec<(ChangeTag, &str)> =
        diff.iter_all_changes().map(|change| (change.tag(), change.value())).collect();
    let letters = |of: fn(ChangeTag) -> bool| -> usize {
        changes.iter().filter(|(tag, _)| of(*tag)).map(|(_, value)| value.trim().len()).sum()
    };
    let (shared, changed) = (letters(|tag| tag == ChangeTag::Equal), letters(|tag| tag != ChangeTag::Equal));
    if 2.0 * (shared as f64) < ALIKE * (2 * shared + changed) as f64 {
        return format!("{}\n{}", marked(was, DELETED).trim_end_matches('\n'), marked(is, INSERTED));
    }
    let mut text = String::new();
    let (mut deleted, mut inserted) = (String::new(), String::new());
    for (at, &(tag, value)) in changes.iter().enumerate() {
        match tag {
            ChangeTag::Delete => deleted.push_str(value),
            ChangeTag::Insert => inserted.push_str(value),
            ChangeTag::Equal => {
                // A space between two changed words would tear them apart.
                let is_between = changes.get(at + 1).is_some_and(|(next, _)| *next != ChangeTag::Equal);
                let is_space = value.trim().is_empty() && !value.contains('\n');
                if is_space && is_between && !(deleted.is_empty() && inserted.is_empty()) {
                    deleted.push_str(value);
                    inserted.push_str(value);
                    continue;
                }
                text += &marked(&std::mem::take(&mut deleted), DELETED);
                text += &marked(&std::mem::take(&mut inserted), INSERTED);
                text += value;
            }
        }
    }
    text + &marked(&deleted, DELETED) + &marked(&inserted, INSERTED)
}

/// Each line of `text` between the marks; nothing when there is no text.
fn marked(text: &str, [open, close]: [&str; 2]) -> String {
    let line = |line: &str| match line.strip_suffix('\n') {
        Some(line) => format!("{open}{line}{close}\n"),
        None => format!("{open}{line}{close}"),
    };
    text.split_inclusive('\n').map(line).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(old: &str, new: &str) -> String {
        let mark = |line: &Line| {
            let star = if line.changed { "*" } else { "" };
            format!("{}{star} {}", line.number, line.text).trim_end().to_owned()
        };
        difference(old, new).iter().map(mark).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn changed_words_stand_in_their_line_and_other_lines_as_they_are() {
        let old = "Answer in one or two sentences.\n\nText: x\nLabel:\n";
        let new = "Answer in one sentence.\n\nText: x\nClass: y\nLabel:\n";
        insta::assert_snapshot!(shown(old, new), @r#"
        1* Answer in one [-or two sentences.-]{+sentence.+}
        2
        3 Text: x
        4* {+Class: y+}
        4 Label:
        "#);
    }

    #[test]
    fn lines_with_nothing_in_common_stand_one_after_the_other() {
        insta::assert_snapshot!(shown("a\nTea is steeped.\nb", "a\nWho knows why?\nb"), @r#"
        1 a
        2* [-Tea is steeped.-]
        3* {+Who knows why?+}
        3 b
        "#);
    }

    /// The text before or after the changes, made out of what is shown.
    fn without(lines: &[Line], gone: [&str; 2], kept: [&str; 2]) -> String {
        let mut text = String::new();
        for line in lines {
            let mut rest = line.text.replace(kept[0], "").replace(kept[1], "");
            while let Some((start, end)) = rest.find(gone[0]).zip(rest.find(gone[1])) {
                rest.replace_range(start..end + 2, "");
            }
            text += &rest;
        }
        text.split_whitespace().collect()
    }

    proptest! {
        #[test]
        fn both_texts_can_be_read_out_of_it(old in "([abc]{1,2}[ \n]){0,12}", new in "([abc]{1,2}[ \n]){0,12}") {
            let lines = difference(&old, &new);
            let bare = |text: &str| text.split_whitespace().collect::<String>();
            prop_assert_eq!(without(&lines, INSERTED, DELETED), bare(&old), "{:?}", lines);
            prop_assert_eq!(without(&lines, DELETED, INSERTED), bare(&new), "{:?}", lines);
            let unchanged = lines.iter().all(|line| !line.changed);
            prop_assert_eq!(unchanged, old == new || old.trim_end_matches('\n') == new.trim_end_matches('\n'));
        }
    }
}
