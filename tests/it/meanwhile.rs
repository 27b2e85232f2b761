//! Searching while documents are replaced: of each document a reader sees the old chunks or the new ones, all of them,
//! never some of each and never none.
//!
//! Every chunk of a document names the document's version and how many chunks that version has.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use candle_core::Device;
use incontext::embed::{Embedder, LocalEncoder};
use incontext::engine::ingest::{Ingest, MAX_FILE};
use incontext::engine::search::{Mode, Query, search};
use incontext::index::{Collection, Home, Patience, Profile};
use incontext::text::load::Readers;

use crate::run::{Folder, Ran};
use crate::tiny;

const DOCUMENTS: usize = 6;
const VERSIONS: usize = 8;

/// `chunks` sections, each too long to share a chunk with another: 3 to 5, as the version has it.
fn document(number: usize, version: usize) -> String {
    let chunks = 3 + (number + version) % 3;
    let section = |section: usize| {
        let words: Vec<_> = (0..30).map(|at| tiny::word(number * 50 + section * 9 + at)).collect();
        format!("## {}\n\nversion {version} of {chunks} balo {}.\n", tiny::word(section), words.join(" "))
    };
    (0..chunks).map(section).collect()
}

fn write_all(folder: &Folder, version: usize) {
    for number in 0..DOCUMENTS {
        folder.write(&format!("notes/{number}.md"), &document(number, version));
    }
}

/// Which version `texts`, all chunks that were seen of one document, are; all of them, or it is a mixture.
fn version<'a>(texts: impl Iterator<Item = &'a str>, path: &str) -> usize {
    let numbers = |text: &str| {
        let mut words = text.split("version ").nth(1).expect("each chunk names it").split(' ');
        let version: usize = words.next().unwrap().parse().unwrap();
        (version, words.nth(1).unwrap().parse::<usize>().unwrap())
    };
    let seen: Vec<_> = texts.map(numbers).collect();
    let (version, chunks) = *seen.first().unwrap_or_else(|| panic!("{path} is not to be seen"));
    assert_eq!(seen, vec![(version, chunks); chunks], "{path} is a mixture");
    version
}

fn by_document<'a>(hits: impl Iterator<Item = (&'a str, &'a str)>) -> BTreeMap<&'a str, Vec<&'a str>> {
    let mut documents: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    hits.for_each(|(path, text)| documents.entry(path).or_default().push(text));
    documents
}

fn assert_whole(documents: &BTreeMap<&str, Vec<&str>>) -> usize {
    assert_eq!(documents.len(), DOCUMENTS, "{documents:#?}");
    documents.iter().map(|(path, texts)| version(texts.iter().copied(), path)).max().unwrap()
}

#[test]
fn a_reader_sees_each_document_as_it_was_or_as_it_is() {
    let folder = Folder::new();
    let encoder = tiny::encoder(&folder.at("tiny"), 0);
    let embedder = Embedder::Local(LocalEncoder::load("tiny", &encoder, &Device::Cpu).unwrap());
    let home = Home::locate(Some(&folder.at(".incontext")), folder.path());
    let notes = [folder.at("notes")];
    let ingest = || {
        let profile = Profile::parse(tiny::PROFILE).unwrap();
        let (readers, embedder) = (&Readers::default(), &embedder);
        let job = Ingest {
            home: &home,
            collection: "default",
            paths: &notes,
            gone: &[],
            profile,
            embedder,
            rebuild: false,
            readers,
            max_file: MAX_FILE,
        };
        job.run(Patience::default(), |_| ControlFlow::Continue(())).unwrap()
    };
    write_all(&folder, 0);
    assert_eq!(ingest().added, DOCUMENTS);
    let dir = home.collection("default").unwrap();
    let (done, looked) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for mode in [Mode::Lexical, Mode::Hybrid] {
            let (done, looked, dir, embedder) = (&done, &looked, &dir, &embedder);
            scope.spawn(move || {
                let mut newest = 0;
                while !done.load(Ordering::Relaxed) {
                    let collection = Collection::open(dir).unwrap();
                    let query = Query::new("balo version", mode, Some(embedder)).unwrap();
                    let reader = collection.read(Patience::default()).unwrap();
                    let all = reader.stats().unwrap().chunks as usize;
                    let found = search(&reader, &collection.profile().fusion, &query, all).unwrap();
                    let hits = found.hits(&reader, all).unwrap();
                    let hits = hits.iter().map(|hit| (&*hit.passage.path, &*hit.passage.chunk.text));
                    let found = assert_whole(&by_document(hits));
                    assert!(found >= newest, "{found} after {newest}");
                    newest = found;
                    // What is opened by path has to be the same.
                    for number in 0..DOCUMENTS {
                        let path = format!("notes/{number}.md");
                        let passages = reader.passages(&reader.chunks_of(&path).unwrap()).unwrap();
                        version(passages.iter().map(|passage| &*passage.chunk.text), &path);
                    }
                    looked.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let replaced = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for version in 1..=VERSIONS {
                write_all(&folder, version);
                let before = looked.load(Ordering::Relaxed);
                assert_eq!(ingest().updated, DOCUMENTS);
                // However fast this is: somebody has looked between two of them.
                let start = Instant::now();
                while looked.load(Ordering::Relaxed) < before + 2 {
                    assert!(start.elapsed() < Duration::from_secs(60), "nobody looks");
                    thread::sleep(Duration::from_millis(1));
                }
            }
        }));
        done.store(true, Ordering::Relaxed);
        replaced.unwrap();
    });
    assert!(looked.load(Ordering::Relaxed) >= 2 * VERSIONS);
}

#[test]
fn so_does_a_search_beside_an_ingest_of_another_process() {
    let folder = Folder::new();
    tiny::encoder(&folder.at("tiny"), 0);
    folder.write("profile.toml", tiny::PROFILE);
    let ingest = ["ingest", "notes", "--embedder", "./tiny", "--profile", "profile.toml", "--quiet"];
    write_all(&folder, 0);
    folder.ok(&ingest);
    for version in 1..4 {
        write_all(&folder, version);
        let mut child = folder.command(&ingest).spawn().unwrap();
        let mut going = true;
        while going {
            going = child.try_wait().unwrap().is_none();
            let found =
                folder.ok(&["search", "balo version", "--mode", "lexical", "-k", "100", "--json"]).json();
            let hits = found["hits"].as_array().unwrap();
            let text = |key: &str, hit: &'_ serde_json::Value| hit[key].as_str().unwrap().to_owned();
            let hits: Vec<_> = hits.iter().map(|hit| (text("path", hit), text("text", hit))).collect();
            let newest = assert_whole(&by_document(hits.iter().map(|(path, text)| (&**path, &**text))));
            assert!(newest <= version && (going || newest == version), "{newest} of {version}");
        }
        let ended = Ran::of(child.wait_with_output().unwrap());
        assert_eq!(ended.code, Some(0), "{ended:#?}");
    }
}
