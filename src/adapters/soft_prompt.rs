//! Soft prompts (prompt tuning; Lester et al. 2021, arXiv 2104.08691): `n` trained vectors before the embedded text.
//!
//! `X' = [P ; Emb(ids)]` with `P` `(n, H)`. The transformer cuts the rows off again, so that heads and losses see tokens
//! only. Parameters: `n H`.

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::{AdapterConfig, Method, Start, Tensors, draw, take};
use crate::error::{Error, Result};
use crate::nn::{Adapter, Identity, Network, fresh_identity};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SoftPrompt {
    pub num_virtual_tokens: usize,
    pub init: VirtualTokens,
}

/// What virtual tokens begin as.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VirtualTokens {
    /// `N(0, 1)`, PEFT's own start: far from where embeddings are, and slow to train.
    Random,
    /// The vectors of tokens drawn from the vocabulary.
    #[default]
    Vocabulary,
    /// The vectors of a text's tokens, repeated or cut to `n`.
    Text,
}

impl Default for SoftPrompt {
    fn default() -> Self {
        Self { num_virtual_tokens: 20, init: VirtualTokens::default() }
    }
}

/// What PEFT calls the values of every method of virtual tokens.
pub const EMBEDDINGS: &str = "prompt_embeddings";

/// Refuses no tokens at all.
pub fn some_tokens(n: usize) -> Result<usize> {
    match n {
        0 => Err(Error::invalid("0 virtual tokens change nothing").hint("give 1 or more")),
        n => Ok(n),
    }
}

impl Method for SoftPrompt {
    fn shapes(&self, network: &dyn Network) -> Result<BTreeMap<String, Vec<usize>>> {
        let n = some_tokens(self.num_virtual_tokens)?;
        Ok([(EMBEDDINGS.to_owned(), vec![n, network.shape().hidden])].into())
    }

    fn start(&self, network: &dyn Network, start: &Start) -> Result<Tensors> {
        let (n, shape) = (some_tokens(self.num_virtual_tokens)?, network.shape());
        let rows = match self.init {
            VirtualTokens::Random => draw::normal(start.seed, EMBEDDINGS, &[n, shape.hidden], 1.0)?,
            VirtualTokens::Vocabulary => {
                let mut numbers = draw::numbers(start.seed, EMBEDDINGS);
                let ids: Vec<u32> = (0..n).map(|_| numbers.below(shape.vocab) as u32).collect();
                network.words(&ids)?
            }
            VirtualTokens::Text if start.text.is_empty() => {
                return Err(Error::invalid("there is no text for the virtual tokens to begin as")
                    .hint("give a text, or begin with `vocabulary`"));
            }
            VirtualTokens::Text => {
                network.words(&start.text.iter().copied().cycle().take(n).collect::<Vec<_>>())?
            }
        };
        Ok([(EMBEDDINGS.to_owned(), rows.detach())].into())
    }

    fn attach(&self, _: &dyn Network, tensors: &Tensors) -> Result<Arc<dyn Adapter>> {
        Ok(Arc::new(Rows { identity: fresh_identity(), rows: take(tensors, EMBEDDINGS)? }))
    }

    fn untouched(&self, _: &dyn Network) -> Result<usize> {
        Ok(0)
    }

    fn trained(&self, tensors: &Tensors) -> Result<(AdapterConfig, Tensors)> {
        Ok((AdapterConfig::SoftPrompt(self.clone()), tensors.clone()))
    }
}

struct Rows {
    identity: Identity,
    /// `(n, H)`
    rows: Tensor,
}

impl Adapter for Rows {
    fn identity(&self) -> Identity {
        self.identity
    }

    fn prompt(&self) -> Result<Option<Tensor>> {
        Ok(Some(self.rows.clone()))
    }
}
