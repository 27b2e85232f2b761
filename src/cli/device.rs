//! `--device`: where models of this machine compute.
//!
//! Which devices a program knows was decided when it was built: graphics cards are features of the crate, passed through to
//! candle. Whether one is there shows when it is opened. Both refusals say what to do; nobody who asked for a card is
//! quietly given the processor.

use candle_core::Device;
use clap::ValueEnum;

use super::settings::{Key, Setting, Settings};
use crate::error::{Error, Result};

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// The processor
    Cpu,
    /// A graphics card of NVIDIA's, in a build with `--features cuda`
    Cuda,
    /// Apple's graphics, in a build with `--features metal`
    Metal,
}

impl Kind {
    /// As it is typed, and as the feature of the crate is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::Metal => "metal",
        }
    }

    /// Whether this program was built to use it.
    fn is_built(self) -> bool {
        match self {
            Self::Cpu => true,
            Self::Cuda => cfg!(feature = "cuda"),
            Self::Metal => cfg!(feature = "metal"),
        }
    }

    fn open(self) -> candle_core::Result<Device> {
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Cuda => Device::new_cuda(0),
            Self::Metal => Device::new_metal(0),
        }
    }
}

impl Settings {
    /// Where models of this machine compute; `flag` is what the command line says.
    ///
    /// # Errors
    /// `Invalid` for a device that is none or that this build cannot use, `NotFound` when the machine has none such.
    pub fn device(&self, flag: Option<Kind>) -> Result<Device> {
        open(&self.get(Key::Device, flag.map(Kind::name)))
    }
}

fn open(Setting { value, source, .. }: &Setting) -> Result<Device> {
    let Ok(kind) = Kind::from_str(value, true) else {
        let names: Vec<&str> = Kind::value_variants().iter().map(|kind| kind.name()).collect();
        return Err(Error::invalid(format!("`{value}` ({source}) is no device"))
            .hint(format!("there are: {}", names.join(", "))));
    };
    let name = kind.name();
    if !kind.is_built() {
        return Err(Error::invalid(format!("this build of incontext cannot compute on `{name}` ({source})"))
            .hint(format!(
                "build it with `cargo install --path . --features {name}`, or use `--device cpu`"
            )));
    }
    kind.open().map_err(|error| {
        Error::not_found(format!("no device `{name}` ({source}) can be used: {error}"))
            .hint("look whether the card and its driver are there, or use `--device cpu`")
    })
}

#[cfg(test)]
mod tests {
    use super::super::settings::Source;
    use super::*;

    fn opened(value: &str) -> Result<Device> {
        let source = Source::Variable("INCONTEXT_DEVICE");
        open(&Setting { name: "device", value: value.to_owned(), source })
    }

    #[test]
    fn what_cannot_be_had_is_refused_with_who_asked_for_it_and_a_way_out() {
        assert!(opened("cpu").unwrap().is_cpu() && opened("CPU").unwrap().is_cpu());
        let error = opened("gpu").unwrap_err();
        assert_eq!(error.to_string(), "`gpu` (environment variable INCONTEXT_DEVICE) is no device");
        assert_eq!(error.advice(), Some("there are: cpu, cuda, metal"));
        for kind in [Kind::Cuda, Kind::Metal].into_iter().filter(|kind| !kind.is_built()) {
            let error = opened(kind.name()).unwrap_err();
            assert!(matches!(error, Error::Invalid(_)), "{error:?}");
            assert!(error.advice().unwrap().contains(&format!("--features {}", kind.name())), "{error:?}");
        }
    }
}
