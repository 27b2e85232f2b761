//! What every chunk of every document keeps to, over random documents of all formats.

use proptest::prelude::*;

use super::*;
use crate::text::document::BlockKind;
use crate::text::load::parse;
use crate::text::tokenizer::tests::tiny_bert;

fn chunks(name: &str, source: &str, limits: &Limits) -> (Document, Vec<Chunk>) {
    let document = parse(name, source.as_bytes().to_vec()).unwrap();
    let chunks = chunk(&document, &tiny_bert(), limits).unwrap();
    (document, chunks)
}

/// Small enough that a short text has all the cases.
const SMALL: Limits = Limits { body: 20, max_body: 24, header: 6, total: 30, min: 6, overlap: 5 };

/// Every byte of the source that a block's visible characters came from is in some chunk.
fn covered(document: &Document, chunks: &[Chunk]) -> bool {
    let mut inside = vec![false; document.source.len()];
    for chunk in chunks {
        inside[chunk.bytes.clone()].fill(true);
    }
    document.blocks.iter().all(|block| {
        let text = &document.text[block.range.clone()];
        let seen = text.char_indices().filter(|(_, c)| !c.is_whitespace());
        seen.map(|(at, c)| block.range.start + at..block.range.start + at + c.len_utf8())
            .flat_map(|range| document.origin.source_range(range))
            .all(|byte| inside[byte])
    })
}

fn keeps_every_promise(name: &str, source: &str, limits: &Limits) -> Result<(), TestCaseError> {
    let tokenizer = tiny_bert();
    let (document, chunks) = chunks(name, source, limits);
    prop_assert_eq!(&chunks, &chunk(&document, &tokenizer, limits).unwrap(), "deterministic");
    prop_assert!(covered(&document, &chunks), "tiled");
    for (index, chunk) in chunks.iter().enumerate() {
        let file_bytes = &document.source[chunk.bytes.clone()];
        prop_assert_eq!(file_bytes, chunk.source.as_ref().unwrap_or(&chunk.text), "spans slice back");
        prop_assert_eq!(chunk.ordinal as usize, index);
        prop_assert!(index == 0 || chunks[index - 1].bytes.start <= chunk.bytes.start, "in order");
        prop_assert!(document.text.contains(&chunk.text) && !chunk.text.trim().is_empty());

        let tokens = tokenizer.count(&chunk.embedded_text()).unwrap();
        prop_assert_eq!(chunk.tokens as usize, tokens);
        prop_assert!(tokens <= limits.total);
        prop_assert!(tokenizer.count(&chunk.text).unwrap() <= limits.max_body);
        prop_assert!(tokenizer.count(&chunk.header).unwrap() <= limits.header);

        let first_line = 1 + document.source[..chunk.bytes.start].matches('\n').count();
        prop_assert_eq!(chunk.lines.0 as usize, first_line);
        prop_assert_eq!(
            chunk.lines.1 as usize,
            first_line + file_bytes.trim_end_matches('\n').matches('\n').count()
        );

        let edges: Vec<usize> =
            chunk.text.char_indices().map(|(at, _)| at).chain([chunk.text.len()]).collect();
        for (low, &start) in edges.iter().enumerate().step_by(7) {
            for &end in edges[low..].iter().step_by(5) {
                let quote = chunk.quote(start..end);
                prop_assert_eq!(quote, &document.source[chunk.source_range(start..end)]);
                if chunk.origin == Origin::Same {
                    prop_assert_eq!(quote, &chunk.text[start..end]);
                }
            }
        }
    }
    Ok(())
}

/// Words of one token and of many, scripts without spaces, and a word longer than any chunk.
fn words() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        8 => "[a-z]{1,9}",
        2 => "[a-z]{1,4}[.!?:,]",
        1 => "[所有权是什么。；é😀ก]{1,30}",
        1 => Just("e.g.".to_owned()),
        1 => "[a-zA-Z0-9+/]{60,140}",
    ];
    proptest::collection::vec(
        (word, proptest::sample::select(vec![" ", " ", " ", "\n", "  ", "\r\n"])),
        1..16,
    )
    .prop_map(|words| words.into_iter().flat_map(|(word, space)| [word, space.to_owned()]).collect())
}

