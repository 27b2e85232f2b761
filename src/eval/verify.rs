//! `verify`: run a model on reference inputs and compare every number with the reference's.
//!
//! The reference is a safetensors file with `input_ids` and `attention_mask` (`(B, T)`, integers) and any of `logits`
//! `(B, T, V)`, `hidden` `(B, T, H)`, `mean_pooled` `(B, H)`, `cls_logits` `(B, C)`, `loss`, and `grad.<parameter>`; the loss
//! is the next-token loss over `labels` `(B, T)` (-100 = ignored) or the class loss over `y` `(B,)`. Padded positions are not
//! compared. The measure is the relative L2 error `|ours - theirs| / |theirs|`.
//!
//! With an adapter everything is computed under it, and gradients are those of its values and of what it holds of the base.
//! Where the reference's logits or hidden states begin with rows of virtual tokens, the last `T` are compared. A
//! `param.<parameter>` is what a network that wrote the adapter's values held: gradients are then its own, and what it writes
//! is compared with the adapter's file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use candle_core::{D, DType, Device, Tensor};

use crate::adapters::{AdapterConfig, Stored, Tensors, with_its_network};
use crate::error::{Error, Result};
use crate::models::{Batch, Model, means, unit};
use crate::nn::loss::{Targets, cross_entropy};
use crate::nn::{Adapter, Bare, Mode, Params, Pass};

/// How far apart numbers may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tolerance {
    /// For outputs and the loss.
    pub forward: f64,
    /// For each parameter's gradient.
    pub gradient: f64,
}

impl Default for Tolerance {
    fn default() -> Self {
        Self { forward: 1e-5, gradient: 1e-4 }
    }
}

/// One compared quantity.
#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    /// As the reference names it.
    pub name: String,
    pub outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The relative L2 error, and how large it may be.
    Compared { error: f64, tolerance: f64 },
    /// One side has nothing to compare with.
    Missing(String),
}

impl Check {
    pub fn passed(&self) -> bool {
        matches!(self.outcome, Outcome::Compared { error, tolerance } if error <= tolerance)
    }
}

/// Compares the model at `model`, under the adapter in the folder `adapter` if there is one, computing on `device`, with
/// `reference`, sorted by name. At least one check comes back.
///
/// # Errors
/// When any of them cannot be read, or the reference holds nothing to compare.
pub fn verify(
    model: &Path,
    adapter: Option<&Path>,
    reference: &Path,
    device: &Device,
    tolerance: Tolerance,
) -> Result<Vec<Check>> {
    if !reference.exists() {
        return Err(Error::not_found(format!("reference `{}` does not exist", reference.display()))
            .hint("a safetensors file with input_ids, attention_mask and logits, hidden, loss or grad.* of the reference"));
    }
    let reference = candle_core::safetensors::load(reference, &Device::Cpu)
        .map_err(|e| Error::corrupt(format!("`{}`: {e}", reference.display())))?;
    let comparison = Comparison { reference: reference.into_iter().collect(), tolerance };
    let inputs = comparison.inputs()?;
    let mut checks = match adapter {
        Some(adapter) => comparison.with_adapter(model, adapter, &inputs, device)?,
        None => comparison.bare(model, &inputs, device)?,
    };
    if checks.is_empty() {
        return Err(Error::invalid("the reference holds nothing to compare")
            .hint("it needs at least one of logits, hidden, mean_pooled, cls_logits, loss"));
    }
    checks.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(checks)
}

/// The reference's inputs without their padding.
struct Inputs {
    batch: Batch,
    /// Of each token, its index in the padded rows laid end to end.
    places: Vec<u32>,
    /// `T`, of the padded rows.
    width: usize,
}

/// A model run on them.
struct Forward<'a> {
    model: &'a Model,
    inputs: &'a Inputs,
    /// `(N, H)`
    hidden: Tensor,
    /// `(B, C)`, for a model with a classification head.
    class_logits: Option<Tensor>,
}

impl<'a> Forward<'a> {
    fn of(model: &'a Model, adapter: &dyn Adapter, inputs: &'a Inputs) -> Result<Self> {
        let pass = Pass { adapter, cache: None, mode: Mode::Eval };
        let hidden = model.transformer.forward(&inputs.batch, pass)?;
        let head = model.classifier.as_ref();
        let class_logits =
            head.map(|head| head.forward(&hidden, &inputs.batch, adapter, Mode::Eval)).transpose()?;
        Ok(Self { model, inputs, hidden, class_logits })
    }
}

struct Comparison {
    reference: BTreeMap<String, Tensor>,
    tolerance: Tolerance,
}

