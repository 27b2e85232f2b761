//! Vectors in Qdrant, in this process: the only file that names a type of `qdrant-edge`.
//!
//! What has to be known of it (0.7.2), all kept from callers:
//! * `load` does not replay its write-ahead log, so a point exists once it is flushed, not before. The log only grows
//!   and every load reads it whole, so [`trim_log`] drops its closed files.
//! * The log numbers operations, and an operation with a lower number than a point's is ignored: the log must be
//!   trimmed from its start, never deleted.
//! * One shard is open at a time: opening takes a lock on the log's folder and fails at once when it is taken. Ours
//!   ([`Lock`]) is taken before it, and waits.
//! * Some failures are panics (`flush`, a damaged log); they become errors here.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use qdrant_edge::{
    Condition, CountRequest, DEFAULT_VECTOR_NAME, Distance, EdgeConfig, EdgeOptimizersConfig, EdgeShard,
    EdgeVectorParams, Filter, NamedQuery, PointId, PointInsertOperations, PointOperations, PointStruct,
    QueryEnum, ScrollRequest, SearchParams, SearchRequest, UpdateOperation, VectorInternal,
    VectorStructInternal, WalOptions, WithPayloadInterface, WithVector,
};

use crate::error::{Error, IoContext, Result};

use super::ChunkId;
use super::lock::{Lock, Mode, Patience};
use super::space;
use super::store::{CANDIDATES, Point, Settings, complete};

/// Points in one log entry: keeps an entry well below [`LOG_FILE_BYTES`] for usual dimensions.
const POINTS_AN_OPERATION: usize = 256;
/// Of one file of the log; the default of 32 MiB is made for servers.
const LOG_FILE_BYTES: usize = 4 << 20;
/// Ids are read in pages, so that memory stays bounded.
const PAGE: usize = 50_000;
/// Another search holds the shard for milliseconds; an evaluation may for seconds.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

pub(super) struct Edge {
    /// `None` only while it is dropped.
    shard: Option<EdgeShard>,
    settings: Settings,
    _lock: Lock,
}

impl Edge {
    /// Opens the shard in `dir` or makes an empty one; its lock file lies beside the folder.
    pub(super) fn open(dir: &Path, settings: Settings) -> Result<Self> {
        std::fs::create_dir_all(dir).at("create", dir)?;
        let mut patience = Patience { limit: LONGEST_WAIT, ..Patience::default() };
        let lock = Lock::acquire(&dir.with_extension("lock"), Mode::Exclusive, &mut patience)?;
        trim_log(&dir.join("wal"))?;
        let place = format!("vectors in `{}`", dir.display());
        let shard = guarded(&place, || match dir.join("segments").exists() {
            true => EdgeShard::load(dir, Some(config(settings))),
            false => EdgeShard::new(dir, config(settings)),
        })?;
        Ok(Self { shard: Some(shard), settings, _lock: lock })
    }

    fn shard(&self) -> &EdgeShard {
        self.shard.as_ref().expect("a shard is open until it is dropped")
    }

    pub(super) fn upsert(&mut self, points: &[Point]) -> Result<()> {
        for part in points.chunks(POINTS_AN_OPERATION) {
            let empty = || serde_json::Value::Object(serde_json::Map::new());
            let point = |point: &Point| {
                PointStruct::new(PointId::NumId(point.id), point.vector.to_vec(), empty()).into()
            };
            let points = part.iter().map(point);
            let insert = PointOperations::UpsertPoints(PointInsertOperations::PointsList(points.collect()));
            guarded("adding vectors", || self.shard().update(UpdateOperation::PointOperation(insert)))?;
        }
        Ok(())
    }

    pub(super) fn delete(&mut self, ids: &[ChunkId]) -> Result<()> {
        let ids = ids.iter().map(|&id| PointId::NumId(id)).collect();
        let delete = PointOperations::DeletePoints { ids };
        guarded("deleting vectors", || self.shard().update(UpdateOperation::PointOperation(delete)))
    }

