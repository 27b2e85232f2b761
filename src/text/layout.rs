//! What a model is asked to continue: turns of a conversation, or one text.
//!
//! Who reads it decides on its form: a local model has a chat layout of its own or none, an endpoint takes the turns.

use serde::Serialize;

use super::tokenizer::{Message, Tokenizer};
use crate::error::Result;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// Turns, for a model with a chat template.
    Chat(Vec<Message>),
    /// One text, to be continued.
    Text(String),
}

impl Layout {
    /// The turns a chat model is given; plain text is one turn of the user.
    pub fn messages(&self) -> Vec<Message> {
        match self {
            Self::Chat(messages) => messages.clone(),
            Self::Text(text) => vec![Message::new("user", text.clone())],
        }
    }

    /// One text for a model without a chat template: turns one after the other, a blank line between them, and what the
    /// assistant said on the line that asked for it.
    pub fn text(&self) -> String {
        let messages = match self {
            Self::Text(text) => return text.clone(),
            Self::Chat(messages) => messages,
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

    /// What a local model is given: turns in its own chat layout where it has one.
    ///
    /// # Errors
    /// `Invalid` when the model's chat template refuses the turns.
    pub fn rendered(&self, tokenizer: &Tokenizer) -> Result<String> {
        match self {
            Self::Chat(messages) if tokenizer.has_chat_template() => tokenizer.render_chat(messages),
            layout => Ok(layout.text()),
        }
    }

    /// For a person to read: each turn under a line that says whose it is, as in a template file.
    pub fn marked(&self) -> String {
        let turn = |message: &Message| format!("<|{}|>\n{}", message.role, message.content);
        self.messages().iter().map(turn).collect::<Vec<_>>().join("\n\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chat() -> Layout {
        let turns =
            [("system", "Answer."), ("user", "Question: a?\nAnswer:"), ("assistant", "A."), ("user", "b?")];
        Layout::Chat(turns.iter().map(|(role, content)| Message::new(role, *content)).collect())
    }

    #[test]
    fn a_model_without_a_chat_template_reads_the_turns_as_one_text() {
        assert_eq!(chat().text(), "Answer.\n\nQuestion: a?\nAnswer: A.\n\nb?");
        assert_eq!(chat().messages().len(), 4);
    }

    #[test]
    fn plain_text_is_one_turn_of_the_user() {
        let layout = Layout::Text("Go on".into());
        assert_eq!(layout.messages(), [Message::new("user", "Go on")]);
        assert_eq!(layout.text(), "Go on");
    }

    #[test]
    fn a_person_sees_whose_turn_it_is() {
        assert!(chat().marked().ends_with("<|assistant|>\nA.\n\n<|user|>\nb?"));
    }
}
