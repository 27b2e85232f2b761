//! What counts as a word when a claim is held against its source.
//!
//! UAX-29 words, lower case, accents folded, English stop words left out, Snowball stems; Chinese, Japanese and Korean
//! text, which has no spaces to go by, as overlapping pairs of characters. Identifiers such as `foo_bar` and `v1.2.3`
//! stay whole. Every term knows where it stands. What the lexical index stores and ranks by is its own business.

use std::ops::Range;
use std::sync::LazyLock;

use frostem::{Algorithm, Stemmer};
use unicode_normalization::UnicodeNormalization;
use unicode_segmentation::UnicodeSegmentation;

/// One content word of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// Folded and stemmed: equal terms mean equal words.
    pub text: String,
    /// Bytes of the text it was read from.
    pub range: Range<usize>,
}

/// The content words of `text`, in order, repeated words included.
pub fn terms(text: &str) -> Vec<Term> {
    let mut terms = Vec::new();
    for piece in pieces(text) {
        match piece {
            Piece::Word(range) => {
                let word = fold(&text[range.clone()]);
                if !is_stop_word(&word) {
                    terms.push(Term { text: stem(&word), range });
                }
            }
            Piece::Run(range) => bigrams(text, range, &mut terms),
        }
    }
    terms
}

/// Whether a folded word turns a statement into its opposite.
pub fn is_negation(word: &str) -> bool {
    matches!(word, "no" | "not" | "never" | "nor" | "neither" | "none" | "nothing" | "without" | "cannot")
        || word.ends_with("n't")
}

/// Every word of `text` as it is written, stop words and all; CJK characters one by one.
pub fn words(text: &str) -> Vec<Range<usize>> {
    let mut words = Vec::new();
    for piece in pieces(text) {
        match piece {
            Piece::Word(range) => words.push(range),
            Piece::Run(range) => words.extend(characters(text, range)),
        }
    }
    words
}

/// Lower case, without accents, full-width forms made narrow, typographic apostrophes made plain.
pub fn fold(word: &str) -> String {
    if word.is_ascii() {
        return word.to_ascii_lowercase();
    }
    let plain = |c: char| if matches!(c, '\u{2019}' | '\u{2bc}') { '\'' } else { c };
    let is_accent = |c: &char| matches!(c, '\u{300}'..='\u{36f}'); // Latin accents, not the marks that spell が
    word.nfkd().flat_map(char::to_lowercase).filter(|c| !is_accent(c)).map(plain).nfc().collect()
}

/// Words too common to tell two texts apart; expects a folded word. Lucene's English list without its
/// negations (they are content here), and the words questions are made of.
pub fn is_stop_word(word: &str) -> bool {
    const STOP: &[&str] = &[
        "a", "about", "am", "an", "and", "are", "as", "at", "be", "been", "being", "but", "by", "can",
        "could", "did", "do", "does", "doing", "for", "from", "had", "has", "have", "having", "he", "her",
        "his", "how", "i", "if", "in", "into", "is", "it", "it's", "its", "me", "my", "of", "on", "or",
        "our", "she", "should", "so", "such", "than", "that", "the", "their", "them", "then", "there",
        "these", "they", "this", "those", "to", "was", "we", "were", "what", "when", "where", "which", "who",
        "whom", "whose", "why", "will", "with", "would", "you", "your",
    ];
    STOP.binary_search(&word).is_ok()
}

enum Piece {
    Word(Range<usize>),
    /// Adjacent CJK characters.
    Run(Range<usize>),
}

fn pieces(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for (start, word) in text.unicode_word_indices() {
        // Underscores around a word (`_word_`) are emphasis; inside it they make it an identifier.
        let inner = word.trim_start_matches('_');
        let (start, word) = (start + word.len() - inner.len(), inner.trim_end_matches('_'));
        if word.is_empty() {
            continue;
        }
        let end = start + word.len();
        if !word.chars().any(is_cjk) {
            pieces.push(Piece::Word(start..end));
        } else if let Some(Piece::Run(run)) = pieces.last_mut()
            && run.end == start
        {
            run.end = end;
        } else {
            pieces.push(Piece::Run(start..end));
        }
    }
    pieces
}

