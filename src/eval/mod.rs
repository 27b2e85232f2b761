//! Judge: does a model mean here what it means elsewhere, is what is found what people judged to be right, and are the
//! answers?

pub mod calibrate;
pub mod data;
pub mod fusion;
pub mod metrics;
pub mod qa;
pub mod retrieval;
pub mod stats;
pub mod trec;
pub mod verify;
