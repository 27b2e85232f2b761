//! A family's tensors, as the layers of the one transformer: under their names, in their shapes, however they are stored.

use candle_core::Tensor;

use super::config::{Config, NormKind, NormPlace, Positions};
use super::names::{Names, Qkv};
use super::transformer::Embedding;
use super::weights::Weights;
use crate::error::Result;
use crate::nn::{Attention, Block, Heads, Linear, Mlp, Norm, Part, Site, SublayerNorm};

/// Knows where each layer's weights are and what shape they have.
pub(super) struct Loader<'a> {
    pub config: &'a Config,
    pub names: &'static Names,
    pub weights: &'a Weights<'a>,
}

impl Loader<'_> {
    pub fn embedding(&self) -> Result<Embedding> {
        let (shape, weights) = (&self.config.shape, self.weights);
        let table = |name: &str, rows: usize| {
            weights.get(&format!("{}.weight", weights.in_trunk(name)), &[rows, shape.hidden])
        };
        let token_types = match self.names.token_types {
            None => None,
            Some(name) => {
                let rows = weights.rows(&format!("{}.weight", weights.in_trunk(name))).unwrap_or(0);
                Some(table(name, rows)?)
            }
        };
        let positions = match (self.names.positions, &self.config.positions) {
            (Some(name), Positions::Learned { first }) => {
                let (first, context) = (*first, self.config.context);
                Some(table(name, first + context)?.narrow(0, first, context)?)
            }
            _ => None,
        };
        Ok(Embedding {
            words: table(self.names.embedding, shape.vocab)?,
            scale: self.config.embedding_scale,
            positions,
            token_types,
            norm: self.names.embedding_norm.map(|name| self.norm(name, shape.hidden)).transpose()?,
        })
    }

    pub fn block(&self, layer: usize) -> Result<Block> {
        let (shape, names) = (self.config.shape, self.names);
        let here = |name: &str| format!("{}.{layer}.{name}", names.layers);
        let linear = |part: Part, name: &str| self.linear(Site::new(layer, part), &here(name));
        let norm = |name: &str, width: usize| self.norm(&here(name), width);
        let (q, k, v) = match &names.qkv {
            Qkv::Apart { q, k, v } => (linear(Part::Q, q)?, linear(Part::K, k)?, linear(Part::V, v)?),
            Qkv::Fused(name) => self.fused(layer, &here(name))?,
        };
        let head_norms = match names.head_norms {
            Some((of_q, of_k)) => Some((norm(of_q, shape.head_dim)?, norm(of_k, shape.head_dim)?)),
            None => None,
        };
        let (after_attention, after_mlp) = names.norms_after.unzip();
        Ok(Block {
            attention: Attention {
                q,
                k,
                v,
                o: linear(Part::O, names.o)?,
                norms: head_norms,
                heads: Heads {
                    query: shape.heads,
                    kv: shape.kv_heads,
                    dim: shape.head_dim,
                    variance: self.config.score_variance,
                },
                sight: self.config.sight(layer),
            },
            mlp: Mlp {
                gate: names.gate.map(|name| linear(Part::Gate, name)).transpose()?,
                up: linear(Part::Up, names.up)?,
                down: linear(Part::Down, names.down)?,
                activation: self.config.activation,
            },
            norms: (
                self.sublayer_norm(&here(names.norms.0), after_attention.map(here))?,
                self.sublayer_norm(&here(names.norms.1), after_mlp.map(here))?,
            ),
        })
    }

    fn sublayer_norm(&self, name: &str, behind: Option<String>) -> Result<SublayerNorm> {
        let norm = |name: &str| self.norm(name, self.config.shape.hidden);
        Ok(match (self.config.norm_place, behind) {
            (NormPlace::Around, Some(behind)) => {
                SublayerNorm::Around { before: norm(name)?, after: norm(&behind)? }
            }
            (NormPlace::After, _) => SublayerNorm::After(norm(name)?),
            _ => SublayerNorm::Before(norm(name)?),
        })
    }

    /// The output layer stands outside the trunk, and is stored `(V, H)` in every family.
    pub fn head(&self, name: &str) -> Result<Linear> {
        let shape = &self.config.shape;
        let weight = self.weights.get(&format!("{name}.weight"), &[shape.vocab, shape.hidden])?;
        let bias = self.weights.optional(&format!("{name}.bias"), &[shape.vocab])?;
        Linear::new(Site::head(), weight, bias).laid_out()
    }

    /// One of a layer's linears; `name` is inside the trunk.
    fn linear(&self, site: Site, name: &str) -> Result<Linear> {
        let (out, input) = self.config.shape.linear(site.part).unwrap_or_default();
        let name = self.weights.in_trunk(name);
        let bias = self.weights.optional(&format!("{name}.bias"), &[out])?;
        Linear::new(site, self.matrix(&name, out, input)?, bias).laid_out()
    }

    /// A layer's weight `(out, in)`, however it is stored. A transposed one stays a view of what was stored: a variable that
    /// is trained in place must not leave a stale copy behind.
    fn matrix(&self, name: &str, out: usize, input: usize) -> Result<Tensor> {
        let name = format!("{name}.weight");
        match self.names.transposed {
            true => Ok(self.weights.get(&name, &[input, out])?.t()?),
            false => self.weights.get(&name, &[out, input]),
        }
    }

    /// Queries, keys and values out of the one matrix `name`, `(nh * d + 2 * nkv * d, H)`; views, as above.
    fn fused(&self, layer: usize, name: &str) -> Result<(Linear, Linear, Linear)> {
        let sites = [Part::Q, Part::K, Part::V].map(|part| Site::new(layer, part));
        let rows = sites.map(|site| self.config.shape.linear(site.part).unwrap_or_default().0);
        let all: usize = rows.iter().sum();
        let name = self.weights.in_trunk(name);
        let weight = self.matrix(&name, all, self.config.shape.hidden)?;
        let bias = self.weights.optional(&format!("{name}.bias"), &[all])?;
        let part = |i: usize| -> Result<Linear> {
            let (start, rows) = (rows[..i].iter().sum(), rows[i]);
            let bias = bias.as_ref().map(|bias| bias.narrow(0, start, rows)).transpose()?;
            Linear::new(sites[i], weight.narrow(0, start, rows)?, bias).laid_out()
        };
        Ok((part(0)?, part(1)?, part(2)?))
    }

    pub fn norm(&self, name: &str, width: usize) -> Result<Norm> {
        let (name, width, eps) = (self.weights.in_trunk(name), [width], self.config.norm_eps);
        let weight = self.weights.get(&format!("{name}.weight"), &width)?;
        match self.config.norm {
            NormKind::Rms { offset } => Norm::Rms { weight, eps, offset }.folded(),
            NormKind::Layer => {
                Ok(Norm::Layer { weight, bias: self.weights.get(&format!("{name}.bias"), &width)?, eps })
            }
        }
    }
}
