//! What is put comes back, ids are used once, and what is gone is said.

use super::*;
use crate::text::document::{Origin, Piece};

fn manifest() -> (tempfile::TempDir, Manifest) {
    let dir = tempfile::tempdir().unwrap();
    let manifest = Manifest::create(&dir.path().join(FILE), &Profile::default()).unwrap();
    (dir, manifest)
}

fn document(path: &str) -> DocumentMeta {
    DocumentMeta {
        path: path.into(),
        hash: "ab".into(),
        size: 7,
        mtime: -5,
        format: Format::JsonLines,
        title: Some("Title".into()),
        fields: BTreeMap::from([("lang".into(), "en".into())]),
    }
}

fn chunk(ordinal: u32) -> Chunk {
    let piece = Piece { text: 0, text_len: 1, source: 0, source_len: 5 };
    Chunk {
        ordinal,
        header: "H".into(),
        text: "&".into(),
        bytes: 10..15,
        lines: (2, 3),
        tokens: 4,
        origin: if ordinal == 0 { Origin::Same } else { Origin::Pieces(vec![piece]) },
        source: (ordinal > 0).then(|| "&amp;".into()),
    }
}

fn put(path: &str, ids: &[ChunkId]) -> Entry {
    Entry::Put {
        document: document(path),
        chunks: ids.iter().zip(0..).map(|(&id, o)| (id, chunk(o))).collect(),
    }
}

#[test]
fn what_is_put_comes_back_whole() {
    let (dir, mut manifest) = manifest();
    assert!(manifest.record(&[put("a.md", &[1, 2])]).unwrap().is_empty());
    drop(manifest);
    let manifest = Manifest::open(&dir.path().join(FILE)).unwrap().unwrap();
    let known = Known { meta: document("a.md"), chunks: 2, stale: false };
    assert_eq!(manifest.documents().unwrap(), [known]);
    for (id, ordinal) in [(1, 0), (2, 1)] {
        let passage = manifest.passage(id).unwrap().unwrap();
        assert_eq!((passage.chunk, passage.path.as_str()), (chunk(ordinal), "a.md"));
        assert_eq!((passage.format, passage.title.as_deref()), (Format::JsonLines, Some("Title")));
    }
    assert_eq!(manifest.passage(3).unwrap(), None);
    assert_eq!((manifest.knows(2).unwrap(), manifest.knows(3).unwrap()), (true, false));
    let stats = Stats { documents: 1, chunks: 2, tokens: 8, bytes: 7, stale: 0 };
    assert_eq!(manifest.stats().unwrap(), stats);
    assert_eq!(manifest.profile().unwrap(), Profile::default());
}

#[test]
fn replacing_and_removing_return_the_ids_that_are_gone() {
    let (_dir, mut manifest) = manifest();
    manifest.record(&[put("a", &[1, 2]), put("b", &[3])]).unwrap();
    assert_eq!(manifest.record(&[put("a", &[4])]).unwrap(), [1, 2]);
    assert_eq!(manifest.record(&[Entry::Remove { path: "b".into() }]).unwrap(), [3]);
    assert!(manifest.record(&[Entry::Remove { path: "none".into() }]).unwrap().is_empty());
    manifest.record(&[Entry::Touch { path: "a".into(), size: 9, mtime: 8 }]).unwrap();
    assert_eq!(manifest.ids().unwrap(), [4]);
    assert_eq!(manifest.chunks_of("a").unwrap(), [4]);
    let known = manifest.documents().unwrap();
    assert_eq!((known[0].meta.size, known[0].meta.mtime, known.len()), (9, 8, 1));
}

#[test]
fn ids_are_handed_out_once_even_across_a_reset() {
    let (dir, mut manifest) = manifest();
    assert_eq!(manifest.reserve(3).unwrap(), 1..4);
    manifest.reset(&Profile::default(), Folders { vectors: 1, words: 1 }).unwrap();
    drop(manifest);
    let mut manifest = Manifest::open(&dir.path().join(FILE)).unwrap().unwrap();
    assert_eq!(manifest.reserve(2).unwrap(), 4..6);
    assert_eq!(manifest.folders().unwrap(), Folders { vectors: 1, words: 1 });
}

#[test]
fn a_document_with_lost_chunks_is_stale_until_it_is_put_again() {
    let (_dir, mut manifest) = manifest();
    manifest.record(&[put("a", &[1, 2]), put("b", &[3])]).unwrap();
    assert_eq!(manifest.mark_stale(&[1, 2, 99]).unwrap(), 1);
    assert_eq!(manifest.documents().unwrap().iter().map(|d| d.stale).collect::<Vec<_>>(), [true, false]);
    manifest.record(&[put("a", &[4])]).unwrap();
    assert_eq!(manifest.stats().unwrap().stale, 0);
}

#[test]
fn a_later_layout_and_a_file_that_is_none_are_refused() {
    let (dir, manifest) = manifest();
    manifest.connection.pragma_update(None, "user_version", 99).unwrap();
    drop(manifest);
    let error = Manifest::open(&dir.path().join(FILE)).map(drop).unwrap_err();
    assert!(matches!(error, Error::Mismatch(_)) && error.to_string().contains("layout 99"), "{error}");
    let other = dir.path().join("other");
    std::fs::write(&other, "not a database, but long enough to be looked at").unwrap();
    assert!(matches!(Manifest::open(&other).map(drop), Err(Error::Corrupt(_))));
    assert!(Manifest::open(&dir.path().join("none")).unwrap().is_none());
}
