//! Loading the models a command needs, by name or path, onto the device they are to run on.

use candle_core::Device;

use super::models as cli_models;
use super::printer::Printer;
use super::settings::{NO_RERANKER, Settings};
use super::tuned::{Adapted, Chosen};
use crate::adapters::{About, Stored, Task};
use crate::classify::Trained;
use crate::embed::{Cache, Embedder, HttpEncoder, LocalEncoder, Overflow};
use crate::engine::tune::Documents;
use crate::error::{Error, Result};
use crate::generate::{Generator, HttpGenerator, LocalGenerator};
use crate::hub::{self, ModelPath};
use crate::index::{Collection, Patience};
use crate::models;
use crate::nn::Precision;
use crate::retrieve::rerank::CrossEncoder;
use crate::text::tokenizer::Tokenizer;

/// Begins the name of a model that an endpoint serves.
const SERVED: &str = "openai:";

/// Whether `name` is of a model that an endpoint serves.
pub fn is_served(name: &str) -> bool {
    name.starts_with(SERVED)
}

/// An encoder by catalogue name, directory, or `openai:NAME`.
pub fn embedder(name: &str, device: &Device, settings: &Settings) -> Result<Embedder> {
    match served(name)? {
        Some(model) => endpoint_encoder(model, None, settings),
        None => local_encoder(name, device),
    }
}

fn local_encoder(name: &str, device: &Device) -> Result<Embedder> {
    let model = hub::resolve(name)?;
    let name = model.lasting_name()?; // a collection remembers it
    Ok(Embedder::Local(LocalEncoder::load(&name, &model.path, device)?))
}

/// Passages are cut as the default encoder counts: it is here, and others count much alike.
fn endpoint_encoder(model: &str, dimension: Option<usize>, settings: &Settings) -> Result<Embedder> {
    let tokenizer = Tokenizer::from_dir(&hub::resolve(hub::DEFAULT_ENCODER)?.path)?;
    let window = settings.endpoint_window();
    let encoder = HttpEncoder::new(model, settings.endpoint()?, tokenizer, window, dimension)?;
    Ok(Embedder::Http(Box::new(encoder)))
}

/// The encoder a collection was built with; `flag` says where it lies now, if that changed.
///
/// # Errors
/// `Mismatch` when it is another encoder: its vectors would mean nothing here.
pub fn collection_embedder(
    collection: &Collection,
    flag: Option<&str>,
    device: &Device,
    settings: &Settings,
) -> Result<Embedder> {
    let built = &collection.profile().embedder;
    let name = flag.unwrap_or(&built.name);
    let embedder = match served(name)? {
        // Its length is known: an endpoint need not be asked for it again.
        Some(model) => endpoint_encoder(model, Some(built.dimension), settings)?,
        None => local_encoder(name, device)?,
    };
    let checked = check_fingerprint(collection, embedder.name(), embedder.fingerprint());
    checked.map_err(|error| match embedder {
        Embedder::Http(_) if name == built.name => error.hint(
            "the same name at another address is another encoder: set OPENAI_BASE_URL to where it was, or build anew with `incontext ingest PATH --rebuild`",
        ),
        _ => error,
    })?;
    Ok(embedder)
}

/// Whether the encoder `name` is the one the collection was built with.
///
/// # Errors
/// `Mismatch` when its fingerprint is another.
pub fn check_fingerprint(collection: &Collection, name: &str, fingerprint: &str) -> Result<()> {
    let built = &collection.profile().embedder;
    if fingerprint == built.fingerprint {
        return Ok(());
    }
    Err(Error::mismatch(format!(
        "the collection was built with the encoder `{}` (fingerprint {}), not with `{name}` (fingerprint {fingerprint})",
        built.name, built.fingerprint
    ))
    .hint("give the right one with --embedder, or build anew with `incontext ingest PATH --rebuild`"))
}

/// Tells what is in a collection, and how it was built, from what else there may be.
pub fn version(collection: &Collection) -> Result<String> {
    let mut hasher = blake3::Hasher::new();
    for known in collection.read(Patience::default())?.documents()? {
        hasher.update(format!("{:?}\n", known.meta).as_bytes());
    }
    hasher.update(&serde_json::to_vec(collection.profile()).unwrap_or_default());
    Ok(hasher.finalize().to_hex()[..16].to_owned())
}

/// A vector for each text; where there is a folder for built data, those that were computed before are kept there.
pub fn vectors(texts: &[&str], embedder: &Embedder, settings: &Settings) -> Result<Vec<Vec<f32>>> {
    match settings.home.dir() {
        home if home.is_dir() => {
            Cache::open(&home.join("cache").join("embeddings"), embedder)?.embed(texts, |_| {})
        }
        _ => embedder.embed(texts, Overflow::Truncate),
    }
}

/// The cross-encoder that the command line or the settings name, if they name one: a directory.
pub fn reranker(flag: Option<&str>, device: &Device, settings: &Settings) -> Result<Option<CrossEncoder>> {
    let name = settings.rerank(flag);
    if name == NO_RERANKER {
        return Ok(None);
    }
    if served(&name)?.is_some() {
        return Err(Error::invalid(format!("`{name}`: endpoints do not rerank"))
            .hint("give the directory of a cross-encoder"));
    }
    let model = hub::resolve(&name)?;
    CrossEncoder::load(&model.name, &model.path, device).map(Some)
}

