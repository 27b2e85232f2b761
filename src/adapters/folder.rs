//! An adapter in a folder of its own: the method, its values, and where it comes from.
//!
//! What PEFT or AdapterHub has words for lies there in their words and loads there; `incontext.json` beside it says what they
//! have no words for (base, data, settings) and alone describes what is ours only. Every tensor is read as 32-bit floats. A
//! folder is written aside and renamed: it is there whole, or not at all.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{AdapterConfig, Tensors, check_values, hub, peft};
use crate::error::{Error, IoContext, Result};
use crate::files;
use crate::nn::Network;

const CONFIG: &str = "adapter_config.json";
const ABOUT: &str = "incontext.json";
const PEFT_VALUES: &str = "adapter_model.safetensors";
const HUB_VALUES: &str = "adapter.safetensors";
/// A head that AdapterHub saved beside its adapter.
const HUB_HEAD_CONFIG: &str = "head_config.json";
const HUB_HEADS: [&str; 2] = ["model_head.safetensors", "pytorch_model_head.bin"];
const OUR_VALUES: &str = "incontext.safetensors";
/// Tensors of the base that were trained, alone or with an adapter that no other tool knows.
const BASE_VALUES: &str = "model.safetensors";

/// What a model is asked for, in PEFT's words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// The next token.
    #[default]
    CausalLm,
    /// A class.
    SeqCls,
    /// Hidden states, of a trunk without a head.
    FeatureExtraction,
}

impl Task {
    pub(super) fn peft(self) -> &'static str {
        match self {
            Self::CausalLm => "CAUSAL_LM",
            Self::SeqCls => "SEQ_CLS",
            Self::FeatureExtraction => "FEATURE_EXTRACTION",
        }
    }

    pub(super) fn from_peft(name: &str) -> Option<Self> {
        [Self::CausalLm, Self::SeqCls, Self::FeatureExtraction].into_iter().find(|task| task.peft() == name)
    }
}

/// Where an adapter comes from. A folder of another tool has none.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct About {
    /// Of incontext, that wrote it.
    pub version: String,
    /// As the person named the model.
    pub base: String,
    /// Of the base's weights, to the bit.
    pub base_fingerprint: String,
    /// As it is called in commands: `lora`, `full`, `head`.
    pub method: String,
    /// What was trained: `None` where it is only tensors of the base.
    pub config: Option<AdapterConfig>,
    pub task: Task,
    /// Values that were trained, those included that only helped.
    pub trained_parameters: usize,
    /// Of a classifier, in the order of its outputs.
    pub labels: Vec<String>,
    /// The template that its rows were laid out by, if any.
    pub template: Option<String>,
    /// The base's tensors that were trained and lie in the folder, for one that is lost to be missed.
    pub base_tensors: Vec<String>,
    /// Token ids that prompts begin with and that the adapter's prefix stands for: they are left out.
    pub covers: Vec<u32>,
    /// How it was trained, as the trainer wrote it.
    pub training: Value,
    /// What its answers from documents were measured to be worth.
    pub answers: Option<Measured>,
    /// Of a reward model: the level of its scores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reward: Option<Scale>,
}

/// What a reward model says of answers of the policy that is to learn from it. Only differences of scores are learned, so their
/// level is arbitrary: the mean is taken from every score before a policy learns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scale {
    /// The fingerprint of the policy's adapter; none for the model as it is.
    pub policy: Option<String>,
    pub answers: usize,
    pub mean: f64,
    /// Between answers.
    pub standard_deviation: f64,
}

/// F1 of answers to one set of questions over one collection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    pub questions: usize,
    /// blake3 of the questions' file.
    pub data: String,
    pub collection: String,
    /// As the model under this adapter writes them.
    pub generated_f1: f64,
    /// In the documents' own sentences.
    pub extractive_f1: f64,
    /// Whether the first is higher, beyond what chance explains.
    pub better: bool,
}

/// An adapter as it lies in a folder.
#[derive(Debug, Clone)]
pub struct Stored {
    /// `None` where only tensors of the base were trained.
    pub config: Option<AdapterConfig>,
    /// By the names of [`AdapterConfig::shapes`].
    pub tensors: Tensors,
    /// Tensors of the base that were trained, heads included, by the names of the base's files.
    pub base: Tensors,
    pub task: Task,
    pub about: Option<About>,
    /// The name that the folder gives its base.
    pub base_name: Option<String>,
}