    pub(super) fn search(
        &self,
        chosen: Option<&[ChunkId]>,
        vector: &[f32],
        k: usize,
        exact: bool,
    ) -> Result<Vec<(ChunkId, f32)>> {
        // Qdrant walks the graph past what is not chosen, or compares what is where that is few.
        let chosen = chosen.map(|ids| {
            let ids = ids.iter().map(|&id| PointId::NumId(id));
            Filter::new_must(Condition::HasId(ids.collect()))
        });
        complete(k, |limit| self.nearest(chosen.as_ref(), vector, limit, exact))
    }

    fn nearest(
        &self,
        chosen: Option<&Filter>,
        vector: &[f32],
        limit: usize,
        exact: bool,
    ) -> Result<Vec<(ChunkId, f32)>> {
        let query = NamedQuery { query: VectorInternal::Dense(vector.to_vec()), using: None };
        let request = SearchRequest {
            query: QueryEnum::Nearest(query),
            filter: chosen.cloned(),
            params: Some(SearchParams {
                exact,
                hnsw_ef: Some(CANDIDATES.max(limit)),
                ..SearchParams::default()
            }),
            limit,
            offset: 0,
            with_payload: Some(WithPayloadInterface::Bool(false)),
            with_vector: Some(WithVector::Bool(false)),
            score_threshold: None,
        };
        let points = guarded("searching vectors", || self.shard().search(request))?;
        Ok(points.into_iter().filter_map(|point| Some((number(&point.id)?, point.score))).collect())
    }

    pub(super) fn vectors(&self, ids: &[ChunkId]) -> Result<Vec<Option<Vec<f32>>>> {
        let points: Vec<_> = ids.iter().map(|&id| PointId::NumId(id)).collect();
        let (no, yes) = (WithPayloadInterface::Bool(false), WithVector::Bool(true));
        let records = guarded("reading vectors", || self.shard().retrieve(&points, Some(no), Some(yes)))?;
        let mut found = std::collections::HashMap::new();
        for record in records {
            if let (Some(id), Some(vector)) = (number(&record.id), record.vector.and_then(dense)) {
                found.insert(id, vector);
            }
        }
        Ok(ids.iter().map(|id| found.get(id).cloned()).collect())
    }

    pub(super) fn ids(&self) -> Result<Vec<ChunkId>> {
        let (mut ids, mut offset) = (Vec::new(), None);
        loop {
            let request = ScrollRequest {
                offset,
                limit: Some(PAGE),
                filter: None,
                with_payload: Some(WithPayloadInterface::Bool(false)),
                with_vector: WithVector::Bool(false),
                order_by: None,
            };
            let (records, next) = guarded("listing vectors", || self.shard().scroll(request))?;
            ids.extend(records.iter().filter_map(|record| number(&record.id)));
            offset = next;
            if offset.is_none() {
                return Ok(ids);
            }
        }
    }

    pub(super) fn count(&self) -> Result<usize> {
        guarded("counting vectors", || self.shard().count(CountRequest { filter: None, exact: true }))
    }

    pub(super) fn flush(&mut self) -> Result<()> {
        guarded::<_, std::convert::Infallible>("writing vectors", || {
            self.shard().flush();
            Ok(())
        })
    }

    pub(super) fn wants_optimizing(&self) -> bool {
        let info = self.shard().info();
        info.points_count.saturating_sub(info.indexed_vectors_count) > self.settings.exact_below
    }

    pub(super) fn optimize(&mut self) -> Result<()> {
        guarded("building the vector graph", || self.shard().optimize())?;
        self.flush()
    }
}

impl Drop for Edge {
    /// Closing flushes, and a flush that fails (a full disk) panics. Whoever needed it flushed has called `flush`.
    fn drop(&mut self) {
        let shard = self.shard.take();
        let _ = guarded::<_, std::convert::Infallible>("closing vectors", || {
            drop(shard);
            Ok(())
        });
    }
}

