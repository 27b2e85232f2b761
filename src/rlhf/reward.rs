//! A reward model: a score for an answer, learned from which of several people preferred.
//!
//! The loss of a pair is Bradley and Terry's (1952), that of K ranked answers the mean over all their pairs (Ouyang et al. 2022,
//! arXiv 2203.02155), a margin is that of Touvron et al. 2023, arXiv 2307.09288, and centring that of Eisenstein et al. 2023,
//! arXiv 2312.09244. The score is that of a head of one class, which reads the last token: Hugging Face's models for sequence
//! classification with `num_labels` 1.

use super::surrogate::{Weighed, numbers, sigmoid, softplus, through};
use crate::error::Result;
use crate::models::{Classifier, Model, Token};
use crate::train::{Measured, Metrics, Micro, Objective, Row, Seen, Target};

/// To score a better answer higher.
pub struct Reward<'a> {
    pub head: &'a Classifier,
    /// How much the sum of a pair's scores is held at zero; 0 for not at all.
    pub centring: f64,
}

/// Of `scores`, the best answer's first: the mean over all pairs of `-log sigmoid(better - worse - margin)`, and `centring` times
/// the mean of `(better + worse)²`.
pub fn ranking(scores: &[f64], margin: f64, centring: f64) -> Weighed {
    let mut loss = Weighed { value: 0.0, slopes: vec![0.0; scores.len()] };
    let share = 1.0 / pairs(scores.len()).count().max(1) as f64;
    for (better, worse) in pairs(scores.len()) {
        let difference = scores[better] - scores[worse] - margin;
        let sum = scores[better] + scores[worse];
        loss.value += share * (softplus(-difference) + centring * sum * sum);
        let (apart, together) = (share * -sigmoid(-difference), share * centring * 2.0 * sum);
        loss.slopes[better] += apart + together;
        loss.slopes[worse] += together - apart;
    }
    loss
}

/// Which of `count` ranked answers are compared: each with every worse one.
pub fn pairs(count: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..count).flat_map(move |better| (better + 1..count).map(move |worse| (better, worse)))
}

/// What is worth knowing of scores, the best answer's first; under the names that are usual for preferences.
pub(super) fn metrics(scores: &[f64]) -> Metrics {
    let count = pairs(scores.len()).count().max(1) as f64;
    let mean = |of: &dyn Fn(usize, usize) -> f64| {
        pairs(scores.len()).map(|(better, worse)| of(better, worse)).sum::<f64>() / count
    };
    Metrics::from([
        ("rewards/chosen".to_owned(), mean(&|better, _| scores[better])),
        ("rewards/rejected".to_owned(), mean(&|_, worse| scores[worse])),
        ("rewards/margins".to_owned(), mean(&|better, worse| scores[better] - scores[worse])),
        (
            "rewards/accuracies".to_owned(),
            mean(&|better, worse| f64::from(u8::from(scores[better] > scores[worse]))),
        ),
    ])
}

/// What is made of the rows of a piece, each with the outputs of its own: their mean.
pub(super) fn over_rows(
    piece: &Micro,
    outputs: &[f64],
    of_row: impl Fn(usize, &[f64]) -> (Weighed, Metrics),
) -> (Weighed, Metrics) {
    let share = 1.0 / piece.rows.len().max(1) as f64;
    let (mut loss, mut sums) = (Weighed { value: 0.0, slopes: vec![0.0; outputs.len()] }, Metrics::new());
    for (&row, sequences) in piece.rows.iter().zip(&piece.sequences) {
        let (part, metrics) = of_row(row, &outputs[sequences.clone()]);
        loss.value += share * part.value;
        for (slope, part) in loss.slopes[sequences.clone()].iter_mut().zip(part.slopes) {
            *slope += share * part;
        }
        for (name, mean) in metrics {
            *sums.entry(name).or_default() += share * mean;
        }
    }
    (loss, sums)
}

/// Whether there is something to compare.
pub(super) fn is_preference(row: &Row) -> Result<(), String> {
    match &row.target {
        Target::Preference(preference) if preference.lengths.len() > 1 => Ok(()),
        Target::Preference(_) => Err("has one answer, which is no choice".to_owned()),
        _ => Err("has no answers to compare".to_owned()),
    }
}

impl Objective for Reward<'_> {
    fn measure(&self, seen: &Seen) -> Result<Measured> {
        let scores = self.head.forward(seen.hidden, &seen.piece.batch, seen.adapter, seen.mode)?; // (S, 1)
        let scores = scores.squeeze(1)?; // (S,)
        let (loss, metrics) = over_rows(seen.piece, &numbers(&scores)?, |row, scores| {
            let margin = margin(&seen.rows[row]);
            (ranking(scores, margin, self.centring), metrics(scores))
        });
        Ok(Measured { loss: through(&scores, &loss)?, metrics })
    }

    fn targets(&self, piece: &Micro) -> usize {
        piece.rows.len()
    }

    fn reads(&self) -> Option<Token> {
        Some(self.head.reads())
    }

    fn check(&self, row: &Row, _: &Model) -> Result<(), String> {
        match self.head.classes() {
            1 => is_preference(row),
            classes => Err(format!("is to get one score, and the head has {classes} classes")),
        }
    }
}

fn margin(row: &Row) -> f64 {
    match &row.target {
        Target::Preference(preference) => f64::from(preference.margin),
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_slopes(at: &[f64], loss: impl Fn(&[f64]) -> Weighed) {
        let slopes = loss(at).slopes;
        for (i, slope) in slopes.iter().enumerate() {
            let moved = |by: f64| {
                let mut at = at.to_vec();
                at[i] += by;
                loss(&at).value
            };
            let difference = (moved(1e-6) - moved(-1e-6)) / 2e-6;
            assert!((slope - difference).abs() < 1e-7, "{i}: {slope}, not {difference}");
        }
    }

    #[test]
    fn the_loss_of_pairs_equals_the_reference() {
        let batch = |margins: [f64; 2], centring| {
            let of = |scores: &[f64], margin| ranking(scores, margin, centring).value;
            (of(&[1.2, 0.7], margins[0]) + of(&[-0.3, 0.4], margins[1])) / 2.0
        };
        assert!((batch([0.0, 0.0], 0.0) - 0.788632).abs() < 1e-6);
        assert!((batch([0.0, 0.5], 0.0) - 0.968680).abs() < 1e-6);
        assert!((batch([0.0, 0.0], 0.01) - 0.788632 - 0.018100).abs() < 1e-6);
    }

    #[test]
    fn slopes_are_derivatives_of_pairs_and_of_rankings() {
        for scores in [&[1.2, 0.7][..], &[-0.3, 0.4], &[0.1, -0.2, 0.4, 2.0]] {
            assert_slopes(scores, |scores| ranking(scores, 0.3, 0.02));
        }
    }

    #[test]
    fn a_ranking_counts_every_pair_once() {
        assert_eq!(pairs(3).collect::<Vec<_>>(), [(0, 1), (0, 2), (1, 2)]);
        let metrics = metrics(&[2.0, 0.0, 1.0]);
        assert!((metrics["rewards/accuracies"] - 2.0 / 3.0).abs() < 1e-12);
        assert!((metrics["rewards/margins"] - (2.0 + 1.0 - 1.0) / 3.0).abs() < 1e-12);
        let equal = ranking(&[0.4, 0.4, 0.4], 0.0, 0.0);
        assert!((equal.value - std::f64::consts::LN_2).abs() < 1e-12);
    }
}
