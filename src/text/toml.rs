//! Files of TOML, with the line that is wrong.

use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

/// What `text` holds, whose first line is number `first` of the file that it stands in.
///
/// # Errors
/// `Invalid` with the line that is wrong.
pub fn from_toml<T: DeserializeOwned>(text: &str, first: usize) -> Result<T> {
    toml::from_str(text).map_err(|error| {
        let before = error.span().map_or(0, |span| text[..span.start.min(text.len())].matches('\n').count());
        Error::invalid(format!("line {}: {}", first + before, error.message()))
    })
}
