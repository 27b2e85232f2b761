//! Truth under change: whatever was done to a tree of files, and however often it was ingested meanwhile, the index is
//! the one that a first ingest of the tree as it stands now would make.
//!
//! Histories are random (`PROPTEST_CASES=500` for more of them): files are written, edited, moved, copied, deleted,
//! touched, swapped for twins, spoiled, and hidden by `.gitignore`. Of a collection everything that a reader can see is
//! compared, but for the ids of chunks and the dates of files, which depend on history and mean nothing.

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use candle_core::Device;
use incontext::Error;
use incontext::embed::{Embedder, LocalEncoder};
use incontext::engine::ingest::{Ingest, MAX_FILE, Summary};
use incontext::engine::search::{Mode, Query, search};
use incontext::index::{Collection, Home, Patience, Profile};
use incontext::text::chunk::Chunk;
use incontext::text::document::Format;
use incontext::text::load::Readers;
use proptest::prelude::*;
use tempfile::TempDir;

use crate::tiny;

/// Names of files in every shape of trouble: one content under several formats, folders in folders, and a folder that
/// may at any time be a file (`box.md`).
const PATHS: [&str; 9] = [
    "a.md",
    "b.txt",
    "c.html",
    "list.jsonl",
    "sub/a.md",
    "sub/d.txt",
    "sub/deep/e.md",
    "box.md/f.md",
    "box.md",
];
const RULES: [&str; 4] = ["", "sub/\n", "*.txt\n!sub/*.txt\n", "a.md\nbox.md\n"];
const HISTORIES: u32 = 24;

#[derive(Debug, Clone)]
enum Edit {
    /// `ahead`: dated in the future, where no later edit changes the date.
    Write {
        at: usize,
        text: usize,
        ahead: bool,
    },
    /// Another word in the place of one, and nothing else that a file's size could tell.
    KeepingSize {
        at: usize,
        word: usize,
    },
    Move {
        from: usize,
        to: usize,
    },
    Copy {
        from: usize,
        to: usize,
    },
    Delete {
        at: usize,
    },
    DeleteFolder,
    Touch {
        at: usize,
    },
    Twin {
        at: usize,
    },
    Spoil {
        at: usize,
    },
    Empty {
        at: usize,
    },
    Rules {
        rules: usize,
    },
    Ingest,
    /// An ingest that is stopped when it has said so many things.
    Stopped {
        after: usize,
    },
}

fn edit() -> impl Strategy<Value = Edit> {
    let at = 0..PATHS.len();
    prop_oneof![
        5 => (at.clone(), 0..8_usize, any::<bool>()).prop_map(|(at, text, ahead)| Edit::Write { at, text, ahead }),
        3 => (at.clone(), 0..300_usize).prop_map(|(at, word)| Edit::KeepingSize { at, word }),
        3 => (at.clone(), at.clone()).prop_map(|(from, to)| Edit::Move { from, to }),
        3 => (at.clone(), at.clone()).prop_map(|(from, to)| Edit::Copy { from, to }),
        2 => at.clone().prop_map(|at| Edit::Delete { at }),
        1 => Just(Edit::DeleteFolder),
        1 => at.clone().prop_map(|at| Edit::Touch { at }),
        1 => at.clone().prop_map(|at| Edit::Twin { at }),
        1 => at.clone().prop_map(|at| Edit::Spoil { at }),
        1 => at.prop_map(|at| Edit::Empty { at }),
        1 => (0..RULES.len()).prop_map(|rules| Edit::Rules { rules }),
        4 => Just(Edit::Ingest),
        1 => (0..6_usize).prop_map(|after| Edit::Stopped { after }),
    ]
}

