//! Who plays which part over one base: variables for those who learn, values for those who do not.

use std::path::Path;
use std::sync::Arc;

use candle_core::{DType, Tensor};

use crate::adapters::{self, About, AdapterConfig, Scale, Start, Stored, Task, Tensors};
use crate::error::{Error, Result};
use crate::models::{Model, Transformer};
use crate::nn::{Adapter, Bare, Linear, Params, Site};
use crate::rlhf::critic;
use crate::rlhf::surrogate::numbers;
use crate::train::{Row, Seen, Subject, look};

/// Somebody who learns.
pub struct Learning {
    pub config: AdapterConfig,
    pub params: Params,
    /// With the variables.
    pub adapter: Arc<dyn Adapter>,
    /// As it began, of values.
    pub began: Arc<dyn Adapter>,
    /// Of `params`, what is no adapter's.
    pub head: Option<Linear>,
}

/// The name of a critic's head among its parameters.
const HEAD: &str = "value_head.weight";

impl Learning {
    /// Who begins as the adapter in the folder `from`, or as a new one by `config`.
    ///
    /// # Errors
    /// As the adapter cannot be read, or does not fit.
    pub fn new(
        network: &Transformer,
        config: &AdapterConfig,
        from: Option<&Path>,
        seed: u64,
    ) -> Result<Self> {
        let begin = match from {
            Some(folder) => Stored::read(folder, network)?.tensors,
            None => config.start(network, &Start { seed, ..Start::default() })?,
        };
        Self::of(network, config, &begin)
    }

    fn of(network: &Transformer, config: &AdapterConfig, begin: &Tensors) -> Result<Self> {
        let mut params = Params::new();
        for (name, tensor) in begin {
            params.insert(name, tensor)?;
        }
        let adapter = config.attach(network, &variables(&params))?;
        let values = begin.iter().map(|(name, tensor)| Ok((name.clone(), tensor.detach().copy()?)));
        let began = config.attach(network, &values.collect::<Result<_>>()?)?;
        Ok(Self { config: config.clone(), params, adapter, began, head: None })
    }

    /// A critic that knows what the reward model knows, where there is one, and expects nothing yet.
    ///
    /// # Errors
    /// As the reward model's adapter does not fit.
    pub fn critic(
        network: &Transformer,
        judge: Option<&Judge>,
        config: &AdapterConfig,
        seed: u64,
    ) -> Result<Self> {
        let mut critic = match judge.and_then(|judge| judge.kept.as_ref()) {
            Some((config, tensors)) => Self::of(network, config, tensors)?,
            None => Self::new(network, config, None, seed)?,
        };
        let zeros = Tensor::zeros((1, network.config.shape.hidden), DType::F32, network.device())?;
        critic.head = Some(Linear::new(Site::head(), critic.params.insert(HEAD, &zeros)?, None));
        Ok(critic)
    }

    /// The adapter's values as they are now; not copied.
    pub fn values(&self) -> Tensors {
        variables(&self.params).into_iter().map(|(name, tensor)| (name, tensor.detach())).collect()
    }

    /// An adapter of them.
    ///
    /// # Errors
    /// As they do not fit any more, because one is no number.
    pub fn as_values(&self, network: &Transformer) -> Result<Arc<dyn Adapter>> {
        self.config.attach(network, &self.values())
    }
}

fn variables(params: &Params) -> Tensors {
    let named = params.iter().filter(|(name, _)| *name != HEAD);
    named.map(|(name, variable)| (name.to_owned(), variable.as_tensor().clone())).collect()
}

/// A reward model over the base.
pub struct Judge {
    pub adapter: Arc<dyn Adapter>,
    pub head: Linear,
    kept: Option<(AdapterConfig, Tensors)>,
    /// The level of its scores, of some policy's answers.
    scale: Option<Scale>,
}

impl Judge {
    /// That in the folder `dir`, if it was made on weights of this fingerprint.
    ///
    /// # Errors
    /// `Mismatch` for one on another base, `Invalid` for an adapter that gives no score; as [`Stored::read`].
    pub fn read(dir: &Path, model: &Model, fingerprint: &str) -> Result<Self> {
        let place = |error: Error| error.within(dir.display());
        let about = About::read(dir).map_err(place)?;
        if about.as_ref().is_some_and(|about| !about.fits(fingerprint)) {
            return Err(place(Error::mismatch("this reward model is of another base"))
                .hint("train one on this model: `incontext rlhf reward`"));
        }
        let network = &model.transformer;
        let stored = Stored::read(dir, network)?;
        let no_score = || {
            place(Error::invalid("this adapter gives no score")).hint("train one: `incontext rlhf reward`")
        };
        let hidden = network.config.shape.hidden;
        let mut heads = stored.base.values().filter(|tensor| tensor.dims() == [1, hidden]);
        let weight = match (stored.task, heads.next(), stored.base.len()) {
            (Task::SeqCls, Some(weight), 1) => weight.clone(),
            _ => return Err(no_score()),
        };
        let adapter = match &stored.config {
            Some(config) => config.attach(network, &stored.tensors).map_err(place)?,
            None => Arc::new(Bare),
        };
        let kept = stored.config.map(|config| (config, stored.tensors));
        let scale = about.and_then(|about| about.reward);
        Ok(Self { adapter, head: Linear::new(Site::head(), weight, None), kept, scale })
    }

    /// The mean of its scores of answers of the policy in the folder `from`, or of the model as it is; `None` where it was not
    /// asked about that policy.
    ///
    /// # Errors
    /// `Io` when the policy's folder cannot be read.
    pub fn level(&self, from: Option<&Path>) -> Result<Option<f64>> {
        let Some(scale) = &self.scale else { return Ok(None) };
        let policy = from.map(adapters::fingerprint).transpose()?;
        Ok((policy == scale.policy).then_some(scale.mean))
    }

    /// The score of each answer of each row.
    ///
    /// # Errors
    /// As the network fails.
    pub fn scores(&self, model: &Model, rows: &[Row], micro_tokens: usize) -> Result<Vec<Vec<f64>>> {
        let params = Params::new();
        let subject = Subject { adapter: &*self.adapter, ..Subject::new("reward", model, &params) };
        let of = |seen: &Seen| {
            let scores = numbers(&critic::scores(&self.head, seen.piece, seen.hidden)?)?;
            Ok(seen.piece.sequences.iter().map(|answers| scores[answers.clone()].to_vec()).collect())
        };
        Ok(look(&subject, rows, micro_tokens, &of, &mut |_, _| true)?.unwrap_or_default())
    }
}
