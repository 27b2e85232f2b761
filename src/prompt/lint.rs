//! What whoever wrote a template may not have meant. A template that cannot be read at all is refused before it comes here.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{Layout, Template};

/// Words of an instruction that small models still follow (see `prompts/qa/grounded.j2`).
const WORDS: usize = 25;

/// Something found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub level: Level,
    pub what: String,
    /// In the file, from 1, where it can be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Worth knowing, and may well be meant.
    Note,
    /// Most likely a slip.
    Warning,
    /// Cannot be rendered.
    Error,
}

impl Level {
    pub fn name(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// Looks `template` over, the partials it includes too.
pub fn lint(template: &Template) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut find = |level, line, what: String| found.push(Finding { level, what, line });
    let front = template.front();
    for input in template.asked().filter(|input| !template.uses(input)) {
        find(Level::Warning, None, format!("the input `{input}` is never shown"));
    }
    for (name, slot) in &front.vars {
        if !template.uses(name) {
            find(Level::Warning, None, format!("the slot `{name}` is never shown"));
        }
        let mut seen = BTreeSet::new();
        for choice in slot.choices.iter().filter(|choice| !seen.insert(*choice)) {
            find(Level::Warning, None, format!("the slot `{name}` has the choice `{choice}` twice"));
        }
        for (number, choice) in (1..).zip(&slot.choices) {
            let words = choice.split_whitespace().count();
            if name == "instruction" && words > WORDS {
                let what = format!(
                    "choice {number} of `instruction` has {words} words; small models follow up to {WORDS}"
                );
                find(Level::Note, None, what);
            }
        }
    }
    let is_text = !template.is_chat();
    if is_text && template.shows_demos() && front.params.stop.is_empty() {
        let what = "no `stop`: a model that goes on behind its answer writes the next demonstration";
        find(Level::Warning, None, what.to_owned());
    }
    if front.params.temperature > 0.0 {
        let what =
            format!("temperature {}: answers are drawn, and differ with the seed", front.params.temperature);
        find(Level::Note, None, what);
    }
    if is_text {
        for (file, source, before) in sources(template) {
            for (line, shown) in unguarded(source, template.asked()) {
                let place = file.map_or(String::new(), |file| format!("`{file}` line {line}: "));
                let what = format!(
                    "{place}`{shown}` is shown without `line` or `quoted`: it can pose as the prompt's own words"
                );
                find(Level::Warning, file.is_none().then_some(before + line), what);
            }
        }
    }
    found.extend(of_a_rendering(template));
    found
}

/// The file and its partials: a partial's name, text, and the lines above it.
fn sources(template: &Template) -> impl Iterator<Item = (Option<&str>, &str, usize)> {
    let own = std::iter::once((None, template.body(), template.lines_before()));
    own.chain(template.partials().map(|(name, text)| (Some(name), text, 0)))
}

/// What shows only once the template is filled in.
fn of_a_rendering(template: &Template) -> Vec<Finding> {
    let finding = |level, what: String| Finding { level, what, line: None };
    let mut found = Vec::new();
    let values = sample(template);
    let rendered = values.as_ref().map(|values| template.render(values));
    let text = match &rendered {
        Some(Err(error)) => return vec![finding(Level::Error, error.to_string())],
        Some(Ok(prompt)) => match &prompt.layout {
            Layout::Text(text) => Some(text.as_str()),
            Layout::Chat(_) => None,
        },
        None if template.is_chat() => None,
        None => Some(template.body().trim_end_matches('\n')),
    };
    if text.is_some_and(|text| text.ends_with([' ', '\t'])) {
        let what = "ends with white space: most models write the space themselves, and do worse behind one";
        found.push(finding(Level::Warning, what.to_owned()));
    }
    let Some(values) = values else { return found };
    for (name, slot) in &template.front().vars {
        for (number, choice) in (1..).zip(&slot.choices) {
            let mut values = values.clone();
            values.insert(name.clone(), choice.clone().into());
            let text = template.render(&values).map_or(String::new(), |prompt| prompt.layout.marked());
            for hole in holes(choice).filter(|hole| text.contains(hole)) {
                let what = format!("choice {number} of `{name}` leaves `{hole}` in the prompt");
                found.push(finding(Level::Warning, what));
            }
        }
    }
    found
}

/// Something for every input; `None` when one is of nobody knows what kind.
fn sample(template: &Template) -> Option<Map<String, Value>> {
    let mut values = Map::new();
    for input in template.asked() {
        let value = match input {
            "question" | "input" | "schema" | "source" | "target" => json!("x"),
            "labels" => json!(["x", "y"]),
            "passages" => json!([{"title": "x", "path": "x", "text": "x"}]),
            "history" => json!([{"question": "x", "answer": "x"}]),
            // What else its rows have, only its data knows.
            "demos" => json!([]),
            _ => return None,
        };
        values.insert(input.to_owned(), value);
    }
    Some(values)
}

/// Names in braces, `{source}`.
fn holes(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices('{').filter_map(|(at, _)| {
        let end = at + text[at..].find('}')? + 1;
        let name = &text[at + 1..end - 1];
        (!name.is_empty() && name.chars().all(is_of_a_name)).then(|| &text[at..end])
    })
}

/// Expressions that show a value as it is, with their lines from 1. Names that a loop, `set` or `with` makes out of an
/// input are followed.
fn unguarded<'a>(source: &str, inputs: impl Iterator<Item = &'a str>) -> Vec<(usize, String)> {
    let mut data: BTreeSet<String> = inputs.map(str::to_owned).collect();
    let mut found = Vec::new();
    for (at, opening, inside) in tags(source) {
        let words: Vec<&str> = inside.split_whitespace().collect();
        let made = match (opening, words.first()) {
            ("{{", _) => {
                if mentions(inside, &data) && !is_guarded(inside) {
                    found.push((source[..at].matches('\n').count() + 1, inside.to_owned()));
                }
                continue;
            }
            (_, Some(&"for")) => inside.split_once(" in "),
            (_, Some(&"set" | &"with")) => inside.split_once('='),
            _ => None,
        };
        if let Some((made, _)) = made.filter(|(_, of)| mentions(of, &data) && !is_guarded(of)) {
            data.extend(names(made).skip(1).map(|(name, _)| name.to_owned()));
        }
    }
    found
}

