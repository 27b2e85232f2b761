//! `--where`: which documents a command looks in.

use clap::Args;

use super::printer::Printer;
use super::settings::Settings;
use crate::error::Result;
use crate::index::{Collection, Condition, Filter, Patience};

/// The option, as every command has it that looks for something.
#[derive(Args)]
pub struct Where {
    /// Look only in documents that meet it, such as 'year>=2020'; of several, all must hold
    #[arg(long = "where", value_name = "CONDITION")]
    conditions: Vec<Condition>,
}

impl Where {
    pub fn filter(&self, settings: &Settings) -> Filter {
        let places = &settings.places;
        Filter::new(self.conditions.clone(), places.root.clone(), places.here.clone())
    }
}

/// `collection` with nothing to be found in it but what `filter` chooses. Tried at once: a slip in a condition should not
/// wait for a model to be loaded.
///
/// # Errors
/// `Invalid` for a field that no document has, and for a value that cannot be compared with a field's.
pub fn only(filter: &Filter, collection: Collection, printer: &Printer) -> Result<Collection> {
    if filter.is_empty() {
        return Ok(collection);
    }
    let collection = collection.only(filter.clone());
    if collection.read(Patience::default())?.findable()? == 0 {
        let conditions: Vec<String> = filter.conditions().iter().map(ToString::to_string).collect();
        printer.note(format!("no document meets {}", conditions.join(" and ")));
    }
    Ok(collection)
}
