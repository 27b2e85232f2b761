//! What somebody may have meant by a word that is none: the nearest one there is.

/// The one of `known` that `typed` is the start of or a slip of; `None` when it is another word.
pub fn closest<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near = |known: &&str| match typed.len() >= 3 && known.starts_with(typed) {
        true => 0,
        false => edits(typed, known),
    };
    let best = known.into_iter().min_by_key(near)?;
    // A third of the letters wrong is a slip; more is another word.
    (near(&best) * 3 <= best.len().min(typed.len())).then_some(best)
}

/// Letters to insert, delete or replace to get from `a` to `b` (Levenshtein's distance).
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, &to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_slip_is_seen_and_another_word_is_not() {
        let known = ["sources", "save", "model"];
        assert_eq!(closest("sorces", known), Some("sources"));
        assert_eq!(closest("sou", known), Some("sources"));
        assert_eq!(closest("quit", known), None);
        assert_eq!(closest("", known), None);
        assert_eq!(closest("x", []), None);
    }

    proptest! {
        #[test]
        fn edits_is_a_distance(a in "[a-d]{0,6}", b in "[a-d]{0,6}", c in "[a-d]{0,6}") {
            prop_assert_eq!(edits(&a, &b), edits(&b, &a));
            prop_assert_eq!(edits(&a, &b) == 0, a == b);
            prop_assert!(edits(&a, &c) <= edits(&a, &b) + edits(&b, &c));
            prop_assert!(edits(&a, &b) <= a.len().max(b.len()));
        }
    }
}
