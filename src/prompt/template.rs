//! One prompt, one file: TOML front matter between `+++` lines, then a minijinja body.
//!
//! ```text
//! +++
//! name = "grounded"
//! task = "qa"
//! inputs = ["question", "passages"]     # what a caller has to give
//! [params]                              # how to generate
//! max_tokens = 64
//! [vars.tone]                           # a slot with choices, which an optimiser may vary; the first is the default
//! choices = ["Be brief.", "Be kind."]
//! +++
//! <|system|>
//! {{ tone }}
//! <|user|>
//! {{ question | line }}
//! ```
//!
//! A line that is only `<|system|>`, `<|user|>` or `<|assistant|>` opens a turn; a file without such lines is plain text to
//! be continued. Turns are found in the *file*: text that a value brings along is never one. Everything is checked when
//! a file is read (unknown keys, names that nobody provides, partials that are not there), so that rendering fails only
//! on what is given to it.

use std::collections::{BTreeMap, BTreeSet};

use minijinja::value::Value;
use minijinja::{Environment, ErrorKind, UndefinedBehavior};
use serde::Serialize;

use super::front::{self, Front};
use super::{Layout, Prompt, guard};
use crate::error::{Error, Result};
use crate::text::tokenizer::Message;

/// Opens and closes a role in a template's source. Values cannot contain it: [`guard::inert`] strips control characters.
const TURN: char = '\u{1}';

/// Steps that a rendering may take: far more than passages have lines, and an end to loops in loops.
const MOST_STEPS: u64 = 1_000_000;

/// A template that has been read and checked.
#[derive(Debug, Clone)]
pub struct Template {
    front: Front,
    id: String,
    version: String,
    /// As the file has it, but for its line ends.
    source: String,
    /// The files it includes, by name.
    partials: BTreeMap<String, String>,
    /// The inputs and slots that the body or a partial mentions.
    used: BTreeSet<String>,
    /// Lines before the body, so that errors count lines as an editor does.
    lines_before: usize,
    is_chat: bool,
    environment: Environment<'static>,
}

