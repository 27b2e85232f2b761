//! Low-rank changes of chosen linears: LoRA, rsLoRA and DoRA.
//!
//! LoRA (Hu et al. 2021, arXiv 2106.09685): `y = x W0ᵀ + b + s drop(x) Aᵀ Bᵀ` with `A` `(r, in)`, `B` `(out, r)`, `s = alpha / r`;
//! rsLoRA (Kalajdzievski 2023, arXiv 2312.03732): `s = alpha / √r`. DoRA (Liu et al. 2024, arXiv 2402.09353):
//! `W' = μ ∘ (W0 + s B A) / n` by rows, with `n_i = |(W0 + s B A)_i|` constant in the backward. `B` is 0 at first, so
//! training begins at the base. Parameters: the sum of `r (in + out)`, and of `out` for DoRA.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::targets::{Targets, says};
use super::{AdapterConfig, Method, Start, Tensors, draw, take};
use crate::error::{Error, Result};
use crate::nn::{Adapter, Identity, Linear, Mode, Module, Network, Site, dropout, fresh_identity};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Lora {
    pub rank: usize,
    pub alpha: f64,
    /// Divide by `√r` and not by `r`.
    pub rslora: bool,
    pub dora: bool,
    /// The share of inputs that the low-rank part does not see in training.
    pub dropout: f64,
    pub targets: Targets,
    /// Modules among the targets that are none.
    pub exclude: Option<Targets>,
    /// Only in these layers.
    pub layers: Option<Vec<usize>>,
    /// Also in the pooler of an encoder, which PEFT takes for a target where `dense` is one.
    pub pooler: bool,
    /// Also of the vectors of tokens: `E[id] + s A[:, id]ᵀ Bᵀ` with `A` `(r, V)`, `B` `(H, r)`.
    pub embedding: bool,
    /// Another rank where the path of a module ends as the pattern says.
    pub rank_pattern: BTreeMap<String, usize>,
    /// Another alpha likewise.
    pub alpha_pattern: BTreeMap<String, f64>,
}

impl Default for Lora {
    fn default() -> Self {
        Self {
            rank: 8,
            alpha: 16.0,
            rslora: false,
            dora: false,
            dropout: 0.0,
            targets: Targets::all(),
            exclude: None,
            layers: None,
            pooler: false,
            embedding: false,
            rank_pattern: BTreeMap::new(),
            alpha_pattern: BTreeMap::new(),
        }
    }
}

/// A value's name and its shape.
type Named = (String, [usize; 2]);

const A: &str = "lora_A.weight";
const B: &str = "lora_B.weight";
const OF_TOKENS: (&str, &str) = ("lora_embedding_A", "lora_embedding_B");
const MAGNITUDE: &str = "lora_magnitude_vector";

impl Lora {
    fn modules(&self, network: &dyn Network) -> Result<Vec<Module>> {
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(Error::invalid(format!("a dropout of {} is no share", self.dropout))
                .hint("0 or more, and less than 1"));
        }
        some_rank(self.rank)?;
        if let Some(alpha) = std::iter::once(&self.alpha)
            .chain(self.alpha_pattern.values())
            .find(|alpha| !alpha.is_finite() || **alpha == 0.0)
        {
            return Err(Error::invalid(format!("an alpha of {alpha} changes nothing"))
                .hint("a number that is not 0, usually the rank or twice the rank"));
        }
        let mut modules = self.targets.modules_but(self.exclude.as_ref(), network, self.layers.as_deref())?;
        modules.extend(network.pooler().filter(|_| self.pooler));
        Ok(modules)
    }

    /// The same with what lies outside the blocks among its targets where there are values for it.
    pub(super) fn reaching(self, tensors: &Tensors, network: &dyn Network) -> Self {
        let there = |path: &str, name: &str| tensors.contains_key(&format!("{path}.{name}"));
        Self {
            pooler: network.pooler().is_some_and(|pooler| there(&pooler.path, A)),
            embedding: there(&network.embedding(), OF_TOKENS.0),
            ..self
        }
    }

    /// The two names of the change to the vectors of tokens, and their shapes; refused where that has no meaning.
    fn of_tokens(&self, network: &dyn Network) -> Result<Option<[Named; 2]>> {
        if !self.embedding {
            return Ok(None);
        }
        if self.dora {
            return Err(Error::invalid("DoRA of the vectors of tokens is not supported")
                .hint("merge it with PEFT (merge_and_unload) and use the merged model"));
        }
        let (path, shape) = (network.embedding(), network.shape());
        let rank = self.rank_of(&path)?;
        Ok(Some([
            (format!("{path}.{}", OF_TOKENS.0), [rank, shape.vocab]),
            (format!("{path}.{}", OF_TOKENS.1), [shape.hidden, rank]),
        ]))
    }

    fn rank_of(&self, path: &str) -> Result<usize> {
        for (pattern, rank) in &self.rank_pattern {
            if says(pattern, path)? {
                return some_rank(*rank);
            }
        }
        some_rank(self.rank)
    }

    fn scale_of(&self, path: &str) -> Result<f64> {
        let rank = self.rank_of(path)? as f64;
        let mut alpha = self.alpha;
        for (pattern, other) in &self.alpha_pattern {
            if says(pattern, path)? {
                alpha = *other;
                break;
            }
        }
        Ok(if self.rslora { alpha / rank.sqrt() } else { alpha / rank })
    }
}

