use candle_core::Device;

use super::super::simd::at_every_level;
use super::super::testing::{assert_close, numbers, tensor};
use super::*;

fn quantised(weight: &Tensor) -> Arc<Quantised> {
    Arc::new(Quantised::of(weight, Precision::Int8).unwrap().unwrap())
}

/// Values of a 4-bit file: 16 steps a block, each block with a step and an offset of its own.
fn on_a_grid(out: usize, columns: usize) -> Tensor {
    let draws = numbers(out * columns, 5);
    let block = |(b, draws): (usize, &[f32])| {
        let step = half::f16::from_f32(0.01 + b as f32 * 1e-4).to_f32();
        let offset = half::f16::from_f32(-0.07 - b as f32 * 1e-3).to_f32();
        // Every fourth block lacks its last value, as Q4_0 may.
        let last = if b % 4 == 3 { 14.0 } else { 15.0 };
        let code = |(j, draw): (usize, &f32)| match j {
            0 => 0.0,
            1 => last,
            _ => ((draw + 1.0) * 8.0).floor().clamp(0.0, last),
        };
        draws.iter().enumerate().map(|draw| code(draw) * step + offset).collect::<Vec<f32>>()
    };
    let values: Vec<f32> = draws.chunks(BLOCK).enumerate().flat_map(block).collect();
    Tensor::from_vec(values, (out, columns), &Device::Cpu).unwrap()
}

#[test]
fn a_quantised_product_is_close_to_the_exact_one_at_every_level() {
    for (out, columns) in [(1, 32), (16, 64), (37, 96), (129, 576)] {
        for weight in [tensor(&[out, columns], 2), on_a_grid(out, columns)] {
            let sixteen = Arc::new(Quantised::of(&weight, Precision::Int16).unwrap().unwrap());
            let cases = [(quantised(&weight), 0.012), (sixteen, 2e-4)];
            for (rows, (codes, tolerance)) in
                [1, 3, TILE + 5].into_iter().flat_map(|rows| cases.each_ref().map(|case| (rows, case)))
            {
                let (x, bias) = (tensor(&[rows, columns], 1), tensor(&[out], 3));
                let exact = x.matmul(&weight.t().unwrap()).unwrap().broadcast_add(&bias).unwrap();
                at_every_level(|_| {
                    let ours = quantised_linear(&x, codes, Some(&bias)).unwrap();
                    assert_close(&ours, &exact, *tolerance);
                    let shared = team::together(|| quantised_linear(&x, codes, Some(&bias)).unwrap());
                    assert_close(&shared, &ours, 1e-6);
                });
            }
        }
    }
}

/// Whole numbers between -127 and 127, with 127 in every block: rounding leaves them as they are.
fn whole(count: usize, step: usize) -> Vec<f32> {
    (0..count).map(|i| if i % BLOCK == 0 { 127.0 } else { (i * step % 255) as f32 - 127.0 }).collect()
}

fn exact(weight: &[f32], x: &[f32]) -> Vec<f32> {
    let product = |row: &[f32]| row.iter().zip(x).map(|(w, x)| f64::from(*w) * f64::from(*x)).sum::<f64>();
    weight.chunks(x.len()).map(|row| product(row) as f32).collect()
}

#[test]
fn what_255_steps_can_say_is_said_exactly() {
    let (x, weight) = (whole(64, 37), whole(20 * 64, 91));
    let expected = exact(&weight, &x);
    let weight = quantised(&Tensor::from_vec(weight, (20, 64), &Device::Cpu).unwrap());
    assert!(matches!(weight.codes, Codes::Eight(_)));
    at_every_level(|_| assert_eq!(weight.times(&x, None), expected));
}

#[test]
fn what_16_steps_can_say_is_said_exactly() {
    let x = whole(96, 37);
    let weight = on_a_grid(20, 96);
    let expected = exact(&weight.flatten_all().unwrap().to_vec1::<f32>().unwrap(), &x);
    let weight = quantised(&weight);
    assert!(matches!(weight.codes, Codes::Four(_)));
    at_every_level(|_| {
        for (ours, expected) in weight.times(&x, None).into_iter().zip(&expected) {
            assert!(
                (ours - expected).abs() <= 1e-5 * expected.abs().max(100.0),
                "{ours} instead of {expected}"
            );
        }
    });
}

#[test]
fn one_value_beside_the_grid_makes_the_matrix_one_of_eight_bits() {
    let mut values = on_a_grid(20, 96).flatten_all().unwrap().to_vec1::<f32>().unwrap();
    values[19 * 96 + 40] += 0.003;
    let weight = quantised(&Tensor::from_vec(values, (20, 96), &Device::Cpu).unwrap());
    assert!(matches!(weight.codes, Codes::Eight(_)));
}

#[test]
fn zeros_stay_zeros_and_what_is_no_number_is_not_hidden() {
    let of = |values: &[f32], precision| {
        let weight = Tensor::from_slice(values, (1, 32), &Device::Cpu).unwrap();
        Quantised::of(&weight, precision).unwrap().unwrap()
    };
    for precision in [Precision::Int16, Precision::Int8] {
        at_every_level(|_| {
            assert_eq!(of(&[0.0; 32], precision).times(&[1.0; 32], None), [0.0]);
            for broken in [f32::NAN, f32::INFINITY] {
                let mut values = [1.0; 32];
                values[7] = broken;
                assert!(!of(&values, precision).times(&[1.0; 32], None)[0].is_finite());
                assert!(!of(&[1.0; 32], precision).times(&values, None)[0].is_finite());
            }
        });
    }
}

#[test]
fn a_matrix_of_another_width_is_left_alone() {
    assert!(Quantised::of(&tensor(&[4, 48], 1), Precision::Int8).unwrap().is_none());
    assert!(Quantised::of(&tensor(&[4, 64], 1), Precision::F32).unwrap().is_none());
    let weight = quantised(&tensor(&[4, 64], 1));
    assert!(quantised_linear(&tensor(&[1, 32], 1), &weight, None).is_err());
    assert!(quantised_linear(&tensor(&[2, 64], 1), &weight, Some(&tensor(&[3], 1))).is_err());
}

#[test]
fn the_largest_sums_of_16_bits_do_not_leave_32() {
    let (x, weight) = (vec![-3f32; 64], vec![5f32; 16 * 64]);
    let weight = Tensor::from_vec(weight, (16, 64), &Device::Cpu).unwrap();
    let weight = Quantised::of(&weight, Precision::Int16).unwrap().unwrap();
    at_every_level(|_| {
        for y in weight.times(&x, None) {
            assert!((y + 15.0 * 64.0).abs() < 0.01, "{y}");
        }
    });
}
