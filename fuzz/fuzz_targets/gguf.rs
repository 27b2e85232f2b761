//! A GGUF file: header, tensors, tokenizer, one pass.
#![no_main]

use candle_core::Device;
use incontext::models::{Batch, Model};
use incontext::nn::Pass;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::io::Write::write_all(&mut file, bytes).expect("room for it");
    if let Ok(model) = Model::load(file.path(), &Device::Cpu) {
        let _ = model.transformer.forward(&Batch::single(&[0, 1]), Pass::bare());
    }
});
