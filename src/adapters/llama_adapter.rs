//! LLaMA-Adapter (Zhang et al. 2023, arXiv 2303.16199): vectors that attention of the upper layers looks at, let in by a gate.
//!
//! In each of the top `adapter_layers` layers a prompt `p` `(K, H)` goes through the layer's own frozen projections, and
//! `o = softmax(q kᵀ / √d) v + γ softmax(q k_pᵀ / √d) v_p`: two softmaxes, then the output projection. PEFT has one gate a layer,
//! `γ = g`; the paper's code one a head, `γ = tanh(g)`. Gates are 0 at first, so training begins at the base. Parameters:
//! `K H + 1` or `K H + nh` a layer.

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::soft_prompt::some_tokens;
use super::{AdapterConfig, Method, Start, Tensors, draw, take};
use crate::error::{Error, Result};
use crate::nn::{Adapter, Identity, Memory, Network, fresh_identity};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LlamaAdapter {
    /// `K`
    pub adapter_len: usize,
    /// How many layers, from the top; `None`: all but the two lowest.
    pub adapter_layers: Option<usize>,
    pub gate: Gate,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Gate {
    /// One a layer, as it is: PEFT's form.
    #[default]
    Scalar,
    /// One a head, through tanh: the paper's code. No format of others can say it.
    PerHead,
}

impl Default for LlamaAdapter {
    fn default() -> Self {
        Self { adapter_len: 10, adapter_layers: None, gate: Gate::default() }
    }
}

impl LlamaAdapter {
    /// How many layers of `network` from the top.
    ///
    /// # Errors
    /// `Invalid` when it has fewer.
    pub fn layers(&self, network: &dyn Network) -> Result<usize> {
        let all = network.shape().layers;
        match self.adapter_layers {
            None => Ok(all.saturating_sub(2).max(1)),
            Some(top) if (1..=all).contains(&top) => Ok(top),
            Some(top) => Err(Error::invalid(format!("adapter_layers is {top}, the model has {all} layers"))
                .hint(format!("give 1 to {all}"))),
        }
    }

    /// Each layer, what the names of its values are, prompt and gate.
    fn places(&self, network: &dyn Network) -> Result<Vec<(usize, String, String)>> {
        if !network.causal() {
            return Err(Error::invalid("LLaMA-Adapter is defined for models that write, not for encoders")
                .hint("tune an encoder with lora, houlsby, pfeiffer, prefix or ia3"));
        }
        let all = network.shape().layers;
        let name = |layer: usize, what: &str| format!("{}.adaption_{what}", network.attention(layer));
        let top = all - self.layers(network)?..all;
        Ok(top.map(|layer| (layer, name(layer, "prompt"), name(layer, "gate"))).collect())
    }
}

impl Method for LlamaAdapter {
    fn shapes(&self, network: &dyn Network) -> Result<BTreeMap<String, Vec<usize>>> {
        let shape = network.shape();
        let gates = match self.gate {
            Gate::Scalar => 1,
            Gate::PerHead => shape.heads,
        };
        let tokens = some_tokens(self.adapter_len)?;
        let places = self.places(network)?.into_iter();
        Ok(places
            .flat_map(|(_, prompt, gate)| [(prompt, vec![1, tokens, shape.hidden]), (gate, vec![gates])])
            .collect())
    }

    fn start(&self, network: &dyn Network, start: &Start) -> Result<Tensors> {
        let begun = self.shapes(network)?.into_iter().map(|(name, shape)| {
            let tensor = match name.ends_with("gate") {
                true => draw::constant(&shape, 0.0)?,
                false => draw::normal(start.seed, &name, &shape, 1.0)?,
            };
            Ok((name, tensor))
        });
        begun.collect()
    }

    fn attach(&self, network: &dyn Network, tensors: &Tensors) -> Result<Arc<dyn Adapter>> {
        let mut layers = BTreeMap::new();
        for (layer, prompt, gate) in self.places(network)? {
            layers.insert(layer, (take(tensors, &prompt)?, take(tensors, &gate)?));
        }
        let (identity, heads) = (fresh_identity(), network.shape().heads);
        Ok(Arc::new(Gated { identity, layers, gate: self.gate, heads }))
    }

    fn untouched(&self, network: &dyn Network) -> Result<usize> {
        Ok(network.shape().layers - self.layers(network)?)
    }

    fn still_at_start(&self, name: &str) -> bool {
        name.ends_with("prompt")
    }

    fn trained(&self, tensors: &Tensors) -> Result<(AdapterConfig, Tensors)> {
        Ok((AdapterConfig::LlamaAdapter(self.clone()), tensors.clone()))
    }
}

struct Gated {
    identity: Identity,
    /// Prompt `(1, K, H)` and gate `(1,)` or `(nh,)`.
    layers: BTreeMap<usize, (Tensor, Tensor)>,
    gate: Gate,
    heads: usize,
}

impl Adapter for Gated {
    fn identity(&self) -> Identity {
        self.identity
    }

    fn memory(&self, layer: usize) -> Result<Option<Memory>> {
        let Some((prompt, gate)) = self.layers.get(&layer) else { return Ok(None) };
        let gate = match self.gate {
            Gate::Scalar => gate.broadcast_as(self.heads)?,
            Gate::PerHead => gate.tanh()?,
        };
        Ok(Some(Memory::Gated { tokens: prompt.squeeze(0)?, gate: gate.reshape((self.heads, 1, 1))? }))
    }
}
