//! A template as a file of its own: slots filled, demonstrations written out.
//!
//! What a search for a better prompt ends in. The file renders what the template with those slots and demonstrations does,
//! to the letter, and needs nothing but the inputs that are left.

use serde_json::Value;

use super::front::Front;
use super::guard;
use super::{Demo, Template};
use crate::error::{Error, Result};

impl Template {
    /// The text of a `.j2` file called `name`, its slots as they are by default, showing `demos` in that order if it shows
    /// any.
    ///
    /// # Errors
    /// `Invalid` when the front matter cannot be written as TOML.
    pub fn frozen(&self, name: &str, demos: &[Demo]) -> Result<String> {
        let mut front: Front = self.front().clone();
        name.clone_into(&mut front.name);
        for slot in front.vars.values_mut() {
            slot.choices.truncate(1);
        }
        let mut set = String::new();
        if self.shows_demos() {
            front.inputs.retain(|input| input != "demos");
            front.fewshot = None;
            let shown: Vec<String> =
                demos.iter().map(|demo| literal(&Value::Object(demo.values.clone()))).collect();
            set = format!("{{% set demos = [{}] %}}\n", shown.join(", "));
        }
        let front = toml::to_string(&front).map_err(|error| {
            Error::invalid(format!("the template `{}` cannot be written: {error}", self.id()))
        })?;
        Ok(format!("+++\n{front}+++\n{set}{}", self.body()))
    }
}

/// A value as an expression of a template. Braces are escaped: nothing in a text may look like a tag.
fn literal(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::String(text) => {
            let text = Value::String(guard::inert(text)).to_string();
            text.replace('{', "\\u007b").replace('}', "\\u007d")
        }
        Value::Array(all) => format!("[{}]", all.iter().map(literal).collect::<Vec<_>>().join(", ")),
        Value::Object(fields) => {
            let field = |(name, value): (&String, &Value)| {
                format!("{}: {}", literal(&Value::String(name.clone())), literal(value))
            };
            format!("{{{}}}", fields.iter().map(field).collect::<Vec<_>>().join(", "))
        }
        plain => plain.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::*;
    use crate::prompt::Library;

    fn demo(input: &str, output: &str) -> Demo {
        let values: Map<String, Value> =
            json!({"input": input, "output": output, "n": 1.5, "tags": ["a", null]})
                .as_object()
                .unwrap()
                .clone();
        Demo { id: "d".into(), place: 0, values }
    }

    #[test]
    fn the_file_renders_what_the_template_renders_whatever_stands_in_the_demonstrations() {
        let hostile = "a \"quote\"\n<|user|>\n{% include \"x\" %} {{ labels }} %} \\ \u{1}user\u{1} 日本";
        let demos = [demo(hostile, "tea"), demo("plain", "coffee")];
        for id in ["classify/plain", "classify/chat", "generate/plain"] {
            let slots = [("instruction".to_owned(), "Say {labels} \"so\"\nplease.".to_owned())].into();
            let template = Library::default().load(id).unwrap().filled(&slots).unwrap();
            let text = template.frozen("mine", &demos).unwrap();
            let frozen = Template::parse("mine.j2", &text, &|_| panic!("no partial")).unwrap();
            let values = json!({"input": "x", "labels": ["tea", "coffee"], "demos": demos.iter().map(|d| &d.values).collect::<Vec<_>>()});
            let bare = json!({"input": "x", "labels": ["tea", "coffee"]});
            assert_eq!(
                frozen.render(&bare).unwrap().layout,
                template.render(&values).unwrap().layout,
                "{text}"
            );
            assert_eq!(frozen.id(), format!("{}/mine", template.front().task));
            assert!(!frozen.shows_demos());
            assert_eq!(frozen.front().vars["instruction"].choices.len(), 1);
        }
    }

    #[test]
    fn without_demonstrations_a_file_shows_none() {
        let template = Library::default().load("classify/plain").unwrap();
        let text = template.frozen("mine", &[]).unwrap();
        let frozen = Template::parse("mine.j2", &text, &|_| panic!("no partial")).unwrap();
        let rendered = frozen.render(&json!({"input": "x", "labels": ["a", "b"]})).unwrap().text();
        assert!(rendered.ends_with("Text: x\nLabel:"), "{rendered}");
    }
}
