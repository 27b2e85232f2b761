//! Attention over the segments of a packed batch, a block of queries at a time.
//!
//! For each segment and head: `P = softmax(s q kᵀ + mask)`, `o = P v`, with `s = 1 / √d` unless the model says otherwise. Only
//! a block of [`BLOCK`] rows of `P` exists at a time, and under a causal mask or a window only the columns such a block can
//! see. The backward computes `P` again instead of keeping it: `dv = Pᵀ g`, `dS = P ∘ (g vᵀ - rowsum(P ∘ g vᵀ))`,
//! `dq = s dS k`, `dk = s dSᵀ q`. Recomputing rather than storing: Dao et al. 2022, arXiv 2205.14135; grouped heads: Ainslie
//! et al. 2023, arXiv 2305.13245.
//!
//! Queries belong to one segment each, but keys may be shared (learned tokens that every sequence looks at) or outnumber
//! the queries (a cache, a prefix). Segments whose keys overlap form a cluster, and one thread adds up all the gradients of
//! one cluster's keys for one key/value head, in the segments' order: no locks, and sums that always come out the same.

use std::ops::Range;

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::gemm::{Matrix, MatrixMut, Old, Shared, Threads, multiply};
use super::parallel::may_split;
use super::{simd, values};
use crate::nn::{Heads, Segment, Sight};

/// Queries whose weights exist at a time: their rows of `P` stay in the cache between the two products.
const BLOCK: usize = 64;

/// Scores below which a segment is not worth another thread.
const WORTH_SPLITTING: usize = 16 * 1024;

/// `q` `(N, nh * d)`, `k` and `v` `(S, nkv * d)` -> `(N, nh * d)`. The segments' queries cover `q` in order; where not
/// all is seen, a segment's last query sits on its last key.
pub fn attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    segments: &[Segment],
    heads: Heads,
    sight: Sight,
) -> Result<Tensor> {
    let ((queries, q_width), (keys, k_width)) = (q.dims2()?, k.dims2()?);
    let fits = heads.kv > 0
        && heads.query.is_multiple_of(heads.kv)
        && q_width == heads.query * heads.dim
        && k_width == heads.kv * heads.dim
        && v.dims2()? == (keys, k_width);
    if !fits {
        candle_core::bail!(
            "attention: q {:?}, k {:?}, v {:?} do not fit {heads:?}",
            q.shape(),
            k.shape(),
            v.shape()
        );
    }
    let mut end = 0;
    for segment in segments {
        let ordered = segment.queries.start == end && segment.queries.end >= end;
        let inside = segment.keys.start <= segment.keys.end && segment.keys.end <= keys;
        let placed =
            sight == Sight::All || segment.queries.len() <= segment.keys.len() || segment.queries.is_empty();
        if !(ordered && inside && placed) {
            candle_core::bail!("attention: {segment:?} does not fit {queries} queries and {keys} keys");
        }
        end = segment.queries.end;
    }
    if end != queries {
        candle_core::bail!("attention: segments cover {end} of {queries} queries");
    }
    let op = Attention { segments: segments.to_vec(), heads, sight };
    q.contiguous()?.apply_op3(&k.contiguous()?, &v.contiguous()?, op)
}

struct Attention {
    segments: Vec<Segment>,
    heads: Heads,
    sight: Sight,
}

/// Queries computed together: rows of a matrix in `q` and the output.
struct Block {
    /// Rows and columns of `q` and `o`.
    rows: Range<usize>,
    columns: Range<usize>,
    /// Keys any row sees.
    keys: Range<usize>,
    sight: Sight,
    /// The first row's number among the segment's queries, how many those are, and how many keys the segment has.
    start: usize,
    queries: usize,
    all_keys: usize,
    /// Where `keys` begins among the segment's.
    before: usize,
}

impl Block {
    /// Of `keys`, those row `i` of the block sees.
    fn visible(&self, i: usize) -> Range<usize> {
        let seen = self.sight.of(self.start + i, self.queries, self.all_keys);
        seen.start - self.before..seen.end - self.before
    }
}

