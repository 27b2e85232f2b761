//! The feed-forward sublayer, plain or gated (SwiGLU and its kin: Shazeer 2020, arXiv 2002.05202).

use candle_core::Tensor;

use super::Linear;
use super::block::Surroundings;
use super::kernel::{self, Curve};
use crate::error::Result;

#[derive(Debug, Clone)]
pub struct Mlp {
    /// Present in gated MLPs: `down(act(gate x) * up x)` instead of `down(act(up x))`.
    pub gate: Option<Linear>,
    pub up: Linear,
    pub down: Linear,
    pub activation: Activation,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    Silu,
    /// `x Φ(x)` with the error function.
    Gelu,
    /// The tanh approximation of GELU.
    GeluTanh,
    Relu,
}

impl Mlp {
    /// `(N, H) -> (N, H)`
    pub fn forward(&self, x: &Tensor, around: &Surroundings) -> Result<Tensor> {
        let up = around.linear(&self.up, x)?; // (N, I)
        let inner = match &self.gate {
            Some(gate) => self.activation.gate(&around.linear(gate, x)?, &up)?,
            None => self.activation.forward(&up)?,
        };
        around.linear(&self.down, &inner)
    }
}

impl Activation {
    /// `f(x)`
    pub fn forward(self, x: &Tensor) -> Result<Tensor> {
        match self.curve() {
            Some(curve) if kernel::applies(&[x]) => Ok(kernel::activated(x, curve)?),
            _ => self.composed(x),
        }
    }

    /// `f(gate) ∘ up`
    pub fn gate(self, gate: &Tensor, up: &Tensor) -> Result<Tensor> {
        match self.curve() {
            Some(curve) if kernel::applies(&[gate, up]) => Ok(kernel::gated(gate, up, curve)?),
            _ => Ok((self.composed(gate)? * up)?),
        }
    }

    /// The kernel for it, if there is one.
    fn curve(self) -> Option<Curve> {
        Some(match self {
            Self::Silu => Curve::Silu,
            Self::Gelu => Curve::Gelu,
            Self::GeluTanh => Curve::GeluTanh,
            Self::Relu => return None,
        })
    }

    fn composed(self, x: &Tensor) -> Result<Tensor> {
        Ok(match self {
            Self::Silu => x.silu()?,
            Self::Gelu => x.gelu_erf()?,
            Self::GeluTanh => x.gelu()?,
            Self::Relu => x.relu()?,
        })
    }

    /// From the name in a model's config.json.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "silu" | "swish" => Self::Silu,
            "gelu" => Self::Gelu,
            "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" => Self::GeluTanh,
            "relu" => Self::Relu,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    // torch: F.gelu(x), F.gelu(x, approximate="tanh"), F.silu(x) at -1, 0.5, 2
    #[test]
    fn activations_equal_the_reference() {
        let x = Tensor::new(&[-1f32, 0.5, 2.0], &Device::Cpu).unwrap();
        for (activation, expected) in [
            (Activation::Gelu, [-0.158655, 0.345731, 1.9545]),
            (Activation::GeluTanh, [-0.158808, 0.345714, 1.954598]),
            (Activation::Silu, [-0.268941, 0.311230, 1.761594]),
        ] {
            let y = activation.forward(&x).unwrap().to_vec1::<f32>().unwrap();
            for (y, expected) in y.iter().zip(expected) {
                assert!((y - expected).abs() < 2e-6, "{activation:?}: {y} instead of {expected}");
            }
        }
    }
}
