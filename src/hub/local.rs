//! Models already on this machine: one a person names by path, used in place, and those in the Hugging Face cache that
//! other programs filled.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use hf_hub::{Cache, Repo, RepoType};

use super::ModelPath;
use super::aside::{Aside, part_of, sha256_of};
use super::catalogue::{HubRepo, Layout, Pinned};
use crate::error::{Error, IoContext, Result};

/// The model at `path`: a directory with `config.json` and safetensors, or a GGUF file.
///
/// # Errors
/// `Invalid` when it is neither, saying what is missing.
pub(super) fn given(path: &Path) -> Result<ModelPath> {
    let layout = if path.is_dir() { directory(path)? } else { gguf(path)? };
    Ok(ModelPath { name: path.display().to_string(), path: path.to_owned(), kind: None, layout })
}

fn directory(path: &Path) -> Result<Layout> {
    let mut names = Vec::new();
    for item in fs::read_dir(path).at("read", path)? {
        names.push(PathBuf::from(item.at("read", path)?.file_name()));
    }
    names.sort();
    let ending = |end: &str| names.iter().find(|name| name.extension() == Some(OsStr::new(end)));
    let missing = match (names.iter().any(|name| name == Path::new("config.json")), ending("safetensors")) {
        (true, Some(_)) => return Ok(Layout::Directory),
        (true, None) => "no *.safetensors",
        (false, Some(_)) => "no config.json",
        (false, None) => "neither config.json nor *.safetensors",
    };
    let error = Error::invalid(format!("`{}` has {missing}: not a model directory", path.display()));
    Err(match (ending("gguf"), ending("bin")) {
        (Some(file), _) => error.hint(format!("name the file itself: `{}`", path.join(file).display())),
        (None, Some(_)) => error.hint(
            "PyTorch's *.bin files run code when read; save the weights as safetensors (`save_pretrained` does)",
        ),
        (None, None) => error.hint("a model directory has config.json, *.safetensors and tokenizer.json"),
    })
}

fn gguf(path: &Path) -> Result<Layout> {
    let mut magic = [0; 4];
    let read = File::open(path).and_then(|mut file| file.read(&mut magic)).at("read", path)?;
    if read == 4 && &magic == b"GGUF" {
        return Ok(Layout::Gguf);
    }
    let error = Error::invalid(format!("`{}` is not a GGUF file", path.display()));
    Err(if path.extension() == Some(OsStr::new("safetensors")) {
        error.hint("name the directory that holds it, with its config.json and tokenizer.json")
    } else {
        error
            .hint("a model is a GGUF file, or a directory with config.json, *.safetensors and tokenizer.json")
    })
}

/// Takes `pinned` from any snapshot of `repo` in the Hugging Face cache at `cache`; `false` when it is not there.
///
/// A hard link where the file systems allow it, so that the bytes are on disk once; a copy otherwise.
pub(super) fn from_hugging_face(cache: &Path, repo: HubRepo, pinned: &Pinned, target: &Path) -> Result<bool> {
    let Some(found) = in_hugging_face(cache, repo, pinned) else { return Ok(false) };
    let part = part_of(target);
    if let Some(dir) = target.parent() {
        fs::create_dir_all(dir).at("create", dir)?;
    }
    let _ = fs::remove_file(&part);
    if fs::hard_link(&found, &part).is_ok() {
        fs::rename(&part, target).at("write", target)?;
        return Ok(true);
    }
    let mut aside = Aside::create(pinned, target)?;
    aside.write_all(File::open(&found).at("read", &found)?, "the Hugging Face cache")?;
    aside.finish()?;
    Ok(true)
}

/// Whichever commit it was fetched at: the bytes decide, not the name of the commit.
fn in_hugging_face(cache: &Path, repo: HubRepo, pinned: &Pinned) -> Option<PathBuf> {
    let repo = Repo::with_revision(repo.id.to_owned(), RepoType::Model, repo.revision.to_owned());
    let snapshots = Cache::new(cache.to_owned()).repo(repo).pointer_path("");
    let found = fs::read_dir(snapshots).ok()?.filter_map(|item| {
        // The snapshot holds links to blobs; link to the blob, not to the link.
        let blob = fs::canonicalize(item.ok()?.path().join(pinned.path)).ok()?;
        (fs::metadata(&blob).ok()?.len() == pinned.size).then_some(blob)
    });
    found.into_iter().find(|blob| sha256_of(blob).is_ok_and(|sha256| sha256 == pinned.sha256))
}
