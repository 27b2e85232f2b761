//! An answer written by a model, held against its passages before anyone is asked to believe it.

use std::ops::ControlFlow;

use super::answer::header;
use super::to_the_point::beside_the_point;
use super::{Answer, Answering, Ask, Generation, Progress, PromptName, Tokens};
use crate::error::Result;
use crate::generate::{OnText, Sampling};
use crate::prompt::budget::{Contents, Fitted, Window, fit};
use crate::prompt::{Prompt, Shown, Template};
use crate::retrieve::Hit;
use crate::text::ground::{Evidence, Grounding, ground};

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
        if refuses(template, text) {
            answer.fallback = Some("the model found no answer in the passages".to_owned());
            // A model that is merely prompted says so too often to be believed.
            let taught = generator.adapter().is_some();
            return Ok(if taught { Written::Declined } else { Written::Nothing });
        }
        let shown = &passages[..fitted.shown];
        let headers: Vec<String> = shown.iter().map(|hit| header(&hit.passage)).collect();
        let evidence: Vec<Evidence> = shown
            .iter()
            .zip(&headers)
            .map(|(hit, header)| Evidence {
                text: &hit.passage.chunk.text,
                header,
                format: hit.passage.format,
                document: &hit.passage.path,
            })
            .collect();
        let grounding = ground(text, question, &evidence);
        if !grounding.is_grounded() {
            answer.fallback = Some(objection(text, &grounding));
            return Ok(Written::Nothing);
        }
        if let Some(objection) = beside_the_point(question, text, &grounding, &sources(&grounding, &evidence))
        {
            answer.fallback = Some(objection.to_owned());
            return Ok(Written::Nothing);
        }
        answer.mode = Answering::Generate;
        Ok(Written::Text(self.cite_claims(text, &grounding, shown, answer)))
    }

    /// The prompt with as many passages, and as much of the conversation, as the window holds.
    fn prompt(&self, generation: &Generation, question: &str, passages: &[Hit]) -> Result<Fitted> {
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

/// Whether the text is what the template told the model to say when there is no answer.
fn refuses(template: &Template, text: &str) -> bool {
    let plain = |text: &str| text.trim_end_matches('.').trim().to_lowercase();
    template.var("refusal").is_some_and(|refusal| plain(text).starts_with(&plain(refusal)))
}

/// The sentences that the claims rest on, and the headings over them.
fn sources<'a>(grounding: &Grounding, evidence: &[Evidence<'a>]) -> Vec<&'a str> {
    let cited = grounding.claims.iter().filter_map(|claim| Some((claim, evidence.get(claim.passage?)?)));
    let texts = cited.flat_map(|(claim, evidence)| {
        let quotes = claim.quotes.iter().map(|quote| &evidence.text[quote.clone()]);
        quotes.chain([evidence.header])
    });
    texts.collect()
}

/// Why a generated text is not accepted, in words for the person.
fn objection(text: &str, grounding: &Grounding) -> String {
    let Some(claim) = grounding.claims.iter().find(|claim| !claim.supported) else {
        return "the model wrote nothing that could be checked".to_owned();
    };
    let said = text[claim.range.clone()].split_whitespace().take(12).collect::<Vec<_>>().join(" ");
    match &claim.missing[..] {
        _ if claim.contradicted => format!("the model's \"{said}\" contradicts its source"),
        [] => format!("no passage supports the model's \"{said}\""),
        missing => format!("no passage supports the model's \"{said}\" (not there: {})", missing.join(", ")),
    }
}
