//! Other wordings of a slot, asked of a model.

use std::ops::ControlFlow;

use serde_json::json;

use super::spec::Propose;
use crate::error::{Error, Result};
use crate::generate::{Generator, Sampling};
use crate::prompt::Template;
use crate::text::example::Example;

/// Examples that the model is shown.
const SHOWN: usize = 4;

/// A wording is longer than no instruction and shorter than an essay, in characters.
const LENGTHS: std::ops::RangeInclusive<usize> = 3..=600;

/// What a model proposes instead of `text`, which the slot says now; `template` asks it. Placeholders such as `{labels}` that
/// `text` has are kept: a proposal without one of them is dropped.
///
/// # Errors
/// `Invalid` when nothing that it says can be used; whatever generating fails with.
pub fn propose(
    propose: &Propose,
    generator: &Generator,
    template: &Template,
    text: &str,
    examples: &[Example],
) -> Result<Vec<String>> {
    let shown: Vec<_> = examples.iter().filter(|example| example.output().is_some()).take(SHOWN).collect();
    let values = json!({
        "text": text,
        "count": propose.count,
        "demos": shown.iter().map(|example| example.shown()).collect::<Vec<_>>(),
    });
    let prompt = template.render(&values)?;
    let params = &prompt.params;
    let sampling = Sampling {
        max_tokens: params.max_tokens,
        temperature: f64::from(params.temperature),
        stop: params.stop.clone(),
        ..Sampling::default()
    };
    let reply = generator.generate(&prompt.layout, &sampling, &mut |_| ControlFlow::Continue(()))?.text;
    let found = wordings(&reply, text, propose.count);
    if found.is_empty() {
        return Err(Error::invalid(format!("`{}` proposed nothing that could be used", generator.name()))
            .hint("name another model under `propose`, or write wordings yourself under `texts`"));
    }
    Ok(found)
}

/// The lines of a reply that may take the place of `text`, without the numbers and quotation marks around them.
fn wordings(reply: &str, text: &str, most: usize) -> Vec<String> {
    let placeholders = placeholders(text);
    let mut found: Vec<String> = Vec::new();
    for line in reply.lines() {
        let line =
            line.trim().trim_start_matches(|c: char| c.is_ascii_digit() || "-*.)• ".contains(c)).trim();
        let line = line.trim_matches(['"', '\'', '`', '“', '”']).trim();
        let keeps = placeholders.iter().all(|placeholder| line.contains(placeholder));
        let known = line == text || found.iter().any(|one| one == line);
        if keeps && !known && LENGTHS.contains(&line.chars().count()) {
            found.push(line.to_owned());
        }
    }
    found.truncate(most);
    found
}

/// Names in braces.
fn placeholders(text: &str) -> Vec<String> {
    let parts = text.split('{').skip(1).filter_map(|part| part.split_once('}'));
    parts.map(|(name, _)| format!("{{{name}}}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_wordings_and_those_that_lost_a_placeholder_are_dropped() {
        let reply = "Here are some:\n1. \"Pick one of {labels}.\"\n2) Choose from {labels}!\n- Say it.\n3. Pick one of {labels}.\n\n4. One of {labels}?";
        assert_eq!(
            wordings(reply, "Choose: {labels}", 9),
            ["Pick one of {labels}.", "Choose from {labels}!", "One of {labels}?"]
        );
        assert_eq!(wordings(reply, "Choose: {labels}", 1).len(), 1);
        assert_eq!(wordings("Sure.\nTranslate this:", "Translate:", 5), ["Sure.", "Translate this:"]);
    }
}
