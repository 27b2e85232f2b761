//! A place for vectors: points `(ChunkId, vector)` under cosine similarity.
//!
//! A closed set of stores behind one enum, all held to one contract (the tests below). A store knows ids and numbers:
//! which chunk an id is, and whether it should be there at all, is the manifest's business.

use std::path::Path;

use crate::error::{Error, Result};

use super::ChunkId;
use super::edge::Edge;
use super::memory::Memory;

/// What a store has to know of a collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Length of a vector.
    pub dimension: usize,
    /// Up to this many points every vector is compared; above, [`Store::optimize`] builds an HNSW graph.
    pub exact_below: usize,
}

pub struct Store {
    settings: Settings,
    kind: Kind,
}

enum Kind {
    /// Qdrant, in this process, in a folder.
    Edge(Box<Edge>),
    /// Brute force in memory: the oracle.
    Memory(Memory),
}

impl Store {
    /// Opens the store in the folder `dir`, or makes an empty one there.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when what is there cannot be opened.
    pub fn edge(dir: &Path, settings: Settings) -> Result<Self> {
        let edge = Edge::open(dir, settings)?;
        Ok(Self { settings, kind: Kind::Edge(Box::new(edge)) })
    }

    /// An empty store in memory.
    pub fn memory(settings: Settings) -> Self {
        Self { settings, kind: Kind::Memory(Memory::default()) }
    }

    /// Adds points, replacing those with the same id. Durable after [`Store::flush`].
    ///
    /// # Errors
    /// [`Error::Invalid`] for a vector of another length or with a value that is not finite.
    pub fn upsert(&mut self, points: &[(ChunkId, &[f32])]) -> Result<()> {
        for (_, vector) in points {
            self.settings.check(vector)?;
        }
        match &mut self.kind {
            _ if points.is_empty() => Ok(()),
            Kind::Edge(edge) => edge.upsert(points),
            Kind::Memory(memory) => {
                memory.upsert(points);
                Ok(())
            }
        }
    }

    /// Removes points; unknown ids are no error. Durable after [`Store::flush`].
    ///
    /// # Errors
    /// What the store says.
    pub fn delete(&mut self, ids: &[ChunkId]) -> Result<()> {
        match &mut self.kind {
            _ if ids.is_empty() => Ok(()),
            Kind::Edge(edge) => edge.delete(ids),
            Kind::Memory(memory) => {
                memory.delete(ids);
                Ok(())
            }
        }
    }

    /// The `k` points nearest to `vector` and their cosines, best first, equal ones by id. With `exact` no graph is
    /// used even where there is one.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a vector of another length or with a value that is not finite.
    pub fn search(&self, vector: &[f32], k: usize, exact: bool) -> Result<Vec<(ChunkId, f32)>> {
        self.search_among(None, vector, k, exact)
    }

    /// The same among the points `chosen` alone, ascending: the `k` nearest of these, however far they are.
    ///
    /// # Errors
    /// As [`Store::search`].
    pub fn search_among(
        &self,
        chosen: Option<&[ChunkId]>,
        vector: &[f32],
        k: usize,
        exact: bool,
    ) -> Result<Vec<(ChunkId, f32)>> {
        self.settings.check(vector)?;
        match &self.kind {
            _ if k == 0 || chosen.is_some_and(<[_]>::is_empty) => Ok(Vec::new()),
            Kind::Edge(edge) => edge.search(chosen, vector, k, exact),
            Kind::Memory(memory) => Ok(memory.search(chosen, vector, k)),
        }
    }

    /// The vectors of `ids`, in that order, normalised to length 1; `None` where there is none.
    ///
    /// # Errors
    /// What the store says.
    pub fn vectors(&self, ids: &[ChunkId]) -> Result<Vec<Option<Vec<f32>>>> {
        match &self.kind {
            Kind::Edge(edge) => edge.vectors(ids),
            Kind::Memory(memory) => Ok(memory.vectors(ids)),
        }
    }

    /// Every id there is, ascending.
    ///
    /// # Errors
    /// What the store says.
    pub fn ids(&self) -> Result<Vec<ChunkId>> {
        match &self.kind {
            Kind::Edge(edge) => edge.ids(),
            Kind::Memory(memory) => Ok(memory.ids()),
        }
    }

    /// How many points there are.
    ///
    /// # Errors
    /// What the store says.
    pub fn count(&self) -> Result<usize> {
        match &self.kind {
            Kind::Edge(edge) => edge.count(),
            Kind::Memory(memory) => Ok(memory.ids().len()),
        }
    }

