//! A classifier that was trained: a head for classes on a model, as it is or under an adapter, or a classical classifier over the
//! model's features.

use std::path::Path;
use std::sync::Arc;

use candle_core::{D, Device};

use super::features::{Features, Kept};
use crate::adapters::{About, Stored, Task};
use crate::error::{Error, Result};
use crate::models::{self, Batch, Model};
use crate::nn::{Adapter, Bare, Mode, Network, Pass};
use crate::train::ids_of_text;

/// Tokens read together: more texts than one fill a processor better.
const TOGETHER: usize = 16;

pub struct Trained {
    /// In the order of its outputs.
    labels: Vec<String>,
    by: By,
}

#[expect(clippy::large_enum_variant, reason = "a process has one of them and hardly moves it")]
enum By {
    Head(Head),
    Features(Features),
}

/// A head for classes on a model.
struct Head {
    model: Model,
    adapter: Arc<dyn Adapter>,
    /// Tokens of a text that are read.
    window: usize,
}

impl Trained {
    /// The classifier in the folder `dir`, on the model at `model`.
    ///
    /// # Errors
    /// `Invalid` when the folder holds no classifier; as [`Stored::read`].
    pub fn load(model: &Path, dir: &Path, device: &Device) -> Result<Self> {
        let place = |error: Error| error.within(dir.display());
        if Kept::is_in(dir) {
            let labels = About::read(dir).map_err(place)?.unwrap_or_default().labels;
            let features = Features::load(model, dir, device, labels.len())?;
            return Ok(Self { labels, by: By::Features(features) });
        }
        let base = Model::load(model, device)?;
        let stored = Stored::read(dir, &base.transformer)?;
        let about = stored.about.clone().unwrap_or_default();
        if stored.task != Task::SeqCls || stored.base.is_empty() {
            return Err(place(
                Error::invalid("this adapter tells no classes apart")
                    .hint("train one with `incontext tune head`"),
            ));
        }
        let model = Model::load_over(model, device, stored.base.clone()).map_err(place)?;
        let adapter: Arc<dyn Adapter> = match &stored.config {
            Some(config) => config.attach(&model.transformer, &stored.tensors).map_err(place)?,
            None => Arc::new(Bare),
        };
        let classes = model.classifier.as_ref().map_or(0, crate::models::Classifier::classes);
        if classes == 0 {
            return Err(place(Error::corrupt("the head is missing").hint("train it again")));
        }
        if classes == 1 {
            return Err(place(Error::invalid("this adapter gives a score, and tells no classes apart"))
                .hint("it is a reward model: `incontext eval reward` measures it, `incontext rlhf ppo` learns from it"));
        }
        // A folder of another tool names no classes.
        let labels = match about.labels.is_empty() {
            true => (0..classes).map(|class| class.to_string()).collect(),
            false => about.labels,
        };
        if labels.len() != classes {
            return Err(place(
                Error::corrupt(format!(
                    "its head tells {classes} classes apart, and it names {}",
                    labels.len()
                ))
                .hint("copy the adapter again, or train it again"),
            ));
        }
        let longest = about.training["job"]["train"]["max_length"].as_u64();
        let room = model.transformer.room(&*adapter)?;
        let window = longest.map_or(room, |most| room.min(most as usize));
        Ok(Self { labels, by: By::Head(Head { model, adapter, window }) })
    }

    /// The classifier that the model at `path` is, a Hugging Face directory with a head for classes.
    ///
    /// # Errors
    /// `Invalid` for one without; as [`Model::load`].
    pub fn of_model(path: &Path, device: &Device) -> Result<Self> {
        let model = Model::load(path, device)?;
        let (Some(labels), Some(head)) = (models::class_names(path)?, &model.classifier) else {
            return Err(Error::invalid(format!("`{}` has no head for classes", path.display()))
                .hint("train one with `incontext tune head`"));
        };
        if labels.len() != head.classes() {
            return Err(Error::corrupt(format!(
                "`{}`: config.json names {} classes, the head has {}",
                path.display(),
                labels.len(),
                head.classes()
            ))
            .hint("save the model again"));
        }
        let window = model.transformer.config.context;
        Ok(Self { labels, by: By::Head(Head { model, adapter: Arc::new(Bare), window }) })
    }

    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// The probability of each label, for each text. Of a text longer than those it was trained on the end is not read.
    ///
    /// # Errors
    /// As a forward pass fails; `Invalid` for a text without a token.
    pub fn probabilities(&self, texts: &[&str]) -> Result<Vec<Vec<f64>>> {
        match &self.by {
            By::Head(head) => head.probabilities(texts),
            By::Features(features) => features.probabilities(texts),
        }
    }
}

impl Head {
    fn probabilities(&self, texts: &[&str]) -> Result<Vec<Vec<f64>>> {
        let tokenizer = self.model.tokenizer()?;
        let causal = self.model.transformer.causal();
        let Some(head) = &self.model.classifier else { return Ok(Vec::new()) };
        let mut all = Vec::with_capacity(texts.len());
        for texts in texts.chunks(TOGETHER) {
            let ids = texts.iter().map(|text| Ok(ids_of_text(tokenizer, text, causal, self.window)?.0));
            let batch = Batch::of(&ids.collect::<Result<Vec<_>>>()?);
            let pass = Pass { adapter: &*self.adapter, cache: None, mode: Mode::Eval };
            let hidden = self.model.transformer.forward(&batch, pass)?;
            let logits = head.forward(&hidden, &batch, &*self.adapter, Mode::Eval)?; // (B, C)
            for row in candle_nn::ops::softmax(&logits, D::Minus1)?.to_vec2::<f32>()? {
                all.push(row.into_iter().map(f64::from).collect());
            }
        }
        Ok(all)
    }
}
