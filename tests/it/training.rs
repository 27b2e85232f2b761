//! Every method trains in every kind of decoder that it is defined for: it starts as it says, learns, leaves the base alone,
//! and goes on bit for bit where it was interrupted. Some are held against PEFT step by step.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use candle_core::Device;
use incontext::adapters::{
    AdapterConfig, Bottleneck, Gate, Ia3, LlamaAdapter, Lora, PTuning, Placement, Prefix, SoftPrompt, Start,
    Stored, Targets,
};
use incontext::models::{Batch, Model};
use incontext::nn::{Params, Pass};
use incontext::train::{Ending, Event, Outcome, Place, Row, Rows, Schedule, Subject, TrainConfig, train};

use crate::golden::{hidden, tiny};

/// One of each kind: grouped heads, one matrix for three linears, norms on heads, windows and norms around.
const FAMILIES: [&str; 4] = ["llama", "gpt2", "qwen3", "gemma3"];

fn methods() -> Vec<AdapterConfig> {
    let lora = Lora { rank: 3, alpha: 5.0, dropout: 0.1, ..Lora::default() };
    let llama = LlamaAdapter { adapter_len: 4, adapter_layers: Some(2), ..LlamaAdapter::default() };
    let mut methods = vec![
        AdapterConfig::SoftPrompt(SoftPrompt { num_virtual_tokens: 3, ..SoftPrompt::default() }),
        AdapterConfig::PTuning(PTuning { num_virtual_tokens: 3, encoder_hidden_size: Some(20) }),
        AdapterConfig::Prefix(Prefix { num_virtual_tokens: 3, ..Prefix::default() }),
        AdapterConfig::Prefix(Prefix {
            num_virtual_tokens: 3,
            encoder_hidden_size: Some(20),
            ..Prefix::default()
        }),
        AdapterConfig::LlamaAdapter(llama.clone()),
        AdapterConfig::LlamaAdapter(LlamaAdapter { gate: Gate::PerHead, ..llama }),
        AdapterConfig::Lora(Lora { dora: true, ..lora.clone() }),
        AdapterConfig::Lora(Lora { layers: Some(vec![2]), rslora: true, ..lora.clone() }),
        AdapterConfig::Lora(Lora { targets: Targets::all(), ..lora }),
        AdapterConfig::Ia3(Ia3::default()),
    ];
    let placements = [Placement::Houlsby, Placement::Pfeiffer, Placement::Parallel];
    methods.extend(placements.map(|placement| AdapterConfig::Bottleneck(Bottleneck::new(placement))));
    methods
}

/// Rows whose answers their first token decides.
fn rows(seeds: std::ops::Range<u32>) -> Vec<Row> {
    let row = |seed: u32| {
        let prompt: Vec<u32> = (0..2 + seed % 7).map(|at| 5 + (seed * 31 + at * 17) % 60).collect();
        let answer: Vec<u32> = (0..1 + seed % 3).map(|at| 70 + (prompt[0] + at) % 7).collect();
        Row::from_ids(&prompt, &answer)
    };
    seeds.map(row).collect()
}

/// By `tests/golden/make_training.py`.
#[test]
fn twenty_steps_of_adapters_are_those_of_peft() {
    let golden = tiny("..");
    let file = std::fs::read_to_string(golden.join("training.json")).unwrap();
    let expected: serde_json::Value = serde_json::from_str(&file).unwrap();
    let ids = |value: &serde_json::Value| -> Vec<u32> { serde_json::from_value(value.clone()).unwrap() };
    let row = |row: &serde_json::Value| Row::from_ids(&ids(&row["prompt"]), &ids(&row["answer"]));
    let rows = Rows::new(expected["rows"].as_array().unwrap().iter().map(row).collect(), vec![]);
    let model = Model::load(&tiny("llama"), &Device::Cpu).unwrap();
    let config = TrainConfig {
        learning_rate: 1e-2,
        schedule: Schedule::Constant,
        warmup: 0.0,
        steps: Some(20),
        batch_size: 4,
        micro_tokens: 40,
        shuffle: false,
        ..TrainConfig::default()
    };
    for (method, expected) in expected["adapters"].as_object().unwrap() {
        let stored = Stored::read(&golden.join("training").join(method), &model.transformer).unwrap();
        let config_of = stored.config.unwrap();
        let mut params = Params::new();
        for (name, tensor) in &stored.tensors {
            params.insert(name, tensor).unwrap();
        }
        let values = params.iter().map(|(name, var)| (name.to_owned(), var.as_tensor().clone())).collect();
        let adapter = config_of.attach(&model.transformer, &values).unwrap();
        let untouched = config_of.untouched(&model.transformer).unwrap();
        let subject = Subject { adapter: &*adapter, untouched, ..Subject::new(method, &model, &params) };
        let mut steps = Vec::new();
        train(&subject, &rows, &config, None, &mut |event| {
            if let Event::Step(step) = event {
                steps.push((step.loss, step.gradient_norm));
            }
            ControlFlow::Continue(())
        })
        .unwrap_or_else(|error| panic!("{method}: {error}"));
        let numbers = |name: &str| -> Vec<f64> { serde_json::from_value(expected[name].clone()).unwrap() };
        let reference = numbers("losses").into_iter().zip(numbers("norms"));
        assert_eq!(steps.len(), 20);
        for (at, ((loss, norm), (their_loss, their_norm))) in steps.into_iter().zip(reference).enumerate() {
            assert!((loss - their_loss).abs() < 1e-4, "{method}, step {at}: loss {loss}, not {their_loss}");
            let off = norm / their_norm - 1.0;
            assert!(off.abs() < 1e-3, "{method}, step {at}: norm {norm}, not {their_norm}");
        }
    }
}

