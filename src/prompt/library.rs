//! Where templates are: folders of a person's own first, then the ones inside the binary.
//!
//! A folder looks like this project's `prompts/`: `<task>/<name>.j2`, and partials anywhere in it, by convention with a
//! name that begins with `_`. A file in an earlier folder replaces the one of the same name in a later place, partials
//! included, so changing one partial changes every prompt that includes it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use include_dir::{Dir, include_dir};

use super::template::Template;
use crate::error::{Error, IoContext, Result};
use crate::text::slip::closest;

static SHIPPED: Dir = include_dir!("$CARGO_MANIFEST_DIR/prompts");

/// Finds templates by name.
#[derive(Debug, Clone, Default)]
pub struct Library {
    folders: Vec<PathBuf>,
}

/// A template there is, not yet read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// `task/name`.
    pub id: String,
    /// The file, or `None` when it is inside the binary.
    pub file: Option<PathBuf>,
    /// Whether one of this name is inside the binary: a file takes its place.
    pub shipped: bool,
}

impl Library {
    /// The shipped templates, and before them those of `folders`, earlier ones first. A folder need not exist.
    pub fn new(folders: impl IntoIterator<Item = PathBuf>) -> Self {
        Self { folders: folders.into_iter().collect() }
    }

    /// Reads `qa/grounded` from where it is first found, or the file itself when `name` ends in `.j2`.
    ///
    /// # Errors
    /// `NotFound` with the templates there are; else as [`Template::parse`].
    pub fn load(&self, name: &str) -> Result<Template> {
        let (place, source) = if name.ends_with(".j2") {
            (name.to_owned(), fs::read_to_string(name).at("read", name)?)
        } else {
            self.find(&format!("{name}.j2"))?.ok_or_else(|| self.unknown(name))?
        };
        let template = self.parse(&place, &source)?;
        if !name.ends_with(".j2") && template.id() != name {
            return Err(Error::mismatch(format!("`{place}` calls itself `{}`", template.id()))
                .hint("`task` is the folder's name and `name` the file's"));
        }
        Ok(template)
    }

    /// [`Template::parse`] with the partials of this library.
    ///
    /// # Errors
    /// As there.
    pub fn parse(&self, place: &str, source: &str) -> Result<Template> {
        Template::parse(place, source, &|wanted| self.partial(wanted))
    }

    /// What the partial `name` says, as in `qa/_passages.j2`.
    ///
    /// # Errors
    /// `NotFound` when there is none.
    pub fn partial(&self, name: &str) -> Result<String> {
        self.find(name)?.map(|(_, source)| source).ok_or_else(|| {
            Error::not_found(format!("no partial `{name}`"))
                .hint("partials are named from the prompts folder, as in `qa/_passages.j2`")
        })
    }

    /// Every template, by name.
    ///
    /// # Errors
    /// `Io` when a folder exists and cannot be read.
    pub fn list(&self) -> Result<Vec<Listing>> {
        let mut found: BTreeMap<String, Option<PathBuf>> = BTreeMap::new();
        let id = |path: &Path| {
            let (task, file) = (path.parent()?.to_str()?, path.file_name()?.to_str()?);
            let name = file.strip_suffix(".j2").filter(|name| !name.starts_with('_'))?;
            (!task.is_empty()).then(|| format!("{task}/{name}"))
        };
        for file in SHIPPED.dirs().flat_map(|task| task.files()) {
            if let Some(id) = id(file.path()) {
                found.insert(id, None);
            }
        }
        for folder in self.folders.iter().rev().filter(|folder| folder.is_dir()) {
            for task in fs::read_dir(folder).at("read", folder)? {
                let task = task.at("read", folder)?.path();
                if !task.is_dir() {
                    continue;
                }
                for file in fs::read_dir(&task).at("read", &task)? {
                    let file = file.at("read", &task)?.path();
                    if let Some(id) = file.strip_prefix(folder).ok().and_then(id) {
                        found.insert(id, Some(file));
                    }
                }
            }
        }
        let listing = |(id, file): (String, Option<PathBuf>)| {
            let shipped = SHIPPED.contains(format!("{id}.j2"));
            Listing { id, file, shipped }
        };
        Ok(found.into_iter().map(listing).collect())
    }

    /// The file that `path` (from a prompts folder, as `qa/_passages.j2`) is read from; `None` when it is inside the binary.
    pub fn file(&self, path: &str) -> Option<PathBuf> {
        self.folders.iter().map(|folder| folder.join(path)).find(|file| file.is_file())
    }

