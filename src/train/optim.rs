//! AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101), as PyTorch computes it.
//!
//! For the gradient `g` of update `t` from 1, with rate `r`, decay `w`, and both means zero at the start:
//!
//! ```text
//! x <- x (1 - r w)
//! m <- b1 m + (1 - b1) g      v <- b2 v + (1 - b2) g^2
//! x <- x - r (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)
//! ```
//!
//! One pass over memory for all of it, in place. The means are kept here, by name, so that a run can be resumed.

use std::collections::BTreeMap;

use candle_core::{DType, Tensor, Var};
use rayon::prelude::*;

use super::config::TrainConfig;
use super::gradients::Gradients;
use super::{Subject, values};
use crate::error::Result;
use crate::nn::Params;

pub struct AdamW {
    /// Means of the gradients and of their squares, f32, by the parameter's name.
    pub means: BTreeMap<String, (Tensor, Tensor)>,
    /// How often it has moved the parameters: `t`.
    pub updates: u64,
}

/// One update's numbers for one parameter.
#[derive(Clone, Copy)]
struct Update {
    rate: f64,
    decay: f64,
    betas: (f64, f64),
    eps: f64,
    /// `1 - b^t` of both.
    bias: (f64, f64),
    /// What the gradient is multiplied by: less than 1 where its norm is clipped.
    scale: f64,
}

impl AdamW {
    pub fn new(params: &Params) -> Result<Self> {
        let zeros = |var: &Var| Tensor::zeros(var.shape(), DType::F32, var.device());
        let means = params.iter().map(|(name, var)| Ok((name.to_owned(), (zeros(var)?, zeros(var)?))));
        Ok(Self { means: means.collect::<Result<_>>()?, updates: 0 })
    }

    /// Moves every parameter that has a gradient, at the step's `rate`. `norm` is that of all gradients.
    pub fn update(
        &mut self,
        subject: &Subject,
        gradients: &Gradients,
        norm: f64,
        rate: f64,
        config: &TrainConfig,
    ) -> Result<()> {
        self.updates += 1;
        let (b1, b2) = config.betas;
        let t = self.updates as f64;
        let scale = if config.clip > 0.0 { (config.clip / (norm + 1e-6)).min(1.0) } else { 1.0 };
        let every = Update {
            rate,
            decay: 0.0,
            betas: config.betas,
            eps: config.eps,
            bias: (1.0 - b1.powf(t), 1.0 - b2.powf(t)),
            scale,
        };
        let places = subject.params.iter().zip(self.means.values_mut()).zip(gradients.iter());
        for (((name, var), (m, v)), gradient) in places {
            let Some(gradient) = gradient else { continue };
            let decay = if (subject.decays)(name) { config.weight_decay } else { 0.0 };
            let update = Update { rate: rate * (subject.rate)(name), decay, ..every };
            if [var.as_tensor(), m, v, gradient].into_iter().all(values::at_hand) {
                update.in_place(var, m, v, gradient)?;
            } else {
                update.composed(var, m, v, gradient)?;
            }
        }
        Ok(())
    }
}

impl Update {
    fn in_place(self, var: &Var, m: &Tensor, v: &Tensor, g: &Tensor) -> Result<()> {
        let (b1, b2) = (self.betas.0 as f32, self.betas.1 as f32);
        let (c1, c2) = ((1.0 - self.betas.0) as f32, (1.0 - self.betas.1) as f32);
        let kept = (1.0 - self.rate * self.decay) as f32;
        let step = (self.rate / self.bias.0) as f32;
        let root = (1.0 / self.bias.1.sqrt()) as f32;
        let (eps, scale) = (self.eps as f32, self.scale as f32);
        let piece = |x: &mut [f32], m: &mut [f32], v: &mut [f32], g: &[f32]| {
            for (((x, m), v), g) in x.iter_mut().zip(m).zip(v).zip(g) {
                let g = g * scale;
                *m = b1 * *m + c1 * g;
                *v = b2 * *v + c2 * g * g;
                *x = *x * kept - step * *m / (v.sqrt() * root + eps);
            }
        };
        Ok(values::change(var, |x| {
            values::change(m, |m| {
                values::change(v, |v| {
                    values::read(g, |g| {
                        let size = values::PIECE;
                        let (x, m, v) =
                            (x.par_chunks_mut(size), m.par_chunks_mut(size), v.par_chunks_mut(size));
                        x.zip(m)
                            .zip(v)
                            .zip(g.par_chunks(size))
                            .for_each(|(((x, m), v), g)| piece(x, m, v, g));
                        Ok(())
                    })
                })
            })
        })?)
    }

