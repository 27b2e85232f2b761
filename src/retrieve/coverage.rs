//! How much of a question's words a text has, rare words counting more.
//!
//! Words are the index's own (its analyser and its document frequencies come as closures), so that "found" here means
//! what it meant when the text was searched. The words questions are made of ("what", "how", "does") have no weight.

use std::collections::BTreeMap;

use crate::text::terms::{fold, is_negation, is_stop_word, words};

/// The analysed words of a question and what each weighs.
pub struct Question<'a> {
    weights: BTreeMap<String, f32>,
    analyse: &'a dyn Fn(&str) -> Vec<String>,
}

impl<'a> Question<'a> {
    /// `analyse` turns text into index terms; `idf` gives a term's inverse document frequency.
    pub fn new(question: &str, analyse: &'a dyn Fn(&str) -> Vec<String>, idf: impl Fn(&str) -> f32) -> Self {
        let weigh = |term: String| {
            let weight = idf(&term);
            (term, if weight.is_finite() { weight.max(0.0) } else { 0.0 })
        };
        let weights = analyse(&without_function_words(question)).into_iter().map(weigh).collect();
        Self { weights, analyse }
    }

    /// The sum of the weights: what a text with every word would have.
    pub fn weight(&self) -> f32 {
        self.weights.values().sum()
    }

    /// The share of the weight on words that `text` has, in `[0, 1]`; 0 when the question has no word of weight.
    pub fn coverage(&self, text: &str) -> f32 {
        let total = self.weight();
        if total <= 0.0 {
            return 0.0;
        }
        let present: std::collections::BTreeSet<String> = (self.analyse)(text).into_iter().collect();
        let found = self.weights.iter().filter(|(term, _)| present.contains(*term));
        (found.map(|(_, weight)| weight).sum::<f32>() / total).clamp(0.0, 1.0)
    }
}

/// The question with stop words, question words and negations blanked, everything else in place.
fn without_function_words(question: &str) -> String {
    let mut kept = String::with_capacity(question.len());
    let mut at = 0;
    for word in words(question) {
        let folded = fold(&question[word.clone()]);
        if is_stop_word(&folded) || is_negation(&folded) {
            kept.push_str(&question[at..word.start]);
            kept.push(' ');
            at = word.end;
        }
    }
    kept + &question[at..]
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A stand-in for the index's analyser.
    pub fn analyse(text: &str) -> Vec<String> {
        crate::text::terms::terms(text).into_iter().map(|term| term.text).collect()
    }

    #[test]
    fn rare_words_weigh_more_and_function_words_nothing() {
        let idf = |term: &str| if term == "owner" { 3.0 } else { 1.0 };
        let question = Question::new("What is the owner of a value?", &analyse, idf);
        assert_eq!(question.weight(), 4.0);
        assert_eq!(question.coverage("Owners everywhere."), 0.75);
        assert_eq!(question.coverage("The value's owner."), 1.0);
        assert_eq!(question.coverage("What is the nothing?"), 0.0);
    }

    #[test]
    fn a_question_without_content_is_covered_by_nothing() {
        for text in ["", "What is it?", "Why not?"] {
            let question = Question::new(text, &analyse, |_| 1.0);
            assert_eq!((question.weight(), question.coverage(text)), (0.0, 0.0));
        }
    }

    #[test]
    fn a_weight_that_is_not_a_number_is_none() {
        let question =
            Question::new("owner value", &analyse, |term| if term == "owner" { f32::NAN } else { 2.0 });
        assert_eq!(question.weight(), 2.0);
    }

    #[test]
    fn function_words_go_and_the_rest_stays_in_place() {
        let kept = without_function_words("What is foo_bar, not baz?");
        assert_eq!(kept.split_whitespace().collect::<Vec<_>>(), ["foo_bar,", "baz?"]);
    }
}
