//! Loading the models a command needs, by name or path, with the device they run on.

use candle_core::Device;

use super::models;
use super::printer::Printer;
use crate::embed::{Embedder, LocalEncoder};
use crate::error::Result;
use crate::generate::{Generator, LocalGenerator};
use crate::hub;

/// An encoder by catalogue name or directory.
pub fn embedder(name: &str) -> Result<Embedder> {
    let model = hub::resolve(name)?;
    Ok(Embedder::Local(LocalEncoder::load(&model.name, &model.path, &Device::Cpu)?))
}

/// A generator by catalogue name, directory or GGUF file.
pub fn generator(name: &str) -> Result<Generator> {
    let model = hub::resolve(name)?;
    Ok(Generator::Local(LocalGenerator::load(&model.name, &model.path, &Device::Cpu)?))
}

/// Both default models, fetched where absent.
pub fn fetch_defaults(printer: &Printer) -> Result<()> {
    for name in [hub::DEFAULT_ENCODER, hub::DEFAULT_GENERATOR] {
        models::pull(name, printer)?;
    }
    Ok(())
}
