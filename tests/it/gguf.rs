//! GGUF files against the same references as the folders they were made from: names, metadata, and what each architecture
//! stores otherwise (Llama's rows of queries and keys, Gemma's norms).

use std::fs;
use std::io::Cursor;
use std::path::Path;

use candle_core::quantized::gguf_file::{self, Value};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use incontext::eval::verify::{Tolerance, verify};
use incontext::models::{Batch, Model};
use incontext::nn::Pass;

use crate::golden::{failures, tiny};
use crate::run::Folder;

/// As llama.cpp's converter names tensors; norms behind a sublayer are Gemma's alone.
fn stored_name(name: &str, architecture: &str) -> String {
    let second = if architecture == "gemma3" { "post_attention_norm" } else { "ffn_norm" };
    let mut stored = name.to_owned();
    for (theirs, ours) in [
        ("model.layers.", "blk."),
        ("model.embed_tokens", "token_embd"),
        ("model.norm", "output_norm"),
        ("lm_head", "output"),
        ("input_layernorm", "attn_norm"),
        ("post_attention_layernorm", second),
        ("pre_feedforward_layernorm", "ffn_norm"),
        ("post_feedforward_layernorm", "post_ffw_norm"),
        ("self_attn.q_proj", "attn_q"),
        ("self_attn.k_proj", "attn_k"),
        ("self_attn.v_proj", "attn_v"),
        ("self_attn.o_proj", "attn_output"),
        ("self_attn.q_norm", "attn_q_norm"),
        ("self_attn.k_norm", "attn_k_norm"),
        ("mlp.gate_proj", "ffn_gate"),
        ("mlp.up_proj", "ffn_up"),
        ("mlp.down_proj", "ffn_down"),
    ] {
        stored = stored.replace(theirs, ours);
    }
    stored
}

/// Half-rotation rows to interleaved ones, as the converter writes Llama's.
fn permuted(weight: &Tensor, heads: usize) -> Tensor {
    let (out, input) = weight.dims2().unwrap();
    let halves = weight.reshape((heads, 2, out / heads / 2, input)).unwrap();
    halves.transpose(1, 2).unwrap().reshape((out, input)).unwrap()
}

/// The golden model `family` as a GGUF file in 32-bit floats; `extra` are numbers of its metadata.
fn convert(family: &str, architecture: &str, extra: &[(&str, Value)], file: &Path) {
    let weights = candle_core::safetensors::load(tiny(family).join("model.safetensors"), &Device::Cpu);
    let mut tensors: Vec<(String, QTensor)> = weights
        .unwrap()
        .into_iter()
        .map(|(name, tensor)| {
            let stored = stored_name(&name, architecture);
            let tensor = match architecture {
                "llama" if name.ends_with("q_proj.weight") => permuted(&tensor, 6),
                "llama" if name.ends_with("k_proj.weight") => permuted(&tensor, 2),
                "gemma3" if name.ends_with("norm.weight") => (tensor + 1.0).unwrap(),
                _ => tensor,
            };
            (stored, QTensor::quantize(&tensor.contiguous().unwrap(), GgmlDType::F32).unwrap())
        })
        .collect();
    tensors.sort_by(|a, b| a.0.cmp(&b.0));
    let letters = ('a'..='x').map(|letter| Value::String(letter.to_string())).collect();
    let mut metadata: Vec<(String, Value)> = [
        ("block_count", Value::U32(3)),
        ("embedding_length", Value::U32(48)),
        ("attention.head_count", Value::U32(6)),
        ("attention.head_count_kv", Value::U32(2)),
        ("feed_forward_length", Value::U32(80)),
        ("context_length", Value::U32(128)),
        ("attention.layer_norm_rms_epsilon", Value::F32(1e-6)),
    ]
    .into_iter()
    .chain(extra.iter().cloned())
    .map(|(key, value)| (format!("{architecture}.{key}"), value))
    .collect();
    metadata.extend([
        ("general.architecture".to_owned(), Value::String(architecture.to_owned())),
        ("tokenizer.ggml.model".to_owned(), Value::String("gpt2".into())),
        ("tokenizer.ggml.pre".to_owned(), Value::String("qwen2".into())),
        ("tokenizer.ggml.tokens".to_owned(), Value::Array(letters)),
        ("tokenizer.ggml.merges".to_owned(), Value::Array(Vec::new())),
    ]);
    let metadata: Vec<(&str, &Value)> = metadata.iter().map(|(key, value)| (&**key, value)).collect();
    let tensors: Vec<(&str, &QTensor)> = tensors.iter().map(|(name, tensor)| (&**name, tensor)).collect();
    let mut bytes = Cursor::new(Vec::new());
    gguf_file::write(&mut bytes, &metadata, &tensors).unwrap();
    fs::write(file, bytes.into_inner()).unwrap();
}

