//! The integration tests: one binary, so that the dependencies link once.

mod defaults;
mod golden;
mod golden_real;
