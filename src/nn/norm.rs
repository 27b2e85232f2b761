//! Normalisation of each row, in the differentiable form.
//!
//! RMSNorm: Zhang & Sennrich 2019, arXiv 1910.07467. LayerNorm: Ba et al. 2016, arXiv 1607.06450.

use candle_core::{D, Tensor};

use super::kernel;
use crate::error::Result;

#[derive(Debug, Clone)]
pub enum Norm {
    /// `x / sqrt(mean(x²) + eps) * (offset + weight)`; the offset is 0 but in Gemma, whose weights say how far from 1.
    Rms { weight: Tensor, eps: f64, offset: f64 },
    /// `(x - mean(x)) / sqrt(var(x) + eps) * weight + bias`
    Layer { weight: Tensor, bias: Tensor, eps: f64 },
}

impl Norm {
    /// The same with its offset added once and for all, where nobody trains the weight.
    ///
    /// # Errors
    /// When there is no memory for the sum.
    pub fn folded(self) -> Result<Self> {
        match self {
            Self::Rms { weight, eps, offset } if offset != 0.0 && !weight.track_op() => {
                Ok(Self::Rms { weight: (weight + offset)?, eps, offset: 0.0 })
            }
            norm => Ok(norm),
        }
    }

    /// `(N, H) -> (N, H)`
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Rms { weight, eps, offset } if kernel::applies(&[x, weight]) => {
                Ok(kernel::rms_norm(x, &gain(weight, *offset)?, *eps)?)
            }
            Self::Layer { weight, bias, eps } if kernel::applies(&[x, weight, bias]) => {
                Ok(kernel::layer_norm(x, weight, bias, *eps)?)
            }
            _ => self.composed(x),
        }
    }

    fn composed(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Rms { weight, eps, offset } => {
                Ok(unit_rms(x, *eps)?.broadcast_mul(&gain(weight, *offset)?)?)
            }
            Self::Layer { weight, bias, eps } => {
                let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
                Ok(unit_rms(&centred, *eps)?.broadcast_mul(weight)?.broadcast_add(bias)?)
            }
        }
    }
}

fn gain(weight: &Tensor, offset: f64) -> Result<Tensor> {
    Ok(if offset == 0.0 { weight.clone() } else { (weight + offset)? })
}

/// Each row divided by its root mean square.
fn unit_rms(x: &Tensor, eps: f64) -> Result<Tensor> {
    let scale = (x.sqr()?.mean_keepdim(D::Minus1)? + eps)?.sqrt()?; // (N, 1)
    Ok(x.broadcast_div(&scale)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    fn row(values: &[f32]) -> Tensor {
        Tensor::from_slice(values, (1, values.len()), &Device::Cpu).unwrap()
    }

    fn assert_row(norm: &Norm, expected: [f32; 4]) {
        let x = row(&[1.0, -2.0, 3.0, 0.5]);
        for y in [norm.forward(&x).unwrap(), norm.composed(&x).unwrap()] {
            let y = y.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            for (y, expected) in y.into_iter().zip(expected) {
                assert!((y - expected).abs() < 1e-5, "{y} instead of {expected}");
            }
        }
    }

    // torch: F.rms_norm(x, (4,), g, 1e-5) and F.layer_norm(x, (4,), g, b, 1e-12)
    #[test]
    fn norms_equal_the_reference() {
        let weight = row(&[1.0, 0.5, 2.0, 1.0]).flatten_all().unwrap();
        let bias = row(&[0.1, 0.0, -0.1, 0.2]).flatten_all().unwrap();
        let rms = Norm::Rms { weight: weight.clone(), eps: 1e-5, offset: 0.0 };
        assert_row(&rms, [0.529812, -0.529812, 3.178873, 0.264906]);
        let less = Norm::Rms { weight: (&weight - 1.0).unwrap(), eps: 1e-5, offset: 1.0 };
        assert_row(&less, [0.529812, -0.529812, 3.178873, 0.264906]);
        assert_row(&less.folded().unwrap(), [0.529812, -0.529812, 3.178873, 0.264906]);
        let layer = Norm::Layer { weight, bias, eps: 1e-12 };
        assert_row(&layer, [0.310559, -0.736956, 2.567077, 0.129814]);
    }
}
