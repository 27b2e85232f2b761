//! What a collection promises as a whole: batches happen or do not, whenever the process dies; readers see one moment;
//! and an index depends on its documents, not on how they came to be there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use proptest::prelude::*;

use super::writer::Step;
use super::*;
use crate::error::{Error, Result};
use crate::text::document::Origin;

const STEPS: [Step; 7] = [
    Step::Reserved,
    Step::VectorsAdded,
    Step::VectorsFlushed,
    Step::WordsCommitted,
    Step::Recorded,
    Step::VectorsDeleted,
    Step::WordsDeleted,
];

fn profile() -> Profile {
    let mut profile = Profile::default();
    profile.embedder.dimension = 4;
    profile
}

fn writer(dir: &Path) -> Writer {
    Writer::open(dir, &profile(), false, Patience::default()).unwrap()
}

fn reader(dir: &Path) -> Reader {
    Collection::open(dir).unwrap().read(Patience::default()).unwrap()
}

/// The document at `path` in its `version`-th edition: one to three chunks.
fn put(path: &str, version: u32) -> Change {
    let chunks = (0..=version % 3).map(|ordinal| {
        let text = format!("edition{version} of {path}, part {ordinal}: apples and pears");
        let seed = path.bytes().map(u32::from).sum::<u32>() + version * 7 + ordinal;
        let vector = (0..4).map(|i| ((seed * 13 + i * 5) as f32).sin()).collect();
        let (bytes, tokens) = (0..text.len(), 9);
        let (header, origin) = (String::new(), Origin::Same);
        (Chunk { ordinal, header, text, bytes, lines: (1, 1), tokens, origin, source: None }, vector)
    });
    Change::Put { document: meta(path, version), chunks: chunks.collect() }
}

fn meta(path: &str, version: u32) -> DocumentMeta {
    DocumentMeta {
        path: path.into(),
        hash: format!("{version:x}"),
        size: 10,
        mtime: 0,
        format: Format::Text,
        title: None,
        fields: BTreeMap::new(),
    }
}

fn remove(path: &str) -> Change {
    Change::Remove { path: path.into() }
}

/// A path, the chunk's ordinal and what was found there.
type Found = BTreeSet<(String, u32, u32)>;

/// Everything a person can see of a collection, without ids, which depend on history.
#[derive(Debug, PartialEq)]
struct Seen {
    documents: Vec<Known>,
    texts: BTreeSet<(String, u32, String)>,
    searches: Vec<Found>,
}

fn seen(reader: &Reader) -> Seen {
    let documents = reader.documents().unwrap();
    let ids: Vec<_> = documents.iter().flat_map(|d| reader.chunks_of(&d.meta.path).unwrap()).collect();
    let texts =
        reader.passages(&ids).unwrap().into_iter().map(|p| (p.path, p.chunk.ordinal, p.chunk.text)).collect();
    let named = |hits: Vec<(ChunkId, f32)>| -> Found {
        let ids: Vec<_> = hits.iter().map(|hit| hit.0).collect();
        let passages = reader.passages(&ids).unwrap();
        assert_eq!(passages.len(), hits.len(), "every hit has a passage");
        hits.iter().zip(passages).map(|(hit, p)| (p.path, p.chunk.ordinal, hit.1.to_bits())).collect()
    };
    let lexical =
        ["apples", "edition1 edition2 part 0", "a b c"].map(|q| named(reader.lexical(q, 100).unwrap()));
    let dense = [[1.0, 0.0, 0.5, 0.0], [-1.0, 0.3, 0.0, 2.0]].map(|v| named(reader.dense(&v, 100).unwrap()));
    Seen { documents, texts, searches: lexical.into_iter().chain(dense).collect() }
}

/// A collection that was never interrupted.
fn fresh(batches: impl IntoIterator<Item = Vec<Change>>) -> Seen {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = writer(dir.path());
    batches.into_iter().for_each(|batch| writer.apply(batch).unwrap());
    writer.finish().unwrap();
    let reader = reader(dir.path());
    assert!(reader.verify().unwrap().agrees());
    seen(&reader)
}

fn before() -> Vec<Change> {
    vec![put("a", 1), put("b", 2), put("c", 3)]
}

/// Adds one document, replaces one, removes one.
fn batch() -> Vec<Change> {
    vec![put("d", 4), put("a", 5), remove("b")]
}

/// What must be there after `step` was the last.
fn expected(step: Step) -> Vec<Change> {
    match step {
        Step::Reserved | Step::VectorsAdded | Step::VectorsFlushed | Step::WordsCommitted => before(),
        Step::Recorded | Step::VectorsDeleted | Step::WordsDeleted => {
            vec![put("c", 3), put("d", 4), put("a", 5)]
        }
    }
}

