//! Which worked examples a prompt shows: demonstrations for in-context learning, chosen from a pool.
//!
//! | selection | what | source |
//! | --- | --- | --- |
//! | `none` | nothing | |
//! | `first` | the pool's first | |
//! | `random` | drawn once from a seed | Brown et al. 2020, arXiv 2005.14165 |
//! | `balanced` | drawn likewise, one of each class in turn | |
//! | `knn` | the most similar inputs | Liu et al. 2021, arXiv 2101.06804 |
//! | `mmr` | similar inputs that differ among themselves | Carbonell & Goldstein 1998; Ye et al. 2022, arXiv 2211.13892 |
//! | `votek` | once, inputs that stand for the pool and differ (fast vote-k) | Su et al. 2022, arXiv 2209.01975 |
//!
//! Only `knn` and `mmr` depend on what is asked; the others show every question the same examples, so that a model reads
//! them once. An example whose input is the question itself is never shown: it would give the answer away.

use std::collections::BTreeMap;
use std::sync::Arc;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::diversify::{LAMBDA, mmr};
use crate::error::{Error, Result};
use crate::random::SplitMix;
use crate::text::example::Example;

/// Which examples of a pool are shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Select {
    None,
    First,
    Random,
    Balanced,
    #[default]
    Knn,
    Mmr,
    Votek,
}

impl Select {
    pub const ALL: [Self; 7] =
        [Self::None, Self::First, Self::Random, Self::Balanced, Self::Knn, Self::Mmr, Self::Votek];

    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::First => "first",
            Self::Random => "random",
            Self::Balanced => "balanced",
            Self::Knn => "knn",
            Self::Mmr => "mmr",
            Self::Votek => "votek",
        }
    }

    /// Whether what is asked decides; then the chosen have an order of nearness.
    pub fn is_by_nearness(self) -> bool {
        matches!(self, Self::Knn | Self::Mmr)
    }

    /// Whether the pool has to be embedded.
    pub fn needs_vectors(self) -> bool {
        self.is_by_nearness() || self == Self::Votek
    }
}

impl std::str::FromStr for Select {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|select| select.name() == name).ok_or_else(|| {
            Error::invalid(format!("`{name}` is no way to choose demonstrations"))
                .hint(format!("there are: {}", Self::ALL.map(Self::name).join(", ")))
        })
    }
}

/// Candidates among which `mmr` looks for each one that it shows.
const REACH: usize = 5;

/// Neighbours that an example votes for, as in the paper; in a small pool, a tenth of it.
const VOTES: usize = 150;

/// A vote for one whose neighbours are chosen already counts this much less, for each.
const DISCOUNT: f64 = 10.0;

/// A pool, ready to be chosen from.
#[derive(Debug, Clone)]
pub struct Demonstrations {
    /// Shared: many choose from one pool.
    pool: Arc<[Example]>,
    /// Of the pool's inputs; empty where the selection needs none.
    vectors: Arc<[Vec<f32>]>,
    select: Select,
    k: usize,
    /// The pool in the order of preference, where what is asked does not matter.
    fixed: Vec<usize>,
}

impl Demonstrations {
    /// `k` of `pool` at a time. `vectors` are those of its inputs, needed where [`Select::needs_vectors`] says so; `seed`
    /// decides what is drawn.
    pub fn new(
        pool: impl Into<Arc<[Example]>>,
        vectors: impl Into<Arc<[Vec<f32>]>>,
        select: Select,
        k: usize,
        seed: u64,
    ) -> Self {
        let (pool, vectors) = (pool.into(), vectors.into());
        let fixed = match select {
            Select::None | Select::Knn | Select::Mmr => Vec::new(),
            Select::First => (0..pool.len()).collect(),
            Select::Random => shuffled((0..pool.len()).collect(), seed, 0),
            Select::Balanced => balanced(&pool, seed),
            // One more than is shown, in case one of them is what is asked.
            Select::Votek => vote_k(&vectors, k + 1),
        };
        Self { pool, vectors, select, k, fixed }
    }

    pub fn select(&self) -> Select {
        self.select
    }

    pub fn pool(&self) -> &[Example] {
        &self.pool
    }

