//! Plain loops, compiled once for each instruction set and chosen at run time.
//!
//! The compiler vectorises a loop over slices well when it is told which registers there are. [`vectorised!`] takes an
//! ordinary function and makes three versions of it: for AVX-512, for AVX2, and for the baseline of the target, which is
//! also the only one on other processors. Nobody needs `-C target-cpu=native`, and one binary runs everywhere.
//!
//! What the compiler may not do by itself is to reorder a float sum, so [`sum`] and its kin keep [`LANES`] partial sums.
//! `exp` and `erf` are polynomials because a call into libm ends vectorisation.

use std::sync::atomic::{AtomicU8, Ordering};

/// Partial sums kept side by side: two of the widest registers, so that their additions overlap.
pub const LANES: usize = 32;

/// Instruction sets a kernel is compiled for, in ascending order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    Baseline = 1,
    Avx2 = 2,
    Avx512 = 3,
}

/// 0 until first asked.
static LEVEL: AtomicU8 = AtomicU8::new(0);

/// The best level this processor has (or the one a test asked for, if lower).
#[inline]
pub fn level() -> Level {
    match LEVEL.load(Ordering::Relaxed) {
        1 => Level::Baseline,
        2 => Level::Avx2,
        3 => Level::Avx512,
        _ => {
            let level = detected();
            LEVEL.store(level as u8, Ordering::Relaxed);
            level
        }
    }
}

fn detected() -> Level {
    #[cfg(target_arch = "x86_64")]
    {
        let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        let avx512 = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        match (avx2, avx512) {
            (true, true) => return Level::Avx512,
            (true, false) => return Level::Avx2,
            (false, _) => {}
        }
    }
    Level::Baseline
}

/// Whether bytes can be multiplied and added four at a time in the widest registers.
#[cfg(target_arch = "x86_64")]
#[inline]
pub fn has_vnni() -> bool {
    level() == Level::Avx512 && is_x86_feature_detected!("avx512vnni")
}

/// Whether bytes can be multiplied and added in 256-bit registers, and floats of 16 bits read into them.
#[cfg(target_arch = "x86_64")]
#[inline]
pub fn has_avx2() -> bool {
    level() >= Level::Avx2 && is_x86_feature_detected!("f16c")
}

/// Runs `check` at every level this processor has. Other tests may run at any of them meanwhile, which is as good.
#[cfg(test)]
pub fn at_every_level(mut check: impl FnMut(Level)) {
    static ONE_AT_A_TIME: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    for level in [Level::Baseline, Level::Avx2, Level::Avx512] {
        if level <= detected() {
            LEVEL.store(level as u8, Ordering::Relaxed);
            check(level);
        }
    }
    LEVEL.store(0, Ordering::Relaxed);
}

