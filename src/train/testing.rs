//! A small method to train with in tests, and tiny models to train.

use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};
use std::path::Path;

use candle_core::{Device, Tensor};

use super::{Event, Place, Rows, Subject, TrainConfig, train};
use crate::error::Result;
use crate::models::Model;
use crate::nn::{Adapter, Identity, Linear, Mode, Params, Part, Site, dropout};
use crate::random::SplitMix;
use crate::train::{Outcome, Row};

/// `y + drop(x) A B` at queries and values of some layers, `B` zero at the start.
pub struct LowRank {
    pub pairs: BTreeMap<Site, (Tensor, Tensor)>,
    pub dropout: f64,
    /// In training, from this step on so many steps compute NaN.
    pub broken: Range<u64>,
}

const RANK: usize = 3;

impl LowRank {
    pub fn new(model: &Model, layers: Range<usize>, params: &mut Params) -> Self {
        let mut pairs = BTreeMap::new();
        for site in layers.flat_map(|layer| [Part::Q, Part::V].map(|part| Site::new(layer, part))) {
            let (out, input) = model.transformer.config.shape.linear(site.part).unwrap();
            let a = numbers(&[input, RANK], site.layer as u64 * 2 + site.part as u64);
            let b = Tensor::zeros(&[RANK, out], candle_core::DType::F32, &Device::Cpu).unwrap();
            let a = params.insert(&format!("{site}.a"), &a).unwrap();
            let b = params.insert(&format!("{site}.b"), &b).unwrap();
            pairs.insert(site, (a, b));
        }
        Self { pairs, dropout: 0.0, broken: 0..0 }
    }
}

pub fn still(name: &str) -> bool {
    name.ends_with(".a")
}

impl Adapter for LowRank {
    fn identity(&self) -> Identity {
        11
    }

    fn linear(&self, linear: &Linear, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let y = linear.frozen(x)?;
        let Some((a, b)) = self.pairs.get(&linear.site) else { return Ok(y) };
        let x = dropout(x, self.dropout, mode, linear.site, 0)?;
        let more = (x.matmul(a)?.matmul(b)? * 5.0)?;
        let y = (y + more)?;
        match mode {
            Mode::Train { step, .. } if self.broken.contains(&step) => Ok((y * f64::NAN)?),
            _ => Ok(y),
        }
    }
}

/// Numbers between -0.5 and 0.5.
pub fn numbers(shape: &[usize], seed: u64) -> Tensor {
    let mut random = SplitMix::new(seed, 1);
    let count: usize = shape.iter().product();
    let next = |_| (random.next() >> 40) as f32 / (1u64 << 24) as f32 - 0.5;
    Tensor::from_vec((0..count).map(next).collect::<Vec<_>>(), shape, &Device::Cpu).unwrap()
}

pub fn tiny(family: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/tiny").join(family)
}

pub fn model(family: &str) -> Model {
    Model::load(&tiny(family), &Device::Cpu).unwrap()
}

/// Rows that can be learned: what follows a prompt is decided by its first token.
pub fn row(seed: u64) -> Row {
    let mut random = SplitMix::new(seed, 2);
    let length = 2 + random.below(9);
    let prompt: Vec<u32> = (0..length).map(|_| 5 + random.below(60) as u32).collect();
    let answer: Vec<u32> = (0..1 + random.below(4) as u32).map(|at| 70 + (prompt[0] + at) % 7).collect();
    Row::from_ids(&prompt, &answer)
}

pub fn rows(seeds: Range<u64>) -> Vec<Row> {
    seeds.map(row).collect()
}

pub fn config() -> TrainConfig {
    TrainConfig {
        learning_rate: 1e-2,
        warmup: 0.0,
        epochs: 3,
        batch_size: 4,
        micro_tokens: 24,
        seed: 5,
        ..TrainConfig::default()
    }
}

pub fn subject<'a>(model: &'a Model, adapter: &'a dyn Adapter, params: &'a Params) -> Subject<'a> {
    Subject { adapter, still: &still, ..Subject::new("low rank", model, params) }
}

/// Trains and hears everything, breaking off when `stop` says so.
pub fn trained(
    subject: &Subject,
    rows: &Rows,
    config: &TrainConfig,
    place: Option<Place>,
    mut stop: impl FnMut(&Event) -> bool,
) -> (Result<Outcome>, Vec<Event>) {
    let mut events = Vec::new();
    let outcome = train(subject, rows, config, place, &mut |event| {
        let broken_off = stop(&event);
        events.push(event);
        if broken_off { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    (outcome, events)
}

/// A hash of every parameter's bits.
pub fn bits(params: &Params) -> BTreeMap<String, String> {
    let of = |tensor: &Tensor| -> String {
        let values = tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let bytes: Vec<u8> = values.into_iter().flat_map(f32::to_le_bytes).collect();
        blake3::hash(&bytes).to_hex().to_string()
    };
    params.iter().map(|(name, var)| (name.to_owned(), of(var))).collect()
}
