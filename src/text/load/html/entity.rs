//! Which bytes each character between two tags came from.
//!
//! The HTML tokenizer gives the decoded string and the span it came from, not which entity became which character. An
//! entity ends before the next `&` and before the first character that cannot be part of one, so each can be decoded on
//! its own by the same tokenizer; no table of two thousand names is needed here.

use std::convert::Infallible;
use std::ops::Range;

use html5gum::Tokenizer;
use html5gum::emitters::callback::{CallbackEmitter, CallbackEvent};

/// The characters of `source[span]`, entities decoded, each with the bytes it came from. `value` is what the HTML
/// tokenizer decoded; where it disagrees (it replaces some control characters), its word counts and every character leads
/// to the whole span.
pub(super) fn decode(source: &str, span: Range<usize>, value: &str) -> Vec<(char, Range<usize>)> {
    let Some(raw) = source.get(span.clone()) else { return whole(value, 0..source.len()) };
    if same_but_line_ends(raw, value) {
        return raw.char_indices().map(|(at, c)| (c, at_char(span.start + at, c))).collect();
    }
    let mut characters = Vec::with_capacity(value.len());
    let mut at = 0;
    while at < raw.len() {
        let entity = candidate(&raw[at..]);
        if entity > 0 {
            let decoded = decode_one(&raw[at..at + entity]);
            let (length, written) = split(&raw[at..at + entity], &decoded);
            if length > 0 {
                characters.extend(written.chars().map(|c| (c, span.start + at..span.start + at + length)));
                at += length;
                continue;
            }
        }
        let Some(c) = raw[at..].chars().next() else { break };
        characters.push((c, at_char(span.start + at, c)));
        at += c.len_utf8();
    }
    let decoded: String = characters.iter().map(|(c, _)| c).collect();
    if same_but_line_ends(&decoded, value) { characters } else { whole(value, span) }
}

fn at_char(at: usize, character: char) -> Range<usize> {
    at..at + character.len_utf8()
}

fn whole(value: &str, span: Range<usize>) -> Vec<(char, Range<usize>)> {
    value.chars().map(|c| (c, span.clone())).collect()
}

/// HTML reads `\r\n` and `\r` as `\n`.
fn same_but_line_ends(raw: &str, value: &str) -> bool {
    raw == value || (raw.contains('\r') && raw.replace("\r\n", "\n").replace('\r', "\n") == value)
}

/// The length of what may be an entity at the start of `raw`; 0 when there is none.
fn candidate(raw: &str) -> usize {
    let Some(rest) = raw.strip_prefix('&') else { return 0 };
    let hash = usize::from(rest.starts_with('#'));
    let name = rest[hash..].bytes().take_while(u8::is_ascii_alphanumeric).count();
    let semicolon = usize::from(rest[hash + name..].starts_with(';'));
    if name == 0 { 0 } else { 1 + hash + name + semicolon }
}

/// Tells the entity from letters behind it that are not part of it (`&notit;` is `¬it;`): its length, and what it says.
fn split<'a>(raw: &str, decoded: &'a str) -> (usize, &'a str) {
    if raw == decoded {
        return (0, "");
    }
    let first = decoded.chars().next().map_or(0, char::len_utf8);
    let tail = raw.bytes().rev().zip(decoded[first..].bytes().rev()).take_while(|(a, b)| a == b).count();
    (raw.len() - tail, &decoded[..decoded.len() - tail])
}

fn decode_one(entity: &str) -> String {
    let mut decoded = String::new();
    let emitter =
        CallbackEmitter::new(|event: CallbackEvent<'_>, _: html5gum::Span<()>| -> Option<Infallible> {
            if let CallbackEvent::String { value } = event {
                decoded.push_str(&String::from_utf8_lossy(value));
            }
            None
        });
    let Ok(()) = Tokenizer::new_with_emitter(entity, emitter).finish();
    decoded
}
