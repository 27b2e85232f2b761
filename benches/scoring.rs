//! What it costs to score six labels behind eight demonstrations, beside reading the prompt once a label.
//!
//! `cargo bench --bench scoring` prints, for demonstrations of a line and of a paragraph, milliseconds an item, how much less
//! that is than one prefill a label, and on Linux the time of all threads, which still means something where other programs
//! compete for the cores. All in 32-bit floats.

mod common;

use std::time::Instant;

use candle_core::{D, Device, Tensor};
use common::is_chosen;
use incontext::generate::{Generator, LocalGenerator};
use incontext::hub;
use incontext::models::{Batch, Model};
use incontext::nn::{Bare, KvCache, Pass, Precision};
use incontext::text::layout::Layout;

/// The log-probability of each label behind a prompt.
type Score<'a> = &'a dyn Fn(&Layout) -> Vec<f64>;

const ROUNDS: usize = 3;

const LABELS: [&str; 6] =
    ["abbreviation", "thing or event", "description", "person or group", "location", "number"];

const DEMONSTRATIONS: [(&str, &str); 8] = [
    ("Which river runs through the middle of Prague?", "location"),
    ("Who painted the ceiling of that chapel in Rome?", "person or group"),
    ("How many strings does a cello have?", "number"),
    ("What does GPS stand for?", "abbreviation"),
    ("Why do leaves turn red in autumn?", "description"),
    ("What instrument has eighty-eight keys?", "thing or event"),
    ("In what year was the first zip fastener sold?", "number"),
    ("What is a palindrome?", "description"),
];

const QUESTIONS: [&str; 4] = [
    "Where do puffins nest in winter?",
    "Who wrote the first cookbook?",
    "How tall is a giraffe at birth?",
    "What do bees make besides honey?",
];

fn main() {
    common::one_pool();
    let Ok(found) = hub::resolve(hub::DEFAULT_GENERATOR) else {
        println!("skipped: the default generator is not on this machine");
        return;
    };
    let model = Model::load(&found.path, &Device::Cpu).expect("loads");
    let generator =
        LocalGenerator::load("smollm2", &found.path, &Device::Cpu, Precision::Int8).expect("loads");
    let generator = Generator::Local(Box::new(generator));
    for (what, times) in [("lines", 1), ("paragraphs", 5)] {
        if is_chosen(what) {
            compare(what, times, &model, &generator);
        }
    }
}

fn compare(what: &str, times: usize, model: &Model, generator: &Generator) {
    let demonstration =
        |(question, label)| format!("Question:{}\nKind: {label}\n\n", format!(" {question}").repeat(times));
    let shown: String = DEMONSTRATIONS.map(demonstration).concat();
    let items = QUESTIONS.map(|question| Layout::Text(format!("{shown}Question: {question}\nKind:")));
    let labels = LABELS.map(str::to_owned);
    let head = generator.head(&items).expect("renders");
    let tokens = generator.count(&items[0]).expect("renders");
    println!("{what}: a prompt of {tokens} tokens, of which {} are in the head", head.ids().len());

    let prefill_a_label = |item: &Layout| -> Vec<f64> {
        let one = |label: &String| generator.score(item, std::slice::from_ref(label)).expect("scores")[0];
        labels.iter().map(|label| one(label).log_probability).collect()
    };
    let at_once = |item: &Layout| -> Vec<f64> {
        let scored = generator.score(item, &labels).expect("scores");
        scored.iter().map(|label| label.log_probability).collect()
    };
    let from_head = |item: &Layout| -> Vec<f64> {
        let scored = generator.score_from(&head, item, &labels).expect("scores");
        scored.iter().map(|label| label.log_probability).collect()
    };
    let cases: [(&str, Score); 4] = [
        ("one prefill a label", &prefill_a_label),
        ("one prefill, then label by label", &|item| label_by_label(model, item, &labels)),
        ("all in one pass", &at_once),
        ("all in one pass, from a head", &from_head),
    ];
    let expected = prefill_a_label(&items[0]);
    for (case, score) in cases {
        let near = score(&items[0]).iter().zip(&expected).all(|(ours, theirs)| (ours - theirs).abs() < 1e-3);
        assert!(near, "{case} computes something else");
    }
    // In turn, round after round, so that a busy moment hits all.
    let mut wall = vec![Vec::new(); cases.len()];
    let mut processor = vec![Vec::new(); cases.len()];
    for _ in 0..ROUNDS {
        for (at, (_, score)) in cases.iter().enumerate() {
            let (start, before) = (Instant::now(), common::processor_seconds());
            items.iter().for_each(|item| drop(score(item)));
            wall[at].push(start.elapsed().as_secs_f64() / items.len() as f64);
            let used = common::processor_seconds().zip(before).map(|(after, before)| after - before);
            processor[at].push(used.unwrap_or(0.0) / items.len() as f64);
        }
    }
    for (at, (case, _)) in cases.iter().enumerate() {
        let ratios = |seconds: &[Vec<f64>]| median(seconds[at].iter().zip(&seconds[0]).map(|(a, b)| b / a));
        println!(
            "{what}, {case}: {:.1} ms  ({:.2} times as fast; {:.1} ms of processor time, {:.2} times less)",
            1e3 * median(wall[at].iter().copied()),
            ratios(&wall),
            1e3 * median(processor[at].iter().copied()),
            ratios(&processor),
        );
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The cache cut back after each label.
fn label_by_label(model: &Model, item: &Layout, labels: &[String]) -> Vec<f64> {
    let tokenizer = model.tokenizer.as_ref().expect("a GGUF file has a tokenizer");
    let prompt = item.text();
    let ids = tokenizer.encode(&prompt, false).expect("encodes");
    let mut cache = KvCache::new(1);
    let read = |ids: &[u32], cache: &mut KvCache| -> Tensor {
        model.transformer.forward(&Batch::single(ids), Pass::cached(&Bare, cache)).expect("runs")
    };
    let hidden = read(&ids, &mut cache);
    let last = hidden.narrow(0, ids.len() - 1, 1).expect("has rows");
    let score = |label: &String| {
        let whole = tokenizer.encode(&format!("{prompt} {label}"), false).expect("encodes");
        let label = &whole[ids.len()..];
        let mut rows = vec![last.clone()];
        if label.len() > 1 {
            rows.push(read(&label[..label.len() - 1], &mut cache));
            cache.truncate(0, ids.len());
        }
        let logits = model.transformer.logits(&Tensor::cat(&rows, 0).expect("fits")).expect("runs"); // (n, V)
        let wanted = Tensor::new(label, &Device::Cpu).and_then(|ids| ids.unsqueeze(1)).expect("a column");
        let all = candle_nn::ops::log_softmax(&logits, D::Minus1).and_then(|all| all.gather(&wanted, 1));
        let sum = all.and_then(|chosen| chosen.sum_all()).and_then(|sum| sum.to_scalar::<f32>());
        f64::from(sum.expect("runs"))
    };
    labels.iter().map(score).collect()
}
