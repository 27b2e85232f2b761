//! Text -> the words that are stored and searched.
//!
//! Words are cut where UAX #29 cuts them, lower-cased, folded to ASCII, rid of English stop words and stemmed (Snowball).
//! Two additions. An *identifier* (`foo_bar`, `v1.2.3`, `HashMap`) is also kept whole and unstemmed, among the `names`,
//! so that somebody who types one finds exactly that one; its parts are words. And Chinese, Japanese and Korean text,
//! which has no spaces, becomes overlapping pairs of characters, as in Lucene's CJK analyser.
//!
//! The same function reads documents and questions, so a word means the same on both sides.

use tantivy::tokenizer::{
    AsciiFoldingFilter, Language, LowerCaser, RemoveLongFilter, Stemmer, StopWordFilter, TextAnalyzer, Token,
    TokenStream, Tokenizer,
};
use unicode_segmentation::UnicodeSegmentation;

use super::profile;

/// Longer words are not words (encoded data, separators of a table).
const LONGEST_WORD: usize = 128;

/// What a text is found by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Terms {
    /// Stemmed words, in text order, with repetitions.
    pub words: Vec<String>,
    /// Identifiers, lower-cased and whole, in text order, with repetitions.
    pub names: Vec<String>,
}

/// Turns text into [`Terms`].
#[derive(Clone)]
pub struct Analyser {
    words: TextAnalyzer,
    names: TextAnalyzer,
}

impl Analyser {
    pub fn new(settings: &profile::Lexical) -> Self {
        let language = match settings.language {
            profile::Language::English => Language::English,
        };
        let mut words = TextAnalyzer::builder(Words)
            .filter(LowerCaser)
            .filter(AsciiFoldingFilter)
            .filter(RemoveLongFilter::limit(LONGEST_WORD))
            .dynamic();
        if let Some(stop_words) = StopWordFilter::new(language).filter(|_| settings.stop_words) {
            words = words.filter_dynamic(stop_words);
        }
        if settings.stemmer {
            words = words.filter_dynamic(Stemmer::new(language));
        }
        let names = TextAnalyzer::builder(Names)
            .filter(LowerCaser)
            .filter(AsciiFoldingFilter)
            .filter(RemoveLongFilter::limit(LONGEST_WORD));
        Self { words: words.build(), names: names.build() }
    }

    /// The terms of `text`.
    pub fn analyse(&self, text: &str) -> Terms {
        // An analyser keeps its buffers, hence `&mut`; a copy is two small allocations.
        Terms { words: collect(self.words.clone(), text), names: collect(self.names.clone(), text) }
    }
}

fn collect(mut analyser: TextAnalyzer, text: &str) -> Vec<String> {
    let mut stream = analyser.token_stream(text);
    let mut terms = Vec::new();
    while stream.advance() {
        let term = &stream.token().text;
        if !term.is_empty() {
            terms.push(term.clone());
        }
    }
    terms
}

/// Words and parts of identifiers.
#[derive(Clone)]
struct Words;

/// Identifiers only, whole.
#[derive(Clone)]
struct Names;

impl Tokenizer for Words {
    type TokenStream<'a> = Pieces<'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> Pieces<'a> {
        let mut pieces = Vec::new();
        segments(text, |segment| match segment {
            Segment::Cjk(run) => pieces.extend(pairs(run)),
            Segment::Word(word) => pieces.extend(parts(word)),
        });
        Pieces::new(text, pieces)
    }
}

impl Tokenizer for Names {
    type TokenStream<'a> = Pieces<'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> Pieces<'a> {
        let mut pieces = Vec::new();
        segments(text, |segment| match segment {
            Segment::Word(word) if is_identifier(word) => pieces.push(word),
            _ => {}
        });
        Pieces::new(text, pieces)
    }
}

