//! What a step of training costs, a method each, beside PyTorch and PEFT (`benches/peers/train_step.py`).
//!
//! `cargo bench --bench training -- METHOD BATCH LENGTH` trains the default generator on texts of random tokens, all of them
//! learned, through the library's own trainer: a step to warm up, then the median of five. METHOD is one of `lora` (rank 8
//! on queries and values), `lora-all`, `soft-prompt`, `prefix`, `llama-adapter`, `llama-adapter-10` (the ten highest layers; the
//! layers below are computed in the first step only), `houlsby`, `ia3` and `full`. One method a process, because the most memory a
//! process has held is a part of the answer. Without arguments, `lora 4 128`.

mod common;

use std::ops::ControlFlow;
use std::time::Instant;

use candle_core::Device;
use incontext::adapters::{
    AdapterConfig, Bottleneck, Ia3, LlamaAdapter, Lora, Placement, Prefix, SoftPrompt, Start, Targets,
    Tensors,
};
use incontext::hub;
use incontext::models::Model;
use incontext::nn::Params;
use incontext::train::{Event, Row, Rows, Schedule, Subject, TrainConfig, train};

/// Timed steps; one more warms up.
const STEPS: usize = 5;

fn main() {
    common::one_pool();
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let method = words.first().map_or("lora", String::as_str);
    let number = |at: usize, otherwise| {
        words.get(at).map_or(otherwise, |word| word.parse().expect("METHOD BATCH LENGTH"))
    };
    let (batch, length) = (number(1, 4), number(2, 128));
    let Ok(found) = hub::resolve(hub::DEFAULT_GENERATOR) else {
        println!("skipped: the default generator is not on this machine");
        return;
    };
    let case = format!("{method} {batch} x {length}");
    if method == "full" {
        let (model, params) = Model::load_trainable(&found.path, &Device::Cpu).expect("loads");
        return measure(&case, &Subject::new("benchmark", &model, &params), batch, length);
    }
    let model = Model::load(&found.path, &Device::Cpu).expect("loads");
    let network = &model.transformer;
    let config = config(method);
    let mut params = Params::new();
    let start = Start { seed: 1, ..Start::default() };
    for (name, tensor) in config.start(network, &start).expect("starts") {
        params.insert(&name, &tensor).expect("is new");
    }
    let variables: Tensors =
        params.iter().map(|(name, var)| (name.to_owned(), var.as_tensor().clone())).collect();
    let adapter = config.attach(network, &variables).expect("attaches");
    let subject = Subject {
        adapter: &*adapter,
        untouched: config.untouched(network).expect("acts somewhere"),
        still: &|name| config.still_at_start(name),
        ..Subject::new("benchmark", &model, &params)
    };
    measure(&case, &subject, batch, length);
}

fn config(method: &str) -> AdapterConfig {
    match method {
        "lora" => AdapterConfig::Lora(Lora {
            targets: Targets::Names(vec!["q_proj".to_owned(), "v_proj".to_owned()]),
            ..Lora::default()
        }),
        "lora-all" => AdapterConfig::Lora(Lora::default()),
        "soft-prompt" => {
            AdapterConfig::SoftPrompt(SoftPrompt { num_virtual_tokens: 20, ..SoftPrompt::default() })
        }
        "prefix" => AdapterConfig::Prefix(Prefix { num_virtual_tokens: 20, ..Prefix::default() }),
        "llama-adapter" => AdapterConfig::LlamaAdapter(LlamaAdapter::default()),
        "llama-adapter-10" => {
            AdapterConfig::LlamaAdapter(LlamaAdapter { adapter_layers: Some(10), ..LlamaAdapter::default() })
        }
        "houlsby" => AdapterConfig::Bottleneck(Bottleneck::new(Placement::Houlsby)),
        "ia3" => AdapterConfig::Ia3(Ia3::default()),
        other => panic!("no method `{other}` is measured here"),
    }
}

/// Steps over the same rows, an epoch each, so that what is kept between epochs is kept from the first step on.
fn measure(case: &str, subject: &Subject, batch: usize, length: usize) {
    let ids = common::ids(batch * length, 49_000);
    let rows = ids.chunks(length).map(|ids| Row::from_ids(&[], ids)).collect();
    let config = TrainConfig {
        steps: Some(STEPS + 1),
        batch_size: batch,
        learning_rate: 1e-4,
        warmup: 0.0,
        schedule: Schedule::Constant,
        shuffle: false,
        ..TrainConfig::default()
    };
    let mut seconds = Vec::new();
    let mut begun = Instant::now();
    let mut on = |event| {
        if matches!(event, Event::Step(_)) {
            seconds.push(begun.elapsed().as_secs_f64());
        }
        begun = Instant::now();
        ControlFlow::Continue(())
    };
    train(subject, &Rows::new(rows, Vec::new()), &config, None, &mut on).expect("trains");
    let timed = &mut seconds[1..];
    timed.sort_by(f64::total_cmp);
    let rate = |seconds: f64| (batch * length) as f64 / seconds;
    println!(
        "{case}: {:.1} tokens/s  ({:.0} ms a step; at best {:.1}; {} values trained)",
        rate(timed[STEPS / 2]),
        timed[STEPS / 2] * 1e3,
        rate(timed[0]),
        subject.params.count(),
    );
    common::report_memory();
}
