//! Judge: does a model mean here what it means elsewhere?

pub mod verify;
