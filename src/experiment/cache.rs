//! Answers that a model gave before, by everything that decided them.
//!
//! The key is a hash over the model (its files, or its name and address), the adapter, the prompt as the model reads it, how
//! was sampled, and which repeat it is: repeats are independent draws, and are never answered by one another. What an
//! endpoint answers may change behind the same name, so a run may do without the cache. One SQLite file under
//! `cache/answers.sqlite` of the home, which may be deleted at any time.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rusqlite::{Connection, OptionalExtension, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, IoContext, Result};

pub struct Cache {
    connection: Option<Mutex<Connection>>,
}

/// A hash over parts, each told from the next.
pub fn key(parts: &[&[u8]]) -> String {
    let mut hash = blake3::Hasher::new();
    for part in parts {
        hash.update(&(part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().to_hex().to_string()
}

impl Cache {
    /// The file `path`, made if it is not there.
    ///
    /// # Errors
    /// `Corrupt` when it is no such file, `Io` when its folder cannot be made.
    pub fn open(path: &Path) -> Result<Self> {
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir).at("create", dir)?;
        }
        let failed = |error: rusqlite::Error| {
            Error::corrupt(format!("`{}`: {error}", path.display()))
                .hint("remove the file: nothing in it is the only copy")
        };
        let connection = Connection::open(path).map_err(failed)?;
        connection.busy_timeout(std::time::Duration::from_secs(30)).map_err(failed)?;
        connection
            .execute_batch(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
                 CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;",
            )
            .map_err(failed)?;
        Ok(Self { connection: Some(Mutex::new(connection)) })
    }

    /// One that keeps nothing.
    pub fn none() -> Self {
        Self { connection: None }
    }

    /// What was kept under `key`; nothing where it cannot be read.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        let connection = self.connection.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
        let find = "SELECT value FROM answers WHERE key = ?1";
        let value: Option<String> = connection.query_row(find, [key], |row| row.get(0)).optional().ok()?;
        serde_json::from_str(&value?).ok()
    }

    /// Keeps `value`. A cache that cannot be written to is no reason to stop: the answer is there.
    pub fn put<T: Serialize>(&self, key: &str, value: &T) {
        let Some(connection) = &self.connection else { return };
        if let Ok(value) = serde_json::to_string(value) {
            let connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = connection.execute("INSERT OR REPLACE INTO answers VALUES (?1, ?2)", params![key, value]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_comes_back_in_another_process_and_nothing_else_does() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/answers.sqlite");
        let (one, two) = (key(&[b"model", b"prompt"]), key(&[b"modelp", b"rompt"]));
        assert_ne!(one, two);
        Cache::open(&path).unwrap().put(&one, &("text", 3));
        let cache = Cache::open(&path).unwrap();
        assert_eq!(cache.get::<(String, u8)>(&one), Some(("text".to_owned(), 3)));
        assert_eq!(cache.get::<(String, u8)>(&two), None);
        assert_eq!(cache.get::<u8>(&one), None, "another form is no answer");
        Cache::none().put(&one, &1);
        assert_eq!(Cache::none().get::<u8>(&one), None);
    }

    #[test]
    fn a_file_that_is_none_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("answers.sqlite");
        std::fs::write(&path, "nonsense, and long enough to be read as a header of a database file").unwrap();
        let error = Cache::open(&path).err().unwrap();
        assert!(error.advice().unwrap().contains("remove the file"), "{error}");
    }
}