    /// Makes everything so far survive the end of the process.
    ///
    /// # Errors
    /// What the store says.
    pub fn flush(&mut self) -> Result<()> {
        match &mut self.kind {
            Kind::Edge(edge) => edge.flush(),
            Kind::Memory(_) => Ok(()),
        }
    }

    /// Whether [`Store::optimize`] has something worth its time: many points without a graph.
    pub fn wants_optimizing(&self) -> bool {
        match &self.kind {
            Kind::Edge(edge) => edge.wants_optimizing(),
            Kind::Memory(_) => false,
        }
    }

    /// Builds the graph over more than `exact_below` points and gives back the space of deleted ones.
    ///
    /// # Errors
    /// What the store says.
    pub fn optimize(&mut self) -> Result<()> {
        match &mut self.kind {
            Kind::Edge(edge) => edge.optimize(),
            Kind::Memory(_) => Ok(()),
        }
    }
}

impl Settings {
    /// # Errors
    /// [`Error::Invalid`] for a vector of another length or with a value that is not finite.
    pub(super) fn check(&self, vector: &[f32]) -> Result<()> {
        if vector.len() != self.dimension {
            let (got, wanted) = (vector.len(), self.dimension);
            return Err(Error::invalid(format!(
                "a vector of {got} values where the collection has {wanted}"
            ))
            .hint("it comes from another embedder than the collection was built with"));
        }
        if vector.iter().any(|x| !x.is_finite()) {
            return Err(Error::invalid("a vector with a value that is not a finite number"));
        }
        Ok(())
    }
}

/// The best `k`, highest score first, equal scores by id.
pub(super) fn best(mut scored: Vec<(ChunkId, f32)>, k: usize) -> Vec<(ChunkId, f32)> {
    let order = |a: &(ChunkId, f32), b: &(ChunkId, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
    if k < scored.len() {
        scored.select_nth_unstable_by(k, order);
        scored.truncate(k);
    }
    scored.sort_unstable_by(order);
    scored
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: Settings = Settings { dimension: 4, exact_below: 20_000 };

    /// Runs the same claims over every store; the folder outlives the store.
    fn each(claim: impl Fn(Store, &mut dyn FnMut(Store) -> Store)) {
        claim(Store::memory(SETTINGS), &mut |store| store);
        let dir = tempfile::tempdir().unwrap();
        claim(Store::edge(dir.path(), SETTINGS).unwrap(), &mut |mut store| {
            store.flush().unwrap();
            drop(store);
            Store::edge(dir.path(), SETTINGS).unwrap()
        });
    }

    /// A spread of vectors, the same each time; every seventh repeats the one before it.
    fn vector(seed: u64) -> Vec<f32> {
        let seed = if seed.is_multiple_of(7) { seed.saturating_sub(1) } else { seed };
        (0..4).map(|i| ((seed * 31 + i * 17) as f32 * 0.7).sin() * 3.0).collect()
    }

    fn fill(store: &mut Store, ids: impl IntoIterator<Item = u64>) {
        let vectors: Vec<_> = ids.into_iter().map(|id| (id, vector(id))).collect();
        let points: Vec<_> = vectors.iter().map(|(id, vector)| (*id, vector.as_slice())).collect();
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
            for exact in [true, false] {
                let found = store.search_among(Some(&chosen), &vector(9), 10, exact).unwrap();
                assert_eq!(found, all[250..260]);
                assert_eq!(store.search_among(Some(&chosen), &vector(9), 100, exact).unwrap(), all[250..]);
                assert_eq!(store.search_among(Some(&[]), &vector(9), 10, exact).unwrap(), []);
            }
        });
    }

    #[test]
    fn equal_cosines_are_ordered_by_id_also_where_the_list_is_cut() {
        each(|mut store, _| {
            let same = [1.0, 2.0, 3.0, 4.0];
            let ids: Vec<u64> = (1..=90).rev().collect();
            let points: Vec<_> = ids.iter().map(|&id| (id, same.as_slice())).collect();
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
            store.upsert(&[(1, &[0.0; 4]), (2, &[1.0, 0.0, 0.0, 0.0])]).unwrap();
            assert_eq!(store.search(&[1.0, 0.0, 0.0, 0.0], 2, true).unwrap(), [(2, 1.0), (1, 0.0)]);
            for wrong in [vec![1.0; 3], vec![f32::NAN; 4]] {
                assert!(matches!(store.upsert(&[(3, &wrong)]), Err(Error::Invalid(_))));
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
        let found = store.search_among(Some(&chosen), &vector(3), 10, false).unwrap();
        assert_eq!(found.len(), 10);
        assert!(found.iter().zip(&farthest).all(|(a, b)| (a.1 - b.1).abs() < 1e-5));
    }
}
