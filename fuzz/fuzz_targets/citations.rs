//! An answer held against two passages; the three are parted by NUL.
#![no_main]

use incontext::text::document::Format;
use incontext::text::ground::{Evidence, ground};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let mut parts = text.splitn(3, '\0');
    let mut next = || parts.next().unwrap_or_default();
    let answer = next();
    let passages = [Format::Markdown, Format::Code].map(|format| Evidence { text: next(), header: "h", format });
    ground(answer, &passages);
});
