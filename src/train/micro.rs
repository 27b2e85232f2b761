//! Rows in pieces that are computed at once.
//!
//! Rows are packed, so there is no padding to save. Where a model reads from left to right, what several sequences begin with is
//! computed once: the prompt of answers that were compared, or drawn, and the instruction with which a template begins every row.
//! Attention, loss and gradient are what they would be if each had a copy of its own.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use super::row::{Row, Target};
use crate::models::Batch;
use crate::nn::loss::{IGNORE, Targets};

/// Rows that are computed together.
pub struct Micro {
    /// Which rows of the data.
    pub rows: Vec<usize>,
    /// Their sequences, those of one row behind each other; before them, once, the beginnings that some share.
    pub batch: Batch,
    /// Which of its leaves, the sequences that no other goes on with, are whose.
    pub sequences: Vec<Range<usize>>,
    pub targets: Targets,
    /// Which of the targets are of which leaf.
    pub of_sequences: Vec<Range<usize>>,
    /// Whether beginnings are shared.
    shares: bool,
}

/// A piece, as it comes about.
#[derive(Default)]
struct Laid<'d> {
    sequences: Vec<&'d [u32]>,
    behind: Vec<Option<usize>>,
    tokens: usize,
    targets: Vec<(u32, u32)>,
    of_sequences: Vec<Range<usize>>,
    /// Of each shared beginning, its sequence and the row of its last token.
    beginnings: HashMap<&'d [u32], (usize, u32)>,
}

impl<'d> Laid<'d> {
    fn push(&mut self, ids: &'d [u32], behind: Option<usize>) {
        self.sequences.push(ids);
        self.behind.push(behind);
        self.tokens += ids.len();
    }

    /// The beginning `ids`, computed once.
    fn begin(&mut self, ids: &'d [u32]) -> (usize, u32) {
        if let Some(&known) = self.beginnings.get(ids) {
            return known;
        }
        self.push(ids, None);
        let begun = (self.sequences.len() - 1, self.tokens as u32 - 1);
        self.beginnings.insert(ids, begun);
        begun
    }

    /// A leaf; a token's label is what the token before it should say.
    fn leaf(&mut self, begun: Option<(usize, u32)>, ids: &'d [u32], labels: &[i64]) {
        let (first, from) = (self.tokens as u32, self.targets.len());
        self.push(ids, begun.map(|(sequence, _)| sequence));
        for (at, &label) in labels.iter().enumerate().filter(|(_, label)| **label != IGNORE) {
            let before = match at {
                0 => begun.map(|(_, last)| last),
                at => Some(first + at as u32 - 1),
            };
            self.targets.extend(before.map(|row| (row, label as u32)));
        }
        self.of_sequences.push(from..self.targets.len());
    }
}

impl Micro {
    fn of(data: &[Row], rows: &[usize], shares: bool) -> Self {
        let beginnings = Beginnings::of(data, rows, shares);
        let (mut laid, mut sequences) = (Laid::default(), Vec::new());
        for (number, &row) in rows.iter().enumerate() {
            let row = &data[row];
            let before = laid.of_sequences.len();
            let mut labels = match &row.target {
                Target::Tokens(labels) => &labels[..],
                Target::Preference(preference) => &preference.labels,
                Target::Class(class) => {
                    laid.push(&row.ids, None);
                    laid.targets.push((number as u32, *class));
                    laid.of_sequences.push(number..number + 1);
                    sequences.push(before..before + 1);
                    continue;
                }
            };
            let shared = beginnings.shared(row);
            for ids in row.sequences() {
                let (own, rest) = labels.split_at(ids.len());
                labels = rest;
                match (1..ids.len()).contains(&shared) {
                    true => {
                        let begun = laid.begin(&ids[..shared]);
                        laid.leaf(Some(begun), &ids[shared..], &own[shared..]);
                    }
                    false => laid.leaf(None, ids, own),
                }
            }
            sequences.push(before..laid.of_sequences.len());
        }
        let (targets, ids) = laid.targets.into_iter().unzip();
        Self {
            rows: rows.to_vec(),
            batch: Batch::branching(&laid.sequences, laid.behind),
            sequences,
            targets: Targets { rows: targets, ids },
            of_sequences: laid.of_sequences,
            shares,
        }
    }
}

