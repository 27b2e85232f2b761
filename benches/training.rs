//! What a step of training costs, a method each, beside PyTorch and PEFT (`benches/peers/train_step.py`).
//!
//! `cargo bench --bench training -- METHOD BATCH LENGTH` trains the default generator on texts of random tokens, all of them
//! learned, through the library's own trainer: a step to warm up, then the median of five. METHOD is one of `lora` (rank 8
//! on queries and values), `lora-all`, `soft-prompt`, `prefix`, `llama-adapter`, `llama-adapter-10` (the ten highest layers; the
//! layers below are computed in the first step only), `houlsby`, `ia3` and `full`. One method a process, because the most memory a
//! process has held is a part of the answer. Without arguments, `lora 4 128`.
//!
//! Rows of a person's file are measured in two steps, so that both programs train on the same ids:
//!
//! ```text
//! cargo bench --bench training -- rows EXAMPLES.jsonl ROWS.jsonl      # as `tune` would lay them out
//! cargo bench --bench training -- lora 8 ROWS.jsonl                   # real lengths, loss on the answers only
//! cargo bench --bench training -- curve ROWS.jsonl FOLDER 200         # 200 losses of LoRA, and where it started
//! cargo bench --bench training -- reward JUDGED.jsonl FOLDER 100      # the same of a reward model, from pairs of answers
//! ```

mod common;

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use candle_core::Device;
use incontext::adapters::{
    AdapterConfig, Bottleneck, Ia3, LlamaAdapter, Lora, Placement, Prefix, SoftPrompt, Start, Stored,
    Targets, Task, Tensors,
};
use incontext::hub;
use incontext::models::{Goal, Model, NewHead, Selected, Selection};
use incontext::nn::{Adapter, Params};
use incontext::rlhf::reward::Reward;
use incontext::text::records::Source;
use incontext::train::{Event, Reading, Row, Rows, Schedule, Subject, TrainConfig, train};
use serde_json::{Value, json};

/// Timed steps over one batch; one more warms up.
const STEPS: usize = 5;

/// Timed steps over rows of a file, which differ in length; one more warms up.
const REAL_STEPS: usize = 20;

fn main() {
    common::one_pool();
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let Ok(found) = hub::resolve(hub::DEFAULT_GENERATOR) else {
        println!("skipped: the default generator is not on this machine");
        return;
    };
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["rows", examples, rows] => write_rows(&found.path, examples.as_ref(), rows.as_ref()),
        ["curve", rows, folder, steps] => {
            curve(&found.path, rows.as_ref(), folder.as_ref(), steps.parse().expect("a number of steps"));
        }
        ["reward", judged, folder, steps] => {
            reward(&found.path, judged.as_ref(), folder.as_ref(), steps.parse().expect("a number of steps"));
        }
        [method, batch, length] => speed(&found.path, method, batch.parse().expect("a batch"), length),
        [] => speed(&found.path, "lora", 4, "128"),
        _ => panic!(
            "METHOD BATCH LENGTH|ROWS.jsonl, rows EXAMPLES.jsonl ROWS.jsonl, curve ROWS.jsonl FOLDER STEPS, or reward JUDGED.jsonl FOLDER STEPS"
        ),
    }
}

/// How fast `method` trains on texts of `length` random tokens, or on the rows of a file.
fn speed(model: &Path, method: &str, batch: usize, length: &str) {
    let case = format!("{method} {batch} x {length}");
    let (rows, steps) = match length.parse::<usize>() {
        Ok(length) => {
            let ids = common::ids(batch * length, 49_000);
            (ids.chunks(length).map(|ids| Row::from_ids(&[], ids)).collect(), STEPS)
        }
        Err(_) => (read_rows(length.as_ref()), REAL_STEPS),
    };
    let rows = Rows::new(rows, Vec::new());
    if method == "full" {
        let (model, params) = Model::load_trainable(model, &Device::Cpu).expect("loads");
        return measure(&case, &Subject::new("benchmark", &model, &params), &rows, batch, steps);
    }
    let model = Model::load(model, &Device::Cpu).expect("loads");
    let started = Started::new(&model, config(method), Params::new());
    measure(&case, &started.subject(&model), &rows, batch, steps);
}

/// An adapter where it starts, as variables.
struct Started {
    config: AdapterConfig,
    params: Params,
    /// Those of `params` that are the base's own.
    base: Vec<String>,
    adapter: std::sync::Arc<dyn Adapter>,
    untouched: usize,
    still: Box<dyn Fn(&str) -> bool + Sync>,
}

impl Started {
    /// An adapter by `config`, beside what is trained of the base.
    fn new(model: &Model, config: AdapterConfig, mut params: Params) -> Self {
        let network = &model.transformer;
        let base: Vec<String> = params.iter().map(|(name, _)| name.to_owned()).collect();
        let start = Start { seed: 1, ..Start::default() };
        for (name, tensor) in config.start(network, &start).expect("starts") {
            params.insert(&name, &tensor).expect("is new");
        }
        let mut own = variables(&params);
        own.retain(|name, _| !base.contains(name));
        let adapter = config.attach(network, &own).expect("attaches");
        let untouched = config.untouched(network).expect("acts somewhere");
        let of = config.clone();
        Self {
            params,
            base,
            adapter,
            untouched,
            still: Box::new(move |name| of.still_at_start(name)),
            config,
        }
    }

    /// The adapter as it began, with tensors of the base, as PEFT reads it.
    fn write(&self, model: &Model, task: Task, folder: &Path) {
        let values = variables(&self.params).into_iter();
        let values = values.map(|(name, tensor)| (name, tensor.copy().expect("copies")));
        let (base, tensors): (Tensors, Tensors) = values.partition(|(name, _)| self.base.contains(name));
        let base_name = Some(hub::DEFAULT_GENERATOR.to_owned());
        let stored =
            Stored { config: Some(self.config.clone()), tensors, base, task, about: None, base_name };
        std::fs::create_dir_all(folder).expect("can be made");
        stored.write(&folder.join("start"), &model.transformer, "llama").expect("can be written");
    }