impl Template {
    /// Reads a template. `place` is what to call it in errors (a path); `partial` finds what `{% include "..." %}` names.
    ///
    /// # Errors
    /// `Invalid` for anything that could not be rendered later: front matter that is missing or has an unknown key, a
    /// syntax error, a name that is neither input nor variable; `NotFound` for a partial that is not there.
    pub fn parse(place: &str, source: &str, partial: &dyn Fn(&str) -> Result<String>) -> Result<Self> {
        let source = source.replace("\r\n", "\n");
        let (front_text, body) = front::split(place, &source)?;
        let front = front::read(place, front_text)?;
        let id = format!("{}/{}", front.task, front.name);

        let partials = collect_partials(place, body, partial)?;
        let mut hash = blake3::Hasher::new();
        for part in
            [front_text, body].into_iter().chain(partials.iter().flat_map(|(name, text)| [&**name, text]))
        {
            hash.update(&(part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
        let version = hash.finalize().to_hex()[..8].to_owned();

        let mut environment = environment();
        let marked = marked_turns(body);
        let mut is_chat = marked.contains(TURN);
        let lines_before = source[..source.len() - body.len()].matches('\n').count();
        let broken = |name: &str, error: minijinja::Error| {
            let before = if name == id { lines_before } else { 0 };
            let at = error.line().map_or(String::new(), |line| format!(" line {}", line + before));
            let detail = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
            let file = if name == id { place } else { name };
            Error::invalid(format!("template `{file}`{at}: {detail}"))
        };
        for (name, text) in &partials {
            let text = marked_turns(text);
            is_chat |= text.contains(TURN);
            environment.add_template_owned(name.clone(), text).map_err(|error| broken(name, error))?;
        }
        environment.add_template_owned(id.clone(), marked).map_err(|error| broken(&id, error))?;

        let used = BTreeSet::new();
        let mut template =
            Self { front, id, version, source, partials, used, lines_before, is_chat, environment };
        template.used = template.names_used(place)?;
        Ok(template)
    }

    /// `task/name`.
    pub fn id(&self) -> &str {
        &self.id
    }

    pub fn front(&self) -> &Front {
        &self.front
    }

    /// First 8 hex digits of blake3 over front matter, body and every included partial: any edit is another version.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The whole file, front matter included.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The file below its front matter.
    pub fn body(&self) -> &str {
        let start = self.source.split_inclusive('\n').take(self.lines_before).map(str::len).sum();
        &self.source[start..]
    }

    /// Where the body begins: lines of the file above it.
    pub fn lines_before(&self) -> usize {
        self.lines_before
    }

    /// The files it includes, directly or not: by name, and what they say.
    pub fn partials(&self) -> impl Iterator<Item = (&str, &str)> {
        self.partials.iter().map(|(name, text)| (name.as_str(), text.as_str()))
    }

    /// Whether the body or a partial mentions the input or slot `name`.
    pub fn uses(&self, name: &str) -> bool {
        self.used.contains(name)
    }

    /// Whether the file has turns.
    pub fn is_chat(&self) -> bool {
        self.is_chat
    }

    /// Whether the file wants demonstrations, as `demos`.
    pub fn shows_demos(&self) -> bool {
        self.front.fewshot.is_some() || self.front.inputs.iter().any(|input| input == "demos")
    }

    /// The default of a slot: what `refusal` says, for one who wants to recognise it in an answer.
    pub fn var(&self, name: &str) -> Option<&str> {
        self.front.vars.get(name)?.choices.first().map(String::as_str)
    }

    /// The same with other texts in some of its slots: they become the defaults. A text that no slot offers is taken as
    /// well, and makes another version.
    ///
    /// # Errors
    /// `NotFound` for a slot that the file does not have.
    pub fn filled(&self, texts: &BTreeMap<String, String>) -> Result<Self> {
        let mut filled = self.clone();
        let mut hash = blake3::Hasher::new();
        hash.update(self.version.as_bytes());
        for (name, text) in texts {
            let Some(slot) = filled.front.vars.get_mut(name) else {
                let slots = listed(self.front.vars.keys());
                return Err(Error::not_found(format!("template `{}` has no slot `{name}`", self.id))
                    .hint(format!("its slots: {slots}")));
            };
            if slot.choices.first() == Some(text) {
                continue;
            }
            slot.choices.retain(|choice| choice != text);
            slot.choices.insert(0, text.clone());
            hash.update(format!("\0{name}\0{text}").as_bytes());
            filled.version = hash.finalize().to_hex()[..8].to_owned();
        }
        Ok(filled)
    }

    /// Fills in `values`, a map or struct with a field for every input and, where the default is not wanted, for slots.
    /// Whatever the template does not ask for is ignored.
    ///
    /// # Errors
    /// `Invalid` when an input is missing, a slot is given something that is not one of its choices, or the body uses a
    /// field that a value does not have.
    pub fn render(&self, values: &impl Serialize) -> Result<Prompt> {
        let given = Value::from_serialize(values);
        let names: BTreeSet<String> =
            given.try_iter().map(|keys| keys.map(|key| key.to_string()).collect()).unwrap_or_default();
        let mut context = BTreeMap::new();
        for input in self.asked() {
            let value = given.get_item(&Value::from(input)).unwrap_or_default();
            if value.is_undefined() {
                return Err(Error::invalid(format!(
                    "template `{}` needs `{input}`, which is not given",
                    self.id
                ))
                .hint(format!("given: {}", listed(&names))));
            }
            context.insert(input.to_owned(), guard::inert_value(&value));
        }
        for (name, slot) in &self.front.vars {
            let value = given.get_item(&Value::from(name.as_str())).unwrap_or_default();
            let chosen = if value.is_undefined() {
                slot.choices[0].clone()
            } else {
                let wanted = value.to_string();
                slot.choices.iter().find(|choice| **choice == wanted).cloned().ok_or_else(|| {
                    Error::invalid(format!(
                        "`{wanted}` is not a choice of `{name}` in template `{}`",
                        self.id
                    ))
                    .hint(format!("choices: {}", listed(&slot.choices)))
                })?
            };
            context.insert(name.clone(), Value::from(chosen));
        }
        let template = self.environment.get_template(&self.id).map_err(|error| self.failed(&error))?;
        let text = template.render(Value::from_serialize(&context)).map_err(|error| self.failed(&error))?;
        let layout =
            if self.is_chat { Layout::Chat(self.turns(&text)?) } else { Layout::Text(trimmed(&text)) };
        Ok(Prompt {
            name: self.id.clone(),
            version: self.version.clone(),
            layout,
            params: self.front.params.clone(),
        })
    }

    /// Its inputs, `demos` among them if it shows demonstrations.
    pub fn asked(&self) -> impl Iterator<Item = &str> {
        let inputs = &self.front.inputs;
        let demos = self.front.fewshot.as_ref().map(|_| "demos");
        let demos = demos.filter(|demos| !inputs.iter().any(|input| input == demos));
        inputs.iter().map(String::as_str).chain(demos)
    }

    /// The names that the body and its partials use, each of which has to come from somewhere.
    fn names_used(&self, place: &str) -> Result<BTreeSet<String>> {
        let mut known: BTreeSet<String> = self.asked().map(str::to_owned).collect();
        known.extend(self.front.vars.keys().cloned());
        let builtin: BTreeSet<&str> = self.environment.globals().map(|(name, _)| name).collect();
        let mut all = BTreeSet::new();
        for name in self.partials.keys().chain([&self.id]) {
            let template = self.environment.get_template(name).map_err(|error| self.failed(&error))?;
            let used: BTreeSet<String> = template.undeclared_variables(false).into_iter().collect();
            let unknown = used.iter().find(|used| !known.contains(*used) && !builtin.contains(used.as_str()));
            if let Some(unknown) = unknown {
                let file = if *name == self.id { place } else { name };
                return Err(Error::invalid(format!(
                    "template `{file}` uses `{unknown}`, which nothing defines"
                ))
                .hint(format!("defined: {}; add it to `inputs` or `vars`", listed(&known))));
            }
            all.extend(used);
        }
        Ok(all)
    }

    fn turns(&self, text: &str) -> Result<Vec<Message>> {
        let mut parts = text.split(TURN);
        let before = parts.next().unwrap_or_default();
        if !before.trim().is_empty() {
            return Err(Error::invalid(format!("template `{}` writes text before its first turn", self.id))
                .hint("begin the body with a line `<|system|>` or `<|user|>`"));
        }
        let mut turns = Vec::new();
        while let (Some(role), Some(content)) = (parts.next(), parts.next()) {
            let content = content.trim();
            if !content.is_empty() {
                turns.push(Message::new(role, content));
            }
        }
        Ok(turns)
    }

    /// A minijinja error in our words: which template, which line, which name, and what there is instead.
    fn failed(&self, error: &minijinja::Error) -> Error {
        let name = error.name().unwrap_or(&self.id);
        let before = if name == self.id { self.lines_before } else { 0 };
        let at = error.line().map_or(String::new(), |line| format!(" line {}", line + before));
        let place = format!("template `{name}`{at}");
        if error.kind() == ErrorKind::UndefinedError {
            let used = error.range().zip(error.template_source()).and_then(|(range, source)| {
                // Of `a.b | line` it is the filter that fails, and `a.b` that is not defined.
                match source.get(..range.start)?.trim_end().strip_suffix('|') {
                    Some(before) => before.rsplit(['{', '%', '(']).next().map(str::trim),
                    None => source.get(range),
                }
            });
            let used = used.map_or("a name".to_owned(), |used| format!("`{used}`"));
            let mut known: BTreeSet<&str> = self.asked().collect();
            known.extend(self.front.vars.keys().map(String::as_str));
            return Error::invalid(format!("{place}: {used} is not defined"))
                .hint(format!("defined: {}; does the value have that field?", listed(&known)));
        }
        let detail = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
        Error::invalid(format!("{place}: {detail}"))
    }
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_fuel(Some(MOST_STEPS));
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.set_debug(true);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_filter("quoted", |text: String| guard::quoted(&text));
    environment.add_filter("line", |text: String| guard::line(&text));
    environment
}

/// Everything the body includes, directly or not, by name.
fn collect_partials(
    place: &str,
    body: &str,
    partial: &dyn Fn(&str) -> Result<String>,
) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    let mut wanted: Vec<(String, String)> =
        included(body).into_iter().map(|name| (place.to_owned(), name)).collect();
    while let Some((user, name)) = wanted.pop() {
        if found.contains_key(&name) {
            continue;
        }
        let text = partial(&name).map_err(|error| error.within(format!("template `{user}`")))?;
        let text = text.replace("\r\n", "\n");
        wanted.extend(included(&text).into_iter().map(|next| (name.clone(), next)));
        found.insert(name, text);
    }
    Ok(found)
}

/// The names in `{% include "name" %}` and its like. A name that is computed is not found here and therefore cannot be
/// rendered either, so a version covers everything a template may say.
fn included(source: &str) -> Vec<String> {
    let mut names = Vec::new();
    for tag in source.split("{%").skip(1) {
        let tag = tag.split("%}").next().unwrap_or_default().trim_start_matches(['-', '+']).trim_start();
        let word = tag.split_whitespace().next().unwrap_or_default();
        if !matches!(word, "include" | "import" | "from" | "extends") {
            continue;
        }
        let mut quoted = tag.split(['"', '\'']);
        if let Some(name) = quoted.nth(1) {
            names.push(name.to_owned());
        }
    }
    names
}

/// Replaces the lines that open a turn by marks no value can contain.
fn marked_turns(body: &str) -> String {
    let mark = |line: &str| match line.trim() {
        "<|system|>" => format!("{TURN}system{TURN}"),
        "<|user|>" => format!("{TURN}user{TURN}"),
        "<|assistant|>" => format!("{TURN}assistant{TURN}"),
        _ => line.replace(TURN, ""),
    };
    body.split('\n').map(mark).collect::<Vec<_>>().join("\n")
}

fn trimmed(text: &str) -> String {
    text.trim_matches('\n').to_owned()
}

fn listed<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| format!("`{}`", name.as_ref())).collect();
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
#[path = "template_tests.rs"]
mod tests;