    /// Places in the pool to show for `input`, the nearest (or first choice) first. `vector` is that of `input`, for
    /// selections by nearness; the others ignore it.
    pub fn choose(&self, input: &str, vector: &[f32]) -> Vec<usize> {
        let itself = |at: usize| self.pool[at].input.trim() == input.trim();
        if !self.select.is_by_nearness() {
            return self.fixed.iter().copied().filter(|&at| !itself(at)).take(self.k).collect();
        }
        let likeness: Vec<f32> = self.vectors.iter().map(|example| super::cosine(example, vector)).collect();
        let mut near: Vec<usize> = (0..self.pool.len()).filter(|&at| !itself(at)).collect();
        near.sort_by(|&a, &b| likeness[b].total_cmp(&likeness[a]).then(a.cmp(&b)));
        if self.select == Select::Knn {
            near.truncate(self.k);
            return near;
        }
        near.truncate(REACH * self.k);
        let relevance: Vec<f32> = near.iter().map(|&at| likeness[at]).collect();
        let vectors: Vec<&[f32]> = near.iter().map(|&at| &self.vectors[at][..]).collect();
        let mut chosen: Vec<usize> =
            mmr(&relevance, &vectors, LAMBDA, self.k).into_iter().map(|at| near[at]).collect();
        chosen.sort_by(|&a, &b| likeness[b].total_cmp(&likeness[a]).then(a.cmp(&b)));
        chosen
    }
}

fn shuffled(mut places: Vec<usize>, seed: u64, stream: u64) -> Vec<usize> {
    SplitMix::new(seed, stream).shuffle(&mut places);
    places
}

/// One example of each class in turn, classes in their sorted order, examples of a class as they are drawn.
fn balanced(pool: &[Example], seed: u64) -> Vec<usize> {
    let mut classes: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, example) in pool.iter().enumerate() {
        classes.entry(example.output().unwrap_or_default()).or_default().push(at);
    }
    let classes: Vec<Vec<usize>> =
        (0..).zip(classes.into_values()).map(|(n, of)| shuffled(of, seed, n)).collect();
    let longest = classes.iter().map(Vec::len).max().unwrap_or(0);
    (0..longest).flat_map(|turn| classes.iter().filter_map(move |class| class.get(turn).copied())).collect()
}