fn stop_at(last: Step) -> impl FnMut(Step) -> Result<()> + Send {
    move |step| if step == last { Err(Error::interrupted("here")) } else { Ok(()) }
}

#[test]
fn a_batch_that_stops_anywhere_has_happened_or_has_not() {
    for step in STEPS {
        let dir = tempfile::tempdir().unwrap();
        let mut first = writer(dir.path());
        first.apply(before()).unwrap();
        first.on_step(stop_at(step));
        first.apply(batch()).unwrap_err();
        drop(first);

        let expected = fresh([expected(step)]);
        let unrepaired = seen(&reader(dir.path()));
        assert_eq!(
            (&unrepaired.documents, &unrepaired.texts),
            (&expected.documents, &expected.texts),
            "{step:?}"
        );
        drop(writer(dir.path()));
        let repaired = reader(dir.path());
        assert!(repaired.verify().unwrap().agrees(), "{step:?}");
        assert_eq!(seen(&repaired), expected, "{step:?}");
    }
}

#[test]
fn a_writer_whose_batch_failed_cleans_up_and_goes_on() {
    for step in STEPS {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = writer(dir.path());
        writer.apply(before()).unwrap();
        writer.on_step(stop_at(step));
        writer.apply(batch()).unwrap_err();
        writer.on_step(|_| Ok(()));
        writer.apply(batch()).unwrap();
        writer.finish().unwrap();
        let reader = reader(dir.path());
        assert!(reader.verify().unwrap().agrees(), "{step:?}");
        assert_eq!(seen(&reader), fresh([before(), batch()]), "{step:?}");
    }
}

/// Not a test: the process that [`a_process_killed_anywhere_leaves_the_old_or_the_new_state`] starts and loses.
#[test]
#[ignore = "the child of another test"]
fn child_that_dies() {
    let (Some(dir), Some(step)) = (std::env::var_os("TEST_DIR"), std::env::var_os("TEST_STEP")) else {
        return;
    };
    let last = STEPS[step.to_str().and_then(|step| step.parse::<usize>().ok()).unwrap()];
    let mut writer = writer(Path::new(&dir));
    writer.on_step(move |step| if step == last { std::process::abort() } else { Ok(()) });
    writer.apply(batch()).unwrap();
}

#[test]
fn a_process_killed_anywhere_leaves_the_old_or_the_new_state() {
    for (number, step) in STEPS.into_iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        let mut first = writer(dir.path());
        first.apply(before()).unwrap();
        first.finish().unwrap();
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "index::tests::child_that_dies", "--ignored"])
            .env("TEST_DIR", dir.path())
            .env("TEST_STEP", number.to_string())
            .output()
            .unwrap();
        assert!(!child.status.success(), "it died");
        drop(writer(dir.path()));
        let reader = reader(dir.path());
        assert!(reader.verify().unwrap().agrees(), "{step:?}");
        assert_eq!(seen(&reader), fresh([expected(step)]), "{step:?}");
    }
}

#[test]
fn unchanged_documents_keep_their_chunks_and_a_touch_changes_the_date_only() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = writer(dir.path());
    writer.apply(before()).unwrap();
    let kept = reader(dir.path()).chunks_of("c").unwrap();
    writer
        .apply(vec![put("a", 2), remove("nothing"), Change::Touch { path: "c".into(), size: 10, mtime: 77 }])
        .unwrap();
    writer.apply(Vec::new()).unwrap();
    let reader = reader(dir.path());
    assert_eq!(reader.chunks_of("c").unwrap(), kept);
    assert!(reader.chunks_of("a").unwrap().iter().all(|id| !kept.contains(id)));
    assert_eq!(reader.documents().unwrap()[2].meta.mtime, 77);
    assert_eq!(reader.stats().unwrap().documents, 3);
}

#[test]
fn one_content_at_two_paths_is_two_documents() {
    let dir = tempfile::tempdir().unwrap();
    let copy = |path: &str| match put("a", 1) {
        Change::Put { document, chunks } => {
            Change::Put { document: DocumentMeta { path: path.into(), ..document }, chunks }
        }
        other => other,
    };
    let mut writer = writer(dir.path());
    writer.apply(vec![copy("a"), copy("b")]).unwrap();
    assert_eq!(reader(dir.path()).lexical("apples", 10).unwrap().len(), 4);
    writer.apply(vec![remove("a")]).unwrap();
    let reader = reader(dir.path());
    let ids: Vec<_> = reader.lexical("apples", 10).unwrap().into_iter().map(|hit| hit.0).collect();
    let paths: Vec<_> = reader.passages(&ids).unwrap().into_iter().map(|p| p.path).collect();
    assert_eq!(paths, ["b", "b"]);
    assert!(reader.verify().unwrap().agrees());
}

