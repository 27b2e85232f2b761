//! Starting values, drawn from a seed and a name: the same whatever else is drawn, on every machine.

use candle_core::{Device, Tensor};

use crate::error::Result;
use crate::random::SplitMix;

/// Numbers for the value `name`.
pub fn numbers(seed: u64, name: &str) -> SplitMix {
    // FNV-1a: names are few and short, and nobody chooses them to collide.
    let hash = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    SplitMix::new(seed, hash)
}

fn filled(shape: &[usize], mut draw: impl FnMut() -> f64) -> Result<Tensor> {
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| draw() as f32).collect();
    Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
}

/// `N(0, deviation²)`
pub fn normal(seed: u64, name: &str, shape: &[usize], deviation: f64) -> Result<Tensor> {
    let mut numbers = numbers(seed, name);
    filled(shape, || deviation * numbers.normal())
}

/// `U(-1/√in, 1/√in)`: PyTorch's start of a linear, and what its Kaiming-uniform with `a = √5` amounts to.
pub fn fan_in(seed: u64, name: &str, shape: &[usize], input: usize) -> Result<Tensor> {
    let bound = 1.0 / (input.max(1) as f64).sqrt();
    let mut numbers = numbers(seed, name);
    filled(shape, || bound * (2.0 * numbers.uniform() - 1.0))
}

pub fn constant(shape: &[usize], value: f64) -> Result<Tensor> {
    filled(shape, || value)
}
