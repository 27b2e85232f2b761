//! How good are the answers? Questions with known answers, and questions that the documents do not answer.
//!
//! Exact match and F1 are those of SQuAD's evaluation script (Rajpurkar et al. 2016, arXiv 1606.05250), with Chinese,
//! Japanese and Korean characters counted one by one, as CMRC's script does. An answer in the documents' own sentences
//! can hardly match exactly; whether it *contains* the known answer is what says most about it. Refusing is judged as a
//! class of its own: a question without answers should be refused, every other one answered.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use crate::engine::ask::{Answer, Answering};
use crate::engine::{Citation, Places};
use crate::error::{Error, IoContext, Result};

/// A question and what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    pub id: String,
    pub text: String,
    /// Any of them is right; none when the documents do not answer the question.
    pub answers: Vec<String>,
}

impl Question {
    /// Of a file of such lines; empty ones are skipped.
    ///
    /// # Errors
    /// `Io` when it cannot be read, `Invalid` naming the first line that is wrong, or when there is none.
    pub fn of_file(path: &Path) -> Result<Vec<Self>> {
        let text = fs::read_to_string(path).at("read", path)?;
        let lines = text.lines().zip(1..).filter(|(line, _)| !line.trim().is_empty());
        let within = |number| format!("{}: line {number}", path.display());
        let questions: Vec<Self> = lines
            .map(|(line, number)| Self::of_line(line, number).map_err(|e| e.within(within(number))))
            .collect::<Result<_>>()?;
        match questions.is_empty() {
            true => Err(Error::invalid(format!("`{}` has no question", path.display()))),
            false => Ok(questions),
        }
    }

    /// Of a line of JSON: the question in `question`, `text` or `input`, its answers in `answers` or `answer`. None, or
    /// `"answerable": false`, or SQuAD's `"is_impossible": true`, say that there is no answer.
    ///
    /// # Errors
    /// `Invalid` when the line is no such record.
    pub fn of_line(line: &str, number: usize) -> Result<Self> {
        let row: Value = serde_json::from_str(line).map_err(|e| Error::invalid(format!("not JSON: {e}")))?;
        let string = |fields: &[&str]| {
            fields.iter().find_map(|field| row.get(field).and_then(Value::as_str)).map(str::to_owned)
        };
        let text = string(&["question", "text", "input"]).filter(|text| !text.trim().is_empty());
        let text = text.ok_or_else(|| {
            Error::invalid("no question in it").hint("a line is {\"question\": ..., \"answers\": [...]}")
        })?;
        let is = |field, value| row.get(field).and_then(Value::as_bool) == Some(value);
        let answers = match row.get("answers").or_else(|| row.get("answer")) {
            _ if is("answerable", false) || is("is_impossible", true) => Vec::new(),
            Some(Value::String(one)) => vec![one.clone()],
            Some(Value::Array(all)) => all
                .iter()
                .map(|answer| answer.as_str().map(str::to_owned))
                .collect::<Option<_>>()
                .ok_or_else(|| Error::invalid("`answers` is a list of strings"))?,
            Some(Value::Null) | None => Vec::new(),
            Some(_) => return Err(Error::invalid("`answers` is a list of strings")),
        };
        let id = string(&["id", "_id"]).unwrap_or_else(|| number.to_string());
        Ok(Self { id, text, answers })
    }
}

/// One question's answer, judged.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Judged {
    pub id: String,
    pub question: String,
    pub answerable: bool,
    pub answered: bool,
    pub answer: String,
    pub mode: Answering,
    /// Why a generated text was not used.
    pub fallback: Option<String>,
    pub confidence: f32,
    /// 0 or 1, the best over the known answers; 0 when refused, and without meaning for a question without answers.
    pub exact_match: f32,
    /// In `[0, 1]`, likewise.
    pub f1: f32,
    /// Whether a known answer stands in the answer word for word.
    pub contains: bool,
    pub citations: usize,
    /// Citations whose quote is exactly the file's bytes at its span.
    pub valid_citations: usize,
    pub ms: u64,
}

impl Judged {
    pub fn new(question: &Question, answer: &Answer, places: &Places) -> Self {
        let said = without_citations(&answer.answer);
        let best = |metric: fn(&str, &str) -> f32| {
            let scores = question.answers.iter().map(|known| metric(&said, known));
            if answer.answered { scores.fold(0.0, f32::max) } else { 0.0 }
        };
        Self {
            id: question.id.clone(),
            question: question.text.clone(),
            answerable: !question.answers.is_empty(),
            answered: answer.answered,
            answer: answer.answer.clone(),
            mode: answer.mode,
            fallback: answer.fallback.clone(),
            confidence: answer.confidence,
            exact_match: best(exact_match),
            f1: best(f1),
            contains: answer.answered && question.answers.iter().any(|known| contains(&said, known)),
            citations: answer.citations.len(),
            valid_citations: answer.citations.iter().filter(|citation| is_valid(citation, places)).count(),
            ms: answer.ms,
        }
    }
}

/// What a list of judged questions comes to. Shares are `None` where there is nothing to take a share of.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Scores {
    pub questions: usize,
    pub answerable: usize,
    /// Means over the answerable questions, a refusal counting as 0.
    pub exact_match: Option<f32>,
    pub f1: Option<f32>,
    pub contains: Option<f32>,
    /// Share of the answerable questions that were refused.
    pub false_refusals: Option<f32>,
    /// Of what was refused, the share that should have been; of what should have been, the share that was; and their
    /// harmonic mean.
    pub refusal_precision: Option<f32>,
    pub refusal_recall: Option<f32>,
    pub refusal_f1: Option<f32>,
    /// Generated answers that were accepted as grounded, as a share of all answers, and how many of those to answerable
    /// questions contain a known answer.
    pub generated: Option<f32>,
    pub generated_contains: Option<f32>,
    pub citations: usize,
    pub citation_validity: Option<f32>,
    pub median_ms: u64,
    pub p95_ms: u64,
}

