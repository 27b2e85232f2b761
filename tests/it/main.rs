//! The integration tests: one binary, so that the dependencies link once.

mod adapters_golden;
mod bad_adapters;
mod bad_input;
#[cfg(unix)]
mod bad_machine;
mod bad_models;
mod chat;
mod citations;
mod classify;
mod cli;
mod comfort;
mod complaints;
mod contract;
mod defaults;
mod device;
mod encoders;
mod endpoint;
mod eval;
mod experiment;
mod floors;
mod formats;
mod gguf;
mod golden;
mod golden_real;
mod golden_scores;
mod hooks;
mod incremental;
#[cfg(unix)]
mod kill;
#[cfg(unix)]
mod ladder;
mod matrix;
mod meanwhile;
mod mock;
mod optimise;
mod prompt;
mod promptfoo;
mod qdrant;
mod quickstart;
mod real_endpoint;
mod regressions;
mod rerank;
mod rlhf;
mod run;
mod scores;
mod seeds;
mod select;
mod server;
mod stores;
mod tiny;
mod training;
mod truth;
mod tune;
mod tune_again;
#[cfg(unix)]
mod watch;
mod web;
mod r#where;