impl Attention {
    /// The blocks of one segment that read key/value head `kv`.
    fn blocks<'a>(&'a self, segment: &'a Segment, kv: usize) -> impl Iterator<Item = Block> + 'a {
        let group = self.heads.query / self.heads.kv;
        let (queries, keys) = (segment.queries.len(), segment.keys.len());
        (kv * group..(kv + 1) * group).flat_map(move |head| {
            (0..queries).step_by(BLOCK).map(move |start| {
                let end = queries.min(start + BLOCK);
                let seen = |i| self.sight.of(i, queries, keys);
                let (before, last) = (seen(start).start, seen(end - 1).end);
                Block {
                    rows: segment.queries.start + start..segment.queries.start + end,
                    columns: self.columns(head),
                    keys: segment.keys.start + before..segment.keys.start + last,
                    sight: self.sight,
                    start,
                    queries,
                    all_keys: keys,
                    before,
                }
            })
        })
    }

    fn columns(&self, head: usize) -> Range<usize> {
        head * self.heads.dim..(head + 1) * self.heads.dim
    }

    fn scale(&self) -> f32 {
        (1.0 / self.heads.variance.sqrt()) as f32
    }

    /// The weights of one block, rows of `block.keys.len()` values in `p`.
    fn weights<'p>(&self, block: &Block, q: Matrix, k: Matrix, p: &'p mut Vec<f32>) -> &'p mut [f32] {
        let (rows, keys) = (block.rows.len(), block.keys.len());
        if p.len() < rows * keys {
            p.resize(rows * keys, 0.0);
        }
        let p = &mut p[..rows * keys];
        multiply(&mut MatrixMut::new(p, rows, keys), Old::Replaced, self.scale(), q, k.t(), Threads::One);
        for (i, row) in p.chunks_exact_mut(keys.max(1)).enumerate() {
            let visible = block.visible(i);
            row[..visible.start].fill(0.0);
            row[visible.end..].fill(0.0);
            simd::softmax(&mut row[visible]);
        }
        p
    }

    fn forward(&self, q: &[f32], k: &[f32], v: &[f32]) -> Vec<f32> {
        let mut o = vec![0.0; q.len()];
        let (q_width, k_width) = (self.heads.query * self.heads.dim, self.heads.kv * self.heads.dim);
        let (q, k, v) = (Matrix::new(q, q_width), Matrix::new(k, k_width), Matrix::new(v, k_width));
        let out = Shared::new(&mut o, q_width);
        let run = |p: &mut Vec<f32>, (segment, kv): (&Segment, usize)| {
            let columns = self.columns(kv);
            for block in self.blocks(segment, kv).filter(|block| !block.keys.is_empty()) {
                let (k, v) = (
                    k.window(block.keys.clone(), columns.clone()),
                    v.window(block.keys.clone(), columns.clone()),
                );
                let q = q.window(block.rows.clone(), block.columns.clone());
                let p = self.weights(&block, q, k, p);
                // SAFETY: no two blocks share a row of one query head, and segments share no queries.
                let mut o = unsafe { out.window(block.rows.clone(), block.columns.clone()) };
                let p = Matrix::new(p, block.keys.len());
                multiply(&mut o, Old::Replaced, 1.0, p, v, Threads::One);
            }
        };
        let tasks: Vec<_> = self
            .segments
            .iter()
            .flat_map(|segment| (0..self.heads.kv).map(move |kv| (segment, kv)))
            .collect();
        self.each(&tasks, |p, &task| run(p, task));
        o
    }

    /// `(dq, dk, dv)`
    fn backward(&self, q: &[f32], k: &[f32], v: &[f32], g: &[f32]) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
        let (mut dq, mut dk, mut dv) = (vec![0.0; q.len()], vec![0.0; k.len()], vec![0.0; v.len()]);
        let (q_width, k_width) = (self.heads.query * self.heads.dim, self.heads.kv * self.heads.dim);
        let (q, k, v) = (Matrix::new(q, q_width), Matrix::new(k, k_width), Matrix::new(v, k_width));
        let g = Matrix::new(g, q_width);
        let (dqs, dks, dvs) =
            (Shared::new(&mut dq, q_width), Shared::new(&mut dk, k_width), Shared::new(&mut dv, k_width));
        let clusters = clusters(&self.segments);
        let run = |p: &mut Vec<f32>, (cluster, kv): (&[&Segment], usize)| {
            let columns = self.columns(kv);
            let mut dp = Vec::new();
            let blocks = cluster.iter().flat_map(|segment| self.blocks(segment, kv));
            for block in blocks.filter(|block| !block.keys.is_empty()) {
                let (k, v) = (
                    k.window(block.keys.clone(), columns.clone()),
                    v.window(block.keys.clone(), columns.clone()),
                );
                let (q, g) = (
                    q.window(block.rows.clone(), block.columns.clone()),
                    g.window(block.rows.clone(), block.columns.clone()),
                );
                // SAFETY: queries are in one segment and query heads in one group, so no other task has this window;
                // keys of different clusters do not overlap, so no other task has these either; and blocks of one task
                // come one after another.
                let (mut dq, mut dk, mut dv) = unsafe {
                    (
                        dqs.window(block.rows.clone(), block.columns.clone()),
                        dks.window(block.keys.clone(), columns.clone()),
                        dvs.window(block.keys.clone(), columns.clone()),
                    )
                };
                let (rows, keys) = (block.rows.len(), block.keys.len());
                dp.resize(rows * keys, 0.0);
                let p = self.weights(&block, q, k, p);
                multiply(&mut dv, Old::Added, 1.0, Matrix::new(p, keys).t(), g, Threads::One);
                multiply(
                    &mut MatrixMut::new(&mut dp, rows, keys),
                    Old::Replaced,
                    1.0,
                    g,
                    v.t(),
                    Threads::One,
                );
                // Where a weight is 0 because its key is not seen, its score's gradient is 0 as well.
                for (i, (p, dp)) in p.chunks_exact_mut(keys).zip(dp.chunks_exact(keys)).enumerate() {
                    let visible = block.visible(i);
                    simd::softmax_backward(&mut p[visible.clone()], &dp[visible]);
                }
                let ds = Matrix::new(p, keys);
                multiply(&mut dq, Old::Replaced, self.scale(), ds, k, Threads::One);
                multiply(&mut dk, Old::Added, self.scale(), ds.t(), q, Threads::One);
            }
        };
        let tasks: Vec<(&[&Segment], usize)> = clusters
            .iter()
            .flat_map(|cluster| (0..self.heads.kv).map(move |kv| (&cluster[..], kv)))
            .collect();
        self.each(&tasks, |p, &task| run(p, task));
        (dq, dk, dv)
    }

    /// Runs the tasks, each with room for weights, on as many threads as that is worth.
    fn each<T: Sync>(&self, tasks: &[T], run: impl Fn(&mut Vec<f32>, &T) + Sync) {
        let scores: usize =
            self.segments.iter().map(|segment| segment.queries.len() * segment.keys.len()).sum();
        if tasks.len() > 1 && may_split() && scores * self.heads.query >= WORTH_SPLITTING {
            tasks.par_iter().with_max_len(1).for_each_init(Vec::new, &run);
        } else {
            let mut room = Vec::new();
            tasks.iter().for_each(|task| run(&mut room, task));
        }
    }
}

