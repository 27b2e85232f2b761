//! What nobody should feed it and somebody will: files and folders that are not as they should be. Each has a clear
//! outcome, and the index can be used afterwards. `bad_machine` is about what they lie on.

use std::fs;

use crate::run::{Folder, Ran};
use crate::tiny;

pub const INGEST: [&str; 5] = ["ingest", "docs", "--profile", "profile.toml", "--quiet"];

/// A good document, an encoder and a profile.
pub fn folder() -> Folder {
    let folder = Folder::with(&[("docs/good.md", "# balo\n\ndalo falo galo.\n")]);
    tiny::encoder(&folder.at("tiny"), 0);
    folder.write("profile.toml", &tiny::PROFILE.replace("\"tiny\"", "\"./tiny\""));
    folder
}

/// An ingest of `docs`: the summary's first six numbers, and what was said.
pub fn ingest(folder: &Folder) -> (String, String) {
    summary(folder.run(&INGEST[..4]))
}

/// The exit code says whether something failed.
pub fn summary(ran: Ran) -> (String, String) {
    let summary = ran.out.split(" (").next().unwrap().to_owned();
    let failed = !summary.ends_with(" failed 0");
    assert_eq!(ran.code, Some(i32::from(failed)), "{ran:#?}");
    (summary, ran.err)
}

/// The index answers, and its stores agree with each other.
pub fn assert_usable(folder: &Folder) {
    let found = folder.ok(&["search", "falo", "--mode", "lexical", "--json"]).json();
    assert_eq!(found["hits"][0]["path"], "docs/good.md");
    folder.ok(&["search", "falo"]);
    let answer = folder.run(&["ask", "Is there a dalo falo galo?", "--json"]);
    assert!(matches!(answer.code, Some(0 | 3)), "{answer:#?}");
    assert_eq!(answer.json()["format"], 1);
}

#[test]
fn where_nothing_can_be_read_no_collection_is_made_and_one_that_is_there_is_emptied() {
    let folder = folder();
    folder.write("empty/image.png", "");
    folder.write("refused/a.txt", "\0\0");
    for (path, failed) in [("empty", 0), ("refused", 1)] {
        let mut args = INGEST.to_vec();
        args[1] = path;
        let aloud: Vec<&str> = args.into_iter().filter(|arg| *arg != "--quiet").collect();
        let (counts, said) = summary(folder.run(&aloud));
        assert_eq!(counts, format!("added 0 updated 0 unchanged 0 removed 0 failed {failed}"));
        assert!(said.contains("nothing to ingest, so no collection `default` was made"), "{said}");
        assert!(!folder.at(".incontext/collections").exists());
    }
    assert_eq!(ingest(&folder).0, "added 1 updated 0 unchanged 0 removed 0 failed 0");
    folder.remove("docs/good.md");
    let (counts, said) = summary(folder.run(&INGEST[..4]));
    assert_eq!(counts, "added 0 updated 0 unchanged 0 removed 1 failed 0");
    assert!(!said.contains("nothing to ingest"), "{said}");
    assert_eq!(folder.run(&["search", "falo"]).code, Some(3));
}

#[test]
fn what_is_not_text_is_named_and_the_rest_goes_in() {
    let folder = folder();
    fs::write(folder.at("docs/image.md"), [0x89, b'P', b'N', b'G', 0, 0, 7]).unwrap();
    fs::write(folder.at("docs/latin.txt"), b"caf\xe9").unwrap();
    fs::write(folder.at("docs/wide.txt"), b"\xff\xfeh\0i\0").unwrap();
    folder.write("docs/empty.md", "");
    folder.write("docs/blank.txt", " \n\t\n");
    let (summary, said) = ingest(&folder);
    assert_eq!(summary, "added 3 updated 0 unchanged 0 removed 0 failed 3");
    for complaint in
        ["`docs/image.md`: not text", "`docs/latin.txt`: not UTF-8: byte 3", "`docs/wide.txt`: not"]
    {
        assert!(said.contains(complaint), "{said}");
    }
    assert_usable(&folder);
}

