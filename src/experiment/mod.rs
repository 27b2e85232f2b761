//! Many runs of what lies below, measured: the matrix, what it comes to, and a page to look at.

pub mod junit;
pub mod report;
pub mod rows;
pub mod summary;
pub mod table;
#[cfg(test)]
mod testing;
