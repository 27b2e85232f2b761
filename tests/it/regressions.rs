//! Mistakes we made once. Each test says what a person saw.

use std::path::Path;

use incontext::index::{Collection, Patience, Profile, Writer};

use crate::run::{Folder, Ran};
use crate::tiny;

fn folder() -> Folder {
    let folder =
        Folder::with(&[("notes/a.md", "# Tea\n\nGreen tea."), ("notes/b.md", "# Tea\n\nBlack tea.")]);
    tiny::encoder(&folder.at("tiny"), 0);
    folder.write("profile.toml", &tiny::PROFILE.replace("\"tiny\"", "\"./tiny\""));
    folder
}

/// The embedder a profile names was ignored: the default one built the collection.
#[test]
fn a_profile_says_which_embedder_builds_the_collection() {
    let folder = folder();
    folder.ok(&["ingest", "notes", "--profile", "profile.toml"]);
    let shown = folder.ok(&["collections", "show", "--json"]).json();
    assert!(shown["profile"]["embedder"]["name"].as_str().unwrap().ends_with("/tiny"));
    assert_eq!(shown["profile"]["embedder"]["dimension"], 48);
}

/// `--rebuild` with a mistyped path emptied the collection before it complained.
#[test]
fn rebuilding_from_a_path_that_is_not_there_costs_nothing() {
    let folder = folder();
    folder.ok(&["ingest", "notes", "--profile", "profile.toml"]);
    let ran = folder.run(&["ingest", "nots", "--rebuild"]);
    assert_eq!(ran.code, Some(1), "{ran:#?}");
    assert!(ran.err.contains("`nots` does not exist"), "{ran:#?}");
    let shown = folder.ok(&["collections", "show", "--json"]).json();
    assert_eq!(shown["stats"]["documents"], 2);
}

/// The hint of a refused `profile.toml` says `--rebuild`, which then threw the edited file away.
#[test]
fn rebuilding_goes_by_the_edited_profile_of_the_collection() {
    let folder = folder();
    folder.ok(&["ingest", "notes", "--profile", "profile.toml"]);
    let path = folder.at(".incontext/collections/default/profile.toml");
    let edited = std::fs::read_to_string(&path).unwrap().replace("body = 40", "body = 30");
    std::fs::write(&path, edited).unwrap();
    for command in [&["search", "tea"][..], &["ingest", "notes"]] {
        let refused = folder.run(command);
        assert_eq!(refused.code, Some(1), "{refused:#?}");
        assert!(refused.err.contains("body 30") && refused.err.contains("--rebuild"), "{refused:#?}");
    }
    let rebuilt = folder.ok(&["ingest", "notes", "--rebuild"]);
    assert!(rebuilt.out.starts_with("added 2 "), "{rebuilt:#?}");
    let shown = folder.ok(&["collections", "show", "--json"]).json();
    assert_eq!(shown["profile"]["chunker"]["body"], 30);
    assert!(shown["profile"]["embedder"]["name"].as_str().unwrap().ends_with("/tiny"));
}

/// A `profile.toml` that cannot be read was taken for no collection, and the complaint was about the default embedder.
#[test]
fn a_broken_profile_of_a_collection_is_named_as_what_it_is() {
    let folder = folder();
    folder.ok(&["ingest", "notes", "--profile", "profile.toml"]);
    folder.write(".incontext/collections/default/profile.toml", "[chunker\n");
    let ran = folder.run(&["ingest", "notes"]);
    assert_eq!(ran.code, Some(1), "{ran:#?}");
    assert!(ran.err.contains("profile.toml") && ran.err.contains("not an index profile"), "{ran:#?}");
}

/// Between the making of the manifest and of the stores there was a collection that could not be searched, and a process
/// killed there left it so.
#[test]
fn whoever_finds_a_collection_can_search_it() {
    let mut profile = Profile::default();
    profile.embedder.dimension = 4;
    let make = |dir: &Path, rebuild| drop(Writer::open(dir, &profile, rebuild, Patience::default()).unwrap());
    for rebuild in [false, true, true, false] {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("new");
        if rebuild {
            make(&dir, false);
        }
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| make(&dir, rebuild));
            loop {
                let done = writer.is_finished();
                if let Ok(collection) = Collection::open(&dir) {
                    let reader = collection.read(Patience::default()).unwrap();
                    assert_eq!(reader.dense(&[1.0; 4], 3).unwrap(), []);
                    assert_eq!(reader.lexical("tea", 3).unwrap(), []);
                }
                if done {
                    break;
                }
            }
        });
    }
}

