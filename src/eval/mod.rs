//! Judge: does a model mean here what it means elsewhere, and is what is found what people judged to be right?

pub mod data;
pub mod fusion;
pub mod metrics;
pub mod retrieval;
pub mod stats;
pub mod trec;
pub mod verify;
