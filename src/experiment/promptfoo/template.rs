//! A nunjucks template of plain variables: read, filled in, and written as a body of ours.

use std::collections::BTreeMap;

use crate::error::{Error, Result};

/// A part of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    Text(String),
    Var(String),
}

/// Words that nunjucks reads as something else than a variable.
const WORDS: [&str; 11] = ["true", "false", "none", "null", "and", "or", "not", "in", "is", "if", "else"];

/// The pieces of a template. Comments are none.
///
/// # Errors
/// `Invalid` for anything but `{{ name }}`: filters, fields, blocks.
pub(super) fn read(text: &str) -> Result<Vec<Piece>> {
    let (mut pieces, mut rest, mut strip) = (Vec::new(), text, false);
    while let Some(open) = rest
        .char_indices()
        .find_map(|(at, _)| ["{{", "{%", "{#"].iter().any(|mark| rest[at..].starts_with(mark)).then_some(at))
    {
        let (before, tag) = rest.split_at(open);
        let close = if tag.starts_with("{#") { "#}" } else { "}}" };
        let wrong = || {
            let start: String = tag.lines().next().unwrap_or_default().chars().take(40).collect();
            Error::invalid(format!("only `{{{{ name }}}}` is understood in a template, not `{start}`"))
                .hint("write the value as a var of its own, or edit the imported template")
        };
        let end = tag.find(close).filter(|_| !tag.starts_with("{%")).ok_or_else(wrong)?;
        let inside = &tag[2..end];
        let trims = inside.starts_with('-');
        let before = if strip { before.trim_start() } else { before };
        push(&mut pieces, if trims { before.trim_end() } else { before });
        strip = inside.len() > 1 && inside.ends_with('-');
        let name = inside.trim_start_matches('-').trim_end_matches('-').trim();
        if close == "}}" {
            if !is_name(name) {
                return Err(wrong());
            }
            pieces.push(Piece::Var(name.to_owned()));
        }
        rest = &tag[end + 2..];
    }
    push(&mut pieces, if strip { rest.trim_start() } else { rest });
    Ok(pieces)
}

fn push(pieces: &mut Vec<Piece>, text: &str) {
    match pieces.last_mut() {
        _ if text.is_empty() => {}
        Some(Piece::Text(before)) => before.push_str(text),
        _ => pieces.push(Piece::Text(text.to_owned())),
    }
}

pub(super) fn is_name(name: &str) -> bool {
    !WORDS.contains(&name)
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// The text with `vars` in their places; one that is not there is empty, as in nunjucks.
pub(super) fn fill(pieces: &[Piece], vars: &BTreeMap<String, String>) -> String {
    let text = |piece: &Piece| match piece {
        Piece::Text(text) => text.clone(),
        Piece::Var(name) => vars.get(name).cloned().unwrap_or_default(),
    };
    pieces.iter().map(text).collect()
}

/// As a body of our templates has it, with variables under other names.
pub(super) fn body(pieces: &[Piece], column: &dyn Fn(&str) -> String) -> String {
    let text = |piece: &Piece| match piece {
        Piece::Var(name) => format!("{{{{ {} }}}}", column(name)),
        // A line of the prompt's own must not open a turn, and a brace before a variable must not open a tag.
        Piece::Text(text) => {
            let quoted = |text: String, role: &str| text.replace(role, &format!("{{{{ \"{role}\" }}}}"));
            let text = ["<|system|>", "<|user|>", "<|assistant|>"].into_iter().fold(text.clone(), quoted);
            match text.strip_suffix('{') {
                Some(before) => format!("{before}{{{{ \"{{\" }}}}"),
                None => text,
            }
        }
    };
    pieces.iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_found_and_everything_else_is_refused_or_text() {
        let text = "A {{ x }}{{y}} } {# no #}{\"a\": {{-x -}} }\n";
        let vars = BTreeMap::from([("x".to_owned(), "1".to_owned()), ("y".to_owned(), "<2>".to_owned())]);
        assert_eq!(fill(&read(text).unwrap(), &vars), "A 1<2> } {\"a\":1}\n");
        for wrong in
            ["{{ x | upper }}", "{{ x.y }}", "{% if x %}", "{{ x", "{{ not }}", "{{ {x} }}", "{{{x}}}"]
        {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        assert_eq!(fill(&read("{{ gone }}!").unwrap(), &vars), "!");
    }
}