/// What a file of that name says in its `text`-th version.
fn content(name: &str, text: usize) -> String {
    let sentence = |number: usize| {
        let words: Vec<_> = (0..8).map(|at| tiny::word(text * 31 + number * 7 + at * (1 + number))).collect();
        format!("{}.", words.join(" "))
    };
    let sections: Vec<String> = (0..1 + text % 4)
        .map(|section| {
            let body = (0..3 + text % 3).map(|at| sentence(section * 5 + at)).collect::<Vec<_>>().join(" ");
            format!("## {}\n\n{body}\n", tiny::word(text + section))
        })
        .collect();
    match Path::new(name).extension().and_then(|ending| ending.to_str()) {
        Some("html") => format!("<title>{}</title><p>{}</p>", tiny::word(text), sections.join("</p><p>")),
        // Some lines are none, so that a file has flaws and documents at once.
        Some("jsonl") => {
            let line =
                |at: usize| format!("{{\"title\": \"{}\", \"text\": \"{}\"}}", tiny::word(at), sentence(at));
            let bad = if text.is_multiple_of(3) { "{oops\n" } else { "" };
            format!("{}\n{bad}{}\n", line(text), line(text + 1))
        }
        _ if text.is_multiple_of(2) => format!("---\nversion: {text}\n---\n{}", sections.join("\n")),
        _ => sections.join("\n"),
    }
}

/// The tree, its encoder, and two homes beside it.
struct World {
    dir: TempDir,
    embedder: Embedder,
    ahead: SystemTime,
    /// Homes lie in the tree itself, which is the working folder then.
    inside: bool,
}

