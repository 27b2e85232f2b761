//! P-tuning (Liu et al. 2021, arXiv 2103.10385): a soft prompt that an MLP writes while it is trained.
//!
//! `F(e) = A3 relu(A2 relu(A1 e + b1) + b2) + b3` of `E` `(n, H)`, of widths `H -> h -> h -> H`; once training is over only
//! `F(E)` is kept, which is a soft prompt. The LSTM of the paper is not here: PEFT's own default is the MLP. Parameters while
//! training: `n H + (H h + h) + (h h + h) + (h H + H)`.

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::soft_prompt::{EMBEDDINGS, SoftPrompt, VirtualTokens, some_tokens};
use super::{AdapterConfig, Method, Start, Tensors, draw, take};
use crate::error::{Error, Result};
use crate::nn::{Adapter, Identity, Network, fresh_identity};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PTuning {
    pub num_virtual_tokens: usize,
    /// `h`; `None`: as wide as the model.
    pub encoder_hidden_size: Option<usize>,
}

impl Default for PTuning {
    fn default() -> Self {
        Self { num_virtual_tokens: 20, encoder_hidden_size: None }
    }
}

const ROWS: &str = "embedding.weight";
/// The linears of the MLP, as PEFT numbers them: activations stand between.
const LAYERS: [&str; 3] = ["mlp_head.0", "mlp_head.2", "mlp_head.4"];

impl PTuning {
    /// `(out, in)` of each linear.
    fn sizes(&self, network: &dyn Network) -> [(usize, usize); 3] {
        let hidden = network.shape().hidden;
        let inner = self.encoder_hidden_size.unwrap_or(hidden);
        [(inner, hidden), (inner, inner), (hidden, inner)]
    }
}

impl Method for PTuning {
    fn shapes(&self, network: &dyn Network) -> Result<BTreeMap<String, Vec<usize>>> {
        let n = some_tokens(self.num_virtual_tokens)?;
        if self.encoder_hidden_size == Some(0) {
            return Err(Error::invalid("an encoder_hidden_size of 0 is no network")
                .hint("give it a width of 1 or more"));
        }
        let mut shapes = BTreeMap::from([(ROWS.to_owned(), vec![n, network.shape().hidden])]);
        for (layer, (out, input)) in LAYERS.into_iter().zip(self.sizes(network)) {
            shapes.insert(format!("{layer}.weight"), vec![out, input]);
            shapes.insert(format!("{layer}.bias"), vec![out]);
        }
        Ok(shapes)
    }

    fn start(&self, network: &dyn Network, start: &Start) -> Result<Tensors> {
        let inputs: BTreeMap<&str, usize> =
            LAYERS.into_iter().zip(self.sizes(network).map(|(_, input)| input)).collect();
        let shapes = self.shapes(network)?.into_iter();
        let begun = shapes.map(|(name, shape)| {
            let input = name.rsplit_once('.').and_then(|(layer, _)| inputs.get(layer));
            let tensor = match input {
                Some(input) => draw::fan_in(start.seed, &name, &shape, *input)?,
                None => draw::normal(start.seed, &name, &shape, 1.0)?,
            };
            Ok((name, tensor))
        });
        begun.collect()
    }

    fn attach(&self, _: &dyn Network, tensors: &Tensors) -> Result<Arc<dyn Adapter>> {
        Ok(Arc::new(Encoder { identity: fresh_identity(), tensors: tensors.clone() }))
    }

    fn untouched(&self, _: &dyn Network) -> Result<usize> {
        Ok(0)
    }

    fn trained(&self, tensors: &Tensors) -> Result<(AdapterConfig, Tensors)> {
        let config = SoftPrompt { num_virtual_tokens: self.num_virtual_tokens, init: VirtualTokens::Random };
        let rows = written(tensors)?.detach();
        Ok((AdapterConfig::SoftPrompt(config), [(EMBEDDINGS.to_owned(), rows)].into()))
    }
}

/// `F(E)`, `(n, H)`.
fn written(tensors: &Tensors) -> Result<Tensor> {
    let mut x = take(tensors, ROWS)?;
    for (i, layer) in LAYERS.into_iter().enumerate() {
        let (weight, bias) =
            (take(tensors, &format!("{layer}.weight"))?, take(tensors, &format!("{layer}.bias"))?);
        x = x.matmul(&weight.t()?)?.broadcast_add(&bias)?;
        if i + 1 < LAYERS.len() {
            x = x.relu()?;
        }
    }
    Ok(x)
}

struct Encoder {
    identity: Identity,
    tensors: Tensors,
}

impl Adapter for Encoder {
    fn identity(&self) -> Identity {
        self.identity
    }

    fn prompt(&self) -> Result<Option<Tensor>> {
        written(&self.tensors).map(Some)
    }
}
