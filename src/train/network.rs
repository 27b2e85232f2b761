//! From rows to a loss: the one place where the trainer meets a model.

use candle_core::{D, Tensor};
use rayon::prelude::*;

use super::Subject;
use super::batch::{Micro, micros};
use super::row::Row;
use super::trunk::Trunk;
use crate::error::Result;
use crate::nn::{Mode, Pass, kernel, loss};

/// Bytes that the gradients of all threads together may take where each has its own.
const ROOM_FOR_GRADIENTS: usize = 256 << 20;

/// A subject and the rows it is shown, with what is remembered of them.
pub struct Network<'a> {
    pub subject: &'a Subject<'a>,
    pub data: &'a [Row],
    trunk: Option<Trunk>,
}

/// What came of rows that nothing is learned from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judged {
    /// The mean over all targets.
    pub loss: f64,
    /// The share of rows given to the right class.
    pub accuracy: Option<f64>,
}

impl<'a> Network<'a> {
    /// `room` bytes are for the trunk; none where there is no trunk to keep.
    pub fn new(subject: &'a Subject<'a>, data: &'a [Row], room: Option<usize>) -> Self {
        let trunk = room.filter(|_| subject.untouched > 0).map(|room| Trunk::new(subject.untouched, room));
        Self { subject, data, trunk }
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

    /// The mean loss over the targets of `micro`.
    pub fn loss(&self, micro: &Micro, mode: Mode) -> Result<Tensor> {
        let hidden = self.hidden(micro, mode)?;
        match self.subject.classifier {
            None => {
                let head = self.subject.model.transformer.head();
                loss::cross_entropy(&hidden, &micro.targets, head)
            }
            Some(classifier) => {
                of_classes(&classifier.forward(&hidden, &micro.batch, self.subject.adapter, mode)?, micro)
            }
        }
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
        let pieces = micros(self.data, &by_length, most);
        let (mut sum, mut count, mut right) = (0.0, 0, 0);
        let of = pieces.len();
        for (at, micro) in pieces.into_iter().enumerate() {
            if !on(at, of) {
                return Ok(None);
            }
            for (part, correct, targets) in
                side_by_side(&self.parts(micro, false), |_, part| self.judge_part(part))?
            {
                sum += part * targets as f64;
                right += correct;
                count += targets;
            }
        }
        let share = |part: f64| part / count.max(1) as f64;
        let accuracy = self.subject.classifier.map(|_| share(right as f64));
        Ok(Some(Judged { loss: share(sum), accuracy }))
    }

    /// The mean loss of some rows, how many were given to the right class, and their targets.
    fn judge_part(&self, micro: &Micro) -> Result<(f64, usize, usize)> {
        let (mean, right) = match self.subject.classifier {
            None => (self.loss(micro, Mode::Eval)?, 0),
            Some(classifier) => {
                let hidden = self.hidden(micro, Mode::Eval)?;
                let logits = classifier.forward(&hidden, &micro.batch, self.subject.adapter, Mode::Eval)?; // (B, C)
                let said = logits.argmax(D::Minus1)?.to_vec1::<u32>()?;
                let right = said.iter().zip(&micro.targets.ids).filter(|(said, class)| said == class).count();
                (of_classes(&logits, micro)?, right)
            }
        };
        Ok((f64::from(mean.to_scalar::<f32>()?), right, micro.targets.ids.len()))
    }
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

fn of_classes(logits: &Tensor, micro: &Micro) -> Result<Tensor> {
    loss::cross_entropy(logits, &micro.targets, |logits: &Tensor| Ok(logits.clone()))
}
