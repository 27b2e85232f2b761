//! Lay out what the model reads: a template file, the passages that fit, and data that stays data.
//!
//! [`template`] reads and renders `prompts/<task>/<name>.j2`, [`front`] being what its first lines say; [`library`] knows
//! where templates are (a person's own before the ones shipped inside the binary); [`budget`] drops what does not fit
//! the window and says so; [`guard`] keeps retrieved text from posing as anything else.

pub mod budget;
pub mod front;
pub mod guard;
pub mod library;
pub mod template;

use serde::Serialize;

use crate::index::Passage;
use crate::text::tokenizer::Message;

pub use front::Params;
pub use library::Library;
pub use template::Template;

/// A rendered template, ready for a generator.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Prompt {
    /// `qa/grounded`.
    pub name: String,
    /// First 8 hex digits of a hash over all that shaped the template; see [`Template::version`].
    pub version: String,
    pub layout: Layout,
    pub params: Params,
}

/// What the template wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// Turns, for a model with a chat template.
    Chat(Vec<Message>),
    /// One text, to be continued.
    Text(String),
}

impl Prompt {
    /// Whether the template wrote turns.
    pub fn is_chat(&self) -> bool {
        matches!(self.layout, Layout::Chat(_))
    }

    /// The turns a chat model is given; plain text is one turn of the user.
    pub fn messages(&self) -> Vec<Message> {
        match &self.layout {
            Layout::Chat(messages) => messages.clone(),
            Layout::Text(text) => vec![Message::new("user", text.clone())],
        }
    }

    /// One text for a model without a chat template: turns one after the other, a blank line between them, and what the
    /// assistant said on the line that asked for it.
    pub fn text(&self) -> String {
        let messages = match &self.layout {
            Layout::Text(text) => return text.clone(),
            Layout::Chat(messages) => messages,
        };
        let mut text = String::new();
        for message in messages {
            if !text.is_empty() {
                text.push_str(if message.role == "assistant" { " " } else { "\n\n" });
            }
            text.push_str(&message.content);
        }
        text
    }
}

/// A passage as templates see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// Headings, title or path: the first of them there is.
    pub title: String,
    pub path: String,
    pub text: String,
}

impl From<&Passage> for Shown {
    fn from(passage: &Passage) -> Self {
        let header = Some(passage.chunk.header.clone()).filter(|header| !header.is_empty());
        Self {
            title: header.or_else(|| passage.title.clone()).unwrap_or_else(|| passage.path.clone()),
            path: passage.path.clone(),
            text: passage.chunk.text.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_without_a_chat_template_reads_the_turns_as_one_text() {
        let turns =
            [("system", "Answer."), ("user", "Question: a?\nAnswer:"), ("assistant", "A."), ("user", "b?")];
        let layout = Layout::Chat(turns.iter().map(|(role, content)| Message::new(role, *content)).collect());
        let prompt = Prompt { name: "qa/x".into(), version: "0".into(), layout, params: Params::default() };
        assert_eq!(prompt.text(), "Answer.\n\nQuestion: a?\nAnswer: A.\n\nb?");
        assert_eq!(prompt.messages().len(), 4);
    }

    #[test]
    fn plain_text_is_one_turn_of_the_user() {
        let layout = Layout::Text("Go on".into());
        let prompt = Prompt { name: "qa/x".into(), version: "0".into(), layout, params: Params::default() };
        assert_eq!(prompt.messages(), [Message::new("user", "Go on")]);
    }
}
