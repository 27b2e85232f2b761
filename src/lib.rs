#![doc = include_str!("../README.md")]

pub mod cli;
pub mod embed;
pub mod engine;
pub mod error;
pub mod eval;
pub mod generate;
mod http;
pub mod hub;
pub mod index;
pub mod models;
pub mod nn;
pub mod openai;
pub mod prompt;
pub mod retrieve;
pub mod text;

pub use error::{Error, Result};