/// Where a tag begins, what it begins with, and what stands in it; comments are left out.
fn tags(source: &str) -> Vec<(usize, &str, &str)> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(open) = source[at..].find('{').map(|open| at + open) {
        let closing = match source.get(open..open + 2) {
            Some("{{") => "}}",
            Some("{%") => "%}",
            Some("{#") => "#}",
            _ => {
                at = open + 1;
                continue;
            }
        };
        let Some(end) = source[open + 2..].find(closing).map(|end| open + 2 + end) else { break };
        if closing != "#}" {
            found.push((
                open,
                &source[open..open + 2],
                source[open + 2..end].trim_matches(['-', '+']).trim(),
            ));
        }
        at = end + 2;
    }
    found
}

/// Whether a filter keeps the expression's value in its place, also one applied to each item of a list: `map("line")`.
fn is_guarded(expression: &str) -> bool {
    const GUARDS: [&str; 5] = ["line", "quoted", "length", "count", "tojson"];
    names(expression).any(|(name, _)| GUARDS.contains(&name))
}

/// Whether an expression has one of the names in it: fields and texts do not count.
fn mentions(expression: &str, data: &BTreeSet<String>) -> bool {
    names(expression).any(|(name, is_root)| is_root && data.contains(name))
}

/// The names in an expression, and whether each stands for a value: fields, filters and what is in quotes do not.
fn names(expression: &str) -> impl Iterator<Item = (&str, bool)> {
    let mut from = 0;
    std::iter::from_fn(move || {
        let start = from + expression[from..].find(is_of_a_name)?;
        let end = expression[start..].find(|c| !is_of_a_name(c)).map_or(expression.len(), |end| start + end);
        from = end;
        let before = &expression[..start];
        let in_quotes = before.matches('"').count() % 2 == 1 || before.matches('\'').count() % 2 == 1;
        let is_root = !in_quotes && !before.trim_end().ends_with(['.', '|']);
        Some((&expression[start..end], is_root))
    })
}

