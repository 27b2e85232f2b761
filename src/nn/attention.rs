//! Attention: the one place where queries meet keys, for every family, method, cache and batch layout.
//!
//! Vaswani et al. 2017, arXiv 1706.03762; grouped query heads: Ainslie et al. 2023, arXiv 2305.13245. Query head `h` reads
//! key/value head `h * nkv / nh`. A window over the nearest tokens: Beltagy et al. 2020, arXiv 2004.05150; norms on queries
//! and keys: Henry et al. 2020, arXiv 2010.04245.

use candle_core::{D, Tensor};

use super::block::{Surroundings, sum};
use super::{KvCache, Linear, Memory, Norm, Segment, kernel};
use crate::error::{Error, Result};

#[derive(Debug, Clone)]
pub struct Attention {
    pub q: Linear,
    pub k: Linear,
    pub v: Linear,
    pub o: Linear,
    /// Of each head of the queries and of the keys, before they are rotated; `(d,)` each.
    pub norms: Option<(Norm, Norm)>,
    pub heads: Heads,
    pub sight: Sight,
}

/// Which keys of its own sequence a query looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// All of them (encoders).
    All,
    /// Its own and those before it.
    Before,
    /// The nearest so many: its own and those right before it. At least 1.
    Near(usize),
}

/// How rows split into heads.
#[derive(Debug, Clone, Copy)]
pub struct Heads {
    /// `nh`, a multiple of `nkv`.
    pub query: usize,
    /// `nkv`
    pub kv: usize,
    /// `d`
    pub dim: usize,
    /// Scores are divided by its square root: `d` in nearly every model.
    pub variance: f64,
}

impl Sight {
    /// The keys, of `keys`, that query `i` of `queries` looks at; the last query sits on the last key.
    pub(super) fn of(self, i: usize, queries: usize, keys: usize) -> std::ops::Range<usize> {
        let end = (i + 1 + keys).saturating_sub(queries);
        match self {
            Self::All => 0..keys,
            Self::Before => 0..end,
            Self::Near(window) => end.saturating_sub(window)..end,
        }
    }
}

impl Attention {
    /// `(N, H) -> (N, H)`
    pub fn forward(
        &self,
        x: &Tensor,
        around: &Surroundings,
        memory: Option<&Memory>,
        cache: Option<&mut KvCache>,
    ) -> Result<Tensor> {
        let q = around.linear(&self.q, x)?; // (N, nh * d)
        let k = around.linear(&self.k, x)?; // (N, nkv * d)
        let v = around.linear(&self.v, x)?;
        let (q, k) = match &self.norms {
            Some((of_q, of_k)) => (self.normed(of_q, &q)?, self.normed(of_k, &k)?),
            None => (q, k),
        };
        let (q, k) = match around.angles(self.sight) {
            Some(angles) => (angles.rotate(&q, self.heads.query)?, angles.rotate(&k, self.heads.kv)?),
            None => (q, k),
        };
        let prefix = match memory {
            Some(Memory::Prefix { k, v }) => Some((k, v)),
            _ => None,
        };
        let mut mixed = match cache {
            Some(cache) => self.attend_cached(&q, (&k, &v), prefix, around, cache)?,
            None => {
                let (k, v, segments) = looked_at(&k, &v, prefix, around)?;
                attend(&q, &k, &v, &segments, self.heads, self.sight)?
            }
        };
        let aside = match memory {
            Some(Memory::Gated { tokens, gate }) => Some((self.project(tokens)?, gate)),
            Some(Memory::Projected { k, v, gate }) => Some(((k.clone(), v.clone()), gate)),
            _ => None,
        };
        if let Some(((k, v), gate)) = aside {
            mixed = sum(&mixed, &self.attend_gated(&q, (&k, &v), gate, around)?)?;
        }
        around.linear(&self.o, &mixed)
    }

