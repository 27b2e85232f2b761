//! The copies of a site's pages, and what is known of them: `web/<host>/` with its `.pages.json`.
//!
//! A copy is what is ingested and cited; `.pages.json` remembers whose address it is, what to ask the site so that an
//! unchanged page is not sent again, and which crawl of which collection found it. It is written when a crawl is over: one
//! that is killed leaves copies that the next one writes anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use url::Url;

use super::address;
use crate::error::{Error, IoContext, Result};
use crate::files;

/// Of all copies, in the home.
pub const FOLDER: &str = "web";
const SHEET: &str = ".pages.json";
const FORMAT: u32 = 1;

/// What a site said of a page, to be told when it is asked for again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Validators {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) etag: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) last_modified: Option<String>,
}

/// A page whose copy is here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Page {
    /// In the site's folder, with `/` between parts.
    file: String,
    /// When the copy was made, as ISO 8601 in UTC.
    fetched: String,
    #[serde(flatten)]
    validators: Validators,
}

#[derive(Debug, Serialize, Deserialize)]
struct Sheet {
    format: u32,
    /// By address.
    pages: BTreeMap<String, Page>,
    /// Files that the last crawl found, by collection and by the address that it began with.
    crawls: BTreeMap<String, BTreeMap<String, BTreeSet<String>>>,
}

/// The copies of one site, to be changed by one process at a time.
pub(super) struct Shelf {
    dir: PathBuf,
    sheet: Sheet,
    _lock: File,
}

/// Where a copy comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    pub url: String,
    /// ISO 8601, in UTC.
    pub fetched: String,
}

/// Every copy in `home`, by its file.
///
/// # Errors
/// [`Error::Corrupt`] for a `.pages.json` that cannot be understood.
pub fn saved(home: &Path) -> Result<BTreeMap<PathBuf, Saved>> {
    let mut all = BTreeMap::new();
    let sites = match fs::read_dir(home.join(FOLDER)) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(all),
        sites => sites.at("read", home.join(FOLDER))?,
    };
    for site in sites {
        let dir = site.at("read", home.join(FOLDER))?.path();
        for (url, page) in read(&dir)?.pages {
            all.insert(dir.join(page.file), Saved { url, fetched: page.fetched });
        }
    }
    Ok(all)
}

