//! `incontext use`: the adapter that the folder asks with.

use clap::Args;

use super::load::{check_base, tells_classes};
use super::printer::Printer;
use super::settings::{Key, Settings};
use super::tuned::{Adapted, chosen};
use super::{Ending, help};
use crate::adapters::{describe, registry::NONE};
use crate::error::Result;
use crate::hub;

/// Ask with an adapter from now on, or with the model as it is
///
/// Writes the choice into the folder's config.toml. `--adapter` and `--base` of a command decide otherwise for once.
#[derive(Args)]
#[command(after_long_help = help::examples(EXAMPLES))]
pub struct Use {
    /// Of `incontext adapters list`, a folder, or `base`
    name: String,
}

const EXAMPLES: help::Examples = &[
    ("Ask with the adapter `support`", "incontext use support"),
    ("Ask the model as it is", "incontext use base"),
    ("What is in use?", "incontext modes"),
];

pub fn run(command: &Use, settings: &Settings, printer: &Printer) -> Result<Ending> {
    if ["base", NONE].contains(&command.name.as_str()) {
        settings.choose(Key::Adapter, None)?;
        printer.note("asking the model as it is");
        return Ok(Ending::Done);
    }
    let adapter = Adapted::find(&command.name, settings)?;
    describe(&adapter.dir)?;
    if adapter.tells_classes() {
        return Err(tells_classes(&adapter.name)
            .hint(format!("what asks is used; `incontext classify --adapter {}` classifies", adapter.name)));
    }
    let wanted = settings.get(Key::Adapter, Some(&command.name));
    let chosen = chosen(settings.get(Key::Model, None), wanted, settings)?;
    check_base(&adapter, &hub::resolve(&chosen.model)?)?;
    // Of a folder of one's own the name has to mean the same from everywhere.
    let name = match settings.adapters().place(&command.name).is_ok_and(|place| place == adapter.dir) {
        true => command.name.clone(),
        false => adapter.dir.to_string_lossy().into_owned(),
    };
    settings.choose(Key::Adapter, Some(&name))?;
    printer
        .note(format!("asking {} with the adapter `{name}`; `incontext use base` goes back", chosen.model));
    Ok(Ending::Done)
}
