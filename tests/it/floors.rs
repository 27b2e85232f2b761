//! Imports only go down: every `crate::` path of every source file, held against the floors of the architecture.
//!
//! On one floor imports go to the left at most. Reading is by text, not by syntax: comments and strings are blanked,
//! then `crate::` (and chains of `super::` that climb to the root) are followed into nested braces.

use std::fs;
use std::path::{Path, PathBuf};

/// From the ground up; on each floor from left to right. Those in one group of `|` are no neighbours: neither may use
/// the other.
const FLOORS: [&str; 9] = [
    "error bytes files random",
    "text nn http openai hub web",
    "models|adapters|index",
    "embed generate train rlhf",
    "retrieve prompt eval classify",
    "engine",
    "experiment",
    "cli serve",
    "main lib",
];

/// A module's floor, its room from the left, and whether rooms on that floor see those to their left.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Place {
    floor: usize,
    room: usize,
    open: bool,
}

fn place(module: &str) -> Option<Place> {
    FLOORS.iter().enumerate().find_map(|(floor, rooms)| {
        let open = !rooms.contains('|');
        let room = rooms.split([' ', '|']).position(|room| room == module)?;
        Some(Place { floor, room, open })
    })
}

fn may_use(module: &str, used: &str) -> bool {
    // The root re-exports what `error` has.
    let used = if matches!(used, "Error" | "Result") { "error" } else { used };
    if module == used || module == "lib" {
        return true;
    }
    match (place(module), place(used)) {
        (Some(here), Some(there)) if here.floor == there.floor => here.open && there.room < here.room,
        (Some(here), Some(there)) => there.floor < here.floor,
        _ => false,
    }
}

fn source_files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false if path.extension().is_some_and(|extension| extension == "rs") => files.push(path),
                false => {}
            }
        }
    }
    files.sort();
    files
}

/// `source` with comments and the insides of strings blanked, line ends kept.
fn code_of(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut code = bytes.to_vec();
    let mut at = 0;
    let mut blank = |range: std::ops::Range<usize>| {
        code[range].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
    };
    let find =
        |needle: &str, from: usize| source[from..].find(needle).map_or(bytes.len(), |found| from + found);
    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if bytes[at..].starts_with(b"//") => find("\n", at),
            b'/' if bytes[at..].starts_with(b"/*") => (find("*/", at) + 2).min(bytes.len()),
            b'r' if raw_string(bytes, at).is_some() => {
                let hashes = raw_string(bytes, at).unwrap();
                let close = format!("\"{}", "#".repeat(hashes));
                (find(&close, at + hashes + 2) + close.len()).min(bytes.len())
            }
            b'"' => {
                let mut end = at + 1;
                while end < bytes.len() && bytes[end] != b'"' {
                    end += if bytes[end] == b'\\' { 2 } else { 1 };
                }
                (end + 1).min(bytes.len())
            }
            // A quote or a backslash as a character; a lifetime is no string.
            b'\'' if bytes[at..].starts_with(b"'\"'") => at + 3,
            b'\'' if bytes[at..].starts_with(b"'\\") => find("'", at + 3) + 1,
            _ => {
                at += 1;
                continue;
            }
        };
        blank(at..end);
        at = end;
    }
    String::from_utf8(code).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// The number of `#` of the raw string that starts at `at`, if one does.
fn raw_string(bytes: &[u8], at: usize) -> Option<usize> {
    let inside_a_word = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
    let hashes = bytes[at + 1..].iter().take_while(|&&byte| byte == b'#').count();
    (!inside_a_word && bytes.get(at + 1 + hashes) == Some(&b'"')).then_some(hashes)
}

/// The first names after each path to the crate's root in `code`, with their lines. `depth` is how many `super` lead
/// from the file to the root.
fn names_used(code: &str, depth: usize) -> Vec<(usize, String)> {
    let mut used = Vec::new();
    for prefix in ["crate::".to_owned(), "super::".repeat(depth)] {
        for (at, _) in code.match_indices(&prefix) {
            let before = code[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':' || c == '$') {
                continue;
            }
            let rest = &code[at + prefix.len()..];
            let line = code[..at].matches('\n').count() + 1;
            used.extend(first_names(rest).into_iter().map(|name| (line, name)));
        }
    }
    used
}

