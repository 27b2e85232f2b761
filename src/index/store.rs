//! A place for vectors: points `(ChunkId, vector)` under cosine similarity.
//!
//! A closed set of stores behind one enum, all held to one contract (the tests below). A store knows ids and numbers:
//! which chunk an id is, and whether it should be there at all, is the manifest's business.

use std::path::Path;

use crate::error::{Error, Result};

use super::ChunkId;
use super::edge::Edge;
use super::memory::Memory;
use super::profile::{self, Lexical};
use super::server::Server;

/// What a store has to know of a collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Length of a vector.
    pub dimension: usize,
    /// Up to this many points every vector is compared; above, [`Store::optimize`] builds an HNSW graph.
    pub exact_below: usize,
}

/// A chunk on its way into a store.
#[derive(Debug, Clone, Copy)]
pub struct Point<'a> {
    pub id: ChunkId,
    pub vector: &'a [f32],
    /// What it is found by; kept by stores that search words, too.
    pub text: &'a str,
    /// Of its document; kept by stores that choose by document.
    pub path: &'a str,
}

impl<'a> Point<'a> {
    /// Of a vector alone.
    pub fn bare(id: ChunkId, vector: &'a [f32]) -> Self {
        Self { id, vector, text: "", path: "" }
    }
}

/// What may be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chosen {
    /// Ascending.
    Chunks(Vec<ChunkId>),
    /// All chunks of these documents, by [`document_key`]; for a store that keeps paths.
    Documents(Vec<i64>),
}

impl Chosen {
    fn is_empty(&self) -> bool {
        match self {
            Self::Chunks(ids) => ids.is_empty(),
            Self::Documents(keys) => keys.is_empty(),
        }
    }
}

pub use super::server::document_key;

pub struct Store {
    settings: Settings,
    kind: Kind,
}

enum Kind {
    /// Qdrant, in this process, in a folder.
    Edge(Box<Edge>),
    /// Qdrant, in a process of its own or in many.
    Server(Box<Server>),
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

    /// The collection `name` of a Qdrant server; made there if it is `new` and missing.
    ///
    /// # Errors
    /// [`Error::Transient`] when the server cannot be reached, [`Error::Invalid`] when it refuses.
    pub fn server(
        name: &str,
        server: &profile::Server,
        settings: Settings,
        lexical: &Lexical,
        new: bool,
    ) -> Result<Self> {
        let server = Server::new(name, server, settings, lexical)?;
        if new {
            server.create()?;
        }
        Ok(Self { settings, kind: Kind::Server(Box::new(server)) })
    }

    /// Deletes whatever the server has under names that begin with `prefix`.
    ///
    /// # Errors
    /// As [`Store::server`]; the hint says what may stay there.
    pub fn remove_from_server(server: &profile::Server, prefix: &str) -> Result<()> {
        Server::sweep(server, prefix, None).map_err(|error| {
            error.hint(format!("collections `{prefix}*` may stay on {}: delete them there", server.url))
        })
    }

    /// An empty store in memory.
    pub fn memory(settings: Settings) -> Self {
        Self { settings, kind: Kind::Memory(Memory::default()) }
    }

    /// Adds points, replacing those with the same id. Durable after [`Store::flush`].
    ///
    /// # Errors
    /// [`Error::Invalid`] for a vector of another length or with a value that is not finite.
    pub fn upsert(&mut self, points: &[Point]) -> Result<()> {
        for point in points {
            self.settings.check(point.vector)?;
        }
        match &mut self.kind {
            _ if points.is_empty() => Ok(()),
            Kind::Edge(edge) => edge.upsert(points),
            Kind::Server(server) => server.upsert(points),
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
            Kind::Server(server) => server.delete(ids),
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

    /// The same among the points `chosen` alone: the `k` nearest of these, however far they are.
    ///
    /// # Errors
    /// As [`Store::search`], and for documents in a store that knows none.
    pub fn search_among(
        &self,
        chosen: Option<&Chosen>,
        vector: &[f32],
        k: usize,
        exact: bool,
    ) -> Result<Vec<(ChunkId, f32)>> {
        self.settings.check(vector)?;
        match &self.kind {
            _ if k == 0 || chosen.is_some_and(Chosen::is_empty) => Ok(Vec::new()),
            Kind::Edge(edge) => edge.search(chunks(chosen)?, vector, k, exact),
            Kind::Server(server) => server.search(chosen, vector, k, exact),
            Kind::Memory(memory) => Ok(memory.search(chunks(chosen)?, vector, k)),
        }
    }

    /// The store, where it searches words as well.
    pub(super) fn as_server(&self) -> Option<&Server> {
        match &self.kind {
            Kind::Server(server) => Some(server),
            Kind::Edge(_) | Kind::Memory(_) => None,
        }
    }

    /// The vectors of `ids`, in that order, normalised to length 1; `None` where there is none.
    ///
    /// # Errors
    /// What the store says.
    pub fn vectors(&self, ids: &[ChunkId]) -> Result<Vec<Option<Vec<f32>>>> {
        match &self.kind {
            Kind::Edge(edge) => edge.vectors(ids),
            Kind::Server(server) => server.vectors(ids),
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
            Kind::Server(server) => server.ids(),
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
            Kind::Server(server) => server.count(),
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
            // Written is written.
            Kind::Server(_) | Kind::Memory(_) => Ok(()),
        }
    }

    /// Whether [`Store::optimize`] has something worth its time: many points without a graph.
    pub fn wants_optimizing(&self) -> bool {
        match &self.kind {
            Kind::Edge(edge) => edge.wants_optimizing(),
            // A server builds its graphs by itself.
            Kind::Server(_) | Kind::Memory(_) => false,
        }
    }

    /// Builds the graph over more than `exact_below` points and gives back the space of deleted ones.
    ///
    /// # Errors
    /// What the store says.
    pub fn optimize(&mut self) -> Result<()> {
        match &mut self.kind {
            Kind::Edge(edge) => edge.optimize(),
            Kind::Server(_) | Kind::Memory(_) => Ok(()),
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

fn chunks(chosen: Option<&Chosen>) -> Result<Option<&[ChunkId]>> {
    match chosen {
        None => Ok(None),
        Some(Chosen::Chunks(ids)) => Ok(Some(ids)),
        Some(Chosen::Documents(_)) => Err(Error::invalid("this store knows no documents; choose chunks")),
    }
}

/// How many candidates the walk over an HNSW graph keeps (`hnsw_ef`). Of the ten nearest among a million, 256 find 91 %, 1,024
/// 98 % and these 99 %, for three milliseconds more (`cargo bench --bench scale`).
pub(super) const CANDIDATES: usize = 2048;

/// Fetched beyond what was asked for, so that equal scores at the cut are seen.
const SLACK: usize = 16;

/// The best `k` of what `nearest` finds, equal scores by id. Qdrant keeps of equal scores whichever it met first, so more is
/// fetched until the last score is lower than the k-th.
pub(super) fn complete(
    k: usize,
    nearest: impl Fn(usize) -> Result<Vec<(ChunkId, f32)>>,
) -> Result<Vec<(ChunkId, f32)>> {
    let mut limit = k.saturating_add(SLACK);
    loop {
        let found = nearest(limit)?;
        let complete = found.len() < limit;
        let cut = found.get(k - 1).map(|hit| hit.1);
        if complete || cut > found.last().map(|hit| hit.1) {
            return Ok(best(found, k));
        }
        limit = limit.saturating_mul(2);
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