/// With one `--home` for all projects, paths were relative to wherever one stood: ingesting `docs` of the second project
/// replaced `docs` of the first.
#[test]
fn two_projects_with_one_home_keep_their_documents_apart() {
    let folder = Folder::with(&[
        ("one/docs/a.md", "Apples."),
        ("one/docs/b.md", "Pears."),
        ("two/docs/a.md", "Figs."),
    ]);
    let encoder = tiny::encoder(&folder.at("tiny"), 0);
    folder.write("profile.toml", tiny::PROFILE);
    let ingest = |project: &str| {
        let embedder = encoder.to_str().unwrap();
        let args =
            ["ingest", "docs", "--home", "../home", "--embedder", embedder, "--profile", "../profile.toml"];
        Ran::of(folder.command(&args).current_dir(folder.at(project)).output().unwrap())
    };
    assert!(ingest("one").out.starts_with("added 2 updated 0 unchanged 0 removed 0"));
    assert!(ingest("two").out.starts_with("added 1 updated 0 unchanged 0 removed 0"));
    assert!(ingest("one").out.starts_with("added 0 updated 0 unchanged 2 removed 0"));
    let found = folder.ok(&["search", "figs", "--home", "home", "--mode", "lexical", "--json"]).json();
    assert_eq!(found["hits"][0]["path"], "two/docs/a.md");
}

/// The guide promises that `--rebuild` mends a damaged manifest; it could not even be opened for that.
#[test]
fn rebuilding_mends_a_manifest_that_cannot_be_read() {
    let folder = folder();
    folder.ok(&["ingest", "notes", "--profile", "profile.toml"]);
    for file in ["manifest.sqlite", "manifest.sqlite-wal"] {
        folder.write(&format!(".incontext/collections/default/{file}"), &"garbage ".repeat(1000));
    }
    for command in [&["search", "tea"][..], &["ingest", "notes"]] {
        let ran = folder.run(command);
        assert_eq!(ran.code, Some(1), "{ran:#?}");
        assert!(ran.err.contains("the manifest cannot be read"), "{ran:#?}");
    }
    let rebuilt = folder.ok(&["ingest", "notes", "--rebuild"]);
    assert!(rebuilt.out.starts_with("added 2 "), "{rebuilt:#?}");
    let found = folder.ok(&["search", "black", "--mode", "lexical", "--json"]).json();
    assert_eq!(found["hits"][0]["path"], "notes/b.md");
}

/// The encoder's path was kept as it was typed, so the collection could only be asked from one folder.
#[test]
fn a_relative_path_to_the_encoder_works_from_a_folder_below() {
    let folder = folder();
    folder.ok(&["ingest", "notes", "--profile", "profile.toml"]);
    let ran = folder.command(&["search", "tea", "--json"]).current_dir(folder.at("notes")).output().unwrap();
    assert!(ran.status.success(), "{ran:?}");
    let found: serde_json::Value = serde_json::from_slice(&ran.stdout).unwrap();
    let path = found["hits"][0]["path"].as_str().unwrap();
    assert!(folder.at("notes").join(path).exists(), "`{path}` opens from where the search was typed");
}

/// `ingest .` in the working folder removed nothing, ever: the folder's own name in the index is empty, and nothing was
/// taken to lie in that.
#[test]
fn what_is_deleted_goes_when_the_working_folder_itself_is_ingested() {
    let folder = folder();
    let options = ["--embedder", "./tiny", "--profile", "profile.toml"];
    folder.ok(&[&["ingest", "notes", "."][..], &options].concat());
    folder.remove("notes/a.md");
    let ran = folder.ok(&["ingest", "."]);
    assert!(ran.out.contains(" removed 1 "), "{ran:#?}");
}
