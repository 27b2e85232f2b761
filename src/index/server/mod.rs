//! Vectors and words in a Qdrant server or cluster: one collection there for a collection here.
//!
//! A point is a chunk: its id, the embedder's vector (`dense`), its words as a sparse vector (`words`, see `sparse.rs`), and as
//! payload the path of its document and the number that filters know the document by (`document`, indexed). What text it has
//! and whether it should be there at all stays with the manifest, as it does for every store.
//!
//! Every write waits until the server has applied it, so there is nothing to flush; every call may be made twice.

mod client;
mod sparse;

use std::collections::HashMap;

use qdrant_client::qdrant::with_vectors_selector::SelectorOptions;
use qdrant_client::qdrant::{
    Condition, CountPointsBuilder, CreateCollectionBuilder, CreateFieldIndexCollectionBuilder,
    DeletePointsBuilder, Distance, FieldType, Filter, GetPointsBuilder, IntegerIndexParamsBuilder, Modifier,
    NamedVectors, OptimizersConfigDiffBuilder, PointId, PointStruct, PointsIdsList, QuantizationType, Query,
    QueryBatchPointsBuilder, QueryPoints, QueryPointsBuilder, ScalarQuantizationBuilder, ScrollPointsBuilder,
    SearchParamsBuilder, SparseVectorParamsBuilder, SparseVectorsConfigBuilder, UpsertPointsBuilder, Value,
    Vector, VectorInput, VectorParamsBuilder, VectorsConfigBuilder, VectorsOutput, point_id, vector_output,
};

use crate::error::Result;

use super::ChunkId;
use super::analyse::Analyser;
use super::lexical::counted;
use super::profile::{self, Lexical, Quantization};
use super::store::{CANDIDATES, Chosen, Point, Settings, complete};
use client::{Client, Perseverance, exists_already};

/// The API key of the server, in the environment; `QDRANT_API_KEY` where it is not set.
pub const KEY: &str = "INCONTEXT_QDRANT_API_KEY";
/// Where the server is.
pub const URL: &str = "INCONTEXT_QDRANT_URL";

const DENSE: &str = "dense";
const WORDS: &str = "words";
const PATH: &str = "path";
const DOCUMENT: &str = "document";

/// Points sent at a time: about half a megabyte.
const POINTS_A_REQUEST: usize = 128;
/// Ids read at a time.
const PAGE: u32 = 20_000;

/// A number for the document at `path`, by which filters name it: short, and known before the document is recorded.
pub fn document_key(path: &str) -> i64 {
    let [a, b, c, d, e, f, g, h, ..] = *blake3::hash(path.as_bytes()).as_bytes();
    i64::from_le_bytes([a, b, c, d, e, f, g, h])
}

/// Asks whether a server is there and lets us in.
///
/// # Errors
/// [`crate::Error::Invalid`] for what is no address and for a key that is refused, [`crate::Error::Transient`] when nobody
/// answers.
pub fn reach(server: &profile::Server) -> Result<()> {
    let client = Client::new(&server.url)?;
    // Asked of everybody who may know its collections; whether it is in good health, of anybody.
    client.call(
        "connecting",
        Perseverance::Asking,
        |qdrant| async move { qdrant.list_collections().await },
    )?;
    Ok(())
}

/// The one collection on the server.
#[derive(Clone)]
pub(super) struct Server {
    client: Client,
    /// Of the collection there.
    name: String,
    settings: Settings,
    server: profile::Server,
    lexical: Lexical,
    analyser: Analyser,
}

impl Server {
    /// The collection `name` of the server that `server` says; nothing is sent yet.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] for what is no address.
    pub(super) fn new(
        name: &str,
        server: &profile::Server,
        settings: Settings,
        lexical: &Lexical,
    ) -> Result<Self> {
        Ok(Self {
            client: Client::new(&server.url)?,
            name: name.to_owned(),
            settings,
            server: server.clone(),
            lexical: lexical.clone(),
            analyser: Analyser::new(lexical),
        })
    }

