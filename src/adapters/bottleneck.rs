//! Bottleneck adapters: `f(z) = Wu φ(Wd z + bd) + bu` with `Wd` `(m, H)`, `Wu` `(H, m)`, beside or behind a sublayer.
//!
//! `h` is what a sublayer gives, `x` the residual stream that it is added to:
//!
//! * Houlsby (Houlsby et al. 2019, arXiv 1902.00751), behind attention and behind the MLP: `x + h + f(h)`;
//! * Pfeiffer (Pfeiffer et al. 2021, arXiv 2005.00247), behind the MLP: `x + h + f(z)` with `z = x + h`, and where the block
//!   norms afterwards (BERT) `z = norm(x + h)`;
//! * parallel (He et al. 2022, arXiv 2110.04366), beside the MLP: `x + h + s f(x)`.
//!
//! Where a norm stands between a sublayer and the residual stream (Gemma), `h` is what it norms. Pfeiffer's `z` is then
//! `norm(x + h)` by the norm behind the last layer's MLP, in every layer: so AdapterHub 1.3.0 computes, whose hooks look
//! the norm up when its loop over the layers has ended, and its adapters mean nothing under another.
//!
//! `Wu` and the biases are 0 at first, so training begins at the base. Parameters: `2 H m + m + H` a bottleneck.

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::{AdapterConfig, Method, Start, Tensors, draw, take};
use crate::error::{Error, Result};
use crate::nn::{Activation, Adapter, Identity, Network, Norm, Part, Site, affine, fresh_identity, sum};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bottleneck {
    pub placement: Placement,
    /// `H / m`
    pub reduction_factor: f64,
    /// `φ`, as AdapterHub names it: `relu`, `swish`, `gelu`.
    pub non_linearity: String,
    /// `s`
    pub scaling: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Placement {
    Houlsby,
    Pfeiffer,
    Parallel,
}

impl Bottleneck {
    /// As the paper of `placement` has it.
    pub fn new(placement: Placement) -> Self {
        let (reduction_factor, non_linearity, scaling) = match placement {
            Placement::Houlsby => (16.0, "swish", 1.0),
            Placement::Pfeiffer => (16.0, "relu", 1.0),
            Placement::Parallel => (2.0, "relu", 4.0),
        };
        Self { placement, reduction_factor, non_linearity: non_linearity.to_owned(), scaling }
    }

    /// `m`
    fn width(&self, network: &dyn Network) -> Result<usize> {
        let hidden = network.shape().hidden;
        let width = hidden as f64 / self.reduction_factor;
        if !(width >= 1.0 && width <= 64.0 * hidden as f64) {
            return Err(Error::invalid(format!(
                "a reduction factor of {} makes no bottleneck of {hidden}",
                self.reduction_factor
            ))
            .hint(format!("give a number between 1 and {hidden}")));
        }
        if !self.scaling.is_finite() || self.scaling == 0.0 {
            return Err(Error::invalid(format!("a scaling of {} leaves nothing to train", self.scaling))
                .hint("a number that is not 0; 1 is usual"));
        }
        Ok(width as usize)
    }

    fn activation(&self) -> Result<Activation> {
        Activation::from_name(&self.non_linearity).ok_or_else(|| {
            Error::invalid(format!("the non-linearity `{}` is not supported", self.non_linearity))
                .hint("relu, swish, gelu or gelu_new")
        })
    }

    fn parts(&self) -> &'static [Part] {
        match self.placement {
            Placement::Houlsby => &[Part::Attention, Part::Mlp],
            Placement::Pfeiffer | Placement::Parallel => &[Part::Mlp],
        }
    }

    /// Each place and what the names of its values begin with.
    fn places(&self, network: &dyn Network) -> Vec<(Site, String)> {
        let layers = 0..network.shape().layers;
        layers
            .flat_map(|layer| self.parts().iter().map(move |part| (layer, *part)))
            .map(|(layer, part)| (Site::new(layer, part), network.sublayer(layer, part)))
            .collect()
    }
}

const DOWN: &str = "adapter_down.0";
const UP: &str = "adapter_up";

