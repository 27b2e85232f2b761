//! Text -> vectors, for passages and questions alike.

mod cache;
mod http;
mod local;
mod passes;

pub use cache::Cache;
pub use http::HttpEncoder;
pub use local::{LocalEncoder, Pooling};
pub(crate) use passes::in_passes;

use crate::error::Result;
use crate::text::tokenizer::Tokenizer;

/// What makes vectors. A closed set: each way of embedding is a variant.
#[expect(clippy::large_enum_variant, reason = "a process has one of them and hardly moves it")]
pub enum Embedder {
    Local(LocalEncoder),
    /// An encoder behind an OpenAI-compatible endpoint.
    Http(Box<HttpEncoder>),
}

/// What to do with text longer than the encoder's window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overflow {
    /// An error: passages were cut to fit, so an overflow is a fault.
    Refuse,
    /// Read what fits: a question may be rambling.
    Truncate,
}

impl Embedder {
    /// As the person named it.
    pub fn name(&self) -> &str {
        match self {
            Self::Local(encoder) => encoder.name(),
            Self::Http(encoder) => encoder.name(),
        }
    }

    /// Changes whenever the vectors would: weights, tokenizer, pooling, window; of an endpoint, what can be known: its
    /// address, the model's name, and the length of its vectors.
    pub fn fingerprint(&self) -> &str {
        match self {
            Self::Local(encoder) => encoder.fingerprint(),
            Self::Http(encoder) => encoder.fingerprint(),
        }
    }

    /// Length of each vector.
    pub fn dimension(&self) -> usize {
        match self {
            Self::Local(encoder) => encoder.dimension(),
            Self::Http(encoder) => encoder.dimension(),
        }
    }

    /// Most tokens a text may have, special tokens included.
    pub fn window(&self) -> usize {
        match self {
            Self::Local(encoder) => encoder.window(),
            Self::Http(encoder) => encoder.window(),
        }
    }

    /// Counts tokens as the encoder will; for an endpoint, nearly so.
    pub fn tokenizer(&self) -> &Tokenizer {
        match self {
            Self::Local(encoder) => encoder.tokenizer(),
            Self::Http(encoder) => encoder.tokenizer(),
        }
    }

    /// A unit vector for each text, in order.
    ///
    /// # Errors
    /// `TooLong` for a text beyond the window, unless `overflow` says to truncate.
    pub fn embed(&self, texts: &[&str], overflow: Overflow) -> Result<Vec<Vec<f32>>> {
        match self {
            Self::Local(encoder) => encoder.embed(texts, overflow),
            Self::Http(encoder) => encoder.embed(texts, overflow),
        }
    }
}
