//! The integration tests: one binary, so that the dependencies link once.

mod golden;
