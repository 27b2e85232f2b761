//! Function words that are part of a name: `Who` of `Girls Who Code`, `IT` of `the IT department`.
//!
//! A capital in the middle of a sentence tells. Where every word has one, as in a title, it tells nothing.

use super::words::{Kind, Word};

/// Names that are spelt as function words are, but for their capitals.
const ACRONYMS: [&str; 3] = ["IT", "US", "WHO"];

/// Makes content of the function words of a sentence that names are made of.
pub(super) fn mark(words: &mut [Word]) {
    if !words.iter().any(|word| word.text.starts_with(char::is_lowercase)) {
        return;
    }
    for at in 1..words.len() {
        let (before, word) = (&words[at - 1], &words[at]);
        if word.is(Kind::Content) || !is_capital(word) || before.breaks || word.text == "I" {
            continue;
        }
        let goes_on = !word.breaks && words.get(at + 1).is_some_and(is_capital);
        let in_name = match is_capital(before) {
            // The first word of a sentence has a capital anyway.
            true => before.is(Kind::Content) && (goes_on || at > 1),
            false => goes_on,
        };
        if in_name || ACRONYMS.contains(&word.text) {
            words[at].kind = Kind::Content;
        }
    }
}

fn is_capital(word: &Word) -> bool {
    word.text.starts_with(char::is_uppercase)
}

#[cfg(test)]
mod tests {
    use super::super::words::words;
    use super::*;

    fn content(text: &str) -> Vec<&str> {
        words(text).into_iter().filter(|word| word.is(Kind::Content)).map(|word| word.text).collect()
    }

    #[test]
    fn a_capital_in_mid_sentence_makes_a_function_word_part_of_a_name() {
        for (text, expected) in [
            ("When was Girls Who Code founded?", &["Girls", "Who", "Code", "founded"][..]),
            ("Girls Who Code was founded when?", &["Girls", "Who", "Code", "founded"]),
            ("Where did The Who play?", &["The", "Who", "play"]),
            ("Does Doctors Without Borders need me?", &["Doctors", "Without", "Borders", "need"]),
            ("Who runs the IT department?", &["runs", "IT", "department"]),
        ] {
            assert_eq!(content(text), expected, "{text}");
        }
    }

    #[test]
    fn capitals_of_titles_and_of_sentences_make_no_names() {
        for (text, expected) in [
            ("What Is The Borrow Checker?", &["Borrow", "Checker"][..]),
            ("WHO SIGNED IT?", &["SIGNED"]),
            ("May I call Anna? Who is she?", &["call", "Anna"]),
            ("How Does Rust do it?", &["Rust"]),
        ] {
            assert_eq!(content(text), expected, "{text}");
        }
    }
}