/// `a::b` gives `a`; `{a::{b, c}, d}` gives `a` and `d`.
fn first_names(rest: &str) -> Vec<String> {
    let name = |text: &str| -> String {
        text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    let Some(group) = rest.trim_start().strip_prefix('{') else { return vec![name(rest)] };
    let mut names = vec![name(group)];
    let mut depth = 1;
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => names.push(name(&group[at + 1..])),
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

/// The top module that a file belongs to, and how many `super` lead from it to the root.
fn module_of(file: &Path) -> (String, usize) {
    let inside =
        file.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap().with_extension("");
    let mut parts: Vec<_> = inside.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if parts.len() > 1 && parts.last().is_some_and(|last| last == "mod") {
        parts.pop();
    }
    (parts[0].clone(), parts.len())
}

#[test]
fn imports_only_go_down_the_floors() {
    let mut violations = Vec::new();
    for file in source_files() {
        let (module, depth) = module_of(&file);
        assert!(
            place(&module).is_some(),
            "`{module}` has no floor: give it one here and in the architecture"
        );
        for (line, used) in names_used(&code_of(&fs::read_to_string(&file).unwrap()), depth) {
            // `super` in a test module inside a file stops short of the root: only names of the root count there.
            let known = place(&used).is_some() || matches!(used.as_str(), "Error" | "Result");
            if known && !may_use(&module, &used) {
                violations.push(format!("{}:{line}: `{module}` uses `{used}`", file.display()));
            }
        }
    }
    assert!(violations.is_empty(), "imports that do not go down:\n{}", violations.join("\n"));
}

#[test]
fn the_table_says_what_the_architecture_says() {
    for (module, used) in [
        ("engine", "retrieve"),
        ("hub", "text"),
        ("prompt", "retrieve"),
        ("eval", "prompt"),
        ("cli", "Error"),
    ] {
        assert!(may_use(module, used), "{module} -> {used}");
    }
    for (module, used) in [
        ("text", "hub"),
        ("models", "adapters"),
        ("adapters", "models"),
        ("index", "models"),
        ("retrieve", "prompt"),
        ("engine", "cli"),
        ("nn", "models"),
        ("cli", "main"),
    ] {
        assert!(!may_use(module, used), "{module} -> {used}");
    }
}

#[test]
fn imports_are_found_however_they_are_written() {
    let code = code_of(
        "use crate::{error::{Error, Result}, hub};\n// crate::no\nlet s = \"crate::no\"; let r = r#\"crate::\"no\"#;\n\
         let q = '\"'; fn f<'a>(x: crate::text::T<'a>) {}\nuse super::super::index;\n",
    );
    let found: Vec<_> = names_used(&code, 2);
    let expected = [(1, "error"), (1, "hub"), (4, "text"), (5, "index")];
    assert_eq!(found, expected.map(|(line, name)| (line, name.to_owned())));
}

#[test]
fn no_source_file_knows_a_particular_machine() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for file in source_files() {
        let source = fs::read_to_string(&file).unwrap();
        for (number, line) in source.lines().enumerate() {
            let mut complain = |what: &str| found.push(format!("{}:{}: {what}", file.display(), number + 1));
            for path in included(line) {
                let target =
                    file.parent().unwrap().join(path.replace("$CARGO_MANIFEST_DIR", &root.to_string_lossy()));
                if !target.canonicalize().is_ok_and(|target| target.starts_with(root.canonicalize().unwrap()))
                {
                    complain(&format!("includes `{path}`, which is not in the repository"));
                }
            }
            for path in absolute_paths(line) {
                if Path::new(path).exists() && !everywhere(path) {
                    complain(&format!("names `{path}`, which is a place on this machine"));
                }
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// What `include_str!("...")` and its kin name.
fn included(line: &str) -> Vec<&str> {
    let calls = line.match_indices("include_").filter_map(|(at, _)| line[at..].split_once("!(\""));
    calls.filter_map(|(_, rest)| rest.split('"').next()).collect()
}

/// Quoted or backquoted texts of two parts or more that begin at the root.
fn absolute_paths(line: &str) -> Vec<&str> {
    let parts = line.split(['"', '`', ' ', '\'', '(', ')', ',']);
    parts.filter(|part| part.starts_with('/') && part[1..].contains(|c: char| c.is_alphanumeric())).collect()
}

/// Places that every Unix has.
fn everywhere(path: &str) -> bool {
    ["/dev", "/proc", "/etc", "/tmp", "/usr", "/bin", "/var"]
        .iter()
        .any(|place| Path::new(path).starts_with(place))
}
