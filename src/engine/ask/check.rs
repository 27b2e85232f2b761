//! A text that was written from passages, held against them: by the answers that a person sees, and by rewards.

use super::answer::header;
use super::to_the_point::beside_the_point;
use crate::retrieve::Hit;
use crate::text::ground::{Evidence, Grounding, ground};

/// What comes of holding a text against its passages.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked {
    pub grounding: Grounding,
    /// Why it is not accepted, in words for a person; `None` where it is.
    pub objection: Option<String>,
}

/// Holds `text`, an answer to `question`, against the passages that it was written from, best first.
pub fn check(text: &str, question: &str, shown: &[Hit]) -> Checked {
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
    let objection = match grounding.is_grounded() {
        false => Some(objection(text, &grounding)),
        true => {
            beside_the_point(question, text, &grounding, &sources(&grounding, &evidence)).map(str::to_owned)
        }
    };
    Checked { grounding, objection }
}

/// Whether the text is `refusal`, what the prompt told the model to say when there is no answer.
pub fn refuses(refusal: Option<&str>, text: &str) -> bool {
    let plain = |text: &str| text.trim_end_matches('.').trim().to_lowercase();
    refusal.is_some_and(|refusal| plain(text).starts_with(&plain(refusal)))
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
