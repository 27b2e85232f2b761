//! Which rows make a step, and in which pieces they are computed.
//!
//! Rows of a step are packed, so there is no padding to save; but a step of long rows costs more memory than one of short
//! rows, and rows of one length make steps of one size. So the shuffled rows are sorted by length within windows of 20
//! batches, and the batches are shuffled again. The order is a function of seed and epoch: where a run is resumed, the
//! number of its next step is all that has to be known.

use std::ops::Range;

use super::config::TrainConfig;
use super::row::{Row, Target};
use crate::models::Batch;
use crate::nn::loss::Targets;
use crate::random::SplitMix;

/// Batches that are sorted by length together.
const WINDOW: usize = 20;

/// Keeps the numbers that orders are drawn from apart from those of other uses of one seed.
const ORDERS: u64 = 0x6f72_6465_7200_0000;
const SPLITS: u64 = 0x7370_6c69_7400_0000;

/// Rows that are computed together.
pub struct Micro {
    /// Which rows of the data.
    pub rows: Vec<usize>,
    /// Their sequences, those of one row behind each other.
    pub batch: Batch,
    /// Which of the sequences are whose.
    pub sequences: Vec<Range<usize>>,
    pub targets: Targets,
}

impl Micro {
    fn of(data: &[Row], rows: &[usize]) -> Self {
        let (mut all, mut sequences) = (Vec::new(), Vec::new());
        for &row in rows {
            let before = all.len();
            all.extend(data[row].sequences());
            sequences.push(before..all.len());
        }
        let batch = Batch::of(&all);
        let mut labels = Vec::new();
        let mut classes = Vec::new();
        for &row in rows {
            match &data[row].target {
                Target::Tokens(all) => labels.extend(all),
                Target::Class(class) => classes.push(*class),
                Target::Preference(preference) => labels.extend(&preference.labels),
            }
        }
        let targets = match classes.is_empty() {
            true => Targets::next_token(&labels, &batch.packing),
            false => Targets { rows: (0..classes.len() as u32).collect(), ids: classes },
        };
        Self { rows: rows.to_vec(), batch, sequences, targets }
    }
}

/// The rows numbered `chosen`, in pieces of at most `most` tokens; a row that is longer is a piece of its own.
pub fn micros(data: &[Row], chosen: &[usize], most: usize) -> Vec<Micro> {
    let mut micros = Vec::new();
    let mut piece: Vec<usize> = Vec::new();
    let mut tokens = 0;
    for &row in chosen {
        let length = data[row].ids.len();
        if !piece.is_empty() && tokens + length > most {
            micros.push(Micro::of(data, &piece));
            piece.clear();
            tokens = 0;
        }
        piece.push(row);
        tokens += length;
    }
    if !piece.is_empty() {
        micros.push(Micro::of(data, &piece));
    }
    micros
}

impl Micro {
    /// The same rows as if each of their sequences were one token: for whoever reads no more of them.
    pub fn of_one_token_each(&self) -> Self {
        let ids: Vec<[u32; 1]> =
            self.batch.packing.ranges().map(|range| [self.batch.ids[range.start]]).collect();
        Self {
            rows: self.rows.clone(),
            batch: Batch::of(&ids),
            sequences: self.sequences.clone(),
            targets: self.targets.clone(),
        }
    }

    /// The same rows in `parts` of about as many tokens each, to be computed side by side; whole where there are fewer rows.
    pub fn split(self, data: &[Row], parts: usize) -> Vec<Self> {
        if parts < 2 || self.rows.len() < parts {
            return vec![self];
        }
        let length = |row: usize| data[row].ids.len();
        let mut longest_first = self.rows;
        longest_first.sort_by_key(|&row| std::cmp::Reverse(length(row)));
        let mut shares = vec![(0, Vec::new()); parts];
        for row in longest_first {
            if let Some((tokens, rows)) = shares.iter_mut().min_by_key(|(tokens, _)| *tokens) {
                *tokens += length(row);
                rows.push(row);
            }
        }
        shares.into_iter().map(|(_, rows)| Self::of(data, &rows)).collect()
    }
}

/// The rows of each step of one epoch.
pub fn epoch(data: &[Row], config: &TrainConfig, epoch: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..data.len()).collect();
    let mut random = SplitMix::new(config.seed, ORDERS + epoch as u64);
    if config.shuffle {
        random.shuffle(&mut order);
        for window in order.chunks_mut(WINDOW * config.batch_size) {
            window.sort_by_key(|&row| data[row].ids.len());
        }
    }
    let mut batches: Vec<Vec<usize>> = order.chunks(config.batch_size).map(<[usize]>::to_vec).collect();
    if config.shuffle {
        random.shuffle(&mut batches);
    }
    batches
}

