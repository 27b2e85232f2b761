//! How likely a model thinks given continuations of a prompt: labels of a class, answers to choose from.
//!
//! Prompt and continuations go through the network in one pass over its weights. The prompt's last row says how likely
//! each first token is, so a continuation costs the tokens between its first and its last, and one of a single token
//! nothing. Computed in 32-bit floats whatever the model writes with. What follows from the numbers is for
//! [`super::labels`].

use candle_core::Tensor;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::Head;
use super::local::{Arithmetic, LocalGenerator};
use crate::error::{Error, Result};
use crate::models::Model;
use crate::text::layout::Layout;

/// Rows of logits that exist at a time.
const ROWS: usize = 64;

/// One continuation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Scored {
    /// Natural logarithm of the probability of all tokens, each given those before it.
    pub log_probability: f64,
    pub tokens: usize,
    /// Of the continuation as given, without a space before it.
    pub characters: usize,
    pub bytes: usize,
    /// Every token is the most likely one in its place: greedy decoding would write this.
    pub greedy: bool,
}

impl LocalGenerator {
    pub(super) fn score(
        &self,
        head: &Head,
        layout: &Layout,
        continuations: &[String],
    ) -> Result<Vec<Scored>> {
        let (context, ids) = self.split(&self.render(layout)?, continuations)?;
        self.scored(head, self.uncovered(&context), continuations, &ids)
    }

    pub(super) fn unconditional(&self, layout: &Layout, continuations: &[String]) -> Result<Vec<Scored>> {
        let (_, ids) = self.split(&self.render(layout)?, continuations)?;
        self.scored(&Head::none(), &[self.start()?], continuations, &ids)
    }

    fn start(&self) -> Result<u32> {
        self.tokenizer().start().ok_or_else(|| {
            Error::invalid(format!("`{}` has no token for the beginning or the end of a text", self.name()))
                .hint("score continuations of a prompt that is not empty")
        })
    }

    /// The ids of `prompt`, and behind them those of each continuation.
    ///
    /// Both are cut into tokens together, a space between them unless the prompt ends in white space. Where a token reaches
    /// over white space at the prompt's end, that counts as part of every continuation, as lm-evaluation-harness has it.
    fn split(&self, prompt: &str, continuations: &[String]) -> Result<(Vec<u32>, Vec<Vec<u32>>)> {
        let tokenizer = self.tokenizer();
        let space = if prompt.ends_with(char::is_whitespace) { "" } else { " " };
        let whole = continuations
            .iter()
            .map(|continuation| tokenizer.encode_prompt(&format!("{prompt}{space}{continuation}")))
            .collect::<Result<Vec<_>>>()?;
        let of = |prompt| -> Result<Vec<u32>> {
            let ids = tokenizer.encode_prompt(prompt)?;
            Ok(if ids.is_empty() { vec![self.start()?] } else { ids })
        };
        for context in [prompt, prompt.trim_end()] {
            let context = of(context)?;
            if let Some(rests) =
                whole.iter().map(|ids| ids.strip_prefix(&context[..])).collect::<Option<Vec<_>>>()
            {
                return Ok((context, rests.into_iter().map(<[u32]>::to_vec).collect()));
            }
        }
        let apart = continuations.iter().map(|text| tokenizer.encode(&format!("{space}{text}"), false));
        Ok((of(prompt)?, apart.collect::<Result<_>>()?))
    }

    fn scored(
        &self,
        head: &Head,
        context: &[u32],
        continuations: &[String],
        ids: &[Vec<u32>],
    ) -> Result<Vec<Scored>> {
        if let Some(at) = ids.iter().position(Vec::is_empty) {
            return Err(Error::invalid(format!("the continuation {:?} has no tokens", continuations[at]))
                .hint("give every label a text"));
        }
        let longest = ids.iter().map(Vec::len).max().unwrap_or(0);
        if context.len() + longest > self.context() + 1 {
            return Err(Error::too_long(format!(
                "{} prompt tokens and {longest} of a continuation do not fit the context of {}",
                context.len(),
                self.context()
            ))
            .hint("use fewer or shorter demonstrations or passages"));
        }
        let sums = head.continued_by(context, self, Arithmetic::Exact, |cache, rest| {
            let branches = branches(ids);
            let sequences: Vec<&[u32]> = std::iter::once(rest).chain(branches.iter().copied()).collect();
            let hidden = self.hidden(&sequences, cache, Arithmetic::Exact)?; // (N, H)
            // The prompt's last row, and all rows of branches.
            let before = rest.len() - 1;
            let rows = hidden.narrow(0, before, hidden.dim(0)? - before)?;
            let mut wanted = vec![Vec::new(); rows.dim(0)?];
            for (label, ids) in ids.iter().enumerate() {
                for (row, &token) in rows_of(ids, &branches).zip(ids) {
                    wanted[row].push((label, token));
                }
            }
            self.sums(&rows, &wanted, ids.len())
        })?;
        let scored = |((text, ids), (log_probability, greedy)): ((&String, &Vec<u32>), (f64, bool))| Scored {
            log_probability,
            tokens: ids.len(),
            characters: text.chars().count(),
            bytes: text.len(),
            greedy,
        };
        Ok(continuations.iter().zip(ids).zip(sums).map(scored).collect())
    }

