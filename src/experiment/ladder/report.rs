//! `report.html` of a comparison: one static page that needs nothing else and runs no script.

use std::fmt::Write;

use super::outcome::{Outcome, State, Step};
use super::{picture, table};
use crate::experiment::report::{escaped, style as shared};
use crate::experiment::table::thousands;

/// What this page has that an experiment's has not.
const STYLE: &str = include_str!("style.css");

/// The page.
pub fn page(outcome: &Outcome) -> String {
    let style = format!("{}{STYLE}{}", shared(), picture::STYLE);
    let nonce = blake3::hash(outcome.name.as_bytes()).to_hex();
    let name = escaped(&outcome.name);
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; style-src 'nonce-{nonce}'; \
         base-uri 'none'; form-action 'none'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta name=\"generator\" content=\"incontext {}\">\n<title>{name}</title>\n<link rel=\"icon\" href=\"data:,\">\n\
         <style nonce=\"{nonce}\">\n{style}</style>\n</head>\n<body>\n<header>\n<h1>{name}</h1>\n",
        env!("CARGO_PKG_VERSION")
    );
    if let Some(description) = &outcome.description {
        let _ = writeln!(html, "<p class=\"lead\">{}</p>", escaped(description));
    }
    let _ = writeln!(
        html,
        "<p>{} rows to learn from, {} to be asked; compared by {}.</p>\n</header>\n<main id=\"main\">",
        thousands(outcome.training_rows),
        thousands(outcome.test_rows),
        escaped(&outcome.metric.name)
    );
    let _ = writeln!(html, "<p class=\"note advice\">{}</p>", code(&escaped(&outcome.advice)));
    if !outcome.complete {
        html += "<p class=\"note warn\"><b>Not complete.</b> Compare again to go on where it stopped.</p>\n";
    }
    for remark in table::reasons(outcome).iter().chain(&outcome.remarks) {
        let _ = writeln!(html, "<p class=\"note warn\">{}</p>", code(&escaped(remark)));
    }
    if let Some(picture) = picture::pareto(outcome) {
        let _ = writeln!(
            html,
            "<section id=\"cost\"><h2>What it costs, and what it buys</h2>\n<figure>{picture}<figcaption>Higher is better, further \
             left is cheaper. The line joins what no cheaper rung reaches; bars are 95 % intervals.</figcaption></figure></section>"
        );
    }
    let _ = writeln!(html, "<section id=\"rungs\"><h2>Rungs</h2>\n{}</section>", rungs(outcome));
    if let Some(picture) = picture::curve(outcome) {
        let _ = writeln!(
            html,
            "<section id=\"curve\"><h2>With fewer rows</h2>\n<figure>{picture}<figcaption>The same rungs, trained on a part of the \
             rows.</figcaption></figure></section>"
        );
    }
    let provenance = serde_json::to_string_pretty(&outcome.provenance).unwrap_or_default();
    let _ = writeln!(
        html,
        "<section id=\"provenance\"><h2>Provenance</h2>\n<p>Every answer is in <code>rows.html</code> and <code>rows.jsonl</code> beside this \
         page, all numbers in <code>outcome.json</code>.</p>\n<details><summary>What it was made with</summary><pre tabindex=\"0\">{}</pre>\
         </details></section>\n</main>\n<footer><p class=\"quiet\">incontext {}</p></footer>\n</body>\n</html>",
        escaped(&provenance),
        env!("CARGO_PKG_VERSION")
    );
    html
}

fn rungs(outcome: &Outcome) -> String {
    let line = |tag: &str, class: &str, cells: &[String]| {
        let cell = |cell: &String| format!("<{tag}>{}</{tag}>", escaped(cell.trim_start_matches([' ', '*'])));
        format!("<tr{class}>{}</tr>\n", cells.iter().map(cell).collect::<String>())
    };
    let class = |step: &Step| match (&step.state, step.frontier) {
        (State::Measured, true) => " class=\"on\"",
        (State::Measured, false) => "",
        _ => " class=\"quiet\"",
    };
    let rows: String =
        outcome.steps.iter().map(|step| line("td", class(step), &table::row(outcome, step))).collect();
    let legend = table::legend(outcome).replace("* nothing", "A rung in bold is on the frontier: nothing");
    format!(
        "<div class=\"scroll\"><table class=\"rungs\">\n<thead>{}</thead>\n<tbody>\n{rows}</tbody></table></div>\n<p class=\"quiet\">{}</p>\n",
        line("th", "", &table::head(outcome)),
        escaped(&legend)
    )
}

/// Names between backticks as code.
fn code(html: &str) -> String {
    let mut text = String::with_capacity(html.len());
    for (at, part) in html.split('`').enumerate() {
        match at % 2 {
            0 => text += part,
            _ => text += &format!("<code>{part}</code>"),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::ladder::advice;
    use crate::experiment::ladder::advice::tests::{outcome, step};

    #[test]
    fn a_page_is_whole_and_no_name_becomes_markup() {
        let mut outcome = outcome(vec![
            step("zero-shot", 0.5, 10.0),
            step("lora <script>", 0.9, 100.0),
            step("full", 0.8, 7.0),
        ]);
        outcome.steps[2].state = State::Failed("no `room`".to_owned());
        outcome.name = "<i>\"x\"".to_owned();
        outcome.advice = advice::of(&outcome);
        let page = page(&outcome);
        assert!(page.starts_with("<!doctype html>") && page.trim_end().ends_with("</html>"));
        assert!(!page.contains("<script") && !page.contains("<i>"));
        assert!(page.contains("<code>lora &lt;script&gt;</code>"));
        assert!(page.contains("full failed: no <code>room</code>"));
        assert_eq!(page.matches("<tr").count(), 4);
        assert_eq!(page.matches("<svg").count(), 1);
    }
}
