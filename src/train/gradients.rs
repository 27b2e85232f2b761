//! The gradients of one step: gathered over its pieces, measured, and looked at before the first is believed.

use candle_core::Tensor;
use candle_core::backprop::GradStore;

use super::{Subject, values};
use crate::error::{Error, Result};
use crate::nn::Params;

/// A gradient for each parameter, in the order of their names.
#[derive(Default)]
pub struct Gradients {
    sums: Vec<Option<Tensor>>,
    /// Whether they may be changed in place: a tensor of autograd's may share its values with another.
    own: bool,
}

impl Gradients {
    /// What one piece contributes.
    pub fn of(params: &Params, store: &mut GradStore) -> Result<Self> {
        let found = params.iter().map(|(_, var)| store.remove(var).map(|g| g.contiguous()).transpose());
        Ok(Self { sums: found.collect::<candle_core::Result<_>>()?, own: false })
    }

    /// Adds what another piece of the same step contributes.
    pub fn add(&mut self, other: Self) -> Result<()> {
        if self.sums.is_empty() {
            *self = other;
            return Ok(());
        }
        for (sum, other) in self.sums.iter_mut().zip(other.sums) {
            let Some(other) = other else { continue };
            match sum {
                Some(sum) if self.own => values::add(sum, &other)?,
                Some(sum) => {
                    *sum = sum.copy()?;
                    values::add(sum, &other)?;
                }
                None => *sum = Some(if self.own { other.copy()? } else { other }),
            }
        }
        self.own = true;
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
                    return wrong(
                        "has a gradient of zero everywhere",
                        "it could never be trained; units of a narrow adapter may all begin switched off, which another --seed \
                         or a larger width changes",
                    );
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
