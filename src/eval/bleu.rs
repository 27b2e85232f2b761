//! BLEU (Papineni et al. 2002), as sacrebleu computes it by default (Post 2018, arXiv 1804.08771): `13a` words, up to four
//! of them in a row, exponential smoothing, against any number of references.
//!
//! A segment leaves [`Counts`]; the score is of their sum, so that BLEU of a corpus, or of any resample of its segments,
//! is an addition. Scores are percentages, in `[0, 100]`, as everybody reports them.

use std::collections::HashMap;
use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

/// The longest n-gram that counts.
const ORDERS: usize = 4;

/// What BLEU calls a word.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tokenizer {
    /// That of `mteval-v13a`, for languages that put spaces between words.
    #[default]
    #[serde(rename = "13a")]
    V13a,
    /// Every character, for those that do not.
    #[serde(rename = "char")]
    Char,
    /// What stands between spaces already.
    #[serde(rename = "none")]
    None,
}

/// What BLEU needs to know of a segment, or of many: the sum of theirs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Words that were said.
    pub said: u64,
    /// Words of the reference that is nearest in length, the shorter of two.
    pub reference: u64,
    /// N-grams that also stand in a reference, each as often as in the one that has it most; by length, from 1.
    pub matched: [u64; ORDERS],
    /// N-grams that were said.
    pub total: [u64; ORDERS],
}

impl Counts {
    pub fn of<S: AsRef<str>>(said: &str, references: &[S], tokenizer: Tokenizer) -> Self {
        let said = tokenizer.prepared(said);
        let said: Vec<&str> = words(&said).collect();
        let references: Vec<String> =
            references.iter().map(|text| tokenizer.prepared(text.as_ref())).collect();
        let references: Vec<Vec<&str>> = references.iter().map(|text| words(text).collect()).collect();
        let length = |reference: &Vec<&str>| (reference.len().abs_diff(said.len()), reference.len());
        let nearest = references.iter().map(length).min().map_or(0, |(_, length)| length);
        let mut counts = Self { said: said.len() as u64, reference: nearest as u64, ..Self::default() };
        for order in 1..=ORDERS {
            let mut known: HashMap<&[&str], u64> = HashMap::new();
            for reference in &references {
                for (ngram, count) in ngrams(reference, order) {
                    let most = known.entry(ngram).or_default();
                    *most = count.max(*most);
                }
            }
            for (ngram, count) in ngrams(&said, order) {
                counts.total[order - 1] += count;
                counts.matched[order - 1] += known.get(ngram).map_or(0, |most| count.min(*most));
            }
        }
        counts
    }

    /// BLEU of a corpus. 0 when a length has no n-gram at all.
    pub fn score(&self) -> f64 {
        self.smoothed(false)
    }

    /// BLEU of one segment: lengths of which it has no n-gram are left out (sacrebleu's `effective_order`).
    pub fn sentence(&self) -> f64 {
        self.smoothed(true)
    }

    /// A length without any match counts as half a match, the next one as a quarter and so on (Chen & Cherry 2014,
    /// method 3).
    fn smoothed(&self, effective: bool) -> f64 {
        if self.matched.iter().all(|count| *count == 0) {
            return 0.0;
        }
        let there = self.total.iter().take_while(|count| **count > 0).count();
        if there < ORDERS && !effective {
            return 0.0;
        }
        let mut share = 1.0;
        let precision = |(matched, total): (&u64, &u64)| {
            let matches = match *matched {
                0 => {
                    share /= 2.0;
                    share
                }
                matched => matched as f64,
            };
            matches / *total as f64
        };
        let precisions = self.matched.iter().zip(&self.total).take(there).map(precision);
        let mean = precisions.map(f64::ln).sum::<f64>() / there as f64;
        let brevity = (1.0 - self.reference as f64 / self.said as f64).min(0.0);
        100.0 * (brevity + mean).exp()
    }
}

impl AddAssign<&Self> for Counts {
    fn add_assign(&mut self, other: &Self) {
        self.said += other.said;
        self.reference += other.reference;
        for order in 0..ORDERS {
            self.matched[order] += other.matched[order];
            self.total[order] += other.total[order];
        }
    }
}

