//! Pages of a web site, saved where they can be read, cited and looked at like any file.
//!
//! ```text
//! <home>/web/<host>/...          what the site sent, byte for byte (but for old character sets)
//! <home>/web/<host>/.pages.json  whose address each copy is, and which crawls found it (shelf.rs)
//! ```
//!
//! A crawl (`crawl.rs`) goes from one address over links (`links.rs`) of the same scheme, host and port (`address.rs`),
//! as far as the site's robots.txt (`robots.rs`) and its limits allow, one request after another (`fetch.rs`). It knows
//! files and addresses; what becomes of a copy is for whoever ingests it.

mod address;
mod crawl;
mod fetch;
mod links;
mod media;
mod moment;
mod robots;
mod shelf;

pub use address::{is_address, is_here, parse};
pub use crawl::{Count, Crawl, Crawled, Event};
pub use shelf::{FOLDER, Saved, saved};
