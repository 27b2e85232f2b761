//! Is it answerable? A probability from what retrieval saw, before anything is generated.
//!
//! Fused scores cannot say: the best of a bad list has the same rank as the best of a good one. Features with an absolute
//! meaning go into a logistic model instead. The coefficients a collection starts with are rounded from a fit on two pairs:
//! questions of one half of SQuAD's articles over that half (answerable) and over the same half when they are of the other
//! (not), and questions on the Rust book over the book, against SQuAD's. `docs/evaluation.md` has what they do on pairs that
//! were not fitted. What the fit found no use for starts at 0. [`Gate::fit`] moves them all towards a person's own
//! questions.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::cosine;
use super::coverage::Question;
use crate::index::ChunkId;
pub use crate::index::profile::Gate;

/// How many of each leg's best are compared for agreement.
const AGREEMENT_DEPTH: usize = 10;

/// What retrieval saw of a question.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Features {
    /// Cosine of the question and the closest chunk, in `[-1, 1]`.
    pub best_cosine: f32,
    /// First cosine minus fifth (or last): does anything stand out?
    pub gap: f32,
    /// Share of the question's idf found in the best chunk, in `[0, 1]`.
    pub coverage: f32,
    /// Best BM25 score over the sum of the question's idf: 0 to about 2.2 whatever the collection.
    pub bm25: f32,
    /// Share of chunks that both legs have among their first ten, in `[0, 1]`.
    pub agreement: f32,
    /// Cosine of the question and the closest sentence of the passages to read, in `[-1, 1]`.
    pub sentence_cosine: f32,
    /// Share of the question's idf found in one of these sentences, the best, in `[0, 1]`.
    pub sentence_coverage: f32,
}

/// What retrieval found, for a gate to look at.
pub struct Seen<'a, V> {
    /// Both legs, each best first.
    pub dense: &'a [(ChunkId, f32)],
    pub lexical: &'a [(ChunkId, f32)],
    /// Text of the chunk ranked first after fusion.
    pub best: &'a str,
    /// The question's vector.
    pub vector: &'a [f32],
    /// Sentences of the passages to read, and their vectors.
    pub sentences: &'a [&'a str],
    pub vectors: &'a [V],
}

impl Features {
    /// Reads the features from what was found.
    pub fn gather<V: AsRef<[f32]>>(question: &Question, seen: &Seen<V>) -> Self {
        let &Seen { dense, lexical, best, vector, sentences, vectors } = seen;
        let best_cosine = dense.first().map_or(0.0, |(_, cosine)| *cosine);
        let fifth = dense.get(4).or(dense.last()).map_or(best_cosine, |(_, cosine)| *cosine);
        let weight = question.weight();
        let bm25 = lexical.first().map_or(0.0, |(_, score)| *score);
        let top = |leg: &[(ChunkId, f32)]| -> BTreeSet<ChunkId> {
            leg.iter().take(AGREEMENT_DEPTH).map(|(id, _)| *id).collect()
        };
        let (dense, lexical) = (top(dense), top(lexical));
        let shared = dense.intersection(&lexical).count() as f32;
        Self {
            best_cosine,
            gap: best_cosine - fifth,
            coverage: question.coverage(best),
            bm25: if weight > 0.0 { bm25 / weight } else { 0.0 },
            agreement: shared / dense.len().max(lexical.len()).max(1) as f32,
            sentence_cosine: vectors.iter().map(|other| cosine(vector, other.as_ref())).fold(0.0, f32::max),
            sentence_coverage: sentences.iter().map(|text| question.coverage(text)).fold(0.0, f32::max),
        }
    }

    fn row(&self) -> Row {
        let finite = |x: f32| if x.is_finite() { f64::from(x) } else { 0.0 };
        [
            1.0,
            finite(self.best_cosine),
            finite(self.gap),
            finite(self.coverage),
            finite(self.bm25),
            finite(self.agreement),
            finite(self.sentence_cosine),
            finite(self.sentence_coverage),
        ]
    }
}

const N: usize = 8;
type Row = [f64; N];

impl Gate {
    /// Probability, in `(0, 1)`, that the collection answers the question.
    pub fn confidence(&self, features: &Features) -> f32 {
        sigmoid(dot(&self.row(), &features.row())) as f32
    }

    pub fn is_answerable(&self, features: &Features) -> bool {
        self.confidence(features) >= self.threshold
    }