impl Comparison {
    fn bare(&self, model: &Path, inputs: &Inputs, device: &Device) -> Result<Vec<Check>> {
        let mut checks = {
            // As it is used: with frozen weights, by the fused kernels.
            let model = Model::load(model, device)?;
            self.outputs(&Forward::of(&model, &Bare, inputs)?)?
        };
        if self.has_gradients() {
            let (model, params) = Model::load_trainable(model, device)?;
            checks.extend(self.gradients(&Forward::of(&model, &Bare, inputs)?, &params)?);
        }
        Ok(checks)
    }

    fn with_adapter(&self, path: &Path, dir: &Path, inputs: &Inputs, device: &Device) -> Result<Vec<Check>> {
        let bare = Model::load(path, device)?;
        let stored = Stored::read(dir, &bare.transformer)?;
        let Some(config) = &stored.config else {
            return Err(Error::invalid(format!("`{}` holds weights and no adapter", dir.display())));
        };
        // A head or biases of the base that were trained with the adapter.
        let model = match stored.base.is_empty() {
            true => bare,
            false => Model::load_over(path, device, stored.base.clone())?,
        };
        let adapter = config.attach(&model.transformer, &stored.tensors)?;
        let mut checks = self.outputs(&Forward::of(&model, &*adapter, inputs)?)?;
        let (config, tensors) = self.written(config, &stored, dir, &mut checks)?;
        if self.has_gradients() {
            let mut params = Params::new();
            let mut variable = |(name, value): (&String, &Tensor)| -> Result<(String, Tensor)> {
                Ok((name.clone(), params.insert(name, value)?))
            };
            // A head that only came with the adapter has no gradient in the reference.
            let model = match stored.base.is_empty() {
                true => model,
                false => {
                    let of_base = stored.base.iter().map(|(name, value)| match self.wants(name) {
                        true => variable((name, value)),
                        false => Ok((name.clone(), value.clone())),
                    });
                    Model::load_over(path, device, of_base.collect::<Result<_>>()?)?
                }
            };
            let variables = tensors.iter().map(variable).collect::<Result<_>>()?;
            let adapter = config.attach(&model.transformer, &variables)?;
            checks.extend(self.gradients(&Forward::of(&model, &*adapter, inputs)?, &params)?);
        }
        Ok(checks)
    }

    /// What is trained: the adapter itself, or the network that the reference says wrote it.
    fn written(
        &self,
        config: &AdapterConfig,
        stored: &Stored,
        dir: &Path,
        checks: &mut Vec<Check>,
    ) -> Result<(AdapterConfig, Tensors)> {
        let params =
            self.reference.iter().filter_map(|(name, tensor)| Some((name.strip_prefix("param.")?, tensor)));
        let params: Tensors = params.map(|(name, tensor)| (plain(name), tensor.clone())).collect();
        let writer = if params.is_empty() { None } else { with_its_network(dir)? };
        let Some(writer) = writer else { return Ok((config.clone(), stored.tensors.clone())) };
        let (_, written) = writer.trained(&params)?;
        for (name, theirs) in &stored.tensors {
            let outcome = match written.get(name) {
                Some(ours) => self.outcome(ours, theirs)?,
                None => Outcome::Missing("its network does not write it".to_owned()),
            };
            checks.push(Check { name: format!("param.{name}"), outcome });
        }
        Ok((writer, params))
    }

    fn inputs(&self) -> Result<Inputs> {
        let ids = self.integers("input_ids")?;
        let mask = match self.reference.contains_key("attention_mask") {
            true => self.integers("attention_mask")?,
            false => ids.iter().map(|row| vec![1; row.len()]).collect(),
        };
        let unsigned = |rows: &[Vec<i64>], name: &str| -> Result<Vec<Vec<u32>>> {
            let convert = |id: &i64| u32::try_from(*id).ok();
            let rows: Option<Vec<Vec<u32>>> =
                rows.iter().map(|row| row.iter().map(convert).collect()).collect();
            rows.ok_or_else(|| Error::invalid(format!("reference: `{name}` holds negative numbers")))
        };
        let (ids, mask) = (unsigned(&ids, "input_ids")?, unsigned(&mask, "attention_mask")?);
        let (batch, places) = Batch::from_padded(&ids, &mask)?;
        Ok(Inputs { batch, places, width: ids.first().map_or(0, Vec::len) })
    }

