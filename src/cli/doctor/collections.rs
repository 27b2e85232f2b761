//! Collections: the manifest against both stores, the embedder, the documents' files, and what a killed run has left.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Encoders, Report, count, quoted};
use crate::cli::load;
use crate::cli::settings::Settings;
use crate::engine::freshness;
use crate::error::{Error, Result};
use crate::index::{Collection, Known, Patience};

pub(super) fn check(settings: &Settings, encoders: &mut Encoders, report: &mut Report) {
    let names = match settings.home.collections() {
        Ok(names) => names,
        Err(error) => return report.error("collections", &error, "look at the folder's permissions"),
    };
    if names.is_empty() {
        report.note("collections", "there are none here", Some("incontext ingest PATH".into()));
    }
    for name in &names {
        let subject = format!("collection {name}");
        match examine(name, settings, encoders, report) {
            Ok(()) => {}
            Err(Error::Busy(what)) => report.note(subject, format!("in use: {what}"), None),
            Err(error) => report.error(subject, &error, &ingest_again(name, &[], settings, " --rebuild")),
        }
    }
    leftovers(settings, &names, report);
}

fn examine(name: &str, settings: &Settings, encoders: &mut Encoders, report: &mut Report) -> Result<()> {
    let subject = format!("collection {name}");
    let collection = settings.home.open(name)?;
    let patience = Patience { limit: Duration::from_secs(2), ..Patience::default() };
    let reader = collection.read(patience)?;
    let (documents, stats, agreement) = (reader.documents()?, reader.stats()?, reader.verify()?);
    drop(reader);
    let again = ingest_again(name, &documents, settings, "");
    let before = report.findings.len();

    let (vectors, words) = (&agreement.vectors, &agreement.words);
    if !vectors.missing.is_empty() || !words.missing.is_empty() {
        let found = format!(
            "of {}, {} lack their vectors and {} their words",
            count(agreement.chunks, "chunk"),
            vectors.missing.len(),
            words.missing.len()
        );
        report.problem(&subject, found, &again);
    }
    if !vectors.unknown.is_empty() || !words.unknown.is_empty() {
        let found = format!(
            "an ingest was cut short and left {} and the words of {}; searches pass over them",
            count(vectors.unknown.len(), "vector"),
            count(words.unknown.len(), "chunk")
        );
        report.note(&subject, found, Some(format!("{again} (any ingest cleans up)")));
    }
    if stats.stale > 0 {
        let found = format!("{} lost vectors or words", count(stats.stale as usize, "document"));
        report.problem(&subject, found, &again);
    }
    embedder(&subject, &collection, encoders, report);
    let fresh = freshness(&documents, &settings.places);
    if !fresh.changed.is_empty() || !fresh.missing.is_empty() {
        let found = format!(
            "{} changed and {} vanished since they were ingested; answers quote what they said then",
            count(fresh.changed.len(), "file"),
            fresh.missing.len()
        );
        report.note(&subject, found, Some(again));
    }
    if report.findings.len() == before && stats.chunks == 0 {
        let found = match stats.documents {
            0 => "empty: no documents".to_owned(),
            documents => format!("empty: {} without text", count(documents as usize, "document")),
        };
        report.note(subject, found, Some(ingest_again(name, &documents, settings, "")));
    } else if report.findings.len() == before {
        let found = format!(
            "{}, {}; vectors and words are complete, files unchanged",
            count(stats.documents as usize, "document"),
            count(stats.chunks as usize, "chunk")
        );
        report.ok(subject, found);
    }
    Ok(())
}

/// The encoder a question would be embedded with has to be the one that embedded the passages.
fn embedder(subject: &str, collection: &Collection, encoders: &mut Encoders, report: &mut Report) {
    let name = &collection.profile().embedder.name;
    let subject = format!("{subject}, embedder {name}");
    match encoders.get(name) {
        Err(error) => report.error(subject, error, "say where it lies with --embedder"),
        Ok(embedder) => {
            if let Err(error) = load::check_fingerprint(collection, name, embedder.fingerprint()) {
                report.error(subject, &error, "");
            }
        }
    }
}