    /// The same out of tensor operations, where values lie elsewhere or are of another kind.
    fn composed(self, var: &Var, m: &mut Tensor, v: &mut Tensor, g: &Tensor) -> Result<()> {
        let (b1, b2) = self.betas;
        let g = (g.to_dtype(DType::F32)? * self.scale)?;
        *m = ((&*m * b1)? + (&g * (1.0 - b1))?)?;
        *v = ((&*v * b2)? + (g.sqr()? * (1.0 - b2))?)?;
        let quotient = (&*m / ((&*v / self.bias.1)?.sqrt()? + self.eps)?)?;
        let x = var.as_detached_tensor().to_dtype(DType::F32)?;
        let x = ((x * (1.0 - self.rate * self.decay))? - (quotient * (self.rate / self.bias.0))?)?;
        Ok(var.set(&x.to_dtype(var.dtype())?)?)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    fn update(t: i32, rate: f64, decay: f64, scale: f64) -> Update {
        let bias = (1.0 - 0.9f64.powi(t), 1.0 - 0.999f64.powi(t));
        Update { rate, decay, betas: (0.9, 0.999), eps: 1e-8, bias, scale }
    }

    fn tensor(values: &[f32]) -> Tensor {
        Tensor::new(values, &Device::Cpu).unwrap()
    }

    // torch: p = nn.Parameter(torch.tensor([1.])); AdamW([p], lr=0.1, weight_decay=0.01), gradients .5, -.25, 1
    #[test]
    fn three_updates_equal_the_reference() {
        for in_place in [true, false] {
            let var = Var::from_tensor(&tensor(&[1.0])).unwrap();
            let (mut m, mut v) = (tensor(&[0.0]), tensor(&[0.0]));
            for (t, (gradient, expected)) in (1..).zip([(0.5, 0.899000), (-0.25, 0.871467), (1.0, 0.804785)])
            {
                let g = tensor(&[gradient]);
                match in_place {
                    true => update(t, 0.1, 0.01, 1.0).in_place(&var, &m, &v, &g).unwrap(),
                    false => update(t, 0.1, 0.01, 1.0).composed(&var, &mut m, &mut v, &g).unwrap(),
                }
                let x = var.to_vec1::<f32>().unwrap()[0];
                assert!((x - expected).abs() < 1e-6, "{x}, not {expected}");
            }
        }
    }

    #[test]
    fn in_place_and_composed_agree_on_many_values() {
        let numbers =
            |phase: f32| -> Vec<f32> { (0..70_000).map(|i| (i as f32 * 0.37 + phase).sin()).collect() };
        let start = tensor(&numbers(0.0));
        let (a, b) = (Var::from_tensor(&start).unwrap(), Var::from_tensor(&start).unwrap());
        let zeros = || start.zeros_like().unwrap();
        let ((m, v), (mut n, mut w)) = ((zeros(), zeros()), (zeros(), zeros()));
        for t in 1..4 {
            let g = tensor(&numbers(t as f32));
            update(t, 1e-2, 0.1, 0.3).in_place(&a, &m, &v, &g).unwrap();
            update(t, 1e-2, 0.1, 0.3).composed(&b, &mut n, &mut w, &g).unwrap();
        }
        for (a, b) in [(a.as_tensor(), b.as_tensor()), (&m, &n), (&v, &w)] {
            let (a, b) = (a.to_vec1::<f32>().unwrap(), b.to_vec1::<f32>().unwrap());
            assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-6));
        }
    }
}