fn some_rank(rank: usize) -> Result<usize> {
    match rank {
        0 => Err(Error::invalid("LoRA of rank 0 changes nothing").hint("give it a rank of 1 or more")),
        rank => Ok(rank),
    }
}

impl Method for Lora {
    fn shapes(&self, network: &dyn Network) -> Result<BTreeMap<String, Vec<usize>>> {
        let mut shapes = BTreeMap::new();
        for module in self.modules(network)? {
            let (path, rank) = (&module.path, self.rank_of(&module.path)?);
            shapes.insert(format!("{path}.{A}"), vec![rank, module.input]);
            shapes.insert(format!("{path}.{B}"), vec![module.output(), rank]);
            if self.dora {
                shapes.insert(format!("{path}.{MAGNITUDE}"), vec![module.output()]);
            }
        }
        let of_tokens = self.of_tokens(network)?.into_iter().flatten();
        shapes.extend(of_tokens.map(|(name, shape)| (name, shape.to_vec())));
        Ok(shapes)
    }

    fn start(&self, network: &dyn Network, start: &Start) -> Result<Tensors> {
        let mut tensors = Tensors::new();
        for module in self.modules(network)? {
            let (path, rank) = (&module.path, self.rank_of(&module.path)?);
            let a = format!("{path}.{A}");
            tensors.insert(a.clone(), draw::fan_in(start.seed, &a, &[rank, module.input], module.input)?);
            tensors.insert(format!("{path}.{B}"), draw::constant(&[module.output(), rank], 0.0)?);
            if self.dora {
                let weight = super::merge::weight(network, &module)?;
                let lengths = weight.sqr()?.sum(1)?.sqrt()?; // (out,)
                tensors.insert(format!("{path}.{MAGNITUDE}"), lengths);
            }
        }
        if let Some([(a, of_a), (b, of_b)]) = self.of_tokens(network)? {
            tensors.insert(a, draw::constant(&of_a, 0.0)?);
            tensors.insert(b.clone(), draw::normal(start.seed, &b, &of_b, 1.0)?);
        }
        Ok(tensors)
    }

    fn attach(&self, network: &dyn Network, tensors: &Tensors) -> Result<Arc<dyn Adapter>> {
        let mut changes = BTreeMap::new();
        for module in self.modules(network)? {
            let of = |name: &str| take(tensors, &format!("{}.{name}", module.path));
            let (a, b) = (of(A)?, of(B)?);
            let magnitude = self.dora.then(|| of(MAGNITUDE)).transpose()?;
            let scale = self.scale_of(&module.path)?;
            let whole = module.parts.len() == 1;
            for (site, rows) in &module.parts {
                let part = |tensor: &Tensor| match whole {
                    true => Ok(tensor.clone()),
                    false => tensor.narrow(0, rows.start, rows.len()),
                };
                let change = Change {
                    a: a.clone(),
                    b: part(&b)?,
                    magnitude: magnitude.as_ref().map(part).transpose()?,
                    scale,
                    mask: module.parts[0].0,
                    squares: OnceLock::new(),
                };
                changes.insert(*site, change);
            }
        }
        let words = match self.of_tokens(network)? {
            None => None,
            Some([(a, _), (b, _)]) => {
                Some((take(tensors, &a)?, take(tensors, &b)?, self.scale_of(&network.embedding())?))
            }
        };
        Ok(Arc::new(LowRank { identity: fresh_identity(), changes, words, dropout: self.dropout }))
    }

    fn untouched(&self, network: &dyn Network) -> Result<usize> {
        let lowest = self.modules(network)?.iter().map(|module| module.layer).min().unwrap_or(0);
        Ok(if self.embedding { 0 } else { lowest })
    }

    fn still_at_start(&self, name: &str) -> bool {
        name.ends_with(A) || name.ends_with(OF_TOKENS.1)
    }

