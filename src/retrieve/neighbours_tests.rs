use proptest::prelude::*;

use super::*;
use crate::index::Passage;
use crate::retrieve::Legs;
use crate::text::document::{Format, line_span, line_starts};

fn hit(rank: usize, path: &str, chunk: Chunk) -> Hit {
    let passage = Passage {
        id: 100 + rank as u64,
        path: path.into(),
        title: None,
        url: None,
        format: Format::Markdown,
        chunk,
    };
    Hit { passage, rank, score: 1.0 / rank as f32, legs: Legs::default(), relevance: None }
}

/// A chunk of a file whose text is its source.
fn slice(source: &str, ordinal: u32, bytes: Range<usize>) -> Chunk {
    Chunk {
        ordinal,
        header: "Guide > Rules".into(),
        text: source[bytes.clone()].into(),
        lines: line_span(&line_starts(source), &bytes),
        bytes,
        tokens: 10,
        origin: Origin::Same,
        source: None,
    }
}

fn texts(hits: &[Hit]) -> Vec<&str> {
    hits.iter().map(|hit| hit.passage.chunk.text.as_str()).collect()
}

const SOURCE: &str = "One owner.\nTwo readers.\n\nThree rules.\n";

#[test]
fn overlapping_chunks_become_one_that_still_slices_the_file() {
    let hits = vec![
        hit(1, "a.md", slice(SOURCE, 4, 11..37)),
        hit(2, "b.md", slice(SOURCE, 3, 0..10)),
        hit(3, "a.md", slice(SOURCE, 3, 0..23)),
    ];
    let merged = merge_neighbours(hits);
    assert_eq!(texts(&merged), ["One owner.\nTwo readers.\n\nThree rules.", "One owner."]);
    let chunk = &merged[0].passage.chunk;
    assert_eq!((merged[0].passage.id, merged[0].rank, merged[1].rank), (101, 1, 2));
    assert_eq!((chunk.ordinal, chunk.bytes.clone(), chunk.lines, chunk.tokens), (3, 0..37, (1, 4), 20));
    assert_eq!(chunk.quote(11..23), "Two readers.");
}

#[test]
fn three_in_a_row_become_one_in_whatever_order_they_were_found() {
    let parts = [0..10, 11..23, 25..37];
    let chunks: Vec<Chunk> = (1..).zip(parts).map(|(at, part)| slice(SOURCE, at, part)).collect();
    for order in [[0, 1, 2], [2, 0, 1], [1, 2, 0]] {
        let hits = (1..).zip(order).map(|(rank, at)| hit(rank, "a.md", chunks[at].clone())).collect();
        assert_eq!(texts(&merge_neighbours(hits)), [&SOURCE[..37]]);
    }
}

#[test]
fn a_gap_that_may_hold_something_keeps_chunks_apart() {
    let text = "One owner. x\nTwo readers.";
    let hits = vec![hit(1, "a.md", slice(text, 1, 0..10)), hit(2, "a.md", slice(text, 2, 13..25))];
    assert_eq!(merge_neighbours(hits).len(), 2);
}

#[test]
fn another_section_another_file_or_a_missing_chunk_keeps_chunks_apart() {
    let first = slice(SOURCE, 1, 0..10);
    let next = slice(SOURCE, 2, 11..23);
    let apart = |path: &str, chunk: Chunk| {
        merge_neighbours(vec![hit(1, "a.md", first.clone()), hit(2, path, chunk)]).len() == 2
    };
    assert!(!apart("a.md", next.clone()));
    assert!(apart("b.md", next.clone()));
    assert!(apart("a.md", Chunk { ordinal: 3, ..next.clone() }));
    assert!(apart("a.md", Chunk { header: "Guide > Other".into(), ..next }));
}

/// `<p>Tea &amp; milk. Two cups. Sip.</p>`, its text being `Tea & milk. Two cups. Sip.`
const HTML: &str = "<p>Tea &amp; milk. Two cups. Sip.</p>";

fn from_html(ordinal: u32, text: &str, bytes: Range<usize>, pieces: Vec<Piece>) -> Chunk {
    Chunk {
        origin: Origin::Pieces(pieces),
        source: Some(HTML[bytes.clone()].into()),
        text: text.into(),
        ..slice(HTML, ordinal, bytes)
    }
}

#[test]
fn text_freed_of_its_tags_is_merged_with_its_way_back() {
    let piece = |text, text_len, source, source_len| Piece { text, text_len, source, source_len };
    let before = vec![piece(0, 4, 3, 4), piece(4, 1, 7, 5), piece(5, 16, 12, 16)];
    let first = from_html(0, "Tea & milk. Two cups.", 3..28, before);
    let second = from_html(1, "Two cups. Sip.", 19..33, vec![piece(0, 14, 19, 14)]);
    let merged = merge_neighbours(vec![hit(1, "a.html", first.clone()), hit(2, "a.html", second.clone())]);
    assert_eq!(texts(&merged), ["Tea & milk. Two cups. Sip."]);
    let chunk = &merged[0].passage.chunk;
    assert_eq!(chunk.source.as_deref(), Some(&HTML[3..33]));
    assert_eq!(chunk.quote(0..11), "Tea &amp; milk.");
    assert_eq!(chunk.quote(22..26), "Sip.");

    // Without an overlap there may be tags between them.
    let third = from_html(1, "Sip.", 29..33, vec![piece(0, 4, 29, 4)]);
    assert_eq!(merge_neighbours(vec![hit(1, "a.html", first), hit(2, "a.html", third)]).len(), 2);
}

proptest! {
    #[test]
    fn any_two_touching_or_overlapping_stretches_merge_to_the_whole(
        source in "([a-zé。 ]|\n){4,60}", cuts in prop::array::uniform4(0.0f64..1.0),
    ) {
        let boundaries: Vec<usize> =
            source.char_indices().map(|(at, _)| at).chain([source.len()]).collect();
        let mut cuts = cuts.map(|cut| boundaries[(cut * boundaries.len() as f64) as usize]);
        cuts.sort_unstable();
        let [a, b, c, d] = cuts;
        prop_assume!(a < c && b < d);
        let hits = vec![hit(1, "a", slice(&source, 1, b..d)), hit(2, "a", slice(&source, 0, a..c))];
        let merged = merge_neighbours(hits);
        prop_assert_eq!(merged.len(), 1);
        let chunk = &merged[0].passage.chunk;
        prop_assert_eq!(&chunk.text, &source[a..d]);
        prop_assert_eq!(&chunk.bytes, &(a..d));
        prop_assert_eq!(chunk.lines, line_span(&line_starts(&source), &(a..d)));
    }
}
