//! BM25 as a product of sparse vectors, so that a Qdrant server ranks words, too.
//!
//! A chunk's vector has, under the number of each of its terms, everything of BM25 that does not depend on other chunks;
//! the question's has how often it says a term. The server multiplies with the inverse document frequency itself
//! (`Modifier::Idf`: ln(1 + (N - n + 0.5) / (n + 0.5)), of each shard), which it knows at the moment of asking:
//!
//! ```text
//!   chunk      f (k1 + 1) / (f + k1 (1 - b + b length / mean_length))     f: how often the term is in the chunk
//!   question   repetitions x weight of the field
//! ```
//!
//! Two things differ from `lexical.rs`, which sees all chunks of its folder. The mean length is a constant of the profile,
//! because a stored vector cannot follow it. And identifiers (weight [`Ranking::names`]) are not measured by length (b = 0):
//! a chunk has too few of them for a mean to say anything.

use std::collections::BTreeMap;

use crate::index::analyse::Terms;
use crate::index::profile::Ranking;

/// Values under the numbers of terms, ascending by number.
pub(super) type Sparse = Vec<(u32, f32)>;

/// Which field a term is of; a word and an identifier spelt alike are two terms.
#[derive(Clone, Copy)]
enum Of {
    Words,
    Names,
}

/// A term's number: the first 32 bits of its BLAKE3. Of a million terms about 116 pairs share one, which makes each of the
/// two a little more common than it is.
fn number(of: Of, term: &str) -> u32 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(match of {
        Of::Words => b"w",
        Of::Names => b"n",
    });
    hasher.update(term.as_bytes());
    let [a, b, c, d, ..] = *hasher.finalize().as_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// What a chunk of these terms is stored with.
pub(super) fn of_chunk(terms: &Terms, ranking: Ranking, mean_length: f32) -> Sparse {
    let Ranking { k1, b, .. } = ranking;
    let length = terms.words.len() as f32 / mean_length;
    let word = |f: f32| f * (k1 + 1.0) / (f + k1 * (1.0 - b + b * length));
    let name = |f: f32| f * (k1 + 1.0) / (f + k1);
    collected(
        counts(Of::Words, &terms.words).map(|(at, f)| (at, word(f))),
        counts(Of::Names, &terms.names).map(|(at, f)| (at, name(f))),
    )
}

/// What a question of these terms asks with.
pub(super) fn of_question(terms: &Terms, ranking: Ranking) -> Sparse {
    collected(
        counts(Of::Words, &terms.words),
        counts(Of::Names, &terms.names).map(|(at, f)| (at, f * ranking.names)),
    )
}

/// What finds chunks by one word alone.
pub(super) fn of_word(word: &str) -> u32 {
    number(Of::Words, word)
}

/// How often each term is there, by its number.
fn counts(of: Of, terms: &[String]) -> impl Iterator<Item = (u32, f32)> {
    let mut counts: BTreeMap<u32, f32> = BTreeMap::new();
    for term in terms {
        *counts.entry(number(of, term)).or_default() += 1.0;
    }
    counts.into_iter()
}

/// One vector of two, without what weighs nothing.
fn collected(words: impl Iterator<Item = (u32, f32)>, names: impl Iterator<Item = (u32, f32)>) -> Sparse {
    let mut all: BTreeMap<u32, f32> = words.collect();
    for (at, value) in names {
        *all.entry(at).or_default() += value;
    }
    all.into_iter().filter(|(_, value)| *value > 0.0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(words: &str, names: &str) -> Terms {
        let list = |text: &str| text.split_whitespace().map(str::to_owned).collect();
        Terms { words: list(words), names: list(names) }
    }

    fn product(a: &Sparse, b: &Sparse) -> f32 {
        let b: BTreeMap<u32, f32> = b.iter().copied().collect();
        a.iter().filter_map(|(at, value)| Some(value * b.get(at)?)).sum()
    }

    #[test]
    fn the_product_is_bm25_without_its_idf() {
        let ranking = Ranking::default();
        let chunk = of_chunk(&terms("apple apple cherry date", "foo_bar"), ranking, 8.0);
        let tf = |f: f32| f * 2.2 / (f + 1.2 * (0.25 + 0.75 * 4.0 / 8.0));
        let asked = |words, names| product(&chunk, &of_question(&terms(words, names), ranking));
        assert!((asked("apple", "") - tf(2.0)).abs() < 1e-6);
        assert!((asked("apple cherry cherry", "") - (tf(2.0) + 2.0 * tf(1.0))).abs() < 1e-6);
        assert!((asked("", "foo_bar") - 0.5).abs() < 1e-6);
        // A word is no identifier.
        assert_eq!(asked("foo_bar", "apple"), 0.0);
        assert_eq!(asked("fig", ""), 0.0);
    }

    #[test]
    fn numbers_ascend_and_nothing_weighs_nothing() {
        let ranking = Ranking { names: 0.0, ..Ranking::default() };
        let question = of_question(&terms("a b c d e f", "x_y"), ranking);
        assert_eq!(question.len(), 6);
        assert!(question.is_sorted_by(|a, b| a.0 < b.0));
        assert!(of_chunk(&terms("", ""), ranking, 100.0).is_empty());
        assert!(question.iter().any(|term| term.0 == of_word("c")));
    }
}
