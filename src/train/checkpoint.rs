//! Where a run stands, in one file: parameters, the optimiser's means, counters, and the best snapshot so far.
//!
//! A safetensors file whose header says which run it is of. It is written aside and renamed, so that there is a whole one at
//! any moment, and read whole and compared before anything is changed. Resuming continues bit for bit, on the same machine
//! and number of threads: orders of rows and masks of dropout are functions of the configuration and of the step.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use safetensors::SafeTensors;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::optim::AdamW;
use super::row::{Row, Target};
use super::{Rows, Subject, TrainConfig};
use crate::error::{Error, IoContext, Result};
use crate::files;
use crate::nn::Params;

/// Its name in the run's folder.
pub const CHECKPOINT: &str = "checkpoint.safetensors";

/// The metadata's key.
const HEADER: &str = "incontext";

/// Where the loop stands.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Steps done, skipped ones included: the next has this number.
    pub step: usize,
    /// Steps skipped since the last that was not.
    pub skipped: usize,
    /// The step after which rows held out were looked at last.
    pub validated: Option<usize>,
    pub best: Option<Best>,
    /// Validations since the best.
    pub worse: usize,
    /// The mean loss of the last step that was not skipped.
    pub loss: Option<Exact>,
    pub tokens: u64,
    pub seconds: f64,
}

/// The best validation of a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Best {
    pub step: usize,
    pub loss: Exact,
}

/// A number that is written and read without loss.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(from = "u64", into = "u64")]
pub struct Exact(pub f64);

impl From<u64> for Exact {
    fn from(bits: u64) -> Self {
        Self(f64::from_bits(bits))
    }
}

impl From<Exact> for u64 {
    fn from(number: Exact) -> Self {
        number.0.to_bits()
    }
}

/// Which run it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// What is trained, as its owner calls it.
    subject: String,
    /// Hashes of names and shapes, and of the rows.
    parameters: String,
    rows: String,
    validation_rows: String,
    config: Value,
}

impl Run {
    pub fn of(subject: &Subject, rows: &Rows, config: &TrainConfig) -> Self {
        let shapes: Vec<_> = subject.params.iter().map(|(name, var)| (name, var.dims())).collect();
        let hash = |text: &[u8]| blake3::hash(text).to_hex().to_string();
        Self {
            subject: subject.name.clone(),
            parameters: hash(format!("{shapes:?}").as_bytes()),
            rows: hash_of(rows.training()),
            validation_rows: hash_of(rows.validation()),
            config: serde_json::to_value(config).unwrap_or_default(),
        }
    }

    /// In what `other` differs, in words.
    fn differs(&self, other: &Self) -> Option<String> {
        if let (Value::Object(ours), Value::Object(theirs)) = (&self.config, &other.config)
            && let Some((name, ours)) = ours.iter().find(|(name, ours)| theirs.get(*name) != Some(ours))
        {
            let theirs = theirs.get(name).unwrap_or(&Value::Null);
            return Some(format!("`{name}` is {theirs} there and {ours} here"));
        }
        let parts = [
            (&self.subject, &other.subject, "it trains something else"),
            (&self.parameters, &other.parameters, "its parameters have other names or shapes"),
            (&self.rows, &other.rows, "its rows are others"),
            (&self.validation_rows, &other.validation_rows, "its rows to validate with are others"),
        ];
        let found = parts.into_iter().find(|(ours, theirs, _)| ours != theirs);
        found.map(|(ours, theirs, what)| match what.contains("something") {
            true => format!("{what}: {theirs} there, {ours} here"),
            false => what.to_owned(),
        })
    }
}

fn hash_of(rows: &[Row]) -> String {
    let mut hasher = blake3::Hasher::new();
    for row in rows {
        hasher.update(&(row.ids.len() as u64).to_le_bytes());
        row.ids.iter().for_each(|id| {
            hasher.update(&id.to_le_bytes());
        });
        match &row.target {
            Target::Tokens(labels) => labels.iter().for_each(|label| {
                hasher.update(&label.to_le_bytes());
            }),
            Target::Class(class) => {
                hasher.update(&class.to_le_bytes());
            }
            Target::Preference(preference) => {
                for length in &preference.lengths {
                    hasher.update(&(*length as u64).to_le_bytes());
                }
                for label in &preference.labels {
                    hasher.update(&label.to_le_bytes());
                }
                hasher.update(&preference.margin.to_le_bytes());
            }
        }
    }
    hasher.finalize().to_hex().to_string()
}

#[derive(Serialize, Deserialize)]
struct Header {
    run: Run,
    state: State,
    updates: u64,
}

/// What a checkpoint holds.
pub struct Checkpoint {
    path: PathBuf,
    header: Header,
    tensors: HashMap<String, Tensor>,
}

/// Kinds of tensors in it, put before the parameter's name.
const VALUE: &str = "value.";
const MEAN: &str = "mean.";
const SQUARE: &str = "square.";
const BEST: &str = "best.";

/// A snapshot of all parameters.
pub type Snapshot = BTreeMap<String, Tensor>;

