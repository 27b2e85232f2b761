//! Changes to a network that are trained in its place: the one list of methods, and a file for each.
//!
//! An [`AdapterConfig`] says which method and how large. It makes starting values for a [`Network`], by name, and an
//! [`Adapter`] that computes with values of those names. Whoever trains hands in variables, whoever looks in between a
//! snapshot of them, whoever serves what a file held: the constructor is the same. Folders are [`Stored`]'s; what trains the
//! values is not here.

mod bottleneck;
mod draw;
mod folder;
mod hub;
mod ia3;
mod llama_adapter;
mod lora;
mod merge;
mod p_tuning;
mod peft;
mod prefix;
pub mod registry;
mod soft_prompt;
mod targets;

pub use bottleneck::{Bottleneck, Placement};
pub use folder::{About, Measured, Scale, Stored, Task, describe, fingerprint, size, with_its_network};
pub use ia3::Ia3;
pub use llama_adapter::{Gate, LlamaAdapter};
pub use lora::Lora;
pub use p_tuning::PTuning;
pub use prefix::Prefix;
pub use registry::Registry;
pub use soft_prompt::{SoftPrompt, VirtualTokens};
pub use targets::Targets;

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::nn::{Adapter, Network};

/// Values by name.
pub type Tensors = BTreeMap<String, Tensor>;

/// A method and its sizes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "kebab-case")]
pub enum AdapterConfig {
    SoftPrompt(SoftPrompt),
    PTuning(PTuning),
    Prefix(Prefix),
    Bottleneck(Bottleneck),
    LlamaAdapter(LlamaAdapter),
    Lora(Lora),
    Ia3(Ia3),
}

/// What training begins with, besides the method's own choice of numbers.
#[derive(Default)]
pub struct Start {
    pub seed: u64,
    /// Tokens of a text that virtual tokens begin as.
    pub text: Vec<u32>,
    /// Keys and values that a prefix begins as, `(n, 2 L nkv d)` as [`Prefix`] lays them out.
    pub cache: Option<Tensor>,
}

/// What a method has to say; the file of each says it.
trait Method {
    /// The names and shapes of all values, for this network.
    ///
    /// # Errors
    /// `Invalid` where the method is not defined for the network or its sizes contradict it.
    fn shapes(&self, network: &dyn Network) -> Result<BTreeMap<String, Vec<usize>>>;

    /// Starting values, of those names and shapes.
    fn start(&self, network: &dyn Network, start: &Start) -> Result<Tensors>;

    /// What computes with values of those names and shapes.
    fn attach(&self, network: &dyn Network, tensors: &Tensors) -> Result<Arc<dyn Adapter>>;

    /// Layers from below in which the method does nothing, so that nothing below them is differentiated.
    fn untouched(&self, network: &dyn Network) -> Result<usize>;

    /// Whether this value's gradient is exactly zero before the first step, as the method starts.
    fn still_at_start(&self, _name: &str) -> bool {
        false
    }

    /// What is kept once training is over: the method, and its values.
    fn trained(&self, tensors: &Tensors) -> Result<(AdapterConfig, Tensors)>;

    /// The weights and biases that the network would have to have instead, by the names of its files; `None` where no weight
    /// can say it.
    fn merged(&self, _network: &dyn Network, _tensors: &Tensors) -> Result<Option<Tensors>> {
        Ok(None)
    }
}

impl AdapterConfig {
    fn method(&self) -> &dyn Method {
        match self {
            Self::SoftPrompt(method) => method,
            Self::PTuning(method) => method,
            Self::Prefix(method) => method,
            Self::Bottleneck(method) => method,
            Self::LlamaAdapter(method) => method,
            Self::Lora(method) => method,
            Self::Ia3(method) => method,
        }
    }