/// An instruction of so many tokens is worth sharing.
const SHORTEST: usize = 8;

/// What some rows begin with.
#[derive(Default)]
struct Beginnings<'d> {
    /// Answers to each prompt; none where nothing is shared.
    answers: HashMap<&'d [u32], usize>,
    /// Tokens that all prompts begin with which have one answer.
    common: usize,
}

impl<'d> Beginnings<'d> {
    fn of(data: &'d [Row], rows: &[usize], shares: bool) -> Self {
        let mut found = Self::default();
        let rows = || rows.iter().map(|&row| &data[row]);
        if !shares {
            return found;
        }
        for row in rows().filter(|row| !matches!(row.target, Target::Class(_))) {
            *found.answers.entry(row.prompt()).or_default() += row.sequences().len();
        }
        let mut alone = rows().map(Row::prompt).filter(|prompt| found.answers.get(prompt) == Some(&1));
        if let Some(first) = alone.next() {
            let alike = |prompt: &[u32]| first.iter().zip(prompt).take_while(|(a, b)| a == b).count();
            found.common = alone.map(alike).min().filter(|common| *common >= SHORTEST).unwrap_or(0);
        }
        found
    }

    /// Tokens that `row` begins with and shares.
    fn shared(&self, row: &Row) -> usize {
        match self.answers.get(row.prompt()) {
            Some(1) => self.common,
            Some(_) => row.prompt().len(),
            None => 0,
        }
    }

    /// Tokens that `row` adds to those that begin as `known` says, which its beginning joins.
    fn cost(&self, row: &'d Row, known: &mut HashSet<&'d [u32]>) -> usize {
        let shared = self.shared(row);
        let new = if shared > 0 && known.insert(&row.ids[..shared]) { shared } else { 0 };
        row.ids.len() - row.sequences().len() * shared + new
    }
}

/// The rows numbered `chosen`, in pieces of at most `most` tokens; a row that is longer is a piece of its own. Where beginnings are
/// shared, rows with one prompt come one after another.
pub fn micros(data: &[Row], chosen: &[usize], most: usize, shares: bool) -> Vec<Micro> {
    let mut micros = Vec::new();
    let mut piece: Vec<usize> = Vec::new();
    let beginnings = Beginnings::of(data, chosen, shares);
    let (mut tokens, mut known) = (0, HashSet::new());
    for row in groups(data, chosen, shares).concat() {
        let mut length = beginnings.cost(&data[row], &mut known);
        if !piece.is_empty() && tokens + length > most {
            micros.push(Micro::of(data, &piece, shares));
            piece.clear();
            known.clear();
            (tokens, length) = (0, beginnings.cost(&data[row], &mut known));
        }
        piece.push(row);
        tokens += length;
    }
    if !piece.is_empty() {
        micros.push(Micro::of(data, &piece, shares));
    }
    micros
}

/// Rows with one prompt together, in the order in which the first of each comes.
fn groups(data: &[Row], rows: &[usize], shares: bool) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut known: HashMap<&[u32], usize> = HashMap::new();
    for &row in rows {
        let prompt = data[row].prompt();
        let own = !shares || prompt.is_empty() || matches!(data[row].target, Target::Class(_));
        match known.get(prompt).filter(|_| !own) {
            Some(&group) => groups[group].push(row),
            None => {
                known.insert(prompt, groups.len());
                groups.push(vec![row]);
            }
        }
    }
    groups
}

impl Micro {
    /// The same rows as if each of their sequences were one token: for whoever reads no more of them.
    pub fn of_one_token_each(&self) -> Self {
        let ids: Vec<[u32; 1]> =
            self.batch.packing.leaves().map(|range| [self.batch.ids[range.start]]).collect();
        Self {
            rows: self.rows.clone(),
            batch: Batch::of(&ids),
            sequences: self.sequences.clone(),
            targets: self.targets.clone(),
            of_sequences: self.of_sequences.clone(),
            shares: self.shares,
        }
    }

