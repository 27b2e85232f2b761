//! Our scores of labels against PyTorch's (`tests/golden/make_label_scores.py` made the references).

use std::path::Path;

use candle_core::Device;
use incontext::generate::{Generator, Head, LocalGenerator, Scored};
use incontext::nn::Precision;
use incontext::text::layout::Layout;
use incontext::text::tokenizer::Message;
use serde::Deserialize;

use crate::defaults;
use crate::golden::tiny;

const SMOLLM2: &str = "smollm2-135m-instruct";

#[derive(Deserialize)]
struct Row {
    model: String,
    prompt: Option<String>,
    messages: Option<Vec<Message>>,
    labels: Vec<String>,
    tokens: Vec<usize>,
    log_probabilities: Vec<f64>,
    greedy: Vec<bool>,
    unconditional: Vec<f64>,
}

impl Row {
    fn layout(&self) -> Layout {
        match (&self.messages, &self.prompt) {
            (Some(messages), _) => Layout::Chat(messages.clone()),
            (None, prompt) => Layout::Text(prompt.clone().unwrap()),
        }
    }
}

fn rows(of: impl Fn(&str) -> bool) -> Vec<Row> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/label_scores.json");
    let rows: Vec<Row> = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let rows: Vec<Row> = rows.into_iter().filter(|row| of(&row.model)).collect();
    assert!(rows.len() > 5);
    rows
}

#[track_caller]
fn assert_near(ours: &[Scored], theirs: &[f64], tolerance: f64, what: &str) {
    for (ours, theirs) in ours.iter().zip(theirs) {
        let error = (ours.log_probability - theirs).abs();
        assert!(error <= tolerance, "{what}: {} instead of {theirs}", ours.log_probability);
    }
}

fn assert_row(generator: &Generator, head: &Head, row: &Row, tolerance: f64) {
    let layout = row.layout();
    let ours = generator.score_from(head, &layout, &row.labels).unwrap();
    assert_near(&ours, &row.log_probabilities, tolerance, &row.model);
    assert_eq!(ours.iter().map(|label| label.tokens).collect::<Vec<_>>(), row.tokens, "{}", row.model);
    assert_eq!(ours.iter().map(|label| label.greedy).collect::<Vec<_>>(), row.greedy, "{}", row.model);
    let alone = generator.unconditional(&layout, &row.labels).unwrap();
    assert_near(&alone, &row.unconditional, tolerance, &row.model);
}

#[test]
fn scores_equal_the_references_in_tiny_models() {
    for row in rows(|model| model != SMOLLM2) {
        let model = LocalGenerator::load("tiny", &tiny(&row.model), &Device::Cpu, Precision::Int8).unwrap();
        assert_row(&Generator::Local(Box::new(model)), &Head::none(), &row, 1e-4);
    }
}

/// Scores are in floats though the model writes with small integers.
#[test]
fn scores_equal_the_references_in_the_default_model_read_whole_or_from_a_head() {
    let Some(path) = defaults::generator() else { return };
    let model = LocalGenerator::load("smollm2", &path, &Device::Cpu, Precision::Int8).unwrap();
    let generator = Generator::Local(Box::new(model));
    let rows = rows(|model| model == SMOLLM2);
    let layouts: Vec<Layout> = rows[..6].iter().map(Row::layout).collect();
    let head = generator.head(&layouts).unwrap();
    assert!(head.ids().len() > 100, "the instruction and eight demonstrations");
    for row in &rows {
        assert_row(&generator, &Head::none(), row, 1e-3);
        assert_row(&generator, &head, row, 1e-3);
    }
}