impl Stored {
    /// Reads the folder `dir` for a network.
    ///
    /// # Errors
    /// `NotFound`, `Corrupt` or `Invalid`, naming the file, the setting or the tensor.
    pub fn read(dir: &Path, network: &dyn Network) -> Result<Self> {
        let read = || {
            let stored = Self::read_from(dir, network)?;
            // Its own values are looked at where they are attached, these go into the base.
            stored.base.iter().try_for_each(|(name, tensor)| check_values(name, tensor))?;
            let mut wanted = stored.about.iter().flat_map(|about| &about.base_tensors);
            match wanted.find(|name| !stored.base.contains_key(*name)) {
                Some(name) => Err(Error::corrupt(format!("the adapter lacks the tensor `{name}`"))
                    .hint("copy the adapter again, or train it again")),
                None => Ok(stored),
            }
        };
        read().map_err(|error: Error| error.within(dir.display()))
    }

    fn read_from(dir: &Path, network: &dyn Network) -> Result<Self> {
        let about = About::read(dir)?;
        let task_of = |about: &Option<About>| about.as_ref().map(|about| about.task);
        match json(&dir.join(CONFIG))? {
            Some(json) if hub::is_one(&json) => {
                let (config, base_name) = hub::describe(&json)?;
                let tensors = hub::sorted(values(dir, &[HUB_VALUES, "pytorch_adapter.bin"])?, network)?;
                let task =
                    task_of(&about).unwrap_or(if network.causal() { Task::CausalLm } else { Task::SeqCls });
                let mut base = optional_values(dir, &[BASE_VALUES])?;
                base.extend(hub::head(optional_values(dir, &HUB_HEADS)?)?);
                Ok(Self { config: Some(config), tensors, base, task, about, base_name })
            }
            Some(json) => {
                let described = peft::describe(&json)?;
                let (tensors, base) =
                    peft::sorted(values(dir, &[PEFT_VALUES, "adapter_model.bin"])?, network);
                let config = Some(described.config.known_to(network, &tensors));
                let task = described.task.or(task_of(&about)).unwrap_or_default();
                Ok(Self { config, tensors, base, task, about, base_name: described.base })
            }
            None => {
                let Some(about) = about else {
                    return Err(Error::not_found(format!("no {CONFIG} in this folder")).hint(
                        "an adapter is a folder with adapter_config.json and adapter_model.safetensors",
                    ));
                };
                let tensors = match about.config {
                    Some(_) => values(dir, &[OUR_VALUES])?,
                    None => Tensors::new(),
                };
                let (config, task) = (about.config.clone(), about.task);
                let base_name = Some(about.base.clone());
                let base = optional_values(dir, &[BASE_VALUES])?;
                Ok(Self { config, tensors, base, task, about: Some(about), base_name })
            }
        }
    }

    /// Writes the folder `dir`, in place of what is there.
    ///
    /// # Errors
    /// `Io` when it cannot be written; as [`AdapterConfig::shapes`].
    pub fn write(&self, dir: &Path, network: &dyn Network, family: &str) -> Result<()> {
        let base_name = self.base_name.clone().unwrap_or_default();
        let mut files: Vec<(&str, Vec<u8>)> = Vec::new();
        let pretty = |json: &Value| serde_json::to_vec_pretty(json).unwrap_or_default();
        // Of the base's tensors those for which no other tool has a place.
        let mut apart = self.base.clone();
        match &self.config {
            Some(AdapterConfig::Bottleneck(bottleneck)) => {
                let class = class(family, self.task);
                files.push((CONFIG, pretty(&hub::config(bottleneck, network, &base_name, family, &class))));
                files.push((HUB_VALUES, packed(hub::keys(&self.tensors))?));
                let (heads, rest): (Tensors, Tensors) =
                    apart.into_iter().partition(|(name, _)| hub::is_of_head(name));
                if let Some((_, out)) = heads.iter().find(|(name, _)| !name.starts_with("pre_")) {
                    let labels = self.about.as_ref().map(|about| &about.labels[..]).unwrap_or_default();
                    let config = hub::head_config(network, &base_name, family, &class, labels, out.dim(0)?);
                    files.push((HUB_HEAD_CONFIG, pretty(&config)));
                    files.push((HUB_HEADS[0], packed(heads)?));
                }
                apart = rest;
            }
            Some(config) => {
                let json = peft::config(config, network, &base_name, self.task, &self.tensors, &self.base)?;
                match json {
                    Some(json) => {
                        files.push((CONFIG, pretty(&json)));
                        let keys = peft::keys(config, &self.tensors, &self.base, network, self.task);
                        files.push((PEFT_VALUES, packed(keys)?));
                        apart = Tensors::new();
                    }
                    None => files.push((OUR_VALUES, packed(self.tensors.clone())?)),
                }
            }
            None => {}
        }
        if !apart.is_empty() {
            files.push((BASE_VALUES, packed(apart)?));
        }
        if let Some(about) = &self.about {
            let base_tensors = self.base.keys().cloned().collect();
            let about = About { base_tensors, ..about.clone() };
            files.push((ABOUT, serde_json::to_vec_pretty(&about).unwrap_or_default()));
        }
        files::replace_folder(dir, |aside| {
            files.iter().try_for_each(|(name, bytes)| files::replace(&aside.join(name), bytes))
        })
    }
}

