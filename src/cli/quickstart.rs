//! `incontext quickstart`: from nothing to a first cited answer, on the user's guide.

use std::fs;
use std::path::{Path, PathBuf};

use include_dir::{Dir, include_dir};

use super::printer::Printer;
use super::settings::Settings;
use super::{Ending, NOTHING_RELEVANT, ask, help, ingest, load};
use crate::engine::ask::{Answering, Ask};
use crate::engine::ingest::{Ingest, MAX_FILE};
use crate::error::{IoContext, Result};
use crate::index::Profile;
use crate::text::load::Readers;

/// The user's guide, as it was when the binary was built.
static GUIDE: Dir = include_dir!("$CARGO_MANIFEST_DIR/docs");

const COLLECTION: &str = "guide";
const QUESTION: &str = "What is prefix tuning?";

pub const EXAMPLES: help::Examples = &[
    ("From nothing to a first cited answer", "incontext quickstart"),
    ("Then ask the guide more", "incontext ask \"How does LoRA work?\" -c guide"),
];

pub fn run(settings: &Settings, printer: &Printer) -> Result<Ending> {
    printer.note("1. the two default models");
    load::fetch_defaults(printer)?;

    let guide = guide(settings)?;
    printer.note(format!("2. ingesting the user's guide from {}", guide.display()));
    let embedder = load::embedder(crate::hub::DEFAULT_ENCODER, &settings.device(None)?, settings)?;
    let job = Ingest {
        home: &settings.home,
        collection: COLLECTION,
        paths: &[guide],
        profile: Profile::default(),
        embedder: &embedder,
        rebuild: false,
        readers: &Readers::default(),
        max_file: MAX_FILE,
    };
    let summary = ingest::ingest(job, printer)?;
    printer.note(format!("   {}", ingest::line(&summary)));

    printer.note(format!("3. asking: {QUESTION}\n"));
    let collection = settings.home.open(COLLECTION)?;
    let job = Ask {
        collection: &collection,
        embedder: &embedder,
        reranker: None,
        generation: None,
        answering: Answering::Extractive,
        k: None,
        places: &settings.places,
    };
    let answer = job.run(QUESTION, &mut |_| std::ops::ControlFlow::Continue(()))?;
    ask::show(&answer, printer)?;

    let program = std::env::args().next().unwrap_or_else(|| "incontext".to_owned());
    printer.note(format!(
        "\nNext:\n  {program} ask \"How does LoRA work?\" -c {COLLECTION}\n  {program} ingest PATH-TO-YOUR-DOCUMENTS\n  {program} ask \"your question\""
    ));
    Ok(if answer.answered { Ending::Done } else { Ending::No(NOTHING_RELEVANT) })
}

/// The folder that holds the guide: `docs/` in a clone of the project, else a copy unpacked under the home.
fn guide(settings: &Settings) -> Result<PathBuf> {
    let here = settings.home.root().join("docs");
    if GUIDE.files().all(|file| fs::read(here.join(file.path())).is_ok_and(|bytes| bytes == file.contents()))
    {
        return Ok(here);
    }
    let folder = settings.home.dir().join("guide");
    unpack(&GUIDE, &folder)?;
    Ok(folder)
}

/// Writes the files of `dir` below `folder`; those that are there already stay untouched, date included.
fn unpack(dir: &Dir, folder: &Path) -> Result<()> {
    for file in dir.files() {
        let path = folder.join(file.path());
        if fs::read(&path).is_ok_and(|bytes| bytes == file.contents()) {
            continue;
        }
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).at("create", parent)?;
        }
        let aside = path.with_extension("part");
        fs::write(&aside, file.contents()).at("write", &aside)?;
        fs::rename(&aside, &path).at("write", &path)?;
    }
    dir.dirs().try_for_each(|inner| unpack(inner, folder))
}