    /// `norm` of each head of `x` `(N, heads * d)`.
    fn normed(&self, norm: &Norm, x: &Tensor) -> Result<Tensor> {
        Ok(norm.forward(&x.reshape(((), self.heads.dim))?)?.reshape(x.shape())?) // (N * heads, d)
    }

    /// Each sequence over its own cache, which keeps the new keys and values. The prefix goes in first, once.
    fn attend_cached(
        &self,
        q: &Tensor,
        (k, v): (&Tensor, &Tensor),
        prefix: Option<(&Tensor, &Tensor)>,
        around: &Surroundings,
        cache: &mut KvCache,
    ) -> Result<Tensor> {
        let fresh = (0..around.packing.len()).any(|row| cache.is_fresh(row));
        let prefix = prefix.filter(|_| fresh).map(|(k, v)| Ok::<_, Error>((as_rows(k)?, as_rows(v)?)));
        let prefix = prefix.transpose()?;
        let mut outputs = Vec::with_capacity(around.packing.len());
        for (row, range) in around.packing.ranges().enumerate() {
            let mut k = k.narrow(0, range.start, range.len())?;
            let mut v = v.narrow(0, range.start, range.len())?;
            if let Some((prefix_k, prefix_v)) = prefix.as_ref().filter(|_| cache.is_fresh(row)) {
                k = Tensor::cat(&[prefix_k, &k], 0)?;
                v = Tensor::cat(&[prefix_v, &v], 0)?;
            }
            let (k, v) = cache.append(self.q.site.layer, row, &k, &v)?; // (S, nkv * d)
            let q = q.narrow(0, range.start, range.len())?;
            let segment = Segment { queries: 0..range.len(), keys: 0..k.dim(0)? };
            outputs.push(attend(&q, &k, &v, &[segment], self.heads, self.sight)?);
        }
        Ok(if outputs.len() == 1 { outputs.remove(0) } else { Tensor::cat(&outputs, 0)? })
    }

    /// Keys and values `(n, nkv * d)` of learned vectors `(n, H)`, through the frozen projections and not rotated.
    pub fn project(&self, tokens: &Tensor) -> Result<(Tensor, Tensor)> {
        let (k, v) = (self.k.frozen(tokens)?, self.v.frozen(tokens)?);
        let k = match &self.norms {
            Some((_, of_k)) => self.normed(of_k, &k)?,
            None => k,
        };
        Ok((k, v))
    }

    /// LLaMA-Adapter: learned keys and values `(n, nkv * d)`, under a softmax of their own.
    fn attend_gated(
        &self,
        q: &Tensor,
        (k, v): (&Tensor, &Tensor),
        gate: &Tensor,
        around: &Surroundings,
    ) -> Result<Tensor> {
        let keys = 0..k.dim(0)?;
        let segments: Vec<_> =
            around.packing.ranges().map(|queries| Segment { queries, keys: keys.clone() }).collect();
        let mixed = attend(q, k, v, &segments, self.heads, Sight::All)?; // (N, nh * d)
        let per_head = mixed.reshape(((), self.heads.query, self.heads.dim))?;
        let gate = gate.reshape((1, self.heads.query, 1))?;
        Ok(per_head.broadcast_mul(&gate)?.reshape(mixed.shape())?)
    }
}

/// `(nkv, n, d) -> (n, nkv * d)`
fn as_rows(heads: &Tensor) -> Result<Tensor> {
    let (kv, n, d) = heads.dims3()?;
    Ok(heads.transpose(0, 1)?.reshape((n, kv * d))?)
}