#[cfg(unix)]
#[test]
fn names_that_no_index_can_hold_are_refused_and_odd_ones_are_shown_on_one_line() {
    use std::os::unix::ffi::OsStrExt;
    let folder = folder();
    for name in [&b"bad\xff\xfe.md"[..], b"bad\xff\xfd.md"] {
        let path = folder.at("docs").join(std::ffi::OsStr::from_bytes(name));
        if fs::write(path, "halo").is_err() {
            eprintln!("skipped: this file system has no such names");
            return;
        }
    }
    folder.write("docs/new\nline.md", "# ralo\n\nsalo talo.\n");
    folder.write("docs/esc\u{1b}[31m.md", "# ralo\n\nsalo mimo.\n");
    let (summary, said) = ingest(&folder);
    assert_eq!(summary, "added 3 updated 0 unchanged 0 removed 0 failed 2");
    assert_eq!(said.matches("its name is not UTF-8").count(), 2, "{said}");
    assert_usable(&folder);
    let shown = folder.ok(&["search", "ralo", "--mode", "lexical"]).out;
    assert!(shown.contains(r"docs/new\nline.md:1-3") && !shown.contains('\u{1b}'), "{shown}");
}

#[test]
fn a_file_above_the_limit_is_refused_before_it_is_read_and_may_be_allowed() {
    let folder = folder();
    // A hole of 200 MB: no bytes on the disk, and none in memory.
    fs::File::create(folder.at("docs/log.txt")).unwrap().set_len(200_000_000).unwrap();
    folder.write("docs/long.txt", &"dalo falo.\n\n".repeat(100_000));
    let start = std::time::Instant::now();
    let (counts, said) = summary(folder.run(&[&INGEST[..4], &["--max-file", "1"]].concat()));
    assert_eq!(counts, "added 1 updated 0 unchanged 0 removed 0 failed 2");
    assert!(said.contains("200 MB, a document at most 1 MB") && said.contains("--max-file"), "{said}");
    assert!(start.elapsed().as_secs() < 30);
    assert_usable(&folder);
    if cfg!(unix) {
        let endless = folder.run(&["ingest", "/dev/zero", "--max-file", "1"]);
        assert!(endless.code == Some(1) && endless.out.contains("failed 1"), "{endless:#?}");
    }
}

#[cfg(unix)]
#[test]
fn links_lead_nowhere() {
    use std::os::unix::fs::symlink;
    let folder = folder();
    folder.write("outside/secret.md", "vasi");
    symlink("..", folder.at("docs/loop")).unwrap();
    symlink("self", folder.at("docs/self")).unwrap();
    symlink("../outside", folder.at("docs/out")).unwrap();
    symlink("../outside/secret.md", folder.at("docs/secret.md")).unwrap();
    assert_eq!(ingest(&folder).0, "added 1 updated 0 unchanged 0 removed 0 failed 0");
    assert_usable(&folder);
    let ran = folder.run(&["ingest", "docs/self"]);
    assert!(ran.code == Some(1) && ran.err.contains("docs/self"), "{ran:#?}");
}

#[test]
fn a_bad_line_of_json_lines_is_named_until_it_is_mended_and_the_others_are_found() {
    let folder = folder();
    folder.write("docs/l.jsonl", "{\"text\":\"lalo\"}\n{oops\n{\"text\":\"malo\"}\n7\n");
    let (summary, said) = ingest(&folder);
    assert_eq!(summary, "added 2 updated 0 unchanged 0 removed 0 failed 2");
    assert!(said.contains("`docs/l.jsonl`: line 2: not JSON") && said.contains("line 4: neither"), "{said}");
    for word in ["lalo", "malo"] {
        let found = folder.ok(&["search", word, "--mode", "lexical", "--json"]).json();
        assert_eq!(found["hits"][0]["path"], "docs/l.jsonl");
    }
    let (summary, said) = ingest(&folder);
    assert_eq!(summary, "added 0 updated 0 unchanged 2 removed 0 failed 2");
    assert!(said.contains("line 2"), "{said}");
    folder.write("docs/l.jsonl", "{\"text\":\"lalo\"}\n");
    assert_eq!(ingest(&folder).0, "added 0 updated 1 unchanged 1 removed 0 failed 0");
    assert_eq!(ingest(&folder).0, "added 0 updated 0 unchanged 2 removed 0 failed 0");
    assert_usable(&folder);
}

