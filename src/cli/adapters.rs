//! `incontext adapters`: what was trained or brought here, and what can be done with it.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;

use super::load::check_base;
use super::printer::Printer;
use super::settings::{Key, Settings};
use super::tuned::{Adapted, chosen};
use super::{Ending, help};
use crate::adapters::{About, AdapterConfig, Stored, Task, describe, size};
use crate::bytes;
use crate::classify::Trained;
use crate::classify::features::Kept;
use crate::error::{Error, IoContext, Result};
use crate::files;
use crate::hub::{self, ModelPath};
use crate::models::{self, Model};

#[derive(Subcommand)]
pub enum Adapters {
    /// List every adapter of this folder
    #[command(after_long_help = help::examples(LIST))]
    List {
        /// Print it as JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what an adapter is, what it was made on and how
    #[command(after_long_help = help::examples(SHOW))]
    Show {
        /// Its name, or a folder
        name: String,
        /// Print it as JSON
        #[arg(long)]
        json: bool,
    },
    /// Copy an adapter out, for PEFT or AdapterHub to load
    #[command(after_long_help = help::examples(EXPORT))]
    Export {
        /// Its name
        name: String,
        /// Folder to write; must not be there yet
        dir: PathBuf,
    },
    /// Bring in an adapter that PEFT or AdapterHub saved
    ///
    /// Its tensors are checked against the model before anything is kept.
    #[command(after_long_help = help::examples(IMPORT))]
    Import {
        /// Folder with adapter_config.json and its tensors
        dir: PathBuf,
        /// What to call it [default: the folder's name]
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        /// Model that it was made for [default: smollm2-135m-instruct]
        #[arg(long, value_name = "NAME|PATH")]
        model: Option<String>,
    },
    /// Write the model with an adapter's change in its weights, as a Hugging Face directory
    #[command(after_long_help = help::examples(MERGE))]
    Merge {
        /// Its name, or a folder
        name: String,
        /// Directory to write; must not be there yet
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// Model that it was made for [default: the one it names]
        #[arg(long, value_name = "NAME|PATH")]
        model: Option<String>,
    },
    /// Remove an adapter
    #[command(after_long_help = help::examples(RM))]
    Rm {
        /// Its name
        name: String,
    },
}

const LIST: help::Examples = &[
    ("What was trained here?", "incontext adapters list"),
    ("Names only", "incontext adapters list --json | jq -r '.[].name'"),
];
const SHOW: help::Examples = &[
    ("What is it, and how was it trained?", "incontext adapters show support"),
    ("One that lies elsewhere", "incontext adapters show ./downloads/some-lora"),
];
const EXPORT: help::Examples = &[("For PEFT", "incontext adapters export support ./support-lora")];
const IMPORT: help::Examples = &[(
    "A LoRA that PEFT trained on a model of yours",
    "incontext adapters import ./my-lora --name support --model ./models/my-llama",
)];
const MERGE: help::Examples =
    &[("A model that needs no adapter any more", "incontext adapters merge support --out ./models/support")];
const RM: help::Examples = &[("Remove the adapter `support`", "incontext adapters rm support")];

pub fn run(command: Adapters, settings: &Settings, printer: &Printer) -> Result<Ending> {
    match command {
        Adapters::List { json } => list(json, settings, printer)?,
        Adapters::Show { name, json } => show(&name, json, settings, printer)?,
        Adapters::Export { name, dir } => {
            let from = Adapted::find(&name, settings)?.dir;
            absent(&dir)?;
            describe(&from)?;
            copy(&from, &dir)?;
            let known = from.join("adapter_config.json").exists();
            printer.note(match known {
                true => format!("wrote `{}`", dir.display()),
                false => format!(
                    "wrote `{}`; no other tool has a format for this method: `incontext adapters merge` may help",
                    dir.display()
                ),
            });
        }
        Adapters::Import { dir, name, model } => {
            import(&dir, name.as_deref(), model.as_deref(), settings, printer)?
        }
        Adapters::Merge { name, out, model } => merge(&name, &out, model.as_deref(), settings, printer)?,
        Adapters::Rm { name } => {
            settings.adapters().remove(&name)?;
            printer.note(format!("removed adapter `{name}`"));
            if settings.get(Key::Adapter, None).value == name {
                settings.choose(Key::Adapter, None)?;
                printer.note("it was in use; asking the model as it is from now on");
            }
        }
    }
    Ok(Ending::Done)
}

/// Refuses to write over something.
fn absent(dir: &std::path::Path) -> Result<()> {
    match dir.exists() {
        true => Err(Error::invalid(format!("`{}` is there already", dir.display()))
            .hint("name a folder that is not, or remove it first")),
        false => Ok(()),
    }
}

fn copy(from: &std::path::Path, to: &std::path::Path) -> Result<()> {
    files::replace_folder(to, |aside| {
        for entry in std::fs::read_dir(from).at("read", from)? {
            let path = entry.at("read", from)?.path();
            if let (true, Some(name)) = (path.is_file(), path.file_name()) {
                std::fs::copy(&path, aside.join(name)).at("copy", &path)?;
            }
        }
        Ok(())
    })
}

/// What is known of an adapter without its values.
struct Known {
    adapter: Adapted,
    config: Option<AdapterConfig>,
    method: String,
    base: String,
    bytes: u64,
}

impl Known {
    fn of(name: &str, settings: &Settings) -> Result<Self> {
        let adapter = Adapted::find(name, settings)?;
        let (config, base) = describe(&adapter.dir)?;
        let own = adapter.about.as_ref().map(|about| about.base.clone()).filter(|base| !base.is_empty());
        let (method, bytes) = (adapter.method(config.as_ref()), size(&adapter.dir)?);
        Ok(Self { adapter, config, method, base: own.or(base).unwrap_or_default(), bytes })
    }
}

/// One that is damaged is listed as such and hides no other.
fn list(as_json: bool, settings: &Settings, printer: &Printer) -> Result<()> {
    let used = settings.get(Key::Adapter, None).value;
    let names = settings.adapters().names()?;
    let rows: Vec<_> = names.iter().map(|name| (name, Known::of(name, settings))).collect();
    if as_json {
        let row = |(name, known): &(&String, Result<Known>)| match known {
            Ok(Known { adapter, method, base, bytes, .. }) => {
                let trained = adapter.about.as_ref().map(|about| about.trained_parameters);
                json!({ "name": name, "method": method, "base": base, "bytes": bytes,
                    "trained_parameters": trained, "used": **name == used })
            }
            Err(error) => json!({ "name": name, "damaged": error.to_string(), "used": **name == used }),
        };
        return printer.json(&rows.iter().map(row).collect::<Vec<_>>());
    }
    if rows.is_empty() {
        printer.note("no adapters here; make one with `incontext tune`, or bring one with `incontext adapters import DIR`");
    }
    for (name, known) in rows {
        let mark = if *name == used { '*' } else { ' ' };
        printer.line(match known {
            Ok(Known { method, base, bytes, .. }) => {
                format!("{mark} {name:24} {method:14} {:>8}  {base}", bytes::size(bytes))
            }
            Err(error) => format!("{mark} {name:24} damaged: {error}"),
        })?;
    }
    Ok(())
}

fn show(name: &str, as_json: bool, settings: &Settings, printer: &Printer) -> Result<()> {
    let Known { adapter, config, method, base, bytes } = Known::of(name, settings)?;
    if as_json {
        return printer
            .json(&json!({ "name": name, "folder": adapter.dir, "method": method, "config": config,
            "base": base, "bytes": bytes, "about": adapter.about }));
    }
    printer.line(format!("{name}: {method} on {base}, {}", bytes::size(bytes)))?;
    printer.line(format!("folder: {}", adapter.dir.display()))?;
    if let Some(config) = &config {
        let toml = toml::to_string(config).map_err(|error| Error::invalid(error.to_string()))?;
        printer.line(format!("\n{}", toml.trim_end()))?;
    }
    let Some(about) = adapter.about else { return Ok(()) };
    printer.line(format!("\ntrained parameters: {}", about.trained_parameters))?;
    printer.line(format!("base fingerprint: {}", about.base_fingerprint))?;
    if let Some(template) = &about.template {
        printer.line(format!("template: {template}"))?;
    }
    if !about.labels.is_empty() {
        printer.line(format!("labels: {}", about.labels.join(", ")))?;
    }
    if let Some(measured) = &about.answers {
        printer.line(format!(
            "F1 of answers: {:.1} written, {:.1} in the documents' own sentences ({} questions over `{}`)",
            100.0 * measured.generated_f1,
            100.0 * measured.extractive_f1,
            measured.questions,
            measured.collection
        ))?;
    }
    if let Some(file) = about.training["job"]["data"]["file"].as_str() {
        printer.line(format!("trained on: {file}"))?;
    }
    let done = &about.training["outcome"];
    if let (Some(steps), Some(loss)) = (done["steps"].as_u64(), done["loss"].as_f64()) {
        let held_out = done["validation_loss"].as_f64();
        let held_out = held_out.map_or(String::new(), |loss| format!(", {loss:.4} on rows held out"));
        printer.line(format!("training: {steps} steps, loss {loss:.4}{held_out}; --json shows all of it"))?;
    }
    Ok(())
}

fn import(
    dir: &std::path::Path,
    name: Option<&str>,
    model: Option<&str>,
    settings: &Settings,
    printer: &Printer,
) -> Result<()> {
    let own = dir.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let name = name.unwrap_or(&own);
    let to = settings.adapters().place(name)?;
    if to.exists() {
        return Err(Error::invalid(format!("there is an adapter `{name}` already"))
            .hint(format!("give another name with --name, or `incontext adapters rm {name}` first")));
    }
    let place = |error: Error| error.within(dir.display());
    let model = base_of(dir, model, settings)?;
    let device = candle_core::Device::Cpu;
    if Kept::is_in(dir) {
        let about = About::read(dir).map_err(place)?;
        check_base(&Adapted { name: name.to_owned(), dir: dir.to_owned(), about }, &model)?;
        Trained::load(&model.path, dir, &device)?;
        settings.home.create()?;
        copy(dir, &to)?;
        printer.note(format!("`{name}` is here: `incontext classify --adapter {name} TEXT` asks it"));
        return Ok(());
    }
    let loaded = Model::load(&model.path, &device)?;
    let stored = Stored::read(dir, &loaded.transformer)?;
    if !stored.base.is_empty() {
        Model::load_over(&model.path, &device, stored.base.clone()).map_err(place)?;
    }
    if let Some(config) = &stored.config {
        config.attach(&loaded.transformer, &stored.tensors).map_err(place)?;
    }
    let adapter = Adapted { name: name.to_owned(), dir: dir.to_owned(), about: stored.about.clone() };
    check_base(&adapter, &model)?;
    let method = adapter.method(stored.config.as_ref());
    let about = match adapter.about {
        Some(about) => about,
        None => About {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            base: model.name.clone(),
            base_fingerprint: models::fingerprint(&model.path)?,
            method: method.clone(),
            config: stored.config.clone(),
            task: stored.task,
            trained_parameters: stored.tensors.values().map(candle_core::Tensor::elem_count).sum(),
            ..About::default()
        },
    };
    settings.home.create()?;
    let family = loaded.transformer.config.family.to_string();
    let task = stored.task;
    Stored { about: Some(about), ..stored }.write(&to, &loaded.transformer, &family)?;
    let next = match task {
        Task::SeqCls => format!("`incontext classify --adapter {name} TEXT` asks it"),
        _ => format!("ask with it by --adapter {name}"),
    };
    printer.note(format!("`{name}` is here: {method} on {}; {next}", model.name));
    Ok(())
}

/// The model that an adapter brought from elsewhere is for: as it is typed, else as the adapter names it if that is here, else
/// the folder's.
fn base_of(dir: &std::path::Path, typed: Option<&str>, settings: &Settings) -> Result<ModelPath> {
    let named = match typed {
        Some(_) => None,
        None => describe(dir)?.1.and_then(|name| hub::resolve(&name).ok()),
    };
    match named {
        Some(model) => Ok(model),
        None => hub::resolve(&settings.model(typed)),
    }
}

fn merge(
    name: &str,
    out: &std::path::Path,
    model: Option<&str>,
    settings: &Settings,
    printer: &Printer,
) -> Result<()> {
    absent(out)?;
    let chosen = chosen(settings.get(Key::Model, model), settings.get(Key::Adapter, Some(name)), settings)?;
    let Some(adapter) = chosen.adapter else {
        return Err(
            Error::invalid("there is no adapter to merge").hint("name one of `incontext adapters list`")
        );
    };
    let model: ModelPath = hub::resolve(&chosen.model)?;
    check_base(&adapter, &model)?;
    if Kept::is_in(&adapter.dir) {
        return Err(Error::invalid(format!("`{name}` reads the model's features and changes nothing in it"))
            .hint("its folder and the model are all there is: `incontext adapters export` copies it"));
    }
    let loaded = Model::load(&model.path, &candle_core::Device::Cpu)?;
    let stored = Stored::read(&adapter.dir, &loaded.transformer)?;
    let method = adapter.method(stored.config.as_ref());
    let mut tensors = match &stored.config {
        None => crate::adapters::Tensors::new(),
        Some(config) => config.merged(&loaded.transformer, &stored.tensors)?.ok_or_else(|| {
            Error::invalid(format!("{method} adds computations that no weight can express"))
                .hint("LoRA, DoRA and IA3 can be merged; keep this one as an adapter")
        })?,
    };
    tensors.extend(stored.base);
    let labels = stored.about.map(|about| about.labels).filter(|_| stored.task == Task::SeqCls);
    models::save(&model.path, &tensors, labels.as_deref(), out)?;
    let out = out.display();
    printer.note(match stored.task {
        Task::SeqCls => format!("wrote `{out}`; `incontext classify --model {out} --base TEXT` asks it"),
        _ => format!("wrote `{out}`; ask it with --model {out} --base"),
    });
    Ok(())
}
