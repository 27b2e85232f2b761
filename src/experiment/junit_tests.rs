use super::*;
use crate::experiment::testing::{row, summary};

fn written(rows: Vec<Row>) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("junit.xml");
    write(&path, &summary(), rows.into_iter().map(Ok)).unwrap();
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn a_suite_a_cell_a_case_a_row_and_assertions_as_failures() {
    let failed = Row { error: Some("the endpoint is gone".into()), ..row("c02", 0) };
    let again = Row { repeat: 1, ..row("c01", 0) };
    // Rows of cells may come mixed.
    insta::assert_snapshot!(written(vec![row("c01", 0), failed, row("c01", 1), again]), @r#"
    <?xml version="1.0" encoding="UTF-8"?>
    <testsuites name="demos" tests="6" failures="2" errors="1" time="0.246">
    <testsuite name="demos" tests="1" failures="0" errors="0" time="0.000" timestamp="2026-11-25T14:02:11Z">
    <testcase classname="demos" name="errors &lt;= 1 %" time="0.000"/>
    </testsuite>
    <testsuite name="c01 prompt=plain demos=none" tests="3" failures="1" errors="0" time="0.184" timestamp="2026-11-25T14:02:11Z">
    <testcase classname="demos.c01" name="item-0" time="0.061"/>
    <testcase classname="demos.c01" name="item-1" time="0.061"><failure message="one of the labels: `a fee` is none">one of the labels: `a fee` is none
    input: Where is card 1?
    output: a fee</failure></testcase>
    <testcase classname="demos.c01" name="item-0 (repeat 1)" time="0.061"/>
    </testsuite>
    <testsuite name="c02 prompt=plain demos=knn" tests="2" failures="1" errors="1" time="0.061" timestamp="2026-11-25T14:02:11Z">
    <testcase classname="demos.c02" name="item-0" time="0.061"><error message="the endpoint is gone">input: Where is card 0?</error></testcase>
    <testcase classname="demos.c02" name="accuracy &gt;= 0.8" time="0.000"><failure message="it is 0.78">it is 0.78</failure></testcase>
    </testsuite>
    </testsuites>
    "#);
}

#[test]
fn hostile_text_stays_text_and_what_xml_cannot_say_is_left_out() {
    let mut row = row("c01", 1);
    row.output = "a\u{0}\u{1b}[31m\u{fffe} ]]> <b>&amp;\n\u{10ffff}".into();
    row.item = "\"><testcase name=\"".into();
    row.assertions[0].why = "it's \"<b>\"\u{7}".into();
    let xml = written(vec![row.clone()]);
    let mut reader = quick_xml::Reader::from_str(&xml);
    let (mut names, mut texts) = (Vec::new(), String::new());
    loop {
        match reader.read_event().unwrap() {
            Event::Start(start) | Event::Empty(start) if start.name().as_ref() == "testcase" => {
                let name = start.try_get_attribute("name").unwrap().unwrap();
                names.push(name.value.into_owned());
            }
            Event::Text(text) => texts.push_str(&text),
            Event::GeneralRef(name) => texts.push_str(&format!("&{};", &*name)),
            Event::Eof => break,
            _ => {}
        }
    }
    let unescaped = |text: &str| quick_xml::escape::unescape(text).unwrap().into_owned();
    assert!(names.iter().any(|name| unescaped(name) == row.item), "{names:?}");
    assert!(unescaped(&texts).contains("output: a[31m ]]> <b>&amp;\n\u{10ffff}"), "{texts}");
    assert!(!xml.contains(['\u{0}', '\u{1b}', '\u{7}', '\u{fffe}']));
}

#[test]
fn many_rows_pass_through_a_file_and_are_all_there() {
    let long = |number: usize| Row { output: "long ".repeat(100), ..row("c01", 2 * number + 1) };
    let xml = written((0..1000).map(long).collect());
    assert!(xml.len() > 4 * HELD);
    assert_eq!(xml.matches("<testcase ").count(), 1002);
    assert_eq!(xml.matches("<failure ").count(), 1001);
}

#[test]
fn an_error_among_the_rows_leaves_the_old_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("junit.xml");
    std::fs::write(&path, "old").unwrap();
    let rows = [Ok(row("c01", 0)), Err(crate::Error::corrupt("line 2"))];
    assert!(write(&path, &summary(), rows.into_iter()).is_err());
    assert_eq!(std::fs::read_to_string(path).unwrap(), "old");
}
