//! The binary: reads what was typed, runs it, returns an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    // candle runs large elementwise operations on a second, spinning pool that fights rayon for the cores. It reads this
    // once, before the first tensor; no other thread runs yet, so setting it is sound.
    if std::env::var_os("CANDLE_NUM_THREADS").is_none() {
        unsafe { std::env::set_var("CANDLE_NUM_THREADS", "1") };
    }
    incontext::cli::main()
}
