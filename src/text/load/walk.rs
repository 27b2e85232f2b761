//! Which files: explicit ones as they are, folders walked the way `git` sees them.
//!
//! A folder inside a git repository follows git's rules, parents included. Outside one, the `.gitignore` files *in* the
//! folder count and those above do not: a `*` in the `.gitignore` of somebody's home must not hide their documents.
//! Symbolic links inside a folder are left alone: what they point to is either in the tree already or outside it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ignore::WalkBuilder;
use ignore::gitignore::Gitignore;

use super::{Readers, display_path, paths};
use crate::error::{Error, Result};

/// A file to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Where it is.
    pub path: PathBuf,
    /// What it is called in the index, see [`display_path`].
    pub name: String,
}

/// What [`walk`] found.
#[derive(Debug, Default)]
pub struct Walk {
    /// Sorted by name, each file once.
    pub files: Vec<File>,
    /// Files in folders whose names say nothing we can read.
    pub skipped: usize,
    /// Folders and files that could not be looked at, and files whose names no index can hold.
    pub failed: Vec<Error>,
    /// Names of the folders among them: nothing is known of what they hold.
    pub unseen: Vec<String>,
}

/// The files that `paths` (files and folders) stand for, named as seen from `working_folder`; in folders, those that
/// `readers` know.
///
/// # Errors
/// `NotFound` for a path that is not there; trouble inside a folder is listed in [`Walk::failed`] instead.
pub fn walk(paths: &[PathBuf], working_folder: &Path, readers: &Readers) -> Result<Walk> {
    let mut files = BTreeMap::new();
    let mut skipped = BTreeMap::new();
    let mut failed = Vec::new();
    let mut unseen = Vec::new();
    for path in paths {
        let kind = std::fs::metadata(path).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => Error::not_found(format!("`{}` is not there", path.display()))
                .hint("give files or folders that exist, relative to the current folder or absolute"),
            _ => Error::io(format!("cannot look at `{}`", path.display()), source),
        })?;
        if !kind.is_dir() {
            if !has_name(path, working_folder) {
                failed.push(nameless(path));
                continue;
            }
            files.insert(display_path(path, working_folder), path.clone());
            continue;
        }
        for entry in builder(path).build() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    unseen.extend(place_of(&error).map(|place| display_path(place, working_folder)));
                    failed.push(Error::invalid(format!("cannot walk `{}`: {error}", path.display())));
                    continue;
                }
            };
            if !entry.file_type().is_some_and(|kind| kind.is_file()) {
                continue;
            }
            let known = readers.know(Path::new(&*entry.path().to_string_lossy()));
            if known && !has_name(entry.path(), working_folder) {
                failed.push(nameless(entry.path()));
                continue;
            }
            let list = if known { &mut files } else { &mut skipped };
            list.insert(display_path(entry.path(), working_folder), entry.into_path());
        }
    }
    // A file named outright is read even when its folder is given too and would have skipped it.
    skipped.retain(|name, _| !files.contains_key(name));
    let files = files.into_iter().map(|(name, path)| File { path, name }).collect();
    Ok(Walk { files, skipped: skipped.len(), failed, unseen })
}

/// Whether the part of `path` that the index remembers is Unicode. Where it is not, two files could get one name, and
/// neither would be found again under it.
fn has_name(path: &Path, working_folder: &Path) -> bool {
    let path = paths::absolute(path);
    path.strip_prefix(paths::absolute(working_folder)).unwrap_or(&path).to_str().is_some()
}

fn nameless(path: &Path) -> Error {
    Error::invalid(format!("`{}`: its name is not UTF-8", path.display()))
        .hint("rename the file or its folder")
}

/// The folder or file that an error of the walk is about.
fn place_of(error: &ignore::Error) -> Option<&Path> {
    match error {
        ignore::Error::WithPath { path, .. } => Some(path),
        ignore::Error::WithDepth { err, .. } | ignore::Error::WithLineNumber { err, .. } => place_of(err),
        _ => None,
    }
}

fn builder(folder: &Path) -> WalkBuilder {
    let folder_there = paths::absolute(folder);
    let repository = folder_there.ancestors().find(|above| above.join(".git").exists());
    // Whoever names a folder means it, even when git would not look into it.
    let from_above = repository.is_some_and(|repository| !is_ignored(&folder_there, repository));
    let in_repository = repository.is_some();
    let mut builder = WalkBuilder::new(folder);
    builder.follow_links(false).require_git(in_repository).parents(from_above).git_global(from_above);
    builder
}