impl Shelf {
    /// # Errors
    /// [`Error::Busy`] while another process fetches from that site, [`Error::Corrupt`] for a sheet that cannot be read.
    pub(super) fn open(home: &Path, site: &Url) -> Result<Self> {
        let dir = home.join(FOLDER).join(address::site(site));
        let Some(lock) = files::try_lock(&dir.join(".lock"))? else {
            let busy =
                format!("another process is fetching pages of `{}`", site.host_str().unwrap_or_default());
            return Err(Error::busy(busy).hint("wait until it is done, or stop it"));
        };
        Ok(Self { sheet: read(&dir)?, dir, _lock: lock })
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The copy's file, if there is one, and what to ask for the page with.
    pub(super) fn copy(&self, url: &Url) -> Option<(PathBuf, &Validators)> {
        let page = self.sheet.pages.get(url.as_str())?;
        let path = self.dir.join(&page.file);
        path.is_file().then_some((path, &page.validators))
    }

    /// The file of the page's copy, as a crawl names it.
    pub(super) fn file(&self, url: &Url) -> Option<&str> {
        self.sheet.pages.get(url.as_str()).map(|page| page.file.as_str())
    }

    /// Keeps `bytes` as the copy of the page, and says whether it differs from what was there. The date of a copy is that
    /// of its bytes.
    ///
    /// # Errors
    /// `Io` when it cannot be written.
    pub(super) fn keep(
        &mut self,
        url: &Url,
        ending: &str,
        bytes: &[u8],
        validators: Validators,
        now: &str,
    ) -> Result<bool> {
        let there = self.sheet.pages.get(url.as_str()).cloned();
        let file = match &there {
            Some(page) if page.file.ends_with(&format!(".{ending}")) => page.file.clone(),
            _ => self.free(url, ending),
        };
        if let Some(page) = there.as_ref().filter(|page| page.file != file) {
            remove(&self.dir.join(&page.file))?;
        }
        let path = self.dir.join(&file);
        let same = fs::read(&path).is_ok_and(|there| there == bytes);
        if !same {
            files::replace(&path, bytes)?;
        }
        let fetched = there.filter(|_| same).map_or_else(|| now.to_owned(), |page| page.fetched);
        self.sheet.pages.insert(url.as_str().to_owned(), Page { file, fetched, validators });
        Ok(!same)
    }

    /// A name that no other page's copy has, also where letters have no case, and that no folder is in the way of.
    fn free(&self, url: &Url, ending: &str) -> String {
        let slashed =
            |path: PathBuf| path.iter().map(|part| part.to_string_lossy()).collect::<Vec<_>>().join("/");
        let name = slashed(address::copy(url, ending));
        let lower = name.to_lowercase();
        let taken = self.sheet.pages.iter().any(|(other, page)| {
            let there = page.file.to_lowercase();
            let under =
                |one: &str, two: &str| one.strip_prefix(two).is_some_and(|rest| rest.starts_with('/'));
            other != url.as_str() && (there == lower || under(&there, &lower) || under(&lower, &there))
        });
        if taken { slashed(address::other_copy(url, ending)) } else { name }
    }

    /// Deletes the page's copy; the file it had.
    ///
    /// # Errors
    /// `Io` when it cannot be deleted.
    pub(super) fn remove(&mut self, url: &Url) -> Result<Option<String>> {
        let Some(page) = self.sheet.pages.remove(url.as_str()) else { return Ok(None) };
        remove(&self.dir.join(&page.file))?;
        Ok(Some(page.file))
    }

    /// Remembers that the crawl of `collection` from `start` found `files`, and those it had found when it was not
    /// `complete`. Returns the files that the collection has no more; those that no collection of `there` has are deleted.
    ///
    /// # Errors
    /// `Io` when one cannot be deleted.
    pub(super) fn found(
        &mut self,
        collection: &str,
        start: &Url,
        mut files: BTreeSet<String>,
        complete: bool,
        there: &[String],
    ) -> Result<Vec<String>> {
        self.sheet.crawls.retain(|name, _| name == collection || there.contains(name));
        let crawls = self.sheet.crawls.entry(collection.to_owned()).or_default();
        let before = crawls.remove(start.as_str()).unwrap_or_default();
        if !complete {
            let still = before.iter().filter(|file| self.dir.join(file).is_file());
            files.extend(still.cloned());
        }
        crawls.insert(start.as_str().to_owned(), files);
        let kept = |file: &String| crawls.values().any(|files| files.contains(file));
        let dropped: Vec<String> = before.into_iter().filter(|file| !kept(file)).collect();
        for file in &dropped {
            let wanted =
                self.sheet.crawls.values().flat_map(BTreeMap::values).any(|files| files.contains(file));
            if !wanted {
                self.sheet.pages.retain(|_, page| page.file != *file);
                remove(&self.dir.join(file))?;
            }
        }
        Ok(dropped)
    }

    /// # Errors
    /// `Io` when it cannot be written.
    pub(super) fn save(&self) -> Result<()> {
        let text = serde_json::to_string_pretty(&self.sheet)
            .map_err(|error| Error::invalid(format!("cannot write JSON: {error}")))?;
        files::replace(&self.dir.join(SHEET), text.as_bytes())
    }
}

fn read(dir: &Path) -> Result<Sheet> {
    let path = dir.join(SHEET);
    let text = match fs::read_to_string(&path) {
        Err(error)
            if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) =>
        {
            return Ok(Sheet { format: FORMAT, pages: BTreeMap::new(), crawls: BTreeMap::new() });
        }
        text => text.at("read", &path)?,
    };
    let sheet: Sheet = serde_json::from_str(&text).map_err(|error| {
        Error::corrupt(format!("`{}`: {error}", path.display()))
            .hint("delete it, and ingest the addresses again: their pages are then fetched anew")
    })?;
    match sheet.format {
        FORMAT => Ok(sheet),
        later => Err(Error::mismatch(format!(
            "`{}` has format {later}; this version knows {FORMAT}",
            path.display()
        ))
        .hint("use the newer `incontext` that wrote it")),
    }
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        removed => removed.at("delete", path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        address::parse(text).unwrap()
    }

