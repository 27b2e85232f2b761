//! Which documents a search is to look in: conditions on their fields, all of which must hold.
//!
//! Decided from the manifest, which has every document's fields, before anything is looked for: the stores are told which
//! chunks may be found and rank those alone, so that nothing is lost behind a list that was cut. What words weigh (their
//! inverse document frequency, the mean length of a chunk) stays that of the whole collection: a word is as rare as it is
//! rare there, and a passage scores the same with a filter and without.

mod condition;
mod date;
mod field;
mod test;

use std::path::PathBuf;

pub use condition::{Condition, Operator};
pub use field::{Field, Kind, fields};

use crate::error::{Error, Result};
use crate::text::slip::closest;

use super::{DocumentMeta, Known};
use test::Test;

/// Conditions, and where paths are seen from; without conditions, every document is chosen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    conditions: Vec<Condition>,
    /// What recorded paths are relative to.
    root: PathBuf,
    /// What the paths of conditions are relative to.
    here: PathBuf,
}

impl Filter {
    /// Documents for which all of `conditions` hold. Recorded paths are relative to `root`, those that people write and see
    /// to `here`.
    pub fn new(conditions: Vec<Condition>, root: PathBuf, here: PathBuf) -> Self {
        Self { conditions, root, here }
    }

    pub fn is_empty(&self) -> bool {
        self.conditions.is_empty()
    }

    pub fn conditions(&self) -> &[Condition] {
        &self.conditions
    }

    /// The paths of those of `documents` for which every condition holds.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a field that no document has, and for a value that cannot be compared with a field's.
    pub(crate) fn choose<'a>(&self, documents: &'a [Known]) -> Result<Vec<&'a str>> {
        let there = fields(documents.iter().map(|known| &known.meta));
        let tests = self.conditions.iter().map(|condition| self.test(condition, &there));
        let tests = tests.collect::<Result<Vec<_>>>()?;
        let all_hold = |document: &DocumentMeta| tests.iter().all(|test| test.holds(document));
        let chosen = documents.iter().map(|known| &known.meta).filter(|document| all_hold(document));
        Ok(chosen.map(|document| document.path.as_str()).collect())
    }

    fn test<'a>(&'a self, condition: &'a Condition, there: &[Field]) -> Result<Test<'a>> {
        let field = there.iter().find(|field| field.name == condition.field);
        let field = field.ok_or_else(|| unknown(&condition.field, there))?;
        Test::new(self, condition, field)
    }
}

fn unknown(name: &str, there: &[Field]) -> Error {
    let names: Vec<&str> = there.iter().map(|field| field.name.as_str()).collect();
    let (always, found) = names.split_at(field::ALWAYS.len());
    let found = match found {
        [] => "none from front matter".to_owned(),
        found => found.join(", "),
    };
    let error =
        Error::invalid(format!("no document has a field `{}`; there are: {found}", name.escape_debug()));
    error.hint(match closest(name, names.iter().copied()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => {
            format!("{} can be asked for everywhere; front matter is read by `ingest`", always.join(", "))
        }
    })
}