/// Compiles functions once for each [`Level`]; a call runs the best one. Helpers they call must be `#[inline(always)]`, or
/// they stay at the baseline.
macro_rules! vectorised {
    ($(
        $(#[$attribute:meta])*
        $visibility:vis fn $name:ident $(<$generic:ident: $bound:ident>)? ($($argument:ident: $type:ty),* $(,)?) $(-> $output:ty)? $body:block
    )*) => {$(
        $(#[$attribute])*
        #[inline]
        $visibility fn $name $(<$generic: $bound>)? ($($argument: $type),*) $(-> $output)? {
            #[inline(always)]
            fn plain $(<$generic: $bound>)? ($($argument: $type),*) $(-> $output)? $body
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
                fn avx512 $(<$generic: $bound>)? ($($argument: $type),*) $(-> $output)? {
                    plain $(::<$generic>)? ($($argument),*)
                }
                #[target_feature(enable = "avx2,fma")]
                fn avx2 $(<$generic: $bound>)? ($($argument: $type),*) $(-> $output)? {
                    plain $(::<$generic>)? ($($argument),*)
                }
                match $crate::nn::kernel::simd::level() {
                    // SAFETY: a level is only ever set to what `detected` found, or below.
                    $crate::nn::kernel::simd::Level::Avx512 => unsafe { avx512 $(::<$generic>)? ($($argument),*) },
                    // SAFETY: as above.
                    $crate::nn::kernel::simd::Level::Avx2 => unsafe { avx2 $(::<$generic>)? ($($argument),*) },
                    $crate::nn::kernel::simd::Level::Baseline => plain $(::<$generic>)? ($($argument),*),
                }
            }
            #[cfg(not(target_arch = "x86_64"))]
            plain $(::<$generic>)? ($($argument),*)
        }
    )*};
}
pub(super) use vectorised;

/// `Σ f(i)` for `i < n`.
#[inline(always)]
pub fn sum(n: usize, f: impl Fn(usize) -> f32) -> f32 {
    let mut lanes = [0f32; LANES];
    let whole = n - n % LANES;
    for start in (0..whole).step_by(LANES) {
        for (lane, total) in lanes.iter_mut().enumerate() {
            *total += f(start + lane);
        }
    }
    let rest: f32 = (whole..n).map(&f).sum();
    lanes.iter().sum::<f32>() + rest
}

/// The largest of `x`; minus infinity of nothing. NaN is passed over.
#[inline(always)]
fn largest(x: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (whole, rest) = x.as_chunks::<LANES>();
    for chunk in whole {
        for (most, &x) in lanes.iter_mut().zip(chunk) {
            *most = if x > *most { x } else { *most };
        }
    }
    lanes.iter().chain(rest).copied().fold(f32::NEG_INFINITY, f32::max)
}

/// Replaces each value by `exp(value - shift)`; returns their sum.
#[inline(always)]
fn exp_all(x: &mut [f32], shift: f32) -> f32 {
    let mut lanes = [0f32; LANES];
    let (whole, rest) = x.as_chunks_mut::<LANES>();
    for chunk in whole {
        for (total, x) in lanes.iter_mut().zip(chunk) {
            *x = exp(*x - shift);
            *total += *x;
        }
    }
    let mut total: f32 = lanes.iter().sum();
    for x in rest {
        *x = exp(*x - shift);
        total += *x;
    }
    total
}

/// `e^x` to 1e-7 relative: `2^n · e^r` with `n` the nearest integer to `x / ln 2`, `e^r` by Cephes' polynomial
/// (Moshier, `expf.c`). Flushes to 0 below -87 and stays finite above 88; NaN stays NaN.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    const ROUNDER: f32 = 12_582_912.0; // 1.5 · 2^23: adding it leaves the nearest integer in the low bits
    let small = x < -87.0;
    let x = if small { -87.0 } else { x };
    let x = if x > 88.0 { 88.0 } else { x };
    let shifted = x * std::f32::consts::LOG2_E + ROUNDER;
    let n = shifted - ROUNDER;
    let r = x - n * 0.693_359_4; // ln 2 in two parts, the first exact in few bits
    let r = r + n * 2.121_944_4e-4;
    let p = 1.987_569_1e-4;
    let p = p * r + 1.398_199_9e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_5e-1;
    let p = p * r + 0.5;
    let y = p * (r * r) + r + 1.0;
    let y = f32::from_bits(y.to_bits().wrapping_add(shifted.to_bits() << 23));
    if small { 0.0 } else { y }
}

/// `1 / (1 + e^-x)`
#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// The error function of `x`, given `e^(-x²)`, to 1.5e-7 absolute: Abramowitz & Stegun 7.1.26.
#[inline(always)]
pub fn erf(x: f32, exp_minus_square: f32) -> f32 {
    let t = 1.0 / (1.0 + 0.327_591_1 * x.abs());
    let p = 1.061_405_4;
    let p = p * t - 1.453_152;
    let p = p * t + 1.421_413_7;
    let p = p * t - 0.284_496_74;
    let p = p * t + 0.254_829_6;
    (1.0 - p * t * exp_minus_square).copysign(x)
}

vectorised! {
    /// Turns scores into weights: `e^x / Σ e^x`.
    pub fn softmax(x: &mut [f32]) {
        let total = exp_all(x, largest(x));
        let scale = 1.0 / total;
        for x in x {
            *x *= scale;
        }
    }

    /// The gradient of scores from the gradient of their weights: `p ∘ (g - Σ p g)`, into `p`.
    pub fn softmax_backward(p: &mut [f32], g: &[f32]) {
        let n = p.len();
        let g = &g[..n];
        let mean = sum(n, |i| p[i] * g[i]);
        for i in 0..n {
            p[i] *= g[i] - mean;
        }
    }

    /// `logsumexp(x) - x[target]`; leaves `scale (softmax(x) - onehot(target))`, the scaled gradient, in `x`.
    pub fn cross_entropy(x: &mut [f32], target: usize, scale: f32) -> f32 {
        let right = x[target];
        let most = largest(x);
        let total = exp_all(x, most);
        let factor = scale / total;
        for x in x.iter_mut() {
            *x *= factor;
        }
        x[target] -= scale;
        total.ln() + most - right
    }

    /// `y += x`
    pub fn add(y: &mut [f32], x: &[f32]) {
        let n = y.len();
        let x = &x[..n];
        for i in 0..n {
            y[i] += x[i];
        }
    }
}

#[cfg(test)]
mod tests;
