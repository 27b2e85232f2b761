//! One transformer for every family: embeddings, blocks, final norm, head.

use std::ops::Range;

use candle_core::{Device, Tensor};

use super::batch::Batch;
use super::config::{Config, Positions};
use super::loader::Loader;
use super::weights::Weights;
use crate::error::{Error, Result};
use crate::nn::{
    Adapter, Angles, Block, KvCache, Linear, Memory, Mode, Norm, Packing, Pass, Precision, Rope, RopeScaling,
    Site, Surroundings,
};

/// A loaded network. `forward` keeps no state, so many requests may share one.
pub struct Transformer {
    pub config: Config,
    embedding: Embedding,
    blocks: Vec<Block>,
    final_norm: Option<Norm>,
    /// May share the embedding table.
    head: Linear,
    rope: Option<Rope>,
    /// Of layers that see only what is near.
    near_rope: Option<Rope>,
    device: Device,
}

/// One pass on its way through the blocks.
struct Journey<'a> {
    adapter: &'a dyn Adapter,
    cache: Option<&'a mut KvCache>,
    mode: Mode,
    /// What attention may look at besides the tokens, a layer each.
    memories: Vec<Option<Memory>>,
    /// The rows of the longest prefix among them.
    prefix: usize,
    /// `(n, H)`, put before each sequence.
    prompt: Option<Tensor>,
    virtual_rows: usize,
    /// Of the sequences behind their virtual rows.
    packing: Packing,
    positions: Vec<u32>,
    angles: Option<Angles>,
    near_angles: Option<Angles>,
}

pub(super) struct Embedding {
    /// `(V, H)`
    pub words: Tensor,
    /// What `words` are multiplied by on the way in.
    pub scale: f64,
    /// `(context, H)`, from the first that a text uses.
    pub positions: Option<Tensor>,
    /// A vector a token type, which tells the two texts of a pair apart.
    pub token_types: Option<Tensor>,
    pub norm: Option<Norm>,
}

impl Transformer {
    /// Takes the weights `config` calls for.
    ///
    /// # Errors
    /// `Corrupt`, naming the tensor, when one is missing or has another shape.
    pub fn load(config: Config, weights: &mut Weights, device: &Device) -> Result<Self> {
        let names = config.family.names();
        weights.locate_trunk(names.trunk, names.embedding);
        let loader = Loader { config: &config, names, weights };
        let embedding = loader.embedding()?;
        let blocks = (0..config.shape.layers).map(|layer| loader.block(layer)).collect::<Result<_>>()?;
        let final_norm = names.final_norm.map(|name| loader.norm(name, config.shape.hidden)).transpose()?;
        let head = match names.head {
            Some(name) if !config.tied_head => loader.head(name)?,
            _ => Linear::new(Site::head(), embedding.words.clone(), None),
        };
        let rope = match &config.positions {
            Positions::Rotary { theta, scaling } => Some(Rope::new(config.shape.head_dim, *theta, scaling)),
            Positions::Learned { .. } => None,
        };
        let near = config.near.as_ref().filter(|_| rope.is_some());
        let near_rope = near.map(|near| Rope::new(config.shape.head_dim, near.theta, &RopeScaling::None));
        Ok(Self { embedding, blocks, final_norm, head, rope, near_rope, device: device.clone(), config })
    }

    /// The same network, for being asked and not trained, with weights in small integers: see [`Linear::quantised`].
    ///
    /// # Errors
    /// When there is no memory for the copies.
    pub fn quantised(self, precision: Precision) -> Result<Self> {
        let blocks =
            self.blocks.into_iter().map(|block| block.quantised(precision)).collect::<Result<_>>()?;
        // Nobody asks an encoder for the next word.
        let head = if self.config.causal { self.head.quantised(precision)? } else { self.head };
        Ok(Self { blocks, head, ..self })
    }

    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The final hidden state of each token, `(N, H)`. With a cache the batch continues the cached sequences, one for one
    /// or as [`crate::nn::KvCache::branching`] says.
    ///
    /// # Errors
    /// `TooLong` beyond the model's context, `Mismatch` when another adapter filled the cache, `Invalid` for ids the
    /// vocabulary lacks.
    pub fn forward(&self, batch: &Batch, pass: Pass) -> Result<Tensor> {
        let mut journey = self.journey(batch, pass)?;
        let x = self.enter(batch, &journey)?;
        let x = self.through(0..self.blocks.len(), x, &mut journey)?;
        self.leave(x, journey)
    }

