//! What will be done: flags over environment over the folder's `config.toml` over defaults.
//!
//! This is the one place that decides, so it is also the one that can say where a value came from. [`Key`] is the list of
//! what may be set; a new setting is a new variant. Settings of `hub` (where models live and come from) are the hub's
//! own and only shown here.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::endpoint::{self, OpenAi};
use crate::adapters::registry;
use crate::engine::Places;
use crate::error::{Error, IoContext, Result};
use crate::files;
use crate::hub::{self, Hub};
use crate::index::{self, Home};
use crate::prompt::Library;

/// The folder's own choices, in its home.
const FILE: &str = "config.toml";

/// Where the folder's own templates are, in its home.
pub const PROMPTS: &str = "prompts";

/// What a flag, the environment or `config.toml` may decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    Collection,
    Embedder,
    Model,
    Adapter,
    Prompt,
    Rerank,
    Device,
    QdrantUrl,
}

/// Instead of a server's address: vectors and words are kept by this program, in the collection's own folder.
pub const EMBEDDED: &str = "embedded";

/// What `--rerank` is called when there is none.
pub const NO_RERANKER: &str = "none";

impl Key {
    pub const ALL: [Self; 8] = [
        Self::Collection,
        Self::Embedder,
        Self::Model,
        Self::Adapter,
        Self::Prompt,
        Self::Rerank,
        Self::Device,
        Self::QdrantUrl,
    ];

    /// As `config.toml` spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Collection => "collection",
            Self::Embedder => "embedder",
            Self::Model => "model",
            Self::Adapter => "adapter",
            Self::Prompt => "prompt",
            Self::Rerank => "rerank",
            Self::Device => "device",
            Self::QdrantUrl => "qdrant_url",
        }
    }

    pub fn flag(self) -> &'static str {
        match self {
            Self::Collection => "--collection",
            Self::Embedder => "--embedder",
            Self::Model => "--model",
            Self::Adapter => "--adapter",
            Self::Prompt => "--prompt",
            Self::Rerank => "--rerank",
            Self::Device => "--device",
            Self::QdrantUrl => "--qdrant-url",
        }
    }

    pub fn variable(self) -> &'static str {
        match self {
            Self::Collection => "INCONTEXT_COLLECTION",
            Self::Embedder => "INCONTEXT_EMBEDDER",
            Self::Model => "INCONTEXT_MODEL",
            Self::Adapter => "INCONTEXT_ADAPTER",
            Self::Prompt => "INCONTEXT_PROMPT",
            Self::Rerank => "INCONTEXT_RERANK",
            Self::Device => "INCONTEXT_DEVICE",
            Self::QdrantUrl => index::server::URL,
        }
    }

    /// When nobody says anything.
    pub fn default(self) -> &'static str {
        match self {
            Self::Collection => "default",
            Self::Embedder => hub::DEFAULT_ENCODER,
            Self::Model => hub::DEFAULT_GENERATOR,
            Self::Adapter => registry::NONE,
            Self::Prompt => "qa/grounded",
            Self::Rerank => NO_RERANKER,
            Self::Device => "cpu",
            Self::QdrantUrl => EMBEDDED,
        }
    }
}

/// Every variable of our own that is read, with what it says; any other `INCONTEXT_...` is a slip of the fingers.
pub const VARIABLES: [(&str, &str); 14] = [
    (index::VARIABLE, "folder for built data, as --home"),
    ("INCONTEXT_COLLECTION", "collection, as --collection"),
    ("INCONTEXT_EMBEDDER", "encoder for new collections, as --embedder"),
    ("INCONTEXT_MODEL", "generator, as --model"),
    ("INCONTEXT_ADAPTER", "adapter over it, as --adapter"),
    ("INCONTEXT_PROMPT", "prompt template, as --prompt"),
    ("INCONTEXT_RERANK", "cross-encoder, as --rerank"),
    ("INCONTEXT_DEVICE", "where models compute, as --device"),
    (index::server::URL, "Qdrant server, as --qdrant-url"),
    (index::server::KEY, "key that goes with it"),
    (hub::MODELS, "folder for model files"),
    (hub::OFFLINE, "1: never touch the network"),
    (endpoint::BASE_URL, "where openai:NAME is served"),
    (endpoint::KEY, "key that goes with it"),
];

