//! How likely is this sentence the answer? A log-linear model over what can be told about it.
//!
//! The weights of the first six features were fitted (conditional logit, L2) on 462 questions over 12 articles of SQuAD
//! 1.1's development set and their 536 paragraphs: the best sentence then holds the answer 80.7 % of the time (80.1 %
//! cross-validated), against 75.1 % with hand-set weights of likeness, words and rank. SQuAD has no headings, captions,
//! definitions and questions among its sentences; what those weigh was set by hand.

use super::asked::{Asked, Kind};
use crate::retrieve::coverage::Question;

/// What is known of a sentence.
pub(super) struct Evidence<'a> {
    pub sentence: &'a str,
    /// The sentence before it in the passage, or nothing.
    pub before: &'a str,
    /// The headings over the passage.
    pub header: &'a str,
    /// The share of the question's words in the passage and its headings.
    pub in_passage: f32,
    /// Cosine of sentence and question.
    pub likeness: f32,
    /// Of the passage, from 1.
    pub rank: usize,
    /// Begins a paragraph that is no sentence: no end mark, few words.
    pub is_fragment: bool,
}

const LIKENESS: f32 = 5.0;
/// Of the question's words, those in the sentence; those that headings and the sentence before add; those in the passage.
const FOUND: f32 = 6.5;
const FOUND_AROUND: f32 = 2.0;
const FOUND_IN_PASSAGE: f32 = 3.0;
const RANK: f32 = 1.3;
/// A number for "how many", a name for "who".
const FITS: f32 = 1.5;
/// "X is ..." for "What is X?".
const DEFINES: f32 = 4.0;
const FRAGMENT: f32 = -2.0;
/// Says nothing that the question does not say.
const REPEATS: f32 = -3.0;
const ASKS: f32 = -2.0;
const CAPTION: f32 = -2.0;

/// The logit; sentences of one question compare by it, and a softmax over all of them is a probability.
pub(super) fn score(question: &Question, asked: &Asked, evidence: &Evidence) -> f32 {
    let &Evidence { sentence, before, header, in_passage, likeness, rank, is_fragment } = evidence;
    let found = question.coverage(sentence);
    let around = question.coverage(&format!("{header}\n{before}\n{sentence}"));
    let fits = match asked.kind {
        Kind::Definition => DEFINES * asked.fits(sentence),
        _ => FITS * asked.fits(sentence),
    };
    let when = |is: bool, weight: f32| if is { weight } else { 0.0 };
    LIKENESS * likeness
        + FOUND * found
        + FOUND_AROUND * (around - found)
        + FOUND_IN_PASSAGE * in_passage
        + RANK / rank as f32
        + fits
        + when(is_fragment, FRAGMENT)
        + when(asked.news(sentence) == 0.0, REPEATS)
        + when(sentence.ends_with(['?', '？']), ASKS)
        + when(is_caption(sentence), CAPTION)
}

/// `Figure 3: ...`, `Listing 4-2: ...`
fn is_caption(sentence: &str) -> bool {
    const OPENERS: &[&str] = &["Figure", "Fig.", "Listing", "Table", "Image", "Algorithm"];
    let Some((opener, rest)) = sentence.split_once(' ') else { return false };
    let number = rest.split([' ', ':']).next().unwrap_or_default();
    OPENERS.contains(&opener)
        && number.starts_with(|c: char| c.is_ascii_digit())
        && rest[number.len()..].trim_start().starts_with([':', '.', '|'])
        || number.ends_with('.') && OPENERS.contains(&opener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caption_is_one_by_its_opener_and_number() {
        for caption in ["Figure 3: Layers.", "Listing 4-2: A closure", "Table 1. Costs of tea"] {
            assert!(is_caption(caption), "{caption}");
        }
        for prose in ["Figure 3 shows layers.", "Listing the rules: one", "Tables are made of wood."] {
            assert!(!is_caption(prose), "{prose}");
        }
    }
}
