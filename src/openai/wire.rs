//! What goes over the line. Fields that servers leave out, or send as `null`, are optional here.

use serde::{Deserialize, Serialize};

use crate::text::tokenizer::Message;

/// The body of `POST /chat/completions`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ChatRequest {
    pub model: String,
    pub messages: Vec<Message>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<usize>,
    /// What newer models call `max_tokens`; never both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_completion_tokens: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// At most four, says the protocol.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stop: Vec<String>,
    #[serde(default)]
    pub stream: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream_options: Option<StreamOptions>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamOptions {
    /// Send the counts of tokens in the last event.
    #[serde(default)]
    pub include_usage: bool,
}

/// A whole completion, or one event of a streamed one: they differ in where a choice has its text.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ChatResponse {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// `chat.completion` or `chat.completion.chunk`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Empty in the last event of a stream that ends with usage.
    #[serde(default)]
    pub choices: Vec<Choice>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    #[serde(default)]
    pub index: usize,
    /// In a whole completion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<Said>,
    /// In an event of a stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delta: Option<Said>,
    /// `stop`, `length`, or another reason of the server's; absent while the text goes on.
    #[serde(default)]
    pub finish_reason: Option<String>,
}

impl Choice {
    /// The text it brings, if any.
    pub fn text(&self) -> Option<&str> {
        self.delta.as_ref().or(self.message.as_ref())?.content.as_deref()
    }
}

/// A message of the model's, or a piece of one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
}

/// Tokens read and written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    #[serde(default)]
    pub prompt_tokens: usize,
    #[serde(default)]
    pub completion_tokens: usize,
    #[serde(default)]
    pub total_tokens: usize,
}

/// The body of `POST /embeddings`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmbeddingRequest {
    pub model: String,
    pub input: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct EmbeddingResponse {
    pub data: Vec<Embedding>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Embedding {
    /// Which input it belongs to; its place in the list where a server does not say.
    #[serde(default)]
    pub index: Option<usize>,
    pub embedding: Vec<f32>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_request_says_only_what_is_wanted() {
        let messages = vec![Message::new("user", "Why?")];
        let request = ChatRequest {
            model: "m".into(),
            messages,
            max_tokens: Some(5),
            stream: true,
            ..ChatRequest::default()
        };
        assert_eq!(
            serde_json::to_value(&request).unwrap(),
            json!({ "model": "m", "messages": [{ "role": "user", "content": "Why?" }], "max_tokens": 5,
                "stream": true })
        );
    }

    #[test]
    fn whole_and_streamed_choices_give_their_text_and_null_is_none() {
        let text = |choice: serde_json::Value| {
            serde_json::from_value::<Choice>(choice).unwrap().text().map(str::to_owned)
        };
        assert_eq!(text(json!({ "message": { "role": "assistant", "content": "a" } })), Some("a".into()));
        assert_eq!(text(json!({ "delta": { "content": "b" }, "finish_reason": null })), Some("b".into()));
        assert_eq!(text(json!({ "delta": { "content": null, "reasoning_content": "hm" } })), None);
        assert_eq!(text(json!({})), None);
    }
}
