//! `incontext models`: what there is, fetching it, and where it lies.

use clap::Subcommand;
use indicatif::ProgressBar;
use serde_json::json;

use super::printer::Printer;
use super::{Ending, help};
use crate::bytes::size;
use crate::error::Result;
use crate::hub::{self, ModelPath, Progress, State};

#[derive(Subcommand)]
pub enum Models {
    /// List the catalogue, and which of it is on this machine
    #[command(after_long_help = help::examples(LIST))]
    List {
        /// Print it as JSON
        #[arg(long)]
        json: bool,
    },
    /// Fetch a model and verify it; the two default models when none is named
    ///
    /// Interrupted, it goes on where it stopped the next time.
    #[command(after_long_help = help::examples(PULL))]
    Pull {
        /// Of the catalogue
        name: Option<String>,
    },
    /// Print where a model lies
    #[command(after_long_help = help::examples(PATH))]
    Path {
        /// Of the catalogue
        name: String,
    },
}

const LIST: help::Examples = &[
    ("What is there, and what is here?", "incontext models list"),
    (
        "Names of the models that are here",
        "incontext models list --json | jq -r '.[] | select(.state.state == \"ready\").name'",
    ),
];
const PULL: help::Examples = &[
    ("The two default models", "incontext models pull"),
    ("One of them", "incontext models pull all-minilm-l6-v2"),
    ("Into another folder", "INCONTEXT_MODELS=/media/stick/models incontext models pull"),
];
const PATH: help::Examples =
    &[("How large is it?", "du -sh \"$(incontext models path smollm2-135m-instruct)\"")];

pub fn run(command: Models, printer: &Printer) -> Result<Ending> {
    match command {
        Models::List { json } => list(json, printer)?,
        Models::Pull { name: Some(name) } => report(&pull(&name, printer)?, printer)?,
        Models::Pull { name: None } => {
            for name in [hub::DEFAULT_ENCODER, hub::DEFAULT_GENERATOR] {
                report(&pull(name, printer)?, printer)?;
            }
        }
        Models::Path { name } => printer.line(hub::resolve(&name)?.path.to_string_lossy())?,
    }
    Ok(Ending::Done)
}

fn report(model: &ModelPath, printer: &Printer) -> Result<()> {
    printer.line(format!("{} {}", model.name, model.path.display()))
}

fn list(json: bool, printer: &Printer) -> Result<()> {
    let models = hub::list()?;
    if json {
        let rows: Vec<_> = models
            .iter()
            .map(|model| {
                json!({ "name": model.entry.name, "kind": model.entry.kind, "licence": model.entry.licence,
                    "bytes": model.entry.size(), "state": model.state })
            })
            .collect();
        return printer.json(&rows);
    }
    for model in models {
        let entry = model.entry;
        let state = match &model.state {
            State::Ready { path } => path.display().to_string(),
            State::Partial { bytes } => {
                format!("{} of it fetched; `incontext models pull {}`", size(*bytes), entry.name)
            }
            State::Absent => format!("not here; `incontext models pull {}`", entry.name),
        };
        let (name, kind) = (entry.name, entry.kind);
        let size = size(entry.size());
        printer.line(format!("{name:24} {kind:9} {size:>7}  {:12} {state}", entry.licence))?;
    }
    Ok(())
}

/// Fetches a model unless it is here, with a bar.
pub fn pull(name: &str, printer: &Printer) -> Result<ModelPath> {
    let mut bar: Option<ProgressBar> = None;
    let model = hub::pull(name, &mut |progress| match progress {
        Progress::Waiting { name } => {
            printer.note(format!("another process is fetching {name}; waiting for it"))
        }
        Progress::Trying { source } => {
            if let Some(bar) = bar.take() {
                bar.finish_and_clear();
            }
            printer.note(format!("fetching {name} from {source}"));
        }
        Progress::Bytes { done, total } => {
            let bar = bar.get_or_insert_with(|| {
                let bar = printer.bar(total);
                bar.set_message(name.to_owned());
                bar
            });
            bar.set_length(total);
            bar.set_position(done);
        }
        Progress::GaveUp { source, why } => {
            if let Some(bar) = bar.take() {
                bar.finish_and_clear();
            }
            printer.note(format!("{source}: {why}"));
        }
    });
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    model
}