impl Method for Bottleneck {
    fn shapes(&self, network: &dyn Network) -> Result<BTreeMap<String, Vec<usize>>> {
        let (hidden, width) = (network.shape().hidden, self.width(network)?);
        self.activation()?;
        let mut shapes = BTreeMap::new();
        for (_, path) in self.places(network) {
            shapes.insert(format!("{path}.{DOWN}.weight"), vec![width, hidden]);
            shapes.insert(format!("{path}.{DOWN}.bias"), vec![width]);
            shapes.insert(format!("{path}.{UP}.weight"), vec![hidden, width]);
            shapes.insert(format!("{path}.{UP}.bias"), vec![hidden]);
        }
        Ok(shapes)
    }

    fn start(&self, network: &dyn Network, start: &Start) -> Result<Tensors> {
        let begun = self.shapes(network)?.into_iter().map(|(name, shape)| {
            let tensor = match name.ends_with(&format!("{DOWN}.weight")) {
                true => draw::fan_in(start.seed, &name, &shape, shape[1])?,
                false => draw::constant(&shape, 0.0)?,
            };
            Ok((name, tensor))
        });
        begun.collect()
    }

    fn attach(&self, network: &dyn Network, tensors: &Tensors) -> Result<Arc<dyn Adapter>> {
        let mut inserted = BTreeMap::new();
        for (site, path) in self.places(network) {
            let of = |name: &str| take(tensors, &format!("{path}.{name}"));
            let (down, up) = ((DOWN, "weight", "bias"), (UP, "weight", "bias"));
            let pair = |(module, weight, bias): (&str, &str, &str)| -> Result<(Tensor, Tensor)> {
                Ok((of(&format!("{module}.{weight}"))?, of(&format!("{module}.{bias}"))?))
            };
            inserted.insert(site, Inserted { down: pair(down)?, up: pair(up)? });
        }
        let (placement, scaling, activation) = (self.placement, self.scaling, self.activation()?);
        let last = Site::new(network.shape().layers.saturating_sub(1), Part::Mlp);
        let norm_behind = network.norm_behind(last).cloned();
        let identity = fresh_identity();
        Ok(Arc::new(Bottlenecks { identity, inserted, placement, scaling, activation, norm_behind }))
    }

    fn untouched(&self, _: &dyn Network) -> Result<usize> {
        Ok(0)
    }

    fn still_at_start(&self, name: &str) -> bool {
        name.contains(DOWN)
    }

    fn trained(&self, tensors: &Tensors) -> Result<(AdapterConfig, Tensors)> {
        Ok((AdapterConfig::Bottleneck(self.clone()), tensors.clone()))
    }
}

/// Weights and biases, `(m, H)`, `(m,)` and `(H, m)`, `(H,)`.
struct Inserted {
    down: (Tensor, Tensor),
    up: (Tensor, Tensor),
}

struct Bottlenecks {
    identity: Identity,
    inserted: BTreeMap<Site, Inserted>,
    placement: Placement,
    scaling: f64,
    activation: Activation,
    /// Behind the last layer's MLP, where norms stand between sublayers and the residual stream.
    norm_behind: Option<Norm>,
}

impl Bottlenecks {
    /// `s f(z)`, `(N, H) -> (N, H)`
    fn through(&self, inserted: &Inserted, z: &Tensor) -> Result<Tensor> {
        let (down, up) = (&inserted.down, &inserted.up);
        let inner = affine(z, &down.0, Some(&down.1))?; // (N, m)
        let y = affine(&self.activation.forward(&inner)?, &up.0, Some(&up.1))?;
        Ok(if self.scaling == 1.0 { y } else { (y * self.scaling)? })
    }
}

impl Adapter for Bottlenecks {
    fn identity(&self) -> Identity {
        self.identity
    }

    fn sublayer(&self, site: Site, x: &Tensor, h: Tensor, norm: Option<&Norm>) -> Result<Tensor> {
        let Some(inserted) = self.inserted.get(&site) else { return Ok(h) };
        let change = match (self.placement, norm.or(self.norm_behind.as_ref())) {
            (Placement::Houlsby, _) => self.through(inserted, &h)?,
            (Placement::Pfeiffer, Some(norm)) => self.through(inserted, &norm.forward(&sum(x, &h)?)?)?,
            (Placement::Pfeiffer, None) => self.through(inserted, &sum(x, &h)?)?,
            (Placement::Parallel, _) => self.through(inserted, x)?,
        };
        sum(&h, &change)
    }
}
