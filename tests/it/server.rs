//! The commands over a Qdrant server, as a person types them: the same words as over a folder; and what becomes of them when the
//! server wants a key, has a certificate of its own, moves, or goes away.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::qdrant::{Disk, Server};
use crate::run::{Folder, Ran};
use crate::tiny;

/// A folder with the tiny encoder, its profile, and as many documents of one length as `count` says: then the mean length of
/// all chunks is the constant that the profile gives the server.
fn folder(count: usize) -> Folder {
    let folder = Folder::new();
    tiny::encoder(&folder.at(".tiny"), 0);
    folder.write("profile.toml", tiny::PROFILE);
    for document in 0..count {
        let words: Vec<String> = (0..12).map(|at| tiny::word((document * 7 + at * at) % 40)).collect();
        let year = 2000 + document % 10;
        let name = format!("notes/d{document:02}.md");
        folder.write(&name, &format!("---\nyear: {year}\n---\n{}\n", words.join(" ")));
    }
    folder
}

/// The profile, with `server` under [server].
fn profile(folder: &Folder, server: &str) {
    folder.write("server.toml", &format!("{}\n[server]\n{server}\n", tiny::PROFILE));
}

const FIRST: [&str; 6] = ["ingest", "notes", "--embedder", ".tiny", "--profile", "profile.toml"];

fn first<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&FIRST[..], more].concat()
}

/// Path and score of each hit.
fn hits(folder: &Folder, args: &[&str]) -> Vec<(String, f64)> {
    let found = folder.ok(&[&["search", "--json"], args].concat()).json();
    let hit = |hit: &Value| (hit["path"].as_str().unwrap().to_owned(), hit["score"].as_f64().unwrap());
    found["hits"].as_array().unwrap_or_else(|| panic!("{found}")).iter().map(hit).collect()
}

fn assert_close(a: &[(String, f64)], b: &[(String, f64)]) {
    assert_eq!(a.len(), b.len(), "{a:?}\n{b:?}");
    for (a, b) in a.iter().zip(b) {
        assert!(a.0 == b.0 && (a.1 - b.1).abs() < 1e-4, "{a:?} {b:?}");
    }
}

fn doctor(folder: &Folder) -> Ran {
    folder.run(&["doctor"])
}

fn points(disk: &Disk) -> Vec<usize> {
    disk.held().collections.values().map(|kept| kept.points.len()).collect()
}

#[test]
fn a_server_finds_what_the_folder_finds_by_meaning_by_words_by_both_and_among_some() {
    let server = Server::start();
    let folder = folder(40);
    folder.ok(&first(&["-c", "here"]));
    profile(&folder, "mean_length = 12");
    let there = ["ingest", "notes", "-c", "there", "--embedder", ".tiny", "--profile", "server.toml"];
    let ran = folder.ok(&[&there[..], &["--qdrant-url", &server.url]].concat());
    assert!(ran.out.starts_with("added 40 updated 0 "), "{ran:?}");
    assert!(!folder.at(".incontext/collections/there/vectors").exists());
    assert!(!folder.at(".incontext/collections/there/words").exists());
    let question = [3, 17, 21].map(tiny::word).join(" ");
    for more in [
        &["--mode", "dense"][..],
        &["--mode", "lexical"],
        &["--mode", "hybrid"],
        &["--mode", "dense", "--where", "year>=2007"],
        &["--mode", "lexical", "--where", "year<2003", "-k", "3"],
        &["--mode", "hybrid", "--where", "path=notes/d1*"],
    ] {
        let of = |name| hits(&folder, &[&[&question[..], "-c", name], more].concat());
        let here = of("here");
        assert!(!here.is_empty());
        assert_close(&here, &of("there"));
    }
    // Decided by cosines, by scores and by how rare words are.
    let asked = |name| {
        let ran = folder.run(&["ask", &question, "-c", name, "--answer", "extractive", "--json"]);
        let mut answer = ran.json();
        for field in ["seconds", "collection", "timing"] {
            answer.as_object_mut().unwrap().remove(field);
        }
        (ran.code, answer["confidence"].as_f64(), answer["answer"].clone())
    };
    let (here, there) = (asked("here"), asked("there"));
    assert_eq!((&here.0, &here.2), (&there.0, &there.2));
    assert!((here.1.unwrap() - there.1.unwrap()).abs() < 1e-3, "{here:?} {there:?}");
}

