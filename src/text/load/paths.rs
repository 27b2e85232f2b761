//! What a file is called in an index: its path seen from the working folder, the same however it was typed.

use std::path::{Component, Path, PathBuf};

/// `path` as seen from `working_folder`: `/` between parts, no `.`, and `..` only in front, when the file lies outside.
///
/// Both are taken from the process's current folder when relative. A file on another drive keeps its absolute path.
/// Parts that are not Unicode are shown with U+FFFD.
pub fn display_path(path: &Path, working_folder: &Path) -> String {
    let (path_there, folder) = (absolute(path), absolute(working_folder));
    if let Ok(inside) = path_there.strip_prefix(&folder) {
        return slashed(inside);
    }
    // One of them may go through a symbolic link (`/tmp` on some systems): compare what they really are.
    if let (Some(real_path), Ok(real_folder)) = (real(&path_there), folder.canonicalize())
        && let Ok(inside) = real_path.strip_prefix(&real_folder)
    {
        return slashed(inside);
    }
    let shared = path_there.components().zip(folder.components()).take_while(|(a, b)| a == b).count();
    if shared == 0 {
        return slashed(&path_there);
    }
    let up = folder.components().skip(shared).map(|_| Component::ParentDir);
    slashed(&up.chain(path_there.components().skip(shared)).collect::<PathBuf>())
}

/// `path` from the root, `.` and `..` worked out.
pub(super) fn absolute(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                out.pop();
            }
            part => out.push(part),
        }
    }
    out
}

/// The folder of `path` with links resolved; the file's own name stays, even when it is a link.
fn real(path: &Path) -> Option<PathBuf> {
    Some(path.parent()?.canonicalize().ok()?.join(path.file_name()?))
}

fn slashed(path: &Path) -> String {
    let rooted = path.has_root();
    let parts: Vec<_> = path
        .components()
        .filter(|part| !matches!(part, Component::RootDir))
        .map(|part| part.as_os_str().to_string_lossy())
        .collect();
    let joined = parts.join("/");
    if rooted && !joined.contains(':') { format!("/{joined}") } else { joined }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_file_has_one_name_however_it_is_typed() {
        let folder = Path::new("/home/a/notes");
        for typed in ["/home/a/notes/x/y.md", "/home/a/notes/./x/y.md", "/home/a/notes/z/../x/y.md"] {
            assert_eq!(display_path(Path::new(typed), folder), "x/y.md");
        }
    }

    #[test]
    fn only_files_outside_climb() {
        let folder = Path::new("/home/a/notes");
        assert_eq!(display_path(Path::new("/home/a/books/b.md"), folder), "../books/b.md");
        assert_eq!(display_path(Path::new("/srv/b.md"), folder), "../../../srv/b.md");
    }
}
