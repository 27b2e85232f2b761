//! A model behind an OpenAI-compatible endpoint: it gets the turns, and lays them out itself.
//!
//! Stop texts are sent and looked for here as well, since not every server heeds them.

use std::ops::ControlFlow;

use super::stream::Growing;
use super::{Completion, Finish, OnText, Sampling};
use crate::error::Result;
use crate::openai::wire::ChatRequest;
use crate::openai::{Client, Endpoint};
use crate::text::layout::Layout;

/// More than four are refused by the protocol; the others are looked for here only.
const MOST_STOPS: usize = 4;

pub struct HttpGenerator {
    name: String,
    model: String,
    context: usize,
    client: Client,
}

impl HttpGenerator {
    /// Tokens we take a model to hold that does not say: passages and a chat fit, and nearly every model has as many.
    pub const CONTEXT: usize = 8192;

    /// The model that `endpoint` knows as `model`. Nothing is sent yet. `context` is how many tokens it can hold.
    pub fn new(model: &str, endpoint: Endpoint, context: usize) -> Self {
        let name = format!("openai:{model}");
        Self { name, model: model.to_owned(), context, client: Client::new(endpoint) }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn context(&self) -> usize {
        self.context
    }

    pub(super) fn generate(
        &self,
        layout: &Layout,
        sampling: &Sampling,
        on_text: OnText,
    ) -> Result<Completion> {
        let draws = sampling.temperature > 0.0;
        let request = ChatRequest {
            model: self.model.clone(),
            messages: layout.messages(),
            max_tokens: Some(sampling.max_tokens),
            temperature: Some(sampling.temperature),
            // Where nothing is drawn there is nothing to say about it.
            top_p: Some(sampling.top_p).filter(|&top_p| draws && top_p < 1.0),
            seed: draws.then_some(sampling.seed),
            stop: sampling.stop.iter().filter(|stop| !stop.is_empty()).take(MOST_STOPS).cloned().collect(),
            ..ChatRequest::default()
        };
        let mut growing = Growing::new(&sampling.stop, on_text);
        let mut ended = None;
        let reply = self.client.chat(&request, &mut |piece| {
            ended = growing.push(piece);
            if ended.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        let finish = ended.unwrap_or(match reply.finish_reason.as_deref() {
            Some("length") => Finish::Length,
            _ => Finish::Stop,
        });
        let usage = reply.usage.unwrap_or_default();
        Ok(Completion {
            text: growing.finish(finish),
            finish,
            prompt_tokens: usage.prompt_tokens,
            completion_tokens: usage.completion_tokens,
        })
    }
}
