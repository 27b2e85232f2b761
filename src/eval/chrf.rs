//! chrF2 (Popović 2015, 2016), as sacrebleu computes it by default: how many n-grams of up to six characters, white space
//! aside, two texts share; recall weighs twice as much as precision.
//!
//! A segment leaves [`Counts`], as in [`super::bleu`]. Scores are percentages, in `[0, 100]`.

use std::collections::HashMap;
use std::ops::AddAssign;

use serde::Serialize;

use super::bleu::words;

/// The longest n-gram that counts, in characters.
const ORDERS: usize = 6;

/// How much more recall weighs than precision.
const BETA: f64 = 2.0;

/// What chrF needs to know of a segment, or of many: the sum of theirs. By length of the n-grams, from 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// N-grams that were said; those of lengths the reference does not have do not count.
    pub said: [u64; ORDERS],
    pub reference: [u64; ORDERS],
    /// N-grams that both have.
    pub matched: [u64; ORDERS],
}

impl Counts {
    /// Against the reference that scores best, the first of equals.
    pub fn of<S: AsRef<str>>(said: &str, references: &[S]) -> Self {
        let (said, mut best) = (characters(said), None::<Self>);
        for reference in references {
            let counts = Self::against(&said, &characters(reference.as_ref()));
            if best.is_none_or(|best| counts.score() > best.score()) {
                best = Some(counts);
            }
        }
        best.unwrap_or_default()
    }

    fn against(said: &[char], reference: &[char]) -> Self {
        let mut counts = Self::default();
        for at in 0..ORDERS {
            let known = ngrams(reference, at + 1);
            if known.is_empty() {
                break;
            }
            counts.reference[at] = known.values().sum();
            for (ngram, count) in ngrams(said, at + 1) {
                counts.said[at] += count;
                counts.matched[at] += known.get(ngram).map_or(0, |known| count.min(*known));
            }
        }
        counts
    }

    /// The F-score of mean precision and mean recall, over the lengths that both texts have.
    pub fn score(&self) -> f64 {
        let (mut precision, mut recall, mut orders) = (0.0, 0.0, 0.0);
        for at in (0..ORDERS).filter(|at| self.said[*at] > 0 && self.reference[*at] > 0) {
            precision += self.matched[at] as f64 / self.said[at] as f64;
            recall += self.matched[at] as f64 / self.reference[at] as f64;
            orders += 1.0;
        }
        if precision + recall == 0.0 {
            return 0.0;
        }
        let weight = BETA * BETA;
        // The mean's divisor stands once above and once below, hence once in all.
        100.0 * (1.0 + weight) * precision * recall / (weight * precision + recall) / orders
    }
}

impl AddAssign<&Self> for Counts {
    fn add_assign(&mut self, other: &Self) {
        for at in 0..ORDERS {
            self.said[at] += other.said[at];
            self.reference[at] += other.reference[at];
            self.matched[at] += other.matched[at];
        }
    }
}

fn characters(text: &str) -> Vec<char> {
    words(text).flat_map(str::chars).collect()
}

fn ngrams(text: &[char], order: usize) -> HashMap<&[char], u64> {
    let mut counts = HashMap::new();
    for ngram in text.windows(order) {
        *counts.entry(ngram).or_default() += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn sentences_and_the_corpus_score_as_in_sacrebleu() {
        // Made by `tests/golden/make_text_metrics.py`.
        let golden: Value =
            serde_json::from_str(include_str!("../../tests/golden/text_metrics.json")).unwrap();
        let mut corpus = Counts::default();
        for pair in golden["pairs"].as_array().unwrap() {
            let references: Vec<&str> =
                pair["references"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
            let counts = Counts::of(pair["said"].as_str().unwrap(), &references);
            let expected = pair["chrf"].as_f64().unwrap();
            assert!((counts.score() - expected).abs() < 1e-9, "{pair}: {}", counts.score());
            corpus += &counts;
        }
        let expected = golden["corpus"]["chrf"].as_f64().unwrap();
        assert!((corpus.score() - expected).abs() < 1e-9, "{}", corpus.score());
    }

    #[test]
    fn recall_weighs_more_than_precision() {
        let (half_said, said_twice) = (Counts::of("ab", &["abcd"]), Counts::of("abcd", &["ab"]));
        assert!(half_said.score() < said_twice.score());
        assert_eq!(Counts::of("ab", &[] as &[&str]).score(), 0.0);
    }
}
