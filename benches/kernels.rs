//! What the README claims about speed on one machine: medians of a few cases on the default models.
//!
//! `cargo bench --bench kernels` prints one line a case: the median and the best of several runs, in tokens a second, every
//! token counted once, tokenising included where text goes in, and on Linux tokens per second of processor time, which
//! still means something where other programs compete for the cores. A word after `--` chooses the cases whose name contains it; a case whose model is not on this machine is skipped.

use std::time::Instant;

use candle_core::{DType, Device, Var};
use incontext::embed::{Embedder, LocalEncoder, Overflow};
use incontext::error::Result;
use incontext::hub;
use incontext::models::{Batch, Model};
use incontext::nn::loss::{Targets, cross_entropy};
use incontext::nn::{Adapter, Bare, KvCache, Linear, Mode, Pass};

fn main() {
    // As the binary does: candle's second pool fights rayon for the cores. No other thread runs yet.
    if std::env::var_os("CANDLE_NUM_THREADS").is_none() {
        unsafe { std::env::set_var("CANDLE_NUM_THREADS", "1") };
    }
    match hub::resolve(hub::DEFAULT_ENCODER) {
        Ok(found) => embedding(Embedder::Local(
            LocalEncoder::load("minilm", &found.path, &Device::Cpu).expect("the default encoder loads"),
        )),
        Err(_) => println!("skipped: the default encoder is not on this machine"),
    }
    match hub::resolve(hub::DEFAULT_GENERATOR) {
        Ok(_) if chosen().is_some_and(|word| word.contains("MiniLM")) => {}
        Ok(found) => {
            let model = Model::load(&found.path, &Device::Cpu).expect("the default generator loads");
            prefill(&model);
            decode(&model);
            step(&model);
        }
        Err(_) => println!("skipped: the default generator is not on this machine"),
    }
}

/// The median of `runs` timings, after one to warm up, as tokens a second.
fn report(case: &str, tokens: usize, runs: usize, mut run: impl FnMut()) {
    if chosen().is_some_and(|word| !case.contains(&word)) {
        return;
    }
    run();
    let before = processor_seconds();
    let mut seconds: Vec<f64> = (0..runs)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed().as_secs_f64()
        })
        .collect();
    seconds.sort_by(f64::total_cmp);
    let rate = |seconds: f64| tokens as f64 / seconds;
    let (median, best) = (seconds[runs / 2], seconds[0]);
    print!("{case:<28} {:>9.1} ms {:>9.0} tokens/s, at best {:.0}", median * 1e3, rate(median), rate(best));
    match processor_seconds().zip(before) {
        Some((after, before)) => {
            println!(", {:.0} per processor second", rate((after - before) / runs as f64))
        }
        None => println!(),
    }
}

/// The word that chooses cases.
fn chosen() -> Option<String> {
    std::env::args().skip(1).find(|word| !word.starts_with('-'))
}

/// What all threads of this process have used, where the system tells (Linux).
fn processor_seconds() -> Option<f64> {
    let mut nanoseconds = 0;
    for thread in std::fs::read_dir("/proc/self/task").ok()? {
        let usage = std::fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        nanoseconds += usage.split_whitespace().next()?.parse::<u64>().ok()?;
    }
    Some(nanoseconds as f64 / 1e9)
}

/// Numbers without a pattern that a cache or a branch predictor could like.
fn ids(count: usize, below: u32) -> Vec<u32> {
    (0..count as u64).map(|i| 10 + (i.wrapping_mul(2_654_435_761) >> 7) as u32 % (below - 10)).collect()
}

fn embedding(encoder: Embedder) {
    // Common words are one token each; two special tokens stand around them.
    const WORDS: [&str; 8] = ["water", "house", "letter", "music", "road", "paper", "light", "story"];
    for (texts, tokens) in [(32, 128), (32, 256), (1, 16), (1, 32)] {
        let text = |t: usize| (2..tokens).map(|i| WORDS[(i * 7 + t) % 8]).collect::<Vec<_>>().join(" ");
        let texts: Vec<String> = (0..texts).map(text).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let counted = texts.iter().map(|text| encoder.tokenizer().encode(text, true).expect("encodes").len());
        let total = counted.sum();
        let runs = if texts.len() == 1 { 101 } else { 7 };
        report(&format!("MiniLM {} x {tokens}", texts.len()), total, runs, || {
            encoder.embed(&texts, Overflow::Truncate).expect("embeds");
        });
    }
}

fn prefill(model: &Model) {
    for tokens in [256, 1024] {
        let batch = Batch::single(&ids(tokens, 48_000));
        report(&format!("SmolLM2 prefill {tokens}"), tokens, 5, || {
            let mut cache = KvCache::new(1);
            model.transformer.forward(&batch, Pass::cached(&Bare, &mut cache)).expect("runs");
        });
    }
}

fn decode(model: &Model) {
    let mut cache = KvCache::new(1);
    let start = Batch::single(&ids(32, 48_000));
    model.transformer.forward(&start, Pass::cached(&Bare, &mut cache)).expect("runs");
    report("SmolLM2 decode 16 after 32", 16, 5, || {
        cache.truncate(0, 32);
        for id in ids(16, 48_000) {
            let pass = Pass::cached(&Bare, &mut cache);
            let hidden = model.transformer.forward(&Batch::single(&[id]), pass).expect("runs");
            model.transformer.logits(&hidden).expect("runs");
        }
    });
}

/// Adds one trainable number to every output of the network's first linear: gradients then flow through all that
/// follows, which is the floor below every method that tunes the lowest layer.
struct Nudge(Var);

impl Adapter for Nudge {
    fn identity(&self) -> u64 {
        1
    }

    fn linear(&self, linear: &Linear, x: &candle_core::Tensor, _mode: Mode) -> Result<candle_core::Tensor> {
        let y = linear.frozen(x)?;
        Ok(if linear.site.to_string() == "layers.0.q" { y.broadcast_add(self.0.as_tensor())? } else { y })
    }
}

fn step(model: &Model) {
    let sequences: Vec<Vec<u32>> = ids(512, 48_000).chunks(128).map(<[u32]>::to_vec).collect();
    let batch = Batch::of(&sequences);
    let labels: Vec<i64> = batch.ids.iter().map(|&id| i64::from(id)).collect();
    let targets = Targets::next_token(&labels, &batch.packing);
    let nudge = Nudge(Var::zeros(1, DType::F32, &Device::Cpu).expect("a zero"));
    report("SmolLM2 step 4 x 128", 512, 3, || {
        let pass = Pass { adapter: &nudge, cache: None, mode: Mode::Eval };
        let hidden = model.transformer.forward(&batch, pass).expect("runs");
        let loss = cross_entropy(&hidden, &targets, model.transformer.head()).expect("runs");
        let grads = loss.backward().expect("runs backwards");
        assert!(grads.get(nudge.0.as_tensor()).is_some());
    });
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    if let Some(peak) = status.lines().find(|line| line.starts_with("VmHWM")) {
        println!("peak memory{}", peak.trim_start_matches("VmHWM:"));
    }
}
