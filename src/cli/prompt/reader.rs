//! Who reads a prompt: a model of this machine, one behind an endpoint, or nobody yet.

use crate::cli::load;
use crate::cli::settings::Settings;
use crate::cli::tuned::Chosen;
use crate::error::{Error, Result};
use crate::generate::{Generator, Reading};
use crate::hub;
use crate::prompt::{Layout, Prompt};

pub enum Reader {
    Local(Reading),
    Endpoint(Generator),
    /// Tokens are counted as the default generator would, if that is here.
    Nobody(Option<Reading>),
}

impl Reader {
    /// The model called `name`, its weights not loaded.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn load(name: Option<&str>, settings: &Settings) -> Result<Self> {
        let Some(name) = name else {
            let counts = hub::resolve(hub::DEFAULT_GENERATOR).and_then(|model| Reading::load(&model.path));
            return Ok(Self::Nobody(counts.ok()));
        };
        if load::is_served(name) {
            return Ok(Self::Endpoint(load::generator(
                &Chosen::bare(name),
                &candle_core::Device::Cpu,
                settings,
            )?));
        }
        Ok(Self::Local(Reading::load(&hub::resolve(name)?.path)?))
    }

    /// To the letter where the model is here, else for a person to read.
    ///
    /// # Errors
    /// As [`Generator::render`].
    pub fn text(&self, layout: &Layout) -> Result<String> {
        match (self, layout) {
            (Self::Local(reading), _) => reading.render(layout),
            (Self::Endpoint(generator), _) => generator.render(layout),
            (Self::Nobody(_), Layout::Text(text)) => Ok(text.clone()),
            (Self::Nobody(_), Layout::Chat(_)) => Ok(layout.marked()),
        }
    }

    /// Tokens of `prompt`; none where nobody can count them.
    ///
    /// # Errors
    /// As [`Generator::count`].
    pub fn count(&self, prompt: &Prompt) -> Result<usize> {
        match self {
            Self::Local(reading) => reading.count(&reading.render(&prompt.layout)?),
            Self::Endpoint(generator) => generator.count(&prompt.layout),
            Self::Nobody(Some(reading)) => reading.count(&prompt.text()),
            Self::Nobody(None) => Ok(0),
        }
    }

    /// Whether [`Self::count`] means anything.
    pub fn counts(&self) -> bool {
        !matches!(self, Self::Nobody(None))
    }

    /// The window to fit a prompt into: `flag`, or the model's own; `None` where nothing says.
    ///
    /// # Errors
    /// `NotFound` when a window is asked for and nobody can count.
    pub fn context(&self, flag: Option<usize>) -> Result<Option<usize>> {
        if flag.is_some() && !self.counts() {
            return Err(Error::not_found("there is no model to count tokens with").hint(format!(
                "name one with -m, or fetch one: incontext models pull {}",
                hub::DEFAULT_GENERATOR
            )));
        }
        let own = match self {
            Self::Local(reading) => Some(reading.context()),
            Self::Endpoint(generator) => Some(generator.context()),
            Self::Nobody(_) => None,
        };
        Ok(flag.or(own))
    }

    /// As [`Generator::parameters`]; nobody is taken for the default generator, which is small.
    pub fn parameters(&self) -> Option<usize> {
        match self {
            Self::Local(reading) => Some(reading.parameters()),
            Self::Endpoint(generator) => generator.parameters(),
            Self::Nobody(_) => Some(0),
        }
    }
}
