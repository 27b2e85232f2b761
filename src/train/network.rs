//! From rows to a loss: the one place where the trainer meets a model.

use candle_core::Tensor;
use rayon::prelude::*;

use super::gradients::Gradients;
use super::micro::{Micro, micros};
use super::objective::{self, Measured, Metrics, Seen};
use super::row::Row;
use super::trunk::Trunk;
use super::{Subject, TrainConfig};
use crate::error::Result;
use crate::nn::{Mode, Pass, kernel};

/// Bytes that the gradients of all threads together may take where each has its own.
const ROOM_FOR_GRADIENTS: usize = 256 << 20;

/// A subject and the rows it is shown, with what is remembered of them.
pub struct Network<'a> {
    pub subject: &'a Subject<'a>,
    pub data: &'a [Row],
    trunk: Option<Trunk>,
}

/// What came of rows that nothing is learned from.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// The mean over all targets.
    pub loss: f64,
    pub metrics: Metrics,
}

/// Means over the targets of a step.
#[derive(Debug, Default)]
pub struct Gathered {
    pub loss: f64,
    pub metrics: Metrics,
}

impl<'a> Network<'a> {
    /// `room` bytes are for the trunk; none where there is no trunk to keep.
    pub fn new(subject: &'a Subject<'a>, data: &'a [Row], room: Option<usize>) -> Self {
        let trunk = room.filter(|_| subject.untouched > 0).map(|room| Trunk::new(subject.untouched, room));
        Self { subject, data, trunk }
    }

    /// Whether what rows begin with is computed once for all that begin so: of a model that reads from left to right, whose trunk is
    /// not kept row by row.
    fn shares(&self) -> bool {
        self.trunk.is_none() && self.subject.model.transformer.config.causal
    }

    /// `micro` in a part for each thread, where that pays: a piece with rows for all of them, whose gradients may exist once a
    /// part if there are `gradients`.
    pub fn parts(&self, micro: Micro, gradients: bool) -> Vec<Micro> {
        let threads = rayon::current_num_threads();
        let size = if gradients { self.subject.params.count() * size_of::<f32>() } else { 0 };
        let apart = self.subject.model.transformer.device().is_cpu() && size * threads <= ROOM_FOR_GRADIENTS;
        micro.split(self.data, if apart { threads } else { 1 })
    }

    /// The final hidden states of `micro`, `(N, H)`.
    fn hidden(&self, micro: &Micro, mode: Mode) -> Result<Tensor> {
        let Subject { model, adapter, .. } = *self.subject;
        let pass = Pass { adapter, cache: None, mode };
        match &self.trunk {
            None => model.transformer.forward(&micro.batch, pass),
            Some(trunk) => {
                let stream = trunk.of(&model.transformer, adapter, self.data, micro)?;
                model.transformer.forward_from(trunk.layers, &stream, &micro.batch, pass)
            }
        }
    }

    /// What the objective makes of `micro`.
    pub fn measure(&self, micro: &Micro, mode: Mode) -> Result<Measured> {
        let Subject { model, adapter, objective, .. } = *self.subject;
        if let (Some(trunk), Some(token)) = (&self.trunk, objective.reads())
            && trunk.layers == model.transformer.config.shape.layers
        {
            // Nothing in the network is trained: what the objective reads of a row stays the same, and is little.
            let hidden = trunk.tokens(&model.transformer, adapter, self.data, micro, token)?;
            let piece = &micro.of_one_token_each();
            return objective.measure(&Seen {
                model,
                adapter,
                piece,
                rows: self.data,
                hidden: &hidden,
                mode,
            });
        }
        let hidden = self.hidden(micro, mode)?;
        objective.measure(&Seen { model, adapter, piece: micro, rows: self.data, hidden: &hidden, mode })
    }