impl Checkpoint {
    /// Writes one into `folder`, over the one before.
    ///
    /// # Errors
    /// `Io`; the one before stays then.
    pub fn write(
        folder: &Path,
        run: &Run,
        state: &State,
        params: &Params,
        optimiser: &AdamW,
        best: Option<&Snapshot>,
    ) -> Result<()> {
        let path = folder.join(CHECKPOINT);
        let header = Header { run: run.clone(), state: state.clone(), updates: optimiser.updates };
        let header = serde_json::to_string(&header)
            .map_err(|error| Error::invalid(format!("the state of a run is no JSON: {error}")))?;
        let mut tensors: Vec<(String, Tensor)> = Vec::new();
        for (name, var) in params.iter() {
            tensors.push((format!("{VALUE}{name}"), var.as_detached_tensor()));
        }
        for (name, (mean, square)) in &optimiser.means {
            tensors.push((format!("{MEAN}{name}"), mean.clone()));
            tensors.push((format!("{SQUARE}{name}"), square.clone()));
        }
        for (name, tensor) in best.into_iter().flatten() {
            tensors.push((format!("{BEST}{name}"), tensor.clone()));
        }
        write(&path, header, tensors)
    }

    /// The one in `folder`, if there is one.
    ///
    /// # Errors
    /// `Corrupt` when it is damaged.
    pub fn read(folder: &Path, device: &Device) -> Result<Option<Self>> {
        let path = folder.join(CHECKPOINT);
        let found = read(&path, device)?;
        Ok(found.map(|(header, tensors)| Self { path, header, tensors }))
    }

    /// Puts everything back, if it is of `run`: parameters and optimiser in place. Returns where the loop stood, and the best
    /// snapshot.
    ///
    /// # Errors
    /// `Mismatch` when it is of another run, `Corrupt`, naming the tensor, when one is missing, too many or of another shape.
    /// Nothing is changed then.
    pub fn resume(
        mut self,
        run: &Run,
        params: &Params,
        optimiser: &mut AdamW,
    ) -> Result<(State, Option<Snapshot>)> {
        let path = self.path.clone();
        if let Some(how) = run.differs(&self.header.run) {
            return Err(Error::mismatch(format!("`{}` is of another run: {how}", path.display()))
                .hint("resume with what the run began with, or begin in another folder"));
        }
        let mut take = |kind: &str| -> Result<Snapshot> {
            let take = |(name, var): (&str, &candle_core::Var)| {
                let full = format!("{kind}{name}");
                let tensor = self
                    .tensors
                    .remove(&full)
                    .ok_or_else(|| Error::corrupt(format!("`{}` has no tensor `{full}`", path.display())))?;
                match tensor.shape() == var.shape() {
                    true => Ok((name.to_owned(), tensor)),
                    false => Err(Error::corrupt(format!(
                        "`{}`: tensor `{full}` is {:?}, not {:?}",
                        path.display(),
                        tensor.dims(),
                        var.dims()
                    ))),
                }
            };
            params.iter().map(take).collect()
        };
        let (values, means, mut squares) = (take(VALUE)?, take(MEAN)?, take(SQUARE)?);
        let best = self.header.state.best.map(|_| take(BEST)).transpose()?;
        if let Some(name) = self.tensors.keys().min() {
            return Err(Error::corrupt(format!(
                "`{}` has a tensor `{name}` of no parameter",
                path.display()
            )));
        }
        params.restore(&values)?;
        let pairs = means.into_iter().filter_map(|(name, mean)| {
            let square = squares.remove(&name)?;
            Some((name, (mean, square)))
        });
        *optimiser = AdamW { means: pairs.collect(), updates: self.header.updates };
        Ok((self.header.state, best))
    }
}

/// Writes `tensors` and a header that says what they are of to `path`, over what was there.
///
/// # Errors
/// `Io`; what was there stays then.
pub fn write(path: &Path, header: String, tensors: Vec<(String, Tensor)>) -> Result<()> {
    let about = HashMap::from([(HEADER.to_owned(), header)]);
    files::replace_at(path, |aside| {
        safetensors::serialize_to_file(tensors, Some(about), aside).map_err(|error| match error {
            safetensors::SafeTensorError::IoError(source) => {
                Error::io(format!("cannot write `{}`", path.display()), source)
            }
            other => Error::invalid(format!("cannot write `{}`: {other}", path.display())),
        })
    })
}

/// What [`write`] wrote to `path`, if there is something.
///
/// # Errors
/// `Corrupt` when it is damaged.
pub fn read<H: DeserializeOwned>(
    path: &Path,
    device: &Device,
) -> Result<Option<(H, HashMap<String, Tensor>)>> {
    if !path.exists() {
        return Ok(None);
    }
    let bytes = std::fs::read(path).at("read", path)?;
    let damaged = |why: &dyn std::fmt::Display| {
        Error::corrupt(format!("`{}` is no whole checkpoint: {why}", path.display()))
            .hint("copy it again if it was copied; else remove it and begin the run anew")
    };
    let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(|error| damaged(&error))?;
    let header = metadata.metadata().as_ref().and_then(|about| about.get(HEADER));
    let header = header.ok_or_else(|| damaged(&"its header says nothing of a run"))?;
    let header = serde_json::from_str(header).map_err(|error| damaged(&error))?;
    let tensors = candle_core::safetensors::load_buffer(&bytes, device).map_err(|error| damaged(&error))?;
    Ok(Some((header, tensors)))
}

/// Removes the checkpoint of a run that is done with, if there is one.
///
/// # Errors
/// `Io`.
pub fn forget(folder: &Path) -> Result<()> {
    let path = folder.join(CHECKPOINT);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        done => done.at("remove", &path),
    }
}
