//! Loading the models a command needs, by name or path, with the device they run on.

use candle_core::Device;

use super::models;
use super::printer::Printer;
use crate::embed::{Embedder, LocalEncoder};
use crate::error::{Error, IoContext, Result};
use crate::generate::{Generator, LocalGenerator};
use crate::hub;
use crate::index::Collection;

/// An encoder by catalogue name or directory.
pub fn embedder(name: &str) -> Result<Embedder> {
    let model = hub::resolve(name)?;
    // A collection remembers this name: a path has to mean the same from every folder.
    let name = match model.kind {
        Some(_) => model.name,
        None => std::path::absolute(&model.path).at("find", &model.path)?.to_string_lossy().into_owned(),
    };
    Ok(Embedder::Local(LocalEncoder::load(&name, &model.path, &Device::Cpu)?))
}

/// The encoder a collection was built with; `flag` says where it lies now, if that changed.
///
/// # Errors
/// `Mismatch` when it is another encoder: its vectors would mean nothing here.
pub fn collection_embedder(collection: &Collection, flag: Option<&str>) -> Result<Embedder> {
    let embedder = embedder(flag.unwrap_or(&collection.profile().embedder.name))?;
    check_fingerprint(collection, embedder.name(), embedder.fingerprint())?;
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

/// A generator by catalogue name, directory or GGUF file.
pub fn generator(name: &str) -> Result<Generator> {
    let model = hub::resolve(name)?;
    Ok(Generator::Local(Box::new(LocalGenerator::load(&model.name, &model.path, &Device::Cpu)?)))
}

/// Both default models, fetched where absent.
pub fn fetch_defaults(printer: &Printer) -> Result<()> {
    for name in [hub::DEFAULT_ENCODER, hub::DEFAULT_GENERATOR] {
        models::pull(name, printer)?;
    }
    Ok(())
}
