//! Numbers drawn from a seed: the same on every machine and on any number of threads.

/// SplitMix64 (Steele, Lea & Flood 2014): small, and the same everywhere.
#[derive(Clone)]
pub struct SplitMix(u64);

impl SplitMix {
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

    /// The `stream`-th sequence of a seed.
    pub fn new(seed: u64, stream: u64) -> Self {
        let mut start = Self(seed ^ stream.wrapping_mul(0xd134_2543_de82_ef95));
        Self(start.next())
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(Self::STEP);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// What [`Self::next`] would give after `skipped` calls.
    pub fn ahead(&self, skipped: u64) -> u64 {
        Self(self.0.wrapping_add(Self::STEP.wrapping_mul(skipped))).next()
    }

    /// From 0 up to `limit`, not included; 0 where there is no room.
    pub fn below(&mut self, limit: usize) -> usize {
        ((u128::from(self.next()) * limit as u128) >> 64) as usize
    }

    /// From 0 up to 1, not included.
    pub fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Of mean 0 and variance 1 (Box & Muller 1958).
    pub fn normal(&mut self) -> f64 {
        // Not 0, whose logarithm is infinite.
        let (u, v) = (1.0 - self.uniform(), self.uniform());
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    }

    /// Puts `items` into an order in which each order is as likely as any other (Fisher & Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.below(at + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_the_seed_s_and_loses_nothing() {
        let order = |seed, stream| {
            let mut items: Vec<usize> = (0..50).collect();
            SplitMix::new(seed, stream).shuffle(&mut items);
            items
        };
        assert_eq!(order(1, 0), order(1, 0));
        assert_ne!(order(1, 0), order(2, 0));
        assert_ne!(order(1, 0), order(1, 1));
        let mut sorted = order(1, 0);
        sorted.sort_unstable();
        assert_eq!(sorted, (0..50).collect::<Vec<_>>());
        assert_eq!(SplitMix::new(0, 0).below(0), 0);
    }

    #[test]
    fn numbers_have_the_mean_and_the_variance_they_should() {
        let mut random = SplitMix::new(3, 0);
        for (draw, mean, variance) in
            [(SplitMix::uniform as fn(&mut SplitMix) -> f64, 0.5, 1.0 / 12.0), (SplitMix::normal, 0.0, 1.0)]
        {
            let drawn: Vec<f64> = (0..20_000).map(|_| draw(&mut random)).collect();
            let found = drawn.iter().sum::<f64>() / 20_000.0;
            let spread = drawn.iter().map(|x| (x - found).powi(2)).sum::<f64>() / 20_000.0;
            // Five standard deviations of a mean.
            assert!((found - mean).abs() < 5.0 * (variance / 20_000.0_f64).sqrt(), "{found}");
            assert!((spread - variance).abs() < 0.06 * variance, "{spread}");
        }
    }

    #[test]
    fn looking_ahead_sees_what_comes() {
        let mut random = SplitMix::new(3, 4);
        let seen: Vec<u64> = (0..5).map(|skipped| random.ahead(skipped)).collect();
        assert_eq!(seen, std::iter::repeat_with(|| random.next()).take(5).collect::<Vec<_>>());
    }

    #[test]
    fn every_place_is_as_likely_as_any_other() {
        let mut counts = [0usize; 4];
        let mut random = SplitMix::new(7, 7);
        for _ in 0..4000 {
            let mut items = [0, 1, 2, 3];
            random.shuffle(&mut items);
            counts[items[0]] += 1;
        }
        // Five standard deviations of a share of a quarter among 4000.
        assert!(counts.iter().all(|count| count.abs_diff(1000) < 137), "{counts:?}");
    }
}
