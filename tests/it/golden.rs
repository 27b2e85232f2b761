//! Our numbers against PyTorch's on tiny seeded models (`tests/golden/make_tiny.py` made the references).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use incontext::eval::verify::{Check, Outcome, Tolerance, verify};
use incontext::models::{Batch, Model};
use incontext::nn::{Adapter, Bare, KvCache, Pass};

pub const DECODERS: [&str; 7] = ["llama", "llama_untied", "qwen2", "qwen3", "gemma3", "gemma3_odd", "gpt2"];
pub const ENCODERS: [&str; 3] = ["bert", "distilbert", "xlm_roberta"];

pub fn families() -> impl Iterator<Item = &'static str> {
    DECODERS.into_iter().chain(ENCODERS)
}

pub fn tiny(family: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/tiny").join(family)
}

pub fn failures(checks: &[Check]) -> Vec<&Check> {
    checks.iter().filter(|check| !check.passed()).collect()
}

#[test]
fn outputs_loss_and_gradients_equal_the_references() {
    for family in families() {
        let dir = tiny(family);
        let checks =
            verify(&dir, None, &dir.join("io.safetensors"), &Device::Cpu, Tolerance::default()).unwrap();
        assert!(failures(&checks).is_empty(), "{family}: {:#?}", failures(&checks));
        assert!(checks.iter().filter(|check| check.name.starts_with("grad.")).count() > 25, "{family}");
    }
}

/// Writes the reference of `family` with one change into a temporary folder and verifies against that.
fn verify_changed(family: &str, change: impl FnOnce(&mut BTreeMap<String, Tensor>)) -> Vec<Check> {
    let dir = tiny(family);
    let loaded = candle_core::safetensors::load(dir.join("io.safetensors"), &Device::Cpu).unwrap();
    let mut reference: BTreeMap<String, Tensor> = loaded.into_iter().collect();
    change(&mut reference);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("changed.safetensors");
    candle_core::safetensors::save(&reference.into_iter().collect(), &file).unwrap();
    verify(&dir, None, &file, &Device::Cpu, Tolerance::default()).unwrap()
}

#[test]
fn a_perturbed_reference_fails_and_only_there() {
    let name = "grad.model.layers.1.mlp.up_proj.weight";
    let checks = verify_changed("llama", |reference| {
        let perturbed = (&reference[name] * 1.001).unwrap();
        reference.insert(name.to_owned(), perturbed);
    });
    let failed: Vec<_> = failures(&checks).iter().map(|check| check.name.clone()).collect();
    assert_eq!(failed, [name]);
}

#[test]
fn a_missing_counterpart_fails_on_either_side() {
    let checks = verify_changed("llama", |reference| {
        reference.remove("grad.model.norm.weight");
        let extra = reference["loss"].clone();
        reference.insert("grad.model.layers.9.mlp.up_proj.weight".to_owned(), extra);
    });
    let failed = failures(&checks);
    assert_eq!(failed.len(), 2, "{failed:#?}");
    assert!(failed.iter().all(|check| matches!(check.outcome, Outcome::Missing(_))));
}

#[test]
fn not_a_number_never_passes() {
    let checks = verify_changed("bert", |reference| {
        let nan = (&reference["hidden"] * f64::NAN).unwrap();
        reference.insert("hidden".to_owned(), nan);
    });
    assert_eq!(failures(&checks).len(), 1);
}

pub const SEQUENCES: [&[u32]; 3] = [&[5, 9, 300, 17, 44, 3, 8], &[11], &[250, 4, 4, 99]];

pub fn hidden(model: &Model, batch: &Batch, pass: Pass) -> Vec<Vec<f32>> {
    model.transformer.forward(batch, pass).unwrap().to_vec2().unwrap()
}

pub fn assert_close(ours: &[Vec<f32>], theirs: &[Vec<f32>]) {
    let pairs = ours.iter().flatten().zip(theirs.iter().flatten());
    let (difference, scale) = pairs.fold((0f64, 0f64), |(difference, scale), (a, b)| {
        (difference + f64::from(a - b).powi(2), scale + f64::from(*b).powi(2))
    });
    assert_eq!(ours.len(), theirs.len());
    assert!(difference <= 1e-10 * scale, "relative error {}", (difference / scale).sqrt());
}

