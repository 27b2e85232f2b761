//! `ingest`, again and again: what costs nothing, what is replaced, what goes.

use std::time::{Duration, SystemTime};

use crate::run::{Folder, Ran};
use crate::tiny;

/// A folder with the tiny encoder and its profile, and `files`.
fn folder(files: &[(&str, &str)]) -> Folder {
    let folder = Folder::with(files);
    tiny::encoder(&folder.at(".tiny"), 0);
    folder.write("profile.toml", tiny::PROFILE);
    folder
}

const FIRST: [&str; 6] = ["ingest", "notes", "--embedder", ".tiny", "--profile", "profile.toml"];

/// The summary without its parenthesis.
fn summary(folder: &Folder, args: &[&str]) -> String {
    let ran = folder.run(args);
    let summary = ran.out.split(" (").next().unwrap().to_owned();
    assert_eq!(ran.code, Some(i32::from(!summary.ends_with(" failed 0"))), "{ran:#?}");
    summary
}

/// Paths of all documents.
fn documents(folder: &Folder) -> Vec<String> {
    let shown = folder.ok(&["collections", "show", "--json"]).json();
    let paths = shown["documents"].as_array().unwrap().iter();
    paths.map(|document| document["path"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_second_run_finds_everything_unchanged_and_reads_nothing() {
    let folder =
        folder(&[("notes/a.md", "# Tea\n\nGreen tea."), ("notes/b.txt", "Black tea."), ("notes/c.png", "")]);
    insta::assert_snapshot!(folder.shown(&FIRST), @r#"
    exit 0
    -- stdout
    added 2 updated 0 unchanged 0 removed 0 failed 0 (2 chunks embedded, 1 files of unknown kind skipped)
    "#);
    insta::assert_snapshot!(folder.shown(&["ingest", "notes"]), @r#"
    exit 0
    -- stdout
    added 0 updated 0 unchanged 2 removed 0 failed 0 (0 chunks embedded, 1 files of unknown kind skipped)
    "#);
    insta::assert_snapshot!(folder.shown(&["ingest", "notes", "--json"]), @r#"
    exit 0
    -- stdout
    {
      "added": 0,
      "updated": 0,
      "unchanged": 2,
      "removed": 0,
      "failed": 0,
      "skipped": 1,
      "chunks": 0,
      "tokens": 0
    }
    "#);
}

#[test]
fn edited_removed_and_renamed_files_are_followed() {
    let folder = folder(&[
        ("notes/a.md", "one"),
        ("notes/b.md", "two"),
        ("notes/c.md", "three"),
        ("notes/d.md", "four"),
    ]);
    folder.ok(&FIRST);
    folder.write("notes/a.md", "one, edited");
    folder.remove("notes/b.md");
    std::fs::rename(folder.at("notes/c.md"), folder.at("notes/e.md")).unwrap();
    assert_eq!(summary(&folder, &["ingest", "notes"]), "added 1 updated 1 unchanged 1 removed 2 failed 0");
    assert_eq!(documents(&folder), ["notes/a.md", "notes/d.md", "notes/e.md"]);
    let found = folder.ok(&["search", "edited", "--mode", "lexical", "--json"]).json();
    assert_eq!(found["hits"][0]["text"], "one, edited");
    let gone = folder.run(&["search", "two", "--mode", "lexical"]);
    assert_eq!(gone.code, Some(3), "{gone:#?}");
}

#[test]
fn an_edit_that_keeps_size_and_content_costs_a_look_and_one_that_keeps_the_size_is_seen() {
    let folder = folder(&[("notes/a.md", "tea"), ("notes/b.md", "tea")]);
    folder.ok(&FIRST);
    let later = SystemTime::now() + Duration::from_secs(5);
    let touch = |name: &str| {
        let file = std::fs::File::options().write(true).open(folder.at(name)).unwrap();
        file.set_modified(later).unwrap();
    };
    touch("notes/a.md");
    folder.write("notes/b.md", "pea");
    touch("notes/b.md");
    assert_eq!(summary(&folder, &["ingest", "notes"]), "added 0 updated 1 unchanged 1 removed 0 failed 0");
    assert_eq!(summary(&folder, &["ingest", "notes"]), "added 0 updated 0 unchanged 2 removed 0 failed 0");
}

#[test]
fn one_content_at_two_paths_is_two_documents() {
    let folder = folder(&[("notes/a.md", "the same words"), ("notes/b.md", "the same words")]);
    folder.ok(&FIRST);
    assert_eq!(documents(&folder), ["notes/a.md", "notes/b.md"]);
    let hits = |folder: &Folder| {
        let found = folder.ok(&["search", "same words", "--json"]).json();
        let mut paths: Vec<String> = found["hits"]
            .as_array()
            .unwrap()
            .iter()
            .map(|hit| hit["path"].as_str().unwrap().to_owned())
            .collect();
        paths.sort();
        paths
    };
    assert_eq!(hits(&folder), ["notes/a.md", "notes/b.md"]);
    folder.remove("notes/a.md");
    folder.ok(&["ingest", "notes"]);
    assert_eq!(hits(&folder), ["notes/b.md"]);
}

#[test]
fn what_gitignore_names_is_left_out_and_goes_when_it_is_named_later() {
    let folder = folder(&[
        ("notes/a.md", "a"),
        ("notes/b.md", "b"),
        ("notes/drafts/c.md", "c"),
        ("notes/.gitignore", "drafts/\n"),
    ]);
    folder.ok(&FIRST);
    assert_eq!(documents(&folder), ["notes/a.md", "notes/b.md"]);
    folder.write("notes/.gitignore", "b.md\n");
    assert_eq!(summary(&folder, &["ingest", "notes"]), "added 1 updated 0 unchanged 1 removed 1 failed 0");
    assert_eq!(documents(&folder), ["notes/a.md", "notes/drafts/c.md"]);
}

#[test]
fn documents_outside_the_given_paths_stay() {
    let folder = folder(&[("notes/a.md", "a"), ("notes2/b.md", "b")]);
    folder.ok(&FIRST);
    folder.ok(&["ingest", "notes2"]);
    folder.remove("notes2/b.md");
    assert_eq!(summary(&folder, &["ingest", "notes"]), "added 0 updated 0 unchanged 1 removed 0 failed 0");
    assert_eq!(documents(&folder), ["notes/a.md", "notes2/b.md"]);
    std::fs::remove_dir_all(folder.at("notes2")).unwrap();
    assert_eq!(summary(&folder, &["ingest", "notes2"]), "added 0 updated 0 unchanged 0 removed 1 failed 0");
}

#[test]
fn the_same_files_are_the_same_documents_from_any_folder_below() {
    let folder = folder(&[("notes/a.md", "a"), ("notes/b.md", "b")]);
    folder.ok(&FIRST);
    let tiny = folder.at(".tiny");
    let args = ["ingest", ".", "--embedder", tiny.to_str().unwrap()];
    let below = Ran::of(folder.command(&args).current_dir(folder.at("notes")).output().unwrap());
    assert!(below.out.starts_with("added 0 updated 0 unchanged 2 removed 0"), "{below:#?}");
}

#[test]
fn a_file_that_is_not_what_its_name_promises_fails_alone() {
    let folder = folder(&[("notes/a.md", "fine"), ("notes/b.jsonl", "{oops\n")]);
    std::fs::write(folder.at("notes/c.txt"), b"\xff\xfe").unwrap();
    insta::assert_snapshot!(folder.shown(&FIRST), @r#"
    exit 1
    -- stdout
    added 1 updated 0 unchanged 0 removed 0 failed 2 (1 chunks embedded, 0 files of unknown kind skipped)
    -- stderr
    failed: `notes/b.jsonl`: line 1: not JSON: key must be a string at column 2
    hint: every line is one JSON object
    failed: `notes/c.txt`: not UTF-8: byte 0 starts no character
    hint: save it as UTF-8 text, or leave it out with a line in .ignore
    "#);
    assert_eq!(documents(&folder), ["notes/a.md"]);
    folder.write("notes/b.jsonl", "{\"text\": \"mended\"}\n");
    assert_eq!(summary(&folder, &["ingest", "notes"]), "added 1 updated 0 unchanged 1 removed 0 failed 1");
}

#[test]
fn collections_are_listed_shown_and_removed() {
    let folder = folder(&[("notes/a.md", "# Tea\n\nGreen tea."), ("notes/b.txt", "Black tea.")]);
    insta::assert_snapshot!(folder.shown(&["collections", "list"]), @r#"
    exit 0
    -- stderr
    no collections here; make one with `incontext ingest PATH`
    "#);
    folder.ok(&[&FIRST[..], &["-c", "tea"]].concat());
    insta::assert_snapshot!(folder.shown(&["collections", "list"]), @r#"
    exit 0
    -- stdout
    tea                        2 documents        2 chunks  [HERE]/.tiny
    "#);
    let shown = folder.ok(&["collections", "show", "tea"]).out;
    assert!(shown.starts_with("tea: 2 documents, 2 chunks, "), "{shown}");
    assert!(shown.contains("/.tiny\"") && shown.contains("max_body = 46"), "{shown}");
    insta::assert_snapshot!(folder.shown(&["collections", "rm", "tea"]), @r#"
    exit 0
    -- stderr
    removed collection `tea`
    "#);
    insta::assert_snapshot!(folder.shown(&["search", "tea", "-c", "tea"]), @r#"
    exit 1
    -- stderr
    error: there is no collection `tea`
    hint: make it with `incontext ingest PATH -c tea`
    "#);
    insta::assert_snapshot!(folder.shown(&["collections", "rm", "tea"]), @r#"
    exit 1
    -- stderr
    error: there is no collection `tea`
    hint: `incontext collections list`
    "#);
}