#[test]
fn what_changes_in_the_folder_changes_on_the_server_and_goes_with_the_collection() {
    let server = Server::start();
    let folder = folder(9);
    folder.ok(&first(&["--qdrant-url", &server.url]));
    assert_eq!(points(&server.disk), [9]);
    // Where the server is, the collection remembers.
    folder.remove("notes/d03.md");
    folder.write("notes/d04.md", "balo dalo");
    let new = tiny::word(200);
    folder.write("notes/new.md", &new);
    let ran = folder.ok(&["ingest", "notes"]);
    assert!(ran.out.starts_with("added 1 updated 1 unchanged 7 removed 1 failed 0"), "{ran:?}");
    assert_eq!(points(&server.disk), [9]);
    let found = hits(&folder, &[&new, "--mode", "lexical"]);
    assert!(found.len() == 1 && found[0].0 == "notes/new.md", "{found:?}");
    let told = doctor(&folder);
    assert!(told.out.contains("9 documents, 9 chunks; vectors and words are complete"), "{told:?}");

    let ran = folder.ok(&["ingest", "notes", "--rebuild"]);
    assert!(ran.out.starts_with("added 9 "), "{ran:?}");
    let names: Vec<String> = server.disk.held().collections.keys().cloned().collect();
    assert!(names.len() == 1 && names[0].starts_with("incontext-default-") && names[0].ends_with("-1"));

    folder.ok(&["collections", "rm", "default"]);
    assert!(points(&server.disk).is_empty());
}

#[test]
fn a_collection_moves_onto_a_server_and_back_when_it_is_built_anew() {
    let server = Server::start();
    let folder = folder(3);
    folder.ok(&FIRST);
    insta::assert_snapshot!(
        folder.shown(&["ingest", "notes", "--qdrant-url", "http://localhost:6334"]),
        @r#"
    exit 1
    -- stderr
    error: the collection was built with its vectors in its own folder, not with vectors on a Qdrant server (shard_number 1, replication_factor 1, quantization none, mean_length 80)
    hint: build it anew with `incontext ingest PATH --rebuild`, or keep a second collection with `-c NAME`
    "#
    );
    // A setting of the folder says where new collections go; those that are there stay.
    folder.write(".incontext/config.toml", &format!("qdrant_url = \"{}\"\n", server.url));
    folder.ok(&["ingest", "notes"]);
    assert!(points(&server.disk).is_empty());
    folder.ok(&["ingest", "notes", "--rebuild"]);
    assert_eq!(points(&server.disk), [3]);
    assert!(!folder.at(".incontext/collections/default/words").exists());
    folder.ok(&["ingest", "notes", "--rebuild", "--qdrant-url", "embedded"]);
    assert!(points(&server.disk).is_empty());
    assert_eq!(hits(&folder, &["balo", "--mode", "dense"]).len(), 3);
}