    /// What leaves the lowest `layers` blocks, for [`Self::forward_from`]: `(N, H)`, the adapter's rows before those of each
    /// sequence.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn trunk(&self, layers: usize, batch: &Batch, adapter: &dyn Adapter) -> Result<Tensor> {
        let mut journey = self.journey(batch, Pass { adapter, cache: None, mode: Mode::Eval })?;
        let x = self.enter(batch, &journey)?;
        self.through(0..layers.min(self.blocks.len()), x, &mut journey)
    }

    /// [`Self::forward`] of what the lowest `layers` blocks made of `batch`.
    ///
    /// # Errors
    /// As [`Self::forward`]; `Invalid` when `trunk` has not the rows of `batch`.
    pub fn forward_from(&self, layers: usize, trunk: &Tensor, batch: &Batch, pass: Pass) -> Result<Tensor> {
        let mut journey = self.journey(batch, pass)?;
        if trunk.dims() != [journey.packing.rows(), self.config.shape.hidden] {
            return Err(Error::invalid(format!("{:?} is no trunk of this batch", trunk.shape())));
        }
        let x =
            self.through(layers.min(self.blocks.len())..self.blocks.len(), trunk.clone(), &mut journey)?;
        self.leave(x, journey)
    }

    /// Looks where the pass starts, and asks the adapter what it brings.
    fn journey<'a>(&self, batch: &Batch, pass: Pass<'a>) -> Result<Journey<'a>> {
        let Pass { adapter, mut cache, mode } = pass;
        self.check(batch)?;
        if let Some(cache) = cache.as_deref_mut() {
            cache.claim(adapter.identity())?;
            if !cache.takes(batch.packing.len()) {
                return Err(Error::invalid("the batch and the cache hold different numbers of sequences"));
            }
        }
        let memories =
            (0..self.blocks.len()).map(|layer| adapter.memory(layer)).collect::<Result<Vec<_>>>()?;
        let prefix = memories.iter().map(prefix_rows).max().unwrap_or(0);
        let fresh =
            cache.as_deref().is_none_or(|cache| (0..cache.sequences()).all(|row| cache.is_empty(row)));
        let prompt = if fresh { adapter.prompt()? } else { None };
        let virtual_rows = prompt.as_ref().map_or(Ok(0), |prompt| prompt.dim(0))?;

        if virtual_rows > 0 && cache.as_deref().is_some_and(|cache| cache.is_branch(batch.packing.len() - 1))
        {
            return Err(Error::invalid(
                "an adapter with rows of its own lets nothing branch off an empty cache",
            )
            .hint("read the trunk in a pass before"));
        }
        if cache.is_some() && batch.packing.is_branching() {
            return Err(Error::invalid("sequences that share a beginning are read without a cache"));
        }
        let packing = batch.packing.widened(virtual_rows);
        // A token's position counts what is cached before it, prefix rows included.
        let start = |row: usize| match cache.as_deref() {
            Some(cache) if !cache.is_empty(row) => cache.length(row),
            _ => prefix,
        };
        let lengths: Vec<usize> = packing.ranges().map(|rows| rows.len()).collect();
        let trunk = lengths.first().copied().unwrap_or(0);
        let start = |row: usize| match (cache.as_deref(), packing.root(row)) {
            (Some(cache), _) if cache.is_branch(row) => start(0) + trunk,
            (_, Some(root)) => start(root) + lengths[root],
            _ => start(row),
        };
        let starts: Vec<usize> = (0..packing.len()).map(start).collect();
        let positions = self.positions(&packing, &starts)?;
        let angles = |rope: &Option<Rope>| -> Result<Option<Angles>> {
            rope.as_ref().map(|rope| rope.angles(&positions, &self.device)).transpose()
        };
        let (angles, near_angles) = (angles(&self.rope)?, angles(&self.near_rope)?);
        Ok(Journey {
            adapter,
            cache,
            mode,
            memories,
            prefix,
            prompt,
            virtual_rows,
            packing,
            positions,
            angles,
            near_angles,
        })
    }

    /// What enters the first block: `(N, H)`, virtual rows in place.
    fn enter(&self, batch: &Batch, journey: &Journey) -> Result<Tensor> {
        let types = types(batch, journey.virtual_rows);
        let words = self.embed(batch, journey)?;
        self.embedding.finish(words, &journey.positions, &types, &self.device)
    }

    fn through(&self, layers: Range<usize>, mut x: Tensor, journey: &mut Journey) -> Result<Tensor> {
        let around = Surroundings {
            adapter: journey.adapter,
            mode: journey.mode,
            packing: &journey.packing,
            angles: journey.angles.as_ref(),
            near_angles: journey.near_angles.as_ref(),
        };
        for (block, memory) in self.blocks[layers.clone()].iter().zip(&journey.memories[layers]) {
            x = block.forward(&x, &around, memory.as_ref(), journey.cache.as_deref_mut())?;
        }
        Ok(x)
    }

    /// What the last block gave, as heads take it.
    fn leave(&self, mut x: Tensor, journey: Journey) -> Result<Tensor> {
        let Journey { cache, prefix, virtual_rows, packing, .. } = journey;
        if let Some(cache) = cache {
            for (row, range) in packing.ranges().enumerate().take(cache.sequences()) {
                let prefix = if cache.is_empty(row) { prefix } else { 0 };
                cache.advance(row, prefix + range.len());
            }
        }
        if virtual_rows > 0 {
            x = drop_virtual_rows(&x, &packing, virtual_rows)?;
        }
        match &self.final_norm {
            Some(norm) => norm.forward(&x),
            None => Ok(x),
        }
    }

    /// Next-token logits of hidden states: `(n, H) -> (n, V)`.
    pub fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        self.head.frozen(hidden)
    }

    /// The output matrix `(V, H)`, which may be the embedding table.
    pub fn head(&self) -> &Linear {
        &self.head
    }

    /// As [`Config::parameters`].
    pub fn parameters(&self) -> usize {
        self.config.parameters()
    }

    fn check(&self, batch: &Batch) -> Result<()> {
        let vocab = self.config.shape.vocab as u32;
        if let Some(id) = batch.ids.iter().find(|&&id| id >= vocab) {
            return Err(Error::invalid(format!(
                "token id {id} lies outside the model's vocabulary of {vocab}"
            ))
            .hint("tokenizer and model are not of one pair"));
        }
        let types = self.embedding.token_types.as_ref().map_or(Ok(usize::MAX), |table| table.dim(0))?;
        if let Some(kind) = batch.types.iter().find(|&&kind| kind as usize >= types) {
            return Err(Error::invalid(format!("token type {kind} lies outside the model's {types}"))
                .hint("tokenizer and model are not of one pair"));
        }
        if batch.ids.is_empty() {
            return Err(Error::invalid("an empty batch has no hidden states"));
        }
        Ok(())
    }

    /// Tokens that a sequence may have beside the rows that `adapter` brings.
    ///
    /// # Errors
    /// Those of the adapter.
    pub fn room(&self, adapter: &dyn Adapter) -> Result<usize> {
        let prompt = adapter.prompt()?.map_or(Ok(0), |prompt| prompt.dim(0))?;
        let mut prefix = 0;
        for layer in 0..self.config.shape.layers {
            prefix = prefix.max(prefix_rows(&adapter.memory(layer)?));
        }
        Ok(self.config.context.saturating_sub(prompt + prefix))
    }

    /// The position of each row.
    fn positions(&self, packing: &Packing, starts: &[usize]) -> Result<Vec<u32>> {
        let mut positions = Vec::with_capacity(packing.rows());
        for (range, start) in packing.ranges().zip(starts) {
            let end = start + range.len();
            if end > self.config.context {
                return Err(Error::too_long(format!(
                    "{end} tokens do not fit the model's context of {}",
                    self.config.context
                )));
            }
            positions.extend((*start..end).map(|position| position as u32));
        }
        Ok(positions)
    }

    /// Keys and values `(n, nkv * d)` that attention in `layer` makes of learned vectors `(n, H)`: see
    /// [`Memory::Projected`].
    ///
    /// # Errors
    /// `Invalid` when there is no such layer.
    pub fn project(&self, layer: usize, tokens: &Tensor) -> Result<(Tensor, Tensor)> {
        let block = self.blocks.get(layer);
        block
            .ok_or_else(|| Error::invalid(format!("the model has no layer {layer}")))?
            .attention
            .project(tokens)
    }

    pub(super) fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// The word vectors of `ids`, `(n, H)`.
    pub(super) fn look_up(&self, ids: &[u32], adapter: &dyn Adapter) -> Result<Tensor> {
        let words = self.embedding.words.index_select(&Tensor::new(ids, &self.device)?, 0)?;
        let words = adapter.words(ids, words)?;
        let scale = self.embedding.scale;
        Ok(if scale == 1.0 { words } else { (words * scale)? })
    }

    /// Word embeddings `(N, H)`, the adapter's rows before those of each sequence.
    fn embed(&self, batch: &Batch, journey: &Journey) -> Result<Tensor> {
        let words = self.look_up(&batch.ids, journey.adapter)?;
        match &journey.prompt {
            Some(prompt) => batch.packing.behind(prompt, &words),
            None => Ok(words),
        }
    }
}