/// The command that brings the collection up to date, with the paths that its documents came from as seen from here.
fn ingest_again(name: &str, documents: &[Known], settings: &Settings, flags: &str) -> String {
    let scopes: Vec<String> = scopes(documents.iter().map(|known| known.meta.path.as_str()))
        .iter()
        .map(|path| quoted(&settings.places.shown(path)))
        .collect();
    let paths = if scopes.is_empty() { "PATH".to_owned() } else { scopes.join(" ") };
    format!("incontext ingest {paths} -c {name}{flags}")
}

/// A few paths that hold all documents: the folder they share, unless that is the working folder, where more may lie
/// than was ever ingested; then what they are in directly below it. None when that would be many.
fn scopes<'a>(documents: impl Iterator<Item = &'a str> + Clone) -> Vec<String> {
    const MANY: usize = 5;
    let folder = |path: &'a str| Path::new(path).parent().unwrap_or(Path::new(""));
    let mut folders = documents.clone().map(folder);
    let Some(first) = folders.next() else { return Vec::new() };
    let shared: PathBuf = folders.fold(first.to_owned(), |shared, folder| {
        let same = shared.components().zip(folder.components()).take_while(|(a, b)| a == b);
        same.map(|(component, _)| component).collect()
    });
    let climbs = |path: &Path| path.components().all(|part| part.as_os_str() == "..");
    if !climbs(&shared) && shared != Path::new("/") {
        return vec![shared.to_string_lossy().into_owned()];
    }
    let below: BTreeSet<String> = documents
        .map(|path| {
            let depth = shared.components().count() + 1;
            Path::new(path).components().take(depth).collect::<PathBuf>().to_string_lossy().into_owned()
        })
        .collect();
    if below.len() > MANY { Vec::new() } else { below.into_iter().collect() }
}

/// What killed runs have left in the folder for built data.
fn leftovers(settings: &Settings, names: &[String], report: &mut Report) {
    let folder = settings.home.dir().join("collections");
    for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = entry.path();
        if name.starts_with(".removed-") {
            let found = format!("`{}`, what is left of a removal that was cut short", path.display());
            report.note("leftovers", found, Some(format!("rm -r {}", quoted(&path.to_string_lossy()))));
        } else if path.is_dir() && !name.starts_with('.') && !names.contains(&name) {
            let found = format!("`{}` has no manifest: its first ingest was cut short", path.display());
            let remedy = format!("incontext ingest PATH -c {name}, or incontext collections rm {name}");
            report.note("leftovers", found, Some(remedy));
        }
    }
    let mut parts = Vec::new();
    unfinished(&settings.home.dir().join("guide"), &mut parts);
    for path in parts {
        let found = format!("`{}`, written in part", path.display());
        report.note("leftovers", found, Some(format!("rm {}", quoted(&path.to_string_lossy()))));
    }
}

/// Files written aside and never renamed, in `dir` and below.
fn unfinished(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => unfinished(&path, found),
            Ok(_) if path.extension().is_some_and(|extension| extension == "part") => found.push(path),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_found_again_below_what_they_share() {
        let of = |paths: &[&'static str]| scopes(paths.iter().copied());
        assert_eq!(of(&["notes/a.md", "notes/b/c.md"]), ["notes"]);
        assert_eq!(of(&["notes/b/c.md", "notes/b/d.md"]), ["notes/b"]);
        assert_eq!(of(&["notes/a.md", "docs/b.md", "README.md"]), ["README.md", "docs", "notes"]);
        assert_eq!(of(&["../books/a.md", "../books/b.md"]), ["../books"]);
        assert_eq!(of(&["../books/a.md", "../b.md"]), ["../b.md", "../books"]);
        assert_eq!(of(&[]), Vec::<String>::new());
        assert_eq!(of(&["a", "b", "c", "d", "e", "f"]), Vec::<String>::new());
    }
}
