//! Which model a command asks, and which adapter over it: flags over environment over the folder's choice.

use std::path::PathBuf;

use clap::Args;

use super::load;
use super::settings::{Key, Setting, Settings, Source};
use crate::adapters::registry::NONE;
use crate::adapters::{About, AdapterConfig, Registry, Task};
use crate::error::{Error, Result};
use crate::prompt::Template;

/// The options.
#[derive(Args, Default)]
pub struct Tuned {
    /// Adapter over the model: a name of `incontext adapters list`, or a folder [default: none]
    #[arg(long, value_name = "NAME|DIR")]
    adapter: Option<String>,
    /// The model as it is, whatever adapter the folder uses
    #[arg(long, conflicts_with = "adapter")]
    base: bool,
}

/// A generator as it was chosen, loaded or not.
#[derive(Debug, Clone, PartialEq)]
pub struct Chosen {
    pub model: String,
    pub adapter: Option<Adapted>,
}

/// An adapter as it was chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct Adapted {
    pub name: String,
    pub dir: PathBuf,
    pub about: Option<About>,
}

impl Chosen {
    /// A model as it is.
    pub fn bare(model: &str) -> Self {
        Self { model: model.to_owned(), adapter: None }
    }

    /// Whether the adapter was measured to write better answers than the documents' own sentences are.
    pub fn writes_well(&self) -> bool {
        let about = self.adapter.as_ref().and_then(|adapter| adapter.about.as_ref());
        about.is_some_and(About::writes_well)
    }

    /// The template that the adapter was trained by, if it was by one.
    ///
    /// # Errors
    /// Naming the adapter, when the template is not there any more.
    pub fn template(&self, settings: &Settings) -> Result<Option<Template>> {
        let Some(adapter) = &self.adapter else { return Ok(None) };
        let Some(name) = adapter.about.as_ref().and_then(|about| about.template.as_deref()) else {
            return Ok(None);
        };
        let loaded = settings.library().load(name);
        loaded.map(Some).map_err(|error| {
            error
                .within(format!("the template that `{}` was trained by", adapter.name))
                .hint("put it back, or name another with --prompt")
        })
    }

    /// For a person: the model, and what is over it.
    pub fn name(&self) -> String {
        match &self.adapter {
            Some(adapter) => format!("{} with {}", self.model, adapter.name),
            None => self.model.clone(),
        }
    }
}

impl Adapted {
    /// What it is called in commands, given what its folder says that it is.
    pub fn method(&self, config: Option<&AdapterConfig>) -> String {
        match (&self.about, config) {
            (Some(about), _) if !about.method.is_empty() => about.method.clone(),
            (_, Some(config)) => config.name().to_owned(),
            _ => "weights".to_owned(),
        }
    }

    /// Whether it makes a classifier of the model, as far as its folder says.
    pub fn tells_classes(&self) -> bool {
        self.about.as_ref().is_some_and(|about| about.task == Task::SeqCls)
    }

    /// The adapter that `name` means.
    ///
    /// # Errors
    /// As [`Registry::find`], and when it does not say what it is.
    pub fn find(name: &str, settings: &Settings) -> Result<Self> {
        let dir = settings.adapters().find(name)?;
        let about = About::read(&dir).map_err(|error| error.within(dir.display()))?;
        Ok(Self { name: name.to_owned(), dir, about })
    }
}

impl Tuned {
    /// Whether nothing was said.
    pub fn is_open(&self) -> bool {
        self.adapter.is_none() && !self.base
    }

    /// The generator, if the model is `model`, where that is typed.
    ///
    /// # Errors
    /// `NotFound` for an adapter that is not there, `Invalid` for one over an endpoint's model.
    pub fn over(&self, model: Option<&str>, settings: &Settings) -> Result<Chosen> {
        let flag = if self.base { Some(NONE) } else { self.adapter.as_deref() };
        let adapter = settings.get(Key::Adapter, flag);
        chosen(settings.get(Key::Model, model), adapter, settings)
    }
}

/// The generator of a model and an adapter. Unless a model was named, it is the one that the adapter was made for.
///
/// # Errors
/// As [`Tuned::over`].
pub fn chosen(model: Setting, adapter: Setting, settings: &Settings) -> Result<Chosen> {
    if adapter.value == NONE {
        return Ok(Chosen::bare(&model.value));
    }
    let found = Adapted::find(&adapter.value, settings);
    let found = found.map_err(|error| match adapter.source {
        Source::Flag(_) => error,
        source => error.within(format!("the adapter of {source}")),
    })?;
    let own = found.about.as_ref().map(|about| about.base.clone()).filter(|base| !base.is_empty());
    let model = match (model.source, own) {
        (Source::Default, Some(own)) => own,
        _ => model.value,
    };
    if load::is_served(&model) {
        return Err(Error::invalid(format!(
            "`{model}` is behind an endpoint, which gives text and no weights"
        ))
        .hint("an adapter needs a model of this machine; `--base` asks without one"));
    }
    Ok(Chosen { model, adapter: Some(found) })
}

impl Settings {
    /// The folder's adapters.
    pub fn adapters(&self) -> Registry {
        Registry::new(self.home.dir().join("adapters"))
    }
}
