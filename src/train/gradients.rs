//! The gradients of one step: gathered over its pieces, measured, and looked at before the first is believed.

use candle_core::Tensor;
use candle_core::backprop::GradStore;

use super::{Subject, values};
use crate::error::{Error, Result};
use crate::nn::Params;

/// A gradient for each parameter, in the order of their names.
pub struct Gradients {
    sums: Vec<Option<Tensor>>,
    /// Whether more will be added: a tensor of autograd's may share its values with another and is not changed in place.
    several: bool,
}

impl Gradients {
    /// Of a step in so many pieces.
    pub fn new(params: &Params, pieces: usize) -> Self {
        Self { sums: vec![None; params.iter().count()], several: pieces > 1 }
    }

    /// Adds what one piece contributes.
    pub fn add(&mut self, params: &Params, store: &mut GradStore) -> Result<()> {
        for (sum, (_, var)) in self.sums.iter_mut().zip(params.iter()) {
            let Some(gradient) = store.remove(var) else { continue };
            let gradient = gradient.contiguous()?;
            match sum {
                Some(sum) => values::add(sum, &gradient)?,
                None if self.several => *sum = Some(gradient.copy()?),
                None => *sum = Some(gradient),
            }
        }
        Ok(())
    }

    pub fn iter(&self) -> impl Iterator<Item = Option<&Tensor>> {
        self.sums.iter().map(Option::as_ref)
    }

    /// The norm of all of them as one vector. It is a number if and only if all values are.
    pub fn norm(&self) -> Result<f64> {
        let mut sum = 0.0;
        for gradient in self.iter().flatten() {
            sum += values::squares(gradient)?;
        }
        Ok(sum.sqrt())
    }

    /// Before the first update: every parameter has a gradient, of numbers, and zero where and only where the method says
    /// that it starts so. What fails here trains nothing, or not what it says, and would not be seen in the loss.
    ///
    /// # Errors
    /// `Invalid`, naming the parameter.
    pub fn check(&self, subject: &Subject) -> Result<()> {
        for ((name, var), gradient) in subject.params.iter().zip(self.iter()) {
            let wrong = |what: &str, hint: &str| {
                Err(Error::invalid(format!("parameter `{name}` {:?} {what}", var.dims())).hint(hint))
            };
            let Some(gradient) = gradient else {
                return wrong(
                    "has no gradient: the loss does not depend on it",
                    "it is not used in the pass, or stands below the layers that are computed with gradients",
                );
            };
            let squares = values::squares(gradient)?;
            match (squares, (subject.still)(name)) {
                (sum, _) if !sum.is_finite() => {
                    return wrong("has a gradient that is no number", "look at the data and at the weights");
                }
                (0.0, false) => {
                    return wrong("has a gradient of zero everywhere", "it could never be trained");
                }
                (sum, true) if sum > 0.0 => {
                    return wrong(
                        "has a gradient, though its method starts without one",
                        "the method does not start as it should",
                    );
                }
                _ => {}
            }
        }
        Ok(())
    }
}
