//! How good are the answers? Questions with known answers, and questions that the documents do not answer.
//!
//! Exact match and F1 are those of SQuAD's evaluation script (Rajpurkar et al. 2016, arXiv 1606.05250), with Chinese,
//! Japanese and Korean characters counted one by one, as CMRC's script does. An answer in the documents' own sentences
//! can hardly match exactly; whether it *contains* the known answer is what says most about it. Refusing is judged as a
//! class of its own: a question without answers should be refused, every other one answered.

use std::collections::BTreeMap;

use serde::Serialize;

use super::stats::{Bootstrap, Estimate};
use crate::text::example::Example;

/// What was said to a question.
#[derive(Debug, Clone, PartialEq)]
pub struct Said {
    pub answered: bool,
    /// With its `[n]`.
    pub text: String,
    /// Whether a model wrote it.
    pub generated: bool,
    /// Why a generated text was not used.
    pub fallback: Option<String>,
    pub confidence: f32,
    pub citations: usize,
    /// Citations whose quote is exactly the file's bytes at its span.
    pub valid_citations: usize,
    pub ms: u64,
}

/// One question's answer, judged.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Judged {
    pub id: String,
    pub question: String,
    pub answerable: bool,
    pub answered: bool,
    pub answer: String,
    pub generated: bool,
    pub fallback: Option<String>,
    pub confidence: f32,
    /// 0 or 1, the best over the known answers; 0 when refused, and without meaning for a question without answers.
    pub exact_match: f64,
    /// In `[0, 1]`, likewise.
    pub f1: f64,
    /// Whether a known answer stands in the answer word for word.
    pub contains: bool,
    pub citations: usize,
    pub valid_citations: usize,
    pub ms: u64,
}

impl Judged {
    pub fn new(question: &Example, said: Said) -> Self {
        let text = without_citations(&said.text);
        let best = |metric: fn(&str, &str) -> f64| {
            let scores = question.answers.iter().map(|known| metric(&text, known));
            if said.answered { scores.fold(0.0, f64::max) } else { 0.0 }
        };
        Self {
            id: question.id.clone(),
            question: question.input.clone(),
            answerable: !question.answers.is_empty(),
            exact_match: best(exact_match),
            f1: best(f1),
            contains: said.answered && question.answers.iter().any(|known| contains(&text, known)),
            answered: said.answered,
            answer: said.text,
            generated: said.generated,
            fallback: said.fallback,
            confidence: said.confidence,
            citations: said.citations,
            valid_citations: said.valid_citations,
            ms: said.ms,
        }
    }
}

/// What a list of judged questions comes to; `None` where there is nothing to take a mean of.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Scores {
    pub questions: usize,
    pub answerable: usize,
    /// Means over the answerable questions, a refusal counting as 0.
    pub exact_match: Option<Estimate>,
    pub f1: Option<Estimate>,
    pub contains: Option<Estimate>,
    /// Share of the answerable questions that were refused.
    pub false_refusals: Option<Estimate>,
    /// Of what was refused, the share that should have been; of what should have been, the share that was; and their
    /// harmonic mean.
    pub refusal_precision: Option<Estimate>,
    pub refusal_recall: Option<Estimate>,
    pub refusal_f1: Option<f64>,
    /// Answers that a model wrote and that were accepted as grounded, as a share of all answers; and how many of those to
    /// answerable questions contain a known answer.
    pub generated: Option<Estimate>,
    pub generated_contains: Option<Estimate>,
    pub citations: usize,
    pub citation_validity: Option<f64>,
    pub median_ms: u64,
    pub p95_ms: u64,
}

impl Scores {
    pub fn of(rows: &[Judged], bootstrap: Bootstrap) -> Self {
        let mean = |of: &dyn Fn(&Judged) -> bool, value: &dyn Fn(&Judged) -> f64| {
            let values: Vec<f64> = rows.iter().filter(|row| of(row)).map(value).collect();
            (!values.is_empty()).then(|| bootstrap.mean(&values))
        };
        let share = |of: &dyn Fn(&Judged) -> bool, is: &dyn Fn(&Judged) -> bool| {
            mean(of, &|row| f64::from(u8::from(is(row))))
        };
        let count = |of: &dyn Fn(&Judged) -> bool| rows.iter().filter(|row| of(row)).count();
        let refused = |row: &Judged| !row.answered;
        let unanswerable = |row: &Judged| !row.answerable;
        let generated = |row: &Judged| row.answered && row.generated;
        let rightly = count(&|row| refused(row) && unanswerable(row));
        let both = count(&refused) + count(&unanswerable);
        let citations: usize = rows.iter().map(|row| row.citations).sum();
        let valid: usize = rows.iter().map(|row| row.valid_citations).sum();
        let mut times: Vec<u64> = rows.iter().map(|row| row.ms).collect();
        times.sort_unstable();
        // Nearest rank: the smallest time that so many percent do not exceed.
        let percentile =
            |p: usize| times.get((times.len() * p).div_ceil(100).max(1) - 1).copied().unwrap_or(0);
        Self {
            questions: rows.len(),
            answerable: count(&|row| row.answerable),
            exact_match: mean(&|row| row.answerable, &|row| row.exact_match),
            f1: mean(&|row| row.answerable, &|row| row.f1),
            contains: share(&|row| row.answerable, &|row| row.contains),
            false_refusals: share(&|row| row.answerable, &refused),
            refusal_precision: share(&refused, &unanswerable),
            refusal_recall: share(&unanswerable, &refused),
            refusal_f1: (count(&unanswerable) > 0).then(|| 2.0 * rightly as f64 / both as f64),
            generated: share(&|row| row.answered, &generated),
            generated_contains: share(&|row| generated(row) && row.answerable, &|row| row.contains),
            citations,
            citation_validity: (citations > 0).then(|| valid as f64 / citations as f64),
            median_ms: percentile(50),
            p95_ms: percentile(95),
        }
    }
}

