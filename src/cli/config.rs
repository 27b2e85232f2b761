//! `incontext config`: the settings in force and where each comes from.

use clap::{Args, Subcommand};
use serde_json::json;

use super::device::Kind;
use super::help;
use super::printer::Printer;
use super::settings::{self, Key, Setting, Settings};
use super::{Ending, tidy};
use crate::error::Result;

#[derive(Subcommand)]
pub enum Config {
    /// Show every setting, its value and where that comes from
    ///
    /// Flags beat environment variables, these beat the folder's config.toml, and that beats the defaults. Flags given
    /// here show what a command given the same flags would use.
    #[command(after_long_help = help::examples(SHOW))]
    Show(Show),
    /// Print the path of the folder's config.toml, whether it is there or not
    #[command(after_long_help = help::examples(PATH))]
    Path,
}

const SHOW: help::Examples = &[
    ("Which collection and models would be used here, and who says so?", "incontext config show"),
    ("The same, if a model were given", "incontext config show --model ./models/my-model.gguf"),
    ("For a script", "incontext config show --json"),
];
const PATH: help::Examples = &[
    ("Edit the folder's settings", "$EDITOR \"$(incontext config path)\""),
    (
        "Make `papers` this folder's collection",
        "echo 'collection = \"papers\"' >> \"$(incontext config path)\"",
    ),
];

#[derive(Args)]
pub struct Show {
    /// As if given to a command
    #[arg(short, long, value_name = "NAME")]
    collection: Option<String>,
    /// As if given to a command
    #[arg(long, value_name = "NAME|DIR")]
    embedder: Option<String>,
    /// As if given to a command
    #[arg(long, value_name = "NAME|PATH")]
    model: Option<String>,
    /// As if given to a command
    #[arg(long, value_name = "NAME|DIR")]
    adapter: Option<String>,
    /// As if given to a command
    #[arg(long, value_name = "NAME|FILE")]
    prompt: Option<String>,
    /// As if given to a command
    #[arg(long, value_name = "DIR")]
    rerank: Option<String>,
    /// As if given to a command
    #[arg(long, value_enum)]
    device: Option<Kind>,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

impl Show {
    fn flag<'a>(&'a self, key: Key, qdrant_url: Option<&'a str>) -> Option<&'a str> {
        match key {
            Key::Collection => &self.collection,
            Key::Embedder => &self.embedder,
            Key::Model => &self.model,
            Key::Adapter => &self.adapter,
            Key::Prompt => &self.prompt,
            Key::Rerank => &self.rerank,
            Key::Device => return self.device.map(Kind::name),
            Key::QdrantUrl => return qdrant_url,
        }
        .as_deref()
    }
}

pub fn show(
    command: &Show,
    qdrant_url: Option<&str>,
    settings: &Settings,
    printer: &Printer,
) -> Result<Ending> {
    let mut all = vec![settings.home()];
    all.extend(Key::ALL.map(|key| settings.get(key, command.flag(key, qdrant_url))));
    all.extend(settings::of_the_hub()?);
    let file = settings.file();
    if command.json {
        printer.json(&json!({ "file": file, "exists": file.exists(), "settings": all }))?;
        return Ok(Ending::Done);
    }
    let width = |text: fn(&Setting) -> &str| {
        all.iter().map(|setting| text(setting).chars().count()).max().unwrap_or(0)
    };
    let (names, values) = (width(|setting| setting.name), width(|setting| &setting.value));
    for Setting { name, value, source } in &all {
        printer.line(format!("{name:names$}  {:values$}  {source}", tidy(value)))?;
    }
    let there = if file.exists() { "" } else { " (not there)" };
    printer.note(format!("config file: {}{there}", file.display()));
    Ok(Ending::Done)
}

pub fn path(settings: &Settings, printer: &Printer) -> Result<Ending> {
    printer.line(settings.file().to_string_lossy())?;
    Ok(Ending::Done)
}
