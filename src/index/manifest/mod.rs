//! The source of truth of a collection: which documents there are, which chunks they have, under which ids.
//!
//! One SQLite file. Vectors and words are copies that can be checked against it and made again from the documents; an
//! id that this file does not know does not exist, wherever else it turns up. Ids of chunks are handed out in
//! increasing order and never twice, so nothing left behind by a crash can be taken for something newer.
//!
//! Write-ahead logging with full syncing: a committed transaction survives a killed process and a lost power supply.

mod rows;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, Transaction, params};
use serde::Serialize;

use crate::error::{Error, Result};
use crate::text::chunk::Chunk;
use crate::text::document::Format;

use super::profile::Profile;
use super::{ChunkId, Passage};

pub(crate) const FILE: &str = "manifest.sqlite";

/// The layout of a collection that this version reads and writes; a higher one was written by a later version.
pub const SCHEMA_VERSION: i64 = 1;

/// A document, as it was when it was ingested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentMeta {
    /// Relative to the working folder, with `/` between parts; names the document.
    pub path: String,
    /// blake3 of the file, as hexadecimal digits. Never a key: one content may have many paths.
    pub hash: String,
    /// Bytes.
    pub size: u64,
    /// Nanoseconds since the Unix epoch.
    pub mtime: i64,
    pub format: Format,
    pub title: Option<String>,
    /// Front-matter fields.
    pub fields: BTreeMap<String, String>,
}

impl DocumentMeta {
    /// The field that says where a copy comes from.
    pub const URL: &'static str = "url";
}

/// A document the manifest knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    pub meta: DocumentMeta,
    /// How many.
    pub chunks: u32,
    /// Some of its vectors or words were lost: ingest it again even if its file is unchanged.
    pub stale: bool,
}

/// How much there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    pub documents: u64,
    pub chunks: u64,
    /// Of all chunks, as the embedder counts.
    pub tokens: u64,
    /// Of all documents' files.
    pub bytes: u64,
    /// Documents that wait to be ingested again.
    pub stale: u64,
}

/// One change as the manifest records it; chunks come with the ids reserved for them.
pub(crate) enum Entry {
    Put { document: DocumentMeta, chunks: Vec<(ChunkId, Chunk)> },
    Remove { path: String },
    Touch { path: String, size: u64, mtime: i64 },
}

/// The folders that hold the current vectors and words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Folders {
    pub vectors: u64,
    pub words: u64,
}

pub(crate) struct Manifest {
    connection: Connection,
}

impl Manifest {
    /// Opens the manifest at `path`; `None` when there is none yet.
    ///
    /// # Errors
    /// [`Error::Mismatch`] for one written by a later version, [`Error::Corrupt`] for a file that is no manifest.
    pub(crate) fn open(path: &Path) -> Result<Option<Self>> {
        if !path.exists() {
            return Ok(None);
        }
        let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        match version(&connection).map_err(|error| sqlite(&error).within(format!("`{}`", path.display())))? {
            0 => Ok(None),
            SCHEMA_VERSION => Ok(Some(Self { connection })),
            later => Err(Error::mismatch(format!(
                "`{}` has layout {later}; this version knows {SCHEMA_VERSION}",
                path.display()
            ))
            .hint("use the newer `incontext` that wrote it, or remove the collection and ingest again")),
        }
    }

    /// Makes an empty manifest at `path`, in one transaction.
    ///
    /// # Errors
    /// [`Error::Corrupt`] with what SQLite says.
    pub(crate) fn create(path: &Path, profile: &Profile) -> Result<Self> {
        let mut connection =
            connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
        let toml = profile.to_toml()?;
        (|| {
            connection.pragma_update(None, "journal_mode", "wal")?;
            let transaction = connection.transaction()?;
            transaction.execute_batch(rows::SCHEMA)?;
            set(&transaction, "profile", &toml)?;
            for (key, value) in [("next_chunk", 1), ("vectors", 0), ("words", 0)] {
                set(&transaction, key, value)?;
            }
            transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
            transaction.commit()
        })()
        .map_err(|error| sqlite(&error))?;
        Ok(Self { connection })
    }

    /// What the collection was built with.
    ///
    /// # Errors
    /// [`Error::Invalid`] when it cannot be understood.
    pub(crate) fn profile(&self) -> Result<Profile> {
        let toml: String = self.meta("profile")?;
        Profile::parse(&toml)
    }