/// Keys and values as each sequence looks at them: those of what it goes on with before its own, and the prefix before all.
fn looked_at(
    k: &Tensor,
    v: &Tensor,
    prefix: Option<(&Tensor, &Tensor)>,
    around: &Surroundings,
) -> Result<(Tensor, Tensor, Vec<Segment>)> {
    let (mut k, mut v, mut keys) = match around.packing.seen() {
        // A row that several look at gets the sum of what they have to say of it.
        Some((rows, seen)) => {
            let rows = Tensor::new(rows, k.device())?;
            (k.index_select(&rows, 0)?, v.index_select(&rows, 0)?, seen)
        }
        None if prefix.is_none() => return Ok((k.clone(), v.clone(), around.packing.to_itself())),
        None => (k.clone(), v.clone(), around.packing.clone()),
    };
    if let Some((prefix_k, prefix_v)) = prefix {
        let (prefix_k, prefix_v) = (as_rows(prefix_k)?, as_rows(prefix_v)?);
        (k, v) = (keys.behind(&prefix_k, &k)?, keys.behind(&prefix_v, &v)?);
        keys = keys.widened(prefix_k.dim(0)?);
    }
    let segments = around.packing.ranges().zip(keys.ranges());
    let segments = segments.map(|(queries, keys)| Segment { queries, keys }).collect();
    Ok((k, v, segments))
}

/// `softmax(q kᵀ / √variance + mask) v` for each segment and head.
///
/// `q` `(N, nh * d)`, `k` and `v` `(S, nkv * d)` -> `(N, nh * d)`. The segments' queries cover `q` in order.
pub(super) fn attend(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    segments: &[Segment],
    heads: Heads,
    sight: Sight,
) -> Result<Tensor> {
    if kernel::applies(&[q, k, v]) {
        return Ok(kernel::attention(q, k, v, segments, heads, sight)?);
    }
    attend_composed(q, k, v, segments, heads, sight)
}

pub(super) fn attend_composed(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    segments: &[Segment],
    heads: Heads,
    sight: Sight,
) -> Result<Tensor> {
    let group = heads.query / heads.kv;
    let scale = 1.0 / heads.variance.sqrt();
    let mut outputs = Vec::with_capacity(segments.len());
    for segment in segments.iter().filter(|segment| !segment.queries.is_empty()) {
        let (t, s) = (segment.queries.len(), segment.keys.len());
        let kv_heads = |x: &Tensor| -> Result<Tensor> {
            let x = x.narrow(0, segment.keys.start, s)?.reshape((s, heads.kv, heads.dim))?;
            Ok(x.transpose(0, 1)?.contiguous()?) // (nkv, S, d)
        };
        let q = q.narrow(0, segment.queries.start, t)?.reshape((t, heads.kv, group, heads.dim))?;
        let q = q.permute((1, 2, 0, 3))?.reshape((heads.kv, group * t, heads.dim))?; // one group of queries a kv head
        let scores = (q.matmul(&kv_heads(k)?.transpose(1, 2)?)? * scale)?; // (nkv, group * T, S)
        let scores = scores.reshape((heads.kv, group, t, s))?;
        let all_see_all = (0..t).all(|i| sight.of(i, t, s) == (0..s));
        let scores =
            if all_see_all { scores } else { scores.broadcast_add(&mask(sight, t, s, q.device())?)? };
        let weights = candle_nn::ops::softmax(&scores, D::Minus1)?.reshape((heads.kv, group * t, s))?;
        let mixed = weights.matmul(&kv_heads(v)?)?.reshape((heads.kv, group, t, heads.dim))?;
        outputs.push(mixed.permute((2, 0, 1, 3))?.reshape((t, heads.query * heads.dim))?);
    }
    Ok(Tensor::cat(&outputs, 0)?)
}

/// `(T, S)`: 0 where query `i` looks at key `j`, minus infinity elsewhere.
fn mask(sight: Sight, t: usize, s: usize, device: &candle_core::Device) -> Result<Tensor> {
    let cell = |i: usize, j: usize| if sight.of(i, t, s).contains(&j) { 0f32 } else { f32::NEG_INFINITY };
    let cells: Vec<f32> = (0..t).flat_map(|i| (0..s).map(move |j| cell(i, j))).collect();
    Ok(Tensor::from_vec(cells, (t, s), device)?)
}
