//! Many runs of what lies below, measured: prompts, demonstrations, retrieval, models and adapters as axes of one matrix.
//!
//! ```text
//! spec       matrix     plan                bench          run           summarise    report, table, junit
//! file  ->   cells  ->  checked and read -> row by row ->  rows.jsonl -> Summary  ->  to look at
//! ```
//!
//! [`spec`] is the file a person writes and [`axis`] what it varies, [`plan`] everything that can be checked before a
//! model is asked, [`bench`] one cell at work, [`run`] the loop that can be stopped at any time, [`folder`] what it
//! leaves on the disk, [`cache`] answers that need not be asked for twice. [`documents`] is the collection that
//! questions are asked of. [`ladder`] compares ways of adapting a model as cells of one experiment; [`promptfoo`] makes an experiment of a configuration of promptfoo.
//!
//! Whoever runs an experiment says through [`plan::Resources`] where models and templates come from:
//!
//! ```
//! use incontext::experiment::{cache::Cache, folder::Folder, plan::{Plan, Resources}, run::Run, spec::Experiment, write};
//! use incontext::generate::{Generator, Scripted};
//! use incontext::prompt::{Library, Template};
//! # use incontext::{Error, Result, experiment::plan::Documents};
//!
//! /// A model that calls every text good.
//! struct Mine;
//!
//! impl Resources for Mine {
//!     fn generator(&self, model: &str, adapter: &str) -> Result<Generator> {
//!         Ok(Generator::Scripted(Scripted::function(|prompt| "good".into())))
//!     }
//!     fn template(&self, name: &str) -> Result<Template> {
//!         Library::default().load(name)
//!     }
//! #   fn model(&self, model: &str) -> String { model.to_owned() }
//! #   fn fingerprint(&self, model: &str, adapter: &str) -> Result<String> { Ok(format!("{model} {adapter}")) }
//! #   fn embed(&self, _: &[&str]) -> Result<Vec<Vec<f32>>> { Err(Error::invalid("no encoder")) }
//! #   fn documents(&self, _: Option<&str>) -> Result<Documents> { Err(Error::not_found("no collection")) }
//!     // ... and names, fingerprints, vectors and collections.
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let data = dir.path().join("films.jsonl");
//! std::fs::write(&data, "{\"text\": \"A joy.\", \"label\": \"good\"}\n{\"text\": \"Dull.\", \"label\": \"bad\"}\n")?;
//! let mut experiment = Experiment::parse(
//!     "task = 'classify'\ndata = { file = 'films.jsonl' }\n[matrix]\nprompt = ['classify/plain', 'classify/chat']",
//! )?;
//! # experiment.data.file = data;
//! let mut plan = Plan::new(experiment, &Mine)?;
//! let mut folder = Folder::open(&dir.path().join("results"))?;
//! plan.settle(&Mine, &folder)?;
//! Run { plan: &plan, resources: &Mine, folder: &mut folder, cache: &Cache::none(), retry: false }
//!     .run(&|| false, &mut |_| {})?;
//! let summary = write::results(&plan, &folder, "")?;
//! assert_eq!(summary.cells[0].metrics["accuracy"].mean, 0.5);
//! # Ok(())
//! # }
//! ```

pub mod axis;
pub mod bench;
pub mod cache;
pub mod compare;
pub mod documents;
mod figures;
pub mod folder;
pub mod junit;
pub mod ladder;
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