/// A value and what decided it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Setting {
    pub name: &'static str,
    pub value: String,
    pub source: Source,
}

/// What decided a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", content = "name", rename_all = "lowercase")]
pub enum Source {
    /// On the command line.
    Flag(&'static str),
    /// Of the environment.
    Variable(&'static str),
    /// The folder's `config.toml`, by its path.
    File(String),
    /// Walking up from the current folder.
    Found,
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "flag {flag}"),
            Self::Variable(variable) => write!(f, "environment variable {variable}"),
            Self::File(path) => f.write_str(path),
            Self::Found => f.write_str("found by walking up"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// What `config.toml` says. Every key may be left out.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct FolderConfig {
    collection: Option<String>,
    embedder: Option<String>,
    model: Option<String>,
    adapter: Option<String>,
    prompt: Option<String>,
    rerank: Option<String>,
    device: Option<String>,
    qdrant_url: Option<String>,
    #[serde(default)]
    openai: OpenAi,
}

impl FolderConfig {
    fn get(&self, key: Key) -> Option<&str> {
        match key {
            Key::Collection => &self.collection,
            Key::Embedder => &self.embedder,
            Key::Model => &self.model,
            Key::Adapter => &self.adapter,
            Key::Prompt => &self.prompt,
            Key::Rerank => &self.rerank,
            Key::Device => &self.device,
            Key::QdrantUrl => &self.qdrant_url,
        }
        .as_deref()
    }
}

/// Where this command works, and the folder's choices.
#[derive(Debug, Clone)]
pub struct Settings {
    pub home: Home,
    /// From the paths of the index to files, and to what is printed.
    pub places: Places,
    home_source: Source,
    /// What decided where the Qdrant server is.
    server_source: Source,
    folder: FolderConfig,
}

impl Settings {
    /// `home` and `qdrant_url` are what the flags say.
    ///
    /// # Errors
    /// `Invalid`, naming the key, when config.toml says something we do not know.
    pub fn resolve(home: Option<&Path>, qdrant_url: Option<&str>) -> Result<Self> {
        match Self::in_spite_of_config(home, qdrant_url)? {
            (settings, None) => Ok(settings),
            (_, Some(error)) => Err(error),
        }
    }

    /// As [`Settings::resolve`], but when config.toml cannot be used goes on without it, and says why.
    ///
    /// # Errors
    /// `Io` when the current folder is gone.
    pub fn in_spite_of_config(
        home: Option<&Path>,
        qdrant_url: Option<&str>,
    ) -> Result<(Self, Option<Error>)> {
        let here = std::env::current_dir().at("enter", ".")?;
        let flag = home.is_some();
        let home = Home::locate(home, &here);
        let home_source = match () {
            () if flag => Source::Flag("--home"),
            () if std::env::var_os(index::VARIABLE).is_some_and(|value| !value.is_empty()) => {
                Source::Variable(index::VARIABLE)
            }
            () if home.dir().is_dir() => Source::Found,
            () => Source::Default,
        };
        let (folder, error) = match read_config(&home.dir().join(FILE)) {
            Ok(folder) => (folder, None),
            Err(error) => (FolderConfig::default(), Some(error)),
        };
        let (places, server_source) = (Places::of(&home)?, Source::Default);
        let mut settings = Self { places, home, home_source, server_source, folder };
        let server = settings.get(Key::QdrantUrl, qdrant_url);
        settings.server_source = server.source;
        settings.home = settings.home.with_server(Some(server.value).filter(|url| url != EMBEDDED));
        Ok((settings, error))
    }

    /// The folder's `config.toml`, there or not.
    pub fn file(&self) -> PathBuf {
        self.home.dir().join(FILE)
    }

    /// Has the folder's `config.toml` say `value` for `key`, or nothing; everything else in it stays as it is.
    ///
    /// # Errors
    /// `Io` when it cannot be written.
    pub fn choose(&self, key: Key, value: Option<&str>) -> Result<()> {
        let file = self.file();
        let text = match std::fs::read_to_string(&file) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            text => text.at("read", &file)?,
        };
        let mut document: toml_edit::DocumentMut =
            text.parse().map_err(|error| Error::invalid(format!("`{}`: {error}", file.display())))?;
        match value {
            Some(value) => drop(document.insert(key.name(), toml_edit::value(value))),
            None => drop(document.remove(key.name())),
        }
        self.home.create()?;
        files::replace(&file, document.to_string().as_bytes())
    }

    /// The value of `key` and what decided it; `flag` is what the command line says.
    pub fn get(&self, key: Key, flag: Option<&str>) -> Setting {
        let variable = std::env::var(key.variable()).ok().filter(|value| !value.is_empty());
        self.decide(key, flag, variable)
    }

    fn decide(&self, key: Key, flag: Option<&str>, variable: Option<String>) -> Setting {
        let (value, source) = match (flag, variable, self.folder.get(key)) {
            (Some(flag), ..) => (flag.to_owned(), Source::Flag(key.flag())),
            (_, Some(value), _) => (value, Source::Variable(key.variable())),
            (_, _, Some(value)) => (value.to_owned(), Source::File(self.file().display().to_string())),
            _ => (key.default().to_owned(), Source::Default),
        };
        Setting { name: key.name(), value, source }
    }

    /// Where this command works.
    pub fn home(&self) -> Setting {
        let value = self.home.dir().display().to_string();
        Setting { name: "home", value, source: self.home_source.clone() }
    }

    pub fn collection(&self, flag: Option<&str>) -> String {
        self.get(Key::Collection, flag).value
    }

    pub fn embedder(&self, flag: Option<&str>) -> String {
        self.get(Key::Embedder, flag).value
    }

    pub fn model(&self, flag: Option<&str>) -> String {
        self.get(Key::Model, flag).value
    }

    /// Whether the command line says which Qdrant server is used, or that none is.
    pub fn server_is_typed(&self) -> bool {
        matches!(self.server_source, Source::Flag(_))
    }

    /// What config.toml says of endpoints.
    pub(super) fn openai(&self) -> &OpenAi {
        &self.folder.openai
    }

    /// The folder's own templates, and those that come with the program.
    pub fn library(&self) -> Library {
        Library::new([self.home.dir().join(PROMPTS)])
    }

    /// [`NO_RERANKER`] or the name of a cross-encoder.
    pub fn rerank(&self, flag: Option<&str>) -> String {
        self.get(Key::Rerank, flag).value
    }
}

/// What decides where models live and come from.
///
/// # Errors
/// As [`Hub::from_env`].
pub fn of_the_hub() -> Result<Vec<Setting>> {
    let setting = |hub::Setting { name, value, variable }| {
        let source = variable.map_or(Source::Default, Source::Variable);
        Setting { name, value, source }
    };
    Ok(Hub::from_env()?.settings().into_iter().map(setting).collect())
}

fn read_config(file: &Path) -> Result<FolderConfig> {
    let text = match std::fs::read_to_string(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(FolderConfig::default()),
        text => text.at("read", file)?,
    };
    toml::from_str(&text).map_err(|e| {
        let error = Error::invalid(format!("`{}`: {}", file.display(), e.to_string().trim_end()));
        if e.message().starts_with("unknown field") {
            let keys = Key::ALL.map(Key::name).join(", ");
            return error.hint(format!("keys: {keys}; under [openai]: {}", endpoint::KEYS));
        }
        let place = e.span().map_or(String::new(), |span| {
            let (line, column) = place(&text, span.start);
            format!("; look at line {line}, column {column}")
        });
        error.hint(format!("a line is KEY = \"VALUE\", in quotes{place}"))
    })
}

/// Line and column of the byte `at`, from 1.
fn place(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.rfind('\n').map_or(0, |end| end + 1);
    (before.matches('\n').count() + 1, before[line..].chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(folder: FolderConfig) -> Settings {
        let home = Home::locate(Some(Path::new("/w/.incontext")), Path::new("/w"));
        let places = Places { root: "/w".into(), here: "/w".into() };
        Settings { home, places, home_source: Source::Default, server_source: Source::Default, folder }
    }

    #[test]
    fn a_flag_beats_a_variable_which_beats_the_folder_which_beats_the_default_and_each_is_named() {
        for key in Key::ALL {
            let toml = format!("{} = \"folder\"", key.name());
            let chosen = settings(toml::from_str(&toml).expect("every key is one of config.toml's"));
            let decided = |settings: &Settings, flag, variable: Option<&str>| {
                let Setting { value, source, .. } = settings.decide(key, flag, variable.map(str::to_owned));
                (value, source)
            };
            let file = Source::File("/w/.incontext/config.toml".into());
            assert_eq!(decided(&chosen, Some("f"), Some("v")), ("f".into(), Source::Flag(key.flag())));
            assert_eq!(decided(&chosen, None, Some("v")), ("v".into(), Source::Variable(key.variable())));
            assert_eq!(decided(&chosen, None, None), ("folder".into(), file));
            let plain = settings(FolderConfig::default());
            assert_eq!(decided(&plain, None, None), (key.default().into(), Source::Default));
            assert!(VARIABLES.iter().any(|(name, _)| *name == key.variable()), "{key:?} is documented");
        }
    }

    #[test]
    fn an_unknown_key_is_refused_by_name_and_the_others_are_listed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(FILE);
        std::fs::write(&file, "modle = \"x\"\n").unwrap();
        let error = read_config(&file).unwrap_err();
        assert!(error.to_string().contains("modle"), "{error}");
        assert!(error.advice().is_some_and(|hint| {
            hint.starts_with(
                "keys: collection, embedder, model, adapter, prompt, rerank, device, qdrant_url;",
            )
        }));
    }

    #[test]
    fn choosing_changes_one_key_and_leaves_the_rest_of_the_file_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::locate(Some(&folder.path().join(".incontext")), folder.path());
        let places = Places { root: "/w".into(), here: "/w".into() };
        let (home_source, server_source) = (Source::Default, Source::Default);
        let settings = Settings { home, places, home_source, server_source, folder: FolderConfig::default() };
        settings.choose(Key::Adapter, Some("a")).unwrap();
        assert_eq!(std::fs::read_to_string(settings.file()).unwrap(), "adapter = \"a\"\n");
        let text = "# mine\nmodel = 'x' # why\n\n[openai]\nbase_url = \"u\"\n";
        std::fs::write(settings.file(), text).unwrap();
        settings.choose(Key::Adapter, Some("b")).unwrap();
        let chosen = read_config(&settings.file()).unwrap();
        assert_eq!((chosen.adapter.as_deref(), chosen.model.as_deref()), (Some("b"), Some("x")));
        settings.choose(Key::Adapter, None).unwrap();
        assert_eq!(std::fs::read_to_string(settings.file()).unwrap(), text);
    }

    #[test]
    fn what_is_no_toml_is_told_where_and_not_which_keys_there_are() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(FILE);
        for (text, place) in [
            ("model = \"x\"\nprompt = qa/grounded\n", "line 2, column 10"),
            ("model = 3\n", "line 1, column 9"),
            ("nonsense", "line 1, column 9"),
            ("é = \"", "line 1, column "),
        ] {
            std::fs::write(&file, text).unwrap();
            let error = read_config(&file).unwrap_err();
            let hint = error.advice().unwrap();
            assert!(hint.contains(place) && !hint.contains("keys:"), "{error} | {hint}");
        }
    }
}