    fn trained(&self, tensors: &Tensors) -> Result<(AdapterConfig, Tensors)> {
        Ok((AdapterConfig::Lora(self.clone()), tensors.clone()))
    }

    fn merged(&self, network: &dyn Network, tensors: &Tensors) -> Result<Option<Tensors>> {
        // The table of tokens may be the head as well, which the adapter leaves as it is; the pooler is no part of the network.
        for (there, what) in [(self.embedding, "the vectors of tokens"), (self.pooler, "the pooler")] {
            if there {
                return Err(Error::invalid(format!("LoRA of {what} is not merged here"))
                    .hint("use it as an adapter, or merge it with PEFT (merge_and_unload)"));
            }
        }
        let mut merged = Tensors::new();
        for module in self.modules(network)? {
            let of = |name: &str| take(tensors, &format!("{}.{name}", module.path));
            let change = (of(B)?.matmul(&of(A)?)? * self.scale_of(&module.path)?)?; // (out, in)
            let mut weight = (super::merge::weight(network, &module)? + change)?;
            if self.dora {
                let lengths = weight.sqr()?.sum_keepdim(1)?.sqrt()?; // (out, 1)
                let gain = of(MAGNITUDE)?.unsqueeze(1)?.broadcast_div(&lengths)?;
                weight = weight.broadcast_mul(&gain)?;
            }
            super::merge::put(&mut merged, &module, &weight)?;
        }
        Ok(Some(merged))
    }
}

/// At one linear.
struct Change {
    /// `(r, in)`
    a: Tensor,
    /// `(out, r)`
    b: Tensor,
    /// `μ` `(out,)`
    magnitude: Option<Tensor>,
    scale: f64,
    /// Whose input is dropped from: the parts of one matrix see one input.
    mask: Site,
    /// `|W0_i|²` `(out,)`: the base's rows stay as they are.
    squares: OnceLock<Tensor>,
}

struct LowRank {
    identity: Identity,
    changes: BTreeMap<Site, Change>,
    /// `A` `(r, V)`, `B` `(H, r)` and the scale of the change to the vectors of tokens.
    words: Option<(Tensor, Tensor, f64)>,
    dropout: f64,
}

impl Adapter for LowRank {
    fn identity(&self) -> Identity {
        self.identity
    }

    fn words(&self, ids: &[u32], x: Tensor) -> Result<Tensor> {
        let Some((a, b, scale)) = &self.words else { return Ok(x) };
        let a = a.index_select(&Tensor::new(ids, a.device())?, 1)?; // (r, N)
        Ok((x + (a.t()?.matmul(&b.t()?)? * *scale)?)?) // (N, r) (r, H)
    }

    fn linear(&self, linear: &Linear, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let Some(change) = self.changes.get(&linear.site) else { return linear.frozen(x) };
        let seen = dropout(x, self.dropout, mode, change.mask, 0)?;
        match &change.magnitude {
            None => linear.changed(x, &seen, change.low_rank()),
            // The base's part is dropped from as well, as in PEFT.
            Some(magnitude) => {
                let both = linear.unbiased().changed(&seen, &seen, change.low_rank())?;
                let gain = (magnitude / change.lengths(linear)?)?; // (out,)
                let y = both.broadcast_mul(&gain)?;
                Ok(match &linear.bias {
                    Some(bias) => y.broadcast_add(bias)?,
                    None => y,
                })
            }
        }
    }
}

impl Change {
    fn low_rank(&self) -> (&Tensor, &Tensor, f64) {
        (&self.a, &self.b, self.scale)
    }

    /// `n` `(out,)`, without making `B A`: `n² = |W0|² + 2 s (W0 Aᵀ ∘ B) 1 + s² (B A Aᵀ ∘ B) 1`. A constant for the backward.
    fn lengths(&self, linear: &Linear) -> Result<Tensor> {
        let weight = linear.weight.detach();
        let squares = match self.squares.get() {
            Some(squares) => squares.clone(),
            None => {
                let squares = weight.sqr()?.sum(1)?;
                self.squares.get_or_init(|| squares).clone()
            }
        };
        let (a, b) = (self.a.detach(), self.b.detach());
        let cross = (weight.matmul(&a.t()?)? * &b)?.sum(1)?; // (out,)
        let own = (b.matmul(&a.matmul(&a.t()?)?)? * &b)?.sum(1)?;
        let squared = ((squares + (cross * (2.0 * self.scale))?)? + (own * self.scale.powi(2))?)?;
        Ok(squared.sqrt()?)
    }
}
