//! Rotary position embedding (Su et al. 2021, arXiv 2104.09864), half-rotation layout.
//!
//! With `ω_i = θ^(-2i/d)` and a head split in halves `[x1 | x2]`, position `p` turns it into
//! `[x1 cos(pω) - x2 sin(pω) | x2 cos(pω) + x1 sin(pω)]`. GGUF's interleaved layout is undone when weights are loaded, so
//! this is the only form.

use candle_core::{Device, Tensor};

use super::kernel;
use crate::error::Result;

/// The frequencies of a model's rotation.
#[derive(Debug, Clone)]
pub struct Rope {
    /// `d / 2` angles a position.
    frequencies: Vec<f32>,
}

/// How a model stretched its frequencies to reach a longer context.
#[derive(Debug, Clone, PartialEq)]
pub enum RopeScaling {
    None,
    /// All frequencies divided by `factor`.
    Linear {
        factor: f64,
    },
    /// Llama 3.1: long wavelengths divided by `factor`, short ones kept, a ramp between.
    Llama3 {
        factor: f64,
        low_freq_factor: f64,
        high_freq_factor: f64,
        original_context: f64,
    },
    /// Each frequency divided by its own factor (what GGUF files store).
    Factors(Vec<f32>),
}

/// Cosines and sines of some positions, `(N, d / 2)` each, shared by all layers of one pass.
#[derive(Debug, Clone)]
pub struct Angles {
    pub cos: Tensor,
    pub sin: Tensor,
}

impl Rope {
    /// `head_dim` is even.
    pub fn new(head_dim: usize, theta: f64, scaling: &RopeScaling) -> Self {
        let frequency = |i: usize| {
            let plain = theta.powf(-2.0 * i as f64 / head_dim as f64);
            scaling.apply(i, plain) as f32
        };
        Self { frequencies: (0..head_dim / 2).map(frequency).collect() }
    }

    /// The angles of each of `positions`.
    pub fn angles(&self, positions: &[u32], device: &Device) -> Result<Angles> {
        let shape = (positions.len(), self.frequencies.len());
        let mut cos = Vec::with_capacity(shape.0 * shape.1);
        let mut sin = Vec::with_capacity(shape.0 * shape.1);
        for &position in positions {
            for frequency in &self.frequencies {
                let (s, c) = (position as f32 * frequency).sin_cos();
                cos.push(c);
                sin.push(s);
            }
        }
        Ok(Angles { cos: Tensor::from_vec(cos, shape, device)?, sin: Tensor::from_vec(sin, shape, device)? })
    }
}

impl RopeScaling {
    /// Whether every frequency stays a number.
    pub fn is_sound(&self) -> bool {
        let positive = |value: &f64| value.is_finite() && *value > 0.0;
        match self {
            Self::None => true,
            Self::Linear { factor } => positive(factor),
            Self::Factors(factors) => factors.iter().all(|factor| positive(&f64::from(*factor))),
            Self::Llama3 { factor, low_freq_factor, high_freq_factor, original_context } => {
                [factor, original_context].into_iter().all(positive)
                    && [low_freq_factor, high_freq_factor].into_iter().all(|value| value.is_finite())
                    && low_freq_factor != high_freq_factor
            }
        }
    }

    /// The stretched form of `frequency`, the `i`-th.
    fn apply(&self, i: usize, frequency: f64) -> f64 {
        match *self {
            Self::None => frequency,
            Self::Linear { factor } => frequency / factor,
            Self::Factors(ref factors) => frequency / f64::from(factors.get(i).copied().unwrap_or(1.0)),
            Self::Llama3 { factor, low_freq_factor, high_freq_factor, original_context } => {
                let turns = original_context * frequency / std::f64::consts::TAU;
                let ramp = (turns - low_freq_factor) / (high_freq_factor - low_freq_factor);
                let kept = ramp.clamp(0.0, 1.0);
                kept * frequency + (1.0 - kept) * frequency / factor
            }
        }
    }
}

impl Angles {
    /// Rotates each head of `x` `(N, heads * d)`.
    pub fn rotate(&self, x: &Tensor, heads: usize) -> Result<Tensor> {
        if kernel::applies(&[x, &self.cos, &self.sin]) {
            return Ok(kernel::rotate(x, heads, &self.cos, &self.sin)?);
        }
        self.rotate_composed(x, heads)
    }

    pub(super) fn rotate_composed(&self, x: &Tensor, heads: usize) -> Result<Tensor> {
        let (rows, width) = x.dims2()?;
        let half = width / heads / 2;
        let x = x.reshape((rows, heads, 2, half))?;
        let (x1, x2) = (x.narrow(2, 0, 1)?, x.narrow(2, 1, 1)?); // (N, heads, 1, d / 2)
        let cos = self.cos.reshape((rows, 1, 1, half))?;
        let sin = self.sin.reshape((rows, 1, 1, half))?;
        let y1 = (x1.broadcast_mul(&cos)? - x2.broadcast_mul(&sin)?)?;
        let y2 = (x2.broadcast_mul(&cos)? + x1.broadcast_mul(&sin)?)?;
        Ok(Tensor::cat(&[y1, y2], 2)?.reshape((rows, width))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // torch: half-rotation with d = 4, theta = 1e5, position 3
    #[test]
    fn a_rotated_head_equals_the_reference() {
        let rope = Rope::new(4, 1e5, &RopeScaling::None);
        let angles = rope.angles(&[3], &Device::Cpu).unwrap();
        let x = Tensor::new(&[[1f32, 2.0, 3.0, 4.0]], &Device::Cpu).unwrap();
        let y = angles.rotate(&x, 1).unwrap().to_vec2::<f32>().unwrap();
        for (y, expected) in y[0].iter().zip([-1.413353, 1.961963, -2.828857, 4.018793]) {
            assert!((y - expected).abs() < 1e-5, "{y} instead of {expected}");
        }
    }

    // transformers: _compute_llama3_parameters keeps wavelengths below 8192 / 4, divides those above 8192 / 1
    #[test]
    fn llama3_scaling_keeps_short_waves_and_stretches_long_ones() {
        let scaling = RopeScaling::Llama3 {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_context: 8192.0,
        };
        assert_eq!(scaling.apply(0, 1.0), 1.0);
        assert_eq!(scaling.apply(9, 1e-5), 1e-5 / 8.0);
        let middle = std::f64::consts::TAU * 2.5 / 8192.0; // 2.5 turns: half way up the ramp
        assert!((scaling.apply(5, middle) - middle * (0.5 + 0.5 / 8.0)).abs() < 1e-12);
    }
}
