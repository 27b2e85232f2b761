use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::experiment::testing::row;

/// As the page's script reads it.
pub fn read(json: &str) -> Vec<Row> {
    let records: Vec<(Vec<Rc<str>>, Value)> = serde_json::from_str(json).unwrap();
    let (mut lines, mut rows) = (Vec::new(), Vec::new());
    for (fresh, mut row) in records {
        lines.extend(fresh);
        texts(&mut row, &mut |text| unfold(text, &lines));
        rows.push(serde_json::from_value(row).unwrap());
    }
    rows
}

fn folded(budget: usize, rows: impl IntoIterator<Item = Row>) -> Folded {
    let mut folded = Folded::new(budget);
    rows.into_iter().for_each(|row| folded.add(row));
    folded
}

fn items(rows: &[Row], cell: &str) -> BTreeSet<String> {
    rows.iter().filter(|row| row.cell == cell).map(|row| row.item.clone()).collect()
}

#[test]
fn what_is_read_back_is_what_was_written() {
    let rows: Vec<Row> = (0..40).map(|number| row(["c01", "c02"][number / 20], number % 20)).collect();
    let folded = folded(1 << 20, rows.clone());
    assert_eq!(read(&folded.json()), rows);
    assert_eq!((folded.kept(), folded.seen), (40, 40));
}

#[test]
fn a_line_that_many_prompts_share_is_there_once() {
    let json = folded(1 << 20, (0..100).map(|number| row("c01", number))).json();
    assert_eq!(json.matches("One label only.").count(), 1);
}

#[test]
fn within_the_budget_are_whole_items_the_same_in_every_cell() {
    let cells = ["c01", "c02", "c03"];
    let rows: Vec<Row> = cells.iter().flat_map(|cell| (0..300).map(|number| row(cell, number))).collect();
    let budget = 60_000;
    let folded = folded(budget, rows.clone());
    let json = folded.json();
    assert!(json.len() <= budget && json.len() > budget / 2, "{}", json.len());
    let read = read(&json);
    assert_eq!((read.len(), folded.seen), (folded.kept(), 900));
    for cell in cells {
        assert_eq!(items(&read, cell), items(&read, "c01"));
    }
    assert!(read.iter().all(|row| rows.contains(row)));
}

#[test]
fn a_budget_too_small_for_any_row_leaves_all_out() {
    let folded = folded(10, (0..5).map(|number| row("c01", number)));
    assert_eq!((folded.json().as_str(), folded.kept(), folded.seen), ("[]", 0, 5));
}

#[test]
fn a_text_of_a_million_letters_is_cut_and_says_so() {
    let long = |number| Row { output: "é".repeat(500_000), ..row("c01", number) };
    let json = folded(1 << 20, [long(0)]).json();
    assert!(json.len() < 110_000);
    assert!(read(&json)[0].output.ends_with("é\n[900000 more bytes are in rows.jsonl]"));
    // Rows that stay when others are left out are not cut again.
    let rows = (0..900).map(|number| if number == 6 { long(6) } else { row("c01", number) });
    let kept = read(&folded(350_000, rows).json());
    assert!(kept.len() < 900);
    let long = kept.iter().find(|row| row.item == "item-6").unwrap();
    assert!(long.output.ends_with("é\n[900000 more bytes are in rows.jsonl]"));
}

#[test]
fn of_many_labels_the_likeliest_are_kept() {
    let labels: BTreeMap<String, f64> =
        (0..77).map(|number| (format!("label {number}"), -f64::from(number) - 0.123_456_789)).collect();
    let json = folded(1 << 20, [Row { labels, ..row("c01", 0) }]).json();
    let labels = &read(&json)[0].labels;
    assert_eq!(labels.len(), LABELS);
    assert!(labels.values().all(|score| *score > -12.0));
    assert_eq!(labels["label 3"], -3.1235);
    assert!(json.contains("\"labels_in_all\":77"));
}

proptest! {
    #[test]
    fn any_text_comes_back(texts in prop::collection::vec("[ab\n\r\t\u{0}<\u{2028}é😀]{0,40}", 1..8)) {
        let rows: Vec<Row> = texts.into_iter().map(|output| Row { output, ..row("c01", 0) }).collect();
        prop_assert_eq!(read(&folded(1 << 20, rows.clone()).json()), rows);
    }
}