impl World {
    fn new(inside: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("notes")).unwrap();
        let encoder = tiny::encoder(&dir.path().join("tiny"), 0);
        let embedder = Embedder::Local(LocalEncoder::load("tiny", &encoder, &Device::Cpu).unwrap());
        Self { dir, embedder, ahead: SystemTime::now() + Duration::from_secs(86_400), inside }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join("notes").join(name)
    }

    fn home(&self, name: &str) -> Home {
        let root = if self.inside { self.at("") } else { self.dir.path().to_owned() };
        Home::locate(Some(&root.join(format!(".{name}"))), &root)
    }

    fn ingest(&self, home: &str, mut events: usize) -> Result<Summary, Error> {
        let job = Ingest {
            home: &self.home(home),
            collection: "default",
            paths: &[self.dir.path().join("notes")],
            gone: &[],
            profile: Profile::parse(tiny::PROFILE).unwrap(),
            embedder: &self.embedder,
            rebuild: false,
            readers: &Readers::default(),
            max_file: MAX_FILE,
        };
        job.run(Patience::default(), |_| match events.checked_sub(1) {
            Some(left) => {
                events = left;
                ControlFlow::Continue(())
            }
            None => ControlFlow::Break(()),
        })
    }

    /// Makes room for a file of that name: what lies in its way goes.
    fn room(&self, name: &str) -> PathBuf {
        let path = self.at(name);
        let folder = path.parent().unwrap();
        if folder.is_file() {
            fs::remove_file(folder).unwrap();
        }
        if path.is_dir() {
            fs::remove_dir_all(&path).unwrap();
        }
        fs::create_dir_all(folder).unwrap();
        path
    }

    fn write(&self, name: &str, bytes: &[u8], ahead: bool) {
        let path = self.room(name);
        fs::write(&path, bytes).unwrap();
        if ahead {
            date(&path, self.ahead);
        }
    }

    fn apply(&self, edit: &Edit) {
        let there = |at: usize| Some(self.at(PATHS[at])).filter(|path| path.is_file());
        match *edit {
            Edit::Write { at, text, ahead } => {
                self.write(PATHS[at], content(PATHS[at], text).as_bytes(), ahead)
            }
            Edit::KeepingSize { at, word } => {
                let Some(path) = there(at) else { return };
                let before = fs::metadata(&path).unwrap().modified().unwrap();
                let Ok(text) = fs::read_to_string(&path) else { return };
                // All words of the vocabulary have as many letters.
                let Some(found) = (0..300).map(tiny::word).find(|word| text.contains(word.as_str())) else {
                    return;
                };
                fs::write(&path, text.replacen(&found, &tiny::word(word), 1)).unwrap();
                if before == self.ahead {
                    date(&path, before);
                }
            }
            Edit::Move { from, to } => {
                let Some(path) = there(from) else { return };
                let aside = self.dir.path().join("aside");
                fs::rename(&path, &aside).unwrap();
                fs::rename(&aside, self.room(PATHS[to])).unwrap();
            }
            Edit::Copy { from, to } => {
                let Some(path) = there(from) else { return };
                let bytes = fs::read(path).unwrap();
                self.write(PATHS[to], &bytes, false);
            }
            Edit::Delete { at } => {
                there(at).into_iter().for_each(|path| fs::remove_file(path).unwrap());
            }
            Edit::DeleteFolder => {
                let _ = fs::remove_dir_all(self.at("sub"));
            }
            Edit::Touch { at } => {
                let then = SystemTime::now() - Duration::from_secs(4000 + at as u64);
                there(at).into_iter().for_each(|path| date(&path, then));
            }
            Edit::Twin { at } => {
                let Some(path) = there(at) else { return };
                let aside = self.dir.path().join("aside");
                fs::copy(&path, &aside).unwrap();
                fs::rename(&aside, &path).unwrap();
            }
            Edit::Spoil { at } => {
                there(at).into_iter().for_each(|path| fs::write(path, b"\xff\xfe not text").unwrap());
            }
            Edit::Empty { at } => there(at).into_iter().for_each(|path| fs::write(path, "").unwrap()),
            Edit::Rules { rules } => fs::write(self.at(".gitignore"), RULES[rules]).unwrap(),
            Edit::Ingest => {
                self.ingest("used", usize::MAX).unwrap();
            }
            Edit::Stopped { after } => match self.ingest("used", after) {
                Ok(_) | Err(Error::Interrupted(_)) => {}
                Err(error) => panic!("{error}"),
            },
        }
    }

    /// All that can be seen of the collection in the home of that name; `None` where nothing made one.
    fn seen(&self, home: &str) -> Option<Seen> {
        let collection = match Collection::open(&self.home(home).collection("default").unwrap()) {
            Err(Error::NotFound(_)) => return None,
            opened => opened.unwrap(),
        };
        let reader = collection.read(Patience::default()).unwrap();
        let agreement = reader.verify().unwrap();
        assert!(agreement.agrees(), "{home}: {agreement:?}");
        let known = reader.documents().unwrap();
        let mut names = BTreeMap::new();
        let (mut chunks, mut vectors) = (Vec::new(), Vec::new());
        for document in &known {
            let ids = reader.chunks_of(&document.meta.path).unwrap();
            for (passage, vector) in
                reader.passages(&ids).unwrap().into_iter().zip(reader.vectors(&ids).unwrap())
            {
                names.insert(passage.id, (passage.path.clone(), passage.chunk.ordinal));
                chunks.push((passage.path, passage.title, passage.chunk));
                vectors.push(vector.expect("a vector for every chunk"));
            }
        }
        let all = names.len() + 1;
        let questions =
            [[3, 4, 5], [31, 40, 38], [62, 65, 93], [200, 124, 155]].map(|numbers| numbers.map(tiny::word));
        let mut ranked = Vec::new();
        for mode in [Mode::Dense, Mode::Lexical, Mode::Hybrid] {
            for question in questions.iter().map(|words| words.join(" ")) {
                let query = Query::new(&question, mode, Some(&self.embedder)).unwrap();
                let found = search(&reader, &collection.profile().fusion, &query, all).unwrap();
                let scores = found.ranked.iter().map(|(id, score, _)| (names[id].clone(), *score));
                ranked.push((format!("{question} by {mode:?}"), scores.collect()));
            }
        }
        let every: String = (0..300).map(|number| tiny::word(number) + " ").collect();
        let documents = known.into_iter().map(|document| {
            assert!(!document.stale);
            let meta = document.meta;
            (meta.path, meta.hash, meta.size, meta.format, meta.title, meta.fields, document.chunks)
        });
        Some(Seen {
            documents: documents.collect(),
            chunks,
            vectors,
            statistics: (reader.stats().unwrap().chunks, reader.query_terms(&every).unwrap()),
            ranked,
        })
    }

    /// The index that was used equals a fresh one of the tree as it is.
    fn holds(&self, history: &[Edit]) {
        let used = self.ingest("used", usize::MAX).unwrap();
        let fresh = self.ingest("fresh", usize::MAX).unwrap();
        let counted = |summary: Summary| {
            (summary.added + summary.updated + summary.unchanged, summary.failed, summary.skipped)
        };
        match (self.seen("used"), self.seen("fresh")) {
            // A collection that once held something is not removed with its last document.
            (used, None) => assert!(used.is_none_or(|used| used.documents.is_empty()), "{history:?}"),
            (None, Some(_)) => panic!("no collection: {history:?}"),
            (Some(ours), Some(reference)) => {
                ours.assert_same(&reference, &format!("{history:?}"));
                let (documents, failed, skipped) = counted(used);
                // A file that cannot be read is counted as failed, and is no document.
                assert!(documents >= ours.documents.len(), "{used:?}");
                assert_eq!((failed, skipped), (fresh.failed, fresh.skipped), "{history:?}");
            }
        }
        let _ = fs::remove_dir_all(self.home("fresh").dir());
    }
}

