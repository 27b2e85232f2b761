//! The integration tests: one binary, so that the dependencies link once.

mod citations;
mod cli;
mod comfort;
mod complaints;
mod defaults;
mod floors;
mod golden;
mod golden_real;
mod incremental;
#[cfg(unix)]
mod kill;
mod quickstart;
mod regressions;
mod run;
mod tiny;
