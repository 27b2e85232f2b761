//! Lay out what the model reads: a template file, the passages that fit, and data that stays data.
//!
//! [`template`] reads and renders `prompts/<task>/<name>.j2`, [`front`] being what its first lines say; [`library`] knows
//! where templates are (a person's own before the ones shipped inside the binary); [`budget`] drops what does not fit
//! the window (passages, demonstrations, turns of a conversation) and says so; [`guard`] keeps retrieved text from posing as
//! anything else; [`shots`] are demonstrations as templates see them. For people who write templates, [`lint`] finds what they may not have meant, and [`parts`] what the
//! tokens of a prompt are spent on.

pub mod budget;
mod freeze;
pub mod front;
mod given;
pub mod guard;
pub mod library;
pub mod lint;
mod parts;
mod shots;
pub mod template;

#[cfg(test)]
mod shipped_tests;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::index::Passage;
use crate::text::tokenizer::Message;

pub use crate::text::layout::Layout;
pub use front::{FewShot, Order, Params};
pub use given::Given;
pub use library::Library;
pub use parts::{Part, parts};
pub use shots::{shots, standing};
pub use template::Template;

/// A rendered template, ready for a generator.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Prompt {
    /// `qa/grounded`.
    pub name: String,
    /// First 8 hex digits of a hash over all that shaped the template; see [`Template::version`].
    pub version: String,
    /// What the template wrote.
    pub layout: Layout,
    pub params: Params,
}

impl Prompt {
    /// Whether the template wrote turns.
    pub fn is_chat(&self) -> bool {
        matches!(self.layout, Layout::Chat(_))
    }

    /// As [`Layout::messages`].
    pub fn messages(&self) -> Vec<Message> {
        self.layout.messages()
    }

    /// As [`Layout::text`].
    pub fn text(&self) -> String {
        self.layout.text()
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

/// A worked example, as templates see it in the list `demos`.
#[derive(Debug, Clone, PartialEq)]
pub struct Demo {
    /// Of the row it is.
    pub id: String,
    /// Of that row in its pool.
    pub place: usize,
    /// `input`, `output`, and whatever else the row has.
    pub values: Map<String, Value>,
}

/// A question and its answer, earlier in a conversation, as templates see them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    pub question: String,
    pub answer: String,
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
