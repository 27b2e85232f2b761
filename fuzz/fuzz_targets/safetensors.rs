//! The weights of a tiny BERT: header, shapes, values, one pass.
#![no_main]

use std::fs;

use candle_core::Device;
use incontext::models::{Batch, Model};
use incontext::nn::Pass;
use libfuzzer_sys::fuzz_target;

const CONFIG: &str = include_str!("../bert.json");

fuzz_target!(|bytes: &[u8]| {
    let dir = tempfile::tempdir().expect("a temporary folder");
    fs::write(dir.path().join("config.json"), CONFIG).expect("room for it");
    fs::write(dir.path().join("model.safetensors"), bytes).expect("room for it");
    if let Ok(model) = Model::load(dir.path(), &Device::Cpu) {
        let _ = model.transformer.forward(&Batch::single(&[0, 1]), Pass::bare());
    }
});