#[test]
fn a_path_put_twice_in_a_batch_is_the_later_one() {
    assert_eq!(fresh([vec![put("a", 1), put("a", 2)]]), fresh([vec![put("a", 2)]]));
    assert_eq!(fresh([vec![put("a", 1), remove("a"), put("b", 1)]]), fresh([vec![put("b", 1)]]));
}

#[test]
fn lost_or_damaged_stores_heal_when_their_documents_are_ingested_again() {
    let delete = |path: &Path| std::fs::remove_dir_all(path).unwrap();
    let damage = |path: &Path| std::fs::write(path.join("0/meta.json"), "{").unwrap();
    let losses = [("vectors", delete as fn(&Path)), ("words", delete), ("words", damage)];
    for (store, lose) in losses {
        let dir = tempfile::tempdir().unwrap();
        let mut first = writer(dir.path());
        first.apply(before()).unwrap();
        first.finish().unwrap();
        lose(&dir.path().join(store));
        let agreement = reader(dir.path()).verify().unwrap();
        assert!(!agreement.agrees() && agreement.chunks == 6);

        let mut second = writer(dir.path());
        assert_eq!(second.recovery(), Recovery { deleted: 0, stale: 3 });
        assert!(second.documents().unwrap().iter().all(|document| document.stale));
        second.apply(before()).unwrap();
        second.finish().unwrap();
        let reader = reader(dir.path());
        assert!(reader.verify().unwrap().agrees());
        assert_eq!(seen(&reader), fresh([before()]));
    }
}

#[test]
fn readers_see_one_moment_while_a_writer_writes() {
    let dir = tempfile::tempdir().unwrap();
    let paths = ["a", "b", "c", "d"];
    let edition = |version| paths.map(|path| put(path, version)).to_vec();
    let mut writer = writer(dir.path());
    writer.apply(edition(0)).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers = [(); 3].map(|()| {
            scope.spawn(|| {
                let mut moments = BTreeSet::new();
                while !done.load(Ordering::Relaxed) {
                    let reader = reader(dir.path());
                    let versions: BTreeSet<_> =
                        reader.documents().unwrap().into_iter().map(|d| d.meta.hash).collect();
                    assert_eq!(versions.len(), 1, "one edition at a time");
                    let seen = seen(&reader);
                    assert_eq!(seen.searches[0].len(), seen.texts.len());
                    assert_eq!(seen.searches[3].len(), seen.texts.len());
                    moments.extend(versions);
                }
                moments.len()
            })
        });
        (1..12).for_each(|version| writer.apply(edition(version)).unwrap());
        done.store(true, Ordering::Relaxed);
        let moments = readers.map(|reader| reader.join().unwrap());
        assert!(moments.iter().any(|&count| count > 1), "readers went on: {moments:?}");
    });
}

#[test]
fn a_second_writer_learns_who_the_first_is() {
    let dir = tempfile::tempdir().unwrap();
    let _first = writer(dir.path());
    let mut told = None;
    let mut notice = |holder: Option<&Holder>| told = holder.cloned();
    let patience = Patience {
        limit: Duration::from_millis(80),
        notice_after: Duration::from_millis(10),
        notice: Some(&mut notice),
    };
    let error = Writer::open(dir.path(), &profile(), false, patience).map(drop).unwrap_err();
    assert!(matches!(&error, Error::Busy(_)) && error.to_string().contains("process "), "{error}");
    assert_eq!(told.unwrap().pid, std::process::id());
}

#[test]
fn another_embedder_is_refused_until_the_collection_is_rebuilt() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = writer(dir.path());
    first.apply(before()).unwrap();
    first.finish().unwrap();
    let mut other = profile();
    other.embedder.dimension = 3;
    let refused = Writer::open(dir.path(), &other, false, Patience::default()).map(drop).unwrap_err();
    assert!(matches!(&refused, Error::Mismatch(_)) && refused.advice().unwrap().contains("--rebuild"));
    assert_eq!(reader(dir.path()).stats().unwrap().documents, 3);

    let stale = Collection::open(dir.path()).unwrap();
    drop(Writer::open(dir.path(), &other, true, Patience::default()).unwrap());
    assert!(matches!(stale.read(Patience::default()).map(drop), Err(Error::Mismatch(_))));
    let reader = reader(dir.path());
    assert_eq!(reader.stats().unwrap(), Stats::default());
    assert!(
        reader.dense(&[1.0; 3], 5).unwrap().is_empty() && reader.lexical("apples", 5).unwrap().is_empty()
    );
    assert!(reader.verify().unwrap().agrees());
}

