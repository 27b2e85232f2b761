//! Where the parts of a collection lie, in its folder and on its server: named, made, opened and swept.
//!
//! Which of them count is in the manifest alone; a folder it does not name is nobody's.

use std::path::{Path, PathBuf};

use crate::error::{IoContext, Result};
use crate::files;

use super::lexical::WordsWriter;
use super::manifest::{Folders, Manifest};
use super::profile::{self, Profile};
use super::server::Server;
use super::store::{Settings, Store};

pub(super) const PROFILE: &str = "profile.toml";

/// What the collection was built with, ranked and fused as its `profile.toml` says now.
pub(super) fn current_profile(dir: &Path, manifest: &Manifest) -> Result<Profile> {
    let built = manifest.profile()?;
    let path = dir.join(PROFILE);
    if !path.exists() {
        return Ok(built);
    }
    let edited = Profile::load(&path)?;
    built.check(&edited).map_err(|error| error.within(format!("`{}`", path.display())))?;
    Ok(Profile { embedder: built.embedder, ..edited })
}

pub(super) fn settings(profile: &Profile) -> Settings {
    Settings { dimension: profile.embedder.dimension, exact_below: profile.vectors.exact_below }
}

pub(super) fn vectors_dir(dir: &Path, folders: Folders) -> PathBuf {
    dir.join("vectors").join(folders.vectors.to_string())
}

/// What the vectors that `folders` says are called on `server`.
pub(super) fn name_on_server(server: &profile::Server, folders: Folders) -> String {
    format!("{}{}", prefix_on_server(server), folders.vectors)
}

/// What all vectors of the collection, past and present, begin with there.
pub(super) fn prefix_on_server(server: &profile::Server) -> String {
    format!("{}-", server.collection)
}

pub(super) fn words_dir(dir: &Path, folders: Folders) -> PathBuf {
    dir.join("words").join(folders.words.to_string())
}

/// Written aside, synced, renamed.
pub(super) fn write_profile(dir: &Path, profile: &Profile) -> Result<()> {
    let note = "# How this collection was built. [fusion] and [lexical.ranking] may be edited at any time; the rest\n\
                # decides what is stored: change it with `incontext ingest --rebuild`.\n\n";
    files::replace(&dir.join(PROFILE), format!("{note}{}", profile.to_toml()?).as_bytes())
}

/// Makes empty stores in `folders`, which the manifest does not name yet: whatever is there is the half-made work of a
/// process that was killed.
pub(super) fn make_stores(dir: &Path, profile: &Profile, folders: Folders) -> Result<()> {
    if profile.server.is_some() {
        return open_store(dir, profile, folders, true).map(drop);
    }
    let (vectors, words) = (vectors_dir(dir, folders), words_dir(dir, folders));
    for left in [&vectors, &words].into_iter().filter(|left| left.exists()) {
        std::fs::remove_dir_all(left).at("delete", left)?;
    }
    Store::edge(&vectors, settings(profile))?.flush()?;
    WordsWriter::open(&words, &profile.lexical)?.commit()
}

/// The vectors that `folders` says, wherever they are; on a server a `new` collection is made, in a folder one always is.
pub(super) fn open_store(dir: &Path, profile: &Profile, folders: Folders, new: bool) -> Result<Store> {
    match &profile.server {
        None => Store::edge(&vectors_dir(dir, folders), settings(profile)),
        Some(server) => {
            let name = name_on_server(server, folders);
            Store::server(&name, server, settings(profile), &profile.lexical, new)
        }
    }
}

/// Deletes whatever an earlier build has left.
pub(super) fn sweep_stores(dir: &Path, profile: &Profile, folders: Folders) -> Result<()> {
    if let Some(server) = &profile.server {
        Server::sweep(server, &prefix_on_server(server), Some(&name_on_server(server, folders)))?;
    }
    for (kind, current) in [("vectors", folders.vectors), ("words", folders.words)] {
        match dir.join(kind) {
            kept if profile.server.is_none() => sweep(&kept, current)?,
            left if left.exists() => std::fs::remove_dir_all(&left).at("delete", &left)?,
            _ => {}
        }
    }
    Ok(())
}

/// Deletes what lies in `dir` besides the folder `current` and its lock.
pub(super) fn sweep(dir: &Path, current: u64) -> Result<()> {
    let keep = [current.to_string(), format!("{current}.lock")];
    for entry in std::fs::read_dir(dir).at("read", dir)? {
        let path = entry.at("read", dir)?.path();
        if path.file_name().is_some_and(|name| keep.iter().any(|kept| name == kept.as_str())) {
            continue;
        }
        let deleted =
            if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
        deleted.at("delete", &path)?;
    }
    Ok(())
}

/// Copies the files below `from` to `to`, where nothing of value is.
pub(super) fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    if to.exists() {
        std::fs::remove_dir_all(to).at("delete", to)?;
    }
    let mut folders = vec![(from.to_owned(), to.to_owned())];
    while let Some((from, to)) = folders.pop() {
        std::fs::create_dir_all(&to).at("create", &to)?;
        for entry in std::fs::read_dir(&from).at("read", &from)? {
            let (from, name) = entry.map(|entry| (entry.path(), entry.file_name())).at("read", &from)?;
            match from.is_dir() {
                true => folders.push((from, to.join(name))),
                false => std::fs::copy(&from, to.join(name)).map(drop).at("copy", &from)?,
            }
        }
    }
    Ok(())
}
