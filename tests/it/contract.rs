//! The contract every method keeps, as one table: each method on every tiny family it is defined for, at awkward values (rank
//! 3, alpha 5, odd lengths, gates that are not zero).

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{Device, Tensor};
use incontext::adapters::{
    About, AdapterConfig, Bottleneck, Gate, Ia3, LlamaAdapter, Lora, PTuning, Placement, Prefix, SoftPrompt,
    Start, Stored, Targets as Modules, Task, Tensors, VirtualTokens,
};
use incontext::models::{Batch, Model};
use incontext::nn::loss::{Targets, cross_entropy};
use incontext::nn::{Adapter, KvCache, Linear, Mode, Module, Network, Norm, Params, Part, Pass, Shape, Site};

use crate::golden::{DECODERS, SEQUENCES, assert_close, families, hidden, tiny};

/// One row a method: what it is called here, and its sizes.
pub fn methods() -> Vec<(&'static str, AdapterConfig)> {
    let lora = Lora { rank: 3, alpha: 5.0, ..Lora::default() };
    let prompt = |init| AdapterConfig::SoftPrompt(SoftPrompt { num_virtual_tokens: 5, init });
    let prefix = Prefix { num_virtual_tokens: 5, ..Prefix::default() };
    let bottleneck = |placement| {
        AdapterConfig::Bottleneck(Bottleneck { reduction_factor: 7.0, ..Bottleneck::new(placement) })
    };
    let top = LlamaAdapter { adapter_len: 5, adapter_layers: Some(2), gate: Gate::Scalar };
    vec![
        ("lora", AdapterConfig::Lora(lora.clone())),
        ("rslora", AdapterConfig::Lora(Lora { rslora: true, ..lora.clone() })),
        ("dora", AdapterConfig::Lora(Lora { dora: true, ..lora })),
        ("ia3", AdapterConfig::Ia3(Ia3::default())),
        ("prompt-random", prompt(VirtualTokens::Random)),
        ("prompt-vocabulary", prompt(VirtualTokens::Vocabulary)),
        ("prompt-text", prompt(VirtualTokens::Text)),
        (
            "p-tuning",
            AdapterConfig::PTuning(PTuning { num_virtual_tokens: 5, encoder_hidden_size: Some(21) }),
        ),
        ("prefix", AdapterConfig::Prefix(prefix.clone())),
        ("prefix-first", AdapterConfig::Prefix(Prefix { freeze_first: true, ..prefix.clone() })),
        ("prefix-mlp", AdapterConfig::Prefix(Prefix { encoder_hidden_size: Some(21), ..prefix })),
        ("houlsby", bottleneck(Placement::Houlsby)),
        ("pfeiffer", bottleneck(Placement::Pfeiffer)),
        ("parallel", bottleneck(Placement::Parallel)),
        ("llama-adapter", AdapterConfig::LlamaAdapter(top.clone())),
        ("llama-adapter-heads", AdapterConfig::LlamaAdapter(LlamaAdapter { gate: Gate::PerHead, ..top })),
    ]
}

/// A method on a tiny model.
struct Case {
    name: String,
    family: &'static str,
    config: AdapterConfig,
    model: Model,
}

/// Every method on every family that it is defined for.
fn each(check: impl Fn(&Case)) {
    let mut checked = 0;
    for family in families() {
        for (name, config) in methods() {
            let only_decoders = matches!(config, AdapterConfig::LlamaAdapter(_));
            if only_decoders && !DECODERS.contains(&family) {
                continue;
            }
            let model = Model::load(&tiny(family), &Device::Cpu).unwrap();
            check(&Case { name: format!("{name} on {family}"), family, config, model });
            checked += 1;
        }
    }
    assert_eq!(checked, 7 * 16 + 3 * 14);
}

