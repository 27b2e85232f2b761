//! Judge: does a model mean here what it means elsewhere, is what is found what people judged to be right, and are the
//! answers?

pub mod assertion;
pub mod bleu;
pub mod calibrate;
pub mod chrf;
pub mod classes;
pub mod data;
pub mod fusion;
pub mod judge;
pub mod metrics;
pub mod qa;
pub mod reliability;
pub mod retrieval;
pub mod reward;
pub mod rouge;
pub mod stats;
pub mod trec;
pub mod verify;