#[test]
fn a_server_that_moves_is_told_once() {
    let server = Server::start();
    let folder = folder(3);
    folder.ok(&first(&["--qdrant-url", &server.url]));
    let (disk, _) = server.stop();
    let begun = Instant::now();
    let ran = folder.run(&["search", "balo"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("nobody listens there") && ran.err.contains("hint: "), "{ran:?}");
    assert!(begun.elapsed() < Duration::from_secs(30));
    let told = doctor(&folder);
    assert!(told.code == Some(1) && told.out.contains("nobody listens there"), "{told:?}");
    let moved = Server::with(disk, None, None, None);
    assert_eq!(hits(&folder, &["balo", "--qdrant-url", &moved.url]).len(), 3);
    folder.ok(&["ingest", "notes", "--qdrant-url", &moved.url]);
    assert_eq!(hits(&folder, &["balo"]).len(), 3);
}

/// Runs `ingest`, and calls `meanwhile` when the server has taken two batches and answers no more.
fn interrupted(folder: &Folder, disk: &Disk, url: &str, meanwhile: impl FnOnce(std::process::Child)) {
    let after = disk.writes() + 2;
    disk.held().gone_after = Some(after);
    let mut command = folder.command(&first(&["--qdrant-url", url]));
    let ingest = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let begun = Instant::now();
    while disk.held().refused == 0 {
        assert!(begun.elapsed() < Duration::from_secs(120), "it never came so far");
        std::thread::sleep(Duration::from_millis(20));
    }
    meanwhile(ingest);
}

#[test]
fn a_server_that_goes_away_in_the_middle_and_comes_back_costs_nothing() {
    let server = Server::start();
    let folder = folder(400);
    let (url, disk) = (server.url.clone(), server.disk.clone());
    interrupted(&folder, &disk.clone(), &url, |ingest| {
        // Not only silent but gone, for a moment.
        let (disk, address) = server.stop();
        std::thread::sleep(Duration::from_millis(300));
        disk.held().gone_after = None;
        let again = Server::with(disk, None, None, Some(address));
        let ran = Ran::of(ingest.wait_with_output().unwrap());
        assert!(ran.code == Some(0) && ran.out.starts_with("added 400 "), "{ran:?}");
        assert_eq!(points(&again.disk), [400]);
        assert!(doctor(&folder).out.contains("400 chunks; vectors and words are complete"));
    });
}

#[test]
fn who_gives_up_waiting_for_a_server_goes_on_later_from_what_was_finished() {
    let server = Server::start();
    let folder = folder(400);
    interrupted(&folder, &server.disk, &server.url, |mut ingest| {
        ingest.kill().unwrap();
        ingest.wait().unwrap();
    });
    server.disk.held().gone_after = None;
    let ran = folder.ok(&["ingest", "notes"]);
    let added: usize = ran.out.split(' ').nth(1).unwrap().parse().unwrap();
    assert!(added < 400 && ran.out.contains(&format!("unchanged {}", 400 - added)), "{ran:?}");
    assert_eq!(points(&server.disk), [400]);
    assert!(doctor(&folder).out.contains("400 chunks; vectors and words are complete"));
}

#[test]
fn points_that_somebody_deleted_on_the_server_are_made_again() {
    let server = Server::start();
    let folder = folder(6);
    folder.ok(&first(&["--qdrant-url", &server.url]));
    {
        let mut held = server.disk.held();
        let kept = held.collections.values_mut().next().unwrap();
        kept.points.pop_first();
    }
    let told = doctor(&folder);
    assert!(told.code == Some(1) && told.out.contains("of 6 chunks, 1 lack their vectors"), "{told:?}");
    let ran = folder.ok(&["ingest", "notes"]);
    assert!(ran.out.starts_with("added 0 updated 1 unchanged 5"), "{ran:?}");
    assert_eq!(points(&server.disk), [6]);
    // The whole collection.
    server.disk.held().collections.clear();
    let ran = folder.run(&["search", "balo"]);
    assert!(ran.code == Some(1) && ran.err.contains("doesn't exist"), "{ran:?}");
    let ran = folder.ok(&["ingest", "notes"]);
    assert!(ran.out.starts_with("added 0 updated 6"), "{ran:?}");
    assert_eq!(points(&server.disk), [6]);
}

#[test]
fn a_server_with_a_key_is_given_it_and_one_without_is_refused_with_what_to_do() {
    let server = Server::with(Disk::default(), Some("s3cret"), None, None);
    let folder = folder(3);
    let ran = folder.run(&first(&["--qdrant-url", &server.url]));
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.err.contains("it refuses the key") && ran.err.contains("INCONTEXT_QDRANT_API_KEY"),
        "{ran:?}"
    );
    let with = |variable: &str, args: &[&str]| {
        Ran::of(folder.command(args).env(variable, "s3cret").output().unwrap())
    };
    let ran = with("INCONTEXT_QDRANT_API_KEY", &first(&["--qdrant-url", &server.url]));
    assert!(ran.code == Some(0) && ran.out.starts_with("added 3 "), "{ran:?}");
    let ran = with("QDRANT_API_KEY", &["search", "balo", "--json"]);
    assert_eq!(ran.json()["hits"].as_array().unwrap().len(), 3, "{ran:?}");
    let kept = std::fs::read_to_string(folder.at(".incontext/collections/default/profile.toml")).unwrap();
    assert!(kept.contains(&server.url) && !kept.contains("s3cret"));
}

#[test]
fn a_certificate_is_checked_and_one_of_an_authority_of_the_persons_own_can_be_trusted() {
    let tls = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/tls");
    let read = |name: &str| std::fs::read_to_string(tls.join(name)).unwrap();
    let (certificate, key) = (read("localhost.pem"), read("localhost.key"));
    let server = Server::with(Disk::default(), None, Some((&certificate, &key)), None);
    assert!(server.url.starts_with("https://"));
    let folder = folder(3);
    let ran = folder.run(&first(&["--qdrant-url", &server.url]));
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("certificate is not trusted") && ran.err.contains("SSL_CERT_FILE"), "{ran:?}");
    for args in [&first(&["--qdrant-url", &server.url])[..], &["search", "balo"]] {
        let trusting = folder.command(args).env("SSL_CERT_FILE", tls.join("authority.pem")).output().unwrap();
        let ran = Ran::of(trusting);
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }
    // Plain words to a server that speaks TLS.
    let plain = server.url.replace("https", "http");
    let ran = folder.run(&["search", "balo", "--qdrant-url", &plain]);
    assert!(ran.code == Some(1) && ran.err.contains("hint: "), "{ran:?}");
}

#[test]
fn what_is_no_address_is_refused_before_anything_is_made() {
    let folder = folder(1);
    insta::assert_snapshot!(folder.shown(&first(&["--qdrant-url", "localhost:6334"])), @r#"
    exit 1
    -- stderr
    error: `localhost:6334` is no address of a Qdrant server: it takes http:// or https://, a host, and a port
    hint: such as http://localhost:6334
    "#);
    assert!(!folder.at(".incontext/collections/default").exists());
}

#[test]
fn what_answers_but_is_no_qdrant_is_told_apart() {
    let other = crate::mock::Server::start(|_, _| crate::mock::Reply::error("400 Bad Request", "what?"));
    let folder = folder(1);
    let url = other.url.trim_end_matches("/v1").to_owned();
    let ran = folder.run(&first(&["--qdrant-url", &url]));
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("does not speak gRPC") && ran.err.contains("6334"), "{ran:?}");
}
