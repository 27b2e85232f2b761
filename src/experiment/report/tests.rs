use super::*;
use crate::experiment::testing::{row, summary};

fn page_of(summary: &Summary, rows: Vec<Row>, budget: usize) -> String {
    page(summary, rows.into_iter().map(Ok), budget).unwrap()
}

/// What an element with this id holds.
fn embedded<'a>(page: &'a str, id: &str) -> &'a str {
    let begin = format!("<script type=\"application/json\" id=\"{id}\">");
    page.split_once(&begin).unwrap().1.split_once("</script>").unwrap().0
}

/// Everything that a person or a model may have put somewhere.
const HOSTILE: &str =
    "</script><script>alert(1)</script><!--<script>{{rows}}\"'>\u{202e}\u{0}\u{1b}[2J\u{2028}]]>&lt;";

#[test]
fn the_embedded_rows_and_summary_are_those_of_the_run() {
    let rows: Vec<Row> = (0..20).map(|number| row("c01", number)).collect();
    let page = page_of(&summary(), rows.clone(), BUDGET);
    assert_eq!(fold::tests::read(embedded(&page, "rows")), rows);
    let facts: serde_json::Value = serde_json::from_str(embedded(&page, "facts")).unwrap();
    assert_eq!(serde_json::from_value::<Summary>(facts["summary"].clone()).unwrap(), summary());
    assert_eq!(facts["rows"], json!({ "kept": 20, "all": 20 }));
}

#[test]
fn hostile_text_ends_no_script_and_begins_none() {
    let mut summary = summary();
    summary.name = HOSTILE.into();
    summary.description = Some(HOSTILE.into());
    summary.data.file = HOSTILE.into();
    summary.cells[0].axes.insert("prompt".into(), HOSTILE.into());
    summary.assertions[0].why = HOSTILE.into();
    summary.provenance.insert(HOSTILE.into(), json!(HOSTILE));
    let hostile = Row { output: HOSTILE.into(), error: Some(HOSTILE.into()), ..row("c01", 0) };
    let page = page_of(&summary, vec![hostile.clone()], BUDGET);
    assert_eq!(fold::tests::read(embedded(&page, "rows")), [hostile]);
    // The three that the page has.
    assert_eq!(page.matches("<script").count(), 3);
    assert_eq!(page.matches("</script").count(), 3);
    assert_eq!(page.matches("<!--").count(), 0);
    let odd = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
    let without_data = page.replace(embedded(&page, "rows"), "").replace(embedded(&page, "facts"), "");
    assert!(!without_data.contains(odd));
    assert!(!embedded(&page, "rows").contains(|c: char| c.is_control() && c != '\n'));
}

#[test]
fn the_page_asks_nobody_for_anything() {
    let page = page_of(&summary(), vec![row("c01", 0)], BUDGET);
    for asking in
        ["://", "@import", "url(", " src=", "fetch(", "XMLHttpRequest", "innerHTML", "outerHTML", "eval("]
    {
        assert!(!page.contains(asking), "{asking}");
    }
    let nonce = page.split_once("script-src 'nonce-").unwrap().1.split_once('\'').unwrap().0;
    assert_eq!(page.matches(&format!("nonce=\"{nonce}\"")).count(), 2);
}

#[test]
fn packing_takes_remarks_and_nothing_else() {
    assert_eq!(packed("// a\n  b('//c'); // d\n\n  /** e */\nf"), "b('//c'); // d\n\nf\n");
    // No text in the sources goes over a line end, where indentation would be part of it.
    assert!(SCRIPT.lines().all(|line| line.matches('`').count() % 2 == 0 || line.contains("/`/")));
    let remarks = SCRIPT.lines().map(str::trim_start).filter(|line| line.starts_with("/**"));
    assert!(remarks.into_iter().all(|line| line.ends_with("*/")));
}

#[test]
fn an_empty_report_is_small() {
    let empty = Summary { cells: Vec::new(), assertions: Vec::new(), ..summary() };
    let page = page_of(&empty, Vec::new(), BUDGET);
    assert!(page.len() < 60_000, "{} bytes", page.len());
    assert_eq!(embedded(&page, "rows"), "[]");
}

#[test]
fn rows_that_do_not_fit_are_counted_and_the_reader_is_told_where_they_are() {
    let rows: Vec<Row> = (0..500).map(|number| row("c01", number)).collect();
    let page = page_of(&summary(), rows, 40_000);
    assert!(page.len() < 60_000 + 40_000);
    let kept = fold::tests::read(embedded(&page, "rows")).len();
    assert!(kept > 30 && kept < 500, "{kept}");
    let told = format!("<b>{} of 500 rows are not on this page</b>", 500 - kept);
    assert!(page.contains(&told) && page.contains("<code>rows.jsonl</code>"));
}

#[test]
fn what_failed_comes_before_what_holds_and_before_the_cells() {
    let page = page_of(&summary(), Vec::new(), BUDGET);
    let at = |what: &str| page.find(what).unwrap_or_else(|| panic!("{what}"));
    assert!(at("<code>accuracy &gt;= 0.8</code> in c02: it is 0.78") < at("1 assertion holds"));
    assert!(at("1 assertion holds") < at("id=\"cells-title\""));
}

#[test]
fn without_a_script_there_is_a_table_of_the_cells_and_the_outcome_in_words() {
    let page = page_of(&summary(), Vec::new(), BUDGET);
    let fallback = page.split_once("<noscript>").unwrap().1.split_once("</noscript>").unwrap().0;
    assert!(fallback.contains("<td>78.0 [74.2, 81.6]</td>"), "{fallback}");
    assert!(page.contains("Best: <b>c02</b> (plain, knn), accuracy 78.0 [74.2, 81.6]. Against the baseline, c01: +6.8 [+2.3, +11.3] better, p = 0.008."));
}

#[test]
fn a_run_that_stopped_says_so() {
    let page = page_of(&Summary { complete: false, ..summary() }, Vec::new(), BUDGET);
    assert!(page.contains("<b>Not complete.</b> 1,500 rows are there"));
}
