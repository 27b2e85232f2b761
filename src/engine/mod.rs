//! The journeys, assembled: files become a collection, a question becomes an answer, questions become a conversation.
//!
//! ```text
//! ingest   walk -> load -> chunk -> embed -> index
//! search   question -> both legs -> fused hits
//! ask      search -> answerable? -> passages -> prompt -> text -> held against its sources -> answer
//! chat     follow-up -> stand-alone question -> ask -> turn
//! tune     lines -> prompts, as asking lays them out -> rows -> training -> an adapter in its folder
//! rlhf     prompts -> answers -> scores -> advantages -> updates -> an adapter in its folder
//! ```

pub mod ask;
pub mod chat;
mod cite;
mod freshness;
pub mod ingest;
pub mod rlhf;
pub mod search;
pub mod tune;
pub mod watch;

pub use cite::{Citation, Places, Status};
pub use freshness::{Freshness, freshness};
