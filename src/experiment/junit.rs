//! A run as JUnit XML, which every build server shows: a suite a cell, a test case a row.
//!
//! A row whose assertions do not all hold is a failure, one without output an error. Assertions over a whole cell are
//! test cases of its suite; those over the run have a suite of their own.

use std::collections::BTreeMap;
use std::io::{Seek, Write};
use std::path::Path;

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event};
use tempfile::SpooledTempFile;

use super::rows::Row;
use super::summary::{Cell, Claim, Summary};
use super::table;
use crate::error::{IoContext, Result};
use crate::files;

/// Test cases of a suite that are held in memory before they go to a file, in bytes.
const HELD: usize = 64 << 10;

/// Characters of an input or output that are shown with a failure.
const SHOWN: usize = 2000;

/// Test cases as they come; how many there are stands in front of them, so they wait.
struct Suite {
    cases: Writer<SpooledTempFile>,
    counts: Counts,
}

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    tests: usize,
    failures: usize,
    errors: usize,
    ms: f64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.tests += other.tests;
        self.failures += other.failures;
        self.errors += other.errors;
        self.ms += other.ms;
    }
}

/// Writes `path`, whole or not at all. Rows may come in any order; they are read one by one.
///
/// # Errors
/// The first error of `rows`; `Io` when it cannot be written.
pub fn write(path: &Path, summary: &Summary, rows: impl Iterator<Item = Result<Row>>) -> Result<()> {
    let mut suites = BTreeMap::<String, Suite>::new();
    for row in rows {
        let row = row?;
        let suite = suites.entry(row.cell.clone()).or_insert_with(Suite::new);
        suite.row(&row, &format!("{}.{}", summary.name, row.cell)).at("write", path)?;
    }
    for claim in &summary.assertions {
        let cell = claim.cell.clone().unwrap_or_default();
        let class = if cell.is_empty() { summary.name.clone() } else { format!("{}.{cell}", summary.name) };
        suites.entry(cell).or_insert_with(Suite::new).claim(claim, &class).at("write", path)?;
    }
    files::replace_with(path, |file| all(file, summary, suites).at("write", path))
}

fn all(file: &mut dyn Write, summary: &Summary, suites: BTreeMap<String, Suite>) -> std::io::Result<()> {
    let mut total = Counts::default();
    suites.values().for_each(|suite| total += suite.counts);
    let mut xml = Writer::new(file);
    xml.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    xml.get_mut().write_all(b"\n")?;
    xml.write_event(Event::Start(counted("testsuites", &summary.name, total)))?;
    xml.get_mut().write_all(b"\n")?;
    for (id, suite) in suites {
        let name = match summary.cell(&id) {
            Some(cell) => described(summary, cell),
            None if id.is_empty() => summary.name.clone(),
            None => id,
        };
        let mut start = counted("testsuite", &name, suite.counts);
        start.push_attribute(("timestamp", allowed(&summary.started).as_str()));
        xml.write_event(Event::Start(start))?;
        xml.get_mut().write_all(b"\n")?;
        let mut cases = suite.cases.into_inner();
        cases.rewind()?;
        std::io::copy(&mut cases, xml.get_mut())?;
        xml.write_event(Event::End(BytesEnd::new("testsuite")))?;
        xml.get_mut().write_all(b"\n")?;
    }
    xml.write_event(Event::End(BytesEnd::new("testsuites")))?;
    xml.get_mut().write_all(b"\n")
}

/// `c02 prompt=plain demos=knn`
fn described(summary: &Summary, cell: &Cell) -> String {
    let axes = table::values(summary, cell).map(|(axis, value)| format!(" {axis}={value}"));
    format!("{}{}", cell.id, axes.collect::<String>())
}

fn counted(tag: &'static str, name: &str, counts: Counts) -> BytesStart<'static> {
    let mut start = BytesStart::new(tag);
    start.push_attribute(("name", allowed(name).as_str()));
    for (attribute, count) in
        [("tests", counts.tests), ("failures", counts.failures), ("errors", counts.errors)]
    {
        start.push_attribute((attribute, count.to_string().as_str()));
    }
    start.push_attribute(("time", seconds(counts.ms).as_str()));
    start
}

impl Suite {
    fn new() -> Self {
        Self { cases: Writer::new(SpooledTempFile::new(HELD)), counts: Counts::default() }
    }

    fn row(&mut self, row: &Row, class: &str) -> std::io::Result<()> {
        let name = match row.repeat {
            0 => row.item.clone(),
            repeat => format!("{} (repeat {repeat})", row.item),
        };
        let shown = || format!("input: {}\noutput: {}", clipped(&row.input), clipped(&row.output));
        let failed: Vec<_> = row.assertions.iter().filter(|checked| !checked.passed).collect();
        let outcome = match (&row.error, failed.as_slice()) {
            (Some(error), _) => Some(("error", error.clone(), format!("input: {}", clipped(&row.input)))),
            (None, []) => None,
            (None, failed) => {
                let all: Vec<_> = failed.iter().map(|f| format!("{}: {}", f.assertion, f.why)).collect();
                Some(("failure", all.join("; "), format!("{}\n{}", all.join("\n"), shown())))
            }
        };
        self.case(class, &name, row.ms, outcome)
    }

    fn claim(&mut self, claim: &Claim, class: &str) -> std::io::Result<()> {
        let outcome = (!claim.passed).then(|| ("failure", claim.why.clone(), claim.why.clone()));
        self.case(class, &claim.assertion, 0.0, outcome)
    }

    /// `outcome` is the element, its message and its text; `None` where all is well.
    fn case(
        &mut self,
        class: &str,
        name: &str,
        ms: f64,
        outcome: Option<(&'static str, String, String)>,
    ) -> std::io::Result<()> {
        self.counts += Counts {
            tests: 1,
            failures: usize::from(matches!(outcome, Some(("failure", ..)))),
            errors: usize::from(matches!(outcome, Some(("error", ..)))),
            ms,
        };
        let case = self.cases.create_element("testcase").with_attributes([
            ("classname", allowed(class).as_str()),
            ("name", allowed(name).as_str()),
            ("time", seconds(ms).as_str()),
        ]);
        match outcome {
            None => case.write_empty()?,
            Some((element, message, text)) => case.write_inner_content(|xml| {
                xml.create_element(element)
                    .with_attribute(("message", allowed(clipped(&message)).as_str()))
                    .write_text_content(BytesText::new(&allowed(&text)))?;
                Ok(())
            })?,
        };
        self.cases.get_mut().write_all(b"\n")
    }
}

fn seconds(ms: f64) -> String {
    format!("{:.3}", ms / 1000.0)
}

/// As much of a long text as helps.
fn clipped(text: &str) -> &str {
    text.char_indices().nth(SHOWN).map_or(text, |(end, _)| &text[..end])
}

/// Without the characters that XML 1.0 has no way to write, escaped or not.
fn allowed(text: &str) -> String {
    let is = |c: &char| matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
    text.chars().filter(is).collect()
}

#[cfg(test)]
#[path = "junit_tests.rs"]
mod tests;
