//! What every store of vectors promises, held by all of them alike: Qdrant in this process, a Qdrant server over its own wire
//! protocol, and brute force in memory. A real server joins where `QDRANT_URL` names one (and `QDRANT_API_KEY` its key).

use std::sync::atomic::{AtomicU32, Ordering};

use incontext::Error;
use incontext::index::store::Settings;
use incontext::index::{Chosen, ChunkId, Point, Store, document_key, profile};

use crate::qdrant::Server;
use ::qdrant_client::qdrant::{
    CreateCollection, Distance, Modifier, QuantizationType, quantization_config, vectors_config,
};

/// The server that is not ours, if there is one.
pub fn real_server() -> Option<String> {
    std::env::var("QDRANT_URL").ok().filter(|url| !url.is_empty())
}

/// A name for a collection that no other test, nor other run of the tests, gives.
fn unique() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    format!("incontext-test-{now:x}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

fn on_server(url: &str, name: &str, settings: Settings, new: bool) -> Store {
    let server = profile::Server { url: url.to_owned(), ..profile::Server::default() };
    Store::server(name, &server, settings, &profile::Lexical::default(), new).unwrap()
}

const SETTINGS: Settings = Settings { dimension: 4, exact_below: 20_000 };

/// Runs the same claims over every store; the folder, and the server, outlive the store.
fn each(claim: impl Fn(Store, &mut dyn FnMut(Store) -> Store)) {
    claim(Store::memory(SETTINGS), &mut |store| store);
    let dir = tempfile::tempdir().unwrap();
    claim(Store::edge(dir.path(), SETTINGS).unwrap(), &mut |mut store| {
        store.flush().unwrap();
        drop(store);
        Store::edge(dir.path(), SETTINGS).unwrap()
    });
    each_server(|url| {
        let name = unique();
        claim(on_server(url, &name, SETTINGS, true), &mut |store| {
            drop(store);
            on_server(url, &name, SETTINGS, false)
        });
        let server = profile::Server { url: url.to_owned(), ..profile::Server::default() };
        Store::remove_from_server(&server, &name).unwrap();
    });
}

/// The server within the tests, and a real one if there is one.
fn each_server(claim: impl Fn(&str)) {
    let ours = Server::start();
    claim(&ours.url);
    assert!(ours.disk.held().collections.is_empty(), "what is removed is gone");
    if let Some(real) = real_server() {
        claim(&real);
    }
}

/// A spread of vectors, the same each time; every seventh repeats the one before it.
fn vector(seed: u64) -> Vec<f32> {
    let seed = if seed.is_multiple_of(7) { seed.saturating_sub(1) } else { seed };
    (0..4).map(|i| ((seed * 31 + i * 17) as f32 * 0.7).sin() * 3.0).collect()
}

fn fill(store: &mut Store, ids: impl IntoIterator<Item = u64>) {
    let vectors: Vec<_> = ids.into_iter().map(|id| (id, vector(id))).collect();
    let points: Vec<_> = vectors.iter().map(|(id, vector)| Point::bare(*id, vector)).collect();
    store.upsert(&points).unwrap();
}

#[test]
fn the_nearest_come_first_and_a_point_is_nearest_to_itself() {
    each(|mut store, reopen| {
        fill(&mut store, 1..=50);
        let store = reopen(store);
        let found = store.search(&vector(9), 5, false).unwrap();
        assert_eq!(found[0].0, 9);
        assert!((found[0].1 - 1.0).abs() < 1e-5);
        assert!(found.is_sorted_by(|a, b| a.1 >= b.1));
        assert_eq!(found.len(), 5);
        assert_eq!(store.search(&vector(9), 500, true).unwrap().len(), 50);
        assert_eq!(store.search(&vector(9), 0, true).unwrap(), []);
    });
}

#[test]
fn among_chosen_points_the_nearest_of_these_are_found_however_far() {
    each(|mut store, reopen| {
        fill(&mut store, 1..=300);
        let store = reopen(store);
        let all = store.search(&vector(9), 300, true).unwrap();
        let mut chosen: Vec<ChunkId> = all[250..].iter().map(|hit| hit.0).collect();
        chosen.sort_unstable();
        // One that is not there is no error.
        chosen.push(999);
        let (chosen, none) = (Chosen::Chunks(chosen), Chosen::Chunks(Vec::new()));
        for exact in [true, false] {
            let found = store.search_among(Some(&chosen), &vector(9), 10, exact).unwrap();
            assert_eq!(found, all[250..260]);
            assert_eq!(store.search_among(Some(&chosen), &vector(9), 100, exact).unwrap(), all[250..]);
            assert_eq!(store.search_among(Some(&none), &vector(9), 10, exact).unwrap(), []);
        }
    });
}

#[test]
fn equal_cosines_are_ordered_by_id_also_where_the_list_is_cut() {
    each(|mut store, _| {
        let same = [1.0, 2.0, 3.0, 4.0];
        let ids: Vec<u64> = (1..=90).rev().collect();
        let points: Vec<_> = ids.iter().map(|&id| Point::bare(id, &same)).collect();
        store.upsert(&points).unwrap();
        for k in [1, 3, 40] {
            let found: Vec<_> = store.search(&same, k, false).unwrap().iter().map(|hit| hit.0).collect();
            assert_eq!(found, (1..=k as u64).collect::<Vec<_>>());
        }
    });
}

#[test]
fn both_stores_find_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let mut stores = [Store::memory(SETTINGS), Store::edge(dir.path(), SETTINGS).unwrap()];
    for store in &mut stores {
        fill(store, 1..=300);
        store.delete(&[7, 8, 200]).unwrap();
    }
    for seed in 300..330 {
        let [oracle, edge] = [0, 1].map(|i| stores[i].search(&vector(seed), 20, false).unwrap());
        for (a, b) in oracle.iter().zip(&edge) {
            assert!((a.1 - b.1).abs() < 1e-5, "{a:?} {b:?}");
        }
        assert_eq!(oracle.len(), edge.len());
    }
    let vectors = |store: &Store| store.vectors(&[1, 8, 300]).unwrap();
    let [oracle, edge] = [0, 1].map(|i| vectors(&stores[i]));
    assert_eq!((&oracle[1], &edge[1]), (&None, &None));
    for i in [0, 2] {
        let (a, b) = (oracle[i].as_ref().unwrap(), edge[i].as_ref().unwrap());
        assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5));
    }
}