    /// Makes the collection, with its indexes, where there is none.
    pub(super) fn create(&self) -> Result<()> {
        let (name, doing) = (&self.name, "making a collection");
        let there = self.client.call(doing, Perseverance::Asking, |qdrant| async move {
            qdrant.collection_exists(name).await
        })?;
        if !there {
            let request = &self.layout();
            self.client.call(doing, Perseverance::Working, |qdrant| async move {
                match qdrant.create_collection(request.clone()).await {
                    // By an attempt whose answer was lost.
                    Err(error) if exists_already(&error) => Ok(()),
                    made => made.map(drop),
                }
            })?;
        }
        // Making one that is there changes nothing.
        let document = CreateFieldIndexCollectionBuilder::new(name, DOCUMENT, FieldType::Integer)
            .field_index_params(IntegerIndexParamsBuilder::new(true, false))
            .wait(true);
        let path = CreateFieldIndexCollectionBuilder::new(name, PATH, FieldType::Keyword).wait(true);
        for index in [&document, &path] {
            self.client.call("indexing the payload", Perseverance::Working, |qdrant| async move {
                qdrant.create_field_index(index.clone()).await
            })?;
        }
        Ok(())
    }

    fn layout(&self) -> CreateCollectionBuilder {
        let Settings { dimension, exact_below } = self.settings;
        let mut dense = VectorsConfigBuilder::default();
        let quantised = self.server.quantization == Quantization::Scalar;
        // With small integers in memory, the vectors themselves are read from the disk for the few that are compared again.
        let params = VectorParamsBuilder::new(dimension as u64, Distance::Cosine).on_disk(quantised);
        dense.add_named_vector_params(DENSE, params);
        let mut words = SparseVectorsConfigBuilder::default();
        words.add_named_vector_params(WORDS, SparseVectorParamsBuilder::default().modifier(Modifier::Idf));
        // In kilobytes, as Qdrant counts.
        let threshold = (exact_below * dimension * size_of::<f32>() / 1024 + 1) as u64;
        let layout = CreateCollectionBuilder::new(&self.name)
            .vectors_config(dense)
            .sparse_vectors_config(words)
            .shard_number(self.server.shard_number)
            .replication_factor(self.server.replication_factor)
            .on_disk_payload(true)
            .optimizers_config(OptimizersConfigDiffBuilder::default().indexing_threshold(threshold));
        if !quantised {
            return layout;
        }
        let small = ScalarQuantizationBuilder::default()
            .r#type(QuantizationType::Int8 as i32)
            .quantile(0.99)
            .always_ram(true);
        layout.quantization_config(small)
    }

    /// Deletes the collections of a server whose names begin with `prefix`, but not `current`.
    pub(super) fn sweep(server: &profile::Server, prefix: &str, current: Option<&str>) -> Result<()> {
        let client = Client::new(&server.url)?;
        let listed = client.call("listing collections", Perseverance::Asking, |qdrant| async move {
            qdrant.list_collections().await
        })?;
        for there in listed.collections {
            let name = &there.name;
            if name.starts_with(prefix) && Some(&name[..]) != current {
                client.call("deleting a collection", Perseverance::Asking, |qdrant| async move {
                    qdrant.delete_collection(name).await
                })?;
            }
        }
        Ok(())
    }

    pub(super) fn upsert(&self, points: &[Point]) -> Result<()> {
        for part in points.chunks(POINTS_A_REQUEST) {
            let points: Vec<PointStruct> = part.iter().map(|point| self.point(point)).collect();
            let request = &UpsertPointsBuilder::new(&self.name, points).wait(true);
            self.client.call("adding vectors", Perseverance::Working, |qdrant| async move {
                qdrant.upsert_points(request.clone()).await
            })?;
        }
        Ok(())
    }

