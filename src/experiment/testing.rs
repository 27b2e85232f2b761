//! A small run for tests: three cells, two of which are compared with the first, and rows for them.

use std::collections::BTreeMap;

use serde_json::json;

use super::rows::{Asked, Checked, Row};
use super::summary::Summary;

pub fn summary() -> Summary {
    let estimate = |mean: f64, low: f64, high: f64| json!({ "mean": mean, "low": low, "high": high });
    let cell = |id: &str, prompt: &str, demos: &str, errors: usize, accuracy, latency| {
        json!({
            "id": id, "axes": { "prompt": prompt, "demos": demos }, "rows": 500, "errors": errors,
            "assertions_passed": 499, "assertions_failed": 1, "metrics": { "accuracy": accuracy, "latency": latency },
        })
    };
    let against = |difference, p: f64, p_holm: f64, wins: usize, losses: usize, needed| {
        json!({
            "metric": "accuracy", "difference": difference, "p": p, "p_holm": p_holm, "test": "McNemar",
            "wins": wins, "losses": losses, "ties": 500 - wins - losses, "needed": needed,
        })
    };
    let mut cells = [
        cell("c01", "plain", "none", 0, estimate(0.712, 0.668, 0.754), estimate(61.5, 60.0, 63.1)),
        cell("c02", "plain", "knn", 3, estimate(0.78, 0.742, 0.816), estimate(180.0, 171.0, 190.0)),
        cell("c03", "step|by|step", "none", 0, estimate(0.72, 0.68, 0.76), estimate(8.25, 8.0, 8.5)),
    ];
    cells[1]["against"] = against(estimate(0.068, 0.023, 0.113), 0.004, 0.008, 54, 20, json!(310));
    cells[2]["against"] = against(estimate(0.008, -0.03, 0.046), 0.68, 0.68, 45, 41, json!(21240));
    serde_json::from_value(json!({
        "format": 1, "name": "demos", "task": "classify", "started": "2026-11-25T14:02:11Z", "seconds": 187.4,
        "complete": true,
        "data": { "file": "bank.jsonl", "blake3": "8c1f0a3b", "split": "test", "items": 500 },
        "axes": [
            { "name": "prompt", "values": ["plain", "step|by|step"] },
            { "name": "demos", "values": ["none", "knn"] },
        ],
        "metrics": [
            { "name": "accuracy", "unit": "share", "higher_is_better": true },
            { "name": "latency", "unit": "ms", "higher_is_better": false },
        ],
        "baseline": "c01", "cells": cells,
        "assertions": [
            { "cell": "c02", "assertion": "accuracy >= 0.8", "passed": false, "why": "it is 0.78" },
            { "assertion": "errors <= 1 %", "passed": true, "why": "" },
        ],
        "provenance": { "version": "0.1.0", "experiment": "name = \"demos\"\ntask = \"classify\"\n" },
    }))
    .unwrap()
}

/// A row with everything that a row can have, right or wrong by turns.
pub fn row(cell: &str, number: usize) -> Row {
    let right = number.is_multiple_of(2);
    let output = if right { "arrival" } else { "a fee" };
    Row {
        cell: cell.into(),
        item: format!("item-{number}"),
        input: format!("Where is card {number}?"),
        expected: vec!["arrival".into()],
        output: output.into(),
        metrics: BTreeMap::from([("accuracy".into(), f64::from(u8::from(right)))]),
        prompt: Some(Asked {
            text: format!("Sort the question.\nOne label only.\n\nQuestion: Where is card {number}?\nLabel:"),
            tokens: 21,
            demos: vec!["train-1".into()],
            dropped: None,
        }),
        labels: BTreeMap::from([("arrival".into(), -0.25), ("fee".into(), -1.5)]),
        assertions: vec![Checked {
            assertion: "one of the labels".into(),
            passed: right,
            why: if right { String::new() } else { "`a fee` is none".into() },
        }],
        ms: 61.5,
        tokens: [21, 2],
        ..Row::default()
    }
}
