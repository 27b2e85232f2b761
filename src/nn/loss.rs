//! Losses, over the rows that carry a label and no others.

use candle_core::{D, Tensor};

use super::{Linear, Packing, kernel};
use crate::error::{Error, Result};

/// The label of a token that is read but not learned from.
pub const IGNORE: i64 = -100;

/// Rows whose logits are scored at a time: bounds the memory of `(rows, V)`.
const CHUNK: usize = 128;

/// What some rows of a packed batch should say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Targets {
    /// Row of the hidden states; of a row that several sequences go on with there may be several.
    pub rows: Vec<u32>,
    /// The right token (or class) for that row.
    pub ids: Vec<u32>,
}

impl Targets {
    /// Next-token targets: row `i` of a sequence should say the label of row `i + 1`, unless that is [`IGNORE`].
    /// `labels` is packed like the tokens, one a row.
    pub fn next_token(labels: &[i64], packing: &Packing) -> Self {
        let mut targets = Self { rows: Vec::new(), ids: Vec::new() };
        for range in packing.ranges() {
            for row in range.start..range.end.saturating_sub(1) {
                if labels[row + 1] != IGNORE {
                    targets.rows.push(row as u32);
                    targets.ids.push(labels[row + 1] as u32);
                }
            }
        }
        targets
    }
}

/// What makes logits of hidden states: any function of `(n, H)` to `(n, V)`, or a [`Linear`], for which the loss need not
/// hold them.
pub trait Head {
    /// `(n, H) -> (n, V)`
    fn logits(&self, hidden: &Tensor) -> Result<Tensor>;

    /// The matrix `(V, H)`, if that is all there is to it.
    fn matrix(&self) -> Option<&Tensor> {
        None
    }
}

impl<F: Fn(&Tensor) -> Result<Tensor>> Head for F {
    fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        self(hidden)
    }
}

impl Head for &Linear {
    fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        self.frozen(hidden)
    }

    fn matrix(&self) -> Option<&Tensor> {
        self.bias.is_none().then_some(&self.weight)
    }
}

/// Mean cross-entropy `logsumexp(z) - z[target]` over the targets' rows. `head` sees labelled rows only, a chunk at a time.
///
/// # Errors
/// `Invalid` when nothing carries a label.
pub fn cross_entropy(hidden: &Tensor, targets: &Targets, head: impl Head) -> Result<Tensor> {
    if targets.rows.is_empty() {
        return Err(Error::invalid("no token of this batch carries a label, so there is no loss"));
    }
    match head.matrix() {
        Some(matrix) if kernel::applies(&[hidden, matrix]) => {
            Ok(kernel::cross_entropy(hidden, matrix, &targets.rows, &targets.ids)?)
        }
        _ => cross_entropy_composed(hidden, targets, |hidden| head.logits(hidden)),
    }
}

pub(super) fn cross_entropy_composed(
    hidden: &Tensor,
    targets: &Targets,
    head: impl Fn(&Tensor) -> Result<Tensor>,
) -> Result<Tensor> {
    let chunks = chunks_composed(hidden, targets, head)?;
    let sums = chunks.iter().map(Tensor::sum_all).collect::<Result<Vec<_>, _>>()?;
    // A sum of sums of few numbers: one of many would lose digits.
    Ok((Tensor::stack(&sums, 0)?.sum_all()? / -(targets.rows.len() as f64))?)
}

/// Logarithms of the probabilities of the targets, `(n,)`: `z[target] - logsumexp(z)`.
///
/// # Errors
/// `Invalid` when nothing carries a label.
pub fn log_probabilities(hidden: &Tensor, targets: &Targets, head: impl Head) -> Result<Tensor> {
    if targets.rows.is_empty() {
        return Err(Error::invalid("no token of this batch carries a label, so there is no probability"));
    }
    match head.matrix() {
        Some(matrix) if kernel::applies(&[hidden, matrix]) && !matrix.track_op() => {
            Ok(kernel::log_probabilities(hidden, matrix, &targets.rows, &targets.ids)?)
        }
        _ => log_probabilities_composed(hidden, targets, |hidden| head.logits(hidden)),
    }
}

pub(super) fn log_probabilities_composed(
    hidden: &Tensor,
    targets: &Targets,
    head: impl Fn(&Tensor) -> Result<Tensor>,
) -> Result<Tensor> {
    Ok(Tensor::cat(&chunks_composed(hidden, targets, head)?, 0)?)
}

/// Those of some targets at a time.
fn chunks_composed(
    hidden: &Tensor,
    targets: &Targets,
    head: impl Fn(&Tensor) -> Result<Tensor>,
) -> Result<Vec<Tensor>> {
    let mut parts = Vec::new();
    for (rows, ids) in targets.rows.chunks(CHUNK).zip(targets.ids.chunks(CHUNK)) {
        let rows = Tensor::new(rows, hidden.device())?;
        let ids = Tensor::new(ids, hidden.device())?.unsqueeze(1)?;
        let logits = head(&hidden.index_select(&rows, 0)?)?; // (n, V)
        let log_probabilities = candle_nn::ops::log_softmax(&logits, D::Minus1)?;
        parts.push(log_probabilities.gather(&ids, 1)?.squeeze(1)?);
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn labels_are_shifted_inside_each_sequence() {
        let packing = Packing::new([3, 2]);
        let targets = Targets::next_token(&[IGNORE, 5, 6, 7, 8], &packing);
        assert_eq!(targets, Targets { rows: vec![0, 1, 3], ids: vec![5, 6, 8] });
    }

    // torch: F.cross_entropy(torch.tensor([[2., .5, -1.]]), torch.tensor([1]))
    #[test]
    fn cross_entropy_equals_the_reference() {
        let logits = Tensor::new(&[[2f32, 0.5, -1.0]], &Device::Cpu).unwrap();
        let targets = Targets { rows: vec![0], ids: vec![1] };
        let loss =
            cross_entropy(&logits, &targets, |h: &Tensor| Ok(h.clone())).unwrap().to_scalar::<f32>().unwrap();
        assert!((loss - 1.741311).abs() < 1e-6, "{loss}");
    }
}
