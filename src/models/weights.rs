//! Tensors by their Hugging Face names, wherever they lie: safetensors files or a GGUF file.
//!
//! Every tensor arrives as f32 and is checked against the shape the config promises. A loader that asks for *trainable*
//! weights gets variables, registered under the same names.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use candle_core::safetensors::MmapedSafetensors;
use candle_core::{DType, Device, Tensor};
use serde_json::Value;

use super::gguf::Gguf;
use crate::error::{Error, IoContext, Result};
use crate::nn::Params;

/// Says by its name whether a tensor is trained.
pub type Select<'a> = &'a dyn Fn(&str) -> bool;

/// A source of named tensors.
pub struct Weights<'a> {
    source: Source,
    device: Device,
    /// Put before every name: `model.` when the file holds the trunk under a head, empty when bare.
    trunk: String,
    /// Which tensors become variables, and those that have.
    params: Option<(Select<'a>, RefCell<Params>)>,
    /// In place of what the source has.
    over: BTreeMap<String, Tensor>,
    /// Names of those that were asked for.
    used: RefCell<BTreeSet<String>>,
}

enum Source {
    /// The mapping is dropped with `Weights`: tensors are copied out, so a mapped file does not count twice.
    Safetensors(MmapedSafetensors),
    Gguf(Gguf),
    Memory(BTreeMap<String, Tensor>),
}

impl<'a> Weights<'a> {
    /// The safetensors files of a model directory: `model.safetensors`, or the shards its index names.
    ///
    /// # Errors
    /// `NotFound` without weights, `Corrupt` when a file is damaged.
    pub fn from_dir(dir: &Path, device: &Device) -> Result<Self> {
        let files = weight_files(dir)?;
        // Safe as long as nobody truncates the file under us, which no reader of files can rule out.
        let mapped = unsafe { MmapedSafetensors::multi(&files) }.map_err(|e| damaged(&files, &e))?;
        Ok(Self::new(Source::Safetensors(mapped), device))
    }

    pub(super) fn from_gguf(gguf: Gguf, device: &Device) -> Self {
        Self::new(Source::Gguf(gguf), device)
    }

    /// Weights made in memory: tests, merged models.
    pub fn from_tensors(tensors: BTreeMap<String, Tensor>, device: &Device) -> Self {
        Self::new(Source::Memory(tensors), device)
    }

    fn new(source: Source, device: &Device) -> Self {
        let (over, used) = (BTreeMap::new(), RefCell::default());
        Self { source, device: device.clone(), trunk: String::new(), params: None, over, used }
    }

    /// Hands out variables from here on where `select` says so; [`Weights::into_params`] returns them.
    #[must_use]
    pub fn trainable(self, select: Select<'a>) -> Self {
        Self { params: Some((select, RefCell::default())), ..self }
    }

    /// Takes each of `tensors` for the source's own of that name.
    #[must_use]
    pub fn over(self, tensors: BTreeMap<String, Tensor>) -> Self {
        Self { over: tensors, ..self }
    }

    /// Adds a tensor that the source lacks.
    pub(super) fn add(&mut self, name: String, tensor: Tensor) {
        self.over.insert(name, tensor);
    }

    /// What the source calls `name`, which may have the trunk's `prefix` where the source has none, or lack it.
    pub(super) fn known_as(&self, name: &str, prefix: &str) -> String {
        let names = [
            Some(name.to_owned()),
            name.strip_prefix(prefix).map(str::to_owned),
            Some(format!("{prefix}{name}")),
        ];
        names.into_iter().flatten().find(|name| self.contains(name)).unwrap_or_else(|| name.to_owned())
    }

    /// The name of a tensor that was to stand in for one that nobody asked for.
    pub(super) fn unused(&self) -> Option<&str> {
        let used = self.used.borrow();
        self.over.keys().map(String::as_str).find(|name| !used.contains(*name))
    }

    /// The variables handed out.
    pub fn into_params(self) -> Params {
        self.params.map(|(_, params)| params.into_inner()).unwrap_or_default()
    }

    /// Finds out whether names inside the trunk carry `prefix` in this file, by one name that must be there.
    pub(super) fn locate_trunk(&mut self, prefix: &str, known: &str) {
        self.trunk =
            if self.contains(&format!("{prefix}{known}.weight")) { prefix.to_owned() } else { String::new() };
    }

    /// The full name of a tensor inside the trunk.
    pub(super) fn in_trunk(&self, name: &str) -> String {
        format!("{}{name}", self.trunk)
    }

    pub fn contains(&self, name: &str) -> bool {
        if self.over.contains_key(name) {
            return true;
        }
        match &self.source {
            Source::Safetensors(files) => files.get(name).is_ok(),
            Source::Gguf(gguf) => gguf.contains(name),
            Source::Memory(tensors) => tensors.contains_key(name),
        }
    }