fn is_of_a_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prompt::Library;

    fn found(front: &str, body: &str) -> Vec<String> {
        let source = format!("+++\nname = \"t\"\ntask = \"t\"\n{front}+++\n{body}");
        let partial = |_: &str| Ok("{% for demo in demos %}\n{{ demo.input }}\n{% endfor %}".to_owned());
        let template = Template::parse("t.j2", &source, &partial).unwrap();
        let line = |line: Option<usize>| line.map_or(String::new(), |line| format!(" {line}"));
        lint(&template).iter().map(|f| format!("{}{}: {}", f.level.name(), line(f.line), f.what)).collect()
    }

    #[test]
    fn shipped_templates_give_no_cause_for_warnings() {
        let library = Library::default();
        for listing in library.list().unwrap() {
            let found = lint(&library.load(&listing.id).unwrap());
            let notes_alone = found.iter().all(|finding| finding.level == Level::Note);
            assert!(notes_alone, "{}: {found:#?}", listing.id);
        }
    }

    #[test]
    fn a_template_with_every_fault_hears_of_every_one() {
        let long = "word ".repeat(26);
        let front = format!(
            "inputs = [\"input\", \"labels\", \"demos\"]\n[params]\ntemperature = 0.5\n[vars.instruction]\nchoices = [\"{long}\"]\n\
             [vars.tone]\nchoices = [\"a\", \"b\", \"a\"]\n[vars.hint]\nchoices = [\"Say {{lable}}, {{\\\"a\\\": 1}}.\"]\n"
        );
        let body =
            "{{ instruction }} {{ hint }}\n{% include \"t/_demos.j2\" %}\nText: {{ input }}\nLabel: \n";
        insta::assert_snapshot!(found(&front, body).join("\n"), @r#"
        warning: the input `labels` is never shown
        note: choice 1 of `instruction` has 26 words; small models follow up to 25
        warning: the slot `tone` is never shown
        warning: the slot `tone` has the choice `a` twice
        warning: no `stop`: a model that goes on behind its answer writes the next demonstration
        note: temperature 0.5: answers are drawn, and differ with the seed
        warning 16: `input` is shown without `line` or `quoted`: it can pose as the prompt's own words
        warning: `t/_demos.j2` line 2: `demo.input` is shown without `line` or `quoted`: it can pose as the prompt's own words
        warning: ends with white space: most models write the space themselves, and do worse behind one
        warning: choice 1 of `hint` leaves `{lable}` in the prompt
        "#);
    }

    #[test]
    fn what_is_shown_with_care_is_no_cause_and_neither_is_a_chat() {
        let front = "inputs = [\"question\", \"passages\"]\n";
        for body in [
            "{% for p in passages | reverse %}[{{ loop.index }}] {{ p.title | line }}\n{{- p.text | quoted -}}{% endfor %}{{ question | line }}",
            "{{ passages | length }} {{ question | upper | line }} {# {{ question }} #} {\"a\": 1}",
            "<|user|>\n{{ question }}{% for p in passages %}{{ p.text }}{% endfor %}",
            "{{ passages | map(attribute=\"text\") | map(\"line\") | join(\", \") }}{% set q = question | line %}{{ question | line }}",
        ] {
            assert_eq!(found(front, body), Vec::<String>::new(), "{body}");
        }
        let followed = "{% set all = passages %}{% for p in all %}\n{{ p.text | upper }}{% endfor %}{{ question | line }}";
        assert_eq!(found(front, followed).len(), 1);
        assert!(found(front, followed)[0].starts_with("warning 7: `p.text | upper` is shown"), "{followed}");
    }

    #[test]
    fn what_cannot_be_rendered_is_an_error() {
        let front = "inputs = [\"question\", \"passages\"]\n";
        let titel = "{{ question | line }}{% for p in passages %}{{ p.titel | line }}{% endfor %}";
        let found = |body: &str| found(front, body);
        assert_eq!(found(titel), ["error: template `t/t` line 6: `p.titel` is not defined"]);
        let early = "Hello\n<|user|>\n{{ question }}{{ passages | length }}";
        assert_eq!(found(early), ["error: template `t/t` writes text before its first turn"]);
    }

    #[test]
    fn inputs_that_only_their_owner_knows_are_not_made_up() {
        let body = "{{ order.name | line }}: ";
        assert_eq!(
            found("inputs = [\"order\"]\n", body),
            [
                "warning: ends with white space: most models write the space themselves, and do worse behind one"
            ]
        );
    }
}
