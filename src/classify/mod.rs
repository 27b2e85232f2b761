//! Text -> one of a few labels, by a model that nobody trained for it, or by one that was ([`trained`]).
//!
//! ```text
//! text -> demonstrations, prompt -> what each label scores behind it -> probabilities -> label
//! ```
//!
//! [`label`] is what may be chosen, [`decide`] the way from scores to probabilities, [`classifier`] both over a template
//! and a pool of demonstrations. Scores are `generate`'s, the arithmetic is in `generate/labels.rs`.

pub mod classical;
pub mod classifier;
pub mod decide;
pub mod features;
pub mod label;
pub mod trained;

pub use classifier::{Classifier, Verdict};
pub use decide::{Rule, probabilities};
pub use label::Label;
pub use trained::Trained;
