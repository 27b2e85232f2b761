//! What may be chosen: classes as the data calls them, in the words in which a model says them.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use crate::error::{Error, Result};
use crate::generate::Generator;
use crate::prompt::Demo;
use crate::text::example::Example;

/// A class: as the data calls it, and as a model says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    pub class: String,
    pub word: String,
}

impl Label {
    pub fn new(class: &str, word: &str) -> Self {
        Self { class: class.to_owned(), word: word.to_owned() }
    }

    /// A class that is said as the data calls it.
    pub fn plain(class: &str) -> Self {
        Self::new(class, class)
    }
}

/// Refuses what is no choice.
///
/// # Errors
/// `Invalid` for fewer than two labels, a class or a word that stands there twice, and a word that says nothing.
pub fn check(labels: &[Label]) -> Result<()> {
    if labels.len() < 2 {
        let wrong = match labels.first() {
            Some(label) => format!("one class, `{}`, is no choice", label.class),
            None => "there are no classes to choose from".to_owned(),
        };
        return Err(
            Error::invalid(wrong).hint("it takes two: name more labels, or give rows of other classes")
        );
    }
    if let Some(label) = labels.iter().find(|label| label.word.trim().is_empty()) {
        return Err(Error::invalid(format!("the class `{}` has no words to be said in", label.class))
            .hint("give every label a text"));
    }
    let twice = |of: fn(&Label) -> &str| {
        let mut seen = BTreeSet::new();
        labels.iter().map(of).find(|text| !seen.insert(text.trim().to_lowercase()))
    };
    if let Some(class) = twice(|label| &label.class) {
        return Err(
            Error::invalid(format!("the class `{class}` is there twice")).hint("name every label once")
        );
    }
    if let Some(word) = twice(|label| &label.word) {
        return Err(Error::invalid(format!("two classes are said in the same words, `{word}`"))
            .hint("give each class words of its own"));
    }
    Ok(())
}

/// Refuses rows of another class. `what` is what they are: `data`, `pool`.
///
/// # Errors
/// `Invalid`, naming the first such row.
pub fn check_rows(labels: &[Label], what: &str, rows: &[Example]) -> Result<()> {
    let is_class = |answer: &String| labels.iter().any(|label| label.class == *answer);
    let stranger =
        rows.iter().find_map(|row| Some((row, row.answers.iter().find(|answer| !is_class(answer))?)));
    match stranger {
        Some((row, answer)) => {
            Err(Error::invalid(format!("the row `{}` of the {what} is of the class `{answer}`", row.id))
                .hint(format!("the labels are {}", names(labels))))
        }
        None => Ok(()),
    }
}

/// Whether a class of `rows` rows is rare beside the largest, of `most`: a tenth of them or less.
pub fn is_rare(rows: usize, most: usize) -> bool {
    rows * 10 <= most
}

/// The classes for a person to read.
pub fn names(labels: &[Label]) -> String {
    labels.iter().map(|label| format!("`{}`", label.class)).collect::<Vec<_>>().join(", ")
}

/// What a model says, label by label.
pub fn words(labels: &[Label]) -> Vec<String> {
    labels.iter().map(|label| label.word.clone()).collect()
}

/// How a model says `class`.
pub fn word<'a>(labels: &'a [Label], class: &'a str) -> &'a str {
    labels.iter().find(|label| label.class == class).map_or(class, |label| &label.word)
}

/// Demonstrations with their classes in the words of `labels`.
pub fn worded(labels: &[Label], mut demos: Vec<Demo>) -> Vec<Demo> {
    for demo in &mut demos {
        if let Some(class) = demo.values.get("output").and_then(|output| output.as_str()) {
            let word = word(labels, class).to_owned();
            demo.values.insert("output".to_owned(), word.into());
        }
    }
    demos
}