    fn point(&self, point: &Point) -> PointStruct {
        let mut vectors = NamedVectors::default().add_vector(DENSE, Vector::new_dense(point.vector.to_vec()));
        let ranking = self.lexical.ranking;
        let words = sparse::of_chunk(&self.analyser.analyse(point.text), ranking, self.server.mean_length);
        if !words.is_empty() {
            let (numbers, values): (Vec<u32>, Vec<f32>) = words.into_iter().unzip();
            vectors = vectors.add_vector(WORDS, Vector::new_sparse(numbers, values));
        }
        let payload: HashMap<String, Value> = HashMap::from([
            (PATH.to_owned(), point.path.to_owned().into()),
            (DOCUMENT.to_owned(), document_key(point.path).into()),
        ]);
        PointStruct::new(point.id, vectors, payload)
    }

    pub(super) fn delete(&self, ids: &[ChunkId]) -> Result<()> {
        for part in ids.chunks(PAGE as usize) {
            let ids = PointsIdsList { ids: part.iter().map(|&id| id.into()).collect() };
            let request = &DeletePointsBuilder::new(&self.name).points(ids).wait(true);
            self.client.call("deleting vectors", Perseverance::Working, |qdrant| async move {
                qdrant.delete_points(request.clone()).await
            })?;
        }
        Ok(())
    }

    /// The nearest by cosine.
    pub(super) fn search(
        &self,
        chosen: Option<&Chosen>,
        vector: &[f32],
        k: usize,
        exact: bool,
    ) -> Result<Vec<(ChunkId, f32)>> {
        let query = VectorInput::new_dense(vector.to_vec());
        self.ranked(chosen, DENSE, query, k, exact)
    }

    /// The first by BM25; what is rare is asked of the whole collection, whatever is chosen.
    pub(super) fn lexical(
        &self,
        chosen: Option<&Chosen>,
        question: &str,
        k: usize,
    ) -> Result<Vec<(ChunkId, f32)>> {
        let terms = sparse::of_question(&self.analyser.analyse(question), self.lexical.ranking);
        if terms.is_empty() || k == 0 {
            return Ok(Vec::new());
        }
        let (numbers, values): (Vec<u32>, Vec<f32>) = terms.into_iter().unzip();
        let found = self.ranked(chosen, WORDS, VectorInput::new_sparse(numbers, values), k, true)?;
        Ok(found.into_iter().filter(|hit| hit.1 > 0.0).collect())
    }

    fn ranked(
        &self,
        chosen: Option<&Chosen>,
        using: &str,
        query: VectorInput,
        k: usize,
        exact: bool,
    ) -> Result<Vec<(ChunkId, f32)>> {
        complete(k, |limit| {
            let mut request = QueryPointsBuilder::new(&self.name)
                .query(Query::new_nearest(query.clone()))
                .using(using)
                .limit(limit as u64)
                .params(SearchParamsBuilder::default().exact(exact).hnsw_ef(CANDIDATES.max(limit) as u64));
            if let Some(chosen) = chosen {
                request = request.filter(filter(chosen));
            }
            let request = &request;
            let answer = self.client.call("searching", Perseverance::Asking, |qdrant| async move {
                qdrant.query(request.clone()).await
            })?;
            let hits = answer.result.into_iter();
            Ok(hits.filter_map(|hit| Some((number(hit.id.as_ref())?, hit.score))).collect())
        })
    }

    /// The distinct words of `text` in order, each with its inverse document frequency on the server. It tells of no frequencies, but of what a
    /// word scores in the chunk it scores best in, and of that chunk's share in it; the rest is the frequency's.
    pub(super) fn query_terms(&self, text: &str) -> Result<Vec<(String, f32)>> {
        let distinct = counted(self.analyser.analyse(text).words);
        let words: Vec<String> = distinct.into_iter().map(|(word, _)| word).collect();
        let best_of = |word: &String| -> QueryPoints {
            QueryPointsBuilder::new(&self.name)
                .query(Query::new_nearest(VectorInput::new_sparse(vec![sparse::of_word(word)], vec![1.0])))
                .using(WORDS)
                .limit(1)
                .with_vectors(SelectorOptions::Include(vec![WORDS.to_owned()].into()))
                .build()
        };
        if words.is_empty() {
            return Ok(Vec::new());
        }
        let requests: Vec<QueryPoints> = words.iter().map(best_of).collect();
        let request = &QueryBatchPointsBuilder::new(&self.name, requests);
        let answer = self.client.call("weighing words", Perseverance::Asking, |qdrant| async move {
            qdrant.query_batch(request.clone()).await
        })?;
        let mut unseen = None;
        words
            .into_iter()
            .zip(answer.result)
            .map(|(word, found)| {
                let number = sparse::of_word(&word);
                let hit = found.result.into_iter().next();
                let idf = hit.and_then(|hit| {
                    let share = share(&hit.vectors?, number)?;
                    (share > 0.0 && hit.score > 0.0).then_some(hit.score / share)
                });
                let idf = match idf {
                    Some(idf) => idf,
                    // In no chunk of all.
                    None => match unseen {
                        Some(idf) => idf,
                        None => *unseen.insert((1.0 + (self.count()? as f32 + 0.5) / 0.5).ln()),
                    },
                };
                Ok((word, idf))
            })
            .collect()
    }