    fn subject<'a>(&'a self, model: &'a Model) -> Subject<'a> {
        Subject {
            adapter: &*self.adapter,
            untouched: self.untouched,
            still: &self.still,
            ..Subject::new("benchmark", model, &self.params)
        }
    }
}

fn variables(params: &Params) -> Tensors {
    params.iter().map(|(name, var)| (name.to_owned(), var.as_tensor().clone())).collect()
}

/// The ids of every example, and how many of the last of them are learned.
fn write_rows(model: &Path, examples: &Path, rows: &Path) {
    let tokenizer = Model::load(model, &Device::Cpu).expect("loads").tokenizer.expect("writes");
    let read =
        Reading::new(&tokenizer, 1024).read(&Source::read(examples).expect("can be read")).expect("rows");
    let line = |row: &Row| json!({ "ids": row.ids, "learned": row.targets() }).to_string() + "\n";
    std::fs::write(rows, read.rows.iter().map(line).collect::<String>()).expect("can be written");
}

fn read_rows(path: &Path) -> Vec<Row> {
    let text = std::fs::read_to_string(path).expect("can be read");
    let row = |line: &str| {
        let row: Value = serde_json::from_str(line).expect("a row a line");
        let ids: Vec<u32> = serde_json::from_value(row["ids"].clone()).expect("ids");
        let learned = row["learned"].as_u64().expect("a number") as usize;
        let (prompt, answer) = ids.split_at(ids.len() - learned);
        Row::from_ids(prompt, answer)
    };
    text.lines().map(row).collect()
}

/// The losses of LoRA over the rows in their order, 8 a step, and the adapter it started as: what somebody else's trainer
/// needs to do the same.
fn curve(model: &Path, rows: &Path, folder: &Path, steps: usize) {
    let model = Model::load(model, &Device::Cpu).expect("loads");
    let started = Started::new(&model, config("lora"), Params::new());
    started.write(&model, Task::CausalLm, folder);
    leave_losses(&started.subject(&model), read_rows(rows), &steady(8, steps, 5e-4), folder);
}

/// The same of a reward model: LoRA and a head of one output over pairs of answers in their order, 4 pairs a step.
fn reward(model: &Path, judged: &Path, folder: &Path, steps: usize) {
    let goal = Goal::NewClasses(NewHead { classes: 1, seed: 0 });
    let Selected { model, params, .. } = Selection::Head.load(model, &Device::Cpu, goal).expect("loads");
    let tokenizer = model.tokenizer().expect("reads");
    let source = Source::read(judged).expect("can be read");
    let rows = Reading::new(tokenizer, 512).judgements(&source).expect("judgements").rows;
    let line = |row: &Row| json!({ "prompt": row.prompt(), "answers": row.sequences() }).to_string() + "\n";
    let started = Started::new(&model, config("lora"), params);
    started.write(&model, Task::SeqCls, folder);
    std::fs::write(folder.join("pairs.jsonl"), rows.iter().map(line).collect::<String>())
        .expect("can be written");
    let objective = Reward { head: model.classifier.as_ref().expect("a head"), centring: 0.0 };
    let subject = Subject { objective: &objective, ..started.subject(&model) };
    leave_losses(&subject, rows, &steady(4, steps, 1e-4), folder);
}

/// Trains, and leaves the loss of each step in `folder`.
fn leave_losses(subject: &Subject, rows: Vec<Row>, config: &TrainConfig, folder: &Path) {
    let mut losses = Vec::new();
    let mut on = |event| {
        if let Event::Step(step) = event {
            losses.push(step.loss);
        }
        ControlFlow::Continue(())
    };
    train(subject, &Rows::new(rows, Vec::new()), config, None, &mut on).expect("trains");
    std::fs::write(folder.join("losses.json"), json!(losses).to_string()).expect("can be written");
    println!("{} losses, from {:.6} to {:.6}", losses.len(), losses[0], losses[losses.len() - 1]);
}

/// Rows in their order, at one rate.
fn steady(batch_size: usize, steps: usize, learning_rate: f64) -> TrainConfig {
    TrainConfig {
        steps: Some(steps),
        batch_size,
        learning_rate,
        warmup: 0.0,
        schedule: Schedule::Constant,
        shuffle: false,
        ..TrainConfig::default()
    }
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

/// One step to warm up, and the timed ones. A batch that makes an epoch is computed again and again, so that what is kept
/// between epochs is kept from the first step on.
fn measure(case: &str, subject: &Subject, rows: &Rows, batch: usize, steps: usize) {
    let mut timings = Vec::new();
    let mut begun = Instant::now();
    let mut on = |event| {
        if let Event::Step(step) = event {
            timings.push((begun.elapsed().as_secs_f64(), step.tokens));
        }
        begun = Instant::now();
        ControlFlow::Continue(())
    };
    train(subject, rows, &steady(batch, steps + 1, 1e-4), None, &mut on).expect("trains");
    let timed = &timings[1..];
    let mut rates: Vec<f64> = timed.iter().map(|&(seconds, tokens)| tokens as f64 / seconds).collect();
    rates.sort_by(f64::total_cmp);
    let seconds: f64 = timed.iter().map(|timing| timing.0).sum();
    println!(
        "{case}: {:.1} tokens/s  ({:.0} ms a step; at best {:.1}; {} values trained)",
        rates[steps / 2],
        seconds / steps as f64 * 1e3,
        rates[steps - 1],
        subject.params.count(),
    );
    common::report_memory();
}