enum Segment<'a> {
    Word(&'a str),
    /// A run of characters written without spaces.
    Cjk(&'a str),
}

/// UAX #29 words between the runs of CJK characters. The runs are taken out first because UAX #29 splits some of these
/// scripts into characters and joins others with the letters beside them.
fn segments<'a>(text: &'a str, mut each: impl FnMut(Segment<'a>)) {
    let mut rest = text;
    while !rest.is_empty() {
        let start = rest.find(is_cjk).unwrap_or(rest.len());
        let (plain, tail) = rest.split_at(start);
        plain.unicode_words().for_each(|word| each(Segment::Word(word)));
        let end = tail.find(|c| !is_cjk(c)).unwrap_or(tail.len());
        let (run, tail) = tail.split_at(end);
        if !run.is_empty() {
            each(Segment::Cjk(run));
        }
        rest = tail;
    }
}

/// Han, kana and Hangul letters, as Lucene's CJK bigram filter has them.
fn is_cjk(c: char) -> bool {
    matches!(u32::from(c),
        0x1100..=0x11FF | 0x3005..=0x3007 | 0x3041..=0x3096 | 0x309D..=0x309F | 0x30A1..=0x30FA | 0x30FC..=0x30FF
        | 0x3130..=0x318F | 0x31F0..=0x31FF | 0x3400..=0x4DBF | 0x4E00..=0x9FFF | 0xA960..=0xA97F | 0xAC00..=0xD7FF
        | 0xF900..=0xFAFF | 0xFF66..=0xFF9F | 0x20000..=0x323AF)
}

/// Overlapping pairs of characters; a character alone stays alone.
fn pairs(run: &str) -> Vec<&str> {
    let starts: Vec<usize> = run.char_indices().map(|(at, _)| at).chain([run.len()]).collect();
    match starts.len() - 1 {
        1 => vec![run],
        _ => starts.windows(3).map(|w| &run[w[0]..w[2]]).collect(),
    }
}

/// The words inside a word: split at `_`, and at `.` between letters (`node.js`, a missing space after a full stop) but
/// not in `3.14`, `v1.2` or `e.g`.
fn parts(word: &str) -> Vec<&str> {
    let dotted =
        word.split('.').all(|part| part.chars().count() > 1 && part.chars().all(char::is_alphabetic));
    word.split(|c| c == '_' || (c == '.' && dotted)).filter(|part| !part.is_empty()).collect()
}

/// A digit, `_` or `.` inside a word, or a capital after a small letter, makes an identifier; a bare number is none.
fn is_identifier(word: &str) -> bool {
    let mut before = ' ';
    let mut camel = false;
    for c in word.chars() {
        camel |= before.is_lowercase() && c.is_uppercase();
        before = c;
    }
    let lettered = word.chars().any(char::is_alphabetic);
    camel || word.contains(['_', '.']) || (lettered && word.chars().any(char::is_numeric))
}

/// Slices of one text as a token stream.
struct Pieces<'a> {
    text: &'a str,
    pieces: std::vec::IntoIter<&'a str>,
    token: Token,
}

impl<'a> Pieces<'a> {
    fn new(text: &'a str, pieces: Vec<&'a str>) -> Self {
        Self { text, pieces: pieces.into_iter(), token: Token::default() }
    }
}

impl TokenStream for Pieces<'_> {
    fn advance(&mut self) -> bool {
        let Some(piece) = self.pieces.next() else { return false };
        self.token.text.clear();
        self.token.text.push_str(piece);
        self.token.offset_from = piece.as_ptr() as usize - self.text.as_ptr() as usize;
        self.token.offset_to = self.token.offset_from + piece.len();
        self.token.position = self.token.position.wrapping_add(1);
        true
    }

    fn token(&self) -> &Token {
        &self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        &mut self.token
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn terms(text: &str) -> (String, String) {
        let Terms { words, names } = Analyser::new(&profile::Lexical::default()).analyse(text);
        (words.join(" "), names.join(" "))
    }

    #[test]
    fn words_are_lower_case_ascii_stemmed_and_no_stop_words() {
        assert_eq!(terms("The Owners of the naïve Cafés were running").0, "owner naiv cafe were run");
        assert_eq!(terms("the owner's value, don’t").0, terms("owner value don't").0);
        assert_eq!(terms("to be or not to be").0, "");
    }

    #[test]
    fn an_identifier_is_a_name_and_its_parts_are_words() {
        assert_eq!(terms("call foo_bar now"), ("call foo bar now".into(), "foo_bar".into()));
        assert_eq!(terms("upgrade to v1.2.3"), ("upgrad v1.2.3".into(), "v1.2.3".into()));
        assert_eq!(terms("HashMap<u8>"), ("hashmap u8".into(), "hashmap u8".into()));
        assert_eq!(terms("node.js"), ("node js".into(), "node.js".into()));
        assert_eq!(terms("std::io"), ("std io".into(), String::new()));
        assert_eq!(terms("DNA in 2024, e.g. 7%"), ("dna 2024 e.g 7".into(), "e.g".into()));
        assert_eq!(terms("__init__"), ("init".into(), "__init__".into()));
    }

    #[test]
    fn text_without_spaces_becomes_overlapping_pairs() {
        assert_eq!(terms("中文").0, "中文");
        assert_eq!(terms("东京大学 2024").0, "东京 京大 大学 2024");
        assert_eq!(terms("カタカナ").0, "カタ タカ カナ");
        assert_eq!(terms("한국어").0, "한국 국어");
        assert_eq!(terms("用Rust写").0, "用 rust 写");
        assert_eq!(terms("中。文").0, "中 文");
    }

    #[test]
    fn settings_switch_stop_words_and_stemmer_off() {
        let plain = profile::Lexical { stop_words: false, stemmer: false, ..profile::Lexical::default() };
        assert_eq!(Analyser::new(&plain).analyse("The owners").words, ["the", "owners"]);
    }

    proptest! {
        #[test]
        fn any_text_is_analysed_and_a_text_twice_gives_its_terms_twice(text in "\\PC{0,60}") {
            let analyser = Analyser::new(&profile::Lexical::default());
            let once = analyser.analyse(&text);
            let twice = analyser.analyse(&format!("{text}\n\n{text}"));
            prop_assert_eq!([&once.words[..], &once.words[..]].concat(), twice.words);
            prop_assert!(once.names.iter().all(|name| !name.is_empty()));
        }
    }
}