/// Whether a .gitignore between `repository` and `folder` hides the folder itself.
fn is_ignored(folder: &Path, repository: &Path) -> bool {
    let above = folder.ancestors().skip(1).take_while(|above| above.starts_with(repository));
    above.into_iter().any(|above| {
        let (rules, _) = Gitignore::new(above.join(".gitignore"));
        rules.matched_path_or_any_parents(folder, true).is_ignore()
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        dir
    }

    fn found(paths: &[PathBuf], working_folder: &Path) -> Result<Walk> {
        walk(paths, working_folder, &Readers::default())
    }

    fn names(walk: &Walk) -> Vec<&str> {
        walk.files.iter().map(|file| file.name.as_str()).collect()
    }

    #[test]
    fn folders_are_walked_in_order_without_what_is_ignored_hidden_or_unknown() {
        let dir = tree(&[
            ("b.md", ""),
            ("a/z.txt", ""),
            ("a/photo.jpg", ""),
            (".hidden.md", ""),
            (".incontext/guide/x.md", ""),
            (".git/info.md", ""),
            ("target/out.md", ""),
            ("drafts/d.md", ""),
            (".gitignore", "target/\n"),
            (".ignore", "drafts/\n"),
        ]);
        let found = found(&[dir.path().to_owned()], dir.path()).unwrap();
        assert_eq!(names(&found), ["a/z.txt", "b.md"]);
        assert_eq!(found.skipped, 1);
        assert!(found.failed.is_empty());
    }

    #[test]
    fn gitignore_counts_outside_a_repository_but_not_from_above_the_folder() {
        let dir = tree(&[
            (".gitignore", "*\n"),
            ("docs/.gitignore", "no.md\n"),
            ("docs/no.md", ""),
            ("docs/yes.md", ""),
        ]);
        let found = found(&[dir.path().join("docs")], dir.path()).unwrap();
        assert_eq!(names(&found), ["docs/yes.md"]);
    }

    #[test]
    fn an_explicit_file_is_taken_whatever_gitignore_or_its_name_say_and_only_once() {
        let dir = tree(&[(".gitignore", "no.md\n"), ("no.md", ""), ("yes.md", ""), ("odd.xyz", "")]);
        let at = |name: &str| dir.path().join(name);
        let given =
            [dir.path().to_owned(), at("no.md"), at("./yes.md"), at("odd.xyz"), dir.path().to_owned()];
        let found = found(&given, dir.path()).unwrap();
        assert_eq!(names(&found), ["no.md", "odd.xyz", "yes.md"]);
        assert_eq!(found.skipped, 0);
    }

    #[cfg(unix)]
    #[test]
    fn links_do_not_lead_out_of_the_tree() {
        let outside = tree(&[("secret.md", "")]);
        let dir = tree(&[("a.md", "")]);
        std::os::unix::fs::symlink(outside.path(), dir.path().join("out")).unwrap();
        std::os::unix::fs::symlink(outside.path().join("secret.md"), dir.path().join("s.md")).unwrap();
        assert_eq!(names(&found(&[dir.path().to_owned()], dir.path()).unwrap()), ["a.md"]);
    }

    #[test]
    fn a_path_that_is_not_there_is_named() {
        let error = found(&[PathBuf::from("/nowhere/at/all")], Path::new("/")).unwrap_err();
        assert!(matches!(error, Error::NotFound(_)));
        assert!(error.to_string().contains("/nowhere/at/all"));
    }

    #[test]
    fn a_folder_git_ignores_is_walked_when_it_is_named() {
        let dir = tree(&[
            (".git/HEAD", ""),
            (".gitignore", "build/\n"),
            ("build/a.md", ""),
            ("build/drafts/b.md", ""),
            ("build/.gitignore", "drafts/\n"),
            ("c.md", ""),
        ]);
        let all = found(&[dir.path().to_owned()], dir.path()).unwrap();
        assert_eq!(names(&all), ["c.md"]);
        let named = found(&[dir.path().join("build")], dir.path()).unwrap();
        assert_eq!(names(&named), ["build/a.md"]);
    }

    #[test]
    fn what_a_hidden_home_holds_is_walked_when_it_is_named() {
        let dir = tree(&[(".git/HEAD", ""), (".incontext/.gitignore", "*\n"), (".incontext/guide/a.md", "")]);
        let named = found(&[dir.path().join(".incontext/guide")], dir.path()).unwrap();
        assert_eq!(names(&named), [".incontext/guide/a.md"]);
    }
}
