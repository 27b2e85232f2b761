//! One row of training data as numbers: what a model reads and what it should say.
//!
//! Which ids are learned from is written beside them and never found by looking for an id: in many models the id that pads
//! is also the one that ends a turn.

use crate::nn::loss::IGNORE;

/// Token ids and what should come of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub ids: Vec<u32>,
    pub target: Target,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A label for each id: the id itself where it is learned, [`IGNORE`] where it is only read.
    Tokens(Vec<i64>),
    /// The number of the class of the whole row.
    Class(u32),
}

/// What became of a row that was to fit a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    Whole,
    Cut,
    /// It is as it was, and too long.
    Not,
}

impl Row {
    /// A prompt that is read and an answer that is learned, its end token included: both as asking makes them.
    pub fn from_ids(prompt: &[u32], answer: &[u32]) -> Self {
        let mut row = Self { ids: Vec::new(), target: Target::Tokens(Vec::new()) };
        row.read(prompt);
        row.learn(answer);
        row
    }

    /// A text of a class.
    pub fn of_class(ids: Vec<u32>, class: u32) -> Self {
        Self { ids, target: Target::Class(class) }
    }

    /// Puts ids behind the others that are read and not learned.
    pub fn read(&mut self, ids: &[u32]) {
        self.push(ids, |_| IGNORE);
    }

    /// Puts ids behind the others that are learned.
    pub fn learn(&mut self, ids: &[u32]) {
        self.push(ids, i64::from);
    }

    fn push(&mut self, ids: &[u32], label: impl Fn(u32) -> i64) {
        self.ids.extend(ids);
        if let Target::Tokens(labels) = &mut self.target {
            labels.extend(ids.iter().map(|&id| label(id)));
        }
    }

    /// How many things are learned from it. Nothing foretells the first token, so that is none.
    pub fn targets(&self) -> usize {
        match &self.target {
            Target::Tokens(labels) => labels.iter().skip(1).filter(|label| **label != IGNORE).count(),
            Target::Class(_) => 1,
        }
    }

    /// The length of the longest stretch that is learned.
    pub(super) fn longest_answer(&self) -> usize {
        match &self.target {
            Target::Tokens(labels) => {
                labels.split(|label| *label == IGNORE).map(<[i64]>::len).max().unwrap_or(0)
            }
            Target::Class(_) => 0,
        }
    }

    /// Makes it fit `window` ids: where it is longer it may, if `cut` says so, lose the beginning of its prompt.
    pub fn fit(&mut self, window: usize, cut: bool) -> Fit {
        match self.ids.len() > window {
            false => Fit::Whole,
            true if cut && self.cut(window) => Fit::Cut,
            true => Fit::Not,
        }
    }

    /// Drops ids from the front until `most` are left, if all of those were only read. Whether they were.
    fn cut(&mut self, most: usize) -> bool {
        let surplus = self.ids.len().saturating_sub(most);
        if let Target::Tokens(labels) = &mut self.target {
            if labels[..surplus].iter().any(|label| *label != IGNORE) {
                return false;
            }
            labels.drain(..surplus);
            self.ids.drain(..surplus);
        }
        self.ids.len() <= most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_alone_is_learned_whatever_ids_it_holds() {
        let mut row = Row::from_ids(&[1, 2, 0], &[2, 2]);
        assert_eq!(row.target, Target::Tokens(vec![IGNORE, IGNORE, IGNORE, 2, 2]));
        assert_eq!((row.targets(), row.longest_answer()), (2, 2));
        row.read(&[9]);
        row.learn(&[5]);
        assert_eq!((row.targets(), row.ids.len()), (3, 7));
        assert_eq!(Row::from_ids(&[], &[4, 5]).targets(), 1);
    }

    #[test]
    fn cutting_takes_from_the_prompt_and_never_from_the_answer() {
        let mut row = Row::from_ids(&[1, 2, 3], &[4, 5]);
        assert!(row.cut(3));
        assert_eq!(row, Row::from_ids(&[3], &[4, 5]));
        assert!(!row.cut(1));
        assert_eq!(row.ids.len(), 3);
    }
}