#[test]
fn a_file_that_vanishes_or_turns_unreadable_between_runs_does_not_stop_the_others() {
    let folder = folder();
    folder.write("docs/b.md", "nalo");
    assert_eq!(ingest(&folder).0, "added 2 updated 0 unchanged 0 removed 0 failed 0");
    fs::write(folder.at("docs/b.md"), b"nalo \xff").unwrap();
    assert_eq!(ingest(&folder).0, "added 0 updated 0 unchanged 1 removed 0 failed 1");
    folder.remove("docs/b.md");
    assert_eq!(ingest(&folder).0, "added 0 updated 0 unchanged 1 removed 0 failed 0");
    assert_usable(&folder);
}

/// Some files may be opened and still not be read; this one by nobody, root included.
#[cfg(target_os = "linux")]
#[test]
fn a_file_that_breaks_off_while_it_is_read_is_named() {
    let folder = folder();
    let ran = folder.run(&[&INGEST[..4], &["/proc/self/mem"]].concat());
    let (counts, said) = summary(ran);
    assert_eq!(counts, "added 1 updated 0 unchanged 0 removed 0 failed 1");
    assert!(said.contains("failed: cannot read `/proc/self/mem`: Input/output error"), "{said}");
    assert_usable(&folder);
}

#[test]
fn a_script_learns_by_the_exit_code_that_a_file_failed_and_not_that_one_was_skipped() {
    let folder = folder();
    folder.write("docs/photo.jpg", "");
    assert_eq!(folder.ok(&INGEST).err, "");
    fs::write(folder.at("docs/latin.txt"), b"caf\xe9").unwrap();
    let ran = folder.run(&[&INGEST[..], &["--json"]].concat());
    assert_eq!(ran.code, Some(1), "{ran:#?}");
    assert_eq!((&ran.json()["failed"], &ran.json()["skipped"]), (&1.into(), &1.into()));
    // Quiet is about remarks, and an exit code without its reason would be a riddle.
    assert!(ran.err.starts_with("failed: `docs/latin.txt`: not UTF-8"), "{ran:#?}");
    assert_usable(&folder);
}

#[test]
fn folders_where_files_should_be_are_named() {
    let folder = folder();
    fs::create_dir_all(folder.at("docs/folder.md")).unwrap();
    assert_eq!(ingest(&folder).0, "added 1 updated 0 unchanged 0 removed 0 failed 0");
    for args in [
        &["ingest", "docs", "--profile", "docs"][..],
        &["ask", "falo", "--prompt", "docs/folder.md", "--answer", "generate", "--model", "openai:m"],
        &["verify", "--model", "tiny", "--reference", "docs"],
    ] {
        let ran = folder.run(args);
        assert!(ran.code == Some(1) && ran.err.contains("docs"), "{args:?}: {ran:#?}");
    }
    assert_usable(&folder);
}

#[test]
fn deep_nesting_costs_neither_the_stack_nor_the_patience() {
    const DEEP: usize = 20_000;
    let folder = folder();
    let nested = |open: &str, close: &str| format!("{}balo{}", open.repeat(DEEP), close.repeat(DEEP));
    folder.write("docs/a.html", &nested("<div>", "</div>"));
    folder.write("docs/quotes.md", &nested(">", ""));
    folder.write("docs/brackets.md", &nested("[", "](x)"));
    folder.write("docs/stars.md", &nested("*", "*"));
    folder.write("docs/items.md", &nested("- ", ""));
    folder.write("docs/front.md", &format!("---\nt: {}\n---\nbalo", "[".repeat(DEEP)));
    folder.write(
        "docs/json.jsonl",
        &format!("\"balo\"\n{{\"text\":{}}}", nested("[", "]").replace("balo", "")),
    );
    let (summary, said) = ingest(&folder);
    assert_eq!(summary, "added 8 updated 0 unchanged 0 removed 0 failed 1");
    assert!(said.contains("`docs/json.jsonl`: line 2: not JSON: recursion limit"), "{said}");
    assert_usable(&folder);
}
