//! Tensors: the layers every model family is built from, and the places where a tuning method may reach in.
//!
//! Letters, here and everywhere below:
//!
//! | letter | meaning | | letter | meaning |
//! | --- | --- | --- | --- | --- |
//! | `B` | sequences in a batch | | `nh` | query heads |
//! | `T` | tokens of one sequence | | `nkv` | key/value heads |
//! | `N` | tokens of all sequences together | | `d` | width of a head |
//! | `S` | keys one query may look at | | `I` | width of the MLP |
//! | `H` | width of the residual stream | | `V` | vocabulary |
//! | `n` | virtual tokens | | `r`, `m` | LoRA rank, bottleneck width |
//!
//! Batches are *packed*: the rows of all sequences stand one after another in a tensor `(N, H)` and a
//! [`Packing`] says where each begins. There are no padding rows, hence no padding mask, and a
//! sequence gives the same numbers whatever stands beside it.
//!
//! `forward` keeps no state: what one call needs besides the weights travels in a [`Pass`].

mod adapter;
mod attention;
mod block;
mod cache;
mod dropout;
pub mod kernel;
mod linear;
pub mod loss;
mod mlp;
mod network;
mod norm;
mod packing;
mod params;
mod pass;
mod rope;
mod shape;
mod site;

pub use adapter::{Adapter, Bare, Identity, Memory};
pub use attention::{Attention, Heads, Sight};
pub use block::{Block, SublayerNorm, Surroundings, sum};
pub use cache::KvCache;
pub use dropout::dropout;
pub use kernel::Precision;
pub use linear::{Linear, affine};
pub use mlp::{Activation, Mlp};
pub use network::{Module, Network, fresh_identity};
pub use norm::Norm;
pub use packing::{Packing, Segment};
pub use params::Params;
pub use pass::{Mode, Pass};
pub use rope::{Angles, Rope, RopeScaling};
pub use shape::Shape;
pub use site::{Part, Site};