impl About {
    /// Whether it was made on weights of this fingerprint, or does not say on which.
    pub fn fits(&self, fingerprint: &str) -> bool {
        self.base_fingerprint.is_empty() || self.base_fingerprint == fingerprint
    }

    /// Whether its answers were measured to be better than the documents' own sentences.
    pub fn writes_well(&self) -> bool {
        self.answers.as_ref().is_some_and(|measured| measured.better)
    }

    /// Whether it gives a score, and tells no classes apart.
    pub fn is_reward(&self) -> bool {
        self.task == Task::SeqCls && self.labels.len() == 1
    }

    /// Writes it beside the adapter in `dir`, in place of what it said before.
    ///
    /// # Errors
    /// `Io` when it cannot be written.
    pub fn write(&self, dir: &Path) -> Result<()> {
        files::replace(&dir.join(ABOUT), &serde_json::to_vec_pretty(self).unwrap_or_default())
    }

    /// Of the adapter in `dir`, if it says.
    ///
    /// # Errors
    /// `Corrupt` when the file is damaged.
    pub fn read(dir: &Path) -> Result<Option<Self>> {
        let path = dir.join(ABOUT);
        let Some(json) = json(&path)? else { return Ok(None) };
        serde_json::from_value(Value::Object(json))
            .map(Some)
            .map_err(|error| Error::corrupt(format!("{ABOUT}: {error}")).hint("copy the adapter again"))
    }
}

/// What tells the adapter in `dir` from any other: a hash of its files, without what was measured of it later.
///
/// # Errors
/// `Io` when the folder cannot be read.
pub fn fingerprint(dir: &Path) -> Result<String> {
    let entries = std::fs::read_dir(dir).at("read", dir)?;
    let mut files =
        entries.map(|entry| entry.map(|entry| entry.path()).at("read", dir)).collect::<Result<Vec<_>>>()?;
    files.retain(|path| path.is_file() && path.file_name().is_some_and(|name| name != ABOUT));
    files.sort();
    let mut hasher = blake3::Hasher::new();
    for path in files {
        let bytes = std::fs::read(&path).at("read", &path)?;
        hasher.update(&(bytes.len() as u64).to_le_bytes()).update(&bytes);
    }
    Ok(hasher.finalize().to_hex().to_string())
}

/// The method of the adapter in `dir` without its values, and the name of its base.
///
/// # Errors
/// As [`Stored::read`].
pub fn describe(dir: &Path) -> Result<(Option<AdapterConfig>, Option<String>)> {
    let described = || -> Result<_> {
        match json(&dir.join(CONFIG))? {
            Some(json) if hub::is_one(&json) => {
                hub::describe(&json).map(|(config, base)| (Some(config), base))
            }
            Some(json) => peft::describe(&json).map(|described| (Some(described.config), described.base)),
            None => match About::read(dir)? {
                Some(about) => Ok((about.config, Some(about.base))),
                None => Err(Error::not_found(format!("no {CONFIG} in this folder"))
                    .hint("an adapter is a folder with adapter_config.json and adapter_model.safetensors")),
            },
        }
    };
    described().map_err(|error| error.within(dir.display()))
}