#[test]
fn ids_and_count_follow_upserts_and_deletes_across_reopening() {
    each(|mut store, reopen| {
        assert_eq!((store.ids().unwrap(), store.count().unwrap()), (vec![], 0));
        fill(&mut store, [5, 3, 9]);
        let mut store = reopen(store);
        store.delete(&[3, 77]).unwrap();
        fill(&mut store, [9, 2]);
        let mut store = reopen(store);
        store.delete(&[]).unwrap();
        store.upsert(&[]).unwrap();
        assert_eq!((store.ids().unwrap(), store.count().unwrap()), (vec![2, 5, 9], 3));
    });
}

#[test]
fn a_zero_vector_is_like_nothing_and_a_wrong_one_is_refused() {
    each(|mut store, _| {
        let points = [Point::bare(1, &[0.0; 4]), Point::bare(2, &[1.0, 0.0, 0.0, 0.0])];
        store.upsert(&points).unwrap();
        assert_eq!(store.search(&[1.0, 0.0, 0.0, 0.0], 2, true).unwrap(), [(2, 1.0), (1, 0.0)]);
        for wrong in [vec![1.0; 3], vec![f32::NAN; 4]] {
            assert!(matches!(store.upsert(&[Point::bare(3, &wrong)]), Err(Error::Invalid(_))));
            assert!(matches!(store.search(&wrong, 1, true), Err(Error::Invalid(_))));
        }
        assert_eq!(store.count().unwrap(), 2);
    });
}

#[test]
fn a_graph_is_built_above_the_limit_only_and_exact_search_still_is() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings { exact_below: 500, ..SETTINGS };
    let mut store = Store::edge(dir.path(), settings).unwrap();
    fill(&mut store, 1..=500);
    assert!(!store.wants_optimizing());
    fill(&mut store, 501..=2000);
    assert!(store.wants_optimizing());
    store.optimize().unwrap();
    assert!(!store.wants_optimizing());
    drop(store);
    let store = Store::edge(dir.path(), settings).unwrap();
    let mut oracle = Store::memory(settings);
    fill(&mut oracle, 1..=2000);
    assert_eq!(store.ids().unwrap(), oracle.ids().unwrap());
    let (found, expected) =
        (store.search(&vector(3), 10, true).unwrap(), oracle.search(&vector(3), 10, true).unwrap());
    assert!(found.iter().zip(&expected).all(|(a, b)| (a.1 - b.1).abs() < 1e-5));
    // Few of many are found over the graph, too.
    let farthest: Vec<_> = oracle.search(&vector(3), 2000, true).unwrap()[1990..].to_vec();
    let mut chosen: Vec<ChunkId> = farthest.iter().map(|hit| hit.0).collect();
    chosen.sort_unstable();
    let found = store.search_among(Some(&Chosen::Chunks(chosen)), &vector(3), 10, false).unwrap();
    assert_eq!(found.len(), 10);
    assert!(found.iter().zip(&farthest).all(|(a, b)| (a.1 - b.1).abs() < 1e-5));
}