fn gemma_odd() -> Vec<(&'static str, Value)> {
    vec![
        ("attention.key_length", Value::U32(12)),
        ("attention.sliding_window", Value::U32(3)),
        ("attention.sliding_window_pattern", Value::U32(2)),
        ("rope.freq_base", Value::F32(2e5)),
        ("rope.freq_base_swa", Value::F32(5e3)),
        ("rope.scaling.type", Value::String("linear".into())),
        ("rope.scaling.factor", Value::F32(8.0)),
    ]
}

#[test]
fn a_gguf_of_each_architecture_computes_what_the_original_does() {
    let folder = Folder::new();
    let local = [true, true, false].map(Value::Bool).to_vec();
    let gemma = vec![
        ("attention.key_length", Value::U32(8)),
        ("attention.sliding_window", Value::U32(4)),
        ("attention.sliding_window_pattern", Value::Array(local)),
        ("rope.freq_base", Value::F32(1e6)),
    ];
    for (family, architecture, extra) in [
        ("llama", "llama", vec![]),
        ("llama_untied", "llama", vec![("rope.freq_base", Value::F32(5e5))]),
        ("qwen2", "qwen2", vec![("rope.freq_base", Value::F32(1e4))]),
        ("qwen3", "qwen3", vec![("attention.key_length", Value::U32(16))]),
        ("gemma3", "gemma3", gemma),
    ] {
        let file = folder.at(&format!("{family}.gguf"));
        convert(family, architecture, &extra, &file);
        let reference = tiny(family).join("io.safetensors");
        let checks = verify(&file, None, &reference, &Device::Cpu, Tolerance::default()).unwrap();
        assert!(failures(&checks).is_empty(), "{family}: {:#?}", failures(&checks));
        assert!(checks.iter().filter(|check| check.name.starts_with("grad.")).count() > 25, "{family}");
    }
}

/// No GGUF file can say that scores are divided by another root, so this is held against our own reading of a folder that
/// says nothing unusual about that.
#[test]
fn gemmas_pattern_and_stretched_positions_are_read_from_metadata() {
    let folder = Folder::new();
    convert("gemma3_odd", "gemma3", &gemma_odd(), &folder.at("m.gguf"));
    let dir = folder.at("m");
    fs::create_dir(&dir).unwrap();
    let config = fs::read_to_string(tiny("gemma3_odd").join("config.json")).unwrap();
    assert!(config.contains("\"query_pre_attn_scalar\": 20"));
    folder.write("m/config.json", &config.replace("scalar\": 20", "scalar\": 12"));
    fs::copy(tiny("gemma3_odd").join("model.safetensors"), dir.join("model.safetensors")).unwrap();
    let hidden = |path: &Path| {
        let model = Model::load(path, &Device::Cpu).unwrap();
        let hidden = model.transformer.forward(&Batch::single(&[5, 9, 300, 17, 44, 3, 8]), Pass::bare());
        let logits = model.transformer.logits(&hidden.unwrap()).unwrap();
        logits.to_vec2::<f32>().unwrap()
    };
    crate::golden::assert_close(&hidden(&folder.at("m.gguf")), &hidden(&dir));
}

#[test]
fn what_a_gguf_of_gemma_lacks_or_gets_wrong_is_named() {
    let folder = Folder::new();
    let file = folder.at("m.gguf");
    for (key, value, complaint) in [
        ("attention.sliding_window", None, "`gemma3.attention.sliding_window` is missing"),
        ("attention.sliding_window_pattern", Some(Value::U32(0)), "sliding_window_pattern"),
        ("attention.sliding_window_pattern", Some(Value::Array(vec![Value::Bool(true)])), "does not fit"),
        ("attention.sliding_window", Some(Value::U32(0)), "window is 0"),
        ("rope.scaling.type", Some(Value::String("yarn".into())), "`yarn` is not supported"),
        ("rope.freq_base_swa", Some(Value::F32(-1.0)), "local layers' rope_theta"),
    ] {
        let mut extra: Vec<_> = gemma_odd().into_iter().filter(|(other, _)| *other != key).collect();
        extra.extend(value.map(|value| (key, value)));
        convert("gemma3_odd", "gemma3", &extra, &file);
        let error = Model::load(&file, &Device::Cpu).map(drop).unwrap_err().to_string();
        assert!(error.contains(complaint), "{key}: {error}");
    }
    convert("llama", "mamba", &[], &file);
    let error = Model::load(&file, &Device::Cpu).map(drop).unwrap_err();
    assert!(error.to_string().contains("`mamba`"), "{error}");
    assert!(error.advice().unwrap().contains("gemma3"), "{error}");
}
