//! The integration tests: one binary, so that the dependencies link once.

mod bad_input;
mod bad_models;
mod citations;
mod cli;
mod complaints;
mod defaults;
mod floors;
mod golden;
mod golden_real;
mod incremental;
#[cfg(unix)]
mod kill;
mod regressions;
mod run;
mod tiny;