fn document_of(decorate: impl Fn(usize, String) -> String + 'static) -> impl Strategy<Value = String> {
    proptest::collection::vec((0..12usize, words()), 0..10).prop_map(move |parts| {
        parts.into_iter().map(|(kind, words)| decorate(kind, words)).collect::<Vec<_>>().concat()
    })
}

fn markdown() -> impl Strategy<Value = String> {
    document_of(|kind, words| {
        let line = words.replace(['\n', '\r'], " ");
        match kind {
            0 => format!("# {line}\n\n"),
            1 => format!("### {line}\r\n"),
            2 => format!("```\n{words}\n\n  {words}\n```\n\n"),
            3 => format!("- {line}\n- {line}\n  1. {line}\n\n"),
            4 => format!("> {line}\n> {line}\n\n"),
            5 => format!("| {line} | b |\n|---|---|\n| {line} | c |\n\n"),
            6 => format!("<div>{line}</div>\n\n[ref]: x\n\n"),
            7 => format!("    {line}\n\n\u{3000}\n"),
            _ => format!("{words}\n\n"),
        }
    })
}

fn html() -> impl Strategy<Value = String> {
    document_of(|kind, words| match kind {
        0 => format!("<h1>{words}</h1>"),
        1 => format!("<h3>{words}"),
        2 => format!("<pre>{words}\n  {words}</pre>"),
        3 => format!("<ul><li>{words}<li>{words}</ul>"),
        4 => format!("<script>{words}</script>&eacute;&ngE;&amp;{words}"),
        _ => format!("<p>{words}<b>&lt;{words}</b>"),
    })
}

