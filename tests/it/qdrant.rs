//! A Qdrant server within the tests: the client's own wire protocol, served in this process, over brute force in memory.
//!
//! It does what the server's documentation promises of the calls that a collection makes, and refuses every other. It can be
//! stopped and started again with what it held, as a server that is restarted; ask for a key; and speak TLS.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use ::qdrant_client::qdrant::collections_server::{Collections, CollectionsServer};
use ::qdrant_client::qdrant::r#match::MatchValue;
use ::qdrant_client::qdrant::points_selector::PointsSelectorOneOf;
use ::qdrant_client::qdrant::points_server::{Points, PointsServer};
use ::qdrant_client::qdrant::qdrant_server::{Qdrant, QdrantServer};
use ::qdrant_client::qdrant::with_vectors_selector::SelectorOptions;
use ::qdrant_client::qdrant::{self as wire, *};
use tokio::runtime::Runtime;
use tonic::service::Interceptor;
use tonic::transport::{Identity, Server as Wire, ServerTlsConfig};
use tonic::{Request, Response, Status};

/// What a server holds, which outlives it as a disk does.
#[derive(Clone, Default)]
pub struct Disk(Arc<Mutex<Held>>);

#[derive(Default)]
pub struct Held {
    pub collections: BTreeMap<String, Kept>,
    /// Requests that changed points.
    pub writes: usize,
    /// After so many writes every request is answered `Unavailable`, until somebody says otherwise.
    pub gone_after: Option<usize>,
    /// Requests that were answered so.
    pub refused: usize,
}

pub struct Kept {
    pub made: CreateCollection,
    pub points: BTreeMap<u64, Point>,
    /// Payload fields with an index.
    pub indexes: Vec<String>,
}

#[derive(Clone)]
pub struct Point {
    /// Of length 1.
    dense: Vec<f32>,
    words: BTreeMap<u32, f32>,
    pub payload: HashMap<String, Value>,
}

/// A running server.
pub struct Server {
    pub url: String,
    address: SocketAddr,
    pub disk: Disk,
    runtime: Option<Runtime>,
}

impl Server {
    pub fn start() -> Self {
        Self::with(Disk::default(), None, None, None)
    }

    /// One that wants `key`, and speaks TLS with this certificate and its key (PEM), on the port of `address`.
    pub fn with(
        disk: Disk,
        key: Option<&'static str>,
        tls: Option<(&str, &str)>,
        address: Option<SocketAddr>,
    ) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        // A port somebody has just left may take a moment to be free.
        let wanted = address.unwrap_or_else(|| "127.0.0.1:0".parse().unwrap());
        let listener = (0..100).find_map(|_| {
            std::net::TcpListener::bind(wanted)
                .inspect_err(|_| std::thread::sleep(std::time::Duration::from_millis(50)))
                .ok()
        });
        let listener = listener.expect("a port to listen on");
        let address = listener.local_addr().unwrap();
        drop(listener);
        let mut server = Wire::builder();
        let scheme = if tls.is_some() { "https" } else { "http" };
        if let Some((certificate, key)) = tls {
            let identity = Identity::from_pem(certificate, key);
            server = server.tls_config(ServerTlsConfig::new().identity(identity)).unwrap();
        }
        let door = Door { key, disk: disk.clone() };
        let serving = server
            .add_service(QdrantServer::with_interceptor(disk.clone(), door.clone()))
            .add_service(CollectionsServer::with_interceptor(disk.clone(), door.clone()))
            .add_service(PointsServer::with_interceptor(disk.clone(), door))
            .serve(address);
        runtime.spawn(async move {
            let _ = serving.await;
        });
        let url = format!("{scheme}://localhost:{}", address.port());
        while std::net::TcpStream::connect(address).is_err() {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        Self { url, address, disk, runtime: Some(runtime) }
    }

    /// Breaks every connection; the port is free again.
    pub fn stop(mut self) -> (Disk, SocketAddr) {
        self.end();
        (self.disk.clone(), self.address)
    }