type Shown = (String, String, u64, Format, Option<String>, BTreeMap<String, String>, u32);
/// A chunk by its document and its place in it.
type Place = (String, u32);

struct Seen {
    documents: Vec<Shown>,
    chunks: Vec<(String, Option<String>, Chunk)>,
    vectors: Vec<Vec<f32>>,
    /// How many chunks, and how rare each word is.
    statistics: (u64, Vec<(String, f32)>),
    /// By question; chunks of one score may stand in either order.
    ranked: Vec<(String, BTreeMap<Place, f32>)>,
}

impl Seen {
    fn assert_same(&self, reference: &Self, history: &str) {
        assert_eq!(self.documents, reference.documents, "{history}");
        assert_eq!(self.chunks, reference.chunks, "{history}");
        assert_eq!(self.statistics, reference.statistics, "{history}");
        let close = |a: f32, b: f32| (a - b).abs() <= 1e-5 * a.abs().max(1.0);
        assert_eq!(self.vectors.len(), reference.vectors.len(), "{history}");
        for (ours, theirs) in self.vectors.iter().zip(&reference.vectors) {
            assert!(ours.iter().zip(theirs).all(|(a, b)| (a - b).abs() <= 1e-6), "vectors: {history}");
        }
        for ((question, ours), (_, theirs)) in self.ranked.iter().zip(&reference.ranked) {
            let places = |found: &BTreeMap<Place, f32>| found.keys().cloned().collect::<Vec<_>>();
            assert_eq!(places(ours), places(theirs), "{question}: {history}");
            for (place, score) in ours {
                assert!(close(*score, theirs[place]), "{question}, {place:?}: {history}");
            }
        }
    }
}

fn date(path: &Path, date: SystemTime) {
    fs::File::options().write(true).open(path).unwrap().set_modified(date).unwrap();
}

fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    ProptestConfig {
        cases: cases.unwrap_or(HISTORIES),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn after_any_history_the_index_is_that_of_the_tree_as_it_is(history in prop::collection::vec(edit(), 1..24), inside: bool) {
        let world = World::new(inside);
        history.iter().for_each(|edit| world.apply(edit));
        world.holds(&history);
    }
}

#[test]
fn of_two_files_that_say_the_same_one_may_go_and_the_other_stays() {
    let world = World::new(false);
    let history = [
        Edit::Write { at: 0, text: 3, ahead: false },
        Edit::Ingest,
        Edit::Copy { from: 0, to: 6 },
        Edit::Ingest,
        Edit::Delete { at: 0 },
    ];
    history.iter().for_each(|edit| world.apply(edit));
    world.holds(&history);
    assert_eq!(world.seen("used").unwrap().documents[0].0, "notes/sub/deep/e.md");
}

/// A date tells edits apart only as finely as the file system counts, which may be two seconds: what was edited twice
/// within that, the second time after it was ingested and without another size, was taken for unchanged for ever.
#[test]
fn an_edit_that_changes_neither_size_nor_date_is_seen_while_the_date_is_young() {
    let world = World::new(false);
    world.write("a.md", b"tea", true);
    assert_eq!(world.ingest("used", usize::MAX).unwrap().added, 1);
    world.write("a.md", b"pea", true);
    assert_eq!(world.ingest("used", usize::MAX).unwrap().updated, 1);
    world.holds(&[]);
    // Once the date is old, nothing that happens from now on can be given it: the file need not be read.
    date(&world.at("a.md"), SystemTime::now() - Duration::from_secs(60));
    world.ingest("used", usize::MAX).unwrap();
    let collection = Collection::open(&world.home("used").collection("default").unwrap()).unwrap();
    let recorded = collection.read(Patience::default()).unwrap().documents().unwrap()[0].meta.mtime;
    let there = fs::metadata(world.at("a.md")).unwrap().modified().unwrap();
    assert_eq!(
        i128::from(recorded),
        there.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos() as i128
    );
}
