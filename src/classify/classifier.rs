//! A text, its demonstrations and a template -> how probable each label is.
//!
//! What prompts share is read once: all of it for demonstrations that are the same for every text, and the demonstrations
//! of one text for its own prompts. What a text gets depends on that text alone, never on those before it.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};

use serde_json::{Map, Value};

use super::decide::{Rule, probabilities};
use super::label::{self, Label};
use crate::error::Result;
use crate::generate::labels::{CONTENT_FREE, Calibration};
use crate::generate::{Generator, Head, Sampling, Scored};
use crate::prompt::budget::{Contents, Fitted, Window, fit};
use crate::prompt::{Demo, Layout, Order, Prompt, Template, shots, standing};
use crate::retrieve::demos::Demonstrations;

/// Prompts without content whose scores are kept: there are three, unless texts have demonstrations of their own.
const KEPT: usize = 16;

/// Everything that a text is classified with.
pub struct Classifier<'a> {
    generator: &'a Generator,
    template: &'a Template,
    labels: &'a [Label],
    demonstrations: &'a Demonstrations,
    rule: Rule,
    head: Head,
    known: Mutex<HashMap<String, Vec<Scored>>>,
}

/// What a model says about a text.
#[derive(Debug, Clone)]
pub struct Verdict {
    pub fitted: Fitted,
    /// Ids of the demonstrations, in the order in which they stand.
    pub demos: Vec<String>,
    pub said: Said,
}

#[derive(Debug, Clone)]
pub enum Said {
    /// One each of the labels: what it scores, and how probable it is, calibrated but for a batch's own prior.
    Scores { scored: Vec<Scored>, probabilities: Vec<f64> },
    /// What a model wrote that does not tell scores.
    Text(String),
}

impl<'a> Classifier<'a> {
    /// `values` are what the first text gives the template, to find out what its prompts will share.
    ///
    /// # Errors
    /// What is wrong with the labels, or with the template for them.
    pub fn new(
        generator: &'a Generator,
        template: &'a Template,
        labels: &'a [Label],
        demonstrations: &'a Demonstrations,
        rule: Rule,
        values: &Map<String, Value>,
    ) -> Result<Self> {
        label::check(labels)?;
        let head = Head::none();
        let known = Mutex::default();
        let mut classifier = Self { generator, template, labels, demonstrations, rule, head, known };
        if !demonstrations.select().is_by_nearness() {
            let (demos, order) = classifier.shots("", &[])?;
            // Prompts that are too long say so themselves.
            let laid = |input: &&str| classifier.lay_out(values, input, &demos, order).ok();
            let layouts: Vec<Layout> =
                CONTENT_FREE.iter().filter_map(laid).map(|fitted| fitted.prompt.layout).collect();
            classifier.head = generator.head(&layouts)?;
        }
        Ok(classifier)
    }

    /// What the model says about `input`. `values` are what it gives the template besides, `vector` is its own, for
    /// demonstrations by nearness.
    ///
    /// # Errors
    /// `TooLong` when it does not fit the window; whatever the model fails with.
    pub fn classify(&self, input: &str, values: &Map<String, Value>, vector: &[f32]) -> Result<Verdict> {
        let (demos, order) = self.shots(input, vector)?;
        let fitted = self.lay_out(values, input, &demos, order)?;
        let said = match self.scores() {
            true => self.score(&fitted, values, &demos, order)?,
            false => self.write(&fitted.prompt)?,
        };
        let ids = standing(&demos[..fitted.demos], order).into_iter().map(|demo| demo.id.clone()).collect();
        Ok(Verdict { fitted, demos: ids, said })
    }

    /// Whether the model tells scores; else it writes, and the label that it names first counts.
    pub fn scores(&self) -> bool {
        !matches!(self.generator, Generator::Http(_))
    }

    fn shots(&self, input: &str, vector: &[f32]) -> Result<(Vec<Demo>, Order)> {
        let (demos, order) = shots(self.demonstrations, self.template, input, vector)?;
        Ok((label::worded(self.labels, demos), order))
    }