fn json_lines() -> impl Strategy<Value = String> {
    document_of(|kind, words| {
        let json = |text: &str| serde_json::to_string(text).unwrap();
        match kind {
            0 => format!("{}\n", json(&words)),
            1..4 => format!("{{\"text\": {}, \"n\": [1, {{}}]}}\n\n", json(&words)),
            4 => format!(
                "{{\"title\": {}, \"body\": \"\\ud83d\\ude00\\u00e9{}\"}}\n",
                json(&words),
                words.replace(['\n', '\r'], "\\n")
            ),
            _ => {
                let text = format!("{words}\n\n{words}");
                format!("{{\"_id\": 1, \"title\": {}, \"text\": {}}}\r\n", json(&words), json(&text))
            }
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn markdown_keeps_every_promise(source in markdown()) {
        keeps_every_promise("a.md", &source, &SMALL)?;
        keeps_every_promise("a.md", &source, &Limits::default())?;
        // Markdown has no bytes that nobody sees.
        let (document, chunks) = chunks("a.md", &source, &SMALL);
        let mut seen = document.source.clone().into_bytes();
        chunks.iter().for_each(|chunk| seen[chunk.bytes.clone()].fill(b' '));
        prop_assert!(String::from_utf8(seen).unwrap().trim().is_empty());
    }

    #[test]
    fn html_keeps_every_promise(source in html()) {
        keeps_every_promise("a.html", &source, &SMALL)?;
    }

    #[test]
    fn json_lines_keep_every_promise(source in json_lines()) {
        keeps_every_promise("a.jsonl", &source, &SMALL)?;
    }

    #[test]
    fn text_and_code_keep_every_promise(source in markdown()) {
        keeps_every_promise("a.txt", &source, &SMALL)?;
        keeps_every_promise("a.rs", &source, &SMALL)?;
    }

    #[test]
    fn any_text_at_all_keeps_every_promise(source in "[\\PC\n\r\t#>*`|<&-]{0,200}") {
        for name in ["a.md", "a.txt", "a.html", "a.rs"] {
            keeps_every_promise(name, &source, &SMALL)?;
        }
    }

    #[test]
    fn only_the_last_chunk_of_a_section_is_small(source in document_of(|kind, words| {
        // Giant unknown words are left out: alone they are one token, and were counted as many.
        let words = words.split_inclusive(char::is_whitespace).filter(|word| word.len() <= 12).collect::<String>();
        if kind == 0 { format!("```\n{words}\n```\n\n") } else { format!("{words}\n\n") }
    })) {
        let (_, chunks) = chunks("a.md", &source, &SMALL);
        for chunk in chunks.iter().rev().skip(1) {
            prop_assert!(chunk.tokens as usize >= SMALL.min, "{}", chunk.text);
        }
    }
}

#[test]
fn whitespace_has_no_chunks() {
    for name in ["a.md", "a.txt", "a.html", "a.rs", "a.jsonl"] {
        for source in ["", " \n\t\r\n\u{3000}\n", "\u{feff}\n"] {
            assert_eq!(chunks(name, source, &SMALL).1, [], "{name} {source:?}");
        }
    }
}

#[test]
fn a_section_that_fits_is_one_chunk_with_its_heading() {
    let (document, chunks) =
        chunks("a.md", "# Owls\n\nOne.\n\n- two\n- three\n\n## Food\n\nMice.\n", &Limits::default());
    let seen: Vec<_> = chunks.iter().map(|c| (c.header.as_str(), c.text.as_str(), c.lines)).collect();
    let expected =
        [("Owls", "# Owls\n\nOne.\n\n- two\n- three", (1, 6)), ("Owls > Food", "## Food\n\nMice.", (8, 10))];
    assert_eq!(seen, expected);
    assert_eq!(document.blocks[0].kind, BlockKind::Heading(1));
}

#[test]
fn a_record_title_reaches_the_header_of_every_chunk() {
    let text = "a b c. ".repeat(20);
    let line = format!(r#"{{"title": "owls", "text": "{text}"}}"#);
    let (_, chunks) = chunks("a.jsonl", &line, &SMALL);
    assert!(chunks.len() > 2);
    assert!(chunks.iter().all(|chunk| chunk.header == "owls"));
    assert!(chunks[0].text.starts_with("owls\n\na b c."));
}

#[test]
fn a_split_section_repeats_whole_sentences() {
    let source: String = (b'A'..=b'Z').map(|letter| format!("{0} {0} {0}. ", letter as char)).collect();
    let (_, chunks) = chunks("a.txt", &source, &SMALL);
    for pair in chunks.windows(2) {
        let repeated = &pair[1].text[.."a a a.".len()];
        assert!(pair[0].text.ends_with(repeated), "{:?} {:?}", pair[0].text, pair[1].text);
    }
}

#[test]
fn code_stays_whole_when_it_fits_and_is_cut_at_lines_when_it_does_not() {
    let prose = "a b c d e f g h i j. ";
    let fits = "```\na\nb\nc\nd\ne\n  f\n```";
    let (_, whole) = chunks("a.md", &format!("{prose}\n\n{fits}\n\n{prose}\n"), &SMALL);
    assert!(whole.iter().any(|chunk| chunk.text.contains(fits)), "{whole:?}");

    let long: String = (0..30).map(|n| format!("    let x{} = {};\n", n % 7, n % 5)).collect();
    let (_, cut) = chunks("a.md", &format!("```\n{long}```\n"), &SMALL);
    assert!(cut.len() > 5);
    for chunk in &cut[1..] {
        assert!(chunk.text.starts_with("    let") || chunk.text.starts_with("```"), "{:?}", chunk.text);
    }
}

#[test]
fn a_huge_word_is_cut_and_quickly() {
    let base64: String = (0..300_000u32)
        .map(|n| char::from(b'a' + (n.wrapping_mul(2_654_435_761) >> 24) as u8 % 26))
        .collect();
    for name in ["a.txt", "a.md", "a.rs"] {
        let start = std::time::Instant::now();
        let (_, chunks) = chunks(name, &base64, &Limits::default());
        assert!(chunks.len() > 100 && chunks.len() < 3_000, "{}", chunks.len());
        assert!(start.elapsed().as_secs() < 20);
    }
}

#[test]
fn limits_that_contradict_each_other_are_named() {
    let error = Limits { body: 300, ..Limits::default() }.check().unwrap_err();
    assert_eq!(error.to_string(), "chunk limits: body 300 is above max_body 214");
    assert!(Limits::default().check().is_ok() && SMALL.check().is_ok());
}