/// The first `count` that fast vote-k selects: each example votes for its nearest neighbours, and a vote is discounted
/// tenfold for every neighbour of the voter that is selected already. Ties go to the earlier example.
fn vote_k(vectors: &[Vec<f32>], count: usize) -> Vec<usize> {
    let votes = VOTES.min((vectors.len() / 10).max(1)).min(vectors.len().saturating_sub(1));
    let neighbours: Vec<Vec<usize>> = (0..vectors.len())
        .into_par_iter()
        .map(|at| {
            let mut near: Vec<(f32, usize)> = (0..vectors.len())
                .filter(|&other| other != at)
                .map(|other| (super::cosine(&vectors[at], &vectors[other]), other))
                .collect();
            near.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            near.into_iter().take(votes).map(|(_, other)| other).collect()
        })
        .collect();
    let mut voters: Vec<Vec<usize>> = vec![Vec::new(); vectors.len()];
    for (voter, near) in neighbours.iter().enumerate() {
        near.iter().for_each(|&other| voters[other].push(voter));
    }
    let mut selected: Vec<usize> = Vec::new();
    let mut seen = vec![0i32; vectors.len()];
    while selected.len() < count.min(vectors.len()) {
        let score = |at: usize| voters[at].iter().map(|&voter| DISCOUNT.powi(-seen[voter])).sum::<f64>();
        let left = (0..vectors.len()).filter(|at| !selected.contains(at));
        let best =
            left.map(|at| (score(at), at)).reduce(|best, next| if next.0 > best.0 { next } else { best });
        let Some((_, best)) = best else { break };
        voters[best].iter().for_each(|&voter| seen[voter] += 1);
        selected.push(best);
    }
    selected
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::text::example::Columns;

    /// An input `a 0.5` lies at the angle 0.5 and is of class `a`.
    fn pool(inputs: &[&str]) -> Vec<Example> {
        let row = |input: &&str| json!({"input": input, "label": input.split(' ').next()});
        inputs.iter().map(|input| Example::of(row(input), 1, &Columns::default()).unwrap()).collect()
    }

    fn vector(input: &str) -> Vec<f32> {
        let angle: f32 = input.split_whitespace().nth(1).and_then(|angle| angle.parse().ok()).unwrap_or(0.0);
        vec![angle.cos(), angle.sin()]
    }

    fn demos(inputs: &[&str], select: Select, k: usize, seed: u64) -> Demonstrations {
        let vectors: Vec<_> = inputs.iter().map(|text| vector(text)).collect();
        Demonstrations::new(pool(inputs), vectors, select, k, seed)
    }

    fn chosen(inputs: &[&str], select: Select, k: usize, asked: &str) -> Vec<usize> {
        demos(inputs, select, k, 3).choose(asked, &vector(asked))
    }

    const INPUTS: [&str; 6] = ["a 0.0", "a 0.1", "a 0.2", "b 1.0", "b 1.1", "c 3.0"];

    #[test]
    fn the_first_are_the_first_and_none_is_none() {
        assert_eq!(chosen(&INPUTS, Select::First, 2, "x 1.0"), [0, 1]);
        assert!(chosen(&INPUTS, Select::None, 2, "x 1.0").is_empty());
        assert!(chosen(&[], Select::Knn, 2, "x 1.0").is_empty());
    }

    #[test]
    fn the_nearest_come_nearest_first_and_what_is_asked_is_never_shown() {
        assert_eq!(chosen(&INPUTS, Select::Knn, 3, "x 1.04"), [3, 4, 2]);
        assert_eq!(chosen(&INPUTS, Select::Knn, 3, " b 1.0 "), [4, 2, 1]);
        for select in Select::ALL {
            assert!(!chosen(&INPUTS, select, 6, "b 1.0").contains(&3), "{select:?}");
        }
    }

    #[test]
    fn diverse_neighbours_are_near_and_not_each_other_s_twins() {
        let inputs = ["a 1.2", "a 1.201", "a 1.202", "b 0.75", "c 3.0"];
        assert_eq!(chosen(&inputs, Select::Knn, 2, "x 1.0"), [0, 1]);
        assert_eq!(chosen(&inputs, Select::Mmr, 2, "x 1.0"), [0, 3]);
    }

    #[test]
    fn classes_take_turns() {
        let of = |seed| demos(&INPUTS, Select::Balanced, 5, seed).choose("x 0", &[]);
        let classes: Vec<&str> = of(1).into_iter().map(|at| &INPUTS[at][..1]).collect();
        assert_eq!(classes, ["a", "b", "c", "a", "b"]);
        assert!((0..20).any(|seed| of(seed) != of(1)), "the seed decides which of a class");
    }

    #[test]
    fn what_is_drawn_is_the_seed_s_and_the_same_for_every_question() {
        let of = |seed, asked: &str| demos(&INPUTS, Select::Random, 3, seed).choose(asked, &vector(asked));
        assert_eq!(of(1, "x 0"), of(1, "y 2"));
        assert!((0..20).any(|seed| of(seed, "x 0") != of(1, "x 0")));
    }

    #[test]
    fn votes_choose_the_middle_of_each_crowd() {
        // Two crowds of eleven; with two votes each, the middle of the first has most, then that of the other.
        let inputs: Vec<String> =
            (0..22).map(|n| format!("a {}", f64::from(n / 11) * 2.0 + f64::from(n % 11) * 0.01)).collect();
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        let chosen = chosen(&inputs, Select::Votek, 4, "x 9");
        assert_eq!(chosen.len(), 4);
        assert_eq!(chosen.iter().filter(|&&at| at < 11).count(), 2, "{chosen:?}");
    }

    #[test]
    fn names_are_read_back_and_others_are_answered_with_those_that_are() {
        for select in Select::ALL {
            assert_eq!(select.name().parse::<Select>().unwrap(), select);
            assert_eq!(serde_json::to_value(select).unwrap(), select.name());
        }
        assert!("best".parse::<Select>().unwrap_err().advice().unwrap().contains("votek"));
    }

    proptest! {
        #[test]
        fn at_most_k_distinct_examples_are_chosen_and_as_many_as_there_are(
            angles in prop::collection::vec(0u8..40, 0..15), k in 0usize..8, seed in 0u64..9,
        ) {
            let inputs: Vec<String> = angles.iter().map(|angle| format!("{} {}", angle % 3, angle)).collect();
            let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
            for select in Select::ALL.into_iter().filter(|&select| select != Select::None) {
                let chosen = demos(&inputs, select, k, seed).choose("x 50", &vector("x 50"));
                let unique: std::collections::BTreeSet<_> = chosen.iter().collect();
                prop_assert_eq!(unique.len(), chosen.len());
                prop_assert_eq!(chosen.len(), k.min(inputs.len()), "{:?}", select);
            }
        }
    }
}