    /// `weight` times the loss over the rows numbered `chosen` and its gradients, piece by piece; of no use where the loss is no
    /// number.
    pub fn gather(
        &self,
        chosen: &[usize],
        weight: f64,
        config: &TrainConfig,
        number: usize,
    ) -> Result<(Gathered, Gradients)> {
        let pieces = micros(self.data, chosen, config.micro_tokens, self.shares());
        let Subject { params, objective, .. } = *self.subject;
        let targets: usize = pieces.iter().map(|piece| objective.targets(piece)).sum();
        let (mut gradients, mut gathered, mut before) = (Gradients::default(), Gathered::default(), 0);
        for piece in pieces {
            let parts = self.parts(piece, true);
            let computed = side_by_side(&parts, |at, part| {
                let micro_batch = (before + at) as u64;
                let mode = Mode::Train { seed: config.seed, step: number as u64, micro_batch };
                let share = objective.targets(part) as f64 / targets as f64;
                let Measured { loss, metrics } = self.measure(part, mode)?;
                let loss = (loss * (weight * share))?;
                let value = f64::from(loss.to_scalar::<f32>()?);
                let gradients = match value.is_finite() {
                    true => Gradients::of(params, &mut loss.backward()?)?,
                    false => Gradients::default(),
                };
                Ok((value, metrics, share, gradients))
            })?;
            for (part, metrics, share, contributed) in computed {
                gathered.loss += part;
                objective::add(&mut gathered.metrics, metrics, share);
                gradients.add(contributed)?;
            }
            if !gathered.loss.is_finite() {
                break;
            }
            before += parts.len();
        }
        Ok((gathered, gradients))
    }

    /// The loss over all rows numbered `chosen`, in pieces of at most `most` tokens; `None` when `on`, told before each piece
    /// which of how many it is, breaks off.
    pub fn judge(
        &self,
        chosen: &[usize],
        most: usize,
        on: &mut dyn FnMut(usize, usize) -> bool,
    ) -> Result<Option<Judged>> {
        let mut by_length = chosen.to_vec();
        by_length.sort_by_key(|&row| self.data[row].ids.len());
        let pieces = micros(self.data, &by_length, most, self.shares());
        let (mut sum, mut count, mut sums) = (0.0, 0, Metrics::new());
        let of = pieces.len();
        for (at, micro) in pieces.into_iter().enumerate() {
            if !on(at, of) {
                return Ok(None);
            }
            let parts = self.parts(micro, false);
            let judge = |_, part: &Micro| -> Result<_> {
                let Measured { loss, metrics } = self.measure(part, Mode::Eval)?;
                Ok((f64::from(loss.to_scalar::<f32>()?), metrics, self.subject.objective.targets(part)))
            };
            for (mean, metrics, targets) in side_by_side(&parts, judge)? {
                sum += mean * targets as f64;
                objective::add(&mut sums, metrics, targets as f64);
                count += targets;
            }
        }
        let share = |part: f64| part / count.max(1) as f64;
        sums.values_mut().for_each(|sum| *sum = share(*sum));
        Ok(Some(Judged { loss: share(sum), metrics: sums }))
    }
}

/// What `f` makes of the hidden states of all `rows`, piece by piece and without learning from them: it says something of each
/// row of a piece, and what it said comes back in the order of `rows`. `None` when `on`, told before each piece which of how many
/// it is, breaks off.
///
/// # Errors
/// The first that `f` fails with, and as the network fails.
pub fn look<T: Send>(
    subject: &Subject,
    rows: &[Row],
    micro_tokens: usize,
    f: &(dyn Fn(&Seen) -> Result<Vec<T>> + Sync),
    on: &mut dyn FnMut(usize, usize) -> bool,
) -> Result<Option<Vec<T>>> {
    let network = Network::new(subject, rows, None);
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by_key(|&row| rows[row].ids.len());
    let pieces = micros(rows, &order, micro_tokens, network.shares());
    let (mut all, of) = (Vec::with_capacity(rows.len()), pieces.len());
    for (at, piece) in pieces.into_iter().enumerate() {
        if !on(at, of) {
            return Ok(None);
        }
        let parts = side_by_side(&network.parts(piece, false), |_, part| {
            let hidden = network.hidden(part, Mode::Eval)?.detach();
            let Subject { model, adapter, .. } = *subject;
            let said = f(&Seen { model, adapter, piece: part, rows, hidden: &hidden, mode: Mode::Eval })?;
            Ok(part.rows.iter().copied().zip(said).collect::<Vec<_>>())
        })?;
        all.extend(parts.into_iter().flatten());
    }
    all.sort_by_key(|(row, _)| *row);
    Ok(Some(all.into_iter().map(|(_, said)| said).collect()))
}

/// What `f` makes of each part, given its number: one part has all threads, several have one each. Threads that go through the
/// network with rows of their own wait for each other once, and not in every operation.
///
/// # Errors
/// The first that `f` fails with.
pub fn side_by_side<T: Send>(
    parts: &[Micro],
    f: impl Fn(usize, &Micro) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    match parts {
        [whole] => Ok(vec![f(0, whole)?]),
        parts => parts
            .par_iter()
            .with_max_len(1)
            .enumerate()
            .map(|(at, part)| kernel::sequential(|| f(at, part)))
            .collect(),
    }
}

#[cfg(test)]
#[path = "network_tests.rs"]
mod tests;
