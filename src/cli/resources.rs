//! What experiments take from around them, loaded by the names that settings know.

use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};

use candle_core::Device;
use clap::Args;

use super::settings::{Key, Settings};
use super::tuned::Chosen;
use super::{device, load, tuned};
use crate::classify::Trained;
use crate::embed::Embedder;
use crate::engine::rlhf::RewardModel;
use crate::error::{Error, IoContext, Result};
use crate::experiment::cache::{self, Cache as Answers};
use crate::experiment::plan::{Documents, Resources};
use crate::generate::Generator;
use crate::hub;
use crate::prompt::{Library, Template};

/// How models are asked, as it is typed, and in which form what comes of it is printed.
#[derive(Args)]
pub struct Asking {
    /// Ask models afresh even for answers that are known
    #[arg(long)]
    no_cache: bool,
    /// Where models of this machine compute [default: cpu]
    #[arg(long, value_enum)]
    device: Option<device::Kind>,
    /// Print what comes of it as JSON
    #[arg(long)]
    pub json: bool,
}

impl Asking {
    /// What there is to ask.
    ///
    /// # Errors
    /// `Invalid` for a device that this program was not built for.
    pub fn resources<'a>(&self, settings: &'a Settings) -> Result<FromSettings<'a>> {
        Ok(FromSettings::new(settings, settings.device(self.device)?))
    }

    /// Where to compute, where that was said.
    pub fn device(&self) -> Option<device::Kind> {
        self.device
    }

    /// Where answers are looked for first.
    ///
    /// # Errors
    /// As [`Answers::open`].
    pub fn cache(&self, resources: &FromSettings) -> Result<Answers> {
        match self.no_cache {
            true => Ok(Answers::none()),
            false => Answers::open(&resources.settings.home.dir().join("cache").join("answers.sqlite")),
        }
    }
}

pub struct FromSettings<'a> {
    settings: &'a Settings,
    device: Device,
    /// Of demonstrations, once they are chosen by nearness.
    embedder: Mutex<OnceLock<Embedder>>,
}

impl<'a> FromSettings<'a> {
    pub fn new(settings: &'a Settings, device: Device) -> Self {
        Self { settings, device, embedder: Mutex::default() }
    }
}

impl FromSettings<'_> {
    /// The empty name is the folder's model, or the one that the adapter was made for.
    fn chosen(&self, model: &str, adapter: &str) -> Result<Chosen> {
        let flag = Some(model).filter(|model| !model.is_empty());
        let (model, adapter) =
            (self.settings.get(Key::Model, flag), self.settings.get(Key::Adapter, Some(adapter)));
        tuned::chosen(model, adapter, self.settings)
    }
}

/// Of a file, or of every file in a folder.
fn sizes_and_times(path: &Path) -> Result<Vec<Vec<u8>>> {
    let path = std::path::absolute(path).at("find", path)?;
    let mut files = vec![path.clone()];
    if path.is_dir() {
        files.clear();
        for entry in std::fs::read_dir(&path).at("read", &path)? {
            files.push(entry.at("read", &path)?.path());
        }
    }
    files.sort();
    let described = files.into_iter().map(|file| {
        let about = file.metadata().at("read", &file)?;
        let changed = about.modified().ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
        let changed = changed.map_or(0, |time| time.as_nanos());
        Ok(format!("{} {} {changed}", file.display(), about.len()).into_bytes())
    });
    described.collect()
}

impl Resources for FromSettings<'_> {
    fn model(&self, model: &str) -> String {
        self.settings.model(Some(model).filter(|model| !model.is_empty()))
    }

    fn fingerprint(&self, model: &str, adapter: &str) -> Result<String> {
        let chosen = self.chosen(model, adapter)?;
        if load::is_served(&chosen.model) {
            return Ok(format!("{} {}", chosen.model, self.settings.endpoint()?.base_url()));
        }
        let model = hub::resolve(&chosen.model)?;
        // A catalogue's model is checked against its hashes when it is resolved. Of one's own, size and time tell.
        let mut parts = vec![model.name.into_bytes()];
        if model.kind.is_none() {
            parts.extend(sizes_and_times(&model.path)?);
        }
        if let Some(adapter) = &chosen.adapter {
            parts.push(adapter.name.clone().into_bytes());
            parts.extend(sizes_and_times(&adapter.dir)?);
        }
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        Ok(cache::key(&parts)[..16].to_owned())
    }

    fn generator(&self, model: &str, adapter: &str) -> Result<Generator> {
        load::generator(&self.chosen(model, adapter)?, &self.device, self.settings)
    }

    fn classifier(&self, model: &str, adapter: &str) -> Result<Option<Trained>> {
        load::classifier(&self.chosen(model, adapter)?, &self.device)
    }

    fn reward(&self, name: &str) -> Result<RewardModel> {
        let Chosen { model, adapter } = self.chosen("", name)?;
        let adapter = adapter.ok_or_else(|| Error::invalid("the model as it is gives no score"))?;
        let model = hub::resolve(&model)?;
        load::check_base(&adapter, &model)?;
        RewardModel::load(&model.path, &adapter.dir, &self.device)
    }

    fn template(&self, name: &str) -> Result<Template> {
        Library::new([self.settings.home.dir().join("prompts")]).load(name)
    }

    fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>> {
        let mut embedder = self.embedder.lock().unwrap_or_else(PoisonError::into_inner);
        if embedder.get().is_none() {
            let loaded = load::embedder(&self.settings.embedder(None), &self.device, self.settings)?;
            *embedder = OnceLock::from(loaded);
        }
        match embedder.get() {
            Some(embedder) => load::vectors(texts, embedder, self.settings),
            None => Ok(Vec::new()),
        }
    }

    fn documents(&self, collection: Option<&str>) -> Result<Documents> {
        let collection = self.settings.home.open(&self.settings.collection(collection))?;
        let embedder = load::collection_embedder(&collection, None, &self.device, self.settings)?;
        let version = load::version(&collection)?;
        Ok(Documents { collection, embedder, places: self.settings.places.clone(), version })
    }
}