    /// The coefficients that make judged questions most likely, starting from `self`: a coefficient moves only as far
    /// as the examples pull it, so ten questions adjust the gate and five hundred replace it. Exact (Newton's method on a
    /// convex function) and deterministic; the threshold stays.
    #[must_use]
    pub fn fit(&self, examples: &[(Features, bool)]) -> Self {
        /// Weight of the starting values, in examples or so.
        const PRIOR: f64 = 0.5;
        let prior = self.row();
        let loss = |w: &Row| -> f64 {
            let nll = |(features, answerable): &(Features, bool)| {
                let z = dot(w, &features.row());
                let z = if *answerable { -z } else { z };
                z.max(0.0) + (-z.abs()).exp().ln_1p() // ln(1 + e^z), safely
            };
            let pull: f64 = w.iter().zip(&prior).map(|(w, p)| (w - p).powi(2)).sum();
            examples.iter().map(nll).sum::<f64>() + 0.5 * PRIOR * pull
        };
        let mut w = prior;
        for _ in 0..50 {
            let (gradient, hessian) = derivatives(&w, &prior, PRIOR, examples);
            let step = solve(hessian, gradient);
            let moved = |scale: f64| -> Row { std::array::from_fn(|i| w[i] - scale * step[i]) };
            // Far from the optimum a full Newton step may overshoot: halve it until it helps.
            let scale = (0..30).map(|halvings| 0.5f64.powi(halvings)).find(|&s| loss(&moved(s)) < loss(&w));
            let Some(scale) = scale else { break };
            w = moved(scale);
        }
        let [intercept, best_cosine, gap, coverage, bm25, agreement, sentence_cosine, sentence_coverage] =
            w.map(|w| w as f32);
        Self {
            intercept,
            best_cosine,
            gap,
            coverage,
            bm25,
            agreement,
            sentence_cosine,
            sentence_coverage,
            threshold: self.threshold,
        }
    }

    fn row(&self) -> Row {
        [
            self.intercept,
            self.best_cosine,
            self.gap,
            self.coverage,
            self.bm25,
            self.agreement,
            self.sentence_cosine,
            self.sentence_coverage,
        ]
        .map(f64::from)
    }
}

fn derivatives(w: &Row, prior: &Row, pull: f64, examples: &[(Features, bool)]) -> (Row, [Row; N]) {
    let mut gradient: Row = std::array::from_fn(|i| pull * (w[i] - prior[i]));
    let mut hessian = [[0.0; N]; N];
    for (i, row) in hessian.iter_mut().enumerate() {
        row[i] = pull;
    }
    for (features, answerable) in examples {
        let x = features.row();
        let p = sigmoid(dot(w, &x));
        let error = p - f64::from(u8::from(*answerable));
        for i in 0..N {
            gradient[i] += error * x[i];
            for j in 0..N {
                hessian[i][j] += p * (1.0 - p) * x[i] * x[j];
            }
        }
    }
    (gradient, hessian)
}

/// `a x = b` by elimination; `a` is symmetric and positive definite (the prior sees to it), so no pivoting.
fn solve(mut a: [Row; N], mut b: Row) -> Row {
    for column in 0..N {
        for row in column + 1..N {
            let factor = a[row][column] / a[column][column];
            let above = a[column];
            for (entry, above) in a[row].iter_mut().zip(above).skip(column) {
                *entry -= factor * above;
            }
            b[row] -= factor * b[column];
        }
    }
    for row in (0..N).rev() {
        let known: f64 = (row + 1..N).map(|column| a[row][column] * b[column]).sum();
        b[row] = (b[row] - known) / a[row][row];
    }
    b
}

