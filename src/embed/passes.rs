//! Which texts go through a model together, and on how many threads.
//!
//! Texts are packed, so no time goes into padding. Groups of them run side by side, one thread a group; a few short texts
//! have all threads to themselves.

use candle_core::Device;
use rayon::prelude::*;

use crate::error::Result;
use crate::nn::kernel;

/// Tokens of one forward pass: enough for a matrix product to run at full speed, few enough to stay in a core's cache.
const TOKENS_A_PASS: usize = 512;

/// Fewer than this are not worth a thread of their own.
const FEWEST_TOKENS_A_PASS: usize = 64;

/// What `pass` makes of each text, in the texts' order; it is given the indices of those that go through together, and
/// returns one result for each. `lengths` are the texts' numbers of tokens.
///
/// # Errors
/// The first that `pass` fails with.
pub(crate) fn in_passes<T: Send>(
    lengths: &[usize],
    device: &Device,
    pass: impl Fn(&[usize]) -> Result<Vec<T>> + Sync,
) -> Result<Vec<T>> {
    let groups = groups(lengths);
    let passed: Vec<Vec<T>> = match &groups[..] {
        [group] => vec![pass(group)?],
        groups if device.is_cpu() => groups
            .par_iter()
            .with_max_len(1)
            .map(|group| kernel::sequential(|| pass(group)))
            .collect::<Result<_>>()?,
        groups => groups.iter().map(|group| pass(group)).collect::<Result<_>>()?,
    };
    let mut results: Vec<(usize, T)> =
        groups.concat().into_iter().zip(passed.into_iter().flatten()).collect();
    results.sort_unstable_by_key(|(at, _)| *at);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}

/// Indices of the texts of each pass. The longest come first, so that no thread starts on them when others are done.
fn groups(lengths: &[usize]) -> Vec<Vec<usize>> {
    let total: usize = lengths.iter().sum();
    let share = total.div_ceil(rayon::current_num_threads());
    let most = share.clamp(FEWEST_TOKENS_A_PASS, TOKENS_A_PASS);
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(lengths[i]), i));
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut room = 0;
    for i in order {
        match groups.last_mut() {
            Some(group) if lengths[i] <= room => group.push(i),
            _ => {
                groups.push(vec![i]);
                room = most.max(lengths[i]);
            }
        }
        room -= lengths[i];
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_is_in_one_group_and_no_group_is_too_long() {
        let lengths: Vec<usize> = (0..300).map(|i| 3 + i * 37 % 500).chain([700]).collect();
        let groups = groups(&lengths);
        let mut seen = groups.concat();
        seen.sort_unstable();
        assert_eq!(seen, (0..301).collect::<Vec<_>>());
        for group in &groups {
            let tokens: usize = group.iter().map(|&i| lengths[i]).sum();
            assert!(tokens <= TOKENS_A_PASS || group.len() == 1);
        }
        assert_eq!(groups[0], [300]);
    }

    #[test]
    fn a_few_short_texts_are_one_group_and_no_texts_are_none() {
        assert_eq!(groups(&[9, 12, 30]), [[2, 1, 0]]);
        assert!(groups(&[]).is_empty());
    }

    #[test]
    fn results_come_in_the_order_of_the_texts() {
        let lengths: Vec<usize> = (0..100).map(|i| 1 + i * 31 % 90).collect();
        let pass = |group: &[usize]| Ok(group.iter().map(|i| i * 10).collect());
        let results = in_passes(&lengths, &Device::Cpu, pass).unwrap();
        assert_eq!(results, (0..100).map(|i| i * 10).collect::<Vec<_>>());
    }
}