/// Numbers between -0.5 and 0.5 that depend on the name.
pub fn numbers(name: &str, shape: &[usize]) -> Tensor {
    let phase = name.bytes().fold(0.3f32, |phase, byte| (phase * 1.7 + f32::from(byte)) % 6.0);
    let count: usize = shape.iter().product();
    let values: Vec<f32> = (0..count).map(|i| ((i + 1) as f32 * 0.7 + phase).sin() * 0.5).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

/// The start moved away from it, so that nothing is zero.
pub fn awkward(config: &AdapterConfig, network: &dyn Network) -> Tensors {
    let begun = config.start(network, &start(7)).unwrap().into_iter();
    begun
        .map(|(name, value)| {
            let change = (numbers(&name, value.dims()) * 0.6).unwrap();
            (name, (value + change).unwrap())
        })
        .collect()
}

fn start(seed: u64) -> Start {
    Start { seed, text: vec![9, 30, 7], cache: None }
}

impl Case {
    fn start(&self) -> Tensors {
        self.config.start(&self.model.transformer, &start(7)).unwrap()
    }

    fn awkward(&self) -> Tensors {
        awkward(&self.config, &self.model.transformer)
    }

    fn attach(&self, tensors: &Tensors) -> Arc<dyn Adapter> {
        self.config.attach(&self.model.transformer, tensors).unwrap()
    }

    fn hidden(&self, adapter: &dyn Adapter, batch: &Batch) -> Vec<Vec<f32>> {
        hidden(&self.model, batch, with(adapter))
    }

    /// Next-token loss, or that of the first classes.
    fn loss(&self, adapter: &dyn Adapter) -> Tensor {
        let batch = Batch::of(&SEQUENCES);
        let hidden = self.model.transformer.forward(&batch, with(adapter)).unwrap();
        if DECODERS.contains(&self.family) {
            let labels: Vec<i64> = SEQUENCES.concat().into_iter().map(i64::from).collect();
            let targets = Targets::next_token(&labels, &batch.packing);
            return cross_entropy(&hidden, &targets, self.model.transformer.head()).unwrap();
        }
        let head = self.model.classifier.as_ref().unwrap();
        let logits = head.forward(&hidden, &batch, adapter, Mode::Eval).unwrap();
        let targets = Targets { rows: vec![0, 1, 2], ids: vec![2, 0, 1] };
        cross_entropy(&logits, &targets, |logits: &Tensor| Ok(logits.clone())).unwrap()
    }

    /// Variables that begin as `tensors`, and what computes with them.
    fn trained(&self, tensors: &Tensors) -> (Params, Arc<dyn Adapter>) {
        let mut params = Params::new();
        let variables =
            tensors.iter().map(|(name, value)| (name.clone(), params.insert(name, value).unwrap()));
        let variables: Tensors = variables.collect();
        let adapter = self.attach(&variables);
        (params, adapter)
    }

    fn gradients(&self, tensors: &Tensors) -> BTreeMap<String, Vec<f32>> {
        let (params, adapter) = self.trained(tensors);
        let grads = self.loss(&*adapter).backward().unwrap();
        let flat = |(name, gradient): (&str, Option<&Tensor>)| {
            let gradient = gradient.unwrap_or_else(|| panic!("{}: no gradient reaches {name}", self.name));
            (name.to_owned(), gradient.flatten_all().unwrap().to_vec1().unwrap())
        };
        params.gradients(&grads).map(flat).collect()
    }

    /// The values one step of gradient descent of a given length away.
    fn stepped(&self, tensors: &Tensors, length: f64) -> Tensors {
        let gradients = self.gradients(tensors);
        let norm = gradients.values().flatten().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
        let moved = tensors.iter().map(|(name, value)| {
            let gradient = Tensor::from_slice(&gradients[name], value.shape(), &Device::Cpu).unwrap();
            (name.clone(), (value - (gradient * (length / norm)).unwrap()).unwrap())
        });
        moved.collect()
    }

    /// All linears of the blocks and the head, and what the network computes by itself.
    fn base(&self) -> Vec<Vec<f32>> {
        let network = &self.model.transformer;
        let sites = network.modules().into_iter().flat_map(|module| module.parts);
        let linears = sites.map(|(site, _)| network.linear(site).unwrap()).chain([network.head()]);
        let weights = linears.map(|linear| linear.weight.flatten_all().unwrap().to_vec1().unwrap());
        weights.chain(hidden(&self.model, &Batch::of(&SEQUENCES), Pass::bare())).collect()
    }
}

fn with(adapter: &dyn Adapter) -> Pass<'_> {
    Pass { adapter, cache: None, mode: Mode::Eval }
}

