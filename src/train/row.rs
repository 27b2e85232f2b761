//! One row of training data as numbers: what a model reads and what it should say.
//!
//! Which ids are learned from is written beside them and never found by looking for an id: in many models the id that pads
//! is also the one that ends a turn.

use crate::nn::loss::IGNORE;

/// Token ids and what should come of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    pub ids: Vec<u32>,
    pub target: Target,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Target {
    /// A label for each id: the id itself where it is learned, [`IGNORE`] where it is only read.
    Tokens(Vec<i64>),
    /// The number of the class of the whole row.
    Class(u32),
    /// Which of several answers is better.
    Preference(Preference),
}

/// Answers to one prompt, the best first. The row's ids are prompt and answer of each, end to end.
#[derive(Debug, Clone, PartialEq)]
pub struct Preference {
    /// How many ids belong to each answer, its prompt included.
    pub lengths: Vec<usize>,
    /// A label for each id: the id itself in answers, [`IGNORE`] in prompts.
    pub labels: Vec<i64>,
    /// By how much the best should be better than the others, where somebody said.
    pub margin: f32,
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

    /// Answers behind one prompt, the best first.
    pub fn of_answers<S: AsRef<[u32]>>(prompt: &[u32], answers: &[S], margin: f32) -> Self {
        let (mut ids, mut labels, mut lengths) = (Vec::new(), Vec::new(), Vec::new());
        for answer in answers.iter().map(AsRef::as_ref) {
            ids.extend(prompt.iter().chain(answer));
            labels.extend(prompt.iter().map(|_| IGNORE).chain(answer.iter().map(|&id| i64::from(id))));
            lengths.push(prompt.len() + answer.len());
        }
        Self { ids, target: Target::Preference(Preference { lengths, labels, margin }) }
    }

    /// What goes through the network as sequences of their own.
    pub fn sequences(&self) -> Vec<&[u32]> {
        match &self.target {
            Target::Preference(preference) => {
                let mut rest = &self.ids[..];
                let mut next = |length: &usize| {
                    let (sequence, behind) = rest.split_at((*length).min(rest.len()));
                    rest = behind;
                    sequence
                };
                preference.lengths.iter().map(&mut next).collect()
            }
            _ => vec![&self.ids],
        }
    }

    /// The ids that are read before the first that is learned.
    pub fn prompt(&self) -> &[u32] {
        let labels = match &self.target {
            Target::Tokens(labels) => labels,
            Target::Preference(preference) => &preference.labels,
            Target::Class(_) => return &self.ids,
        };
        let end = labels.iter().position(|label| *label != IGNORE).unwrap_or(self.ids.len());
        &self.ids[..end]
    }

    /// Tokens of the longest of them.
    pub fn longest(&self) -> usize {
        self.sequences().iter().map(|sequence| sequence.len()).max().unwrap_or(0)
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
            Target::Preference(preference) => usize::from(preference.lengths.len() > 1),
        }
    }

    /// The length of the longest stretch that is learned.
    pub(super) fn longest_answer(&self) -> usize {
        match &self.target {
            Target::Tokens(labels) => {
                labels.split(|label| *label == IGNORE).map(<[i64]>::len).max().unwrap_or(0)
            }
            Target::Class(_) | Target::Preference(_) => 0,
        }
    }

    /// Makes it fit `window` ids: where it is longer it may, if `cut` says so, lose the beginning of its prompt.
    pub fn fit(&mut self, window: usize, cut: bool) -> Fit {
        match self.longest() > window {
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
        self.longest() <= most
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
    fn answers_are_sequences_of_their_own_behind_one_prompt() {
        let row = Row::of_answers(&[1, 2], &[vec![7, 8, 0], vec![9, 0]], 0.5);
        assert_eq!(row.sequences(), [&[1, 2, 7, 8, 0][..], &[1, 2, 9, 0]]);
        let Target::Preference(preference) = &row.target else { panic!() };
        assert_eq!(preference.labels, [IGNORE, IGNORE, 7, 8, 0, IGNORE, IGNORE, 9, 0]);
        assert_eq!((row.longest(), row.targets()), (5, 1));
        assert_eq!(row.clone().fit(4, true), Fit::Not, "what tells answers apart is never cut");
        assert_eq!(row.clone().fit(5, true), Fit::Whole, "longer than the window only in sum");
        assert_eq!(Row::of_answers(&[1], &[vec![7]], 0.0).targets(), 0, "one answer is no choice");
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
