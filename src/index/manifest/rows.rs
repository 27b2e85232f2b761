//! Documents and chunks as rows of tables, and back.

use std::collections::BTreeMap;

use rusqlite::types::{Type, ValueRef};
use rusqlite::{OptionalExtension, Row, Transaction, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{DocumentMeta, Known};
use crate::index::{ChunkId, Passage};
use crate::text::chunk::Chunk;
use crate::text::document::Origin;

pub(super) const SCHEMA: &str = "
    CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
    CREATE TABLE documents (
        id INTEGER PRIMARY KEY,
        path TEXT NOT NULL UNIQUE,
        hash TEXT NOT NULL,           -- blake3 of the file, hex
        size INTEGER NOT NULL,        -- bytes
        mtime INTEGER NOT NULL,       -- nanoseconds since the Unix epoch
        format TEXT NOT NULL,
        title TEXT,
        fields TEXT NOT NULL,         -- front matter, a JSON object
        chunks INTEGER NOT NULL,      -- how many
        stale INTEGER NOT NULL        -- 1: vectors or words were lost, ingest it again
    );
    CREATE TABLE chunks (
        id INTEGER PRIMARY KEY,
        document INTEGER NOT NULL REFERENCES documents (id),
        ordinal INTEGER NOT NULL,
        header TEXT NOT NULL,
        text TEXT NOT NULL,
        first_byte INTEGER NOT NULL, end_byte INTEGER NOT NULL,
        first_line INTEGER NOT NULL, last_line INTEGER NOT NULL,
        tokens INTEGER NOT NULL,
        origin TEXT,                  -- JSON; NULL where text is the source
        source TEXT                   -- NULL where it is the text
    );
    CREATE INDEX chunks_by_document ON chunks (document, ordinal);
";

/// What [`document`] reads.
pub(super) const DOCUMENT: &str = "path, hash, size, mtime, format, title, fields, chunks, stale";

/// What [`passage`] reads, of a chunk `c` and its document `d`.
pub(super) const PASSAGE: &str =
    "d.path, d.title, d.format, c.ordinal, c.header, c.text, c.first_byte, c.end_byte, c.first_line,
    c.last_line, c.tokens, c.origin, c.source, d.fields";

pub(super) fn document_id(transaction: &Transaction<'_>, path: &str) -> rusqlite::Result<Option<i64>> {
    let mut select = transaction.prepare_cached("SELECT id FROM documents WHERE path = ?1")?;
    select.query_row([path], |row| row.get(0)).optional()
}

/// Deletes the chunks of `document` and adds their ids to those that are `gone`.
pub(super) fn drop_chunks(
    transaction: &Transaction<'_>,
    document: i64,
    gone: &mut Vec<ChunkId>,
) -> rusqlite::Result<()> {
    let mut delete = transaction.prepare_cached("DELETE FROM chunks WHERE document = ?1 RETURNING id")?;
    for id in delete.query_map([document], |row| row.get::<_, i64>(0))? {
        gone.push(id? as ChunkId);
    }
    Ok(())
}

/// Adds a document with its chunks, or replaces the one at its path.
pub(super) fn put(
    transaction: &Transaction<'_>,
    document: &DocumentMeta,
    chunks: &[(ChunkId, Chunk)],
    gone: &mut Vec<ChunkId>,
) -> rusqlite::Result<()> {
    if let Some(id) = document_id(transaction, &document.path)? {
        drop_chunks(transaction, id, gone)?;
    }
    let mut upsert = transaction.prepare_cached(
        "INSERT INTO documents (path, hash, size, mtime, format, title, fields, chunks, stale)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 0)
         ON CONFLICT (path) DO UPDATE SET hash = excluded.hash, size = excluded.size, mtime = excluded.mtime,
            format = excluded.format, title = excluded.title, fields = excluded.fields, chunks = excluded.chunks, stale = 0
         RETURNING id",
    )?;
    let DocumentMeta { path, hash, size, mtime, format, title, fields } = document;
    let (format, fields) = (to_json(format)?, to_json(fields)?);
    let values = params![path, hash, *size as i64, mtime, format, title, fields, chunks.len() as i64];
    let id: i64 = upsert.query_row(values, |row| row.get(0))?;

    let mut insert = transaction
        .prepare_cached("INSERT INTO chunks VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)")?;
    for (chunk_id, chunk) in chunks {
        let Chunk { ordinal, header, text, bytes, lines, tokens, origin, source } = chunk;
        let origin = match origin {
            Origin::Same => None,
            pieces => Some(to_json(pieces)?),
        };
        let (first, end) = (bytes.start as i64, bytes.end as i64);
        let place = params![
            *chunk_id as i64,
            id,
            ordinal,
            header,
            text,
            first,
            end,
            lines.0,
            lines.1,
            tokens,
            origin,
            source
        ];
        insert.execute(place)?;
    }
    Ok(())
}

/// A row of [`PASSAGE`].
pub(super) fn passage(id: ChunkId, row: &Row<'_>) -> rusqlite::Result<Passage> {
    let byte = |column| row.get::<_, i64>(column).map(|byte| byte as usize);
    let origin = match row.get_ref(11)? {
        ValueRef::Null => Origin::Same,
        _ => json(row, 11)?,
    };
    Ok(Passage {
        id,
        path: row.get(0)?,
        title: row.get(1)?,
        url: address(json(row, 13)?),
        format: json(row, 2)?,
        chunk: Chunk {
            ordinal: row.get(3)?,
            header: row.get(4)?,
            text: row.get(5)?,
            bytes: byte(6)?..byte(7)?,
            lines: (row.get(8)?, row.get(9)?),
            tokens: row.get(10)?,
            origin,
            source: row.get(12)?,
        },
    })
}

/// A row of documents, of the columns [`DOCUMENT`].
pub(super) fn document(row: &Row<'_>) -> rusqlite::Result<Known> {
    let meta = DocumentMeta {
        path: row.get(0)?,
        hash: row.get(1)?,
        size: row.get::<_, i64>(2)? as u64,
        mtime: row.get(3)?,
        format: json(row, 4)?,
        title: row.get(5)?,
        fields: json(row, 6)?,
    };
    Ok(Known { meta, chunks: row.get(7)?, stale: row.get(8)? })
}

/// Where the document with these fields comes from. What stands there may be anything; a place within a site leads nowhere.
fn address(mut fields: BTreeMap<String, String>) -> Option<String> {
    fields.remove(DocumentMeta::URL).filter(|url| url.starts_with("https://") || url.starts_with("http://"))
}

fn to_json(value: &impl Serialize) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}

fn json<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error)))
}
