//! What the benchmarks share: how a case is timed and what its line looks like.
//!
//! A line is `case: value unit`, and then what else there is to say in brackets; `benches/peers/compare.py` reads such lines
//! from us and from our peers. Each benchmark uses a part of this.
#![allow(dead_code)]

use std::time::Instant;

/// candle's second pool fights rayon for the cores, as `main.rs` knows. Called before any other thread runs.
pub fn one_pool() {
    if std::env::var_os("CANDLE_NUM_THREADS").is_none() {
        unsafe { std::env::set_var("CANDLE_NUM_THREADS", "1") };
    }
}

/// The word after `--` that chooses cases.
pub fn chosen() -> Option<String> {
    std::env::args().skip(1).find(|word| !word.starts_with('-'))
}

pub fn is_chosen(case: &str) -> bool {
    chosen().is_none_or(|word| case.contains(&word))
}

/// The median of `runs` timings in seconds, after one run to warm up, and the shortest.
pub fn timed(runs: usize, mut run: impl FnMut()) -> (f64, f64) {
    run();
    let mut seconds: Vec<f64> = (0..runs)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed().as_secs_f64()
        })
        .collect();
    seconds.sort_by(f64::total_cmp);
    (seconds[runs / 2], seconds[0])
}

/// Times `run`, which handles `tokens` tokens, and prints how many that is a second: the median and the best of `runs`. On
/// Linux also per second of processor time, which still means something where other programs compete for the cores.
pub fn report(case: &str, tokens: usize, runs: usize, run: impl FnMut()) {
    if !is_chosen(case) {
        return;
    }
    let before = processor_seconds();
    let (median, best) = timed(runs, run);
    let rate = |seconds: f64| tokens as f64 / seconds;
    print!("{case}: {:.1} tokens/s  ({:.2} ms; at best {:.1}", rate(median), median * 1e3, rate(best));
    match processor_seconds().zip(before) {
        Some((after, before)) => {
            println!("; {:.0} per processor second)", rate((after - before) / (runs + 1) as f64))
        }
        None => println!(")"),
    }
}

/// What all threads of this process have used, where the system tells (Linux).
pub fn processor_seconds() -> Option<f64> {
    let mut nanoseconds = 0;
    for thread in std::fs::read_dir("/proc/self/task").ok()? {
        let usage = std::fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        nanoseconds += usage.split_whitespace().next()?.parse::<u64>().ok()?;
    }
    Some(nanoseconds as f64 / 1e9)
}

/// Prints the most memory this process has held, where the system tells (Linux).
pub fn report_memory() {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = peak.and_then(|peak| peak.trim().strip_suffix(" kB")?.trim().parse::<f64>().ok());
    if let Some(kilobytes) = kilobytes {
        println!("peak memory: {:.0} MB", kilobytes / 1024.0);
    }
}

/// Numbers without a pattern that a cache or a branch predictor could like.
pub fn ids(count: usize, below: u32) -> Vec<u32> {
    (0..count as u64).map(|i| 10 + (i.wrapping_mul(2_654_435_761) >> 7) as u32 % (below - 10)).collect()
}
