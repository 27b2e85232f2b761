//! An answer to a question held against two passages of one document; the four are parted by NUL.
#![no_main]

use incontext::text::document::Format;
use incontext::text::ground::{Evidence, ground};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let mut parts = text.splitn(4, '\0');
    let mut next = || parts.next().unwrap_or_default();
    let (answer, question) = (next(), next());
    let evidence = |format| Evidence { text: next(), header: "h", format, document: "d" };
    let passages = [Format::Markdown, Format::Code].map(evidence);
    ground(answer, question, &passages);
});
