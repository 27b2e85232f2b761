//! How kernels are tested: against composed operations, their autograd, and finite differences, at every level.

use candle_core::{Device, Result, Tensor, Var};

use super::simd::at_every_level;

/// Fixed numbers between -1 and 1.
pub fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

pub fn tensor(shape: &[usize], seed: u64) -> Tensor {
    Tensor::from_vec(numbers(shape.iter().product(), seed), shape, &Device::Cpu).unwrap()
}

pub fn variable(shape: &[usize], seed: u64) -> Var {
    Var::from_tensor(&tensor(shape, seed)).unwrap()
}

fn values(t: &Tensor) -> Vec<f64> {
    t.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f64::from).collect()
}

/// Relative L2 error at most `tolerance`, with a floor for numbers that vanish on paper.
pub fn assert_close(ours: &Tensor, theirs: &Tensor, tolerance: f64) {
    assert_eq!(ours.dims(), theirs.dims());
    let (ours, theirs) = (values(ours), values(theirs));
    let length = |x: &mut dyn Iterator<Item = f64>| x.map(|x| x * x).sum::<f64>().sqrt();
    let difference = length(&mut ours.iter().zip(&theirs).map(|(a, b)| a - b));
    let scale = length(&mut theirs.iter().copied()).max(1e-3);
    assert!(difference <= tolerance * scale, "relative error {}", difference / scale);
}

/// A loss whose gradient differs in every output: `Σ y ∘ c` with fixed `c`.
fn weighed(y: &Tensor) -> Tensor {
    (y * tensor(y.dims(), 99)).unwrap().sum_all().unwrap()
}

/// `kernel` and `composed` give equal outputs and equal gradients of every variable; some of the kernel's gradients also
/// equal central differences of the composed form.
pub fn assert_gradients(
    variables: &[&Var],
    kernel: impl Fn() -> Result<Tensor>,
    composed: impl Fn() -> Result<Tensor>,
) {
    at_every_level(|_| {
        let (ours, theirs) = (kernel().unwrap(), composed().unwrap());
        assert_close(&ours, &theirs, 2e-6);
        let (our_grads, their_grads) =
            (weighed(&ours).backward().unwrap(), weighed(&theirs).backward().unwrap());
        for var in variables {
            match (our_grads.get(var.as_tensor()), their_grads.get(var.as_tensor())) {
                (Some(ours), Some(theirs)) => assert_close(ours, theirs, 1e-5),
                (ours, theirs) => assert_eq!(ours.is_some(), theirs.is_some()),
            }
        }
    });
    let grads = weighed(&kernel().unwrap()).backward().unwrap();
    for var in variables {
        let Some(grad) = grads.get(var.as_tensor()) else { continue };
        let slopes = values(grad);
        let typical = (slopes.iter().map(|x| x * x).sum::<f64>() / slopes.len().max(1) as f64).sqrt();
        let start = var.as_detached_tensor().copy().unwrap();
        for place in 0..slopes.len().min(3) {
            let place = place * 7919 % slopes.len();
            let loss_at = |step: f32| {
                let mut moved = start.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                moved[place] += step;
                var.set(&Tensor::from_vec(moved, start.shape(), &Device::Cpu).unwrap()).unwrap();
                let y = composed().unwrap();
                values(&y).iter().zip(values(&tensor(y.dims(), 99))).map(|(y, c)| y * c).sum::<f64>()
            };
            let step = 1e-2f32;
            let slope = (loss_at(step) - loss_at(-step)) / (2.0 * f64::from(step));
            var.set(&start).unwrap();
            assert!(
                (slope - slopes[place]).abs() <= 1e-2 * typical.max(1e-2),
                "finite difference {slope}, gradient {}",
                slopes[place]
            );
        }
    }
}
