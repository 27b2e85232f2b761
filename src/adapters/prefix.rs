//! Prefix tuning (Li & Liang 2021, arXiv 2101.00190): trained keys and values before the tokens' own, in every layer.
//!
//! They are one matrix `P` `(n, 2 L nkv d)` with column `((2 l + j) nkv + h) d + c`, `j = 0` for keys and `1` for values, as
//! PEFT keeps it. Keys are as they are after rotation; tokens count their positions from `n`. With `encoder_hidden_size` `h` a
//! network writes it while it is trained, `P = tanh(E W1ᵀ + b1) W2ᵀ + b2` of `E` `(n, D)`, and is dropped afterwards.
//! Parameters: `n 2 L D`, or `n D + (D h + h) + (h 2 L D + 2 L D)`; `D = nkv d`.

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{D, Tensor};
use serde::{Deserialize, Serialize};

use super::soft_prompt::{EMBEDDINGS, some_tokens};
use super::{AdapterConfig, Method, Start, Tensors, draw, take};
use crate::error::{Error, Result};
use crate::nn::{Adapter, Identity, Memory, Network, Shape, fresh_identity};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Prefix {
    pub num_virtual_tokens: usize,
    /// `h` of the network that writes the prefix while it is trained; `None`: the prefix itself is trained.
    pub encoder_hidden_size: Option<usize>,
    /// Leave the first row as it begins: in a prefix that begins as a real text's keys and values, it is where attention
    /// rests that has nothing to look for.
    pub freeze_first: bool,
}

impl Default for Prefix {
    fn default() -> Self {
        Self { num_virtual_tokens: 20, encoder_hidden_size: None, freeze_first: false }
    }
}

const ROWS: &str = "embedding.weight";
const DOWN: &str = "transform.0";
const UP: &str = "transform.2";

/// `D`
fn width(shape: &Shape) -> usize {
    shape.kv_heads * shape.head_dim
}

impl Prefix {
    /// Keys and values of every layer, `(nkv, n, d)` each, as one matrix `(n, 2 L nkv d)`.
    ///
    /// # Errors
    /// As a tensor operation fails.
    pub fn flat(layers: &[(Tensor, Tensor)]) -> Result<Tensor> {
        let rows = |heads: &Tensor| -> Result<Tensor> {
            let (kv_heads, n, d) = heads.dims3()?;
            Ok(heads.transpose(0, 1)?.reshape((n, kv_heads * d))?)
        };
        let columns = layers.iter().flat_map(|(k, v)| [rows(k), rows(v)]).collect::<Result<Vec<_>>>()?;
        Ok(Tensor::cat(&columns, 1)?)
    }
}

impl Method for Prefix {
    fn shapes(&self, network: &dyn Network) -> Result<BTreeMap<String, Vec<usize>>> {
        let (n, shape) = (some_tokens(self.num_virtual_tokens)?, network.shape());
        let (wide, all) = (width(&shape), 2 * shape.layers * width(&shape));
        Ok(match self.encoder_hidden_size {
            None => [(EMBEDDINGS.to_owned(), vec![n, all])].into(),
            Some(_) if self.freeze_first => {
                return Err(Error::invalid(
                    "the first row of a prefix that a network writes cannot be frozen",
                )
                .hint("train the prefix itself, without encoder_hidden_size"));
            }
            Some(0) => return Err(Error::invalid("encoder_hidden_size is 0").hint("give 1 or more")),
            Some(inner) => BTreeMap::from([
                (ROWS.to_owned(), vec![n, wide]),
                (format!("{DOWN}.weight"), vec![inner, wide]),
                (format!("{DOWN}.bias"), vec![inner]),
                (format!("{UP}.weight"), vec![all, inner]),
                (format!("{UP}.bias"), vec![all]),
            ]),
        })
    }

    fn start(&self, network: &dyn Network, start: &Start) -> Result<Tensors> {
        let shapes = self.shapes(network)?;
        let wide = width(&network.shape());
        match (&start.cache, self.encoder_hidden_size) {
            (Some(cache), None) if cache.dims() == &shapes[EMBEDDINGS][..] => {
                return Ok([(EMBEDDINGS.to_owned(), cache.detach().contiguous()?)].into());
            }
            (Some(cache), None) => {
                return Err(Error::invalid(format!(
                    "keys and values of the shape {:?} are no prefix of {} virtual tokens",
                    cache.dims(),
                    self.num_virtual_tokens
                )));
            }
            (Some(_), Some(_)) => {
                return Err(Error::invalid("a network cannot begin by writing given keys and values")
                    .hint("train the prefix itself, without encoder_hidden_size"));
            }
            (None, _) => {}
        }
        let begun = shapes.into_iter().map(|(name, shape)| {
            let tensor = match name.split_once('.').map_or(name.as_str(), |(first, _)| first) {
                _ if name.starts_with(DOWN) => draw::fan_in(start.seed, &name, &shape, wide)?,
                _ if name.starts_with(UP) => {
                    draw::fan_in(start.seed, &name, &shape, self.encoder_hidden_size.unwrap_or(1))?
                }
                _ => draw::normal(start.seed, &name, &shape, 1.0)?,
            };
            Ok((name, tensor))
        });
        begun.collect()
    }

