//! A classical classifier over the hidden states of a model that stays as it is (Peters, Ruder and Smith 2019, arXiv 1903.05987).
//!
//! ```text
//! text -> frozen model -> features, H numbers -> classifier -> probabilities
//! ```
//!
//! A folder holds the classifier, and which vectors it was fitted on; the model is named beside it, in `incontext.json`.

use std::path::Path;

use candle_core::Device;
use serde::{Deserialize, Serialize};

use super::classical::Classical;
use crate::embed::{Embedder, LocalEncoder, Overflow, Pooling};
use crate::error::{Error, IoContext, Result};

/// The file that holds it.
pub const FILE: &str = "classifier.json";

/// A classifier, and the model whose vectors it reads.
pub struct Features {
    embedder: Embedder,
    fitted: Classical,
}

/// What [`FILE`] says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    pub pooling: Pooling,
    /// Tokens of a text that are read.
    pub window: usize,
    /// Fingerprint of the vectors.
    pub features: String,
    pub classifier: Classical,
}

impl Kept {
    /// Whether the folder `dir` holds such a classifier.
    pub fn is_in(dir: &Path) -> bool {
        dir.join(FILE).exists()
    }

    /// # Errors
    /// `Io` when it cannot be read, `Corrupt` when it is damaged.
    pub fn read(dir: &Path) -> Result<Self> {
        let path = dir.join(FILE);
        let json = std::fs::read(&path).at("read", &path)?;
        serde_json::from_slice(&json).map_err(|error| {
            Error::corrupt(format!("`{}`: {error}", path.display())).hint("copy it again, or train it again")
        })
    }

    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

impl Features {
    /// The classifier of `classes` classes in the folder `dir`, on the model at `model`.
    ///
    /// # Errors
    /// `Corrupt` when it is damaged, `Mismatch` when the model makes other vectors than those it was fitted on.
    pub fn load(model: &Path, dir: &Path, device: &Device, classes: usize) -> Result<Self> {
        let Kept { pooling, window, features, classifier } = Kept::read(dir)?;
        let name = model.display().to_string();
        let encoder = LocalEncoder::frozen(&name, model, device, Some(pooling), Some(window))?;
        let place = |error: Error| error.within(dir.join(FILE).display());
        if encoder.fingerprint() != features {
            return Err(place(Error::mismatch(format!(
                "it was fitted on vectors ({features}) that `{name}` does not make ({})",
                encoder.fingerprint()
            )))
            .hint("put the model back as it was (weights, config.json, tokenizer.json), or train it again"));
        }
        classifier.check(encoder.dimension(), classes).map_err(place)?;
        Ok(Self { embedder: Embedder::Local(encoder), fitted: classifier })
    }

    /// The probability of each class, for each text; of a long text the end is not read.
    ///
    /// # Errors
    /// As [`Embedder::embed`].
    pub fn probabilities(&self, texts: &[&str]) -> Result<Vec<Vec<f64>>> {
        let vectors = self.embedder.embed(texts, Overflow::Truncate)?;
        Ok(vectors.iter().map(|vector| self.fitted.probabilities(vector)).collect())
    }
}
