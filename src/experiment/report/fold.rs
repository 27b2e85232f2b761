//! Rows, folded so that many fit a page: every line of text is kept once, and a text is the numbers of its lines.
//!
//! Prompts of one cell share their beginning, demonstrations come again and again, and every cell asks the same items; so
//! lines are what repeats. When rows exceed the budget all the same, items are left out by the hash of their id: whole
//! items, the same in every cell, so that cells can still be compared row by row, and the same in every run.

use std::collections::HashMap;
use std::rc::Rc;

use serde_json::{Value, json};

use crate::experiment::rows::Row;

/// Bytes of one text that a page shows.
const LONGEST: usize = 100_000;

/// Labels that a row shows, the likeliest, to four decimals.
const LABELS: usize = 12;

/// Rows as they go into the page.
pub struct Folded {
    budget: usize,
    /// Items above it are left out; without it, all are.
    highest: Option<u64>,
    /// Of the page, as JSON.
    bytes: usize,
    numbers: HashMap<Rc<str>, usize>,
    lines: Vec<Rc<str>>,
    rows: Vec<Kept>,
    /// Rows that were added, kept or not.
    pub seen: usize,
}

struct Kept {
    item: u64,
    json: String,
    /// How many lines there were once this row had been folded.
    lines: usize,
}

impl Folded {
    /// `budget` in bytes of JSON.
    pub fn new(budget: usize) -> Self {
        Self {
            budget,
            highest: Some(u64::MAX),
            bytes: 0,
            numbers: HashMap::new(),
            lines: Vec::new(),
            rows: Vec::new(),
            seen: 0,
        }
    }

    /// Takes a row in, and leaves items out when it was one too many.
    pub fn add(&mut self, mut row: Row) {
        self.seen += 1;
        let item = hash(&row.item);
        if self.highest.is_none_or(|highest| item > highest) {
            return;
        }
        let labels = row.labels.len();
        let mut ranked: Vec<f64> = row.labels.values().copied().collect();
        ranked.sort_by(|a, b| b.total_cmp(a));
        if let Some(&least) = ranked.get(LABELS - 1) {
            row.labels.retain(|_, score| *score >= least);
        }
        row.labels.values_mut().for_each(|score| *score = (*score * 1e4).round() / 1e4);
        // A row is plain data, of which JSON can be made.
        let mut value = serde_json::to_value(&row).unwrap_or_default();
        if row.labels.len() < labels {
            value["labels_in_all"] = json!(labels);
        }
        texts(&mut value, &mut clipped);
        self.keep(item, value);
        while self.bytes > self.budget {
            self.leave_out();
        }
    }

    /// How many rows the page has.
    pub fn kept(&self) -> usize {
        self.rows.len()
    }

    /// A JSON array of `[lines that are new, row]`, in the order in which rows came.
    pub fn json(&self) -> String {
        let mut text = String::with_capacity(self.bytes + 16);
        let mut from = 0;
        for kept in &self.rows {
            let lines: Vec<&str> = self.lines[from..kept.lines].iter().map(|line| &**line).collect();
            text += if text.is_empty() { "[\n" } else { ",\n" };
            text += &format!("[{},{}]", json!(lines), kept.json);
            from = kept.lines;
        }
        if text.is_empty() { "[]".into() } else { text + "\n]" }
    }

    fn keep(&mut self, item: u64, mut value: Value) {
        let before = self.lines.len();
        texts(&mut value, &mut |text| self.fold(text));
        let json = value.to_string();
        let lines = self.lines[before..].iter().map(|line| json!(&**line).to_string().len() + 1);
        self.bytes += json.len() + 6 + lines.sum::<usize>();
        self.rows.push(Kept { item, json, lines: self.lines.len() });
    }

    /// Drops a quarter of the items, and with them the lines that only they have.
    fn leave_out(&mut self) {
        let mut items: Vec<u64> = self.rows.iter().map(|row| row.item).collect();
        items.sort_unstable();
        items.dedup();
        let highest = (items.len() * 3 / 4).checked_sub(1).map(|last| items[last]);
        let rest = Self { highest, seen: self.seen, ..Self::new(self.budget) };
        let before = std::mem::replace(self, rest);
        for row in before.rows.iter().filter(|row| highest.is_some_and(|highest| row.item <= highest)) {
            let mut value: Value = serde_json::from_str(&row.json).unwrap_or_default();
            texts(&mut value, &mut |text| unfold(text, &before.lines));
            self.keep(row.item, value);
        }
    }

    /// `0-19 25 7`: the numbers of the text's lines.
    fn fold(&mut self, text: &str) -> String {
        let mut runs: Vec<(usize, usize)> = Vec::new();
        for line in text.split('\n') {
            let number = self.numbers.get(line).copied().unwrap_or_else(|| {
                let line: Rc<str> = line.into();
                self.lines.push(line.clone());
                self.numbers.insert(line, self.lines.len() - 1);
                self.lines.len() - 1
            });
            match runs.last_mut() {
                Some((_, last)) if *last + 1 == number => *last = number,
                _ => runs.push((number, number)),
            }
        }
        let run = |&(first, last): &(usize, usize)| match first == last {
            true => first.to_string(),
            false => format!("{first}-{last}"),
        };
        runs.iter().map(run).collect::<Vec<_>>().join(" ")
    }
}

/// As much of a text as a page shows, and how much more there is.
fn clipped(text: &str) -> String {
    if text.len() <= LONGEST {
        return text.into();
    }
    let end = text.floor_char_boundary(LONGEST);
    format!("{}\n[{} more bytes are in rows.jsonl]", &text[..end], text.len() - end)
}

/// What [`Folded::fold`] made of a text, as the text again.
fn unfold(folded: &str, lines: &[Rc<str>]) -> String {
    let runs = folded.split(' ').filter_map(|run| {
        let (first, last) = run.split_once('-').unwrap_or((run, run));
        lines.get(first.parse().ok()?..=last.parse().ok()?)
    });
    runs.flatten().map(|line| &**line).collect::<Vec<_>>().join("\n")
}

/// Puts `change` of it in the place of every text within `value`; names of fields stay.
fn texts(value: &mut Value, change: &mut impl FnMut(&str) -> String) {
    match value {
        Value::String(text) => *text = change(text),
        Value::Array(values) => values.iter_mut().for_each(|value| texts(value, change)),
        Value::Object(fields) => fields.values_mut().for_each(|value| texts(value, change)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn hash(item: &str) -> u64 {
    let hash = blake3::hash(item.as_bytes());
    hash.as_bytes()[..8].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
#[path = "fold_tests.rs"]
pub mod tests;