/// Training rows and, by chance, the share of them that is held out: at least one where there is a share and a second row.
/// Both keep their order.
pub fn split<T>(data: Vec<T>, share: f64, seed: u64) -> (Vec<T>, Vec<T>) {
    let wanted = (data.len() as f64 * share).round() as usize;
    let most = data.len().saturating_sub(1);
    let count = if share > 0.0 { wanted.max(1).min(most) } else { 0 };
    let mut order: Vec<usize> = (0..data.len()).collect();
    SplitMix::new(seed, SPLITS).shuffle(&mut order);
    let held: std::collections::BTreeSet<usize> = order[..count].iter().copied().collect();
    let (mut training, mut validation) = (Vec::new(), Vec::new());
    for (at, row) in data.into_iter().enumerate() {
        if held.contains(&at) { &mut validation } else { &mut training }.push(row);
    }
    (training, validation)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(lengths: impl IntoIterator<Item = usize>) -> Vec<Row> {
        lengths.into_iter().map(|length| Row::from_ids(&vec![1; length - 1], &[2])).collect()
    }

    #[test]
    fn every_epoch_has_each_row_once_in_an_order_of_its_own() {
        let data = data((0..1000).map(|i| 2 + i * 7 % 100));
        let config = TrainConfig { batch_size: 8, ..TrainConfig::default() };
        let of = |number| epoch(&data, &config, number);
        assert_eq!(of(3), of(3));
        assert_ne!(of(3), of(4));
        let mut rows = of(0).concat();
        rows.sort_unstable();
        assert_eq!(rows, (0..1000).collect::<Vec<_>>());
        let spread = |batch: &Vec<usize>| {
            let lengths = batch.iter().map(|&row| data[row].ids.len());
            lengths.clone().max().unwrap() - lengths.min().unwrap()
        };
        let of_lengths = of(0).iter().map(spread).sum::<usize>() / of(0).len();
        assert!(of_lengths < 12, "rows of one step are of about one length: {of_lengths}");
        let as_given = TrainConfig { shuffle: false, ..config };
        assert_eq!(epoch(&data, &as_given, 5)[1], (8..16).collect::<Vec<_>>());
    }

    #[test]
    fn a_step_is_computed_in_pieces_of_bounded_size() {
        let data = data([3, 4, 2, 9, 5]);
        let pieces = micros(&data, &[0, 1, 2, 3, 4], 8);
        let rows: Vec<_> = pieces.iter().map(|piece| piece.rows.clone()).collect();
        assert_eq!(rows, [vec![0, 1], vec![2], vec![3], vec![4]]);
        assert_eq!(pieces[0].targets, Targets { rows: vec![1, 5], ids: vec![2, 2] });
        assert_eq!(pieces[0].batch.packing.rows(), 7);
    }

    #[test]
    fn a_piece_is_split_evenly_and_loses_no_row() {
        let data = data([30, 4, 12, 9, 5, 11]);
        let whole = || micros(&data, &[0, 1, 2, 3, 4, 5], 100).remove(0);
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
        let pieces = micros(&data, &[1, 0], 100);
        assert_eq!(pieces[0].targets, Targets { rows: vec![0, 1], ids: vec![0, 3] });
    }

    #[test]
    fn answers_of_one_row_stay_together() {
        let data = [Row::of_answers(&[1], &[vec![2, 3], vec![4]], 0.0), Row::from_ids(&[5], &[6])];
        let pieces = micros(&data, &[0, 1], 100);
        assert_eq!(pieces[0].sequences, [0..2, 2..3]);
        assert_eq!(pieces[0].batch.packing.ranges().collect::<Vec<_>>(), [0..3, 3..5, 5..7]);
        assert_eq!(pieces[0].targets, Targets { rows: vec![0, 1, 3, 5], ids: vec![2, 3, 4, 6] });
    }

    #[test]
    fn what_is_held_out_is_a_share_and_never_everything() {
        let lengths = |rows: &[Row]| rows.iter().map(|row| row.ids.len()).collect::<Vec<_>>();
        let (training, validation) = split(data(2..102), 0.1, 4);
        assert_eq!((training.len(), validation.len()), (90, 10));
        assert!(lengths(&training).is_sorted());
        assert_eq!(lengths(&validation), lengths(&split(data(2..102), 0.1, 4).1));
        assert_ne!(lengths(&validation), lengths(&split(data(2..102), 0.1, 5).1));
        assert_eq!(split(data([2]), 0.9, 0).0.len(), 1);
        assert_eq!(split(data([2, 3]), 0.01, 0).1.len(), 1);
        assert!(split(data([2, 3]), 0.0, 0).1.is_empty());
    }
}