    /// The tensor `name` as f32.
    ///
    /// # Errors
    /// `Corrupt`, naming the tensor, when it is missing or has another shape.
    pub fn get(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        let tensor = self.load(name)?;
        if tensor.dims() != shape {
            return Err(Error::corrupt(format!(
                "tensor `{name}` has shape {:?}, the config promises {shape:?}",
                tensor.dims()
            ))
            .hint(match self.over.contains_key(name) {
                true => "it was trained on another model, or for other classes",
                false => "config.json and the weights are not of one model",
            }));
        }
        match &self.params {
            Some((select, params)) if select(name) => params.borrow_mut().insert(name, &tensor),
            _ => Ok(tensor),
        }
    }

    /// Like [`Weights::get`], `None` when there is no such tensor.
    pub fn optional(&self, name: &str, shape: &[usize]) -> Result<Option<Tensor>> {
        if self.contains(name) { self.get(name, shape).map(Some) } else { Ok(None) }
    }

    /// The number of rows of a matrix, without loading it.
    pub fn rows(&self, name: &str) -> Option<usize> {
        if let Some(tensor) = self.over.get(name) {
            return tensor.dims().first().copied();
        }
        match &self.source {
            Source::Safetensors(files) => files.get(name).ok()?.shape().first().copied(),
            Source::Gguf(gguf) => gguf.rows(name),
            Source::Memory(tensors) => tensors.get(name)?.dims().first().copied(),
        }
    }

    /// The name of the first tensor with a value that is no finite number. Reads everything there is.
    pub(super) fn not_finite(&self) -> Result<Option<String>> {
        let names = match &self.source {
            Source::Safetensors(files) => files.tensors().into_iter().map(|(name, _)| name).collect(),
            Source::Gguf(gguf) => gguf.stored_names().into_iter().map(str::to_owned).collect(),
            Source::Memory(tensors) => tensors.keys().cloned().collect::<Vec<_>>(),
        };
        for name in names {
            let tensor = match &self.source {
                Source::Gguf(gguf) => gguf.read(&name, &self.device)?,
                _ => self.load(&name)?,
            };
            let values = tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
            if !values.iter().all(|value| value.is_finite()) {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }

    fn load(&self, name: &str) -> Result<Tensor> {
        if let Some(tensor) = self.over.get(name) {
            self.used.borrow_mut().insert(name.to_owned());
            return Ok(tensor.to_device(&self.device)?.to_dtype(DType::F32)?);
        }
        let missing = || {
            Error::corrupt(format!("the weights hold no tensor `{name}`"))
                .hint("config.json and the weights are not of one model, or a shard is missing")
        };
        if !self.contains(name) {
            return Err(missing());
        }
        let tensor = match &self.source {
            Source::Safetensors(files) => files.load(name, &self.device).map_err(|e| {
                Error::corrupt(format!("tensor `{name}`: {}", root(&e))).hint("fetch or save the model again")
            })?,
            Source::Gguf(gguf) => gguf.load(name, &self.device)?,
            Source::Memory(tensors) => tensors.get(name).cloned().ok_or_else(missing)?,
        };
        Ok(tensor.to_dtype(DType::F32)?)
    }
}

/// Which of `files` cannot be mapped, given what was said about them together.
fn damaged(files: &[PathBuf], error: &candle_core::Error) -> Error {
    let alone = files.iter().find_map(|file| {
        // As above.
        let error = unsafe { MmapedSafetensors::new(file) }.err()?;
        Some(format!("`{}`: {}", file.file_name()?.to_string_lossy(), root(&error)))
    });
    Error::corrupt(alone.unwrap_or_else(|| root(error).to_string())).hint("fetch or save the model again")
}

/// What candle's error says without the path it puts in front and the backtrace it may put behind.
pub(super) fn root(error: &candle_core::Error) -> &candle_core::Error {
    match error {
        candle_core::Error::WithPath { inner, .. } | candle_core::Error::WithBacktrace { inner, .. } => {
            root(inner)
        }
        error => error,
    }
}

/// The weight files of a directory, sorted.
pub(crate) fn weight_files(dir: &Path) -> Result<Vec<PathBuf>> {
    let single = dir.join("model.safetensors");
    if single.exists() {
        return Ok(vec![single]);
    }
    let index = dir.join("model.safetensors.index.json");
    if !index.exists() {
        return Err(Error::not_found(format!("`{}` has no model.safetensors", dir.display()))
            .hint("save the model with safe_serialization; pickled pytorch_model.bin files are not read"));
    }
    let json = std::fs::read(&index).at("read", &index)?;
    let value: Value = serde_json::from_slice(&json)
        .map_err(|e| Error::corrupt(format!("`{}` is not JSON: {e}", index.display())))?;
    let map = value.get("weight_map").and_then(Value::as_object);
    let map = map.ok_or_else(|| Error::corrupt(format!("`{}` has no weight_map", index.display())))?;
    let names: std::collections::BTreeSet<&str> = map.values().filter_map(Value::as_str).collect();
    names
        .into_iter()
        .map(|name| {
            let file = dir.join(name);
            // A shard name with folders in it could point anywhere.
            if name.contains(['/', '\\']) || !file.exists() {
                return Err(Error::not_found(format!("shard `{name}` of `{}` is missing", dir.display()))
                    .hint("fetch the model again"));
            }
            Ok(file)
        })
        .collect()
}