/// A generator by catalogue name, directory, GGUF file, or `openai:NAME`, under the adapter that was chosen for it.
///
/// # Errors
/// What is wrong with either; `Mismatch` when the adapter was made on other weights.
pub fn generator(chosen: &Chosen, device: &Device, settings: &Settings) -> Result<Generator> {
    if let Some(model) = served(&chosen.model)? {
        let context = settings.endpoint_context();
        return Ok(Generator::Http(HttpGenerator::new(model, settings.endpoint()?, context)));
    }
    if let Some(adapter) = &chosen.adapter
        && adapter.tells_classes()
    {
        return Err(tells_classes(&adapter.name));
    }
    let model = hub::resolve(&chosen.model)?;
    let local = LocalGenerator::load(&model.name, &model.path, device, Precision::Int8)?;
    let local = match &chosen.adapter {
        None => local,
        Some(adapter) => adapted(local, adapter, &model)?,
    };
    Ok(Generator::Local(Box::new(local)))
}

/// `base`, which lies at `model`, under `adapter`.
fn adapted(base: LocalGenerator, adapter: &Adapted, model: &ModelPath) -> Result<LocalGenerator> {
    check_base(adapter, model)?;
    let stored = Stored::read(&adapter.dir, base.network())?;
    if stored.task == Task::SeqCls {
        return Err(tells_classes(&adapter.name));
    }
    let place = |error: Error| error.within(adapter.dir.display());
    let base = match stored.base.is_empty() {
        true => base,
        false => base.with_weights(stored.base.clone()).map_err(place)?,
    };
    let local = match &stored.config {
        Some(config) => {
            let computed = config.attach(base.network(), &stored.tensors);
            base.with_adapter(&adapter.name, computed.map_err(place)?)?
        }
        None => base.named(&adapter.name),
    };
    let about = adapter.about.as_ref();
    let covered = about.map(|about| about.covers.clone()).unwrap_or_default();
    Ok(local.covering(covered).trusted(about.is_some_and(About::writes_well)))
}

/// What tells classes by itself: the adapter that was chosen, or the model as it is; `None` where neither does.
///
/// # Errors
/// What is wrong with either; `Mismatch` when the adapter was made on other weights.
pub fn classifier(chosen: &Chosen, device: &Device) -> Result<Option<Trained>> {
    if let Some(adapter) = &chosen.adapter {
        if !adapter.tells_classes() {
            return Ok(None);
        }
        let model = hub::resolve(&chosen.model)?;
        check_base(adapter, &model)?;
        return Trained::load(&model.path, &adapter.dir, device).map(Some);
    }
    let model = if is_served(&chosen.model) { None } else { hub::resolve(&chosen.model).ok() };
    match model {
        Some(model) if matches!(models::class_names(&model.path), Ok(Some(_))) => {
            Trained::of_model(&model.path, device).map(Some)
        }
        _ => Ok(None),
    }
}

/// Why the adapter `name` is not asked for a text.
pub fn tells_classes(name: &str) -> Error {
    Error::invalid(format!("`{name}` makes a classifier of the model, which writes nothing"))
        .hint(format!("`incontext classify --adapter {name}` asks it; `--base` asks the model as it is"))
}

/// A collection with what finds passages in it, for rows that are laid out as asking lays them out.
pub struct Shelf {
    collection: Collection,
    embedder: Embedder,
    version: String,
}

impl Shelf {
    /// The collection called `name`.
    ///
    /// # Errors
    /// What is wrong with it, or with its encoder.
    pub fn open(name: &str, device: &Device, settings: &Settings) -> Result<Self> {
        let collection = settings.home.open(name)?;
        let embedder = collection_embedder(&collection, None, device, settings)?;
        let version = version(&collection)?;
        Ok(Self { collection, embedder, version })
    }

    pub fn documents<'a>(&'a self, settings: &'a Settings) -> Documents<'a> {
        let Self { collection, embedder, version } = self;
        Documents { collection, embedder, reranker: None, places: &settings.places, version }
    }
}

/// Refuses weights on which the adapter was not made, by name.
///
/// # Errors
/// `Mismatch`.
pub fn check_base(adapter: &Adapted, model: &ModelPath) -> Result<()> {
    let Some(about) = adapter.about.as_ref().filter(|about| !about.base_fingerprint.is_empty()) else {
        return Ok(());
    };
    let found = models::fingerprint(&model.path)?;
    if about.fits(&found) {
        return Ok(());
    }
    let (name, base, other) = (&adapter.name, &about.base, &model.name);
    Err(Error::mismatch(format!(
        "the adapter `{name}` was made on `{base}` (weights {}), not on `{other}` (weights {found})",
        about.base_fingerprint
    ))
    .hint(match base == other {
        true => "the model has changed since: put it back as it was, train the adapter again, or ask without it: --base".to_owned(),
        false => format!("give its own with --model {base}, or ask without it: --base"),
    }))
}

/// What an endpoint calls the model, if `name` is one of an endpoint's.
fn served(name: &str) -> Result<Option<&str>> {
    match name.strip_prefix(SERVED) {
        Some("") => Err(Error::invalid(format!("`{SERVED}` names no model"))
            .hint("say which one the endpoint should use: openai:NAME")),
        model => Ok(model),
    }
}

/// Both default models, fetched where absent.
pub fn fetch_defaults(printer: &Printer) -> Result<()> {
    for name in [hub::DEFAULT_ENCODER, hub::DEFAULT_GENERATOR] {
        cli_models::pull(name, printer)?;
    }
    Ok(())
}