#[test]
fn ranking_may_be_edited_and_what_is_stored_may_not() {
    let dir = tempfile::tempdir().unwrap();
    drop(writer(dir.path()));
    let path = dir.path().join("profile.toml");
    let toml = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, toml.replace("alpha = 0.5", "alpha = 0.7")).unwrap();
    assert_eq!(Collection::open(dir.path()).unwrap().profile().fusion.alpha, 0.7);
    assert_eq!(writer(dir.path()).profile().fusion.alpha, 0.7);
    std::fs::write(&path, toml.replace("overlap = 32", "overlap = 16")).unwrap();
    let error = Collection::open(dir.path()).unwrap_err();
    assert!(matches!(&error, Error::Mismatch(_)) && error.to_string().contains("profile.toml"), "{error}");
    std::fs::remove_file(&path).unwrap();
    assert_eq!(*Collection::open(dir.path()).unwrap().profile(), profile());
}

#[test]
fn a_wrong_vector_stops_its_batch_and_names_the_document() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = writer(dir.path());
    let Change::Put { document, mut chunks } = put("x", 1) else { unreachable!() };
    chunks[1].1.pop();
    let error = writer.apply(vec![put("a", 1), Change::Put { document, chunks }]).unwrap_err();
    assert!(matches!(&error, Error::Invalid(_)) && error.to_string().starts_with("`x`: "), "{error}");
    assert_eq!(reader(dir.path()).stats().unwrap().documents, 0);
}

#[test]
fn a_collection_that_is_not_there_is_not_made_by_looking() {
    let dir = tempfile::tempdir().unwrap();
    let there = dir.path().join("notes");
    let error = Collection::open(&there).unwrap_err();
    assert!(matches!(&error, Error::NotFound(_)) && error.advice().unwrap().contains("-c notes"), "{error}");
    assert!(!there.exists());
}

#[test]
fn the_graph_is_built_on_a_copy_and_finds_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let mut small = profile();
    small.vectors.exact_below = 100;
    let mut writer = Writer::open(dir.path(), &small, false, Patience::default()).unwrap();
    let many: Vec<_> = (0..600).map(|n| put(&format!("doc{n}"), 2 + 3 * n)).collect();
    writer.apply(many).unwrap();
    let before = seen(&reader(dir.path())).texts;
    writer.finish().unwrap();
    let reader = reader(dir.path());
    assert!(dir.path().join("vectors/1").is_dir() && !dir.path().join("vectors/0").exists());
    assert_eq!(seen(&reader).texts, before);
    assert!(reader.verify().unwrap().agrees());
    assert_eq!(reader.dense(&[1.0, 0.0, 0.0, 0.0], 10).unwrap().len(), 10);
}

#[derive(Debug, Clone)]
struct Round {
    batch: Vec<(u8, Option<u32>)>,
    /// Where the process dies, if it does.
    dies: Option<usize>,
}

fn rounds() -> impl Strategy<Value = Vec<Round>> {
    let change = (0u8..5, proptest::option::weighted(0.7, 0u32..9));
    let round = (proptest::collection::vec(change, 1..4), proptest::option::of(0..STEPS.len()));
    proptest::collection::vec(round.prop_map(|(batch, dies)| Round { batch, dies }), 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_history_with_any_crashes_ends_like_a_fresh_index_of_its_last_state(rounds in rounds()) {
        let dir = tempfile::tempdir().unwrap();
        let mut last: BTreeMap<String, u32> = BTreeMap::new();
        let mut open = None;
        for Round { batch, dies } in rounds {
            let path = |name: u8| format!("doc{name}");
            let changes = batch.iter().map(|&(name, version)| match version {
                Some(version) => put(&path(name), version),
                None => remove(&path(name)),
            });
            let mut current = open.take().unwrap_or_else(|| writer(dir.path()));
            if let Some(step) = dies {
                current.on_step(stop_at(STEPS[step]));
            }
            // A step may never be reached: nothing to delete, nothing to add.
            let survived = current.apply(changes.collect()).is_ok();
            let recorded = survived || dies.is_some_and(|step| matches!(
                STEPS[step], Step::Recorded | Step::VectorsDeleted | Step::WordsDeleted
            ));
            if recorded {
                for &(name, version) in &batch {
                    match version {
                        Some(version) => last.insert(path(name), version),
                        None => last.remove(&path(name)),
                    };
                }
            }
            if survived {
                current.on_step(|_| Ok(()));
                open = Some(current);
            }
        }
        open.unwrap_or_else(|| writer(dir.path())).finish().unwrap();
        let reader = reader(dir.path());
        prop_assert!(reader.verify().unwrap().agrees());
        let expected = fresh([last.iter().map(|(path, &version)| put(path, version)).collect()]);
        prop_assert_eq!(seen(&reader), expected);
    }
}