/// The answer without its `[n]`.
pub fn without_citations(answer: &str) -> String {
    let mut parts = answer.split(" [");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |said, part| match part.split_once(']') {
        Some((n, rest)) if !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()) => said + rest,
        _ => said + " [" + part,
    })
}

/// SQuAD's normal form, as words: lower case, without punctuation and articles; CJK characters stand alone.
fn words(text: &str) -> Vec<String> {
    let mut spaced = String::with_capacity(text.len());
    for c in text.chars().flat_map(char::to_lowercase) {
        match c {
            '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{ac00}'..='\u{d7af}' => {
                spaced.extend([' ', c, ' ']);
            }
            c if c.is_alphanumeric() || c.is_whitespace() => spaced.push(c),
            c if c.is_ascii() => {} // Python's string.punctuation goes without leaving a gap
            _ => spaced.push(' '),
        }
    }
    let is_article = |word: &&str| matches!(*word, "a" | "an" | "the");
    spaced.split_whitespace().filter(|word| !is_article(word)).map(str::to_owned).collect()
}

/// Whether both have the same normal form.
pub fn exact_match(said: &str, known: &str) -> f64 {
    f64::from(u8::from(words(said) == words(known)))
}

/// Harmonic mean of precision and recall of the words both share, as a bag.
pub fn f1(said: &str, known: &str) -> f64 {
    let (said, known) = (words(said), words(known));
    if said.is_empty() || known.is_empty() {
        return f64::from(u8::from(said == known));
    }
    let mut left: BTreeMap<&str, usize> = BTreeMap::new();
    for word in &known {
        *left.entry(word).or_default() += 1;
    }
    let shared = said.iter().filter(|word| {
        let count = left.get_mut(word.as_str()).filter(|count| **count > 0);
        count.map(|count| *count -= 1).is_some()
    });
    2.0 * shared.count() as f64 / (said.len() + known.len()) as f64
}

/// Whether the known answer's words stand in `said` one after another.
pub fn contains(said: &str, known: &str) -> bool {
    let (said, known) = (words(said), words(known));
    !known.is_empty() && said.windows(known.len()).any(|window| window == known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_those_of_squad_s_script() {
        assert_eq!(exact_match("The Eiffel-Tower.", "eiffeltower"), 1.0);
        assert_eq!(exact_match("in 1887", "1887"), 0.0);
        assert!((f1("in October 1973", "October 1973") - 0.8).abs() < 1e-6);
        assert_eq!(f1("the cat cat", "cat"), 2.0 / 3.0);
        assert_eq!((f1("", ""), f1("", "cat")), (1.0, 0.0));
        assert!((f1("光荣公司", "光荣") - 2.0 * 2.0 / 6.0).abs() < 1e-6);
        assert!(contains("It began in October 1973, they say.", "the October 1973"));
        assert!(!contains("It began in October 19735.", "October 1973"));
        assert!(!contains("anything", "the"));
    }

    #[test]
    fn marks_of_citations_are_not_part_of_the_answer() {
        assert_eq!(without_citations("One. [1] Two [sic], x[3]. [2]"), "One. Two [sic], x[3].");
    }

    #[test]
    fn refusing_is_a_class_of_its_own() {
        let row = |answerable: bool, answered, text: &str| {
            let answers = if answerable { vec!["tea".to_owned()] } else { Vec::new() };
            let question =
                Example { id: String::new(), input: String::new(), answers, fields: serde_json::Map::new() };
            let said = Said {
                answered,
                text: text.to_owned(),
                generated: text == "tea [1]",
                fallback: None,
                confidence: 0.5,
                citations: 1,
                valid_citations: 1,
                ms: 3,
            };
            Judged::new(&question, said)
        };
        let rows = [
            row(true, true, "tea [1]"),
            row(true, false, "tea"),
            row(false, false, ""),
            row(false, true, "x"),
        ];
        let scores = Scores::of(&rows, Bootstrap::default());
        let mean = |estimate: Option<Estimate>| estimate.map(|estimate| estimate.mean);
        for half in
            [scores.f1, scores.exact_match, scores.contains, scores.false_refusals, scores.refusal_precision]
        {
            assert_eq!(mean(half), Some(0.5));
        }
        assert_eq!((mean(scores.refusal_recall), scores.refusal_f1), (Some(0.5), Some(0.5)));
        assert_eq!((mean(scores.generated), mean(scores.generated_contains)), (Some(0.5), Some(1.0)));
        assert_eq!((scores.citation_validity, scores.median_ms, scores.p95_ms), (Some(1.0), 3, 3));
        let none = Scores::of(&[], Bootstrap::default());
        assert_eq!((none.f1, none.refusal_f1, none.citation_validity), (None, None, None));
    }
}