/// Segments grouped so that keys of different groups do not overlap; the order within a group is the segments' own.
fn clusters(segments: &[Segment]) -> Vec<Vec<&Segment>> {
    let mut order: Vec<usize> = (0..segments.len()).filter(|&i| !segments[i].keys.is_empty()).collect();
    order.sort_by_key(|&i| (segments[i].keys.start, i));
    let mut clusters: Vec<Vec<usize>> = Vec::new();
    let mut end = 0;
    for i in order {
        let keys = &segments[i].keys;
        match clusters.last_mut() {
            Some(cluster) if keys.start < end => cluster.push(i),
            _ => clusters.push(vec![i]),
        }
        end = end.max(keys.end);
    }
    let in_order = |mut cluster: Vec<usize>| {
        cluster.sort_unstable();
        cluster.into_iter().map(|i| &segments[i]).collect()
    };
    clusters.into_iter().map(in_order).collect()
}

impl CustomOp3 for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(
        &self,
        q: &CpuStorage,
        q_layout: &Layout,
        k: &CpuStorage,
        k_layout: &Layout,
        v: &CpuStorage,
        v_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (q, k, v) =
            (values::slice(q, q_layout)?, values::slice(k, k_layout)?, values::slice(v, v_layout)?);
        values::output(self.forward(q, k, v), q_layout.shape())
    }

    fn bwd(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        _o: &Tensor,
        g: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (dq, dk, dv) = values::with(q, |q| {
            values::with(k, |k| values::with(v, |v| values::with(g, |g| Ok(self.backward(q, k, v, g)))))
        })?;
        let wanted =
            |like: &Tensor, values| like.track_op().then(|| values::tensor(values, like)).transpose();
        Ok((wanted(q, dq)?, wanted(k, dk)?, wanted(v, dv)?))
    }
}

#[cfg(test)]
mod tests;
