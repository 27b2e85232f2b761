//! Words: files become documents, documents become chunks, text becomes token ids, rows of a
//! person's data become examples, and claims are held against text.

mod boundaries;
pub mod chunk;
pub mod difference;
pub mod document;
pub mod example;
pub mod fields;
mod gguf_tokenizer;
pub mod ground;
pub mod layout;
pub mod load;
pub(crate) mod markup;
pub mod records;
pub mod sentences;
pub mod slip;
pub mod terms;
pub mod tokenizer;
pub mod toml;
