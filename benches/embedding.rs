//! How fast the default encoder turns text into vectors, tokenising included.
//!
//! `cargo bench --bench embedding` prints one line a case. `PASSAGES=FILE` adds the first 1,000 texts of a JSON Lines file
//! (`{"title": ..., "text": ...}`), cut at the encoder's window. A word after `--` chooses cases.

mod common;

use candle_core::Device;
use common::report;
use incontext::embed::{Embedder, LocalEncoder, Overflow};
use incontext::hub;

fn main() {
    common::one_pool();
    let Ok(found) = hub::resolve(hub::DEFAULT_ENCODER) else {
        println!("skipped: the default encoder is not on this machine");
        return;
    };
    let encoder = LocalEncoder::load("minilm", &found.path, &Device::Cpu).expect("the default encoder loads");
    let encoder = Embedder::Local(encoder);
    let run = |case: &str, runs: usize, texts: &[String]| {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let length = |text: &&str| encoder.tokenizer().encode(text, true).expect("encodes").len();
        let tokens = texts.iter().map(length).map(|length| length.min(encoder.window())).sum();
        report(case, tokens, runs, || {
            encoder.embed(&texts, Overflow::Truncate).expect("embeds");
        });
    };
    // Common words are one token each; two special tokens stand around them.
    const WORDS: [&str; 8] = ["water", "house", "letter", "music", "road", "paper", "light", "story"];
    for (texts, tokens) in [(32, 128), (32, 256), (1, 16), (1, 32)] {
        let text = |t: usize| (2..tokens).map(|i| WORDS[(i * 7 + t) % 8]).collect::<Vec<_>>().join(" ");
        let runs = if texts == 1 { 101 } else { 7 };
        run(&format!("embed {texts} x {tokens}"), runs, &(0..texts).map(text).collect::<Vec<_>>());
    }
    if let Some(file) = std::env::var_os("PASSAGES") {
        run("embed 1,000 passages", 1, &passages(&file));
    }
}

fn passages(file: &std::ffi::OsStr) -> Vec<String> {
    let lines = std::fs::read_to_string(file).expect("PASSAGES can be read");
    let text = |line: &str| {
        let value: serde_json::Value = serde_json::from_str(line).expect("a line is JSON");
        let part = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
        format!("{} {}", part("title"), part("text")).trim().to_owned()
    };
    lines.lines().take(1_000).map(text).collect()
}
