//! `kill -9`, or a plain `kill`, in the middle of an ingest; and two processes on one index.
//!
//! What a killed run leaves behind must be searchable at once, be made whole by the next writer, and end up as the very
//! index a run that was never killed makes. More kills than usual: `INCONTEXT_KILLS=200`; other moments:
//! `INCONTEXT_KILL_SEED=7`.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use incontext::Error;
use incontext::index::{Collection, Known, Patience, Reader, Writer};
use incontext::text::chunk::Chunk;

use crate::run::{Folder, Ran};
use crate::tiny;

const DOCUMENTS: usize = 40;

/// A corpus of several batches, an encoder and a profile.
fn corpus() -> Folder {
    let folder = Folder::new();
    tiny::encoder(&folder.at("tiny"), 0);
    folder.write("profile.toml", tiny::PROFILE);
    for document in 0..DOCUMENTS {
        let name = format!("docs/{document:02}.html");
        folder.write(&name, &text(document));
        // Younger dates are not recorded, so what is recorded would depend on how fast this machine is.
        let file = std::fs::File::options().write(true).open(folder.at(&name)).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(60)).unwrap();
    }
    folder
}

/// A page of some six thousand bytes, most of them no text: batches are cut by bytes, and embedding is not what is tested.
fn text(document: usize) -> String {
    let sentence = |number: usize| {
        let start = document * 37 + number * 11;
        let words: Vec<_> = (0..9).map(|at| tiny::word(start + at * (1 + number % 7))).collect();
        format!("{} {}. ", words.join(" "), number)
    };
    let section = |section: usize| {
        let sentences: String = (section * 8..(section + 1) * 8).map(sentence).collect();
        format!("<h2>{}</h2>\n<p>{sentences}</p>\n", tiny::word(document + section))
    };
    let sections: String = (0..3).map(section).collect();
    format!("<h1>{}</h1>\n{sections}<script>{}</script>\n", tiny::word(document), "var a = 1;\n".repeat(400))
}

fn ingest(folder: &Folder, home: &str, paths: &[&str]) -> Command {
    let options = ["--home", home, "--embedder", "tiny", "--profile", "profile.toml"];
    folder.command(&[&["ingest"], paths, &options].concat())
}

fn collection_dir(folder: &Folder, home: &str) -> PathBuf {
    folder.at(home).join("collections/default")
}

/// Everything an index holds, but for the ids, which depend on its history.
#[derive(Debug, PartialEq)]
struct Contents {
    documents: Vec<Known>,
    chunks: Vec<(String, Chunk)>,
    vectors: Vec<Vec<f32>>,
}

fn contents(reader: &Reader) -> Contents {
    let documents = reader.documents().unwrap();
    let ids: Vec<_> =
        documents.iter().flat_map(|document| reader.chunks_of(&document.meta.path).unwrap()).collect();
    let passages = reader.passages(&ids).unwrap();
    let vectors =
        reader.vectors(&ids).unwrap().into_iter().map(|vector| vector.expect("a vector for every chunk"));
    Contents {
        documents,
        chunks: passages.into_iter().map(|passage| (passage.path, passage.chunk)).collect(),
        vectors: vectors.collect(),
    }
}

fn assert_same(ours: &Contents, reference: &Contents, when: &str) {
    assert_eq!(ours.documents, reference.documents, "{when}");
    assert_eq!(ours.chunks, reference.chunks, "{when}");
    let pairs = ours.vectors.iter().flatten().zip(reference.vectors.iter().flatten());
    assert!(pairs.clone().count() > 0 && ours.vectors.len() == reference.vectors.len(), "{when}");
    assert!(pairs.into_iter().all(|(a, b)| (a - b).abs() <= 1e-6), "{when}: vectors differ");
}

fn read(dir: &Path) -> Reader {
    Collection::open(dir).unwrap().read(Patience::default()).unwrap()
}

/// No hit of either store is a chunk that the manifest does not know. Returns how many documents there are.
fn assert_readable(dir: &Path, when: &str) -> usize {
    let reader = read(dir);
    let documents = reader.documents().unwrap_or_else(|e| panic!("{when}: {e}")).len();
    let question = [tiny::word(3), tiny::word(40), tiny::word(111)].join(" ");
    let vector: Vec<f32> = (0..48).map(|at| (at as f32).sin()).collect();
    for (leg, hits) in [("dense", reader.dense(&vector, 5000)), ("lexical", reader.lexical(&question, 5000))]
    {
        match hits {
            Ok(hits) => {
                let ids: Vec<_> = hits.iter().map(|hit| hit.0).collect();
                assert_eq!(reader.passages(&ids).unwrap().len(), ids.len(), "{when}: {leg} knows too much");
            }
            // Before the first batch there may be no folder to search, and nothing that could be found.
            Err(error) => assert!(documents == 0, "{when}: {leg}: {error}"),
        }
    }
    documents
}

/// The next of a sequence of numbers that look random (splitmix64), from 0 to 1.
fn random(state: &mut u64) -> f64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |value| value.parse().expect(variable))
}

