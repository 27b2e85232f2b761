//! How well are texts put into classes? Accuracy, macro-F1 and who is taken for whom, as scikit-learn counts them.
//!
//! The classes are those that were given or said anywhere. A model that writes all sorts of things instead of a label makes
//! a class of each, with an F1 of 0: whoever reads its replies gives those that are no label one name.

use std::collections::BTreeSet;
use std::ops::AddAssign;

use serde::Serialize;

/// An item's class and the one it was put into, as places in the list of labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Item {
    pub gold: usize,
    pub said: usize,
}

/// The labels of `pairs` (right, then said), sorted, and the pairs as places among them.
pub fn items<S: AsRef<str>>(pairs: &[(S, S)]) -> (Vec<String>, Vec<Item>) {
    let all: BTreeSet<&str> = pairs.iter().flat_map(|(gold, said)| [gold.as_ref(), said.as_ref()]).collect();
    let labels: Vec<String> = all.into_iter().map(str::to_owned).collect();
    let place = |label: &S| labels.partition_point(|known| known.as_str() < label.as_ref());
    let items = pairs.iter().map(|(gold, said)| Item { gold: place(gold), said: place(said) }).collect();
    (labels, items)
}

/// How many items of each class there are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// One a class, as is each of the following.
    pub gold: Vec<u64>,
    pub said: Vec<u64>,
    /// Said rightly.
    pub right: Vec<u64>,
}

impl Counts {
    pub fn of(items: &[Item]) -> Self {
        items.iter().fold(Self::default(), |mut counts, item| {
            counts += item;
            counts
        })
    }

    /// The share of items whose class was said; 0 when there are none.
    pub fn accuracy(&self) -> f64 {
        share(self.right.iter().sum(), self.gold.iter().sum())
    }

    /// The mean F1 over the classes that were given or said; 0 when there are none.
    pub fn macro_f1(&self) -> f64 {
        let classes = self.gold.iter().zip(&self.said).filter(|(gold, said)| **gold + **said > 0).count();
        let f1 = |class| self.class(class).f1;
        (0..self.gold.len()).map(f1).sum::<f64>() / classes.max(1) as f64
    }

    /// Of one class; where nothing can be divided by, 0.
    ///
    /// # Panics
    /// When there is no such class.
    pub fn class(&self, class: usize) -> Scores {
        let (gold, said, right) = (self.gold[class], self.said[class], self.right[class]);
        Scores {
            precision: share(right, said),
            recall: share(right, gold),
            f1: share(2 * right, gold + said),
            items: gold,
        }
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

impl AddAssign<&Item> for Counts {
    fn add_assign(&mut self, item: &Item) {
        let classes = self.gold.len().max(item.gold.max(item.said) + 1);
        for counts in [&mut self.gold, &mut self.said, &mut self.right] {
            counts.resize(classes, 0);
        }
        self.gold[item.gold] += 1;
        self.said[item.said] += 1;
        self.right[item.gold] += u64::from(item.gold == item.said);
    }
}

/// How one class fared.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Scores {
    pub precision: f64,
    pub recall: f64,
    pub f1: f64,
    /// Items that are of it.
    pub items: u64,
}

/// How often items of one class (a row) were put into another (a column): `(classes, classes)`.
pub fn confusion(items: &[Item], classes: usize) -> Vec<Vec<u64>> {
    let mut counts = vec![vec![0; classes]; classes];
    for item in items {
        if let Some(count) = counts.get_mut(item.gold).and_then(|row| row.get_mut(item.said)) {
            *count += 1;
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_counted_as_in_scikit_learn() {
        // from sklearn.metrics import *
        // g, s = "a a a b b c c c c".split(), "a b a b d c c a x".split()
        // f1_score(g, s, average="macro", zero_division=0), accuracy_score(g, s), confusion_matrix(g, s)
        let gold = "a a a b b c c c c".split(' ');
        let pairs: Vec<(&str, &str)> = gold.zip("a b a b d c c a x".split(' ')).collect();
        let (labels, items) = items(&pairs);
        assert_eq!(labels, ["a", "b", "c", "d", "x"]);
        let counts = Counts::of(&items);
        assert!((counts.macro_f1() - 11.0 / 30.0).abs() < 1e-12, "{}", counts.macro_f1());
        assert!((counts.accuracy() - 5.0 / 9.0).abs() < 1e-12);
        assert_eq!(counts.class(3), Scores { precision: 0.0, recall: 0.0, f1: 0.0, items: 0 });
        let rows = [[2, 1, 0, 0, 0], [0, 1, 0, 1, 0], [1, 0, 2, 0, 1], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]];
        assert_eq!(confusion(&items, labels.len()), rows);
    }

    #[test]
    fn a_class_that_no_item_drawn_has_does_not_count() {
        let item = |gold, said| Item { gold, said };
        assert_eq!(Counts::of(&[item(2, 2), item(2, 2)]).macro_f1(), 1.0);
        assert_eq!(Counts::of(&[item(2, 2), item(0, 2)]).macro_f1(), (0.0 + 2.0 / 3.0) / 2.0);
        assert_eq!((Counts::of(&[]).macro_f1(), Counts::of(&[]).accuracy()), (0.0, 0.0));
    }
}
