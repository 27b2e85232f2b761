//! The ladder: on one task, what does each way of adapting a model cost, and what does it buy?
//!
//! ```text
//! task        snapshot       rungs            an experiment          outcome            report
//! file  ->   train, test -> what to train -> rung = cell, rows -> score and cost ->  page, advice
//!                                 |
//!                                 v
//!                          costs.json, adapters
//! ```
//!
//! [`task`] is the file a person writes, [`snapshot`] the rows that all rungs learn from and are asked, [`rung`] the ways,
//! [`judged`] the answers that somebody compared, [`climb`] which of them have to be trained and the experiment whose cells they
//! are: rows, scores and intervals are the experiment runner's, whether a cell is a prompt, a tuned model or a classifier over
//! features. [`cost`] is what training took, [`outcome`] what it all comes to, [`advice`] the sentence a careful person would say,
//! [`report`] the page.
//!
//! Training itself is done by whoever climbs (the command line does it in processes of their own, so that each one's memory
//! and time are its own).

pub mod advice;
pub mod climb;
pub mod cost;
pub mod judged;
pub mod outcome;
pub mod picture;
pub mod report;
pub mod rung;
pub mod snapshot;
pub mod table;
pub mod task;

pub use climb::{Climb, Order};
pub use cost::{Cost, Costs};
pub use outcome::{Outcome, State, Step};
pub use rung::Rung;
pub use task::Comparison;