fn prefix_rows(memory: &Option<Memory>) -> usize {
    match memory {
        Some(Memory::Prefix { k, .. }) => k.dims()[1],
        _ => 0,
    }
}

/// The token type of each row; the adapter's own have type 0.
fn types(batch: &Batch, virtual_rows: usize) -> Vec<u32> {
    if batch.types.is_empty() {
        return Vec::new();
    }
    let own = std::iter::repeat_n(0, virtual_rows);
    batch.packing.ranges().flat_map(|range| own.clone().chain(batch.types[range].iter().copied())).collect()
}

/// Cuts the adapter's rows off again: heads, losses and decoding never see them.
fn drop_virtual_rows(x: &Tensor, packing: &Packing, n: usize) -> Result<Tensor> {
    let kept = packing.ranges().enumerate().map(|(at, range)| {
        let n = packing.before(at, n);
        x.narrow(0, range.start + n, range.len() - n)
    });
    Ok(Tensor::cat(&kept.collect::<Result<Vec<_>, _>>()?, 0)?)
}

impl Embedding {
    /// Adds what stands between the word vectors and the first block.
    fn finish(&self, words: Tensor, positions: &[u32], types: &[u32], device: &Device) -> Result<Tensor> {
        let mut x = words;
        if let Some(table) = &self.positions {
            x = (x + table.index_select(&Tensor::new(positions, device)?, 0)?)?;
        }
        if let Some(table) = &self.token_types {
            x = match types {
                [] => x.broadcast_add(&table.narrow(0, 0, 1)?)?,
                types => (x + table.index_select(&Tensor::new(types, device)?, 0)?)?,
            };
        }
        match &self.norm {
            Some(norm) => norm.forward(&x),
            None => Ok(x),
        }
    }
}
