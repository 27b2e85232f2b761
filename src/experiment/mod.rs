//! Many runs of what lies below, measured: the matrix, what it comes to, and a page to look at.

pub mod rows;
pub mod summary;
