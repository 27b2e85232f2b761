//! The two journeys, assembled: files become a collection, a question becomes an answer.
//!
//! ```text
//! ingest   walk -> load -> chunk -> embed -> index
//! search   question -> both legs -> fused hits
//! ask      search -> answerable? -> passages -> prompt -> text -> held against its sources -> answer
//! ```

pub mod ask;
mod cite;
mod freshness;
pub mod ingest;
pub mod search;

pub use cite::{Citation, Places, Status};
pub use freshness::{Freshness, freshness};