    /// For each label the sum of its tokens' log-probabilities, and whether all are the most likely ones. `rows` is `(n, H)`;
    /// `wanted` are the labels and tokens to look up in each row.
    fn sums(&self, rows: &Tensor, wanted: &[Vec<(usize, u32)>], labels: usize) -> Result<Vec<(f64, bool)>> {
        let mut sums = vec![(0.0, true); labels];
        for (at, wanted) in wanted.chunks(ROWS).enumerate() {
            let logits = self.logits(&rows.narrow(0, at * ROWS, wanted.len())?, Arithmetic::Exact)?; // (n, V)
            let logits = logits.to_vec2::<f32>()?;
            let totals: Vec<(f64, usize)> = logits.par_iter().map(|row| total(row)).collect();
            for ((row, (total, most)), wanted) in logits.iter().zip(totals).zip(wanted) {
                if !total.is_finite() {
                    return Err(Model::why_not_finite(self.path()));
                }
                for &(label, token) in wanted {
                    let logit = row.get(token as usize).ok_or_else(|| {
                        Error::invalid(format!("token id {token} lies outside the model's {}", row.len()))
                            .hint("tokenizer and model are not of one pair")
                    })?;
                    sums[label].0 += f64::from(*logit) - total;
                    sums[label].1 &= most == token as usize;
                }
            }
        }
        Ok(sums)
    }
}

/// What has to be read behind the prompt: each continuation less its last token, unless another begins with it.
fn branches(ids: &[Vec<u32>]) -> Vec<&[u32]> {
    let mut branches: Vec<&[u32]> = ids.iter().map(|ids| &ids[..ids.len() - 1]).collect();
    branches.sort_unstable();
    // In order, what begins with a text comes right behind it.
    let is_whole = |at: usize| !branches.get(at + 1).is_some_and(|next| next.starts_with(branches[at]));
    (0..branches.len())
        .filter(|&at| is_whole(at) && !branches[at].is_empty())
        .map(|at| branches[at])
        .collect()
}

/// For each token of a continuation the row that predicts it: row 0 is the prompt's last, then come the branches'.
fn rows_of(ids: &[u32], branches: &[&[u32]]) -> impl Iterator<Item = usize> {
    let read = &ids[..ids.len() - 1];
    let at = branches.iter().position(|branch| branch.starts_with(read)).unwrap_or(0);
    let start: usize = branches[..at].iter().map(|branch| branch.len()).sum();
    (0..ids.len()).map(move |token| if token == 0 { 0 } else { start + token })
}

/// `ln Σ e^x`, and where the first of the largest stands.
fn total(x: &[f32]) -> (f64, usize) {
    let (mut most, mut at) = (f32::NEG_INFINITY, 0);
    for (i, &x) in x.iter().enumerate() {
        if x > most {
            (most, at) = (x, i);
        }
    }
    let most = f64::from(most);
    (most + x.iter().map(|&x| (f64::from(x) - most).exp()).sum::<f64>().ln(), at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_continuation_within_another_is_not_read_again() {
        let ids = [vec![7, 8, 9], vec![7, 8, 3, 4], vec![5], vec![7, 9, 1], vec![7, 8, 3, 6]];
        let branches = branches(&ids);
        assert_eq!(branches, [&[7, 8, 3][..], &[7, 9]]);
        let rows = |ids: &[u32]| rows_of(ids, &branches).collect::<Vec<_>>();
        assert_eq!(rows(&ids[0]), [0, 1, 2]);
        assert_eq!(rows(&ids[1]), [0, 1, 2, 3]);
        assert_eq!(rows(&ids[2]), [0]);
        assert_eq!(rows(&ids[3]), [0, 4, 5]);
    }

    #[test]
    fn labels_of_one_token_need_no_branch() {
        assert!(branches(&[vec![7], vec![8]]).is_empty());
        assert_eq!(rows_of(&[7], &[]).collect::<Vec<_>>(), [0]);
    }

    #[test]
    fn the_total_is_that_of_the_definition_even_where_floats_would_overflow() {
        let (total, most) = total(&[1000.0, 1001.0, 999.0, 1001.0]);
        let expected = 1001.0 + (2.0 + (-1f64).exp() + (-2f64).exp()).ln();
        assert!((total - expected).abs() < 1e-12);
        assert_eq!(most, 1);
    }
}