    /// Where `path` (from a prompts folder) is first found, and what it says.
    fn find(&self, path: &str) -> Result<Option<(String, String)>> {
        let plain =
            |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains(['\\', ':']);
        if !path.split('/').all(plain) {
            return Err(Error::invalid(format!("`{path}` is not a template's name"))
                .hint("a name looks like `qa/grounded`; for a file elsewhere, give its path with `.j2`"));
        }
        if let Some(file) = self.file(path) {
            let source = fs::read_to_string(&file).at("read", &file)?;
            return Ok(Some((file.display().to_string(), source)));
        }
        let shipped = SHIPPED.get_file(path).and_then(|file| file.contents_utf8());
        Ok(shipped.map(|source| (path.to_owned(), source.to_owned())))
    }

    fn unknown(&self, name: &str) -> Error {
        let there = self.list().unwrap_or_default();
        let there: Vec<String> = there.into_iter().map(|listing| listing.id).collect();
        let meant = closest(name, there.iter().map(String::as_str));
        let begin = meant.map_or("there".to_owned(), |meant| format!("did you mean `{meant}`? There"));
        Error::not_found(format!("no template `{name}`")).hint(format!("{begin} are: {}", there.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let file = folder.path().join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        folder
    }

    #[test]
    fn every_shipped_template_can_be_read() {
        let library = Library::default();
        let ids: Vec<String> = library.list().unwrap().into_iter().map(|listing| listing.id).collect();
        for id in ["qa/grounded", "qa/plain"] {
            assert!(ids.iter().any(|there| there == id), "{ids:?}");
        }
        for id in ids {
            assert_eq!(library.load(&id).unwrap().id(), id);
        }
    }

    #[test]
    fn a_folder_of_ones_own_comes_first_even_for_a_partial() {
        let shipped = Library::default().load("qa/plain").unwrap();
        let own = folder(&[("qa/_passages.j2", "{% for p in passages %}{{ p.text }}{% endfor %}")]);
        let library = Library::new([PathBuf::from("/nowhere"), own.path().to_owned()]);
        assert_ne!(library.load("qa/plain").unwrap().version(), shipped.version());

        let text = "+++\nname = \"plain\"\ntask = \"qa\"\n+++\nHello";
        let own = folder(&[("qa/plain.j2", text), ("qa/extra.j2", "broken")]);
        let library = Library::new([own.path().to_owned()]);
        assert_eq!(library.load("qa/plain").unwrap().render(&()).unwrap().text(), "Hello");
        let listed = library.list().unwrap();
        let extra = listed.iter().find(|listing| listing.id == "qa/extra").unwrap();
        assert_eq!((&extra.file, extra.shipped), (&Some(own.path().join("qa/extra.j2")), false));
        let plain = listed.iter().find(|listing| listing.id == "qa/plain").unwrap();
        assert!(plain.shipped && plain.file == library.file("qa/plain.j2") && plain.file.is_some());
        assert_eq!(library.file("qa/_passages.j2"), None);

        let path = own.path().join("qa/plain.j2");
        assert_eq!(library.load(path.to_str().unwrap()).unwrap().id(), "qa/plain");
    }

    #[test]
    fn a_name_that_is_not_there_is_answered_with_those_that_are() {
        let error = Library::default().load("qa/grouned").unwrap_err();
        assert_eq!(error.to_string(), "no template `qa/grouned`");
        assert!(error.advice().unwrap().starts_with("did you mean `qa/grounded`? There are: "), "{error:?}");
        assert!(matches!(Library::default().load("../secrets").unwrap_err(), Error::Invalid(_)));
    }

    #[test]
    fn a_file_has_to_be_called_what_it_calls_itself() {
        let own = folder(&[("qa/a.j2", "+++\nname = \"b\"\ntask = \"qa\"\n+++\n")]);
        let error = Library::new([own.path().to_owned()]).load("qa/a").unwrap_err();
        assert!(matches!(error, Error::Mismatch(_)), "{error}");
    }

    #[test]
    fn a_missing_partial_names_who_wanted_it() {
        let text = "+++\nname = \"a\"\ntask = \"qa\"\n+++\n{% include \"qa/_b.j2\" %}";
        let own = folder(&[("qa/a.j2", text)]);
        let error = Library::new([own.path().to_owned()]).load("qa/a").unwrap_err();
        assert!(error.to_string().contains("a.j2") && error.to_string().contains("qa/_b.j2"), "{error}");
    }
}
