//! From rows to a loss: the one place where the trainer meets a model.

use candle_core::{D, Tensor};

use super::Subject;
use super::batch::{Micro, micros};
use super::row::Row;
use super::trunk::Trunk;
use crate::error::Result;
use crate::nn::{Mode, Pass, loss};

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

    /// The final hidden states of `micro`, `(N, H)`.
    fn hidden(&mut self, micro: &Micro, mode: Mode) -> Result<Tensor> {
        let Subject { model, adapter, .. } = *self.subject;
        let pass = Pass { adapter, cache: None, mode };
        match &mut self.trunk {
            None => model.transformer.forward(&micro.batch, pass),
            Some(trunk) => {
                let stream = trunk.of(&model.transformer, adapter, self.data, micro)?;
                model.transformer.forward_from(trunk.layers, &stream, &micro.batch, pass)
            }
        }
    }

    /// The mean loss over the targets of `micro`.
    pub fn loss(&mut self, micro: &Micro, mode: Mode) -> Result<Tensor> {
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
        &mut self,
        chosen: &[usize],
        most: usize,
        on: &mut dyn FnMut(usize, usize) -> bool,
    ) -> Result<Option<Judged>> {
        let mut by_length = chosen.to_vec();
        by_length.sort_by_key(|&row| self.data[row].ids.len());
        let pieces = micros(self.data, &by_length, most);
        let (mut sum, mut count, mut right) = (0.0, 0, 0);
        for (at, micro) in pieces.iter().enumerate() {
            if !on(at, pieces.len()) {
                return Ok(None);
            }
            let targets = micro.targets.ids.len();
            let mean = match self.subject.classifier {
                None => self.loss(micro, Mode::Eval)?,
                Some(classifier) => {
                    let hidden = self.hidden(micro, Mode::Eval)?;
                    let logits =
                        classifier.forward(&hidden, &micro.batch, self.subject.adapter, Mode::Eval)?; // (B, C)
                    let said = logits.argmax(D::Minus1)?.to_vec1::<u32>()?;
                    right +=
                        said.iter().zip(&micro.targets.ids).filter(|(said, class)| said == class).count();
                    of_classes(&logits, micro)?
                }
            };
            sum += f64::from(mean.to_scalar::<f32>()?) * targets as f64;
            count += targets;
        }
        let share = |part: f64| part / count.max(1) as f64;
        let accuracy = self.subject.classifier.map(|_| share(right as f64));
        Ok(Some(Judged { loss: share(sum), accuracy }))
    }
}

fn of_classes(logits: &Tensor, micro: &Micro) -> Result<Tensor> {
    loss::cross_entropy(logits, &micro.targets, |logits: &Tensor| Ok(logits.clone()))
}