    fn attach(&self, network: &dyn Network, tensors: &Tensors) -> Result<Arc<dyn Adapter>> {
        let shape = network.shape();
        let source = match self.encoder_hidden_size {
            None => Source::Flat(take(tensors, EMBEDDINGS)?),
            Some(_) => Source::Written {
                rows: take(tensors, ROWS)?,
                down: (take(tensors, &format!("{DOWN}.weight"))?, take(tensors, &format!("{DOWN}.bias"))?),
                up: (take(tensors, &format!("{UP}.weight"))?, take(tensors, &format!("{UP}.bias"))?),
            },
        };
        let (identity, first) = (fresh_identity(), self.freeze_first);
        Ok(Arc::new(KeysAndValues { identity, shape, source, freeze_first: first }))
    }

    fn untouched(&self, _: &dyn Network) -> Result<usize> {
        Ok(0)
    }

    fn trained(&self, tensors: &Tensors) -> Result<(AdapterConfig, Tensors)> {
        let config = Self { encoder_hidden_size: None, ..self.clone() };
        let flat = match self.encoder_hidden_size {
            None => return Ok((AdapterConfig::Prefix(config), tensors.clone())),
            Some(_) => {
                let inner = inner(
                    &take(tensors, ROWS)?,
                    &(take(tensors, &format!("{DOWN}.weight"))?, take(tensors, &format!("{DOWN}.bias"))?),
                )?;
                let (weight, bias) =
                    (take(tensors, &format!("{UP}.weight"))?, take(tensors, &format!("{UP}.bias"))?);
                inner.matmul(&weight.t()?)?.broadcast_add(&bias)?.detach()
            }
        };
        Ok((AdapterConfig::Prefix(config), [(EMBEDDINGS.to_owned(), flat)].into()))
    }
}

/// `tanh(E W1ᵀ + b1)`, `(n, h)`
fn inner(rows: &Tensor, (weight, bias): &(Tensor, Tensor)) -> Result<Tensor> {
    Ok(rows.matmul(&weight.t()?)?.broadcast_add(bias)?.tanh()?)
}

enum Source {
    /// `(n, 2 L D)`
    Flat(Tensor),
    Written {
        /// `(n, D)`
        rows: Tensor,
        /// `(h, D)` and `(h,)`
        down: (Tensor, Tensor),
        /// `(2 L D, h)` and `(2 L D,)`
        up: (Tensor, Tensor),
    },
}

struct KeysAndValues {
    identity: Identity,
    shape: Shape,
    source: Source,
    freeze_first: bool,
}

impl KeysAndValues {
    /// Columns `start..start + D`, as `(nkv, n, d)`.
    fn heads(&self, start: usize) -> Result<Tensor> {
        let wide = width(&self.shape);
        let rows = match &self.source {
            Source::Flat(flat) => flat.narrow(1, start, wide)?,
            Source::Written { rows, down, up } => {
                let (weight, bias) = (up.0.narrow(0, start, wide)?, up.1.narrow(0, start, wide)?);
                inner(rows, down)?.matmul(&weight.t()?)?.broadcast_add(&bias)?
            }
        };
        let n = rows.dim(0)?;
        let rows = match self.freeze_first && n > 1 && rows.track_op() {
            true => Tensor::cat(&[rows.narrow(0, 0, 1)?.detach(), rows.narrow(0, 1, n - 1)?], 0)?,
            false => rows,
        };
        Ok(rows.reshape((n, self.shape.kv_heads, ()))?.transpose(0, 1)?)
    }
}

impl Adapter for KeysAndValues {
    fn identity(&self) -> Identity {
        self.identity
    }

    fn memory(&self, layer: usize) -> Result<Option<Memory>> {
        let start = 2 * layer * width(&self.shape);
        let (k, v) = (self.heads(start)?, self.heads(start + width(&self.shape))?);
        debug_assert_eq!(k.dim(D::Minus1)?, self.shape.head_dim);
        Ok(Some(Memory::Prefix { k, v }))
    }
}
