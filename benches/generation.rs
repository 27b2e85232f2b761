//! How fast the default generator reads a prompt and writes, what virtual tokens cost it, and what a step of training costs.
//!
//! `cargo bench --bench generation` prints one line a case. A word after `--` chooses cases.

mod common;

use std::ops::ControlFlow;

use candle_core::{DType, Device, Tensor, Var};
use common::{ids, report};
use incontext::adapters::{AdapterConfig, Prefix, SoftPrompt, Start};
use incontext::error::Result;
use incontext::generate::{Generator, LocalGenerator, Sampling};
use incontext::hub;
use incontext::models::{Batch, Model};
use incontext::nn::loss::{Targets, cross_entropy};
use incontext::nn::{Adapter, Bare, KvCache, Linear, Mode, Pass, Precision};
use incontext::text::layout::Layout;
use incontext::text::tokenizer::Message;

/// Tokens written in one run.
const WRITTEN: usize = 64;

fn main() {
    common::one_pool();
    let Ok(found) = hub::resolve(hub::DEFAULT_GENERATOR) else {
        println!("skipped: the default generator is not on this machine");
        return;
    };
    let model = Model::load(&found.path, &Device::Cpu).expect("the default generator loads");
    step(&model);
    prefill("prefill 256 in f32", 256, &model);
    let model = Model { transformer: model.transformer.quantised(Precision::Int8).expect("fits"), ..model };
    for tokens in [256, 1024] {
        prefill(&format!("prefill {tokens}"), tokens, &model);
    }
    drop(model);
    for (how, precision) in [("", Precision::Int8), (" in f32", Precision::F32)] {
        let case = format!("decode {WRITTEN}{how}");
        if common::is_chosen(&case) {
            let generator = LocalGenerator::load("smollm2", &found.path, &Device::Cpu, precision);
            decode(&case, &Generator::Local(Box::new(generator.expect("loads"))));
        }
    }
    first_token(&found.path);
    common::report_memory();
}

/// Virtual tokens, and tokens of the prompt behind them.
const VIRTUAL: usize = 100;
const PROMPT: usize = 256;

/// From a prompt to the first token of its answer, without and with virtual tokens before it, in turn.
fn first_token(model: &std::path::Path) {
    if !common::is_chosen("first token") {
        return;
    }
    let base = LocalGenerator::load("smollm2", model, &Device::Cpu, Precision::Int8).expect("loads");
    let with = |config: AdapterConfig| {
        let values = config.start(base.network(), &Start { seed: 1, ..Start::default() }).expect("starts");
        let adapter = config.attach(base.network(), &values).expect("attaches");
        base.clone().with_adapter(config.name(), adapter).expect("fits")
    };
    let soft = SoftPrompt { num_virtual_tokens: VIRTUAL, ..SoftPrompt::default() };
    let prefix = Prefix { num_virtual_tokens: VIRTUAL, ..Prefix::default() };
    let generators =
        [base.clone(), with(AdapterConfig::SoftPrompt(soft)), with(AdapterConfig::Prefix(prefix))]
            .map(|generator| Generator::Local(Box::new(generator)));
    let sampling = Sampling { max_tokens: 1, ..Sampling::default() };
    let mut timings = [const { Vec::new() }; 3];
    for round in 0..16 {
        let layout = Layout::Text(format!("{round} {}", "word ".repeat(PROMPT)));
        for (generator, timings) in generators.iter().zip(&mut timings) {
            let start = std::time::Instant::now();
            generator.generate(&layout, &sampling, &mut |_| ControlFlow::Continue(())).expect("writes");
            if round > 0 {
                timings.push(start.elapsed().as_secs_f64() * 1e3);
            }
        }
    }
    let medians = timings.map(|mut timings| {
        timings.sort_by(f64::total_cmp);
        timings[timings.len() / 2]
    });
    for (name, median) in ["base", "soft prompt", "prefix"].iter().zip(medians) {
        println!("first token, {name}: {median:.1} ms  ({:.2} of the base)", median / medians[0]);
    }
}

/// The prompt, its logits included, as before the first token of an answer.
fn prefill(case: &str, tokens: usize, model: &Model) {
    let batch = Batch::single(&ids(tokens, 48_000));
    report(case, tokens, 7, || {
        let mut cache = KvCache::new(1);
        let hidden = model.transformer.forward(&batch, Pass::cached(&Bare, &mut cache)).expect("runs");
        let last = hidden.narrow(0, tokens - 1, 1).expect("has rows");
        model.transformer.logits(&last).expect("runs");
    });
}

/// A whole answer less its first token, so less the reading of the prompt: greedy, decoded to text.
fn decode(case: &str, generator: &Generator) {
    let turn = Message {
        role: "user".into(),
        content: "Tell me a story about a lighthouse keeper and a storm.".into(),
    };
    let layout = Layout::Chat(vec![turn]);
    let write = |max_tokens: usize| {
        let sampling = Sampling { max_tokens, ..Sampling::default() };
        let start = std::time::Instant::now();
        let written =
            generator.generate(&layout, &sampling, &mut |_| ControlFlow::Continue(())).expect("writes");
        assert_eq!(written.completion_tokens, max_tokens, "the story is long enough");
        start.elapsed().as_secs_f64()
    };
    write(1);
    let mut rates: Vec<f64> =
        (0..7).map(|_| -write(1) + write(WRITTEN + 1)).map(|seconds| WRITTEN as f64 / seconds).collect();
    rates.sort_by(f64::total_cmp);
    println!("{case}: {:.1} tokens/s  (at best {:.1})", rates[3], rates[6]);
}

/// Adds one trainable number to every output of the network's first linear: gradients then flow through all that
/// follows, which is the floor below every method that tunes the lowest layer.
struct Nudge(Var);

impl Adapter for Nudge {
    fn identity(&self) -> u64 {
        1
    }

    fn linear(&self, linear: &Linear, x: &Tensor, _mode: Mode) -> Result<Tensor> {
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
    report("step 4 x 128", 512, 3, || {
        let pass = Pass { adapter: &nudge, cache: None, mode: Mode::Eval };
        let hidden = model.transformer.forward(&batch, pass).expect("runs");
        let loss = cross_entropy(&hidden, &targets, model.transformer.head()).expect("runs");
        let grads = loss.backward().expect("runs backwards");
        assert!(grads.get(nudge.0.as_tensor()).is_some());
    });
}