fn config(settings: Settings) -> EdgeConfig {
    // In kilobytes, as Qdrant counts; one below, because it builds the graph at the threshold.
    let threshold = settings.exact_below * settings.dimension * size_of::<f32>() / 1024 + 1;
    let optimizers = EdgeOptimizersConfig {
        indexing_threshold: Some(threshold),
        default_segment_number: Some(1),
        max_segment_size: Some(usize::MAX / 1024),
        ..EdgeOptimizersConfig::default()
    };
    let log = WalOptions { segment_capacity: LOG_FILE_BYTES, ..WalOptions::default() };
    EdgeConfig::builder()
        .vector(DEFAULT_VECTOR_NAME, EdgeVectorParams::builder(settings.dimension, Distance::Cosine).build())
        .optimizers(optimizers)
        .wal_options(log)
        .build()
}

/// Deletes the closed files of the log but the last, which carries the numbering on.
fn trim_log(dir: &Path) -> Result<()> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Ok(()) };
    let mut closed: Vec<(u64, std::path::PathBuf)> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let start = entry.file_name().to_str()?.strip_prefix("closed-")?.parse().ok()?;
            Some((start, entry.path()))
        })
        .collect();
    closed.sort();
    closed.pop();
    // Oldest first: what is left is without a gap wherever this stops.
    closed.iter().try_for_each(|(_, path)| std::fs::remove_file(path).at("delete", path))
}

fn number(id: &PointId) -> Option<ChunkId> {
    match id {
        PointId::NumId(id) => Some(*id),
        PointId::Uuid(_) => None,
    }
}

fn dense(vector: VectorStructInternal) -> Option<Vec<f32>> {
    match vector {
        VectorStructInternal::Single(vector) => Some(vector),
        _ => None,
    }
}

/// Runs `work`, turning its errors and panics into ours.
fn guarded<T, E: std::fmt::Display>(doing: &str, work: impl FnOnce() -> Result<T, E>) -> Result<T> {
    let why = match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(error)) => error.to_string(),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked").to_owned()
        }
    };
    let what = format!("{doing}: Qdrant says: {why}");
    // Only damage may be called damage: whoever hears of it throws the shard away and builds it anew.
    Err(match refusal(&why) {
        Some(source) if source.kind() == std::io::ErrorKind::StorageFull => space::full(what),
        Some(source) => {
            Error::io(what, source).hint("the vectors are not to blame: correct this and run it again")
        }
        None => Error::corrupt(what).hint("`incontext ingest` again rebuilds what is missing"),
    })
}

/// The operating system's refusal inside Qdrant's words, if that is what they tell of: a full disk, a missing permission,
/// too many open files. A file that is missing is none: that is damage.
fn refusal(why: &str) -> Option<std::io::Error> {
    if why.contains("Not enough space") {
        return Some(std::io::ErrorKind::StorageFull.into());
    }
    let number = |mark: &str| -> Option<i32> {
        let (_, rest) = why.split_once(mark)?;
        rest[..rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len())].parse().ok()
    };
    let code = number("os error ").or_else(|| number("Os { code: "))?;
    let error = std::io::Error::from_raw_os_error(code);
    use std::io::ErrorKind::{
        FileTooLarge, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull,
    };
    let is_refused = matches!(
        error.kind(),
        FileTooLarge | PermissionDenied | QuotaExceeded | ReadOnlyFilesystem | StorageFull
    );
    // EMFILE and ENFILE have no kind of their own.
    (is_refused || cfg!(unix) && matches!(code, 23 | 24)).then_some(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_full_disk_is_no_damage_and_a_missing_file_is() {
        let said = |why: &str| guarded::<(), _>("doing", || Err(why.to_owned())).unwrap_err();
        for why in [
            "Failed to save structure on disk with error: No space left on device (os error 28)",
            "Not enough space available for optimization, needed: 132.97 MiB",
            "Can't init WAL: Os { code: 27, kind: FileTooLarge, message: \"File too large\" }",
            "Permission denied (os error 13)",
            "Too many open files (os error 24)",
        ] {
            assert!(matches!(said(why), Error::Io { .. }), "{why}");
        }
        for why in ["No such file or directory (os error 2)", "segment.json: EOF while parsing", "os error "]
        {
            assert!(matches!(said(why), Error::Corrupt(_)), "{why}");
        }
    }
}
