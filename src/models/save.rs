//! A model as a Hugging Face directory, with some of its tensors changed: what merging an adapter leaves.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use serde_json::{Value, json};

use super::classes;
use super::config::{Config, Family, Positions};
use super::model::Model;
use super::weights::weight_files;
use crate::error::{Error, IoContext, Result};
use crate::files;
use crate::nn::RopeScaling;

const WEIGHTS: &str = "model.safetensors";

/// Writes the model at `path`, a directory or a GGUF file, into the directory `out`, in place of what is there. Each of
/// `tensors` stands in for the model's own of that name; those that it does not have are added. Tensors keep their types; a GGUF
/// file's become 32-bit floats. With `labels` it is written as the model that tells these apart.
///
/// # Errors
/// As [`Model::load`]; `Invalid` for a GGUF file whose settings config.json has no words for; `Io`.
pub fn save(
    path: &Path,
    tensors: &BTreeMap<String, Tensor>,
    labels: Option<&[String]>,
    out: &Path,
) -> Result<()> {
    let place = |error: Error| error.within(path.display());
    let (config, _) = Model::describe(path)?;
    let trunk = config.family.names().trunk;
    let (mut all, beside) = match path.is_dir() {
        true => (tensors_of(&weight_files(path)?).map_err(place)?, Beside::Files(other_files(path)?)),
        false => {
            let json = describe(&config).map_err(place)?;
            let (model, params) = Model::load_trainable(path, &Device::Cpu)?;
            let tokenizer = model.tokenizer()?.files()?;
            (params.snapshot()?, Beside::Made { config: json, tokenizer })
        }
    };
    // Who reads a head beside a bare trunk puts the prefix before both.
    if labels.is_some() && !all.keys().any(|name| name.starts_with(trunk)) {
        all = all.into_iter().map(|(name, tensor)| (format!("{trunk}{name}"), tensor)).collect();
    }
    for (name, tensor) in tensors {
        // A file of the bare trunk leaves the prefix out.
        let bare = name.strip_prefix(trunk).filter(|bare| !all.contains_key(name) && all.contains_key(*bare));
        let name = bare.unwrap_or(name);
        let kind = all.get(name).map_or(DType::F32, Tensor::dtype);
        all.insert(name.to_owned(), tensor.to_device(&Device::Cpu)?.to_dtype(kind)?.contiguous()?);
    }
    files::replace_folder(out, |dir| {
        match beside {
            Beside::Files(files) => {
                for file in files {
                    let Some(name) = file.file_name() else { continue };
                    std::fs::copy(&file, dir.join(name)).at("copy", &file)?;
                }
            }
            Beside::Made { config: json, tokenizer } => {
                files::replace(&dir.join("config.json"), &pretty(&json))?;
                for (name, content) in tokenizer {
                    files::replace(&dir.join(name), content.as_bytes())?;
                }
            }
        }
        if let Some(labels) = labels {
            let file = dir.join("config.json");
            let text = std::fs::read(&file).at("read", &file)?;
            let mut json = serde_json::from_slice(&text)
                .map_err(|error| Error::corrupt(format!("`{}`: {error}", file.display())))?;
            classes::describe(&mut json, config.family, labels);
            files::replace(&file, &pretty(&json))?;
        }
        let about = HashMap::from([("format".to_owned(), "pt".to_owned())]);
        files::replace_at(&dir.join(WEIGHTS), |file| {
            safetensors::serialize_to_file(&all, Some(about), file)
                .map_err(|error| Error::invalid(format!("`{WEIGHTS}` cannot be written: {error}")))
        })
    })
}

/// What lies beside the weights.
enum Beside {
    Files(Vec<PathBuf>),
    Made { config: Value, tokenizer: Vec<(&'static str, String)> },
}

fn tensors_of(files: &[PathBuf]) -> Result<BTreeMap<String, Tensor>> {
    let mut all = BTreeMap::new();
    for file in files {
        let bytes = std::fs::read(file).at("read", file)?;
        let tensors = candle_core::safetensors::load_buffer(&bytes, &Device::Cpu);
        all.extend(tensors.map_err(|error| Error::corrupt(format!("`{}`: {error}", file.display())))?);
    }
    Ok(all)
}

/// Everything of a model's directory but its weights, in whatever form.
fn other_files(dir: &Path) -> Result<Vec<PathBuf>> {
    let weights = ["safetensors", "bin", "gguf", "pt", "pth", "h5", "msgpack", "onnx"];
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).at("read", dir)? {
        let path = entry.at("read", dir)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let is_weights = weights.iter().any(|end| name.ends_with(end) || name.ends_with("index.json"));
        if path.is_file() && !is_weights {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The config.json of a model that came without one.
fn describe(config: &Config) -> Result<Value> {
    let (kind, class) = match config.family {
        Family::Llama => ("llama", "LlamaForCausalLM"),
        Family::Qwen2 => ("qwen2", "Qwen2ForCausalLM"),
        Family::Qwen3 => ("qwen3", "Qwen3ForCausalLM"),
        other => {
            return Err(Error::invalid(format!(
                "a GGUF file of the family {other} cannot be written as a directory"
            ))
            .hint("merge into the model's own directory of safetensors files"));
        }
    };
    let (theta, scaling) = match &config.positions {
        Positions::Rotary { theta, scaling: RopeScaling::None } => (*theta, Value::Null),
        Positions::Rotary { theta, scaling: RopeScaling::Linear { factor } } => {
            (*theta, json!({ "rope_type": "linear", "factor": factor }))
        }
        _ => {
            return Err(Error::invalid("config.json has no words for this file's rotary frequencies")
                .hint("merge into the model's own directory of safetensors files"));
        }
    };
    let shape = &config.shape;
    Ok(json!({
        "architectures": [class],
        "model_type": kind,
        "hidden_act": "silu",
        "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_dim,
        "max_position_embeddings": config.context,
        "rms_norm_eps": config.norm_eps,
        "rope_theta": theta,
        "rope_scaling": scaling,
        "tie_word_embeddings": config.tied_head,
        "vocab_size": shape.vocab,
        "torch_dtype": "float32",
        "use_sliding_window": false,
    }))
}

fn pretty(json: &Value) -> Vec<u8> {
    serde_json::to_vec_pretty(json).unwrap_or_default()
}
