//! A loss that is computed in plain numbers, brought back to the network.
//!
//! The losses of this room are functions of a few numbers that the network says: scores of answers, log-probabilities of
//! tokens. Their values and derivatives are worked out in 64 bits, where they can be held against known answers, and the
//! network is told one weight for each of its outputs.

use candle_core::Tensor;

use crate::error::{Error, Result};

/// A value, and its derivative by each of the numbers it was computed from.
#[derive(Debug, Clone, PartialEq)]
pub struct Weighed {
    pub value: f64,
    pub slopes: Vec<f64>,
}

/// A scalar whose value and gradient are those of `loss` of `outputs` `(n,)`.
///
/// # Errors
/// `Invalid` when there is not one slope an output.
pub fn through(outputs: &Tensor, loss: &Weighed) -> Result<Tensor> {
    let slopes: Vec<f32> = loss.slopes.iter().map(|slope| *slope as f32).collect();
    if slopes.len() != outputs.elem_count() {
        return Err(Error::invalid(format!("{} slopes for {:?} outputs", slopes.len(), outputs.dims())));
    }
    let weighed = (outputs * Tensor::new(slopes, outputs.device())?)?.sum_all()?;
    // Of the right slope; what is added without one makes the value right.
    let off = loss.value - f64::from(weighed.to_scalar::<f32>()?);
    Ok((weighed + off)?)
}

/// As numbers to reckon with.
///
/// # Errors
/// As a tensor operation fails.
pub fn numbers(outputs: &Tensor) -> Result<Vec<f64>> {
    Ok(outputs.to_vec1::<f32>()?.into_iter().map(f64::from).collect())
}

/// `log(1 + exp(x))`, whatever `x` is.
pub fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// `1 / (1 + exp(-x))`
pub fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};

    #[test]
    fn value_and_gradient_are_those_of_the_loss() {
        let outputs = Var::new(&[0.5f32, -2.0, 3.0], &Device::Cpu).unwrap();
        let loss = Weighed { value: 7.25, slopes: vec![1.0, 0.0, -0.5] };
        let scalar = through(&outputs, &loss).unwrap();
        assert_eq!(scalar.to_scalar::<f32>().unwrap(), 7.25);
        let store = scalar.backward().unwrap();
        assert_eq!(store.get(&outputs).unwrap().to_vec1::<f32>().unwrap(), [1.0, 0.0, -0.5]);
        assert!(through(&outputs, &Weighed { value: 0.0, slopes: vec![1.0] }).is_err());
    }

    #[test]
    fn softplus_is_finite_far_out() {
        assert!((softplus(0.0) - std::f64::consts::LN_2).abs() < 1e-12);
        assert_eq!((softplus(-800.0), softplus(800.0)), (0.0, 800.0));
        assert_eq!((sigmoid(-800.0), sigmoid(800.0)), (0.0, 1.0));
    }
}
