//! `report.html`: a run as one page that needs nothing else, from a disk or a server, on a laptop or a phone.
//!
//! The page asks nobody for anything: styles and scripts are in it, and its own policy forbids the rest. Rows are embedded
//! as JSON (`fold.rs`) that the scripts read; titles, assertions, the table and the provenance are there without them
//! (`html.rs`). Outputs are hostile text: no text becomes markup, here or in the scripts, which only ever set text.

mod fold;
mod html;

use std::path::Path;

use serde_json::json;

use self::fold::Folded;
pub(super) use self::html::escaped;
use super::rows::Row;
use super::summary::Summary;
use super::table;
use crate::error::{Error, Result};
use crate::files;

/// Bytes of rows that a page holds.
const BUDGET: usize = 8 << 20;

const PAGE: &str = include_str!("report/page.html");
const COLOURS: &str = include_str!("report/colours.css");
const STYLE: &str = include_str!("report/style.css");
/// One script of several files: what the others use comes first.
const SCRIPT: &str = concat!(
    "\"use strict\";\n{\n",
    include_str!("report/base.js"),
    include_str!("report/text.js"),
    include_str!("report/cells.js"),
    include_str!("report/charts.js"),
    include_str!("report/row.js"),
    include_str!("report/items.js"),
    include_str!("report/keys.js"),
    "}\n"
);

/// Writes the page to `path`, whole or not at all. Rows are read one by one; those that do not fit are left out, and the
/// page says so.
///
/// # Errors
/// The first error of `rows`; `Io` when it cannot be written.
pub fn write(path: &Path, summary: &Summary, rows: impl Iterator<Item = Result<Row>>) -> Result<()> {
    files::replace(path, page(summary, rows, BUDGET)?.as_bytes())
}

fn page(summary: &Summary, rows: impl Iterator<Item = Result<Row>>, budget: usize) -> Result<String> {
    let mut folded = Folded::new(budget);
    for row in rows {
        folded.add(row?);
    }
    let facts = json!({ "summary": summary, "rows": { "kept": folded.kept(), "all": folded.seen } });
    let facts = inert(&facts.to_string());
    // Only these very styles and scripts may act: who wrote an output cannot know the word.
    let nonce = blake3::hash(facts.as_bytes()).to_hex();
    let piece = |name: &str| -> Result<String> {
        Ok(match name {
            "nonce" => nonce.to_string(),
            "title" => html::escaped(&summary.name),
            "style" => packed(STYLE),
            "head" => html::head(summary),
            "assertions" => html::assertions(summary),
            "cells" => html::cells(summary),
            "left-out" => left_out(&folded),
            "provenance" => html::provenance(summary),
            "version" => env!("CARGO_PKG_VERSION").into(),
            "facts" => facts.clone(),
            "rows" => inert(&folded.json()),
            "script" => packed(SCRIPT),
            _ => return Err(Error::invalid(format!("the page asks for `{name}`, which there is not"))),
        })
    };
    let mut html = String::new();
    let mut rest = PAGE;
    // Once from front to back: what is put in is not looked at again.
    while let Some((before, (name, after))) =
        rest.split_once("{{").and_then(|(before, after)| Some((before, after.split_once("}}")?)))
    {
        html += before;
        html += &piece(name)?;
        rest = after;
    }
    Ok(html + rest)
}

/// The style of every page.
pub(super) fn style() -> String {
    packed(COLOURS) + &packed(STYLE)
}

/// The colours by which it is written, for a picture that stands alone.
pub(super) fn colours() -> String {
    packed(COLOURS)
}

/// Without indentation and lines that are only remarks: they are for those who read the sources.
fn packed(source: &str) -> String {
    let lines = source
        .lines()
        .map(str::trim_start)
        .filter(|line| !line.starts_with("//") && !line.starts_with("/**"));
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// JSON that cannot end the element it stands in, nor begin a comment there: `<` occurs only within its texts.
fn inert(json: &str) -> String {
    json.replace('<', "\\u003c")
}

fn left_out(folded: &Folded) -> String {
    match folded.seen - folded.kept() {
        0 => String::new(),
        left => format!(
            "<p class=\"note warn\"><b>{} of {} rows are not on this page</b>, which would have grown too large: it shows a \
             sample of the items, the same in every cell. All rows are in <code>rows.jsonl</code> beside it; the tables and \
             charts count all of them.</p>\n",
            table::thousands(left),
            table::thousands(folded.seen)
        ),
    }
}

#[cfg(test)]
#[path = "report/tests.rs"]
mod tests;
