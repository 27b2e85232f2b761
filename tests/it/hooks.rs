//! What a tuning method may do reaches into every family: each hook is asked everywhere, acts, and keeps a cache, a packed
//! batch and the bare network true.

use std::collections::BTreeSet;
use std::sync::Mutex;

use candle_core::{Device, Tensor};
use incontext::models::{Batch, Model};
use incontext::nn::{Adapter, Bare, KvCache, Linear, Memory, Mode, Norm, Part, Pass, Shape, Site};

use crate::golden::{DECODERS, SEQUENCES, assert_close, families, hidden, tiny};

/// Acts where it is told to, by numbers that depend on the place alone.
struct Method {
    shape: Shape,
    acts: Acts,
    asked: Mutex<BTreeSet<Site>>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Acts {
    Linears,
    Sublayers,
    Prefix,
    Gated,
    Prompt,
}

const ALL: [Acts; 5] = [Acts::Linears, Acts::Sublayers, Acts::Prefix, Acts::Gated, Acts::Prompt];

fn values(shape: &[usize], phase: f32) -> Tensor {
    let count: usize = shape.iter().product();
    let values: Vec<f32> = (0..count).map(|i| (i as f32 * 0.7 + phase).sin() * 0.5).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

impl Method {
    fn new(model: &Model, acts: Acts) -> Self {
        Self { shape: model.transformer.config.shape, acts, asked: Mutex::default() }
    }
}

impl Adapter for Method {
    fn identity(&self) -> u64 {
        7
    }

    fn prompt(&self) -> incontext::Result<Option<Tensor>> {
        Ok((self.acts == Acts::Prompt).then(|| values(&[3, self.shape.hidden], 0.1)))
    }

    fn linear(&self, linear: &Linear, x: &Tensor, _: Mode) -> incontext::Result<Tensor> {
        self.asked.lock().unwrap().insert(linear.site);
        let y = linear.frozen(x)?;
        if self.acts != Acts::Linears {
            return Ok(y);
        }
        // As LoRA does, from the input of the layer to its output.
        let (out, input) = self.shape.linear(linear.site.part).unwrap();
        let a = values(&[input, 3], linear.site.layer as f32);
        let b = values(&[3, out], linear.site.part as u8 as f32);
        Ok((y + (x.matmul(&a)?.matmul(&b)? * 0.1)?)?)
    }

    fn memory(&self, layer: usize) -> incontext::Result<Option<Memory>> {
        let Shape { heads, kv_heads, head_dim, hidden, .. } = self.shape;
        Ok(match self.acts {
            Acts::Prefix => {
                let rows = |phase| values(&[kv_heads, 2, head_dim], phase + layer as f32);
                Some(Memory::Prefix { k: rows(0.2), v: rows(0.4) })
            }
            Acts::Gated => {
                let gate = (values(&[heads, 1, 1], 0.3) + 0.6)?;
                Some(Memory::Gated { tokens: values(&[4, hidden], layer as f32), gate })
            }
            _ => None,
        })
    }

    fn sublayer(&self, site: Site, x: &Tensor, h: Tensor, _: Option<&Norm>) -> incontext::Result<Tensor> {
        self.asked.lock().unwrap().insert(site);
        Ok(if self.acts == Acts::Sublayers { (h + (x * 0.2)?.tanh()?)? } else { h })
    }
}

fn loaded(family: &str) -> Model {
    Model::load(&tiny(family), &Device::Cpu).unwrap()
}

fn pass(method: &Method) -> Pass<'_> {
    Pass { adapter: method, cache: None, mode: Mode::Eval }
}

#[test]
fn every_linear_and_sublayer_of_every_family_is_asked_for() {
    for family in families() {
        let model = loaded(family);
        let method = Method::new(&model, Acts::Linears);
        hidden(&model, &Batch::single(&[5, 9]), pass(&method));
        let parts = [Part::Q, Part::K, Part::V, Part::O, Part::Up, Part::Down, Part::Attention, Part::Mlp];
        let gate = method.shape.gated.then_some(Part::Gate);
        let sites = (0..method.shape.layers)
            .flat_map(|layer| parts.into_iter().chain(gate).map(move |part| Site::new(layer, part)));
        assert_eq!(*method.asked.lock().unwrap(), sites.collect::<BTreeSet<_>>(), "{family}");
    }
}

#[test]
fn a_method_changes_every_family_and_leaves_it_as_it_was() {
    for family in families() {
        let model = loaded(family);
        let batch = Batch::of(&SEQUENCES);
        let before = hidden(&model, &batch, Pass::bare());
        for acts in ALL {
            let with = hidden(&model, &batch, pass(&Method::new(&model, acts)));
            assert_eq!(with.len(), before.len(), "{family}, {acts:?}: rows of its own are cut off again");
            let moved = with.iter().flatten().zip(before.iter().flatten()).map(|(a, b)| (a - b).abs());
            assert!(moved.fold(0.0, f32::max) > 1e-2, "{family}, {acts:?} does nothing");
        }
        assert_eq!(hidden(&model, &batch, Pass::bare()), before, "{family}");
    }
}

#[test]
fn a_method_gives_the_same_packed_or_alone_in_every_family() {
    for family in families() {
        let model = loaded(family);
        for acts in ALL {
            let method = Method::new(&model, acts);
            let packed = hidden(&model, &Batch::of(&SEQUENCES), pass(&method));
            let alone = SEQUENCES.iter().flat_map(|ids| hidden(&model, &Batch::single(ids), pass(&method)));
            assert_close(&packed, &alone.collect::<Vec<_>>());
        }
    }
}

#[test]
fn a_method_decodes_over_a_cache_as_in_one_forward_in_every_decoder() {
    for family in DECODERS {
        let model = loaded(family);
        let ids = SEQUENCES[0];
        for acts in ALL {
            let method = Method::new(&model, acts);
            let full = hidden(&model, &Batch::single(ids), pass(&method));
            let mut cache = KvCache::new(1);
            let mut steps = hidden(&model, &Batch::single(&ids[..2]), Pass::cached(&method, &mut cache));
            for id in &ids[2..] {
                steps.extend(hidden(&model, &Batch::single(&[*id]), Pass::cached(&method, &mut cache)));
            }
            assert_close(&steps, &full);
        }
    }
}

#[test]
fn branches_equal_sequences_of_their_own_and_leave_the_trunk_alone_under_every_method() {
    let (first, trunk): (&[u32], &[u32]) = (&[5, 9, 30, 4, 8, 11], &[7, 3]);
    let branches: [&[u32]; 3] = [&[12, 13, 14], &[15], &[16, 17]];
    for family in DECODERS {
        let model = loaded(family);
        let methods = ALL.map(|acts| Method::new(&model, acts));
        let adapters = methods.iter().map(|method| method as &dyn Adapter).chain([&Bare as &dyn Adapter]);
        for adapter in adapters {
            let alone = |rest: &[u32]| {
                let batch = Batch::single(&[first, trunk, rest].concat());
                hidden(&model, &batch, Pass { adapter, cache: None, mode: Mode::Eval })
                    .split_off(first.len() + trunk.len())
            };
            let mut cache = KvCache::branching();
            hidden(&model, &Batch::single(first), Pass::cached(adapter, &mut cache));
            let batch = Batch::of(&[&[trunk][..], &branches].concat());
            let mut together = hidden(&model, &batch, Pass::cached(adapter, &mut cache));
            let each: Vec<_> = branches.iter().flat_map(|branch| alone(branch)).collect();
            assert_close(&together.split_off(trunk.len()), &each);
            let after = hidden(&model, &Batch::single(&[21]), Pass::cached(adapter, &mut cache));
            assert_close(&after, &alone(&[21]));
        }
    }
}

#[test]
fn branches_off_an_empty_cache_equal_sequences_of_their_own_or_are_refused() {
    let model = loaded("llama");
    for acts in ALL {
        let method = Method::new(&model, acts);
        let mut cache = KvCache::branching();
        let batch = Batch::of(&[&[5u32, 9][..], &[3, 4], &[6]]);
        let together = model.transformer.forward(&batch, Pass::cached(&method, &mut cache));
        if acts == Acts::Prompt {
            assert!(together.unwrap_err().advice().is_some());
            continue;
        }
        let alone = hidden(&model, &Batch::single(&[5, 9, 6]), pass(&method));
        assert_close(&together.unwrap().to_vec2().unwrap()[4..], &alone[2..]);
    }
}

/// What a family stores otherwise than it computes (GPT-2's transposed matrices, Gemma's norms) must not be a copy: training
/// changes variables in place.
#[test]
fn a_variable_changed_in_place_changes_the_next_forward_in_every_family() {
    for family in families() {
        let (model, params) = Model::load_trainable(&tiny(family), &Device::Cpu).unwrap();
        let reads = |name: &str| !name.contains("classifier") && !name.contains("pooler");
        let outputs = |model: &Model| {
            let hidden = model.transformer.forward(&Batch::of(&SEQUENCES), Pass::bare()).unwrap();
            model.transformer.logits(&hidden).unwrap().to_vec2::<f32>().unwrap()
        };
        let before = outputs(&model);
        for (name, variable) in params.iter().filter(|(name, _)| reads(name)) {
            let kept = variable.as_tensor().copy().unwrap();
            let changed = (&kept + values(kept.dims(), 0.9)).unwrap();
            variable.set(&changed).unwrap();
            let after = outputs(&model);
            variable.set(&kept).unwrap();
            let moved = after.iter().flatten().zip(before.iter().flatten()).map(|(a, b)| (a - b).abs());
            let moved = moved.fold(0.0, f32::max);
            // The same for all keys: a softmax does not see it.
            let vanishes = ["key.bias", "k_lin.bias"].iter().any(|end| name.ends_with(end));
            assert!(moved > 1e-3 || vanishes, "{family}: {name} is a stale copy ({moved})");
        }
        assert_eq!(outputs(&model), before, "{family}");
    }
}
