//! What is measured of an output. What the outputs of a cell come to is for `figures` to say.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::rows::Row;
use super::summary::{self, Unit};
use crate::error::{Error, Result};
use crate::eval::{bleu, chrf, metrics as ranked, qa, rouge};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Metric {
    Accuracy,
    MacroF1,
    ExactMatch,
    F1,
    Contains,
    Bleu,
    ChrF,
    RougeL,
    JsonValid,
    FieldF1,
    /// Answers that rest on a passage, as a share of all questions that have an answer.
    Grounded,
    RefusalF1,
    Ndcg,
    Recall,
    Mrr,
    /// Answers that a reward model scores higher than the known one.
    WinRate,
    /// Rows all of whose assertions held.
    Passed,
    Ms,
    Tokens,
}

impl Metric {
    pub const ALL: [Self; 19] = [
        Self::Accuracy,
        Self::MacroF1,
        Self::ExactMatch,
        Self::F1,
        Self::Contains,
        Self::Bleu,
        Self::ChrF,
        Self::RougeL,
        Self::JsonValid,
        Self::FieldF1,
        Self::Grounded,
        Self::RefusalF1,
        Self::Ndcg,
        Self::Recall,
        Self::Mrr,
        Self::WinRate,
        Self::Passed,
        Self::Ms,
        Self::Tokens,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Accuracy => "accuracy",
            Self::MacroF1 => "macro-F1",
            Self::ExactMatch => "exact match",
            Self::F1 => "F1",
            Self::Contains => "contains",
            Self::Bleu => "BLEU",
            Self::ChrF => "chrF",
            Self::RougeL => "ROUGE-L",
            Self::JsonValid => "JSON valid",
            Self::FieldF1 => "field F1",
            Self::Grounded => "grounded",
            Self::RefusalF1 => "refusal F1",
            Self::Ndcg => "nDCG@10",
            Self::Recall => "recall@10",
            Self::Mrr => "MRR@10",
            Self::WinRate => "win rate",
            Self::Passed => "passed",
            Self::Ms => "ms",
            Self::Tokens => "tokens",
        }
    }

    /// As the summary describes it.
    pub fn described(self) -> summary::Metric {
        let unit = match self {
            Self::Bleu | Self::ChrF => Unit::Points,
            Self::Ms => Unit::Ms,
            Self::Tokens => Unit::Tokens,
            _ => Unit::Share,
        };
        let higher_is_better = !matches!(self, Self::Ms | Self::Tokens);
        summary::Metric { name: self.name().to_owned(), unit, higher_is_better }
    }

    /// Whether it needs to know what is right.
    pub fn needs_answers(self) -> bool {
        !matches!(self, Self::JsonValid | Self::Grounded | Self::Passed | Self::Ms | Self::Tokens)
            && !self.is_of_retrieval()
    }

    /// Whether it looks at more of an answer than a row keeps.
    pub fn needs_the_answer(self) -> bool {
        self.is_of_retrieval() || matches!(self, Self::Grounded | Self::RefusalF1 | Self::WinRate)
    }

    /// Of a row: as it was measured, or from what the row keeps, where it was not.
    pub fn of_row(self, row: &Row) -> Option<f64> {
        let measured = row.metrics.get(self.name()).copied();
        measured.or_else(|| {
            self.of(&Output {
                text: &qa::without_citations(&row.output),
                expected: &row.expected,
                passed: (!row.assertions.is_empty()).then(|| row.assertions.iter().all(|one| one.passed)),
                ms: row.ms,
                tokens: row.tokens.iter().sum(),
                ..Output::default()
            })
        })
    }

    pub fn is_of_retrieval(self) -> bool {
        matches!(self, Self::Ndcg | Self::Recall | Self::Mrr)
    }

    /// Of one output; `None` where it means nothing for the row, as a known answer's does where none is known.
    pub fn of(self, output: &Output) -> Option<f64> {
        let known = output.expected;
        let best = |of: &dyn Fn(&str) -> f64| known.iter().map(|known| of(known)).reduce(f64::max);
        let share = |is: bool| f64::from(u8::from(is));
        let text = output.text.trim();
        match self {
            Self::Accuracy | Self::MacroF1 => best(&|known| share(text == known.trim())),
            Self::ExactMatch => best(&|known| qa::exact_match(text, known)),
            Self::F1 => best(&|known| qa::f1(text, known)),
            Self::Contains => best(&|known| share(qa::contains(text, known))),
            Self::Bleu => best(&|_| bleu::Counts::of(text, known, bleu::Tokenizer::default()).sentence()),
            Self::ChrF => best(&|_| chrf::Counts::of(text, known).score()),
            Self::RougeL => best(&|_| rouge::rouge_l(text, known).f),
            Self::JsonValid => Some(share(object(text).is_some())),
            Self::FieldF1 => best(&|known| field_f1(text, known)),
            Self::Grounded => output.grounded.filter(|_| !known.is_empty()).map(share),
            Self::RefusalF1 => output.refused.map(|refused| share(refused == known.is_empty())),
            Self::Ndcg => output.judged.as_ref().map(|(found, all)| ranked::ndcg(found, all, 10)),
            Self::Recall => output.judged.as_ref().map(|(found, all)| ranked::recall(found, all, 10)),
            Self::Mrr => output.judged.as_ref().map(|(found, _)| ranked::reciprocal_rank(found, 10)),
            Self::WinRate => output.win.filter(|_| !known.is_empty()),
            Self::Passed => output.passed.map(share),
            Self::Ms => Some(output.ms),
            Self::Tokens => Some(output.tokens as f64),
        }
    }
}

