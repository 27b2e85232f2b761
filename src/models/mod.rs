//! A network: one transformer for every family.
//!
//! A family is a [`Config`] read from its config.json (or GGUF metadata) and a list of weight names; the arithmetic lives
//! in `nn/` once.

mod batch;
mod bert;
mod classes;
mod config;
mod distilbert;
mod fingerprint;
mod gemma;
mod gguf;
mod gguf_check;
mod gguf_config;
mod gpt2;
mod heads;
mod llama;
mod loader;
mod model;
mod modules;
mod names;
mod save;
mod select;
mod transformer;
mod weights;

pub use batch::Batch;
pub use classes::class_names;
pub use config::{Config, Family, Near, NormKind, NormPlace, Positions};
pub use fingerprint::fingerprint;
pub use heads::{Classifier, NewHead, Token, means, unit};
pub use model::Model;
pub use save::save;
pub use select::{Goal, Selected, Selection};
pub use transformer::Transformer;
pub(crate) use weights::weight_files;
pub use weights::{Select, Weights};