    pub(crate) fn folders(&self) -> Result<Folders> {
        Ok(Folders { vectors: self.meta::<i64>("vectors")? as u64, words: self.meta::<i64>("words")? as u64 })
    }

    /// Makes `folders` the current ones.
    pub(crate) fn set_folders(&mut self, folders: Folders) -> Result<()> {
        self.transact(|transaction| set_folders(transaction, folders))
    }

    /// Forgets every document, and goes on with `profile` in `folders`. Ids are still not used twice.
    pub(crate) fn reset(&mut self, profile: &Profile, folders: Folders) -> Result<()> {
        let toml = profile.to_toml()?;
        self.transact(|transaction| {
            transaction.execute_batch("DELETE FROM chunks; DELETE FROM documents;")?;
            set(transaction, "profile", &toml)?;
            set_folders(transaction, folders)
        })
    }

    /// Hands out `count` ids that were never handed out before, durably.
    pub(crate) fn reserve(&mut self, count: usize) -> Result<Range<ChunkId>> {
        self.transact(|transaction| {
            let next: i64 =
                transaction
                    .query_row("SELECT value FROM meta WHERE key = 'next_chunk'", [], |row| row.get(0))?;
            let end = next + count as i64;
            set(transaction, "next_chunk", end)?;
            Ok(next as ChunkId..end as ChunkId)
        })
    }

    /// Records all of `entries` in one transaction. Returns the ids of chunks that are no more.
    pub(crate) fn record(&mut self, entries: &[Entry]) -> Result<Vec<ChunkId>> {
        self.transact(|transaction| {
            let mut gone = Vec::new();
            for entry in entries {
                match entry {
                    Entry::Put { document, chunks } => rows::put(transaction, document, chunks, &mut gone)?,
                    Entry::Remove { path } => {
                        if let Some(id) = rows::document_id(transaction, path)? {
                            rows::drop_chunks(transaction, id, &mut gone)?;
                            transaction.execute("DELETE FROM documents WHERE id = ?1", [id])?;
                        }
                    }
                    Entry::Touch { path, size, mtime } => {
                        let update = "UPDATE documents SET size = ?2, mtime = ?3 WHERE path = ?1";
                        transaction.execute(update, params![path, *size as i64, mtime])?;
                    }
                }
            }
            Ok(gone)
        })
    }

    /// Marks the documents that `lost` chunks belong to. Returns how many were not marked before.
    pub(crate) fn mark_stale(&mut self, lost: &[ChunkId]) -> Result<usize> {
        self.transact(|transaction| {
            let mut mark = transaction.prepare(
                "UPDATE documents SET stale = 1
                 WHERE stale = 0 AND id = (SELECT document FROM chunks WHERE id = ?1)",
            )?;
            lost.iter().map(|&id| mark.execute([id as i64])).sum()
        })
    }

    /// The ids of all chunks, ascending.
    pub(crate) fn ids(&self) -> Result<Vec<ChunkId>> {
        self.query("SELECT id FROM chunks ORDER BY id", |row| Ok(row.get::<_, i64>(0)? as ChunkId))
    }

    /// How many chunks there are.
    pub(crate) fn count(&self) -> Result<usize> {
        let count = self.connection.query_row("SELECT count(*) FROM chunks", [], |row| row.get::<_, i64>(0));
        count.map(|count| count as usize).map_err(|error| sqlite(&error))
    }

    pub(crate) fn knows(&self, id: ChunkId) -> Result<bool> {
        let found = self.connection.prepare_cached("SELECT 1 FROM chunks WHERE id = ?1");
        found.and_then(|mut found| found.exists([id as i64])).map_err(|error| sqlite(&error))
    }

    /// The chunk `id` with its document.
    pub(crate) fn passage(&self, id: ChunkId) -> Result<Option<Passage>> {
        let select = format!(
            "SELECT {} FROM chunks c JOIN documents d ON d.id = c.document WHERE c.id = ?1",
            rows::PASSAGE
        );
        let statement = self.connection.prepare_cached(&select);
        statement
            .and_then(|mut statement| {
                statement.query_row([id as i64], |row| rows::passage(id, row)).optional()
            })
            .map_err(|error| sqlite(&error))
    }

