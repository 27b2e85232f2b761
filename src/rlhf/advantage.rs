//! How much better a token, or an answer, was than expected. Plain numbers, one answer at a time or a whole rollout.
//!
//! Generalised advantage estimation is Schulman et al. 2016, arXiv 1506.02438; advantages within a group are Shao et al. 2024,
//! arXiv 2402.03300.

/// Advantages and returns of one answer's tokens.
///
/// ```text
/// delta[t] = r[t] + gamma V[t+1] - V[t]        V behind the last token is 0
/// A[t]     = delta[t] + gamma lambda A[t+1]    G[t] = A[t] + V[t]
/// ```
///
/// `rewards` and `values` are one a token; the value of a token is that of the text before it.
pub fn gae(rewards: &[f64], values: &[f64], gamma: f64, lambda: f64) -> (Vec<f64>, Vec<f64>) {
    let mut advantages = vec![0.0; rewards.len()];
    let (mut next_value, mut next_advantage) = (0.0, 0.0);
    for t in (0..rewards.len()).rev() {
        let delta = rewards[t] + gamma * next_value - values[t];
        next_advantage = delta + gamma * lambda * next_advantage;
        advantages[t] = next_advantage;
        next_value = values[t];
    }
    let returns = advantages.iter().zip(values).map(|(advantage, value)| advantage + value).collect();
    (advantages, returns)
}

/// What becomes of the mean when numbers are scaled to a variance of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mean {
    Removed,
    Kept,
}

/// Scales all numbers together: `(x - mean) / sqrt(variance + 1e-8)`, the variance with Bessel's correction. Fewer than two
/// numbers have no variance and stay as they are.
pub fn whiten(numbers: &mut [f64], mean: Mean) {
    let (average, variance) = moments(numbers);
    if numbers.len() < 2 {
        return;
    }
    let shift = if mean == Mean::Kept { average } else { 0.0 };
    for number in numbers {
        *number = (*number - average) / (variance + 1e-8).sqrt() + shift;
    }
}

/// Mean and variance, with Bessel's correction.
pub fn moments(numbers: &[f64]) -> (f64, f64) {
    let count = numbers.len() as f64;
    let mean = numbers.iter().sum::<f64>() / count.max(1.0);
    let squares: f64 = numbers.iter().map(|number| (number - mean).powi(2)).sum();
    (mean, squares / (count - 1.0).max(1.0))
}

/// What the rewards of answers to one prompt say of each: `(R - mean) / (std + 1e-4)`; without the division where `scaled` is
/// false (Liu et al. 2025, arXiv 2503.20783: dividing favours prompts that are nearly solved).
pub fn within_group(rewards: &[f64], scaled: bool) -> Vec<f64> {
    let (mean, variance) = moments(rewards);
    let by = if scaled { variance.sqrt() + 1e-4 } else { 1.0 };
    rewards.iter().map(|reward| (reward - mean) / by).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?}, not {expected:?}");
    }

    // Known answers: numpy, by the formulas above.
    #[test]
    fn advantages_and_returns_equal_the_reference() {
        let (advantages, returns) = gae(&[0.0, -0.1, 0.2, 1.0], &[0.5, 0.4, 0.6, 0.8], 1.0, 0.95);
        near(&advantages, &[0.527475, 0.6605, 0.59, 0.2]);
        near(&returns, &[1.027475, 1.0605, 1.19, 1.0]);
        let mut whitened = advantages.clone();
        whiten(&mut whitened, Mean::Removed);
        near(&whitened, &[0.161903, 0.814913, 0.468833, -1.445648]);
        let (mean, variance) = moments(&whitened);
        assert!(mean.abs() < 1e-12 && (variance - 1.0).abs() < 1e-6);
        let mut kept = advantages;
        whiten(&mut kept, Mean::Kept);
        near(&kept, &[0.656396, 1.309406, 0.963327, -0.951155]);
    }

    #[test]
    fn with_lambda_one_the_return_is_the_sum_of_what_comes() {
        let (_, returns) = gae(&[1.0, 2.0, 3.0], &[9.0, -4.0, 0.5], 0.5, 1.0);
        near(&returns, &[1.0 + 0.5 * (2.0 + 0.5 * 3.0), 2.0 + 0.5 * 3.0, 3.0]);
        let (advantages, returns) = gae(&[], &[], 1.0, 0.95);
        assert!(advantages.is_empty() && returns.is_empty());
    }

    #[test]
    fn advantages_in_a_group_equal_the_reference() {
        near(&within_group(&[1.0, 0.0, 0.5, 0.0], true), &[1.305310, -0.783186, 0.261062, -0.783186]);
        near(&within_group(&[1.0, 0.0, 0.5, 0.0], false), &[0.625, -0.375, 0.125, -0.375]);
        near(&within_group(&[0.7, 0.7], true), &[0.0, 0.0]);
        let mut one = [3.0];
        whiten(&mut one, Mean::Removed);
        near(&one, &[3.0]);
    }
}
