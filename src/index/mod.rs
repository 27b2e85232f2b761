//! A place to keep vectors and words: a collection on disk.
//!
//! Knows chunks and vectors, never models. `manifest` (SQLite) is the source of truth; `store` keeps vectors, `lexical`
//! keeps words, and whatever the manifest does not know is deleted from both.

mod analyse;
mod collection;
mod edge;
mod filter;
mod home;
mod layout;
mod lexical;
mod lock;
mod manifest;
mod memory;
pub mod profile;
pub mod server;
mod space;
pub mod store;
#[cfg(test)]
mod tests;
mod writer;

pub use analyse::{Analyser, Terms};
pub use collection::{Agreement, Collection, Difference, Reader};
pub use filter::{Condition, Field, Filter, Kind, Operator, fields};
pub use home::{Home, VARIABLE};
pub use lexical::{Words, WordsWriter};
pub use lock::{Holder, Notice, Patience};
pub use manifest::{DocumentMeta, Known, SCHEMA_VERSION, Stats};
pub use profile::Profile;
pub use store::{Chosen, Point, Store, document_key};
pub use writer::{Change, Recovery, Writer};

use crate::text::chunk::Chunk;
use crate::text::document::Format;

/// Names a chunk inside one collection; never used twice.
pub type ChunkId = u64;

/// A chunk as the index gives it back: with the document it belongs to.
#[derive(Debug, Clone, PartialEq)]
pub struct Passage {
    pub id: ChunkId,
    /// As ingested, relative to the working folder.
    pub path: String,
    pub title: Option<String>,
    /// Where the document comes from, if it says so: its field `url`.
    pub url: Option<String>,
    pub format: Format,
    pub chunk: Chunk,
}
