//! The summary of a run as a table: for a terminal, for a Markdown file, and as CSV for other programs.
//!
//! Words and numbers are laid out for people ([`text`], [`markdown`]), best cell first; CSV has every number as it is, in
//! the order of the matrix.

use std::fmt::Write;

use unicode_width::UnicodeWidthStr;

use super::summary::{Against, Axis, Cell, Metric, Summary, Unit};
use crate::eval::stats::{Estimate, SIGNIFICANT};
use crate::prompt::guard;

/// How a cell stands to the baseline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Baseline,
    Better,
    Worse,
    /// A difference that luck may have made.
    Luck,
    /// There was nothing to compare.
    Unknown,
}

impl Verdict {
    pub fn of(cell: &Cell, summary: &Summary) -> Self {
        let Some(against) = &cell.against else {
            return if cell.id == summary.baseline { Self::Baseline } else { Self::Unknown };
        };
        let higher = summary.metrics.iter().find(|metric| metric.name == against.metric);
        let higher = higher.is_none_or(|metric| metric.higher_is_better);
        match against.p_holm < SIGNIFICANT {
            false => Self::Luck,
            true if (against.difference.mean > 0.0) == higher => Self::Better,
            true => Self::Worse,
        }
    }

    /// In front of a line of the table.
    fn mark(self) -> char {
        match self {
            Self::Baseline => '=',
            Self::Better => '+',
            Self::Worse => '-',
            Self::Luck | Self::Unknown => ' ',
        }
    }
}

/// Heads and rows of equal length, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grid {
    pub head: Vec<String>,
    pub rows: Vec<Vec<String>>,
    /// Which columns are words, and stand to the left.
    words: Vec<bool>,
}

impl Grid {
    /// One row a cell, best first.
    pub fn new(summary: &Summary) -> Self {
        let cells = Self::ranked(summary);
        let mut grid = Self { head: Vec::new(), rows: vec![Vec::new(); cells.len()], words: Vec::new() };
        grid.column("cell", true, &cells, |cell| {
            format!("{} {}", Verdict::of(cell, summary).mark(), cell.id)
        });
        for axis in &summary.axes {
            grid.column(&axis.name, true, &cells, |cell| {
                cell.axes.get(&axis.name).map_or_else(|| "-".into(), |value| one_line(value))
            });
        }
        for metric in &summary.metrics {
            grid.column(&heading(metric), false, &cells, |cell| {
                let estimate = cell.metrics.get(&metric.name);
                estimate.map_or_else(|| "-".into(), |estimate| with_interval(metric.unit, estimate))
            });
        }
        if cells.iter().any(|cell| cell.errors > 0) {
            grid.column("errors", false, &cells, |cell| cell.errors.to_string());
        }
        if cells.iter().any(|cell| cell.assertions_failed > 0) {
            grid.column("failed", false, &cells, |cell| cell.assertions_failed.to_string());
        }
        if cells.iter().any(|cell| cell.against.is_some()) {
            let head = format!("against {}", summary.baseline);
            grid.column(&head, true, &cells, |cell| match &cell.against {
                Some(against) => in_words(against, Verdict::of(cell, summary), unit_of(summary, against)),
                None if cell.id == summary.baseline => "baseline".into(),
                None => "-".into(),
            });
        }
        grid
    }

    /// The cells, best first by the first metric; what was not measured stands last.
    pub fn ranked(summary: &Summary) -> Vec<&Cell> {
        let mut cells: Vec<&Cell> = summary.cells.iter().collect();
        if let Some(metric) = summary.metrics.first() {
            let key = |cell: &Cell| {
                let mean = cell.metrics.get(&metric.name).map(|estimate| estimate.mean);
                let mean = mean.map(|mean| if metric.higher_is_better { mean } else { -mean });
                mean.filter(|mean| !mean.is_nan()).unwrap_or(f64::NEG_INFINITY)
            };
            cells.sort_by(|a, b| key(b).total_cmp(&key(a)));
        }
        cells
    }

    fn widths(&self) -> Vec<usize> {
        let lines = || std::iter::once(&self.head).chain(&self.rows);
        let width = |at: usize| lines().map(|line| line[at].width()).max().unwrap_or(0);
        (0..self.head.len()).map(width).collect()
    }

    /// Leaves out metrics, the last first and never the first, until lines have at most so many columns. How many it were.
    fn narrow(&mut self, summary: &Summary, columns: usize) -> usize {
        let first = 1 + summary.axes.len();
        let mut left_out = 0;
        while summary.metrics.len() - left_out > 1 {
            let widths = self.widths();
            if widths.iter().sum::<usize>() + 2 * (widths.len() - 1) <= columns {
                break;
            }
            left_out += 1;
            let at = first + summary.metrics.len() - left_out;
            self.head.remove(at);
            self.words.remove(at);
            self.rows.iter_mut().for_each(|row| drop(row.remove(at)));
        }
        left_out
    }

