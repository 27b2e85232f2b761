//! Judge: does a model mean here what it means elsewhere, and are the answers right?

pub mod qa;
pub mod verify;
