//! What is measured of an output, and what a cell's outputs come to.
//!
//! Most metrics are means over rows. BLEU and chrF are of a corpus, macro-F1 of all decisions together: for these, a row's
//! own number is only there to look at. A row that failed has no number and counts in none; how many failed stands beside.

use std::fmt;
use std::ops::AddAssign;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::rows::Row;
use super::summary::{self, Unit};
use crate::error::{Error, Result};
use crate::eval::stats::paired::{McNemar, needed};
use crate::eval::stats::{Bootstrap, Difference, Estimate};
use crate::eval::{bleu, chrf, classes, metrics as ranked, qa, rouge};

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
    /// Rows all of whose assertions held.
    Passed,
    Ms,
    Tokens,
}

impl Metric {
    pub const ALL: [Self; 18] = [
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
        self.is_of_retrieval() || matches!(self, Self::Grounded | Self::RefusalF1)
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
    /// Judgements of what was found, best first, and of all there is to find.
    pub judged: Option<(Vec<i64>, Vec<i64>)>,
    /// Whether all assertions held; `None` where there are none.
    pub passed: Option<bool>,
    pub ms: f64,
    /// Read and written.
    pub tokens: usize,
}

/// What a metric keeps of an item: its value, and what a figure of all items together needs besides.
#[derive(Debug, Clone)]
pub enum Figures {
    Mean(f64),
    Bleu(f64, bleu::Counts),
    ChrF(f64, chrf::Counts),
    /// What it is of, and what was said.
    Class(f64, String, String),
    Refusal(f64, Refusals),
}

/// Answers that were refused, that should have been, and both.
#[derive(Debug, Clone, Copy, Default)]
pub struct Refusals {
    refused: usize,
    unanswerable: usize,
    rightly: usize,
}

impl AddAssign<&Self> for Refusals {
    fn add_assign(&mut self, other: &Self) {
        self.refused += other.refused;
        self.unanswerable += other.unanswerable;
        self.rightly += other.rightly;
    }
}

impl Refusals {
    /// 1 when nothing was to be refused and nothing was.
    fn f1(&self) -> f64 {
        match self.refused + self.unanswerable {
            0 => 1.0,
            both => 2.0 * self.rightly as f64 / both as f64,
        }
    }
}

/// How two cells differ.
pub struct Apart {
    pub estimate: Estimate,
    pub p: f64,
    pub test: &'static str,
    pub needed: Option<usize>,
}

impl Figures {
    /// Of an item whose value is `value`.
    pub fn of(metric: Metric, value: f64, said: &str, known: &[String]) -> Self {
        match metric {
            Metric::Bleu => Self::Bleu(value, bleu::Counts::of(said, known, bleu::Tokenizer::default())),
            Metric::ChrF => Self::ChrF(value, chrf::Counts::of(said, known)),
            Metric::MacroF1 => {
                let gold = known.iter().find(|known| known.trim() == said.trim()).or(known.first());
                Self::Class(value, gold.cloned().unwrap_or_default(), said.trim().to_owned())
            }
            Metric::RefusalF1 => {
                let unanswerable = known.is_empty();
                // The value says whether it was refused rightly, or rightly not.
                let refused = (value == 1.0) == unanswerable;
                let count = usize::from;
                Self::Refusal(
                    value,
                    Refusals {
                        refused: count(refused),
                        unanswerable: count(unanswerable),
                        rightly: count(refused && unanswerable),
                    },
                )
            }
            _ => Self::Mean(value),
        }
    }

    pub fn value(&self) -> f64 {
        match self {
            Self::Mean(value)
            | Self::Bleu(value, _)
            | Self::ChrF(value, _)
            | Self::Class(value, ..)
            | Self::Refusal(value, _) => *value,
        }
    }
}

/// The parts of one kind.
macro_rules! parts {
    ($figures:expr, $variant:ident) => {
        $figures
            .iter()
            .filter_map(|one| match one {
                Figures::$variant(_, part) => Some(part.clone()),
                _ => None,
            })
            .collect::<Vec<_>>()
    };
}

impl Metric {
    /// What items come to, with its interval.
    pub fn estimate(self, figures: &[Figures], bootstrap: Bootstrap) -> Estimate {
        match self {
            Self::Bleu => bootstrap.figure(&parts!(figures, Bleu), bleu::Counts::score),
            Self::ChrF => bootstrap.figure(&parts!(figures, ChrF), chrf::Counts::score),
            Self::RefusalF1 => bootstrap.figure(&parts!(figures, Refusal), Refusals::f1),
            Self::MacroF1 => bootstrap.figure(&decisions(figures), classes::Counts::macro_f1),
            Self::Ms | Self::Tokens => {
                let values = values(figures);
                match values.first() {
                    // No share: nothing is unknown about what is always the same.
                    Some(&mean) if values.iter().all(|value| *value == mean) => {
                        Estimate { mean, low: mean, high: mean }
                    }
                    _ => bootstrap.mean(&values),
                }
            }
            _ => bootstrap.mean(&values(figures)),
        }
    }

    /// How much more `ours` come to than `theirs`, items in one order.
    pub fn apart(self, ours: &[Figures], theirs: &[Figures], bootstrap: Bootstrap) -> Apart {
        let of_all = |difference: Difference| Apart {
            estimate: difference.estimate,
            p: difference.p,
            test: BOOTSTRAP,
            needed: difference.needed(ours.len()).map(|needed| needed as usize),
        };
        match self {
            Self::Bleu => {
                let (ours, theirs) = (parts!(ours, Bleu), parts!(theirs, Bleu));
                of_all(bootstrap.figures_apart(&ours, &theirs, bleu::Counts::score))
            }
            Self::ChrF => {
                let (ours, theirs) = (parts!(ours, ChrF), parts!(theirs, ChrF));
                of_all(bootstrap.figures_apart(&ours, &theirs, chrf::Counts::score))
            }
            Self::RefusalF1 => {
                let (ours, theirs) = (parts!(ours, Refusal), parts!(theirs, Refusal));
                of_all(bootstrap.figures_apart(&ours, &theirs, Refusals::f1))
            }
            Self::MacroF1 => {
                // One numbering of classes for both sides.
                let both = decisions(&[ours, theirs].concat());
                let (ours, theirs) = both.split_at(ours.len());
                of_all(bootstrap.figures_apart(ours, theirs, classes::Counts::macro_f1))
            }
            _ => {
                let (ours, theirs) = (values(ours), values(theirs));
                let difference = bootstrap.difference(&ours, &theirs);
                let exact = McNemar::of(&ours, &theirs);
                Apart {
                    estimate: difference.estimate,
                    p: exact.map_or(difference.p, |exact| exact.p),
                    test: if exact.is_some() { "McNemar" } else { BOOTSTRAP },
                    needed: needed(&ours, &theirs).map(|needed| needed as usize),
                }
            }
        }
    }
}

const BOOTSTRAP: &str = "paired bootstrap";

fn values(figures: &[Figures]) -> Vec<f64> {
    figures.iter().map(Figures::value).collect()
}

fn decisions(figures: &[Figures]) -> Vec<classes::Item> {
    let pairs: Vec<(&str, &str)> = figures
        .iter()
        .filter_map(|one| match one {
            Figures::Class(_, gold, said) => Some((gold.as_str(), said.as_str())),
            _ => None,
        })
        .collect();
    classes::items(&pairs).1
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