impl Scores {
    pub fn of(rows: &[Judged]) -> Self {
        let share = |part: usize, whole: usize| (whole > 0).then(|| part as f32 / whole as f32);
        let answerable: Vec<&Judged> = rows.iter().filter(|row| row.answerable).collect();
        let mean = |value: fn(&Judged) -> f32| {
            let sum: f32 = answerable.iter().map(|row| value(row)).sum();
            (!answerable.is_empty()).then(|| sum / answerable.len() as f32)
        };
        let refused = rows.iter().filter(|row| !row.answered).count();
        let falsely = answerable.iter().filter(|row| !row.answered).count();
        let rightly = refused - falsely;
        let refusal_precision = share(rightly, refused);
        let refusal_recall = share(rightly, rows.len() - answerable.len());
        let refusal_f1 =
            refusal_recall.map(|_| 2.0 * rightly as f32 / (rows.len() - answerable.len() + refused) as f32);
        let generated = rows.iter().filter(|row| row.answered && row.mode == Answering::Generate);
        let generated: Vec<&Judged> = generated.collect();
        let contain = generated.iter().filter(|row| row.contains).count();
        let citations = rows.iter().map(|row| row.citations).sum();
        let mut times: Vec<u64> = rows.iter().map(|row| row.ms).collect();
        times.sort_unstable();
        let at = |quantile: usize| times.get((times.len() * quantile / 100).min(times.len().max(1) - 1));
        Self {
            questions: rows.len(),
            answerable: answerable.len(),
            exact_match: mean(|row| row.exact_match),
            f1: mean(|row| row.f1),
            contains: mean(|row| f32::from(u8::from(row.contains))),
            false_refusals: share(falsely, answerable.len()),
            refusal_precision,
            refusal_recall,
            refusal_f1,
            generated: share(generated.len(), rows.len() - refused),
            generated_contains: share(contain, generated.iter().filter(|row| row.answerable).count()),
            citations,
            citation_validity: share(rows.iter().map(|row| row.valid_citations).sum(), citations),
            median_ms: at(50).copied().unwrap_or(0),
            p95_ms: at(95).copied().unwrap_or(0),
        }
    }
}

/// Whether the file says exactly that, there, now.
fn is_valid(citation: &Citation, places: &Places) -> bool {
    let [start, end] = citation.bytes;
    let file = fs::read(places.here.join(&citation.path));
    file.is_ok_and(|bytes| bytes.get(start..end) == Some(citation.quote.as_bytes()))
}

/// The answer without its `[n]`.
fn without_citations(answer: &str) -> String {
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
pub fn exact_match(said: &str, known: &str) -> f32 {
    f32::from(u8::from(words(said) == words(known)))
}

/// Harmonic mean of precision and recall of the words both share, as a bag.
pub fn f1(said: &str, known: &str) -> f32 {
    let (said, known) = (words(said), words(known));
    if said.is_empty() || known.is_empty() {
        return f32::from(u8::from(said == known));
    }
    let mut left: BTreeMap<&str, usize> = BTreeMap::new();
    for word in &known {
        *left.entry(word).or_default() += 1;
    }
    let shared = said.iter().filter(|word| {
        let count = left.get_mut(word.as_str()).filter(|count| **count > 0);
        count.map(|count| *count -= 1).is_some()
    });
    2.0 * shared.count() as f32 / (said.len() + known.len()) as f32
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
    fn lines_of_several_kinds_are_questions() {
        let of = |line| Question::of_line(line, 7).unwrap();
        let squad = of(r#"{"_id": "a", "text": "Q?", "answers": ["x", "y"], "is_impossible": false}"#);
        assert_eq!((squad.id.as_str(), squad.answers.len()), ("a", 2));
        assert!(of(r#"{"text": "Q?", "answers": ["x"], "is_impossible": true}"#).answers.is_empty());
        assert!(of(r#"{"question": "Q?", "answerable": false}"#).answers.is_empty());
        let one = of(r#"{"question": "Q?", "answer": "x"}"#);
        assert_eq!((one.id.as_str(), one.answers), ("7", vec!["x".to_owned()]));
        for bad in ["", "[]", r#"{"question": " "}"#, r#"{"question": "Q", "answers": [1]}"#] {
            assert!(Question::of_line(bad, 1).is_err(), "{bad}");
        }
    }

    #[test]
    fn refusing_is_a_class_of_its_own() {
        let row = |answerable, answered, f1| Judged {
            id: String::new(),
            question: String::new(),
            answerable,
            answered,
            answer: String::new(),
            mode: Answering::Extractive,
            fallback: None,
            confidence: 0.5,
            exact_match: 0.0,
            f1,
            contains: f1 > 0.5,
            citations: 1,
            valid_citations: 1,
            ms: 3,
        };
        let rows =
            [row(true, true, 1.0), row(true, false, 0.0), row(false, false, 0.0), row(false, true, 0.0)];
        let scores = Scores::of(&rows);
        assert_eq!((scores.f1, scores.contains, scores.false_refusals), (Some(0.5), Some(0.5), Some(0.5)));
        assert_eq!((scores.refusal_precision, scores.refusal_recall), (Some(0.5), Some(0.5)));
        assert_eq!((scores.refusal_f1, scores.citation_validity), (Some(0.5), Some(1.0)));
        let none = Scores::of(&[]);
        assert_eq!((none.f1, none.refusal_f1, none.citation_validity), (None, None, None));
    }
}
