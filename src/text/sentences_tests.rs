use proptest::prelude::*;

use super::*;

fn shown(text: &str, format: Format) -> Vec<(SentenceKind, &str)> {
    sentences(text, format).into_iter().map(|s| (s.kind, &text[s.range])).collect()
}

fn prose(text: &str) -> Vec<&str> {
    let all = shown(text, Format::Markdown).into_iter();
    all.filter(|(kind, _)| *kind == SentenceKind::Prose).map(|(_, text)| text).collect()
}

#[test]
fn sentences_end_where_people_end_them() {
    assert_eq!(
        prose("Ask Dr. Smith, e.g. about v1.2.3. It is 3.5 m long! J. Doe agrees? Yes."),
        ["Ask Dr. Smith, e.g. about v1.2.3.", "It is 3.5 m long!", "J. Doe agrees?", "Yes."]
    );
}

#[test]
fn code_inside_a_sentence_does_not_end_it() {
    let text = "Use `println!(\"{}\", x)?` or `a.b()` now.";
    assert_eq!(prose(text), [text]);
}

#[test]
fn a_wrapped_line_is_not_the_end_of_a_sentence() {
    assert_eq!(
        prose("One owner\nat a time. Then\r\nit is dropped."),
        ["One owner\nat a time.", "Then\r\nit is dropped."]
    );
}

#[test]
fn chinese_and_japanese_marks_end_sentences() {
    assert_eq!(
        prose("每个值都有一个所有者。值会被丢弃；内存被释放！はい？"),
        ["每个值都有一个所有者。", "值会被丢弃；", "内存被释放！", "はい？"]
    );
}

#[test]
fn bullets_headings_rows_and_code_are_not_glued_together() {
    let text = "# Rules\n- One owner\n- Two *readers*\n  at once\n\n| a | b |\n|---|---|\n> Quoted\n> text.\n\n\
                ```rust\nlet x = 5;\n\ndrop(x);\n```\nAfter.\n\nTitle\n-----\n1. [x] Done.";
    use SentenceKind::*;
    assert_eq!(
        shown(text, Format::Markdown),
        [
            (Heading, "# Rules"),
            (Prose, "One owner"),
            (Prose, "Two *readers*\n  at once"),
            (Row, "| a | b |"),
            (Markup, "|---|---|"),
            (Prose, "Quoted\n> text."),
            (Markup, "```rust"),
            (Code, "let x = 5;"),
            (Code, "drop(x);"),
            (Markup, "```"),
            (Prose, "After."),
            (Heading, "Title"),
            (Markup, "-----"),
            (Prose, "Done."),
        ]
    );
}

#[test]
fn quoted_paragraphs_end_at_a_lone_mark_and_marks_begin_no_sentence() {
    let text = "> ### Heap\n>\n> All data. Known\n> size.\n> It fits.\n>\n> Next.\n\nAfter a > b.";
    assert_eq!(prose(text), ["All data.", "Known\n> size.", "It fits.", "Next.", "After a > b."]);
    assert_eq!(shown(text, Format::Markdown)[0], (SentenceKind::Heading, "### Heap"));
}

#[test]
fn a_chunk_that_begins_inside_a_code_block_is_read_so() {
    let kinds = |text| shown(text, Format::Markdown).into_iter().map(|(kind, _)| kind).collect::<Vec<_>>();
    use SentenceKind::*;
    assert_eq!(kinds("    let a = 1;\n}\n```\n\nProse here."), [Code, Code, Markup, Prose]);
    assert_eq!(kinds("x\n```\nProse.\n```rust\ny\n```"), [Code, Markup, Prose, Markup, Code, Markup]);
    assert_eq!(kinds("Like this:\n```\ny"), [Prose, Markup, Code]);
}

#[test]
fn links_without_words_say_nothing() {
    use SentenceKind::*;
    for text in [
        "[Next](a.md) | [Back](b.md)",
        "![figure](x.png)",
        "<https://a.org>",
        "[ch04]: ch04.md",
        "<img src=\"a\">",
    ] {
        assert_eq!(shown(text, Format::Markdown), [(Markup, text)]);
    }
    assert_eq!(prose("See [the book](a.md) first."), ["See [the book](a.md) first."]);
    assert_eq!(prose("Vec<T> grows."), ["Vec<T> grows."]);
}

#[test]
fn plain_text_goes_on_over_a_wrapped_line_but_not_over_a_short_one() {
    let text = "A title\nThe first line is long enough to have been wrapped\nby an editor. Next.";
    let lines: Vec<&str> = shown(text, Format::Text).into_iter().map(|(_, text)| text).collect();
    assert_eq!(
        lines,
        ["A title", "The first line is long enough to have been wrapped\nby an editor.", "Next."]
    );
}

#[test]
fn html_lines_and_code_lines_stand_alone() {
    use SentenceKind::*;
    assert_eq!(shown("Home\nAbout us", Format::Html), [(Prose, "Home"), (Prose, "About us")]);
    assert_eq!(shown("fn main() {\n}\n", Format::Code), [(Code, "fn main() {"), (Code, "}")]);
}

fn formats() -> impl Strategy<Value = Format> {
    use Format::*;
    prop::sample::select(vec![Markdown, Text, Html, JsonLines, Code])
}

#[test]
fn comments_say_nothing() {
    let text = "Tea is hot.\n\n<!-- Old headings. Do not remove. --> <a id=\"x\"></a>\n\nIt cools.";
    assert_eq!(prose(text), ["Tea is hot.", "It cools."]);
    assert_eq!(prose("Do not remove. -->\nTea <!-- green? -->is hot."), ["Tea <!-- green? -->is hot."]);
    assert_eq!(prose("Write <!-- to begin a comment."), ["Write <!-- to begin a comment."]);
    assert_eq!(prose("An arrow.\n\nIt is --> like this."), ["An arrow.", "It is --> like this."]);
}

proptest! {
    #[test]
    fn sentences_are_trimmed_slices_in_order(
        text in "([a-zA-Z0-9#>*|`~. \n\r\t\\-=\\[\\]()!<]|。|；|é|ß|<!--|-->|\\PC){0,80}", format in formats(),
    ) {
        let mut end = 0;
        for sentence in sentences(&text, format) {
            prop_assert!(sentence.range.start >= end);
            let slice = text.get(sentence.range.clone());
            prop_assert!(slice.is_some_and(|slice| !slice.is_empty() && slice == slice.trim()), "{slice:?}");
            end = sentence.range.end;
        }
    }

    #[test]
    fn no_word_is_lost(words in prop::collection::vec("[a-z]{1,8}[.!?]?", 0..30), format in formats()) {
        let text = words.join(" ");
        let kept: Vec<&str> =
            sentences(&text, format).iter().flat_map(|s| text[s.range.clone()].split(' ')).collect();
        prop_assert_eq!(kept, words);
    }
}