    fn column(&mut self, head: &str, words: bool, cells: &[&Cell], value: impl Fn(&Cell) -> String) {
        self.head.push(one_line(head));
        self.words.push(words);
        for (row, cell) in self.rows.iter_mut().zip(cells) {
            row.push(value(cell));
        }
    }
}

/// For a terminal of so many columns, if that is known: aligned, and what the marks mean below. Metrics for which there is no
/// room are left out, the last first.
pub fn text(summary: &Summary, columns: Option<usize>) -> String {
    let mut grid = Grid::new(summary);
    let left_out = columns.map_or(0, |columns| grid.narrow(summary, columns));
    let lines = || std::iter::once(&grid.head).chain(&grid.rows);
    let widths = grid.widths();
    let mut text = String::new();
    for (number, line) in lines().enumerate() {
        let mut row = String::new();
        for (at, value) in line.iter().enumerate() {
            let gap = " ".repeat(widths[at] - value.width());
            let between = if at == 0 { "" } else { "  " };
            // The head of the first column stands over the ids, behind the marks.
            let (before, after) = match (grid.words[at], number + at) {
                (true, 0) => ("  ", gap.get(2..).unwrap_or("")),
                (true, _) => ("", gap.as_str()),
                (false, _) => (gap.as_str(), ""),
            };
            row.extend([between, before, value, after]);
        }
        let _ = writeln!(text, "{}", row.trim_end());
    }
    let more = match left_out {
        0 => String::new(),
        1 => "One metric has no room here; the report has it.\n".to_owned(),
        some => format!("{some} metrics have no room here; the report has them.\n"),
    };
    text + "\n" + &explanation(summary) + &more
}

/// The same as a table of Markdown.
pub fn markdown(summary: &Summary) -> String {
    let grid = Grid::new(summary);
    let cell =
        |value: &String| value.trim_start().replace('\\', "\\\\").replace('|', "\\|").replace('<', "&lt;");
    let line =
        |values: &[String]| format!("| {} |\n", values.iter().map(cell).collect::<Vec<_>>().join(" | "));
    let rule: Vec<&str> = grid.words.iter().map(|words| if *words { "---" } else { "---:" }).collect();
    let rows: String = grid.rows.iter().map(|row| line(row)).collect();
    format!("{}| {} |\n{rows}\n{}", line(&grid.head), rule.join(" | "), explanation(summary))
}

/// For other programs: every number with all its digits, empty where there is none.
pub fn csv(summary: &Summary) -> String {
    let mut head: Vec<String> = vec!["cell".into()];
    head.extend(summary.axes.iter().map(|axis| axis.name.clone()));
    head.extend(["rows", "errors", "assertions_passed", "assertions_failed"].map(String::from));
    for Metric { name, .. } in &summary.metrics {
        head.extend([name.clone(), format!("{name}_low"), format!("{name}_high")]);
    }
    let against = "difference,difference_low,difference_high,p,p_holm,test,wins,losses,ties,needed";
    head.extend(against.split(',').map(String::from));
    let mut text = record(&head);
    for cell in &summary.cells {
        let mut row = vec![cell.id.clone()];
        row.extend(summary.axes.iter().map(|axis| cell.axes.get(&axis.name).cloned().unwrap_or_default()));
        let counts = [cell.rows, cell.errors, cell.assertions_passed, cell.assertions_failed];
        row.extend(counts.map(|count| count.to_string()));
        for metric in &summary.metrics {
            row.extend(numbers(cell.metrics.get(&metric.name)));
        }
        row.extend(numbers(cell.against.as_ref().map(|against| &against.difference)));
        row.extend(match &cell.against {
            None => vec![String::new(); 7],
            Some(Against { p, p_holm, test, wins, losses, ties, needed, .. }) => vec![
                p.to_string(),
                p_holm.to_string(),
                test.clone(),
                wins.to_string(),
                losses.to_string(),
                ties.to_string(),
                needed.map(|needed| needed.to_string()).unwrap_or_default(),
            ],
        });
        text += &record(&row);
    }
    text
}

fn numbers(estimate: Option<&Estimate>) -> [String; 3] {
    match estimate {
        Some(Estimate { mean, low, high }) => [mean, low, high].map(f64::to_string),
        None => Default::default(),
    }
}

/// A line of CSV as RFC 4180 has it, ended by a line feed.
fn record(values: &[String]) -> String {
    let quoted = |value: &String| match value.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", value.replace('"', "\"\"")),
        false => value.clone(),
    };
    values.iter().map(quoted).collect::<Vec<_>>().join(",") + "\n"
}

