//! What of the page is the same without a script: who asked what, what came of it, the table, the provenance.

use std::fmt::Write;

use serde_json::Value;

use crate::experiment::summary::{Cell, Claim, Summary};
use crate::experiment::table::{self, Grid, Verdict};

/// Text as HTML shows it. Characters that a browser would obey, or that would turn the line around, are shown by their
/// number.
pub fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            '\n' | '\t' => html.push(letter),
            '\r' => {}
            '\u{200b}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}' => {
                let _ = write!(html, "[U+{:04X}]", u32::from(letter));
            }
            _ if letter.is_control() => {
                let _ = write!(html, "[U+{:04X}]", u32::from(letter));
            }
            _ => html.push(letter),
        }
    }
    html
}

/// Title, what was asked of what, when, and how it came out.
pub fn head(summary: &Summary) -> String {
    let data = &summary.data;
    let mut html = format!("<h1>{}</h1>\n", escaped(&summary.name));
    if let Some(description) = &summary.description {
        let _ = writeln!(html, "<p class=\"lead\">{}</p>", escaped(description));
    }
    let split = data.split.as_ref().map(|split| format!(", split {}", escaped(split))).unwrap_or_default();
    let cells = summary.cells.len();
    let facts = [
        ("Task", escaped(&summary.task)),
        ("Asked", format!("{} items in {}", table::thousands(data.items), table::counted(cells, "cell"))),
        ("Of", format!("<code>{}</code>{split}", escaped(&data.file))),
        ("BLAKE3", format!("<code class=\"hash\">{}</code>", escaped(&data.blake3))),
        ("Begun", format!("{}, took {}", escaped(&moment(&summary.started)), duration(summary.seconds))),
    ];
    html += "<dl class=\"facts\">\n";
    for (term, said) in facts {
        let _ = writeln!(html, "<div><dt>{term}</dt><dd>{said}</dd></div>");
    }
    html += "</dl>\n";
    if !summary.complete {
        let there: usize = summary.cells.iter().map(|cell| cell.rows).sum();
        let _ = writeln!(
            html,
            "<p class=\"note warn\"><b>Not complete.</b> {} rows are there; run it again to go on where it stopped.</p>",
            table::thousands(there)
        );
    }
    html + &outcome(summary)
}

/// The best cell, and whether it is better than the baseline by more than luck.
fn outcome(summary: &Summary) -> String {
    let Some(metric) = summary.metrics.first() else { return String::new() };
    let Some(best) = Grid::ranked(summary).first().copied() else { return String::new() };
    let Some(estimate) = best.metrics.get(&metric.name) else { return String::new() };
    let name = |cell: &Cell| {
        let values: Vec<String> = table::values(summary, cell).map(|(_, value)| escaped(value)).collect();
        format!(
            "<b>{}</b>{}",
            escaped(&cell.id),
            if values.is_empty() { String::new() } else { format!(" ({})", values.join(", ")) }
        )
    };
    let score = format!("{} {}", escaped(&metric.name), table::with_interval(metric.unit, estimate));
    let baseline = escaped(&summary.baseline);
    let verdict = match &best.against {
        None if best.id == summary.baseline && summary.cells.len() > 1 => {
            "It is the baseline: nothing that was tried is ahead of it.".into()
        }
        None => String::new(),
        Some(against) => format!(
            "Against the baseline, {baseline}: {}.",
            table::in_words(against, Verdict::of(best, summary), table::unit_of(summary, against))
        ),
    };
    format!("<p class=\"note\">Best: {}, {score}. {verdict}</p>\n", name(best))
}

/// Those that failed first; empty when nothing was asserted.
pub fn assertions(summary: &Summary) -> String {
    let (failed, passed): (Vec<&Claim>, Vec<&Claim>) =
        summary.assertions.iter().partition(|claim| !claim.passed);
    let line = |claim: &&Claim| {
        let mark =
            if claim.passed { "<b class=\"ok\">✓ holds</b>" } else { "<b class=\"bad\">✗ fails</b>" };
        let cell = claim.cell.as_ref().map(|cell| format!(" in {}", escaped(cell))).unwrap_or_default();
        let why = if claim.why.is_empty() { String::new() } else { format!(": {}", escaped(&claim.why)) };
        format!("<li>{mark} <code>{}</code>{cell}{why}</li>\n", escaped(&claim.assertion))
    };
    let list = |claims: &[&Claim]| {
        format!("<ul class=\"claims\">\n{}</ul>\n", claims.iter().map(line).collect::<String>())
    };
    let rows: usize = summary.cells.iter().map(|cell| cell.assertions_failed).sum();
    let mut html = String::new();
    if !failed.is_empty() {
        html += &list(&failed);
    }
    if rows > 0 {
        let _ = writeln!(
            html,
            "<p><b class=\"bad\">✗</b> {} of single rows failed; they are shown with the items.</p>",
            table::counted(rows, "assertion")
        );
    }
    if !passed.is_empty() {
        let _ = writeln!(
            html,
            "<details><summary>{} hold{}</summary>\n{}</details>",
            table::counted(passed.len(), "assertion"),
            if passed.len() == 1 { "s" } else { "" },
            list(&passed)
        );
    }
    match html.is_empty() {
        true => html,
        false => format!(
            "<section id=\"assertions\" aria-labelledby=\"assertions-title\">\n<h2 id=\"assertions-title\">Assertions</h2>\n{html}</section>\n"
        ),
    }
}

/// The table of cells, for a browser that runs no scripts.
pub fn cells(summary: &Summary) -> String {
    let grid = Grid::new(summary);
    let line = |tag: &str, values: &[String]| {
        let cell = |value: &String| format!("<{tag}>{}</{tag}>", escaped(value.trim()));
        format!("<tr>{}</tr>\n", values.iter().map(cell).collect::<String>())
    };
    let rows: String = grid.rows.iter().map(|row| line("td", row)).collect();
    let below: String =
        table::explanation(summary).lines().map(|line| format!("<p>{}</p>\n", escaped(line))).collect();
    format!(
        "<div class=\"scroll\"><table>\n<thead>{}</thead>\n<tbody>\n{rows}</tbody></table></div>\n{below}",
        line("th", &grid.head)
    )
}

/// What the run was made with: short things in a list, files and tables as they are.
pub fn provenance(summary: &Summary) -> String {
    let blake3 = escaped(&summary.data.blake3);
    let mut short = format!("<div><dt>data BLAKE3</dt><dd><code>{blake3}</code></dd></div>\n");
    let mut long = String::new();
    for (name, value) in &summary.provenance {
        let name = escaped(&name.replace('_', " "));
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Array(_) | Value::Object(_) => serde_json::to_string_pretty(value).unwrap_or_default(),
            _ => value.to_string(),
        };
        let _ = match text.trim_end().contains('\n') {
            false => writeln!(short, "<div><dt>{name}</dt><dd><code>{}</code></dd></div>", escaped(&text)),
            true => writeln!(
                long,
                "<details><summary>{name}</summary>\n<pre tabindex=\"0\">{}</pre></details>",
                escaped(&text)
            ),
        };
    }
    format!("<dl class=\"facts\">\n{short}</dl>\n{long}")
}

/// `2026-11-25T14:02:11Z` as `2026-11-25 14:02:11 UTC`.
fn moment(written: &str) -> String {
    match written.strip_suffix('Z').and_then(|moment| moment.split_once('T')) {
        Some((date, time)) => format!("{date} {time} UTC"),
        None => written.into(),
    }
}

fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 99.5 => format!("{s:.0} s"),
        s if s < 99.5 * 60.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}
