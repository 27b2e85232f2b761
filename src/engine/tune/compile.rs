//! From in-context to tuned: a prompt that shows examples, compiled into a prefix.
//!
//! All prompts that show the same examples begin alike. What a model's layers make of that beginning, their keys and values, is
//! a prefix before the first step of training, and the loss under it is the loss in context. What is left of each prompt is
//! what stands behind the examples; when the tuned model is asked, prompts come without examples, and what stands before where
//! the examples would be (a system turn) is in the prefix already and is left out.

use crate::error::{Error, Result};
use crate::nn::loss::IGNORE;
use crate::train::{Row, Target};

/// What the prefix stands for, and rows to go on from it with.
#[derive(Debug, Clone, PartialEq)]
pub struct Compiled {
    /// The ids whose keys and values the prefix begins as.
    pub prefix: Vec<u32>,
    /// What prompts without examples begin with that is among those.
    pub covered: Vec<u32>,
    pub rows: Vec<Row>,
}

/// Compiles rows whose prompts show examples, `shown`, given the same rows without, `asked`.
///
/// # Errors
/// `Invalid` when the prompts do not differ by one beginning.
pub fn compile(asked: &[Row], shown: &[Row]) -> Result<Compiled> {
    let apart = || {
        Error::invalid("prompts with and without the examples do not differ by their beginning alone").hint(
            "use a template that shows its examples before the input, and rows that are prompts with answers",
        )
    };
    if asked.len() != shown.len() || asked.is_empty() {
        return Err(apart());
    }
    let (asked_prompts, shown_prompts): (Vec<&[u32]>, Vec<&[u32]>) =
        asked.iter().zip(shown).map(|(asked, shown)| (prompt(asked), prompt(shown))).unzip();
    // Ids at the end that both have.
    let behind =
        |a: &[u32], b: &[u32]| a.iter().rev().zip(b.iter().rev()).take_while(|(a, b)| a == b).count();
    let pairs = asked_prompts.iter().zip(&shown_prompts);
    let covered = pairs.map(|(asked, shown)| asked.len() - behind(asked, shown)).max().unwrap_or(0);
    let first = |prompts: &[&[u32]], length: usize| prompts[0].get(..length).map(<[u32]>::to_vec);
    let rest = asked_prompts[0].len().saturating_sub(covered);
    let prefix = first(&shown_prompts, shown_prompts[0].len() - rest).ok_or_else(apart)?;
    let covered = first(&asked_prompts, covered).ok_or_else(apart)?;
    let mut rows = Vec::with_capacity(asked.len());
    for ((asked, shown), row) in asked_prompts.iter().zip(&shown_prompts).zip(asked) {
        let rest = asked.strip_prefix(&covered[..]).ok_or_else(apart)?;
        if shown.strip_prefix(&prefix[..]) != Some(rest) || rest.is_empty() {
            return Err(apart());
        }
        rows.push(Row::from_ids(rest, &row.ids[asked.len()..]));
    }
    if prefix.is_empty() {
        return Err(
            Error::invalid("the prompts show no examples").hint("name a file with some: --init-demos FILE")
        );
    }
    Ok(Compiled { prefix, covered, rows })
}

/// The ids before the first that is learned.
fn prompt(row: &Row) -> &[u32] {
    match &row.target {
        Target::Tokens(labels) => {
            let read = labels.iter().take_while(|label| **label == IGNORE).count();
            &row.ids[..read]
        }
        Target::Class(_) | Target::Preference(_) => &row.ids,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(prompt: &[u32]) -> Row {
        Row::from_ids(prompt, &[7, 8])
    }

    #[test]
    fn what_stands_before_the_input_becomes_the_prefix() {
        // 1 2 is a system turn, 5 6 the examples.
        let asked = [row(&[1, 2, 30]), row(&[1, 2, 31, 32])];
        let shown = [row(&[1, 2, 5, 6, 30]), row(&[1, 2, 5, 6, 31, 32])];
        let compiled = compile(&asked, &shown).unwrap();
        assert_eq!(compiled.prefix, [1, 2, 5, 6]);
        assert_eq!(compiled.covered, [1, 2]);
        assert_eq!(compiled.rows, [row(&[30]), row(&[31, 32])]);
    }

    #[test]
    fn an_end_that_examples_share_with_what_stands_before_them_stays_with_the_input() {
        let asked = [row(&[1, 9, 30]), row(&[1, 9, 31])];
        let shown = [row(&[1, 9, 5, 9, 30]), row(&[1, 9, 5, 9, 31])];
        let compiled = compile(&asked, &shown).unwrap();
        assert_eq!([compiled.prefix.clone(), compiled.rows[0].ids.clone()].concat(), [1, 9, 5, 9, 30, 7, 8]);
        assert_eq!([compiled.covered.clone(), compiled.rows[1].ids.clone()].concat(), [1, 9, 31, 7, 8]);
    }

    #[test]
    fn prompts_that_differ_elsewhere_are_refused() {
        let asked = [row(&[1, 30]), row(&[1, 31])];
        for shown in [[row(&[1, 5, 30]), row(&[1, 6, 31])], [row(&[5, 30, 1]), row(&[5, 31, 1])]] {
            assert!(compile(&asked, &shown).is_err());
        }
        assert!(compile(&asked, &asked).is_err());
        assert!(compile(&asked, &[row(&[5, 1, 30])]).is_err());
    }
}
