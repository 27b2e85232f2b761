//! A model as it lies on disk: network, tokenizer and whatever head the weights carry.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use candle_core::{Device, Tensor};

use super::config::Config;
use super::gguf::Gguf;
use super::heads::{Classifier, NewHead};
use super::transformer::Transformer;
use super::weights::{Select, Weights};
use crate::error::{Error, IoContext, Result};
use crate::nn::Params;
use crate::text::tokenizer::Tokenizer;

/// A loaded model.
pub struct Model {
    pub transformer: Transformer,
    pub classifier: Option<Classifier>,
    /// `None` when the directory has none: such a model computes on token ids only.
    pub tokenizer: Option<Tokenizer>,
}

impl Model {
    /// A Hugging Face directory (config.json, safetensors, tokenizer.json) or a GGUF file.
    ///
    /// # Errors
    /// `NotFound`, `Invalid` or `Corrupt`, naming the file or tensor.
    pub fn load(path: &Path, device: &Device) -> Result<Self> {
        Ok(Self::open(path, device, None, None)?.0)
    }

    /// What the model at `path` makes of a text, without its weights: how it is built, and its tokenizer.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn describe(path: &Path) -> Result<(Config, Option<Tokenizer>)> {
        let (config, _, tokenizer) =
            Self::parts(path, &Device::Cpu).map_err(|error| error.within(path.display()))?;
        Ok((config, tokenizer))
    }

    /// The same with every weight a variable, for checking gradients.
    pub fn load_trainable(path: &Path, device: &Device) -> Result<(Self, Params)> {
        Self::open(path, device, Some(&|_| true), None)
    }

    /// The same with those weights as variables that `select` says yes to, by their names, and all others frozen; with a new
    /// head for classes in place of the file's, if one is asked for.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_selected(
        path: &Path,
        device: &Device,
        select: Select,
        head: Option<NewHead>,
    ) -> Result<(Self, Params)> {
        Self::open(path, device, Some(select), head)
    }

    /// The same with `tensors` in place of its own of those names, with or without the name of the trunk. Variables stay
    /// variables.
    ///
    /// # Errors
    /// `Corrupt`, naming it, for a tensor that the model does not have, or has in another shape.
    pub fn load_over(path: &Path, device: &Device, tensors: BTreeMap<String, Tensor>) -> Result<Self> {
        let place = |e: Error| e.within(path.display());
        let (config, weights, tokenizer) = Self::parts(path, device).map_err(place)?;
        let trunk = config.family.names().trunk;
        let tensors = tensors.into_iter().map(|(name, tensor)| (weights.known_as(&name, trunk), tensor));
        let tensors = tensors.collect();
        let mut weights = weights.over(tensors);
        let transformer = Transformer::load(config, &mut weights, device).map_err(place)?;
        let classifier = Classifier::load(&transformer.config, &weights).map_err(place)?;
        if let Some(name) = weights.unused() {
            return Err(Error::corrupt(format!("`{}` has no place for the tensor `{name}`", path.display()))
                .hint("it was trained on another model"));
        }
        Ok(Self { transformer, classifier, tokenizer })
    }

    fn open(
        path: &Path,
        device: &Device,
        select: Option<Select>,
        head: Option<NewHead>,
    ) -> Result<(Self, Params)> {
        let place = |e: Error| e.within(path.display());
        let (config, weights, tokenizer) = Self::parts(path, device).map_err(place)?;
        let mut weights = match select {
            Some(select) => weights.trainable(select),
            None => weights,
        };
        let transformer = Transformer::load(config, &mut weights, device).map_err(place)?;
        if let Some(head) = head {
            head.draw(&transformer.config, &mut weights)?;
        }
        let classifier = Classifier::load(&transformer.config, &weights).map_err(place)?;
        Ok((Self { transformer, classifier, tokenizer }, weights.into_params()))
    }

    fn parts<'a>(path: &Path, device: &Device) -> Result<(Config, Weights<'a>, Option<Tokenizer>)> {
        match path.is_dir() {
            true => Self::parts_of_directory(path, device),
            false => Self::parts_of_gguf(path, device),
        }
    }

    fn parts_of_directory<'a>(
        dir: &Path,
        device: &Device,
    ) -> Result<(Config, Weights<'a>, Option<Tokenizer>)> {
        let file = dir.join("config.json");
        if !file.exists() {
            return Err(Error::not_found("no config.json in this directory")
                .hint("a model directory holds config.json, *.safetensors and tokenizer.json"));
        }
        let config = Config::from_json(&fs::read_to_string(&file).at("read", &file)?)?;
        let has_tokenizer = dir.join("tokenizer.json").exists();
        let tokenizer = has_tokenizer.then(|| Tokenizer::from_dir(dir)).transpose()?;
        Ok((config, Weights::from_dir(dir, device)?, tokenizer))
    }

    fn parts_of_gguf<'a>(file: &Path, device: &Device) -> Result<(Config, Weights<'a>, Option<Tokenizer>)> {
        let gguf = Gguf::open(file)?;
        let config = gguf.config()?;
        let tokenizer = Tokenizer::from_gguf(&gguf.content)?;
        Ok((config, Weights::from_gguf(gguf, device), Some(tokenizer)))
    }

    /// Why the model at `path` computes values that are no numbers; called when it has, because looking for the reason
    /// reads every weight.
    pub fn why_not_finite(path: &Path) -> Error {
        let device = Device::Cpu;
        let weights = match path.is_dir() {
            true => Weights::from_dir(path, &device),
            false => Gguf::open(path).map(|gguf| Weights::from_gguf(gguf, &device)),
        };
        let what = match weights.and_then(|weights| weights.not_finite()) {
            Ok(Some(name)) => format!("tensor `{name}` holds values that are not finite numbers"),
            _ => "it computes values that are not finite numbers".to_owned(),
        };
        Error::corrupt(format!("{}: {what}", path.display())).hint("fetch the model again, or use another")
    }

    /// The tokenizer, which most uses cannot do without.
    ///
    /// # Errors
    /// `NotFound` when the directory has no tokenizer.json.
    pub fn tokenizer(&self) -> Result<&Tokenizer> {
        self.tokenizer.as_ref().ok_or_else(|| {
            Error::not_found("this model has no tokenizer.json").hint("save the tokenizer beside the weights")
        })
    }
}