#[test]
fn an_ingest_killed_at_any_moment_leaves_nothing_behind_that_a_second_run_does_not_mend() {
    let folder = corpus();
    let start = Instant::now();
    let ran = Ran::of(ingest(&folder, "whole", &["docs"]).output().unwrap());
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    let mut duration = start.elapsed();
    let reference = contents(&read(&collection_dir(&folder, "whole")));
    assert_eq!(reference.documents.len(), DOCUMENTS);

    let kills = number("INCONTEXT_KILLS", 12);
    let mut state = number("INCONTEXT_KILL_SEED", 1);
    let (mut early, mut partial, mut late) = (0, 0, 0);
    for kill in 0..kills {
        // One kill in each slice of the run, so that all phases are met.
        let delay = duration.mul_f64((kill as f64 + random(&mut state)) / kills as f64);
        let when = format!("killed after {delay:?} of {duration:?} (number {kill})");
        let home = format!("killed-{kill}");
        let start = Instant::now();
        let child = ingest(&folder, &home, &["docs"]).spawn().unwrap();
        sleep(delay);
        // What an impatient person sends, and what a machine that goes down sends first.
        let signal = if kill % 2 == 0 { "KILL" } else { "TERM" };
        let id = child.id().to_string();
        Command::new("kill").args(["-s", signal, &id]).status().unwrap();
        let ended = Ran::of(child.wait_with_output().unwrap());
        if ended.code == Some(0) {
            // The machine is less busy than when the whole run was measured.
            duration = duration.min(start.elapsed());
        }

        let dir = collection_dir(&folder, &home);
        match Collection::open(&dir) {
            Err(Error::NotFound(_)) => early += 1,
            Err(error) => panic!("{when}: {error}"),
            Ok(collection) => {
                match assert_readable(&dir, &when) {
                    DOCUMENTS => late += 1,
                    _ => partial += 1,
                }
                assert_search(&folder, &home, &when);
                let writer = Writer::open(&dir, collection.profile(), false, Patience::default());
                drop(writer.unwrap_or_else(|e| panic!("{when}: {e}")));
                let agreement = read(&dir).verify().unwrap();
                assert!(agreement.agrees(), "{when}: {agreement:?}");
            }
        }
        let again = Ran::of(ingest(&folder, &home, &["docs"]).output().unwrap());
        assert_eq!(again.code, Some(0), "{when}: {again:#?}");
        let reader = read(&dir);
        assert!(reader.verify().unwrap().agrees(), "{when}");
        assert_same(&contents(&reader), &reference, &when);
        drop(reader);
        std::fs::remove_dir_all(folder.at(&home)).unwrap();
    }
    eprintln!(
        "{kills} kills: {early} before there was a collection, {partial} in the middle, {late} after the last batch"
    );
    assert!(early + partial > 0, "no run was killed before it was done");
}

/// `search` finds what there is, or says that there is nothing.
fn assert_search(folder: &Folder, home: &str, when: &str) {
    let ran = folder.run(&["search", &tiny::word(3), "--home", home]);
    assert!(matches!(ran.code, Some(0 | 3)), "{when}: {ran:#?}");
}

/// A file that is read when the test says so: whoever ingests it waits in the middle of its work.
fn slow_file(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

#[test]
fn a_second_writer_waits_and_names_the_first_while_readers_go_on() {
    let folder = corpus();
    folder.write("more/a.html", &text(100));
    slow_file(&folder.at("zz.html"));
    let first = ingest(&folder, "home", &["docs", "zz.html"]).spawn().unwrap();
    let dir = collection_dir(&folder, "home");
    until(|| Collection::open(&dir).is_ok_and(|collection| documents(&collection) > 0));

    let mut second = ingest(&folder, "home", &["more"]).spawn().unwrap();
    let said = first_line(&mut second);
    assert!(said.contains(&format!("process {} ", first.id())), "{said}");
    assert!(said.contains("ingest docs zz.html"), "{said}");
    let found = folder.ok(&["search", &tiny::word(3), "--home", "home", "--json"]);
    assert!(!found.json()["hits"].as_array().unwrap().is_empty());
    assert!(second.try_wait().unwrap().is_none(), "it waits");

    let mut slow = std::fs::OpenOptions::new().write(true).open(folder.at("zz.html")).unwrap();
    slow.write_all(text(101).as_bytes()).unwrap();
    drop(slow);
    for writer in [first, second] {
        let ran = Ran::of(writer.wait_with_output().unwrap());
        assert_eq!(ran.code, Some(0), "{ran:#?}");
    }
    let reader = read(&dir);
    assert!(reader.verify().unwrap().agrees());
    let paths: Vec<String> =
        reader.documents().unwrap().into_iter().map(|document| document.meta.path).collect();
    assert_eq!(paths.len(), DOCUMENTS + 2);
    assert!(
        ["docs/00.html", "more/a.html", "zz.html"].iter().all(|path| paths.iter().any(|there| there == path))
    );
}

fn documents(collection: &Collection) -> usize {
    collection.read(Patience::default()).and_then(|reader| reader.documents()).map_or(0, |found| found.len())
}

fn until(holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(60), "it never came");
        sleep(Duration::from_millis(20));
    }
}

fn first_line(child: &mut Child) -> String {
    let mut line = String::new();
    BufReader::new(child.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
    line
}
