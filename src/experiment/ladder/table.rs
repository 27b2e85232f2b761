//! The ladder as a table: its cells in words, and laid out for a terminal.

use unicode_width::UnicodeWidthStr;

use super::outcome::{Outcome, State, Step};
use crate::bytes;
use crate::experiment::summary::Against;
use crate::experiment::table::{difference, probability, thousands, with_interval};

/// What stands over the columns.
pub fn head(outcome: &Outcome) -> Vec<String> {
    let queries = thousands(outcome.queries);
    [
        "rung".to_owned(),
        outcome.metric.name.clone(),
        "against the rung below".to_owned(),
        "trained".to_owned(),
        "stored".to_owned(),
        "core-s to train".to_owned(),
        "memory".to_owned(),
        "ms a query".to_owned(),
        format!("core-s with {queries} queries"),
    ]
    .to_vec()
}

/// A rung, a cell for each column. What is on the frontier is marked.
pub fn row(outcome: &Outcome, step: &Step) -> Vec<String> {
    let unit = outcome.metric.unit;
    let mark = if step.frontier { "*" } else { " " };
    let of_cost = |say: &dyn Fn(&super::Cost) -> String| step.cost.as_ref().map_or(String::new(), say);
    let score = match (&step.state, &step.score) {
        (State::Measured, Some(score)) => with_interval(unit, score),
        (State::Missing, _) => "missing".to_owned(),
        (State::Failed(_), _) => "failed".to_owned(),
        (State::LeftOut(_), _) => "left out".to_owned(),
        (State::Measured, None) => "-".to_owned(),
    };
    let seconds = |seconds: f64| if seconds < 9.95 { format!("{seconds:.1}") } else { whole(seconds) };
    vec![
        format!("{mark} {}", step.name),
        score,
        step.below.as_ref().map_or(String::new(), |below| apart(outcome, below)),
        of_cost(&|cost| thousands(cost.trained_parameters)),
        of_cost(&|cost| bytes::size(cost.bytes)),
        of_cost(&|cost| seconds(cost.core_seconds)),
        of_cost(&|cost| cost.peak_memory.map_or(String::new(), bytes::size)),
        step.query_ms.map_or(String::new(), |ms| if ms < 9.95 { format!("{ms:.1}") } else { whole(ms) }),
        step.total_core_seconds.map_or(String::new(), seconds),
    ]
}

fn whole(value: f64) -> String {
    thousands(value.round() as usize)
}

/// `+6.8 [+2.3, +11.3] p = 0.008`, or that it could be luck.
pub fn apart(outcome: &Outcome, against: &Against) -> String {
    let by = difference(outcome.metric.unit, &against.difference);
    match Step::is_apart(Some(against)) {
        true => format!("{by} p {}", probability(against.p_holm)),
        false => format!("{by} could be luck"),
    }
}

/// What the marks and words mean.
pub fn legend(outcome: &Outcome) -> String {
    format!(
        "Brackets are 95 % intervals over {} test rows (bootstrap); p is of a paired test, corrected for how many there are \
         (Holm). * nothing that costs less scores as high, the cost being that of training and of {} queries on {} cores.",
        thousands(outcome.test_rows),
        thousands(outcome.queries),
        outcome.cores
    )
}

/// Rungs that have no score, or none for some rows, and why.
pub fn reasons(outcome: &Outcome) -> Vec<String> {
    let reason = |step: &Step| match &step.state {
        State::Measured if step.unanswered > 0 => Some(format!(
            "{} has no answer to {} of {} test rows, which are not in its score: {}",
            step.name,
            thousands(step.unanswered),
            thousands(outcome.test_rows),
            step.why.as_deref().unwrap_or("unknown")
        )),
        State::Failed(why) => Some(format!("{} failed: {why}", step.name)),
        State::LeftOut(why) => Some(format!("{} was left out: {why}", step.name)),
        _ => None,
    };
    outcome.steps.iter().filter_map(reason).collect()
}

