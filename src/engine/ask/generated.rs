//! An answer written by a model, held against its passages before anyone is asked to believe it.

use std::ops::ControlFlow;

use super::check::{Checked, check, refuses};
use super::{Answer, Answering, Ask, Generation, Progress, PromptName, Tokens};
use crate::error::Result;
use crate::generate::{OnText, Sampling};
use crate::prompt::budget::{Contents, Fitted, Window, fit};
use crate::prompt::{Prompt, Shown};
use crate::retrieve::Hit;
use crate::text::ground::Grounding;

/// What came of asking the model.
pub(super) enum Written {
    /// Every sentence of it has its source.
    Text(String),
    /// Nothing that can be used; the answer says why.
    Nothing,
    /// A model that was taught when to decline does so.
    Declined,
}

impl Ask<'_> {
    /// What the model writes.
    pub(super) fn generate(
        &self,
        generation: &Generation,
        question: &str,
        passages: &[Hit],
        answer: &mut Answer,
        on_progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Written> {
        let Generation { generator, template, .. } = generation;
        let fitted = self.prompt(generation, question, passages)?;
        let Prompt { name, version, params, .. } = &fitted.prompt;
        answer.model = Some(generator.name().to_owned());
        answer.adapter = generator.adapter().map(str::to_owned);
        answer.prompt = Some(PromptName { name: name.clone(), version: version.clone() });
        let layout = &fitted.prompt.layout;
        let text = generator.render(layout)?;
        if on_progress(Progress::Prompt { text: &text, dropped: &fitted.dropped }).is_break() {
            return Ok(Written::Nothing);
        }
        let sampling = Sampling {
            max_tokens: params.max_tokens,
            temperature: f64::from(params.temperature),
            stop: params.stop.clone(),
            ..Sampling::default()
        };
        let on_text: OnText = &mut |text| on_progress(Progress::Text(text));
        let completion = generator.generate(layout, &sampling, on_text)?;
        answer.tokens = Tokens { prompt: completion.prompt_tokens, completion: completion.completion_tokens };

        let text = completion.text.trim();
        if refuses(template.var("refusal"), text) {
            answer.fallback = Some("the model found no answer in the passages".to_owned());
            // A model that is merely prompted says so too often to be believed.
            let taught = generator.adapter().is_some();
            return Ok(if taught { Written::Declined } else { Written::Nothing });
        }
        let shown = &passages[..fitted.shown];
        let Checked { grounding, objection } = check(text, question, shown);
        if objection.is_some() {
            answer.fallback = objection;
            return Ok(Written::Nothing);
        }
        answer.mode = Answering::Generate;
        Ok(Written::Text(self.cite_claims(text, &grounding, shown, answer)))
    }

    /// The prompt with as many passages, and as much of the conversation, as the window holds.
    ///
    /// # Errors
    /// `TooLong` when not even one passage fits.
    pub fn prompt(&self, generation: &Generation, question: &str, passages: &[Hit]) -> Result<Fitted> {
        let Generation { generator, template, history, demos, order } = *generation;
        let shown: Vec<Shown> = passages.iter().map(|hit| Shown::from(&hit.passage)).collect();
        let mut values = serde_json::Map::new();
        values.insert("question".to_owned(), question.into());
        let window = Window { size: generator.context(), completion: template.front().params.max_tokens };
        let count = |prompt: &Prompt| generator.count(&prompt.layout);
        let contents = Contents { values: &values, passages: &shown, demos, order, history };
        fit(template, &contents, window, &count)
    }

    /// The text with `[n]` behind each claim.
    fn cite_claims(&self, text: &str, grounding: &Grounding, shown: &[Hit], answer: &mut Answer) -> String {
        let mut cited = String::new();
        let mut copied = 0;
        for claim in &grounding.claims {
            cited.push_str(&text[copied..claim.range.end]);
            copied = claim.range.end;
            let Some(hit) = claim.passage.and_then(|at| shown.get(at)) else { continue };
            let mut numbers: Vec<usize> = claim
                .quotes
                .iter()
                .map(|quote| answer.cite(&hit.passage, quote.clone(), claim.recall, self.places))
                .collect();
            numbers.dedup();
            for n in numbers {
                cited.push_str(&format!(" [{n}]"));
            }
        }
        cited.push_str(&text[copied..]);
        cited
    }
}
