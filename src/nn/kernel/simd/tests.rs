use super::*;

vectorised! {
    fn exp_of(x: &mut [f32]) {
        for x in x {
            *x = exp(*x);
        }
    }

    fn erf_of(x: &mut [f32]) {
        for x in x {
            *x = erf(*x, exp(-*x * *x));
        }
    }
}

fn points(n: usize, reach: f32) -> Vec<f32> {
    (0..n).map(|i| reach * (2.0 * i as f32 / n as f32 - 1.0)).collect()
}

#[test]
fn exp_is_right_to_its_last_bits_at_every_level() {
    at_every_level(|level| {
        let x = points(10_001, 86.0);
        let mut y = x.clone();
        exp_of(&mut y);
        for (x, y) in x.iter().zip(y) {
            let expected = f64::from(*x).exp();
            let error = (f64::from(y) - expected).abs() / expected;
            assert!(error < 2e-7, "{level:?}: exp({x}) = {y}, off by {error}");
        }
    });
}

#[test]
fn exp_has_sensible_ends() {
    at_every_level(|_| {
        let mut x = [f32::NEG_INFINITY, -1e30, -104.0, 0.0, 1e30, f32::INFINITY, f32::NAN];
        exp_of(&mut x);
        assert_eq!(x[..4], [0.0, 0.0, 0.0, 1.0]);
        assert!(x[4] > 1e38 && x[5] > 1e38 && x[6].is_nan());
    });
}

#[test]
fn erf_is_right_to_seven_digits() {
    // scipy.special.erf
    let known = [(0.0, 0.0), (0.5, 0.520_499_9), (-1.0, -0.842_700_8), (2.5, 0.999_593), (-6.0, -1.0)];
    at_every_level(|level| {
        let mut x = known.map(|(x, _)| x);
        erf_of(&mut x);
        for (y, (x, expected)) in x.iter().zip(known) {
            assert!((y - expected).abs() < 3e-7, "{level:?}: erf({x}) = {y}");
        }
    });
}

#[test]
fn sums_of_any_length_count_everything_once() {
    for n in [0, 1, 31, 32, 33, 100] {
        assert_eq!(sum(n, |i| i as f32), (n * n.saturating_sub(1) / 2) as f32);
    }
}

#[test]
fn softmax_of_any_length_sums_to_one_and_survives_odd_input() {
    at_every_level(|_| {
        for n in [1, 31, 33, 70] {
            let mut x = points(n, 200.0);
            softmax(&mut x);
            assert!((x.iter().sum::<f32>() - 1.0).abs() < 1e-5);
        }
        softmax(&mut []);
        let mut x = [1.0, f32::NAN];
        softmax(&mut x);
        assert!(x[0].is_nan());
    });
}
