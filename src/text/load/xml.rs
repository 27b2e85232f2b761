//! The little that office documents and books need of XML: an attribute, a word, the text of one element.
//!
//! Names are compared without their prefixes. Entities of the document's own are not expanded, so none can grow.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::archive::damage;
use crate::error::Result;

/// The value of the attribute `name` of `start`.
pub(super) fn attribute(start: &BytesStart<'_>, name: &str) -> Option<String> {
    let found = start.attributes().flatten().find(|attribute| attribute.key.local_name().as_ref() == name)?;
    Some(
        quick_xml::escape::unescape(&found.value)
            .map_or_else(|_| found.value.to_string(), |value| value.into_owned()),
    )
}

/// The text that `event` is, if it is text.
pub(super) fn word(event: &Event<'_>) -> Option<String> {
    match event {
        Event::Text(text) => Some(text.to_string()),
        Event::CData(text) => Some(text.to_string()),
        Event::GeneralRef(name) => {
            let written = format!("&{};", &**name);
            Some(
                quick_xml::escape::unescape(&written)
                    .map_or_else(|_| written.clone(), |text| text.into_owned()),
            )
        }
        _ => None,
    }
}

/// The text of the first element called `name`, if it has any.
///
/// # Errors
/// `Invalid` for what is not XML.
pub(super) fn text_of(xml: &str, name: &str) -> Result<Option<String>> {
    let mut reader = Reader::from_str(xml);
    let mut text: Option<String> = None;
    loop {
        let event = reader.read_event().map_err(|error| damage(format!("damaged inside: {error}")))?;
        match &event {
            Event::Eof => return Ok(None),
            Event::Start(start) if start.local_name().as_ref() == name => text = Some(String::new()),
            Event::End(end) if end.local_name().as_ref() == name => {
                return Ok(text.filter(|text| !text.trim().is_empty()));
            }
            event => {
                if let (Some(text), Some(word)) = (&mut text, word(event)) {
                    text.push_str(&word);
                }
            }
        }
    }
}