fn ngrams<'a, 'w>(words: &'a [&'w str], order: usize) -> HashMap<&'a [&'w str], u64> {
    let mut counts = HashMap::new();
    for ngram in words.windows(order) {
        *counts.entry(ngram).or_default() += 1;
    }
    counts
}

/// White space to Python: four separators as well that are none to Unicode.
fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// What stands between white space.
pub(super) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(is_space).filter(|word| !word.is_empty())
}

impl Tokenizer {
    /// The text with its words between spaces.
    fn prepared(self, text: &str) -> String {
        match self {
            Self::V13a => v13a(text),
            Self::Char => text.chars().flat_map(|c| [c, ' ']).collect(),
            Self::None => text.to_owned(),
        }
    }
}

/// `mteval-v13a`: marks of punctuation stand alone, `.` and `,` unless between digits, `-` behind a digit.
fn v13a(text: &str) -> String {
    let mut text =
        text.trim_end_matches(is_space).replace("<skipped>", "").replace("-\n", "").replace('\n', " ");
    for (entity, c) in [("&quot;", "\""), ("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">")] {
        text = text.replace(entity, c);
    }
    let mut spaced = String::from(" ");
    for c in text.chars().chain([' ']) {
        // Everything in ASCII that is no letter, no digit and none of `'`, `,`, `-` and `.`.
        match c {
            '{'..='~' | '['..='`' | ' '..='&' | '('..='+' | ':'..='@' | '/' => spaced.extend([' ', c, ' ']),
            _ => spaced.push(c),
        }
    }
    let stop = |c: char| matches!(c, '.' | ',');
    let digit = |c: char| c.is_ascii_digit();
    let spaced = pairs(&spaced, |a, b| !digit(a) && stop(b), |a, b| [a, ' ', b, ' ']);
    let spaced = pairs(&spaced, |a, b| stop(a) && !digit(b), |a, b| [' ', a, ' ', b]);
    pairs(&spaced, |a, b| digit(a) && b == '-', |a, b| [a, ' ', b, ' '])
}

/// Writes every two characters that are `such` as `instead`; from left to right, none of them twice.
fn pairs(text: &str, such: impl Fn(char, char) -> bool, instead: impl Fn(char, char) -> [char; 4]) -> String {
    let mut written = String::with_capacity(text.len() * 2);
    let mut left = text.chars().peekable();
    while let Some(c) = left.next() {
        match left.next_if(|next| such(c, *next)) {
            Some(next) => written.extend(instead(c, next)),
            None => written.push(c),
        }
    }
    written
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
        for (name, tokenizer) in
            [("13a", Tokenizer::V13a), ("char", Tokenizer::Char), ("none", Tokenizer::None)]
        {
            let mut corpus = Counts::default();
            for pair in golden["pairs"].as_array().unwrap() {
                let references: Vec<&str> = pair["references"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|text| text.as_str().unwrap())
                    .collect();
                let counts = Counts::of(pair["said"].as_str().unwrap(), &references, tokenizer);
                let expected = pair["bleu"][name].as_f64().unwrap();
                assert!((counts.sentence() - expected).abs() < 1e-9, "{name} {pair}: {}", counts.sentence());
                corpus += &counts;
            }
            let expected = golden["corpus"]["bleu"][name].as_f64().unwrap();
            assert!((corpus.score() - expected).abs() < 1e-9, "{name}: {}", corpus.score());
        }
    }

    #[test]
    fn numbers_stay_whole_and_marks_stand_alone() {
        let said = |text| words(&v13a(text)).map(str::to_owned).collect::<Vec<_>>().join(" ");
        assert_eq!(said("1,000.5 of (them), 3-4."), "1,000.5 of ( them ) , 3 - 4 .");
        assert_eq!(said("don't &quot;stop&quot;..."), "don't \" stop \" . . .");
    }

    #[test]
    fn what_is_shorter_than_four_words_scores_as_a_sentence_and_not_as_a_corpus() {
        let counts = Counts::of("one two", &["one two"], Tokenizer::V13a);
        assert!((counts.sentence() - 100.0).abs() < 1e-9);
        assert_eq!(counts.score(), 0.0);
        assert_eq!(Counts::of("one", &[] as &[&str], Tokenizer::V13a).sentence(), 0.0);
    }
}
