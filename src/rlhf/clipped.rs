//! The losses of PPO (Schulman et al. 2017, arXiv 1707.06347), a token at a time: the larger of a step's loss and of the same
//! step cut short, so that nothing is gained by going further than `clip` at once.
//!
//! Each returns its value and its derivative. What they are computed from is known outside of autograd, so the network sees
//! them as a weight for each of its outputs.

/// A loss and its derivative.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Loss {
    pub value: f64,
    pub slope: f64,
    /// Whether the clipped one was the larger.
    pub clipped: bool,
}

impl Loss {
    fn larger(plain: (f64, f64), clipped: (f64, f64)) -> Self {
        match clipped.0 > plain.0 {
            true => Self { value: clipped.0, slope: clipped.1, clipped: true },
            false => Self { value: plain.0, slope: plain.1, clipped: false },
        }
    }
}

/// `max(-A ratio, -A clip(ratio, 1 - low, 1 + high))` and its derivative by the ratio.
pub fn policy(advantage: f64, ratio: f64, (low, high): (f64, f64)) -> Loss {
    let cut = ratio.clamp(1.0 - low, 1.0 + high);
    let inside = if cut == ratio { -advantage } else { 0.0 };
    Loss::larger((-advantage * ratio, -advantage), (-advantage * cut, inside))
}

/// `max((v - G)², (clip(v, V - clip, V + clip) - G)²) / 2` and its derivative by the value `v`; `before` is `V`, what the value
/// was when the answer was sampled, `gain` is `G`, the return.
pub fn value(v: f64, before: f64, gain: f64, clip: f64) -> Loss {
    let cut = v.clamp(before - clip, before + clip);
    let inside = if cut == v { cut - gain } else { 0.0 };
    Loss::larger((0.5 * (v - gain).powi(2), v - gain), (0.5 * (cut - gain).powi(2), inside))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_loss_equals_the_reference() {
        for (advantage, ratio, value, slope) in
            [(1.0, 1.3, -1.2, 0.0), (-1.0, 1.3, 1.3, 1.0), (1.0, 0.7, -0.7, -1.0), (-1.0, 0.7, 0.8, 0.0)]
        {
            let loss = policy(advantage, ratio, (0.2, 0.2));
            assert!(
                (loss.value - value).abs() < 1e-12 && loss.slope == slope,
                "{advantage} {ratio}: {loss:?}"
            );
        }
        let within = policy(2.0, 1.0, (0.2, 0.2));
        assert_eq!((within.value, within.slope, within.clipped), (-2.0, -2.0, false));
        assert_eq!(policy(1.0, 1.25, (0.2, 0.3)).slope, -1.0, "the upper bound may lie further off");
    }

    #[test]
    fn the_value_loss_equals_the_reference() {
        let loss = value(1.5, 1.0, 2.0, 0.2);
        assert!((loss.value - 0.32).abs() < 1e-12 && loss.clipped && loss.slope == 0.0, "{loss:?}");
        let loss = value(1.1, 1.0, 2.0, 0.2);
        assert!((loss.value - 0.405).abs() < 1e-12 && (loss.slope + 0.9).abs() < 1e-12, "{loss:?}");
    }

    #[test]
    fn slopes_are_derivatives() {
        let h = 1e-6;
        for at in -40..40 {
            let x = f64::from(at) * 0.07 + 0.013;
            for sign in [-1.5, 0.7] {
                let by = |x: f64| policy(sign, x, (0.2, 0.2)).value;
                let slope = (by(x + h) - by(x - h)) / (2.0 * h);
                assert!((slope - policy(sign, x, (0.2, 0.2)).slope).abs() < 1e-6, "{sign} {x}");
                let by = |x: f64| value(x, 0.3, sign, 0.2).value;
                let slope = (by(x + h) - by(x - h)) / (2.0 * h);
                assert!((slope - value(x, 0.3, sign, 0.2).slope).abs() < 1e-6, "{sign} {x}");
            }
        }
    }
}