#[test]
fn a_server_chooses_by_document_and_the_other_stores_say_that_they_cannot() {
    each_server(|url| {
        let name = unique();
        let mut store = on_server(url, &name, SETTINGS, true);
        let vectors: Vec<_> = (1..=20).map(vector).collect();
        let path = |id: u64| if id.is_multiple_of(5) { "notes/fünf.md" } else { "rest.md" };
        let points: Vec<_> = (1..)
            .zip(&vectors)
            .map(|(id, vector)| Point { id, vector, text: "tea", path: path(id) })
            .collect();
        store.upsert(&points).unwrap();
        let chosen = Chosen::Documents(vec![document_key("notes/fünf.md"), document_key("nowhere")]);
        let mut found: Vec<_> = store
            .search_among(Some(&chosen), &vector(3), 10, true)
            .unwrap()
            .iter()
            .map(|hit| hit.0)
            .collect();
        found.sort_unstable();
        assert_eq!(found, [5, 10, 15, 20]);
        let server = profile::Server { url: url.to_owned(), ..profile::Server::default() };
        Store::remove_from_server(&server, &name).unwrap();
        let memory = Store::memory(SETTINGS);
        assert!(matches!(memory.search_among(Some(&chosen), &vector(3), 1, true), Err(Error::Invalid(_))));
    });
}

// The fields that say where vectors lie have got successors that older servers do not know.
#[allow(deprecated)]
#[test]
fn a_collection_is_made_on_a_server_as_its_profile_says() {
    let ours = Server::start();
    let server = profile::Server {
        url: ours.url.clone(),
        shard_number: 6,
        replication_factor: 2,
        quantization: profile::Quantization::Scalar,
        ..profile::Server::default()
    };
    let settings = Settings { dimension: 384, exact_below: 20_000 };
    Store::server("c", &server, settings, &profile::Lexical::default(), true).unwrap();
    // Another time it is there, which is no error.
    Store::server("c", &server, settings, &profile::Lexical::default(), true).unwrap();
    let held = ours.disk.held();
    let CreateCollection { shard_number, replication_factor, optimizers_config, .. } =
        held.collections["c"].made.clone();
    assert_eq!((shard_number, replication_factor), (Some(6), Some(2)));
    // Kilobytes of 20,000 vectors.
    assert_eq!(optimizers_config.unwrap().indexing_threshold, Some(30_001));
    let made = &held.collections["c"].made;
    let Some(vectors_config::Config::ParamsMap(dense)) = made.vectors_config.clone().unwrap().config else {
        panic!("{made:?}")
    };
    let dense = &dense.map["dense"];
    assert_eq!((dense.size, dense.distance(), dense.on_disk), (384, Distance::Cosine, Some(true)));
    let words = made.sparse_vectors_config.clone().unwrap().map["words"];
    assert_eq!(words.modifier(), Modifier::Idf);
    let small = made.quantization_config.and_then(|config| config.quantization);
    let Some(quantization_config::Quantization::Scalar(small)) = small else { panic!("{made:?}") };
    assert_eq!((small.r#type(), small.always_ram), (QuantizationType::Int8, Some(true)));
    assert_eq!(held.collections["c"].indexes, ["document", "path"]);
}

#[test]
fn what_is_not_on_the_server_is_said_to_be_gone() {
    let ours = Server::start();
    let store = on_server(&ours.url, "nothing", SETTINGS, false);
    let error = store.ids().unwrap_err();
    assert!(matches!(error, Error::Corrupt(_)), "{error:?}");
    assert!(error.advice().unwrap().contains("ingest"), "{error:?}");
}