fn scalar(tensor: &Tensor) -> f32 {
    tensor.to_scalar().unwrap()
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

fn largest_difference(a: &[Vec<f32>], b: &[Vec<f32>]) -> f32 {
    let pairs = a.iter().flatten().zip(b.iter().flatten());
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn training_begins_at_the_base_but_for_virtual_tokens() {
    each(|case| {
        let batch = Batch::of(&SEQUENCES);
        let begun = case.hidden(&*case.attach(&case.start()), &batch);
        let base = hidden(&case.model, &batch, Pass::bare());
        let elsewhere = matches!(
            case.config,
            AdapterConfig::SoftPrompt(_) | AdapterConfig::PTuning(_) | AdapterConfig::Prefix(_)
        );
        let moved = largest_difference(&begun, &base);
        match elsewhere {
            true => assert!(moved > 1e-3, "{}: {moved}", case.name),
            false => assert!(moved < 1e-5, "{}: {moved}", case.name),
        }
        let moved = largest_difference(&case.hidden(&*case.attach(&case.awkward()), &batch), &base);
        assert!(moved > 1e-2, "{} does nothing ({moved})", case.name);
    });
}

#[test]
fn a_gradient_reaches_every_parameter_and_is_zero_at_the_start_where_the_method_says_so() {
    each(|case| {
        for (name, gradient) in case.gradients(&case.start()) {
            let zero = gradient.iter().all(|g| *g == 0.0);
            assert!(gradient.iter().all(|g| g.is_finite()), "{}: {name}", case.name);
            assert_eq!(zero, case.config.still_at_start(&name), "{}: {name}", case.name);
        }
        for (name, gradient) in case.gradients(&case.awkward()) {
            assert!(gradient.iter().any(|g| *g != 0.0), "{}: {name}", case.name);
            if matches!(&case.config, AdapterConfig::Prefix(prefix) if prefix.freeze_first) {
                let row = gradient.len() / 5;
                assert!(gradient[..row].iter().all(|g| *g == 0.0), "{}: {name}", case.name);
            }
        }
    });
}

#[test]
fn a_step_lowers_the_loss_and_leaves_the_base_as_it_was_to_the_bit() {
    each(|case| {
        let base = case.base();
        let tensors = case.awkward();
        let before = scalar(&case.loss(&*case.attach(&tensors)));
        let after = scalar(&case.loss(&*case.attach(&case.stepped(&tensors, 0.02))));
        assert!(after < before, "{}: {before} -> {after}", case.name);
        assert!(case.base() == base, "{}: the base moved", case.name);
    });
}

#[test]
fn the_same_seed_gives_the_same_values_before_and_after_a_step() {
    each(|case| {
        let bits = |tensors: &Tensors| tensors.values().map(values).collect::<Vec<_>>();
        let (one, two) = (case.start(), case.start());
        assert!(bits(&one) == bits(&two), "{}", case.name);
        assert!(bits(&case.stepped(&one, 0.1)) == bits(&case.stepped(&two, 0.1)), "{}", case.name);
        let other = case.config.start(&case.model.transformer, &start(8)).unwrap();
        let draws = !case.name.starts_with("ia3") && !case.name.starts_with("prompt-text");
        assert_eq!(bits(&one) != bits(&other), draws, "{}", case.name);
    });
}

/// As a folder that only it is in.
pub fn stored(config: &AdapterConfig, tensors: &Tensors, task: Task) -> Stored {
    let (config, tensors) = config.trained(tensors).unwrap();
    let base_name = Some("tiny".to_owned());
    Stored { config: Some(config), tensors, base: Tensors::new(), task, about: None, base_name }
}

#[test]
fn a_folder_written_and_read_computes_the_same_to_the_bit() {
    each(|case| {
        let network = &case.model.transformer;
        let task = if DECODERS.contains(&case.family) { Task::CausalLm } else { Task::SeqCls };
        let mut written = stored(&case.config, &case.awkward(), task);
        // PEFT has no words for gates of heads.
        let about = About { config: written.config.clone(), ..About::default() };
        written.about = case.name.starts_with("llama-adapter-heads").then_some(about);
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("adapter");
        written.write(&dir, network, case.family).unwrap();
        let read = Stored::read(&dir, network).unwrap();
        assert_eq!(read.tensors.keys().collect::<Vec<_>>(), written.tensors.keys().collect::<Vec<_>>());
        assert_eq!(read.task, task, "{}", case.name);
        let batch = Batch::of(&SEQUENCES);
        let of = |stored: &Stored| {
            let adapter = stored.config.as_ref().unwrap().attach(network, &stored.tensors).unwrap();
            case.hidden(&*adapter, &batch)
        };
        assert!(of(&written) == of(&read), "{}", case.name);
        // What only helped to train is written out already.
        let trained = case.hidden(&*case.attach(&case.awkward()), &batch);
        assert_close(&of(&read), &trained);
    });
}

/// Keys of the second layer's tensors, or of those that belong to none.
fn keys(family: &'static str, name: &str) -> Vec<String> {
    let model = Model::load(&tiny(family), &Device::Cpu).unwrap();
    let (_, config) = methods().into_iter().find(|(method, _)| *method == name).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("adapter");
    let task = if DECODERS.contains(&family) { Task::CausalLm } else { Task::SeqCls };
    let stored = stored(&config, &awkward(&config, &model.transformer), task);
    stored.write(&dir, &model.transformer, family).unwrap();
    let file = ["adapter_model.safetensors", "adapter.safetensors"].map(|file| dir.join(file));
    let file = file.into_iter().find(|file| file.exists()).unwrap();
    let tensors = candle_core::safetensors::load(file, &Device::Cpu).unwrap();
    let here = |key: &str| !["layers.0", "layer.0", "h.0", ".2."].iter().any(|layer| key.contains(layer));
    let mut keys: Vec<String> = tensors
        .into_iter()
        .filter(|(key, _)| here(key))
        .map(|(key, tensor)| format!("{key} {:?}", tensor.dims()))
        .collect();
    keys.sort();
    keys
}

#[test]
fn files_hold_the_names_that_peft_and_adapterhub_hold() {
    assert_eq!(
        keys("gpt2", "dora"),
        [
            "base_model.model.transformer.h.1.attn.c_attn.lora_A.weight [3, 48]",
            "base_model.model.transformer.h.1.attn.c_attn.lora_B.weight [144, 3]",
            "base_model.model.transformer.h.1.attn.c_attn.lora_magnitude_vector [144]",
            "base_model.model.transformer.h.1.attn.c_proj.lora_A.weight [3, 48]",
            "base_model.model.transformer.h.1.attn.c_proj.lora_B.weight [48, 3]",
            "base_model.model.transformer.h.1.attn.c_proj.lora_magnitude_vector [48]",
            "base_model.model.transformer.h.1.mlp.c_fc.lora_A.weight [3, 48]",
            "base_model.model.transformer.h.1.mlp.c_fc.lora_B.weight [192, 3]",
            "base_model.model.transformer.h.1.mlp.c_fc.lora_magnitude_vector [192]",
            "base_model.model.transformer.h.1.mlp.c_proj.lora_A.weight [3, 192]",
            "base_model.model.transformer.h.1.mlp.c_proj.lora_B.weight [48, 3]",
            "base_model.model.transformer.h.1.mlp.c_proj.lora_magnitude_vector [48]",
        ]
    );
    assert_eq!(
        keys("llama", "ia3"),
        [
            "base_model.model.model.layers.1.mlp.down_proj.ia3_l [1, 80]",
            "base_model.model.model.layers.1.self_attn.k_proj.ia3_l [16, 1]",
            "base_model.model.model.layers.1.self_attn.v_proj.ia3_l [16, 1]",
        ]
    );
    assert_eq!(
        keys("llama", "llama-adapter"),
        [
            "base_model.model.model.layers.1.self_attn.adaption_gate [1]",
            "base_model.model.model.layers.1.self_attn.adaption_prompt [1, 5, 48]",
        ]
    );
    for name in ["prompt-random", "p-tuning"] {
        assert_eq!(keys("qwen2", name), ["prompt_embeddings [5, 48]"]);
    }
    for name in ["prefix", "prefix-mlp"] {
        assert_eq!(keys("llama", name), ["prompt_embeddings [5, 96]"]);
    }
    assert_eq!(
        keys("bert", "houlsby"),
        [
            "bert.encoder.layer.1.attention.output.adapters.default.adapter_down.0.bias [6]",
            "bert.encoder.layer.1.attention.output.adapters.default.adapter_down.0.weight [6, 48]",
            "bert.encoder.layer.1.attention.output.adapters.default.adapter_up.bias [48]",
            "bert.encoder.layer.1.attention.output.adapters.default.adapter_up.weight [48, 6]",
            "bert.encoder.layer.1.output.adapters.default.adapter_down.0.bias [6]",
            "bert.encoder.layer.1.output.adapters.default.adapter_down.0.weight [6, 48]",
            "bert.encoder.layer.1.output.adapters.default.adapter_up.bias [48]",
            "bert.encoder.layer.1.output.adapters.default.adapter_up.weight [48, 6]",
        ]
    );
}

#[test]
fn token_by_token_over_a_cache_equals_one_forward() {
    each(|case| {
        if !DECODERS.contains(&case.family) {
            return;
        }
        let adapter = case.attach(&case.awkward());
        let ids = SEQUENCES[0];
        let full = case.hidden(&*adapter, &Batch::single(ids));
        let mut cache = KvCache::new(1);
        let mut step =
            |ids: &[u32]| hidden(&case.model, &Batch::single(ids), Pass::cached(&*adapter, &mut cache));
        let mut steps = step(&ids[..3]);
        ids[3..].iter().for_each(|id| steps.extend(step(&[*id])));
        assert_close(&steps, &full);
    });
}

#[test]
fn a_packed_batch_equals_its_rows_alone() {
    each(|case| {
        let adapter = case.attach(&case.awkward());
        let packed = case.hidden(&*adapter, &Batch::of(&SEQUENCES));
        let alone = SEQUENCES.iter().flat_map(|ids| case.hidden(&*adapter, &Batch::single(ids)));
        assert_close(&packed, &alone.collect::<Vec<_>>());
    });
}

#[test]
fn two_adapters_on_one_base_disturb_neither_each_other_nor_the_base() {
    each(|case| {
        let base = case.base();
        let batch = Batch::of(&SEQUENCES);
        let (one, two) = (case.attach(&case.awkward()), case.attach(&case.start()));
        assert_ne!(one.identity(), two.identity(), "{}", case.name);
        let alone = (case.hidden(&*one, &batch), case.hidden(&*two, &batch));
        for _ in 0..2 {
            assert!(case.hidden(&*one, &batch) == alone.0, "{}", case.name);
            assert!(case.hidden(&*two, &batch) == alone.1, "{}", case.name);
        }
        assert!(case.base() == base, "{}", case.name);
    });
}

#[test]
fn merged_equals_unmerged_where_merging_exists() {
    let merging = |config: &AdapterConfig| matches!(config, AdapterConfig::Lora(_) | AdapterConfig::Ia3(_));
    each(|case| {
        let tensors = case.awkward();
        let merged = case.config.merged(&case.model.transformer, &tensors).unwrap();
        assert_eq!(merged.is_some(), merging(&case.config), "{}", case.name);
        let Some(merged) = merged else { return };
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("merged");
        incontext::models::save(&tiny(case.family), &merged, None, &dir).unwrap();
        let merged = Model::load(&dir, &Device::Cpu).unwrap();
        let batch = Batch::of(&SEQUENCES);
        let ours = hidden(&merged, &batch, Pass::bare());
        let theirs = case.hidden(&*case.attach(&tensors), &batch);
        let scale = theirs.iter().flatten().fold(1.0f32, |scale, x| scale.max(x.abs()));
        let error = largest_difference(&ours, &theirs) / scale;
        assert!(error < 1e-4, "{}: {error}", case.name);
    });
}

#[test]
fn a_start_from_a_real_cache_computes_as_the_text_itself() {
    for family in DECODERS {
        let model = Model::load(&tiny(family), &Device::Cpu).unwrap();
        let (text, rest) = SEQUENCES[0].split_at(4);
        let mut cache = KvCache::new(1);
        let bare = incontext::nn::Bare;
        hidden(&model, &Batch::single(text), Pass::cached(&bare, &mut cache));
        let shape = Network::shape(&model.transformer);
        let heads = |rows: Tensor| {
            rows.reshape((text.len(), shape.kv_heads, shape.head_dim)).unwrap().transpose(0, 1).unwrap()
        };
        let held = |layer| {
            let (k, v) = cache.held(layer, 0, text.len()).unwrap();
            (heads(k), heads(v))
        };
        let layers: Vec<_> = (0..shape.layers).map(held).collect();
        let config = AdapterConfig::Prefix(Prefix { num_virtual_tokens: 4, ..Prefix::default() });
        let start = Start { cache: Some(Prefix::flat(&layers).unwrap()), ..Start::default() };
        let tensors = config.start(&model.transformer, &start).unwrap();
        let adapter = config.attach(&model.transformer, &tensors).unwrap();
        let ours = hidden(&model, &Batch::single(rest), with(&*adapter));
        assert_close(&ours, &hidden(&model, &Batch::single(SEQUENCES[0]), Pass::bare())[4..]);
    }
}

/// SmolLM2-135M without its weights.
struct SmolLm2;

const SMOLLM2: Shape = Shape {
    layers: 30,
    hidden: 576,
    heads: 9,
    kv_heads: 3,
    head_dim: 64,
    intermediate: 1536,
    vocab: 49152,
    gated: true,
};

impl Network for SmolLm2 {
    fn shape(&self) -> Shape {
        SMOLLM2
    }

    fn causal(&self) -> bool {
        true
    }

    fn trunk(&self) -> &'static str {
        "model."
    }

    fn modules(&self) -> Vec<Module> {
        let parts = [
            (Part::Q, "self_attn.q_proj"),
            (Part::K, "self_attn.k_proj"),
            (Part::V, "self_attn.v_proj"),
            (Part::O, "self_attn.o_proj"),
            (Part::Gate, "mlp.gate_proj"),
            (Part::Up, "mlp.up_proj"),
            (Part::Down, "mlp.down_proj"),
        ];
        let module = |layer: usize, part: Part, name: &str| {
            let (out, input) = SMOLLM2.linear(part).unwrap();
            let path = format!("model.layers.{layer}.{name}");
            let parts = vec![(Site::new(layer, part), 0..out)];
            Module { path, layer, parts, input, transposed: false }
        };
        (0..30).flat_map(|layer| parts.map(|(part, name)| module(layer, part, name))).collect()
    }

    fn embedding(&self) -> String {
        "model.embed_tokens".to_owned()
    }

    fn pooler(&self) -> Option<Module> {
        None
    }

    fn sublayer(&self, layer: usize, part: Part) -> String {
        format!("model.layers.{layer}.{part:?}")
    }

    fn attention(&self, layer: usize) -> String {
        format!("model.layers.{layer}.self_attn")
    }

    fn linear(&self, _: Site) -> Option<&Linear> {
        None
    }

    fn norm_behind(&self, _: Site) -> Option<&Norm> {
        None
    }

    fn words(&self, _: &[u32]) -> incontext::Result<Tensor> {
        unreachable!("counting looks at no weight")
    }
}

/// The numbers are the papers' formulas at SmolLM2's sizes: `L` 30, `H` 576, `D` 192, `I` 1536.
#[test]
fn counts_of_parameters_equal_the_formulas_at_the_size_of_a_real_model() {
    let lora = |targets: &[&str], dora| {
        let targets = Modules::names(targets.iter().copied());
        AdapterConfig::Lora(Lora { targets, dora, ..Lora::default() })
    };
    let bottleneck = |placement| {
        AdapterConfig::Bottleneck(Bottleneck { reduction_factor: 16.0, ..Bottleneck::new(placement) })
    };
    let prefix = |h| AdapterConfig::Prefix(Prefix { encoder_hidden_size: h, ..Prefix::default() });
    let counts = [
        (lora(&["q_proj", "v_proj"], false), 460_800),
        (lora(&["q_proj", "v_proj"], true), 460_800 + 23_040),
        (lora(&["q_proj", "k_proj", "v_proj", "o_proj"], false), 921_600),
        (AdapterConfig::Lora(Lora::default()), 2_442_240),
        (AdapterConfig::Ia3(Ia3::default()), 57_600),
        (AdapterConfig::SoftPrompt(SoftPrompt::default()), 20 * 576),
        (AdapterConfig::PTuning(PTuning::default()), 1_008_576),
        (prefix(None), 230_400),
        (prefix(Some(192)), 2_264_256),
        (bottleneck(Placement::Houlsby), 2_525_040),
        (bottleneck(Placement::Pfeiffer), 1_262_520),
        (AdapterConfig::LlamaAdapter(LlamaAdapter::default()), 161_308),
        (
            AdapterConfig::LlamaAdapter(LlamaAdapter { gate: Gate::PerHead, ..LlamaAdapter::default() }),
            28 * (10 * 576 + 9),
        ),
    ];
    for (config, count) in counts {
        assert_eq!(config.count(&SmolLm2).unwrap(), count, "{config:?}");
    }
}

#[test]
fn what_a_method_counts_is_what_it_holds() {
    each(|case| {
        let held: usize = case.start().values().map(Tensor::elem_count).sum();
        assert_eq!(case.config.count(&case.model.transformer).unwrap(), held, "{}", case.name);
    });
}

#[test]
fn llama_adapter_is_refused_on_encoders() {
    let model = Model::load(&tiny("bert"), &Device::Cpu).unwrap();
    let config = AdapterConfig::LlamaAdapter(LlamaAdapter::default());
    let error = config.start(&model.transformer, &Start::default()).unwrap_err();
    assert!(error.to_string().contains("not for encoders") && error.advice().is_some(), "{error}");
}
