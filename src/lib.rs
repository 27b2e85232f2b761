//! Ask your own documents, find the prompt that works, and tune the model when its weights are at hand.

pub mod error;
pub mod index;
pub mod prompt;
pub mod retrieve;
pub mod text;

pub use error::{Error, Result};
