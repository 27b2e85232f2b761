//! Weights as a file of the network would hold them, changed.

use candle_core::Tensor;

use super::Tensors;
use crate::error::{Error, Result};
use crate::nn::{Module, Network};

/// The matrix of `module`, `(out, in)` whatever its file holds.
pub fn weight(network: &dyn Network, module: &Module) -> Result<Tensor> {
    let parts = module.parts.iter().map(|(site, _)| match network.linear(*site) {
        Some(linear) => Ok(linear.weight.detach()),
        None => Err(Error::invalid(format!("the network has no linear `{}`", module.path))),
    });
    let parts = parts.collect::<Result<Vec<_>>>()?;
    Ok(if parts.len() == 1 { parts[0].clone() } else { Tensor::cat(&parts, 0)? })
}

/// Its bias `(out,)`, if it has one.
pub fn bias(network: &dyn Network, module: &Module) -> Result<Option<Tensor>> {
    let biases = module.parts.iter().filter_map(|(site, _)| network.linear(*site)?.bias.as_ref());
    let biases: Vec<Tensor> = biases.map(Tensor::detach).collect();
    Ok(if biases.is_empty() { None } else { Some(Tensor::cat(&biases, 0)?) })
}

/// Takes `weight` `(out, in)` for the one of `module`, as its file holds it.
pub fn put(merged: &mut Tensors, module: &Module, weight: &Tensor) -> Result<()> {
    let weight = if module.transposed { weight.t()? } else { weight.clone() };
    merged.insert(format!("{}.weight", module.path), weight.contiguous()?);
    Ok(())
}