    pub(super) fn vectors(&self, ids: &[ChunkId]) -> Result<Vec<Option<Vec<f32>>>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let wanted: Vec<PointId> = ids.iter().map(|&id| id.into()).collect();
        let only = SelectorOptions::Include(vec![DENSE.to_owned()].into());
        let request = &GetPointsBuilder::new(&self.name, wanted).with_vectors(only).with_payload(false);
        let answer = self.client.call("reading vectors", Perseverance::Asking, |qdrant| async move {
            qdrant.get_points(request.clone()).await
        })?;
        let mut found: HashMap<ChunkId, Vec<f32>> = HashMap::new();
        for point in answer.result {
            let vector = point.vectors.and_then(|vectors| vectors.get_vector_by_name(DENSE));
            if let (Some(id), Some(vector_output::Vector::Dense(vector))) =
                (number(point.id.as_ref()), vector)
            {
                found.insert(id, vector.data);
            }
        }
        Ok(ids.iter().map(|id| found.get(id).cloned()).collect())
    }

    pub(super) fn ids(&self) -> Result<Vec<ChunkId>> {
        let (mut ids, mut offset) = (Vec::new(), None::<PointId>);
        loop {
            let mut request =
                ScrollPointsBuilder::new(&self.name).limit(PAGE).with_payload(false).with_vectors(false);
            if let Some(offset) = offset.take() {
                request = request.offset(offset);
            }
            let request = &request;
            let page = self.client.call("listing vectors", Perseverance::Asking, |qdrant| async move {
                qdrant.scroll(request.clone()).await
            })?;
            ids.extend(page.result.iter().filter_map(|point| number(point.id.as_ref())));
            offset = page.next_page_offset;
            if offset.is_none() {
                // A page is sorted, and so are pages; of a cluster it is promised nowhere.
                ids.sort_unstable();
                ids.dedup();
                return Ok(ids);
            }
        }
    }

    pub(super) fn count(&self) -> Result<usize> {
        let request = &CountPointsBuilder::new(&self.name).exact(true);
        let answer = self.client.call("counting vectors", Perseverance::Asking, |qdrant| async move {
            qdrant.count(request.clone()).await
        })?;
        Ok(answer.result.map_or(0, |result| result.count as usize))
    }
}

fn filter(chosen: &Chosen) -> Filter {
    Filter::must([match chosen {
        Chosen::Chunks(ids) => Condition::has_id(ids.iter().map(|&id| PointId::from(id))),
        Chosen::Documents(keys) => Condition::matches(DOCUMENT, keys.clone()),
    }])
}

fn number(id: Option<&PointId>) -> Option<ChunkId> {
    match id?.point_id_options.as_ref()? {
        point_id::PointIdOptions::Num(id) => Some(*id),
        point_id::PointIdOptions::Uuid(_) => None,
    }
}

/// What stands under `number` in the words of a point.
fn share(vectors: &VectorsOutput, number: u32) -> Option<f32> {
    match vectors.get_vector_by_name(WORDS)? {
        vector_output::Vector::Sparse(words) => {
            let at = words.indices.iter().position(|&at| at == number)?;
            words.values.get(at).copied()
        }
        _ => None,
    }
}