/// What a model made of a row, as far as metrics look at it.
#[derive(Debug, Clone, Default)]
pub struct Output<'a> {
    pub text: &'a str,
    pub expected: &'a [String],
    /// Of an answer over a collection.
    pub grounded: Option<bool>,
    pub refused: Option<bool>,
    /// Whether a reward model prefers it to the known answer; a half where it does not care.
    pub win: Option<f64>,
    /// Judgements of what was found, best first, and of all there is to find.
    pub judged: Option<(Vec<i64>, Vec<i64>)>,
    /// Whether all assertions held; `None` where there are none.
    pub passed: Option<bool>,
    pub ms: f64,
    /// Read and written.
    pub tokens: usize,
}

/// The JSON object in a text: all of it, or what stands between the first brace and the last.
pub fn object(text: &str) -> Option<serde_json::Map<String, Value>> {
    let inside = text.get(text.find('{')?..=text.rfind('}')?)?;
    match serde_json::from_str(inside) {
        Ok(Value::Object(object)) => Some(object),
        _ => None,
    }
}

/// Of the fields of two objects, the harmonic mean of the shares that both have alike: as texts, without regard to case and
/// surrounding space. 0 where `text` is no object.
fn field_f1(text: &str, known: &str) -> f64 {
    let (Some(text), Some(known)) = (object(text), object(known)) else { return 0.0 };
    let plain = |value: &Value| match value {
        Value::String(text) => text.trim().to_lowercase(),
        value => value.to_string().to_lowercase(),
    };
    let alike =
        text.iter().filter(|(name, value)| known.get(*name).is_some_and(|k| plain(k) == plain(value)));
    match text.len() + known.len() {
        0 => 1.0,
        all => 2.0 * alike.count() as f64 / all as f64,
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Metric {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let plain = |name: &str| name.to_lowercase().replace([' ', '_', '-'], "");
        Self::ALL.into_iter().find(|metric| plain(metric.name()) == plain(name)).ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.into_iter().map(Self::name).collect();
            Error::invalid(format!("no metric `{name}`; there are: {}", names.join(", ")))
        })
    }
}

impl TryFrom<String> for Metric {
    type Error = Error;

    fn try_from(name: String) -> Result<Self> {
        name.parse()
    }
}

impl From<Metric> for String {
    fn from(metric: Metric) -> Self {
        metric.name().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(metric: Metric, text: &str, expected: &[&str]) -> Option<f64> {
        let expected: Vec<String> = expected.iter().map(|&text| text.to_owned()).collect();
        metric.of(&Output { text, expected: &expected, ..Output::default() })
    }

    #[test]
    fn the_best_known_answer_counts_and_without_one_there_is_no_number() {
        assert_eq!(of(Metric::Accuracy, " tea\n", &["coffee", "tea"]), Some(1.0));
        assert_eq!(of(Metric::Accuracy, "Tea", &["tea"]), Some(0.0));
        assert_eq!(of(Metric::ExactMatch, "The Tea.", &["tea"]), Some(1.0));
        assert_eq!(of(Metric::Contains, "It is tea, they say.", &["coffee", "tea"]), Some(1.0));
        assert_eq!(of(Metric::F1, "tea", &[]), None);
        assert_eq!(of(Metric::JsonValid, "tea", &[]), Some(0.0));
    }

    #[test]
    fn fields_are_compared_one_by_one_whatever_stands_around_the_object() {
        let known = ["{\"name\": \"Ada\", \"year\": 1843}"];
        assert_eq!(of(Metric::FieldF1, "Sure: {\"year\": 1843, \"name\": \" ADA\"}", &known), Some(1.0));
        assert_eq!(of(Metric::FieldF1, "{\"name\": \"Ada\"}", &known), Some(2.0 / 3.0));
        assert_eq!(of(Metric::FieldF1, "Ada, 1843", &known), Some(0.0));
        assert_eq!(of(Metric::FieldF1, "}{", &known), Some(0.0));
    }

    #[test]
    fn names_are_read_however_they_are_spelt_and_others_are_answered_with_those_there_are() {
        for metric in Metric::ALL {
            assert_eq!(metric.name().parse::<Metric>().unwrap(), metric);
        }
        assert_eq!("rouge_l".parse::<Metric>().unwrap(), Metric::RougeL);
        assert_eq!("exact_match".parse::<Metric>().unwrap(), Metric::ExactMatch);
        assert!("bleau".parse::<Metric>().unwrap_err().to_string().contains("BLEU"));
    }
}
