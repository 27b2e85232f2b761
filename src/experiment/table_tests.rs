use super::*;
use crate::experiment::testing::summary;

#[test]
fn a_terminal_sees_columns_the_best_cell_first_and_what_marks_mean() {
    insta::assert_snapshot!(text(&summary(), None), @r#"
      cell  prompt        demos         accuracy %      latency ms  errors  failed  against c01
    + c02  plain         knn    78.0 [74.2, 81.6]  180 [171, 190]       3       1  +6.8 [+2.3, +11.3] better, p = 0.008
      c03  step|by|step  none   72.0 [68.0, 76.0]  8.2 [8.0, 8.5]       0       1  +0.8 [-3.0, +4.6] could be luck, 21,240 rows would tell
    = c01  plain         none   71.2 [66.8, 75.4]     62 [60, 63]       0       1  baseline

    In brackets the 95 % interval: where the mean would lie for other rows like these, 95 times in 100.
    `=` baseline, `+` better and `-` worse than c01 in accuracy by more than luck would make (p < 0.05, McNemar, Holm-corrected for 2 comparisons).
    "#);
}

#[test]
fn markdown_has_the_same_and_no_value_ends_a_column() {
    insta::assert_snapshot!(markdown(&summary()), @r#"
    | cell | prompt | demos | accuracy % | latency ms | errors | failed | against c01 |
    | --- | --- | --- | ---: | ---: | ---: | ---: | --- |
    | + c02 | plain | knn | 78.0 [74.2, 81.6] | 180 [171, 190] | 3 | 1 | +6.8 [+2.3, +11.3] better, p = 0.008 |
    | c03 | step\|by\|step | none | 72.0 [68.0, 76.0] | 8.2 [8.0, 8.5] | 0 | 1 | +0.8 [-3.0, +4.6] could be luck, 21,240 rows would tell |
    | = c01 | plain | none | 71.2 [66.8, 75.4] | 62 [60, 63] | 0 | 1 | baseline |

    In brackets the 95 % interval: where the mean would lie for other rows like these, 95 times in 100.
    `=` baseline, `+` better and `-` worse than c01 in accuracy by more than luck would make (p < 0.05, McNemar, Holm-corrected for 2 comparisons).
    "#);
}

#[test]
fn csv_has_every_number_as_it_is_in_the_order_of_the_matrix() {
    let mut summary = summary();
    summary.cells[2].axes.insert("prompt".into(), "say \"a\", then\nb".into());
    insta::assert_snapshot!(csv(&summary), @r#"
    cell,prompt,demos,rows,errors,assertions_passed,assertions_failed,accuracy,accuracy_low,accuracy_high,latency,latency_low,latency_high,difference,difference_low,difference_high,p,p_holm,test,wins,losses,ties,needed
    c01,plain,none,500,0,499,1,0.712,0.668,0.754,61.5,60,63.1,,,,,,,,,,
    c02,plain,knn,500,3,499,1,0.78,0.742,0.816,180,171,190,0.068,0.023,0.113,0.004,0.008,McNemar,54,20,426,310
    c03,"say ""a"", then
    b",none,500,0,499,1,0.72,0.68,0.76,8.25,8,8.5,0.008,-0.03,0.046,0.68,0.68,McNemar,45,41,414,21240
    "#);
}

#[test]
fn csv_reads_back_as_it_was_meant() {
    let mut summary = summary();
    let value = "say \"a\", then\nb";
    summary.cells[2].axes.insert("prompt".into(), value.into());
    let csv = csv(&summary);
    let mut reader = csv_core::Reader::new();
    let (mut fields, mut ends) = (vec![0; csv.len()], vec![0; 400]);
    let (mut input, mut read) = (csv.as_bytes(), Vec::new());
    loop {
        let (result, used, _, ended) = reader.read_record(input, &mut fields, &mut ends);
        input = &input[used..];
        match result {
            csv_core::ReadRecordResult::Record => {
                let from = std::iter::once(0).chain(ends.iter().copied());
                let field =
                    |(from, to): (usize, &usize)| String::from_utf8(fields[from..*to].to_vec()).unwrap();
                read.push(from.zip(&ends[..ended]).map(field).collect::<Vec<_>>());
            }
            csv_core::ReadRecordResult::End => break,
            _ => {}
        }
    }
    assert_eq!(read.len(), 4);
    assert!(read.iter().all(|record| record.len() == read[0].len()));
    assert_eq!(read[3][1], value);
}

#[test]
fn less_is_better_where_the_metric_says_so() {
    let mut summary = summary();
    summary.metrics[0].higher_is_better = false;
    assert_eq!(Grid::ranked(&summary)[0].id, "c01");
    assert_eq!(Verdict::of(&summary.cells[1], &summary), Verdict::Worse);
    assert_eq!(Verdict::of(&summary.cells[2], &summary), Verdict::Luck);
}

#[test]
fn what_was_not_measured_is_a_dash_and_stands_last() {
    let mut summary = summary();
    summary.cells[1].metrics.clear();
    let grid = Grid::new(&summary);
    assert_eq!(grid.rows[2][..4], ["+ c02", "plain", "knn", "-"]);
}

#[test]
fn a_name_cannot_move_the_cursor_or_begin_a_line() {
    let mut summary = summary();
    summary.cells[0].axes.insert("prompt".into(), "a\u{1b}[2J\nb".into());
    let text = text(&summary, None);
    assert!(!text.contains('\u{1b}') && text.contains("a[2J b"), "{text}");
}

#[test]
fn numbers_are_as_long_as_they_mean_something() {
    let shown = [
        number(Unit::Share, 0.7125),
        number(Unit::Points, 31.26),
        number(Unit::Ms, 1234.4),
        number(Unit::Tokens, 3.16),
        number(Unit::Share, -0.0001),
        signed(Unit::Share, 0.0001),
        signed(Unit::Share, 0.064),
        thousands(1_234_567),
        thousands(12),
    ];
    assert_eq!(shown, ["71.2", "31.3", "1234", "3.2", "0.0", "0.0", "+6.4", "1,234,567", "12"]);
}

#[test]
fn a_narrow_terminal_gets_the_metrics_that_it_has_room_for() {
    let summary = summary();
    let wide = text(&summary, None);
    let columns = wide.lines().next().unwrap_or_default().len() - 1;
    let narrow = text(&summary, Some(columns));
    let metric = |number: usize| summary.metrics[number].name.as_str();
    let head = narrow.lines().next().unwrap();
    assert!(head.contains(metric(0)) && !head.contains(metric(summary.metrics.len() - 1)), "{head}");
    assert!(narrow.lines().next().unwrap().contains("against"));
    assert!(narrow.ends_with("One metric has no room here; the report has it.\n"), "{narrow}");
    assert_eq!(text(&summary, Some(1)), narrow, "the first is never left out");
}
