//! Where a run of updates stands, in one file: policy and critic, what their optimisers remember, the price of divergence.
//!
//! Everything that chance decides is a function of the seed and of numbers that count answers and steps, so that a run that goes
//! on is the run that was never interrupted, bit for bit.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::online::{Run, State};
use crate::error::{Error, Result};
use crate::nn::Params;
use crate::train::{CHECKPOINT, Exact, Learner, read_checkpoint, write_checkpoint};

#[derive(Serialize, Deserialize)]
struct Header {
    /// Which run it is: what decides it, as its owner says.
    run: Value,
    update: usize,
    beta: Exact,
    baseline: Option<Exact>,
    /// Updates of the optimisers: the policy's, the critic's.
    optimisers: Vec<u64>,
}

/// Who has parameters, as their tensors begin.
const ROLES: [&str; 2] = ["policy.", "critic."];

const VALUE: &str = "value.";
const MEAN: &str = "mean.";
const SQUARE: &str = "square.";

impl Run<'_> {
    /// Everyone who learns: parameters and optimiser.
    fn learners(&self) -> Vec<(&Params, &Learner)> {
        let policy = (self.actors.policy.params, &self.learner);
        let critic = self.actors.baseline.critic().zip(self.critic.as_ref());
        std::iter::once(policy).chain(critic.map(|(subject, learner)| (subject.params, learner))).collect()
    }

    /// Writes a checkpoint into `folder`, over the one before. `run` is what decides the run.
    ///
    /// # Errors
    /// `Io`; the one before stays then.
    pub fn save(&self, folder: &Path, run: &Value) -> Result<()> {
        let learners = self.learners();
        let mut tensors = Vec::new();
        for ((params, learner), role) in learners.iter().zip(ROLES) {
            for (name, var) in params.iter() {
                tensors.push((format!("{role}{VALUE}{name}"), var.as_detached_tensor()));
            }
            for (name, (mean, square)) in learner.state().1 {
                tensors.push((format!("{role}{MEAN}{name}"), mean));
                tensors.push((format!("{role}{SQUARE}{name}"), square));
            }
        }
        let State { update, beta, baseline } = self.state;
        let header = Header {
            run: run.clone(),
            update,
            beta: Exact(beta),
            baseline: baseline.map(Exact),
            optimisers: learners.iter().map(|(_, learner)| learner.state().0).collect(),
        };
        let header = serde_json::to_string(&header)
            .map_err(|error| Error::invalid(format!("the state of a run is no JSON: {error}")))?;
        write_checkpoint(&folder.join(CHECKPOINT), header, tensors)
    }

    /// Goes on where the checkpoint in `folder` stands, if there is one; whether there was.
    ///
    /// # Errors
    /// `Mismatch` when it is of another run, `Corrupt`, naming the tensor, when one is missing or of another shape. Nothing is
    /// changed then.
    pub fn resume(&mut self, folder: &Path, run: &Value, device: &Device) -> Result<bool> {
        let path = folder.join(CHECKPOINT);
        let Some((header, mut tensors)): Option<(Header, HashMap<String, Tensor>)> =
            read_checkpoint(&path, device)?
        else {
            return Ok(false);
        };
        if header.run != *run {
            return Err(Error::mismatch(format!("`{}` is of another run", path.display()))
                .hint("resume with what the run began with, or begin in another folder"));
        }
        let mut take = |params: &Params, kind: &str| -> Result<BTreeMap<String, Tensor>> {
            let one = |(name, var): (&str, &candle_core::Var)| {
                let full = format!("{kind}{name}");
                match tensors.remove(&full).filter(|tensor| tensor.shape() == var.shape()) {
                    Some(tensor) => Ok((name.to_owned(), tensor)),
                    None => Err(Error::corrupt(format!(
                        "`{}` has no tensor `{full}` {:?}",
                        path.display(),
                        var.dims()
                    ))),
                }
            };
            params.iter().map(one).collect()
        };
        let mut found = Vec::new();
        for ((params, _), role) in self.learners().into_iter().zip(ROLES) {
            let values = take(params, &format!("{role}{VALUE}"))?;
            let means = take(params, &format!("{role}{MEAN}"))?;
            let squares = take(params, &format!("{role}{SQUARE}"))?;
            let pairs =
                means.into_iter().zip(squares).map(|((name, mean), (_, square))| (name, (mean, square)));
            found.push((values, pairs.collect::<BTreeMap<_, _>>()));
        }
        if header.optimisers.len() != found.len() {
            return Err(Error::corrupt(format!("`{}` is of a run with other parts", path.display())));
        }
        for ((params, _), (values, _)) in self.learners().into_iter().zip(&found) {
            params.restore(values)?;
        }
        let mut learners = found
            .into_iter()
            .zip(&header.optimisers)
            .map(|((_, means), &updates)| Learner::resume(updates, means));
        if let Some(learner) = learners.next() {
            self.learner = learner;
        }
        if self.critic.is_some() {
            self.critic = learners.next();
        }
        self.state = State {
            update: header.update,
            beta: header.beta.0,
            baseline: header.baseline.map(|baseline| baseline.0),
        };
        Ok(true)
    }
}
