//! ROUGE (Lin 2004), as Google's `rouge-score` computes it with `use_stemmer=False`: shared words, shared pairs of words,
//! the longest common subsequence of words.
//!
//! Words are runs of `a-z` and `0-9` in lower case, so that text in other scripts has none and scores 0: chrF is for that.
//! There is no stemming: `rouge-score` has NLTK's variant of Porter's stemmer, which is no other library's.

use std::collections::HashMap;

use serde::Serialize;

/// Each in `[0, 1]`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Rouge {
    pub precision: f64,
    pub recall: f64,
    /// Their harmonic mean.
    pub f: f64,
}

/// Words (`order` 1), pairs of words (2) and so on that both texts have, against the reference that scores best.
pub fn rouge_n<S: AsRef<str>>(said: &str, references: &[S], order: usize) -> Rouge {
    best(said, references, |said, reference| {
        let (said, reference) = (ngrams(said, order), ngrams(reference, order));
        let both =
            reference.iter().map(|(ngram, count)| said.get(ngram).map_or(0, |other| *count.min(other)));
        Rouge::new(both.sum(), said.values().sum(), reference.values().sum())
    })
}

/// The longest common subsequence of words, against the reference that scores best.
pub fn rouge_l<S: AsRef<str>>(said: &str, references: &[S]) -> Rouge {
    best(said, references, |said, reference| {
        Rouge::new(common_subsequence(said, reference), said.len(), reference.len())
    })
}

impl Rouge {
    fn new(both: usize, said: usize, reference: usize) -> Self {
        let share = |of: usize| both as f64 / of.max(1) as f64;
        let (precision, recall) = (share(said), share(reference));
        let f = if both > 0 { 2.0 * precision * recall / (precision + recall) } else { 0.0 };
        Self { precision, recall, f }
    }
}

/// The first of the best by F; all 0 without references.
fn best<S: AsRef<str>>(said: &str, references: &[S], score: impl Fn(&[String], &[String]) -> Rouge) -> Rouge {
    let said = words(said);
    references.iter().map(|reference| score(&said, &words(reference.as_ref()))).fold(
        Rouge::default(),
        |best, next| {
            if next.f > best.f { next } else { best }
        },
    )
}

fn words(text: &str) -> Vec<String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let text = text.to_lowercase();
    text.split(|c| !plain(c)).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

fn ngrams(words: &[String], order: usize) -> HashMap<&[String], usize> {
    let mut counts = HashMap::new();
    for ngram in words.windows(order.max(1)) {
        *counts.entry(ngram).or_default() += 1;
    }
    counts
}

/// Its length, by the row of a table that was filled last.
fn common_subsequence(a: &[String], b: &[String]) -> usize {
    let mut row = vec![0; b.len() + 1];
    for from in a {
        let mut diagonal = 0;
        for (at, to) in b.iter().enumerate() {
            let above = row[at + 1];
            row[at + 1] = if from == to { diagonal + 1 } else { above.max(row[at]) };
            diagonal = above;
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[test]
    fn texts_score_as_in_rouge_score() {
        // Made by `tests/golden/make_text_metrics.py`.
        let golden: Value =
            serde_json::from_str(include_str!("../../tests/golden/text_metrics.json")).unwrap();
        for pair in golden["pairs"].as_array().unwrap() {
            let said = pair["said"].as_str().unwrap();
            let references: Vec<&str> =
                pair["references"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
            for (name, rouge) in [
                ("rouge1", rouge_n(said, &references, 1)),
                ("rouge2", rouge_n(said, &references, 2)),
                ("rougeL", rouge_l(said, &references)),
            ] {
                for (at, got) in [rouge.precision, rouge.recall, rouge.f].into_iter().enumerate() {
                    let expected = pair[name][at].as_f64().unwrap();
                    assert!((got - expected).abs() < 1e-9, "{name} {pair}: {rouge:?}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn a_subsequence_is_as_long_from_either_side(a in "[ab ]{0,20}", b in "[abc ]{0,20}") {
            let (a, b) = (words(&a), words(&b));
            let common = common_subsequence(&a, &b);
            prop_assert_eq!(common, common_subsequence(&b, &a));
            prop_assert!(common <= a.len().min(b.len()));
            prop_assert_eq!(common_subsequence(&a, &a), a.len());
        }
    }
}