/// Overlapping pairs of characters, or the character itself when it stands alone, as Lucene's CJK analyser does.
fn bigrams(text: &str, run: Range<usize>, terms: &mut Vec<Term>) {
    let characters: Vec<Range<usize>> = characters(text, run).collect();
    if let [alone] = characters.as_slice() {
        terms.push(Term { text: fold(&text[alone.clone()]), range: alone.clone() });
    }
    for pair in characters.windows(2) {
        let range = pair[0].start..pair[1].end;
        terms.push(Term { text: fold(&text[range.clone()]), range });
    }
}

fn characters(text: &str, run: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    text[run.clone()].char_indices().map(move |(at, c)| run.start + at..run.start + at + c.len_utf8())
}

fn is_cjk(c: char) -> bool {
    matches!(c,
        '\u{1100}'..='\u{11ff}' | '\u{3005}'..='\u{3007}' | '\u{3040}'..='\u{30ff}' | '\u{3130}'..='\u{318f}'
        | '\u{31f0}'..='\u{31ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{ac00}'..='\u{d7af}'
        | '\u{f900}'..='\u{faff}' | '\u{ff66}'..='\u{ff9d}' | '\u{20000}'..='\u{3134f}')
}

/// The Snowball English stem of a folded word. Possessives lose their `'s` there; words with digits or underscores are
/// names and stay whole.
fn stem(word: &str) -> String {
    static STEMMER: LazyLock<Stemmer> = LazyLock::new(|| Stemmer::new(Algorithm::English));
    if word.contains(|c: char| c.is_numeric() || c == '_') {
        return word.to_owned();
    }
    STEMMER.stem(word).to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(text: &str) -> Vec<String> {
        terms(text).into_iter().map(|term| term.text).collect()
    }

    #[test]
    fn english_words_are_folded_stemmed_and_freed_of_stop_words() {
        assert_eq!(texts("The owners of a Value"), ["owner", "valu"]);
        assert_eq!(texts("_Owners_ of __foo_bar__ and _"), ["owner", "foo_bar"]);
        assert_eq!(texts("Café's CAFÉS cafe"), ["cafe", "cafe", "cafe"]);
        assert_eq!(texts("the owner\u{2019}s"), texts("the owner's"));
    }

    #[test]
    fn identifiers_and_versions_stay_whole() {
        assert_eq!(texts("call foo_bar in v1.2.3"), ["call", "foo_bar", "v1.2.3"]);
    }

    #[test]
    fn cjk_text_becomes_overlapping_pairs_and_mixed_text_both() {
        assert_eq!(texts("所有权规则"), ["所有", "有权", "权规", "规则"]);
        assert_eq!(texts("Rust 的所有权。值"), ["rust", "的所", "所有", "有权", "值"]);
    }

    #[test]
    fn negations_are_content() {
        assert_eq!(texts("it is not copied"), ["not", "copi"]);
    }

    #[test]
    fn the_stop_list_is_sorted_as_its_binary_search_needs() {
        for word in ["a", "about", "it", "it's", "its", "the", "your", "can", "whose"] {
            assert!(is_stop_word(word), "{word}");
        }
        assert!(!is_stop_word("owner"));
    }

    proptest! {
        #[test]
        fn ranges_slice_the_text(text in "\\PC{0,60}") {
            for term in terms(&text) {
                prop_assert!(text.get(term.range).is_some_and(|slice| !slice.is_empty()));
            }
            for word in words(&text) {
                prop_assert!(text.get(word).is_some());
            }
        }

        #[test]
        fn folding_twice_changes_nothing(text in "[a-zA-ZÀ-žＡ-ｚ가-힣ぁ-ん]{0,12}") {
            let once = fold(&text);
            prop_assert_eq!(fold(&once), once);
        }
    }
}
