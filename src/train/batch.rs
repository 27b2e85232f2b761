//! Which rows make a step, and which are held out.
//!
//! Rows of a step are packed, so there is no padding to save; but a step of long rows costs more memory than one of short
//! rows, and rows of one length make steps of one size. So the shuffled rows are sorted by length within windows of 20
//! batches, and the batches are shuffled again. The order is a function of seed and epoch: where a run is resumed, the
//! number of its next step is all that has to be known.

use super::config::TrainConfig;
use super::row::Row;
use crate::random::SplitMix;

/// Batches that are sorted by length together.
const WINDOW: usize = 20;

/// Keeps the numbers that orders are drawn from apart from those of other uses of one seed.
const ORDERS: u64 = 0x6f72_6465_7200_0000;
const SPLITS: u64 = 0x7370_6c69_7400_0000;

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