    fn outputs(&self, run: &Forward) -> Result<Vec<Check>> {
        let places = &run.inputs.places;
        let mut checks = Vec::new();
        for (name, theirs) in &self.reference {
            let outcome = match name.as_str() {
                "hidden" => {
                    let theirs = without_virtual_rows(theirs, run.inputs.width)?;
                    self.outcome(&run.hidden, &unpadded(&theirs, places)?)?
                }
                "logits" => {
                    let theirs = without_virtual_rows(theirs, run.inputs.width)?;
                    self.outcome(&run.model.transformer.logits(&run.hidden)?, &unpadded(&theirs, places)?)?
                }
                "mean_pooled" => self.outcome(&unit(&means(&run.hidden, &run.inputs.batch)?)?, theirs)?,
                "cls_logits" => match &run.class_logits {
                    Some(ours) => self.outcome(ours, theirs)?,
                    None => Outcome::Missing("the model has no classification head".to_owned()),
                },
                "loss" => match self.loss(run)? {
                    Some(ours) => self.outcome(&ours.reshape(1)?, &theirs.flatten_all()?)?,
                    None => Outcome::Missing(NO_LOSS.to_owned()),
                },
                _ => continue,
            };
            checks.push(Check { name: name.clone(), outcome });
        }
        Ok(checks)
    }

    /// Whether there is a gradient for our `name`.
    fn wants(&self, name: &str) -> bool {
        let mut gradients = self.reference.keys().filter_map(|theirs| theirs.strip_prefix("grad."));
        gradients.any(|theirs| same_parameter(theirs, name))
    }

    fn has_gradients(&self) -> bool {
        self.reference.keys().any(|name| name.starts_with("grad."))
    }

    fn gradients(&self, run: &Forward, params: &Params) -> Result<Vec<Check>> {
        let wanted: BTreeSet<&str> =
            self.reference.keys().filter_map(|name| name.strip_prefix("grad.")).collect();
        let Some(loss) = self.loss(run)? else {
            let missing = |name| Check { name, outcome: Outcome::Missing(NO_LOSS.to_owned()) };
            return Ok(wanted.iter().map(|name| missing(format!("grad.{name}"))).collect());
        };
        let grads = loss.backward()?;
        let floor = ROUNDING * self.gradient_length()?;
        let mut checks = Vec::new();
        let mut seen = BTreeSet::new();
        for (name, ours) in params.gradients(&grads) {
            let theirs = wanted.iter().find(|theirs| same_parameter(theirs, name));
            let outcome = match (ours, theirs) {
                (Some(ours), Some(theirs)) => {
                    let reference = &self.reference[&format!("grad.{theirs}")];
                    compared(ours, reference, self.tolerance.gradient, floor)?
                }
                (None, Some(_)) => Outcome::Missing("no gradient of ours reaches it".to_owned()),
                (Some(_), None) => Outcome::Missing("the reference has no gradient for it".to_owned()),
                (None, None) => continue,
            };
            seen.extend(theirs.copied());
            checks.push(Check { name: format!("grad.{}", theirs.copied().unwrap_or(name)), outcome });
        }
        for name in wanted.difference(&seen) {
            let outcome = Outcome::Missing("the model has no such parameter".to_owned());
            checks.push(Check { name: format!("grad.{name}"), outcome });
        }
        Ok(checks)
    }

    /// Next-token loss over `labels`, else class loss over `y`.
    fn loss(&self, run: &Forward) -> Result<Option<Tensor>> {
        if self.reference.contains_key("labels") {
            let labels = self.integers("labels")?.concat();
            let label = |&place: &u32| labels.get(place as usize).copied();
            let labels: Option<Vec<i64>> = run.inputs.places.iter().map(label).collect();
            let labels = labels
                .ok_or_else(|| Error::invalid("reference: `labels` and `input_ids` differ in shape"))?;
            let targets = Targets::next_token(&labels, &run.inputs.batch.packing);
            below(&targets, "labels", run.model.transformer.config.shape.vocab, "the vocabulary")?;
            return cross_entropy(&run.hidden, &targets, run.model.transformer.head()).map(Some);
        }
        let (Some(y), Some(logits)) = (self.reference.get("y"), &run.class_logits) else { return Ok(None) };
        let ids = y.flatten_all()?.to_dtype(DType::U32)?.to_vec1()?;
        let targets = Targets { rows: (0..ids.len() as u32).collect(), ids };
        below(&targets, "y", logits.dim(1)?, "the head's classes")?;
        cross_entropy(logits, &targets, |logits: &Tensor| Ok(logits.clone())).map(Some)
    }

    fn outcome(&self, ours: &Tensor, theirs: &Tensor) -> Result<Outcome> {
        compared(ours, theirs, self.tolerance.forward, f64::MIN_POSITIVE)
    }

    /// The length of the whole reference gradient, all parameters together.
    fn gradient_length(&self) -> Result<f64> {
        let grads = self.reference.iter().filter(|(name, _)| name.starts_with("grad."));
        let squares =
            grads.map(|(_, grad)| Ok(length(&values(grad)?).powi(2))).collect::<Result<Vec<_>>>()?;
        Ok(squares.iter().sum::<f64>().sqrt())
    }