/// As its reference calls it, for a method whose file holds only what a network wrote: the method with that network.
///
/// # Errors
/// As [`Stored::read`].
pub fn with_its_network(dir: &Path) -> Result<Option<AdapterConfig>> {
    let Some(json) = json(&dir.join(CONFIG))? else { return Ok(None) };
    if hub::is_one(&json) {
        return Ok(None);
    }
    let described = peft::describe(&json)?;
    Ok(described.encoder_hidden_size.and_then(|inner| described.config.written_by(inner)))
}

/// Bytes of every file of an adapter.
///
/// # Errors
/// `Io` when the folder cannot be read.
pub fn size(dir: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir).at("read", dir)? {
        let about = entry.at("read", dir)?.metadata().at("read", dir)?;
        bytes += if about.is_file() { about.len() } else { 0 };
    }
    Ok(bytes)
}

fn json(path: &Path) -> Result<Option<Map<String, Value>>> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).at("read", path),
    };
    serde_json::from_slice(&bytes).map(Some).map_err(|error| {
        Error::corrupt(format!("{name} is not a JSON object: {error}")).hint("copy the adapter again")
    })
}

/// The first of `names` that is there.
fn values(dir: &Path, names: &[&str]) -> Result<Tensors> {
    let found: Option<PathBuf> = names.iter().map(|name| dir.join(name)).find(|path| path.exists());
    let Some(path) = found else {
        return Err(
            Error::not_found(format!("the adapter has no {}", names[0])).hint("copy the adapter again")
        );
    };
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let damaged = |error: candle_core::Error| {
        Error::corrupt(format!("{name} is damaged: {error}")).hint("copy the adapter again")
    };
    let tensors: Vec<(String, Tensor)> = match path.extension().is_some_and(|extension| extension == "bin") {
        true => candle_core::pickle::read_all(&path).map_err(damaged)?,
        false => {
            let bytes = std::fs::read(&path).at("read", &path)?;
            let tensors: HashMap<String, Tensor> =
                candle_core::safetensors::load_buffer(&bytes, &Device::Cpu).map_err(damaged)?;
            tensors.into_iter().collect()
        }
    };
    let as_floats = |(tensor_name, tensor): (String, Tensor)| match tensor.dtype().is_float() {
        true => Ok((tensor_name, tensor.to_dtype(DType::F32)?)),
        false => Err(Error::corrupt(format!(
            "{name}: tensor `{tensor_name}` holds {}, not floats",
            tensor.dtype().as_str()
        ))
        .hint("copy the adapter again")),
    };
    tensors.into_iter().map(as_floats).collect()
}

fn optional_values(dir: &Path, names: &[&str]) -> Result<Tensors> {
    let there = names.iter().any(|name| dir.join(name).exists());
    if there { values(dir, names) } else { Ok(Tensors::new()) }
}

/// As a safetensors file.
fn packed(tensors: Tensors) -> Result<Vec<u8>> {
    let format = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let contiguous = |(name, tensor): (String, Tensor)| Ok((name, tensor.detach().contiguous()?));
    let tensors = tensors.into_iter().map(contiguous).collect::<Result<Vec<_>>>()?;
    safetensors::serialize(tensors.iter().map(|(name, tensor)| (name, tensor)), Some(format))
        .map_err(|error| Error::invalid(format!("the tensors cannot be written: {error}")))
}

/// What Hugging Face calls the model that does `task`.
fn class(family: &str, task: Task) -> String {
    let family = match family {
        "bert" => "Bert",
        "roberta" => "Roberta",
        "distilbert" => "DistilBert",
        "qwen2" => "Qwen2",
        "qwen3" => "Qwen3",
        "gemma3" => "Gemma3",
        "gpt2" => "GPT2",
        _ => "Llama",
    };
    match task {
        Task::CausalLm if family == "GPT2" => "GPT2LMHeadModel".to_owned(),
        Task::CausalLm => format!("{family}ForCausalLM"),
        Task::SeqCls => format!("{family}ForSequenceClassification"),
        Task::FeatureExtraction => format!("{family}Model"),
    }
}
