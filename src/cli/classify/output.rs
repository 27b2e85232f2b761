//! What a person or a program sees of a classified text, and what there is to say at the end.

use serde_json::{Map, Value, json};

use crate::classify::Verdict;
use crate::classify::classifier::Said;
use crate::classify::label::{self, Label};
use crate::cli::printer::Printer;
use crate::cli::tidy;
use crate::error::{Error, Result};
use crate::eval::stats::{Bootstrap, Estimate};
use crate::generate::labels;
use crate::prompt::budget::Dropped;
use crate::text::example::Example;

/// A text and what a model says about it.
pub struct Outcome {
    pub row: Example,
    pub verdict: Verdict,
    pub ms: f64,
}

impl Outcome {
    /// One each of the labels, where the model tells.
    pub fn probabilities(&self) -> Option<&[f64]> {
        match &self.verdict.said {
            Said::Scores { probabilities, .. } => Some(probabilities),
            Said::Text(_) => None,
        }
    }
}

/// What was counted.
#[derive(Default)]
pub struct Tally {
    /// 1 or 0 for each row whose class is known.
    right: Vec<f64>,
    /// Rows without a label.
    pub failed: usize,
    /// Known classes that are no label.
    strange: usize,
    /// Demonstrations that did not fit, over all rows.
    dropped: usize,
}

pub struct Show<'a> {
    pub labels: &'a [Label],
    pub many: bool,
    pub json: bool,
    pub printer: &'a Printer,
}

impl Show<'_> {
    /// # Errors
    /// `Invalid` for a single text for which the model names no label; `Io` when stdout is closed.
    pub fn outcome(&self, outcome: &Outcome, tally: &mut Tally) -> Result<()> {
        let Outcome { row, verdict, ms } = outcome;
        let (chosen, probability) = match &verdict.said {
            Said::Scores { probabilities, .. } => {
                let at = labels::choose(probabilities);
                (self.labels.get(at), probabilities.get(at).copied())
            }
            Said::Text(text) => (label::named(self.labels, text), None),
        };
        tally.count(self.labels, row, chosen, &verdict.fitted.dropped);
        if self.json {
            return self.value(&json_of(self.labels, row, verdict, chosen, probability, *ms));
        }
        let said = probability.map_or("-".to_owned(), |p| format!("{p:.3}"));
        match (chosen, &verdict.said) {
            (None, Said::Text(text)) if !self.many => {
                let what = format!("the model names none of the labels; it says \"{}\"", tidy(text));
                Err(Error::invalid(what)
                    .hint("a template that asks for the label alone: --prompt classify/chat"))
            }
            (Some(label), _) if !self.many => self.printer.line(format!("{}  {said}", tidy(&label.class))),
            (chosen, _) => self.line(chosen.map_or("(none)", |label| &label.class), &said, row),
        }
    }

    /// A row that could not be classified, in its place among the others.
    ///
    /// # Errors
    /// `Io` when stdout is closed.
    pub fn failed(&self, row: &Example, error: Error, tally: &mut Tally) -> Result<()> {
        tally.failed += 1;
        if self.json {
            let hint = error.advice();
            let error = error.to_string();
            return self.value(&json!({ "id": row.id, "input": row.input, "error": error, "hint": hint }));
        }
        self.line("(failed)", "-", row)?;
        self.printer.failed(&error.within(format!("`{}`", row.id)));
        Ok(())
    }

    pub fn value(&self, value: &Value) -> Result<()> {
        if self.many { self.printer.json_line(value) } else { self.printer.json(value) }
    }

    pub fn line(&self, class: &str, said: &str, row: &Example) -> Result<()> {
        let width = self.labels.iter().map(|label| label.class.chars().count()).max().unwrap_or(0);
        let text = row.input.split_whitespace().collect::<Vec<_>>().join(" ");
        self.printer.line(tidy(&format!("{class:width$}  {said:5}  {text}")))
    }
}

fn json_of(
    labels: &[Label],
    row: &Example,
    verdict: &Verdict,
    chosen: Option<&Label>,
    probability: Option<f64>,
    ms: f64,
) -> Value {
    let prompt = &verdict.fitted.prompt;
    let by_class = |values: Vec<f64>| -> Map<String, Value> {
        labels.iter().zip(values).map(|(label, value)| (label.class.clone(), value.into())).collect()
    };
    let (probabilities, scores, said) = match &verdict.said {
        Said::Scores { scored, probabilities } => {
            let scores = scored.iter().map(|scored| scored.log_probability).collect();
            (Some(by_class(probabilities.clone())), Some(by_class(scores)), None)
        }
        Said::Text(text) => (None, None, Some(text)),
    };
    json!({
        "id": row.id, "input": row.input, "label": chosen.map(|label| &label.class), "probability": probability,
        "probabilities": probabilities, "log_probabilities": scores, "said": said,
        "prompt": {
            "name": prompt.name, "version": prompt.version, "tokens": verdict.fitted.tokens,
            "demos": verdict.demos, "dropped": Dropped::in_words(&verdict.fitted.dropped),
        },
        "ms": (ms * 10.0).round() / 10.0,
    })
}

impl Tally {
    pub fn count(&mut self, labels: &[Label], row: &Example, chosen: Option<&Label>, dropped: &[Dropped]) {
        self.failed += usize::from(chosen.is_none());
        self.dropped += dropped.len();
        if row.answers.is_empty() {
            return;
        }
        let is =
            |label: &Label| row.answers.iter().any(|answer| *answer == label.class || *answer == label.word);
        self.strange += usize::from(!labels.iter().any(is));
        self.right.push(f64::from(u8::from(chosen.is_some_and(is))));
    }

    /// Says what there is to say when all are classified.
    pub fn remark(&self, printer: &Printer) {
        if !self.right.is_empty() {
            let Estimate { mean, low, high } = Bootstrap::default().mean(&self.right);
            let [mean, low, high] = [mean, low, high].map(|share| 100.0 * share);
            let rows = self.right.len();
            printer
                .note(format!("accuracy {mean:.1} % ({low:.1} - {high:.1}) on {rows} rows of a known class"));
        }
        if self.strange > 0 {
            printer.note(format!(
                "{} of them are of a class that is no label, and count as wrong",
                self.strange
            ));
        }
        if self.dropped > 0 {
            printer.note(format!("{} demonstrations did not fit the window", self.dropped));
        }
        if self.failed > 0 {
            let texts = if self.failed == 1 { "text has" } else { "texts have" };
            printer.note(format!("{} {texts} no label", self.failed));
        }
    }
}