    /// A two-dimensional integer tensor, by rows.
    fn integers(&self, name: &str) -> Result<Vec<Vec<i64>>> {
        let tensor = self.reference.get(name).ok_or_else(|| {
            Error::invalid(format!("the reference has no `{name}`"))
                .hint("it needs input_ids of shape (B, T)")
        })?;
        tensor
            .to_dtype(DType::I64)
            .and_then(|tensor| tensor.to_vec2())
            .map_err(|e| Error::invalid(format!("reference: `{name}` is not a table of integers: {e}")))
    }
}

/// `(B, n + T, W)` without the first `n` rows of each sequence.
fn without_virtual_rows(logits: &Tensor, width: usize) -> Result<Tensor> {
    let rows = logits.dim(D::Minus2)?;
    Ok(logits.narrow(D::Minus2, rows.saturating_sub(width), width.min(rows))?)
}

/// A parameter's name without what libraries of adapters wrap it in.
fn plain(name: &str) -> String {
    let wrappings = [".default", ".modules_to_save", ".base_layer", "prompt_encoder."];
    let mut name = wrappings.iter().fold(name.to_owned(), |name, wrapping| name.replace(wrapping, ""));
    if let Some((place, rest)) = name.split_once(".adapters.")
        && let Some(at) = rest.find(".adapter_")
    {
        name = format!("{place}{}", &rest[at..]);
    }
    let name = name.strip_prefix("base_model.model.").unwrap_or(&name);
    name.replace("lora_magnitude_vector.weight", "lora_magnitude_vector")
}

/// Parameter names agree but for what they are wrapped in and a trunk prefix that one side leaves out. PEFT calls the rows
/// of a prompt or a prefix an embedding while it trains them.
fn same_parameter(theirs: &str, ours: &str) -> bool {
    let theirs = &*plain(theirs);
    if (theirs, ours) == ("embedding.weight", "prompt_embeddings") {
        return true;
    }
    let trunks = ["", "bert.", "distilbert.", "roberta.", "model.", "transformer."];
    trunks
        .iter()
        .any(|trunk| theirs.strip_prefix(trunk) == Some(ours) || ours.strip_prefix(trunk) == Some(theirs))
}

/// Rows of `(B, T, W)` that are no padding, `(N, W)`.
fn unpadded(padded: &Tensor, places: &[u32]) -> Result<Tensor> {
    let (rows, columns, width) = padded.dims3()?;
    let flat = padded.to_dtype(DType::F32)?.reshape((rows * columns, width))?;
    Ok(flat.index_select(&Tensor::new(places, padded.device())?, 0)?)
}

/// Why there is no loss to compare or to differentiate.
const NO_LOSS: &str = "the reference has no `labels`, and no `y` for a head this model has";

/// Gradients that vanish on paper (the bias of attention keys) are rounding noise on both sides: errors are measured
/// against the parameter's own gradient, but never against less than this share of the whole gradient.
const ROUNDING: f64 = 1e-5;

/// `|ours - theirs| / max(|theirs|, floor)`; not finite as soon as either side is not.
fn compared(ours: &Tensor, theirs: &Tensor, tolerance: f64, floor: f64) -> Result<Outcome> {
    if ours.elem_count() != theirs.elem_count() {
        let why = format!("shapes differ: ours {:?}, the reference's {:?}", ours.dims(), theirs.dims());
        return Ok(Outcome::Missing(why));
    }
    let (ours, theirs) = (values(ours)?, values(theirs)?);
    let differences: Vec<f64> = ours.iter().zip(&theirs).map(|(a, b)| a - b).collect();
    // f64::max would swallow a NaN.
    let scale = if length(&theirs) < floor { floor } else { length(&theirs) };
    Ok(Outcome::Compared { error: length(&differences) / scale, tolerance })
}

fn values(tensor: &Tensor) -> Result<Vec<f64>> {
    // Not every device knows 64-bit numbers.
    Ok(tensor.detach().to_device(&Device::Cpu)?.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?)
}

fn length(values: &[f64]) -> f64 {
    values.iter().map(|value| value * value).sum::<f64>().sqrt()
}
/// Refuses numbers that the model has no score for.
fn below(targets: &Targets, name: &str, count: usize, of: &str) -> Result<()> {
    match targets.ids.iter().find(|id| **id as usize >= count) {
        Some(id) => Err(Error::invalid(format!("reference: `{name}` has {id}, and {of} are {count}"))
            .hint("the reference is of another model")),
        None => Ok(()),
    }
}
