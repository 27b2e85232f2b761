//! Many runs of what lies below, measured: prompts, demonstrations, retrieval, models and adapters as axes of one matrix.
//!
//! ```text
//! spec       matrix     plan                bench          run           summarise    report, table, junit
//! file  ->   cells  ->  checked and read -> row by row ->  rows.jsonl -> Summary  ->  to look at
//! ```
//!
//! [`spec`] is the file a person writes, [`plan`] everything that can be checked before a model is asked, [`bench`] one cell
//! at work, [`run`] the loop that can be stopped at any time, [`folder`] what it leaves on the disk, [`cache`] answers that
//! need not be asked for twice. [`documents`] is the collection that questions are asked of. [`promptfoo`] makes an experiment of
//! a configuration of promptfoo.

pub mod bench;
pub mod cache;
pub mod compare;
pub mod documents;
pub mod folder;
pub mod junit;
pub mod matrix;
pub mod metric;
pub mod optimise;
pub mod plan;
pub mod promptfoo;
pub mod report;
pub mod rows;
pub mod run;
pub mod spec;
mod summarise;
pub mod summary;
pub mod table;
pub mod task;
#[cfg(test)]
mod testing;
pub mod write;
