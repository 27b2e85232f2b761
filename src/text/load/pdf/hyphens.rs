//! Words broken at line ends, put together again the way the rest of the document writes them.

use std::collections::BTreeSet;

const HYPHENS: [char; 2] = ['-', '\u{2010}'];

/// The words of a document that stand within lines, with and without hyphens, in lower case.
pub(super) struct Words(BTreeSet<String>);

impl Words {
    pub(super) fn of<'a>(lines: impl Iterator<Item = &'a str>) -> Self {
        let mut words = BTreeSet::new();
        let mut broken = false;
        for line in lines {
            // What stands at a break is half a word.
            let skipped = usize::from(broken);
            broken = line.ends_with(HYPHENS);
            let whole = line.split_whitespace().count().saturating_sub(skipped + usize::from(broken));
            let all = line.split_whitespace().skip(skipped).take(whole).map(bare);
            words.extend(all.filter(|word| !word.is_empty()).map(str::to_lowercase));
        }
        Self(words)
    }

    /// Appends `next`, a line, to `text`, what was read so far.
    pub(super) fn join(&self, text: &mut String, next: &str) {
        if is_broken_address(text, next) {
            text.push_str(next);
            return;
        }
        let Some(head) = text.strip_suffix(HYPHENS).map(str::to_owned) else {
            // A dash without a space before it has none behind it.
            let dash = text.ends_with('—') && !text.ends_with(" —");
            if !text.is_empty() && !dash {
                text.push(' ');
            }
            text.push_str(next);
            return;
        };
        let broken = head.ends_with(char::is_alphabetic) && next.starts_with(char::is_lowercase);
        if broken && !self.is_compound(&head, next) {
            text.truncate(head.len());
        }
        let dash = head.is_empty() || head.ends_with(char::is_whitespace);
        if dash {
            text.push(' ');
        }
        text.push_str(next);
    }

    /// Whether the hyphen is the word's own: the document writes it so elsewhere, and never without.
    fn is_compound(&self, head: &str, next: &str) -> bool {
        let left = head.split_whitespace().next_back().unwrap_or_default().to_lowercase();
        let left = left.trim_start_matches(|letter: char| !letter.is_alphanumeric());
        let right = bare(next.split_whitespace().next().unwrap_or_default()).to_lowercase();
        if self.0.contains(&format!("{left}{right}")) {
            return false;
        }
        // "step-by-" has hyphens already; "half-" and "body" may be words of their own.
        left.contains('-')
            || self.0.contains(&format!("{left}-{right}"))
            || (left.len() > 3 && right.len() > 3 && self.0.contains(left) && self.0.contains(&right))
    }
}

/// Whether `text` ends within an address that `next` goes on with: those are broken without a hyphen.
fn is_broken_address(text: &str, next: &str) -> bool {
    let last = text.split_whitespace().next_back().unwrap_or_default().trim_start_matches(['(', '[', '<']);
    let address = ["http:", "https:", "doi:", "www."].iter().any(|start| last.starts_with(start));
    // A full stop may be the sentence's.
    let goes_on = match last.ends_with('.') {
        true => next.starts_with(|letter: char| letter.is_lowercase() || letter.is_ascii_digit()),
        false => last.ends_with(['/', ':', '-', '_', '=', '?', '&', '#', '%']),
    };
    address && goes_on && next.starts_with(|letter: char| letter.is_alphanumeric() || letter == '/')
}

fn bare(word: &str) -> &str {
    word.trim_matches(|letter: char| !letter.is_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(lines: &[&str]) -> String {
        let words = Words::of(lines.iter().copied());
        let mut text = String::new();
        lines.iter().for_each(|line| words.join(&mut text, line));
        text
    }

    #[test]
    fn a_broken_word_is_whole_and_a_compound_keeps_its_hyphen() {
        assert_eq!(joined(&["some mate-", "rials here"]), "some materials here");
        assert_eq!(joined(&["a half-", "body, the half-body"]), "a half-body, the half-body");
        assert_eq!(joined(&["a step-by-", "step guide"]), "a step-by-step guide");
        assert_eq!(
            joined(&["source code and open-", "source tools that open"]),
            "source code and open-source tools that open"
        );
        assert_eq!(
            joined(&["(http:", "//a.b/)", "doi:10.", "1037/x. The"]),
            "(http://a.b/) doi:10.1037/x. The"
        );
        assert_eq!(
            joined(&["at https://", "CRAN.org.", "The end—", "or not"]),
            "at https://CRAN.org. The end—or not"
        );
        assert_eq!(joined(&["Aero-", "Python -", "nice"]), "Aero-Python - nice");
    }
}