fn dot(a: &Row, b: &Row) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn sigmoid(z: f64) -> f64 {
    1.0 / (1.0 + (-z).exp())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::coverage::tests::analyse;
    use super::*;

    fn seen(best_cosine: f32, coverage: f32, bm25: f32, agreement: f32) -> Features {
        let (sentence_cosine, sentence_coverage) = (best_cosine, coverage);
        Features { best_cosine, gap: 0.08, coverage, bm25, agreement, sentence_cosine, sentence_coverage }
    }

    #[test]
    fn features_are_read_from_both_legs_and_from_sentences() {
        let question = Question::new("the owner of a value", &analyse, |_| 2.0);
        let dense = [(1, 0.8), (2, 0.7), (3, 0.6), (4, 0.5), (5, 0.4), (6, 0.3)];
        let seen = Seen {
            dense: &dense,
            lexical: &[(2, 6.0), (9, 5.0)],
            best: "Every value is dropped.",
            vector: &[1.0, 0.0],
            sentences: &["A value is dropped.", "Its owner drops a value."],
            vectors: &[[0.6, 0.8], [0.0, 1.0]],
        };
        let features = Features::gather(&question, &seen);
        assert_eq!(
            features,
            Features {
                best_cosine: 0.8,
                gap: 0.8 - 0.4,
                coverage: 0.5,
                bm25: 1.5,
                agreement: 1.0 / 6.0,
                sentence_cosine: 0.6,
                sentence_coverage: 1.0
            }
        );
        let nothing: Seen<Vec<f32>> =
            Seen { dense: &[], lexical: &[], best: "", vector: &[], sentences: &[], vectors: &[] };
        assert_eq!(Features::gather(&question, &nothing), Features::default());
    }

    #[test]
    fn the_starting_gate_passes_the_obvious_and_stops_the_hopeless() {
        let gate = Gate::default();
        for answerable in [seen(0.46, 0.8, 0.9, 0.3), seen(0.65, 0.3, 0.4, 0.1), seen(0.38, 1.0, 1.3, 0.4)] {
            assert!(gate.is_answerable(&answerable), "{answerable:?} {}", gate.confidence(&answerable));
        }
        for hopeless in [seen(0.24, 0.3, 0.5, 0.1), seen(0.1, 0.5, 0.7, 0.0), seen(0.35, 0.3, 0.4, 0.1)] {
            assert!(!gate.is_answerable(&hopeless), "{hopeless:?} {}", gate.confidence(&hopeless));
        }
    }

    #[test]
    fn fitting_separates_judged_questions_and_few_examples_move_little() {
        let start = Gate::default();
        // A collection whose cosines all run high: the starting gate answers everything.
        let judged: Vec<(Features, bool)> = (0..200)
            .map(|i| {
                let answerable = i % 2 == 0;
                let noise = (i % 7) as f32 / 100.0;
                (seen(if answerable { 0.85 } else { 0.65 } + noise, 0.6, 0.8, 0.2), answerable)
            })
            .collect();
        let right = |gate: &Gate| judged.iter().filter(|(f, a)| gate.is_answerable(f) == *a).count();
        assert_eq!(right(&start), 100);
        let fitted = start.fit(&judged);
        assert!(right(&fitted) >= 195, "{} {fitted:?}", right(&fitted));
        assert_eq!(start.fit(&[]), start);
        let nudged = start.fit(&judged[..2]);
        assert!((nudged.best_cosine - start.best_cosine).abs() < 1.0, "{nudged:?}");
    }

    #[test]
    fn a_profile_may_set_one_coefficient_and_no_unknown_one() {
        let gate: Gate = toml::from_str("threshold = 0.7").unwrap();
        assert_eq!(gate, Gate { threshold: 0.7, ..Gate::default() });
        assert!(toml::from_str::<Gate>("treshold = 0.7").unwrap_err().to_string().contains("treshold"));
    }

    proptest! {
        #[test]
        fn confidence_is_a_probability_and_grows_with_the_evidence(
            cosine in -1.0f32..0.9, coverage in 0.0f32..0.9, bm25 in 0.0f32..2.0, more in 0.01f32..0.1,
        ) {
            let gate = Gate::default();
            let less = gate.confidence(&seen(cosine, coverage, bm25, 0.2));
            let better = gate.confidence(&seen(cosine + more, coverage + more, bm25, 0.2));
            prop_assert!((0.0..=1.0).contains(&less) && less < better);
        }

        #[test]
        fn fitting_never_gives_a_number_that_is_none(
            rows in prop::collection::vec((prop::array::uniform7(-3.0f32..3.0), any::<bool>()), 0..20),
        ) {
            let examples: Vec<(Features, bool)> = rows.into_iter().map(|([a, b, c, d, e, f, g], answerable)| {
                (Features { best_cosine: a, gap: b, coverage: c, bm25: d, agreement: e, sentence_cosine: f, sentence_coverage: g }, answerable)
            }).collect();
            prop_assert!(Gate::default().fit(&examples).row().iter().all(|w| w.is_finite()));
        }
    }
}