type Bits = BTreeMap<String, Vec<u32>>;

/// Trains `method` from its start; the parameters' bits and the losses, up to step `stop`.
fn run(
    model: &Model,
    method: &AdapterConfig,
    place: Option<Place>,
    stop: usize,
) -> incontext::Result<(Outcome, Bits, Vec<f64>)> {
    let network = &model.transformer;
    let mut params = Params::new();
    let start = method.start(network, &Start { seed: 3, ..Start::default() })?;
    for (name, tensor) in &start {
        params.insert(name, tensor)?;
    }
    let values = params.iter().map(|(name, var)| (name.to_owned(), var.as_tensor().clone())).collect();
    let adapter = method.attach(network, &values)?;
    let still = |name: &str| method.still_at_start(name);
    let name = serde_json::to_string(method).unwrap();
    let subject = Subject {
        adapter: &*adapter,
        untouched: method.untouched(network)?,
        still: &still,
        ..Subject::new(name, model, &params)
    };
    let config = TrainConfig {
        learning_rate: 2e-2,
        warmup: 0.0,
        epochs: 4,
        micro_tokens: 30,
        validate_every: Some(3),
        ..TrainConfig::default()
    };
    let mut losses = Vec::new();
    let outcome = train(&subject, &Rows::new(rows(0..16), rows(40..44)), &config, place, &mut |event| {
        if let Event::Step(step) = &event {
            losses.push(step.loss);
            if step.step == stop {
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    })?;
    let bits = |var: &candle_core::Var| -> Vec<u32> {
        var.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
    };
    Ok((outcome, params.iter().map(|(name, var)| (name.to_owned(), bits(var))).collect(), losses))
}

#[test]
fn every_method_learns_in_every_kind_of_decoder_and_goes_on_where_it_was_interrupted() {
    let mut ran = 0;
    for family in FAMILIES {
        let model = Model::load(&tiny(family), &Device::Cpu).unwrap();
        let batch = Batch::single(&[5, 9, 30]);
        let base = hidden(&model, &batch, Pass::bare());
        for method in methods() {
            if method.shapes(&model.transformer).is_err() {
                assert!(!family.starts_with("llama"), "{method:?} is defined for Llama");
                continue;
            }
            let what = format!("{family}, {method:?}");
            let (outcome, bits, losses) =
                run(&model, &method, None, 0).unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_eq!((outcome.ending, losses.len()), (Ending::Done, 8), "{what}");
            let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
            assert!(mean(&losses[6..]) < mean(&losses[..2]), "{what}: {losses:?}");

            let folder = tempfile::tempdir().unwrap();
            let place = Some(Place { folder: folder.path(), resume: true });
            let (first, _, before) = run(&model, &method, place, 4).unwrap();
            assert_eq!((first.ending, first.steps), (Ending::Interrupted, 4), "{what}");
            let (second, resumed, after) = run(&model, &method, place, 0).unwrap();
            assert_eq!([before, after].concat(), losses, "{what}");
            assert_eq!(second.best, outcome.best, "{what}");
            assert!(resumed == bits, "{what}: the parameters differ");
            ran += 1;
        }
        assert_eq!(hidden(&model, &batch, Pass::bare()), base, "{family}");
    }
    assert!(ran >= 40, "{ran}");
}