    /// The ids of the chunks of the document at `path`, in its order.
    pub(crate) fn chunks_of(&self, path: &str) -> Result<Vec<ChunkId>> {
        let select = "SELECT c.id FROM chunks c JOIN documents d ON d.id = c.document WHERE d.path = ?1 ORDER BY ordinal";
        (|| {
            let mut statement = self.connection.prepare_cached(select)?;
            let ids = statement.query_map([path], |row| Ok(row.get::<_, i64>(0)? as ChunkId))?;
            ids.collect::<rusqlite::Result<Vec<_>>>()
        })()
        .map_err(|error| sqlite(&error))
    }

    /// Every document, by path.
    pub(crate) fn documents(&self) -> Result<Vec<Known>> {
        self.query(&format!("SELECT {} FROM documents ORDER BY path", rows::DOCUMENT), rows::document)
    }

    pub(crate) fn stats(&self) -> Result<Stats> {
        let select = "SELECT (SELECT count(*) FROM documents), (SELECT count(*) FROM chunks),
            (SELECT coalesce(sum(tokens), 0) FROM chunks), (SELECT coalesce(sum(size), 0) FROM documents),
            (SELECT count(*) FROM documents WHERE stale = 1)";
        let stats = self.connection.query_row(select, [], |row| {
            let number = |column| row.get::<_, i64>(column).map(|value| value as u64);
            Ok(Stats {
                documents: number(0)?,
                chunks: number(1)?,
                tokens: number(2)?,
                bytes: number(3)?,
                stale: number(4)?,
            })
        });
        stats.map_err(|error| sqlite(&error))
    }

    fn meta<T: rusqlite::types::FromSql>(&self, key: &str) -> Result<T> {
        let value =
            self.connection.query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| row.get(0));
        value.map_err(|error| sqlite(&error))
    }

    fn query<T>(&self, select: &str, read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>) -> Result<Vec<T>> {
        (|| {
            self.connection.prepare_cached(select)?.query_map([], read)?.collect::<rusqlite::Result<Vec<_>>>()
        })()
        .map_err(|error| sqlite(&error))
    }

    /// All of `work` or nothing of it.
    fn transact<T>(&mut self, work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>) -> Result<T> {
        (|| {
            let transaction = self.connection.transaction()?;
            let value = work(&transaction)?;
            transaction.commit()?;
            Ok(value)
        })()
        .map_err(|error| sqlite(&error))
    }
}

fn connect(path: &Path, flags: OpenFlags) -> Result<Connection> {
    (|| {
        let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        connection.busy_timeout(Duration::from_secs(10))?;
        connection.pragma_update(None, "synchronous", "full")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        Ok(connection)
    })()
    .map_err(|error: rusqlite::Error| sqlite(&error).within(format!("`{}`", path.display())))
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

fn set(transaction: &Transaction<'_>, key: &str, value: impl rusqlite::ToSql) -> rusqlite::Result<()> {
    let upsert = "INSERT INTO meta VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value";
    transaction.execute(upsert, params![key, value]).map(drop)
}

fn set_folders(transaction: &Transaction<'_>, folders: Folders) -> rusqlite::Result<()> {
    set(transaction, "vectors", folders.vectors as i64)?;
    set(transaction, "words", folders.words as i64)
}

fn sqlite(error: &rusqlite::Error) -> Error {
    use rusqlite::ErrorCode;
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            Error::busy(format!("the manifest is in use: {error}"))
                .hint("wait until the other process is done")
        }
        Some(ErrorCode::DiskFull) => Error::corrupt("cannot write the manifest: the disk is full")
            .hint("free some space and ingest again: nothing that was there is lost"),
        // Said by a full disk too, of which reading needs a few pages. Whoever removes the collection over that loses it.
        Some(ErrorCode::SystemIoFailure) => Error::corrupt(format!("the manifest cannot be read now: {error}"))
            .hint("look whether its disk is full, and free some space; if it is not, the disk may be failing"),
        Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
            Error::invalid(format!("cannot open the manifest for writing: {error}")).hint(
                "searching takes locks there, too: make the folder yours to write to, or name a copy of it with --home",
            )
        }
        _ => Error::corrupt(format!("the manifest cannot be read: {error}"))
            .hint("remove the collection (`incontext collections rm NAME`) and ingest again"),
    }
}
