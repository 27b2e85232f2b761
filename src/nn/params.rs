//! Named trainable tensors, in sorted order wherever order could matter.

use std::collections::BTreeMap;

use candle_core::backprop::GradStore;
use candle_core::{Tensor, Var};

use crate::error::{Error, Result};

/// Variables by name.
#[derive(Debug, Clone, Default)]
pub struct Params {
    vars: BTreeMap<String, Var>,
}

impl Params {
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes `value` as the start of the variable `name`; returns the tensor to compute with.
    ///
    /// # Errors
    /// `Invalid` when the name is taken.
    pub fn insert(&mut self, name: &str, value: &Tensor) -> Result<Tensor> {
        if self.vars.contains_key(name) {
            return Err(Error::invalid(format!("parameter `{name}` exists already")));
        }
        let var = Var::from_tensor(value)?;
        let tensor = var.as_tensor().clone();
        self.vars.insert(name.to_owned(), var);
        Ok(tensor)
    }

    pub fn get(&self, name: &str) -> Option<&Var> {
        self.vars.get(name)
    }

    /// Names and variables, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Var)> {
        self.vars.iter().map(|(name, var)| (name.as_str(), var))
    }

    /// Number of trainable values.
    pub fn count(&self) -> usize {
        self.vars.values().map(|var| var.elem_count()).sum()
    }

    /// Copies that no longer follow training: to evaluate with, or to save.
    pub fn snapshot(&self) -> Result<BTreeMap<String, Tensor>> {
        let copy = |(name, var): (&String, &Var)| Ok((name.clone(), var.as_detached_tensor().copy()?));
        self.vars.iter().map(copy).collect()
    }

    /// Puts back what [`Self::snapshot`] took, in place.
    ///
    /// # Errors
    /// `Mismatch`, naming the parameter that the snapshot lacks or has in another shape; nothing is changed then.
    pub fn restore(&self, snapshot: &BTreeMap<String, Tensor>) -> Result<()> {
        for (name, var) in self.iter() {
            match snapshot.get(name) {
                Some(value) if value.shape() == var.shape() => {}
                Some(value) => {
                    return Err(Error::mismatch(format!(
                        "parameter `{name}` is {:?}, its snapshot {:?}",
                        var.dims(),
                        value.dims()
                    )));
                }
                None => return Err(Error::mismatch(format!("the snapshot has no parameter `{name}`"))),
            }
        }
        for (name, var) in self.iter() {
            var.set(&snapshot[name])?;
        }
        Ok(())
    }

    /// Each parameter's gradient, `None` for those the loss did not reach.
    pub fn gradients<'a>(
        &'a self,
        grads: &'a GradStore,
    ) -> impl Iterator<Item = (&'a str, Option<&'a Tensor>)> {
        self.iter().map(|(name, var)| (name, grads.get(var.as_tensor())))
    }
}