    /// The same rows in `parts` of about as many tokens each, to be computed side by side; whole where there are fewer rows, or where
    /// each part would compute over again what most of the piece is: a prompt that all share.
    pub fn split(self, data: &[Row], parts: usize) -> Vec<Self> {
        if parts < 2 || self.rows.len() < parts {
            return vec![self];
        }
        let shares = self.shares;
        let mut units = groups(data, &self.rows, shares);
        let beginnings = Beginnings::of(data, &self.rows, shares);
        let length = |rows: &Vec<usize>| -> usize {
            let mut known = HashSet::new();
            rows.iter().map(|&row| beginnings.cost(&data[row], &mut known)).sum()
        };
        if units.len() < parts {
            let all: usize = units.iter().map(length).sum();
            let several = units.iter().filter(|unit| unit.len() > 1);
            let prompts: usize = several.map(|unit| data[unit[0]].prompt().len()).sum();
            if shares && 2 * prompts > all {
                return vec![self];
            }
            units = self.rows.iter().map(|&row| vec![row]).collect();
        }
        let mut longest_first: Vec<(usize, Vec<usize>)> =
            units.into_iter().map(|rows| (length(&rows), rows)).collect();
        longest_first.sort_by_key(|(tokens, _)| std::cmp::Reverse(*tokens));
        let mut loads = vec![(0, Vec::new()); parts];
        for (more, unit) in longest_first {
            if let Some((tokens, rows)) = loads.iter_mut().min_by_key(|(tokens, _)| *tokens) {
                *tokens += more;
                rows.extend(unit);
            }
        }
        loads.into_iter().map(|(_, rows)| Self::of(data, &rows, shares)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(lengths: impl IntoIterator<Item = usize>) -> Vec<Row> {
        lengths.into_iter().map(|length| Row::from_ids(&vec![1; length - 1], &[2])).collect()
    }

    #[test]
    fn a_step_is_computed_in_pieces_of_bounded_size() {
        let data = data([3, 4, 2, 9, 5]);
        let pieces = micros(&data, &[0, 1, 2, 3, 4], 8, false);
        let rows: Vec<_> = pieces.iter().map(|piece| piece.rows.clone()).collect();
        assert_eq!(rows, [vec![0, 1], vec![2], vec![3], vec![4]]);
        assert_eq!(pieces[0].targets, Targets { rows: vec![1, 5], ids: vec![2, 2] });
        assert_eq!(pieces[0].batch.packing.rows(), 7);
    }

    #[test]
    fn a_piece_is_split_evenly_and_loses_no_row() {
        let data = data([30, 4, 12, 9, 5, 11]);
        let whole = || micros(&data, &[0, 1, 2, 3, 4, 5], 100, false).remove(0);
        for parts in 2..=6 {
            let split = whole().split(&data, parts);
            assert_eq!(split.len(), parts);
            let mut rows: Vec<usize> = split.iter().flat_map(|part| part.rows.clone()).collect();
            rows.sort_unstable();
            assert_eq!(rows, [0, 1, 2, 3, 4, 5]);
            let most = split.iter().map(|part| part.batch.packing.rows()).max().unwrap();
            assert_eq!(most, if parts == 2 { 36 } else { 30 });
            assert_eq!(split.iter().map(|part| part.targets.ids.len()).sum::<usize>(), 6);
        }
        assert_eq!(whole().split(&data, 7).len(), 1, "no thread without a row");
        assert_eq!(whole().split(&data, 1)[0].rows, [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn rows_of_classes_have_one_target_each() {
        let data = [Row::of_class(vec![5, 6], 3), Row::of_class(vec![7], 0)];
        let pieces = micros(&data, &[1, 0], 100, true);
        assert_eq!(pieces[0].targets, Targets { rows: vec![0, 1], ids: vec![0, 3] });
    }

    #[test]
    fn answers_of_one_row_stay_together() {
        let data = [Row::of_answers(&[1], &[vec![2, 3], vec![4]], 0.0), Row::from_ids(&[5], &[6])];
        let pieces = micros(&data, &[0, 1], 100, false);
        assert_eq!(pieces[0].sequences, [0..2, 2..3]);
        assert_eq!(pieces[0].batch.packing.ranges().collect::<Vec<_>>(), [0..3, 3..5, 5..7]);
        assert_eq!(pieces[0].targets, Targets { rows: vec![0, 1, 3, 5], ids: vec![2, 3, 4, 6] });
    }

    #[test]
    fn what_answers_begin_with_is_there_once() {
        let data = [
            Row::of_answers(&[1, 9], &[vec![2, 3], vec![4]], 0.0),
            Row::from_ids(&[5], &[6]),
            Row::from_ids(&[7, 8], &[6, 6]),
            Row::from_ids(&[7, 8], &[5]),
        ];
        let piece = micros(&data, &[2, 0, 1, 3], 100, true).remove(0);
        assert_eq!(piece.rows, [2, 3, 0, 1], "rows with one prompt come together");
        assert_eq!(piece.batch.ids, [7, 8, 6, 6, 5, 1, 9, 2, 3, 4, 5, 6]);
        assert_eq!(piece.sequences, [0..1, 1..2, 2..4, 4..5]);
        assert_eq!(
            piece.targets,
            Targets { rows: vec![1, 2, 1, 6, 7, 6, 10], ids: vec![6, 6, 5, 2, 3, 4, 6] }
        );
        assert_eq!(piece.of_sequences, [0..2, 2..3, 3..5, 5..6, 6..7]);
        let alone = micros(&data, &[2, 0, 1], 100, true).remove(0);
        assert_eq!(alone.batch.packing.root(0), None, "who shares with nobody is as before");
        // 4 tokens for the prompt's two answers, 5 for what was compared.
        let pieces = micros(&data, &[0, 1, 2, 3], 5, true);
        assert_eq!(
            pieces.iter().map(|piece| piece.rows.clone()).collect::<Vec<_>>(),
            [vec![0], vec![1], vec![2, 3]]
        );
        let parts = micros(&data, &[0, 1, 2, 3], 100, true).remove(0).split(&data, 2);
        let rows: Vec<_> = parts.iter().map(|part| part.rows.clone()).collect();
        assert_eq!(rows, [vec![0, 1], vec![2, 3]]);
        assert_eq!(micros(&data, &[2, 3], 100, true).remove(0).split(&data, 2).len(), 2);
        let long = [Row::from_ids(&[7; 9], &[6]), Row::from_ids(&[7; 9], &[5])];
        let whole = micros(&long, &[0, 1], 100, true).remove(0).split(&long, 2);
        assert_eq!(whole.len(), 1, "the prompt is most of it, and read once");
    }

    #[test]
    fn an_instruction_that_all_rows_begin_with_is_there_once() {
        let begun = |rest: &[u32]| [&[4; 8][..], rest].concat();
        let data = [
            Row::from_ids(&begun(&[1, 2]), &[9]),
            Row::from_ids(&begun(&[3]), &[9, 8]),
            Row::from_ids(&begun(&[]), &[7]),
        ];
        let piece = micros(&data, &[0, 1, 2], 100, true).remove(0);
        assert_eq!(piece.batch.ids, [&[4; 8][..], &[1, 2, 9], &[3, 9, 8], &[7]].concat());
        assert_eq!(piece.targets, Targets { rows: vec![9, 11, 12, 7], ids: vec![9, 9, 8, 7] });
        assert_eq!(piece.sequences, [0..1, 1..2, 2..3]);
        let pieces = micros(&data, &[0, 1, 2], 15, true);
        assert_eq!(pieces.iter().map(|piece| piece.rows.len()).collect::<Vec<_>>(), [3]);
        assert_eq!(micros(&data, &[0, 1, 2], 13, true).len(), 2);
        let short = [Row::from_ids(&[4, 4, 1], &[9]), Row::from_ids(&[4, 4, 2], &[9])];
        assert_eq!(micros(&short, &[0, 1], 100, true).remove(0).batch.packing.rows(), 8, "not worth it");
    }
}
