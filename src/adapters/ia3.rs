//! IA3 (Liu et al. 2022, arXiv 2205.05638): learned scales of keys, values and the MLP's inner activations.
//!
//! A module's outputs are scaled, `l ∘ (x Wᵀ + b)` with `l` `(out, 1)`, or, for those named `feedforward`, its inputs,
//! `(l ∘ x) Wᵀ + b` with `l` `(1, in)`. Keys are scaled before they are rotated. All scales are 1 at first. Parameters:
//! `L (2 D + I)` for keys, values and `down`.

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::targets::{Targets, short_names};
use super::{AdapterConfig, Method, Start, Tensors, draw, merge, take};
use crate::error::Result;
use crate::nn::{Adapter, Identity, Linear, Mode, Module, Network, Part, Site, fresh_identity};

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ia3 {
    /// `None`: keys, values and `down`.
    pub targets: Option<Targets>,
    /// Those of the targets whose inputs are scaled; `None`: `down`.
    pub feedforward: Option<Targets>,
    /// Modules among the targets that are none.
    pub exclude: Option<Targets>,
}

const SCALE: &str = "ia3_l";

impl Ia3 {
    /// The modules, and whether their inputs are scaled.
    fn modules(&self, network: &dyn Network) -> Result<Vec<(Module, bool)>> {
        let holds =
            |module: &Module, parts: &[Part]| module.parts.iter().any(|(site, _)| parts.contains(&site.part));
        let targets = match &self.targets {
            Some(targets) => targets.modules_but(self.exclude.as_ref(), network, None)?,
            None => {
                let mut all = network.modules();
                all.retain(|module| holds(module, &[Part::K, Part::V, Part::Down]));
                all
            }
        };
        let feedforward = match &self.feedforward {
            Some(Targets::Names(names)) if names.is_empty() => Vec::new(),
            Some(feedforward) => feedforward.modules(network, None)?,
            None => targets.iter().filter(|module| holds(module, &[Part::Down])).cloned().collect(),
        };
        let inputs: Vec<bool> = targets.iter().map(|module| feedforward.contains(module)).collect();
        Ok(targets.into_iter().zip(inputs).collect())
    }

    /// What the modules are called within their layers, or those of them whose inputs are scaled.
    ///
    /// # Errors
    /// `Invalid` as targets are.
    pub(super) fn names(&self, network: &dyn Network, feedforward: bool) -> Result<Vec<String>> {
        let modules = self.modules(network)?.into_iter();
        let modules = modules.filter(|(_, inputs)| *inputs || !feedforward).map(|(module, _)| module);
        let modules: Vec<Module> = modules.collect();
        let names = short_names(&modules);
        // BERT's `output.dense` is the end of two paths.
        let same =
            names.is_empty() || Targets::names(names.clone()).modules(network, None)?.len() == modules.len();
        Ok(if same { names } else { modules.into_iter().map(|module| module.path).collect() })
    }
}

fn shape(module: &Module, feedforward: bool) -> [usize; 2] {
    if feedforward { [1, module.input] } else { [module.output(), 1] }
}

impl Method for Ia3 {
    fn shapes(&self, network: &dyn Network) -> Result<BTreeMap<String, Vec<usize>>> {
        let modules = self.modules(network)?;
        Ok(modules
            .iter()
            .map(|(module, inputs)| (format!("{}.{SCALE}", module.path), shape(module, *inputs).to_vec()))
            .collect())
    }

    fn start(&self, network: &dyn Network, _: &Start) -> Result<Tensors> {
        let shapes = self.shapes(network)?;
        shapes.into_iter().map(|(name, shape)| Ok((name, draw::constant(&shape, 1.0)?))).collect()
    }

    fn attach(&self, network: &dyn Network, tensors: &Tensors) -> Result<Arc<dyn Adapter>> {
        let mut scales = BTreeMap::new();
        for (module, inputs) in self.modules(network)? {
            let scale = take(tensors, &format!("{}.{SCALE}", module.path))?;
            for (site, rows) in &module.parts {
                let scale = match inputs {
                    true => Scale::Input(scale.clone()),
                    // (out, 1) -> (1, out)
                    false => Scale::Output(scale.narrow(0, rows.start, rows.len())?.t()?),
                };
                scales.insert(*site, scale);
            }
        }
        Ok(Arc::new(Scaled { identity: fresh_identity(), scales }))
    }

    fn untouched(&self, network: &dyn Network) -> Result<usize> {
        Ok(self.modules(network)?.iter().map(|(module, _)| module.layer).min().unwrap_or(0))
    }

    fn trained(&self, tensors: &Tensors) -> Result<(AdapterConfig, Tensors)> {
        Ok((AdapterConfig::Ia3(self.clone()), tensors.clone()))
    }

    fn merged(&self, network: &dyn Network, tensors: &Tensors) -> Result<Option<Tensors>> {
        let mut merged = Tensors::new();
        for (module, inputs) in self.modules(network)? {
            let scale = take(tensors, &format!("{}.{SCALE}", module.path))?;
            // (out, in) by (1, in) or by (out, 1)
            merge::put(&mut merged, &module, &merge::weight(network, &module)?.broadcast_mul(&scale)?)?;
            if let (false, Some(bias)) = (inputs, merge::bias(network, &module)?) {
                merged.insert(format!("{}.bias", module.path), (bias * scale.flatten_all()?)?);
            }
        }
        Ok(Some(merged))
    }
}

enum Scale {
    /// `(1, in)`
    Input(Tensor),
    /// `(1, out)`
    Output(Tensor),
}

struct Scaled {
    identity: Identity,
    scales: BTreeMap<Site, Scale>,
}

impl Adapter for Scaled {
    fn identity(&self) -> Identity {
        self.identity
    }

    fn linear(&self, linear: &Linear, x: &Tensor, _: Mode) -> Result<Tensor> {
        match self.scales.get(&linear.site) {
            None => linear.frozen(x),
            Some(Scale::Input(scale)) => linear.frozen(&x.broadcast_mul(scale)?),
            Some(Scale::Output(scale)) => Ok(linear.frozen(x)?.broadcast_mul(scale)?),
        }
    }
}