/// A metric's name with its unit.
fn heading(Metric { name, unit, .. }: &Metric) -> String {
    match unit {
        Unit::Share => format!("{name} %"),
        Unit::Ms => format!("{name} ms"),
        Unit::Points | Unit::Tokens => name.clone(),
    }
}

/// What a cell has on each axis that differs, in the order of the axes.
pub fn values<'a>(summary: &'a Summary, cell: &'a Cell) -> impl Iterator<Item = (&'a str, &'a str)> {
    let value = |axis: &'a Axis| Some((axis.name.as_str(), cell.axes.get(&axis.name)?.as_str()));
    summary.axes.iter().filter_map(value)
}

/// `71.2 [66.8, 75.4]`
pub fn with_interval(unit: Unit, estimate: &Estimate) -> String {
    let [mean, low, high] = [estimate.mean, estimate.low, estimate.high].map(|value| number(unit, value));
    format!("{mean} [{low}, {high}]")
}

/// As many digits as can mean something; shares in percent, without the sign.
pub fn number(unit: Unit, value: f64) -> String {
    let value = if unit == Unit::Share { 100.0 * value } else { value };
    let digits = match unit {
        Unit::Share | Unit::Points => 1,
        Unit::Ms | Unit::Tokens if value.abs() < 10.0 => 1,
        Unit::Ms | Unit::Tokens => 0,
    };
    let shown = format!("{value:.digits$}");
    // A rounded nothing has no sign.
    let nothing = shown.starts_with('-') && !shown.contains(|c: char| ('1'..='9').contains(&c));
    if nothing { shown[1..].to_owned() } else { shown }
}

/// `1240` as `1,240`
pub fn thousands(count: usize) -> String {
    let digits = count.to_string();
    let parts: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|part| str::from_utf8(part).ok()).collect();
    parts.join(",")
}

/// `1 row`, `1,240 rows`
pub fn counted(count: usize, what: &str) -> String {
    format!("{} {what}{}", thousands(count), if count == 1 { "" } else { "s" })
}

/// In which a cell was compared.
pub fn unit_of(summary: &Summary, against: &Against) -> Unit {
    let metric = summary.metrics.iter().find(|metric| metric.name == against.metric);
    metric.map_or(Unit::Points, |metric| metric.unit)
}

/// `+6.8 [+2.3, +11.3] better, p = 0.008`
pub fn in_words(against: &Against, verdict: Verdict, unit: Unit) -> String {
    let verdict = match (verdict, against.needed) {
        (Verdict::Better, _) => format!("better, p {}", probability(against.p_holm)),
        (Verdict::Worse, _) => format!("worse, p {}", probability(against.p_holm)),
        (_, Some(needed)) => format!("could be luck, {} rows would tell", thousands(needed)),
        (_, None) => "could be luck".into(),
    };
    format!("{} {verdict}", difference(unit, &against.difference))
}

/// `+6.8 [+2.3, +11.3]`
pub fn difference(unit: Unit, estimate: &Estimate) -> String {
    let Estimate { mean, low, high } = *estimate;
    let [mean, low, high] = [mean, low, high].map(|value| signed(unit, value));
    format!("{mean} [{low}, {high}]")
}

fn signed(unit: Unit, value: f64) -> String {
    let shown = number(unit, value);
    let positive = !shown.starts_with('-') && shown.contains(|c: char| ('1'..='9').contains(&c));
    if positive { format!("+{shown}") } else { shown }
}

/// `< 0.001`, `= 0.008`
pub fn probability(p: f64) -> String {
    if p < 0.001 { "< 0.001".into() } else { format!("= {p:.3}") }
}

/// What the brackets and marks mean, and what is missing.
pub fn explanation(summary: &Summary) -> String {
    let mut text = String::from(
        "In brackets the 95 % interval: where the mean would lie for other rows like these, 95 times in 100.\n",
    );
    let compared: Vec<&Against> = summary.cells.iter().filter_map(|cell| cell.against.as_ref()).collect();
    if let Some(first) = compared.first() {
        let holm = match compared.len() {
            1 => String::new(),
            count => format!(", Holm-corrected for {count} comparisons"),
        };
        let _ = writeln!(
            text,
            "`=` baseline, `+` better and `-` worse than {} in {} by more than luck would make (p < {SIGNIFICANT}, {}{holm}).",
            summary.baseline,
            one_line(&first.metric),
            first.test,
        );
    }
    if !summary.complete {
        let there = summary.cells.iter().map(|cell| cell.rows).sum();
        let _ = writeln!(text, "Not complete: {} rows are there.", thousands(there));
    }
    text
}

/// Names come from files of other people: one line, and nothing that a terminal would obey.
fn one_line(text: &str) -> String {
    guard::inert(text).split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
