#![doc = include_str!("../README.md")]
//! # The three journeys
//!
//! All run with tiny models of the project's tests, in a folder `here`. Files become a collection:
//!
//! ```
//! use std::ops::ControlFlow;
//! use incontext::embed::{Embedder, LocalEncoder};
//! use incontext::engine::ingest::{Ingest, MAX_FILE};
//! use incontext::index::{Home, Patience, Profile};
//! use incontext::text::{chunk::Limits, load::Readers};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let here = folder.path();
//! # let model = std::path::Path::new("tests/golden/tiny/bert");
//! std::fs::write(here.join("tea.md"), "# Tea\n\nGreen tea is steeped for two minutes.\n")?;
//! let embedder = Embedder::Local(LocalEncoder::load("tiny", model, &candle_core::Device::Cpu)?);
//! // This encoder reads 64 tokens. For the default one, `Profile::default()` is right as it is.
//! let chunker = Limits { body: 40, max_body: 46, header: 12, total: 60, min: 8, overlap: 6 };
//! let summary = Ingest {
//!     home: &Home::locate(Some(&here.join(".incontext")), here), collection: "notes", paths: &[here.to_owned()], gone: &[],
//!     profile: Profile { chunker, ..Profile::default() }, embedder: &embedder, rebuild: false, max_file: MAX_FILE,
//!     readers: &Readers::default(),
//! }
//! .run(Patience::default(), |_| ControlFlow::Continue(()))?;
//! assert_eq!((summary.added, summary.failed), (1, 0));
//! # Ok(())
//! # }
//! ```
//!
//! A question becomes an answer. A model may write it; what no passage supports, such as all that a model of random
//! weights can say, is replaced by the documents' own sentences, and the answer says why:
//!
//! ```
//! use std::ops::ControlFlow;
//! use incontext::engine::{Places, ask::{Answering, Ask, Generation}};
//! use incontext::generate::{Generator, LocalGenerator};
//! use incontext::index::Collection;
//! use incontext::nn::Precision;
//! use incontext::prompt::Template;
//!
//! # use incontext::{embed::{Embedder, LocalEncoder}, engine::ingest::{Ingest, MAX_FILE}};
//! # use incontext::{index::{Home, Patience, Profile}, text::chunk::Limits};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (folder, cpu) = (tempfile::tempdir()?, candle_core::Device::Cpu);
//! # let here = folder.path();
//! # std::fs::write(here.join("tea.md"), "# Tea\n\nGreen tea is steeped for two minutes.\n")?;
//! # let model = std::path::Path::new("tests/golden/tiny/bert");
//! # let embedder = Embedder::Local(LocalEncoder::load("tiny", model, &cpu)?);
//! # let home = Home::locate(Some(&here.join(".incontext")), here);
//! # let chunker = Limits { body: 40, max_body: 46, header: 12, total: 60, min: 8, overlap: 6 };
//! # Ingest {
//! #     home: &home, collection: "notes", paths: &[here.to_owned()], gone: &[],
//! #     profile: Profile { chunker, ..Profile::default() }, embedder: &embedder, rebuild: false, max_file: MAX_FILE,
//! #     readers: &incontext::text::load::Readers::default(),
//! # }
//! # .run(Patience::default(), |_| ControlFlow::Continue(()))?;
//! # let source = "+++\nname = \"short\"\ntask = \"qa\"\ninputs = [\"question\", \"passages\"]\n[params]\nmax_tokens = 8\n+++\n{% for passage in passages %}{{ passage.text }}\n{% endfor %}{{ question }}\n";
//! # let model = std::path::Path::new("tests/golden/tiny/llama");
//! let generator = Generator::Local(Box::new(LocalGenerator::load("tiny", model, &cpu, Precision::Int8)?));
//! let template = Template::parse("short.j2", source, &|_| Ok(String::new()))?;
//! let collection = Collection::open(&home.collection("notes")?)?;
//! let ask = Ask {
//!     collection: &collection, embedder: &embedder, reranker: None, answering: Answering::Generate,
//!     generation: Some(Generation::new(&generator, &template)),
//!     k: None, places: &Places::of(&home)?,
//! };
//! let answer = ask.run("How long is green tea steeped?", &mut |_| ControlFlow::Continue(()))?;
//! assert!(answer.answer.starts_with("Green tea is steeped for two minutes. [1]"));
//! assert_eq!(answer.citations[0].quote, "Green tea is steeped for two minutes.");
//! assert!(answer.fallback.is_some());
//! # Ok(())
//! # }
//! ```
//!
//! Examples become an adapter, and the model says under it what it was taught. A copy without one says what it always said:
//!
//! ```
//! use std::ops::ControlFlow;
//! use incontext::adapters::{AdapterConfig, Lora, Stored};
//! use incontext::engine::tune::{self, Data, Job, Method, Tuning};
//! use incontext::generate::{Generator, LocalGenerator, Sampling};
//! use incontext::models::Model;
//! use incontext::{nn::Precision, text::layout::Layout, train::TrainConfig};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (folder, cpu) = (tempfile::tempdir()?, candle_core::Device::Cpu);
//! # let here = folder.path();
//! # let path = std::path::Path::new("tests/golden/tiny/llama");
//! std::fs::write(here.join("data.jsonl"), r#"{"prompt": "balo", "completion": " dami"}"#)?;
//! let method = Method::Adapter(AdapterConfig::Lora(Lora::default()));
//! let usual = tune::train_config(&method, &Model::describe(path)?.0);
//! let data = Data { file: here.join("data.jsonl"), plain: true, ..Data::default() };
//! let train = TrainConfig { steps: Some(40), learning_rate: 0.01, ..usual };
//! let mut job = Job::new("tiny".into(), path, method, data, train)?;
//! let (run, out) = (here.join("run"), here.join("greeting"));
//! let tuning = Tuning::new(path, &cpu, &run, &out);
//! let done = tune::run(&mut job, &tuning, &mut |_| ControlFlow::Continue(()))?;
//! assert!(!done.interrupted && done.steps == 40);
//!
//! let base = LocalGenerator::load("tiny", path, &cpu, Precision::Int8)?;
//! let stored = Stored::read(&out, base.network())?;
//! let adapter = stored.config.ok_or("no method")?.attach(base.network(), &stored.tensors)?;
//! let tuned = base.clone().with_adapter("greeting", adapter)?;
//! let says = |model| {
//!     let (asked, one) = (Layout::Text("balo".into()), Sampling { max_tokens: 1, ..Sampling::default() });
//!     let written = Generator::Local(Box::new(model)).generate(&asked, &one, &mut |_| ControlFlow::Continue(()));
//!     written.map(|completion| completion.text.trim().to_owned())
//! };
//! assert_eq!(says(tuned)?, "dami");
//! assert_ne!(says(base)?, "dami");
//! # Ok(())
//! # }
//! ```

pub mod adapters;
mod bytes;
pub mod classify;
pub mod cli;
pub mod embed;
pub mod engine;
pub mod error;
pub mod eval;
pub mod experiment;
mod files;
pub mod generate;
mod http;
pub mod hub;
pub mod index;
pub mod models;
pub mod nn;
pub mod openai;
pub mod prompt;
mod random;
pub mod retrieve;
pub mod rlhf;
pub mod text;
pub mod train;
pub mod web;

pub use error::{Error, Result};
