use super::*;
use crate::nn::attention::attend_composed;
use crate::nn::kernel::testing::{assert_gradients, tensor, variable};

fn segment(queries: Range<usize>, keys: Range<usize>) -> Segment {
    Segment { queries, keys }
}

fn assert_equal(rows: (usize, usize), segments: &[Segment], heads: Heads, sight: Sight) {
    let q = variable(&[rows.0, heads.query * heads.dim], 1);
    let k = variable(&[rows.1, heads.kv * heads.dim], 2);
    let v = variable(&[rows.1, heads.kv * heads.dim], 3);
    assert_gradients(
        &[&q, &k, &v],
        || attention(&q, &k, &v, segments, heads, sight),
        || Ok(attend_composed(&q, &k, &v, segments, heads, sight).unwrap()),
    );
}

const GROUPED: Heads = Heads { query: 6, kv: 2, dim: 6, variance: 11.0 };
const PLAIN: Heads = Heads { query: 3, kv: 3, dim: 8, variance: 8.0 };

#[test]
fn sequences_of_all_lengths_equal_the_composed_form() {
    let segments = [segment(0..1, 0..1), segment(1..1, 1..1), segment(1..8, 1..8), segment(8..138, 8..138)];
    for heads in [GROUPED, PLAIN] {
        for sight in [Sight::All, Sight::Before, Sight::Near(1), Sight::Near(7), Sight::Near(100)] {
            assert_equal((138, 138), &segments, heads, sight);
        }
    }
}

#[test]
fn keys_before_the_queries_are_seen_by_all_of_them() {
    let segments = [segment(0..3, 0..10), segment(3..73, 10..95), segment(73..74, 95..100)];
    for sight in [Sight::Before, Sight::Near(4), Sight::Near(80)] {
        assert_equal((74, 100), &segments, GROUPED, sight);
    }
}

#[test]
fn shared_keys_gather_the_gradients_of_every_segment() {
    let segments = [segment(0..5, 0..4), segment(5..80, 0..4), segment(80..81, 0..4)];
    assert_equal((81, 4), &segments, GROUPED, Sight::All);
    let overlapping = [segment(0..5, 2..9), segment(5..6, 0..3), segment(6..8, 9..12), segment(8..9, 4..6)];
    assert_equal((9, 12), &overlapping, PLAIN, Sight::All);
}

#[test]
fn clusters_keep_overlapping_keys_together_and_others_apart() {
    let segments = [segment(0..1, 4..6), segment(1..2, 0..5), segment(2..3, 6..7), segment(3..4, 3..3)];
    let clusters = clusters(&segments);
    assert_eq!(clusters, [vec![&segments[0], &segments[1]], vec![&segments[2]]]);
}

#[test]
fn a_query_without_keys_sees_nothing_and_nan_stays_in_its_segment() {
    let mut q = tensor(&[3, 24], 1).to_vec2::<f32>().unwrap();
    q[2][0] = f32::NAN;
    let q = Tensor::new(q, &candle_core::Device::Cpu).unwrap();
    let k = tensor(&[4, 24], 2);
    let segments = [segment(0..1, 0..0), segment(1..2, 0..2), segment(2..3, 2..4)];
    let o = attention(&q, &k, &k, &segments, PLAIN, Sight::All).unwrap().to_vec2::<f32>().unwrap();
    assert!(o[0].iter().all(|&o| o == 0.0));
    assert!(o[1].iter().all(|o| o.is_finite()));
    assert!(o[2][..8].iter().all(|o| o.is_nan()) && o[2][8..].iter().all(|o| o.is_finite()));
}

#[test]
fn segments_that_do_not_fit_are_an_error() {
    let q = tensor(&[3, 24], 1);
    let attention = |segments: &[Segment], sight| attention(&q, &q, &q, segments, PLAIN, sight);
    assert!(attention(&[segment(0..3, 0..4)], Sight::All).is_err());
    assert!(attention(&[segment(0..2, 0..3)], Sight::All).is_err());
    assert!(attention(&[segment(1..3, 0..3), segment(0..1, 0..1)], Sight::All).is_err());
    assert!(attention(&[segment(0..3, 0..2)], Sight::Before).is_err());
}