#[test]
fn packed_sequences_equal_each_alone() {
    for family in families() {
        let model = Model::load(&tiny(family), &Device::Cpu).unwrap();
        let packed = hidden(&model, &Batch::of(&SEQUENCES), Pass::bare());
        let alone: Vec<_> =
            SEQUENCES.iter().flat_map(|ids| hidden(&model, &Batch::single(ids), Pass::bare())).collect();
        assert_close(&packed, &alone);
    }
}

#[test]
fn padding_on_either_side_changes_nothing() {
    for family in families() {
        let model = Model::load(&tiny(family), &Device::Cpu).unwrap();
        let pad = |ids: &[u32], left: usize| {
            let right = 9 - ids.len() - left;
            let row = [vec![0; left], ids.to_vec(), vec![0; right]].concat();
            let mask = [vec![0; left], vec![1; ids.len()], vec![0; right]].concat();
            (row, mask)
        };
        let (rows, masks): (Vec<_>, Vec<_>) =
            SEQUENCES.iter().enumerate().map(|(i, ids)| pad(ids, i)).unzip();
        let (batch, _) = Batch::from_padded(&rows, &masks).unwrap();
        let padded = hidden(&model, &batch, Pass::bare());
        assert_close(&padded, &hidden(&model, &Batch::of(&SEQUENCES), Pass::bare()));
    }
}

#[test]
fn token_by_token_decoding_equals_one_full_forward() {
    for family in DECODERS {
        let model = Model::load(&tiny(family), &Device::Cpu).unwrap();
        let ids = SEQUENCES[0];
        let full = hidden(&model, &Batch::single(ids), Pass::bare());
        for prefill in [1, 3] {
            let mut cache = KvCache::new(1);
            let mut steps = hidden(&model, &Batch::single(&ids[..prefill]), Pass::cached(&Bare, &mut cache));
            for id in &ids[prefill..] {
                steps.extend(hidden(&model, &Batch::single(&[*id]), Pass::cached(&Bare, &mut cache)));
            }
            assert_close(&steps, &full);
        }
    }
}

#[test]
fn sequences_decoded_together_equal_each_alone() {
    for family in DECODERS {
        let model = Model::load(&tiny(family), &Device::Cpu).unwrap();
        let mut together = KvCache::new(SEQUENCES.len());
        hidden(&model, &Batch::of(&SEQUENCES), Pass::cached(&Bare, &mut together));
        let next = [[7u32], [8], [9]];
        let step = hidden(&model, &Batch::of(&next), Pass::cached(&Bare, &mut together));
        for (row, (ids, next)) in SEQUENCES.iter().zip(next).enumerate() {
            let all = [ids, &next[..]].concat();
            let alone = hidden(&model, &Batch::single(&all), Pass::bare());
            assert_close(&step[row..=row], &alone[alone.len() - 1..]);
        }
    }
}

#[test]
fn a_cache_cut_back_continues_as_if_nothing_had_followed() {
    let model = Model::load(&tiny("llama"), &Device::Cpu).unwrap();
    let mut cache = KvCache::new(1);
    hidden(&model, &Batch::single(&[5, 9, 300, 1, 2]), Pass::cached(&Bare, &mut cache));
    cache.truncate(0, 3);
    let after = hidden(&model, &Batch::single(&[17]), Pass::cached(&Bare, &mut cache));
    let full = hidden(&model, &Batch::single(&[5, 9, 300, 17]), Pass::bare());
    assert_close(&after, &full[3..]);
}

struct Other;

impl Adapter for Other {
    fn identity(&self) -> u64 {
        1
    }
}

#[test]
fn a_cache_refuses_another_adapter() {
    let model = Model::load(&tiny("llama"), &Device::Cpu).unwrap();
    let mut cache = KvCache::new(1);
    hidden(&model, &Batch::single(&[5]), Pass::cached(&Bare, &mut cache));
    let error =
        model.transformer.forward(&Batch::single(&[6]), Pass::cached(&Other, &mut cache)).unwrap_err();
    assert!(error.to_string().contains("another adapter"), "{error}");
}

#[test]
fn text_longer_than_the_context_is_refused_not_cut() {
    // XLM-RoBERTa's table has 66 positions, of which two are never used.
    for family in ENCODERS {
        let model = Model::load(&tiny(family), &Device::Cpu).unwrap();
        model.transformer.forward(&Batch::single(&[5; 64]), Pass::bare()).unwrap();
        let error = model.transformer.forward(&Batch::single(&[5; 65]), Pass::bare()).unwrap_err();
        assert!(matches!(error, incontext::Error::TooLong(_)), "{error}");
    }
}