/// Columns that a narrow terminal does without, the first first: `stored`, `memory`, `trained`, `core-s to train`.
const SPARED: [usize; 4] = [4, 6, 3, 5];

/// For a terminal of so many columns, if that is known: the table, what it means, the advice.
pub fn text(outcome: &Outcome, columns: Option<usize>) -> String {
    let mut lines: Vec<Vec<String>> =
        std::iter::once(head(outcome)).chain(outcome.steps.iter().map(|step| row(outcome, step))).collect();
    let width =
        |lines: &[Vec<String>], at: usize| lines.iter().map(|line| line[at].width()).max().unwrap_or(0);
    let mut widths: Vec<usize> = (0..lines[0].len()).map(|at| width(&lines, at)).collect();
    for at in SPARED {
        if columns.is_none_or(|columns| widths.iter().map(|width| width + 2).sum::<usize>() <= columns + 2) {
            break;
        }
        // A column without width is not laid out.
        lines.iter_mut().for_each(|line| line[at].clear());
        widths[at] = 0;
    }
    let mut text = String::new();
    for line in &lines {
        let mut laid = String::new();
        for (at, (cell, width)) in line.iter().zip(&widths).enumerate() {
            let space = " ".repeat(width - cell.width());
            // Words stand to the left, numbers to the right.
            match at {
                _ if *width == 0 => {}
                0..=2 => laid += &format!("{cell}{space}  "),
                _ => laid += &format!("{space}{cell}  "),
            }
        }
        text += laid.trim_end();
        text.push('\n');
    }
    text.push('\n');
    for line in reasons(outcome).iter().chain(&outcome.remarks) {
        text += &format!("{line}\n");
    }
    text + &format!("{}\n\n{}\n", legend(outcome), outcome.advice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::ladder::advice::tests::{against, outcome, step};

    #[test]
    fn every_rung_is_a_line_and_what_has_no_score_says_why() {
        let mut steps =
            vec![step("zero-shot", 0.5, 10.0), step("lora", 0.94, 1234.5), step("full", 0.0, 1.0)];
        steps[0].frontier = true;
        steps[1].below = against(0.0001);
        steps[2].state = State::LeftOut("it would take 70 minutes of 60".to_owned());
        (steps[1].unanswered, steps[1].why) = (7, Some("532 tokens do not fit".to_owned()));
        let mut outcome = outcome(steps);
        outcome.advice = "Take lora.".to_owned();
        insta::assert_snapshot!(text(&outcome, None), @r"
        rung         accuracy           against the rung below        trained  stored  core-s to train  memory  ms a query  core-s with 1,000 queries
        * zero-shot  50.0 [48.0, 52.0]                                                                                 1.0                         10
          lora       94.0 [92.0, 96.0]  -10.0 [-20.0, 0.0] p < 0.001        5    1 kB              2.0                 1.0                      1,235
          full       left out                                               5    1 kB              2.0                 1.0                        1.0

        lora has no answer to 7 of 300 test rows, which are not in its score: 532 tokens do not fit
        full was left out: it would take 70 minutes of 60
        Brackets are 95 % intervals over 300 test rows (bootstrap); p is of a paired test, corrected for how many there are (Holm). * nothing that costs less scores as high, the cost being that of training and of 1,000 queries on 2 cores.

        Take lora.
        ");
    }
    #[test]
    fn a_narrow_terminal_is_spared_columns_and_never_the_score() {
        let outcome = outcome(vec![step("zero-shot", 0.5, 10.0), step("lora", 0.94, 1234.5)]);
        let narrow = text(&outcome, Some(90));
        let head = narrow.lines().next().unwrap();
        assert!(
            head.contains("accuracy") && head.contains("1,000 queries") && !head.contains("stored"),
            "{head}"
        );
        assert!(text(&outcome, Some(10)).lines().next().unwrap().contains("accuracy"));
    }
}