    fn keep(shelf: &mut Shelf, page: &str, bytes: &str, now: &str) -> bool {
        shelf.keep(&url(page), "html", bytes.as_bytes(), Validators::default(), now).unwrap()
    }

    #[test]
    fn a_copy_is_as_old_as_its_bytes_and_is_found_again_by_its_file() {
        let home = tempfile::tempdir().unwrap();
        let site = url("http://a.org/");
        let mut shelf = Shelf::open(home.path(), &site).unwrap();
        assert!(matches!(Shelf::open(home.path(), &site), Err(Error::Busy(_))));
        assert!(keep(&mut shelf, "http://a.org/x", "one", "2024-01-01T00:00:00Z"));
        assert!(!keep(&mut shelf, "http://a.org/x", "one", "2024-01-02T00:00:00Z"));
        shelf.save().unwrap();
        drop(shelf);
        let mut shelf = Shelf::open(home.path(), &site).unwrap();
        let file = home.path().join("web/a.org/x.html");
        let there = Saved { url: "http://a.org/x".into(), fetched: "2024-01-01T00:00:00Z".into() };
        assert_eq!(saved(home.path()).unwrap(), BTreeMap::from([(file.clone(), there)]));
        assert!(keep(&mut shelf, "http://a.org/x", "two", "2024-01-03T00:00:00Z"));
        shelf.save().unwrap();
        assert_eq!(saved(home.path()).unwrap()[&file].fetched, "2024-01-03T00:00:00Z");
        assert_eq!(shelf.remove(&url("http://a.org/x")).unwrap().as_deref(), Some("x.html"));
        assert!(!file.exists() && shelf.copy(&url("http://a.org/x")).is_none());
    }

    #[test]
    fn pages_that_would_share_a_file_get_files_of_their_own() {
        let home = tempfile::tempdir().unwrap();
        let mut shelf = Shelf::open(home.path(), &url("http://a.org/")).unwrap();
        let pages = ["/", "/index.html", "/INDEX.HTML", "/x.html", "/x.html/y", "/X.html/", "/z/y", "/z"];
        let pages = pages.map(|page| format!("http://a.org{page}"));
        for page in &pages {
            keep(&mut shelf, page, page, "now");
        }
        for page in &pages {
            let (file, _) = shelf.copy(&url(page)).unwrap();
            assert_eq!(&fs::read_to_string(file).unwrap(), page);
        }
    }

    #[test]
    fn what_a_crawl_finds_no_more_goes_unless_another_has_found_it() {
        let home = tempfile::tempdir().unwrap();
        let start = url("http://a.org/");
        let mut shelf = Shelf::open(home.path(), &start).unwrap();
        for page in ["x", "y", "z"] {
            keep(&mut shelf, &format!("http://a.org/{page}"), page, "now");
        }
        let files = |names: &[&str]| names.iter().map(|name| format!("{name}.html")).collect::<BTreeSet<_>>();
        let there = ["one".to_owned(), "two".to_owned()];
        assert!(shelf.found("one", &start, files(&["x", "y", "z"]), true, &there).unwrap().is_empty());
        assert!(shelf.found("two", &start, files(&["y"]), true, &there).unwrap().is_empty());
        assert!(shelf.found("one", &start, files(&["x"]), false, &there).unwrap().is_empty(), "not complete");
        assert_eq!(shelf.found("one", &start, files(&["x"]), true, &there).unwrap(), ["y.html", "z.html"]);
        let here = |page: &str| home.path().join(format!("web/a.org/{page}.html")).exists();
        assert_eq!([here("x"), here("y"), here("z")], [true, true, false]);
        // From two addresses of one collection.
        let other = url("http://a.org/other");
        shelf.found("one", &other, files(&["x"]), true, &there).unwrap();
        assert!(shelf.found("one", &start, files(&[]), true, &there).unwrap().is_empty());
        // A collection that is gone holds nothing.
        assert_eq!(shelf.found("two", &start, files(&[]), true, &["two".into()]).unwrap(), ["y.html"]);
        assert!(!here("y") && here("x"));
    }
}
