//! The journeys, assembled: files become a collection, a question becomes an answer, questions become a conversation.
//!
//! ```text
//! ingest   walk -> load -> chunk -> embed -> index
//! search   question -> both legs -> fused hits
//! ask      search -> answerable? -> passages -> prompt -> text -> held against its sources -> answer
//! chat     follow-up -> stand-alone question -> ask -> turn
//! ```

pub mod ask;
pub mod chat;
mod cite;
mod freshness;
pub mod ingest;
pub mod search;
pub mod watch;

pub use cite::{Citation, Places, Status};
pub use freshness::{Freshness, freshness};