    /// As it is called in commands and files.
    pub fn name(&self) -> &'static str {
        match self {
            Self::SoftPrompt(_) => "soft-prompt",
            Self::PTuning(_) => "p-tuning",
            Self::Prefix(_) => "prefix",
            Self::Bottleneck(Bottleneck { placement: Placement::Houlsby, .. }) => "houlsby",
            Self::Bottleneck(Bottleneck { placement: Placement::Pfeiffer, .. }) => "pfeiffer",
            Self::Bottleneck(Bottleneck { placement: Placement::Parallel, .. }) => "parallel",
            Self::LlamaAdapter(_) => "llama-adapter",
            Self::Lora(Lora { dora: true, .. }) => "dora",
            Self::Lora(_) => "lora",
            Self::Ia3(_) => "ia3",
        }
    }

    /// The same without targets that the network does not have, for files whose tool is not so strict, and with those outside the
    /// blocks that `tensors` hold values for.
    fn known_to(self, network: &dyn Network, tensors: &Tensors) -> Self {
        match self {
            Self::Lora(lora) => {
                let lora = lora.reaching(tensors, network);
                Self::Lora(Lora { targets: lora.targets.known_to(network), ..lora })
            }
            Self::Ia3(ia3) => Self::Ia3(Ia3 {
                targets: ia3.targets.map(|targets| targets.known_to(network)),
                feedforward: ia3.feedforward.map(|targets| targets.known_to(network)),
                ..ia3
            }),
            other => other,
        }
    }

    /// The method that trains a network of inner width `h` to write these values.
    fn written_by(self, h: usize) -> Option<Self> {
        match self {
            Self::SoftPrompt(prompt) => Some(Self::PTuning(PTuning {
                num_virtual_tokens: prompt.num_virtual_tokens,
                encoder_hidden_size: Some(h),
            })),
            Self::Prefix(prefix) => Some(Self::Prefix(Prefix { encoder_hidden_size: Some(h), ..prefix })),
            _ => None,
        }
    }

    /// The names and shapes of all trained values.
    ///
    /// # Errors
    /// `Invalid` where the method is not defined for the network or its sizes contradict it.
    pub fn shapes(&self, network: &dyn Network) -> Result<BTreeMap<String, Vec<usize>>> {
        self.method().shapes(network)
    }

    /// Number of trained values.
    ///
    /// # Errors
    /// As [`Self::shapes`].
    pub fn count(&self, network: &dyn Network) -> Result<usize> {
        Ok(self.shapes(network)?.values().map(|shape| shape.iter().product::<usize>()).sum())
    }

    /// Starting values. The same seed gives the same ones.
    ///
    /// # Errors
    /// As [`Self::shapes`], and `Invalid` when `start` does not fit.
    pub fn start(&self, network: &dyn Network, start: &Start) -> Result<Tensors> {
        self.method().start(network, start)
    }

    /// What computes with `tensors`: variables, or values that stay.
    ///
    /// # Errors
    /// As [`Self::shapes`]; `Corrupt`, naming it, for a tensor that is missing, unknown, wrongly shaped or holds something
    /// other than finite numbers.
    pub fn attach(&self, network: &dyn Network, tensors: &Tensors) -> Result<Arc<dyn Adapter>> {
        check(&self.shapes(network)?, tensors)?;
        self.method().attach(network, tensors)
    }

    /// Layers from below in which the method does nothing.
    ///
    /// # Errors
    /// As [`Self::shapes`].
    pub fn untouched(&self, network: &dyn Network) -> Result<usize> {
        self.method().untouched(network)
    }

    /// Whether this value's gradient is exactly zero before the first step, as the method starts by itself.
    pub fn still_at_start(&self, name: &str) -> bool {
        self.method().still_at_start(name)
    }

    /// What is kept once training is over: a network that only helped to train is used and dropped.
    ///
    /// # Errors
    /// As a tensor operation fails.
    pub fn trained(&self, tensors: &Tensors) -> Result<(Self, Tensors)> {
        self.method().trained(tensors)
    }

    /// The weights that the network would have to have instead, by the names of its files, each as a file holds it; `None`
    /// where no weight can say it.
    ///
    /// # Errors
    /// As [`Self::attach`]; `Invalid` when a merged weight is not finite.
    pub fn merged(&self, network: &dyn Network, tensors: &Tensors) -> Result<Option<Tensors>> {
        check(&self.shapes(network)?, tensors)?;
        let merged = self.method().merged(network, tensors)?;
        if let Some(merged) = &merged {
            for (name, tensor) in merged {
                if !is_finite(tensor)? {
                    return Err(Error::invalid(format!("`{name}` merged is not finite"))
                        .hint("use the adapter unmerged, or train it at a smaller rate"));
                }
            }
        }
        Ok(merged)
    }
}

/// Holds `tensors` against what is wanted.
fn check(wanted: &BTreeMap<String, Vec<usize>>, tensors: &Tensors) -> Result<()> {
    const HINT: &str = "the adapter was made for another base or by other settings, or its file is damaged";
    for (name, shape) in wanted {
        let Some(tensor) = tensors.get(name) else {
            return Err(Error::corrupt(format!("the adapter lacks the tensor `{name}`")).hint(HINT));
        };
        if tensor.dims() != &shape[..] {
            return Err(Error::corrupt(format!(
                "tensor `{name}` of the adapter has the shape {:?}, this base wants {shape:?}",
                tensor.dims()
            ))
            .hint(HINT));
        }
        check_values(name, tensor)?;
    }
    match tensors.keys().find(|name| !wanted.contains_key(*name)) {
        Some(name) => {
            Err(Error::corrupt(format!("the adapter's tensor `{name}` has no place in this base")).hint(HINT))
        }
        None => Ok(()),
    }
}

/// Refuses what would make every answer a no number.
fn check_values(name: &str, tensor: &Tensor) -> Result<()> {
    match is_finite(tensor)? {
        true => Ok(()),
        false => Err(Error::corrupt(format!(
            "tensor `{name}` of the adapter holds values that are not finite numbers"
        ))
        .hint("train it again at a smaller rate, or copy the file again")),
    }
}

/// Nothing times a finite number is nothing, and no other's.
fn is_finite(tensor: &Tensor) -> Result<bool> {
    Ok((tensor.detach() * 0.0)?.sum_all()?.to_scalar::<f32>()? == 0.0)
}

/// `tensors[name]`, which [`check`] found.
fn take(tensors: &Tensors, name: &str) -> Result<Tensor> {
    tensors.get(name).cloned().ok_or_else(|| Error::corrupt(format!("the adapter lacks the tensor `{name}`")))
}