/// The label that `text` names first, the longest of those that begin there.
pub fn named<'a>(labels: &'a [Label], text: &str) -> Option<&'a Label> {
    let lower = text.to_lowercase();
    let at = |word: &str| {
        let word = word.to_lowercase();
        lower.match_indices(&word).map(|(at, _)| at).find(|&at| {
            let letter = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
            !letter(lower[..at].chars().next_back()) && !letter(lower[at + word.len()..].chars().next())
        })
    };
    let found = labels.iter().filter_map(|label| Some((at(&label.word)?, label)));
    found.min_by_key(|(at, label)| (*at, Reverse(label.word.len()))).map(|(_, label)| label)
}

/// Tokens that have to stay free behind a prompt for the longest label to be scored there.
///
/// # Errors
/// As the tokenizer fails.
pub fn room(labels: &[Label], generator: &Generator) -> Result<usize> {
    let tokens = |word: &str| match generator.tokenizer() {
        Some(tokenizer) => tokenizer.count(word),
        None => Ok(word.len()),
    };
    let counts = labels.iter().map(|label| tokens(&label.word)).collect::<Result<Vec<_>>>()?;
    Ok(counts.into_iter().max().unwrap_or(0) + 1)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::text::example::Columns;

    fn labels(pairs: &[(&str, &str)]) -> Vec<Label> {
        pairs.iter().map(|(class, word)| Label::new(class, word)).collect()
    }

    #[test]
    fn what_is_no_choice_is_refused() {
        let complaint = |pairs: &[(&str, &str)]| check(&labels(pairs)).unwrap_err().to_string();
        assert_eq!(complaint(&[]), "there are no classes to choose from");
        assert_eq!(complaint(&[("a", "a")]), "one class, `a`, is no choice");
        assert_eq!(complaint(&[("a", "x"), ("a", "y")]), "the class `a` is there twice");
        assert_eq!(complaint(&[("a", "x"), ("b", "X ")]), "two classes are said in the same words, `X `");
        assert_eq!(complaint(&[("a", "x"), ("b", " ")]), "the class `b` has no words to be said in");
        assert!(check(&labels(&[("a", "x"), ("b", "a")])).is_ok());
    }

    #[test]
    fn a_row_of_another_class_is_named_and_one_without_is_none() {
        let row = |row| Example::of(row, 3, &Columns::default()).unwrap();
        let labels = labels(&[("a", "x"), ("b", "y")]);
        let rows = [row(json!({"text": "t"})), row(json!({"text": "t", "label": "a"}))];
        assert!(check_rows(&labels, "pool", &rows).is_ok());
        let error = check_rows(&labels, "pool", &[row(json!({"text": "t", "label": "x"}))]).unwrap_err();
        assert_eq!(error.to_string(), "the row `3` of the pool is of the class `x`");
        assert_eq!(error.advice(), Some("the labels are `a`, `b`"));
    }

    #[test]
    fn the_label_that_is_named_first_counts_and_the_longest_that_begins_there() {
        let labels = labels(&[("p", "good"), ("q", "good enough"), ("n", "not")]);
        let class = |text| named(&labels, text).map(|label| label.class.as_str());
        assert_eq!(class("It is Good, not bad"), Some("p"));
        assert_eq!(class("not good"), Some("n"));
        assert_eq!(class("GOOD ENOUGH for me"), Some("q"));
        assert_eq!(class("goodness, knotted"), None);
        assert_eq!(class(""), None);
    }

    #[test]
    fn demonstrations_speak_as_the_model_is_to_speak() {
        let demo = |output: &str| Demo {
            id: "d".into(),
            place: 0,
            values: serde_json::Map::from_iter([("output".to_owned(), output.into())]),
        };
        let demos = worded(&labels(&[("a", "x"), ("b", "y")]), vec![demo("b"), demo("other")]);
        let outputs: Vec<&str> = demos.iter().map(|demo| demo.values["output"].as_str().unwrap()).collect();
        assert_eq!(outputs, ["y", "other"]);
    }
}
