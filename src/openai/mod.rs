//! The protocol that model servers have in common: chat completions and embeddings, as OpenAI defined them.
//!
//! [`wire`] is what goes over the line, for our client and for a server of the same protocol; [`Endpoint`] says where and
//! how patiently; [`Client`] asks. It retries what may pass and only before the first word arrived, waits never longer than
//! it was told to, and turns whatever comes back into an answer or an error that names the endpoint. What a prompt is,
//! and what is done with a vector, is no concern of this module.

mod client;
mod endpoint;
mod events;
mod failure;
pub mod wire;

pub use client::{Client, Reply};
pub use endpoint::{DEFAULT_BASE_URL, Endpoint, Patience};