    fn lay_out(
        &self,
        values: &Map<String, Value>,
        input: &str,
        demos: &[Demo],
        order: Order,
    ) -> Result<Fitted> {
        let mut values = values.clone();
        values.insert("labels".to_owned(), label::words(self.labels).into());
        for name in ["input", "question", "text"] {
            values.insert(name.to_owned(), input.into());
        }
        let completion = match self.scores() {
            true => label::room(self.labels, self.generator)?,
            false => self.template.front().params.max_tokens,
        };
        let window = Window { size: self.generator.context(), completion };
        let count = |prompt: &Prompt| self.generator.count(&prompt.layout);
        fit(self.template, &Contents { demos, order, ..Contents::of(&values) }, window, &count)
    }

    fn score(
        &self,
        fitted: &Fitted,
        values: &Map<String, Value>,
        demos: &[Demo],
        order: Order,
    ) -> Result<Said> {
        let layout = &fitted.prompt.layout;
        let words = label::words(self.labels);
        let mut free = HashMap::new();
        let mut own = None;
        if self.rule.calibration == Calibration::Contextual {
            for input in CONTENT_FREE {
                let laid = self.lay_out(values, input, demos, order)?;
                free.insert(input, laid.prompt.layout);
            }
            if self.demonstrations.select().is_by_nearness() {
                own = Some(self.generator.head(free.values().chain([layout]))?);
            }
        }
        let head = own.as_ref().unwrap_or(&self.head);
        let scored = self.generator.score_from(head, layout, &words)?;
        let alone = || {
            // Labels are cut into tokens by what the prompt ends in.
            let ending: String = self.generator.render(layout)?.chars().rev().take(8).collect();
            self.once(format!("alone {ending}"), &|| self.generator.unconditional(layout, &words))
        };
        let behind = |input: &str| {
            let layout = &free[input];
            let key = self.generator.render(layout)?;
            self.once(key, &|| self.generator.score_from(head, layout, &words))
        };
        let probabilities = probabilities(self.rule, &scored, &alone, &behind)?;
        Ok(Said::Scores { scored, probabilities })
    }

    /// What is the same for many texts is asked for once.
    fn once(&self, key: String, ask: &dyn Fn() -> Result<Vec<Scored>>) -> Result<Vec<Scored>> {
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(scored) = known().get(&key) {
            return Ok(scored.clone());
        }
        let scored = ask()?;
        let mut known = known();
        if known.len() < KEPT {
            known.insert(key, scored.clone());
        }
        Ok(scored)
    }

    fn write(&self, prompt: &Prompt) -> Result<Said> {
        let sampling = Sampling {
            max_tokens: prompt.params.max_tokens,
            temperature: f64::from(prompt.params.temperature),
            stop: prompt.params.stop.clone(),
            ..Sampling::default()
        };
        let written =
            self.generator.generate(&prompt.layout, &sampling, &mut |_| ControlFlow::Continue(()))?;
        Ok(Said::Text(written.text.trim().to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::generate::Scripted;
    use crate::prompt::Library;
    use crate::retrieve::demos::Select;
    use crate::text::example::{Columns, Example};

    #[test]
    fn a_prompt_shows_demonstrations_in_the_words_of_the_labels_and_every_label_is_scored() {
        let generator = Generator::Scripted(Scripted::function(|_| "negative".to_owned()));
        let template = Library::default().load("classify/plain").unwrap();
        let labels = [Label::new("P", "positive"), Label::new("N", "negative")];
        let row = |text: &str, label: &str| {
            Example::of(json!({"text": text, "label": label}), 1, &Columns::default()).unwrap()
        };
        let pool = vec![row("lovely", "P"), row("dull", "N")];
        let demonstrations = Demonstrations::new(pool, Vec::new(), Select::First, 2, 0);
        let classifier =
            Classifier::new(&generator, &template, &labels, &demonstrations, Rule::default(), &Map::new());
        let verdict = classifier.unwrap().classify("fine", &Map::new(), &[]).unwrap();
        let text = verdict.fitted.prompt.text();
        assert!(
            text.ends_with(
                "Text: lovely\nLabel: positive\n\nText: dull\nLabel: negative\n\nText: fine\nLabel:"
            ),
            "{text}"
        );
        let Said::Scores { scored, probabilities } = verdict.said else { panic!("{:?}", verdict.said) };
        assert_eq!((scored.len(), verdict.demos.len()), (2, 2));
        assert!(probabilities[1] > 0.99, "{probabilities:?}");
    }
}
