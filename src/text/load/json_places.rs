//! Where the parts of a JSON text are. A parser says what a text means; a citation has to know where it says so.
//!
//! Everything here expects text that a parser has found to be valid, so only strings and nesting have to be told apart.

use std::ops::Range;

use super::text_builder::TextBuilder;
use super::trimmed;

/// Appends the JSON string at `source[value]` (quotes included), decoded; its range in the text without the whitespace
/// at its ends, or `None` when it holds nothing else. The string is known to be valid JSON.
pub(super) fn decode(source: &str, value: Range<usize>, builder: &mut TextBuilder) -> Option<Range<usize>> {
    let start = builder.len();
    let (mut at, end) = (value.start + 1, value.end - 1);
    while at < end {
        let rest = &source[at..end];
        let plain = rest.find('\\').unwrap_or(rest.len());
        builder.copy(source, at..at + plain);
        at += plain;
        if at < end {
            let (character, len) = escape(&source[at..end]);
            builder.decoded(character, at..at + len);
            at += len;
        }
    }
    trimmed(builder.text(), start..builder.len())
}

/// The character of the escape `rest` starts with, and the escape's length in bytes.
fn escape(rest: &str) -> (char, usize) {
    let unit = |at: usize| {
        let digits = rest.get(at..at + 6)?.strip_prefix("\\u")?;
        u16::from_str_radix(digits, 16).ok()
    };
    let simple = match rest.as_bytes().get(1) {
        Some(b'u') => {
            let units = [unit(0), unit(6)].into_iter().flatten();
            return match char::decode_utf16(units).next() {
                Some(Ok(character)) => (character, 6 * character.len_utf16()),
                _ => (char::REPLACEMENT_CHARACTER, 6.min(rest.len())),
            };
        }
        Some(b'n') => '\n',
        Some(b't') => '\t',
        Some(b'r') => '\r',
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'"') => '"',
        Some(b'/') => '/',
        _ => '\\',
    };
    (simple, 2.min(rest.len()))
}

/// The members of the JSON object at `source[object]`: where each key (without quotes) and each value is.
pub(super) fn members(source: &str, object: Range<usize>) -> Vec<(Range<usize>, Range<usize>)> {
    let mut members = Vec::new();
    let mut at = object.start + 1;
    while let Some(quote) = source[at..object.end].find('"') {
        let key = at + quote..string_end(source, at + quote, object.end);
        let Some(colon) = source[key.end..object.end].find(':') else { break };
        let (value, next) = value(source, key.end + colon + 1, object.end);
        if let Some(value) = value {
            members.push((key.start + 1..key.end - 1, value));
        }
        at = next;
    }
    members
}

/// Where the elements of the JSON array at `source[array]` are.
pub(super) fn elements(source: &str, array: Range<usize>) -> Vec<Range<usize>> {
    let mut elements = Vec::new();
    let mut at = array.start + 1;
    while at < array.end {
        let (value, next) = value(source, at, array.end);
        elements.extend(value);
        at = next;
    }
    elements
}

/// The value from `at` on, within an object or array that ends at `end`, and where the next one may begin.
fn value(source: &str, start: usize, end: usize) -> (Option<Range<usize>>, usize) {
    let bytes = source.as_bytes();
    let mut depth = 0;
    let mut at = start;
    while at < end {
        match bytes[at] {
            b'"' => {
                at = string_end(source, at, end);
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth > 0 => depth -= 1,
            b',' | b'}' | b']' if depth == 0 => break,
            _ => {}
        }
        at += 1;
    }
    // Behind a comma, or behind the end of what holds the value.
    (trimmed(source, start..at), (at + 1).min(end))
}

/// Where the string that starts at `at` ends, its quotes included.
fn string_end(source: &str, mut at: usize, end: usize) -> usize {
    let bytes = source.as_bytes();
    at += 1;
    while at < end && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(end)
}