    fn end(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(std::time::Duration::from_secs(5));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

/// Who may come in.
#[derive(Clone)]
struct Door {
    key: Option<&'static str>,
    disk: Disk,
}

impl Interceptor for Door {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let mut held = self.disk.held();
        if held.gone_after.is_some_and(|after| held.writes >= after) {
            held.refused += 1;
            return Err(Status::unavailable("shutting down"));
        }
        let given = request.metadata().get("api-key").and_then(|key| key.to_str().ok());
        match self.key {
            Some(key) if given != Some(key) => Err(Status::unauthenticated("Must provide an API key")),
            _ => Ok(request),
        }
    }
}

impl Disk {
    pub fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap()
    }

    /// How often points have been changed.
    pub fn writes(&self) -> usize {
        self.held().writes
    }
}

impl Held {
    fn collection(&mut self, name: &str) -> Result<&mut Kept, Status> {
        let missing = || Status::not_found(format!("Not found: Collection `{name}` doesn't exist!"));
        self.collections.get_mut(name).ok_or_else(missing)
    }
}

impl Kept {
    fn meets(&self, filter: Option<&Filter>, id: u64, point: &Point) -> Result<bool, Status> {
        let Some(filter) = filter else { return Ok(true) };
        if !(filter.should.is_empty() && filter.must_not.is_empty() && filter.min_should.is_none()) {
            return Err(Status::unimplemented("only `must`"));
        }
        for condition in &filter.must {
            let holds = match &condition.condition_one_of {
                Some(condition::ConditionOneOf::HasId(wanted)) => {
                    wanted.has_id.iter().any(|wanted| number(wanted) == Some(id))
                }
                Some(condition::ConditionOneOf::Field(field)) => {
                    if !self.indexes.contains(&field.key) {
                        return Err(Status::invalid_argument(format!("Index required for `{}`", field.key)));
                    }
                    let value = point.payload.get(&field.key).and_then(|value| value.kind.as_ref());
                    match (field.r#match.as_ref().and_then(|m| m.match_value.as_ref()), value) {
                        (Some(MatchValue::Integers(any)), Some(value::Kind::IntegerValue(is))) => {
                            any.integers.contains(is)
                        }
                        (Some(MatchValue::Integers(_)), _) => false,
                        _ => return Err(Status::unimplemented("only integers are matched")),
                    }
                }
                _ => return Err(Status::unimplemented("this condition")),
            };
            if !holds {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// ln(1 + (N - n + 0.5) / (n + 0.5)), N: points that have words at all.
    fn idf(&self, word: u32) -> f32 {
        let all = self.points.values().filter(|point| !point.words.is_empty()).count() as f32;
        let with = self.points.values().filter(|point| point.words.contains_key(&word)).count() as f32;
        (1.0 + (all - with + 0.5) / (with + 0.5)).ln()
    }

    fn query(&self, asked: &QueryPoints) -> Result<Vec<ScoredPoint>, Status> {
        let Some(query::Variant::Nearest(input)) = asked.query.as_ref().and_then(|q| q.variant.as_ref())
        else {
            return Err(Status::unimplemented("only the nearest"));
        };
        let mut scored: Vec<(u64, f32)> = Vec::new();
        for (&id, point) in &self.points {
            if !self.meets(asked.filter.as_ref(), id, point)? {
                continue;
            }
            let score = match (asked.using(), input.variant.as_ref()) {
                ("dense", Some(vector_input::Variant::Dense(vector))) => {
                    let query = normalised(&vector.data);
                    if query.len() != point.dense.len() {
                        return Err(Status::invalid_argument("Vector dimension error"));
                    }
                    query.iter().zip(&point.dense).map(|(a, b)| a * b).sum()
                }
                ("words", Some(vector_input::Variant::Sparse(asked))) => {
                    let terms = asked.indices.iter().zip(&asked.values);
                    let product = |(word, value): (&u32, &f32)| {
                        point.words.get(word).map(|there| there * value * self.idf(*word))
                    };
                    let products: Vec<f32> = terms.filter_map(product).collect();
                    // A point that shares no word is not found at all.
                    if products.is_empty() {
                        continue;
                    }
                    products.into_iter().sum()
                }
                _ => return Err(Status::invalid_argument("Not existing vector name")),
            };
            scored.push((id, score));
        }
        // Of equal scores whichever: the highest id first, so that nobody relies on an order.
        scored.sort_by(|a, b| b.1.total_cmp(&a.1).then(b.0.cmp(&a.0)));
        scored.truncate(asked.limit() as usize);
        let point = |(id, score): (u64, f32)| ScoredPoint {
            id: Some(id.into()),
            score,
            vectors: self.shown(id, asked.with_vectors.as_ref()),
            ..ScoredPoint::default()
        };
        Ok(scored.into_iter().map(point).collect())
    }

    fn shown(&self, id: u64, selector: Option<&WithVectorsSelector>) -> Option<VectorsOutput> {
        let Some(SelectorOptions::Include(names)) = selector?.selector_options.as_ref() else { return None };
        let point = &self.points[&id];
        let vector = |name: &String| {
            let vector = match name.as_str() {
                "dense" => vector_output::Vector::Dense(DenseVector { data: point.dense.clone() }),
                "words" => vector_output::Vector::Sparse(SparseVector {
                    indices: point.words.keys().copied().collect(),
                    values: point.words.values().copied().collect(),
                }),
                _ => return None,
            };
            #[allow(deprecated)]
            let output = VectorOutput { vector: Some(vector), ..VectorOutput::default() };
            Some((name.clone(), output))
        };
        let vectors = names.names.iter().filter_map(vector).collect();
        let options = vectors_output::VectorsOptions::Vectors(NamedVectorsOutput { vectors });
        Some(VectorsOutput { vectors_options: Some(options) })
    }
}

fn number(id: &PointId) -> Option<u64> {
    match id.point_id_options {
        Some(point_id::PointIdOptions::Num(id)) => Some(id),
        _ => None,
    }
}

fn normalised(vector: &[f32]) -> Vec<f32> {
    let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    if length == 0.0 { vector.to_vec() } else { vector.iter().map(|x| x / length).collect() }
}

fn stored(sent: PointStruct, dimension: u64) -> Result<(u64, Point), Status> {
    let wrong = |why: &str| Status::invalid_argument(why.to_owned());
    let id = sent.id.as_ref().and_then(number).ok_or_else(|| wrong("an id"))?;
    let Some(vectors::VectorsOptions::Vectors(named)) = sent.vectors.and_then(|v| v.vectors_options) else {
        return Err(wrong("named vectors"));
    };
    let mut point = Point { dense: Vec::new(), words: BTreeMap::new(), payload: sent.payload };
    for (name, vector) in named.vectors {
        match (name.as_str(), vector.vector) {
            ("dense", Some(vector::Vector::Dense(dense))) if dense.data.len() as u64 == dimension => {
                point.dense = normalised(&dense.data);
            }
            ("words", Some(vector::Vector::Sparse(words))) if words.indices.len() == words.values.len() => {
                point.words = words.indices.into_iter().zip(words.values).collect();
            }
            _ => return Err(wrong("Wrong input: Vector dimension error, or not existing vector name")),
        }
    }
    Ok((id, point))
}

fn updated() -> Response<PointsOperationResponse> {
    let result = UpdateResult { status: UpdateStatus::Completed as i32, ..UpdateResult::default() };
    Response::new(PointsOperationResponse { result: Some(result), ..PointsOperationResponse::default() })
}

fn done() -> Response<CollectionOperationResponse> {
    Response::new(CollectionOperationResponse { result: true, time: 0.0 })
}

/// A service of which some calls are implemented and the others are refused.
macro_rules! service {
    ($service:ident { $($written:tt)* } but not { $($name:ident($request:ident) -> $answer:ident,)* }) => {
        #[tonic::async_trait]
        impl $service for Disk {
            $($written)*
            $(async fn $name(&self, _: Request<wire::$request>) -> Result<Response<wire::$answer>, Status> {
                Err(Status::unimplemented(stringify!($name)))
            })*
        }
    };
}

service!(Qdrant {
    async fn health_check(&self, _: Request<HealthCheckRequest>) -> Result<Response<HealthCheckReply>, Status> {
        Ok(Response::new(HealthCheckReply { title: "in these tests".into(), ..HealthCheckReply::default() }))
    }
} but not {});

service!(Collections {
    async fn list(
        &self,
        _: Request<ListCollectionsRequest>,
    ) -> Result<Response<ListCollectionsResponse>, Status> {
        let names = self.held().collections.keys().cloned().collect::<Vec<_>>();
        let collections = names.into_iter().map(|name| CollectionDescription { name }).collect();
        Ok(Response::new(ListCollectionsResponse { collections, time: 0.0 }))
    }

    async fn create(
        &self,
        request: Request<CreateCollection>,
    ) -> Result<Response<CollectionOperationResponse>, Status> {
        let made = request.into_inner();
        let name = made.collection_name.clone();
        let mut held = self.held();
        if held.collections.contains_key(&name) {
            return Err(Status::already_exists(format!("Collection `{name}` already exists!")));
        }
        held.collections.insert(name, Kept { made, points: BTreeMap::new(), indexes: Vec::new() });
        Ok(done())
    }

    async fn delete(
        &self,
        request: Request<DeleteCollection>,
    ) -> Result<Response<CollectionOperationResponse>, Status> {
        self.held().collections.remove(&request.into_inner().collection_name);
        Ok(done())
    }

    async fn collection_exists(
        &self,
        request: Request<CollectionExistsRequest>,
    ) -> Result<Response<CollectionExistsResponse>, Status> {
        let exists = self.held().collections.contains_key(&request.into_inner().collection_name);
        let result = Some(CollectionExists { exists });
        Ok(Response::new(CollectionExistsResponse { result, time: 0.0 }))
    }
} but not {
    get(GetCollectionInfoRequest) -> GetCollectionInfoResponse,
    update(UpdateCollection) -> CollectionOperationResponse,
    update_aliases(ChangeAliases) -> CollectionOperationResponse,
    list_collection_aliases(ListCollectionAliasesRequest) -> ListAliasesResponse,
    list_aliases(ListAliasesRequest) -> ListAliasesResponse,
    collection_cluster_info(CollectionClusterInfoRequest) -> CollectionClusterInfoResponse,
    update_collection_cluster_setup(UpdateCollectionClusterSetupRequest) -> UpdateCollectionClusterSetupResponse,
    create_shard_key(CreateShardKeyRequest) -> CreateShardKeyResponse,
    delete_shard_key(DeleteShardKeyRequest) -> DeleteShardKeyResponse,
    list_shard_keys(ListShardKeysRequest) -> ListShardKeysResponse,
});

service!(Points {
    async fn upsert(&self, request: Request<UpsertPoints>) -> Result<Response<PointsOperationResponse>, Status> {
        let sent = request.into_inner();
        let mut held = self.held();
        let kept = held.collection(&sent.collection_name)?;
        let dimension = match kept.made.vectors_config.as_ref().and_then(|config| config.config.as_ref()) {
            Some(vectors_config::Config::ParamsMap(map)) => map.map["dense"].size,
            _ => return Err(Status::internal("no vector named `dense`")),
        };
        let points = sent.points.into_iter().map(|point| stored(point, dimension));
        let points = points.collect::<Result<Vec<_>, _>>()?;
        kept.points.extend(points);
        held.writes += 1;
        Ok(updated())
    }

    async fn delete(&self, request: Request<DeletePoints>) -> Result<Response<PointsOperationResponse>, Status> {
        let sent = request.into_inner();
        let Some(PointsSelectorOneOf::Points(list)) = sent.points.and_then(|p| p.points_selector_one_of) else {
            return Err(Status::unimplemented("only by id"));
        };
        let mut held = self.held();
        let kept = held.collection(&sent.collection_name)?;
        list.ids.iter().filter_map(number).for_each(|id| drop(kept.points.remove(&id)));
        held.writes += 1;
        Ok(updated())
    }

    async fn create_field_index(
        &self,
        request: Request<CreateFieldIndexCollection>,
    ) -> Result<Response<PointsOperationResponse>, Status> {
        let sent = request.into_inner();
        let mut held = self.held();
        let indexes = &mut held.collection(&sent.collection_name)?.indexes;
        if !indexes.contains(&sent.field_name) {
            indexes.push(sent.field_name);
        }
        Ok(updated())
    }

    async fn get(&self, request: Request<GetPoints>) -> Result<Response<GetResponse>, Status> {
        let sent = request.into_inner();
        let mut held = self.held();
        let kept = held.collection(&sent.collection_name)?;
        let ids = sent.ids.iter().filter_map(number).filter(|id| kept.points.contains_key(id));
        let result = ids.map(|id| RetrievedPoint {
            id: Some(id.into()),
            vectors: kept.shown(id, sent.with_vectors.as_ref()),
            ..RetrievedPoint::default()
        });
        Ok(Response::new(GetResponse { result: result.collect(), ..GetResponse::default() }))
    }

    async fn scroll(&self, request: Request<ScrollPoints>) -> Result<Response<ScrollResponse>, Status> {
        let sent = request.into_inner();
        // Small pages, whatever was asked for, so that more than one is read.
        let limit = sent.limit.unwrap_or(10).min(7) as usize;
        let mut held = self.held();
        let kept = held.collection(&sent.collection_name)?;
        let from = sent.offset.as_ref().and_then(number).unwrap_or(0);
        let mut ids: Vec<u64> = kept.points.range(from..).map(|(&id, _)| id).take(limit + 1).collect();
        let next_page_offset = (ids.len() > limit).then(|| ids.remove(limit).into());
        let result = ids.into_iter().map(|id| RetrievedPoint { id: Some(id.into()), ..RetrievedPoint::default() });
        Ok(Response::new(ScrollResponse {
            next_page_offset,
            result: result.collect(),
            ..ScrollResponse::default()
        }))
    }

    async fn count(&self, request: Request<CountPoints>) -> Result<Response<CountResponse>, Status> {
        let sent = request.into_inner();
        let count = self.held().collection(&sent.collection_name)?.points.len() as u64;
        Ok(Response::new(CountResponse { result: Some(CountResult { count }), ..CountResponse::default() }))
    }

    async fn query(&self, request: Request<QueryPoints>) -> Result<Response<QueryResponse>, Status> {
        let sent = request.into_inner();
        let result = self.held().collection(&sent.collection_name)?.query(&sent)?;
        Ok(Response::new(QueryResponse { result, ..QueryResponse::default() }))
    }

    async fn query_batch(
        &self,
        request: Request<QueryBatchPoints>,
    ) -> Result<Response<QueryBatchResponse>, Status> {
        let sent = request.into_inner();
        let mut held = self.held();
        let kept = held.collection(&sent.collection_name)?;
        let result = sent.query_points.iter().map(|asked| Ok(BatchResult { result: kept.query(asked)? }));
        let result = result.collect::<Result<Vec<_>, Status>>()?;
        Ok(Response::new(QueryBatchResponse { result, ..QueryBatchResponse::default() }))
    }
} but not {
    update_vectors(UpdatePointVectors) -> PointsOperationResponse,
    delete_vectors(DeletePointVectors) -> PointsOperationResponse,
    set_payload(SetPayloadPoints) -> PointsOperationResponse,
    overwrite_payload(SetPayloadPoints) -> PointsOperationResponse,
    delete_payload(DeletePayloadPoints) -> PointsOperationResponse,
    clear_payload(ClearPayloadPoints) -> PointsOperationResponse,
    delete_field_index(DeleteFieldIndexCollection) -> PointsOperationResponse,
    create_vector_name(CreateVectorNameRequest) -> PointsOperationResponse,
    delete_vector_name(DeleteVectorNameRequest) -> PointsOperationResponse,
    search(SearchPoints) -> SearchResponse,
    search_batch(SearchBatchPoints) -> SearchBatchResponse,
    search_groups(SearchPointGroups) -> SearchGroupsResponse,
    recommend(RecommendPoints) -> RecommendResponse,
    recommend_batch(RecommendBatchPoints) -> RecommendBatchResponse,
    recommend_groups(RecommendPointGroups) -> RecommendGroupsResponse,
    discover(DiscoverPoints) -> DiscoverResponse,
    discover_batch(DiscoverBatchPoints) -> DiscoverBatchResponse,
    update_batch(UpdateBatchPoints) -> UpdateBatchResponse,
    query_groups(QueryPointGroups) -> QueryGroupsResponse,
    facet(FacetCounts) -> FacetResponse,
    search_matrix_pairs(SearchMatrixPoints) -> SearchMatrixPairsResponse,
    search_matrix_offsets(SearchMatrixPoints) -> SearchMatrixOffsetsResponse,
});
