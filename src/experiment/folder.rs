//! What a run leaves on the disk, and how it goes on after it was stopped.
//!
//! ```text
//! experiment.toml  the experiment, as it was run
//! cells.json       the key of each cell's rows, under which they were made
//! rows.jsonl       one line a row, appended as they come: the truth
//! summary.json  report.html  junit.xml  retrieval.trec     made of the rows, again after every run
//! ```
//!
//! A line is handed to the system whole, so a killed process loses the row it was at and no other; half a line at the end
//! (a full disk) is cut off. Of two lines for one row the last counts. One process writes at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::rows::Row;
use crate::error::{Error, IoContext, Result};
use crate::files;

pub const ROWS: &str = "rows.jsonl";
pub const SUMMARY: &str = "summary.json";
pub const REPORT: &str = "report.html";
pub const EXPERIMENT: &str = "experiment.toml";
const CELLS: &str = "cells.json";
const LOCK: &str = "run.lock";

/// A row of the data in a cell: cell, item, repeat.
pub type Place = (String, String, usize);

/// The folder of a run, this process being the one that writes to it.
pub struct Folder {
    dir: PathBuf,
    rows: File,
    /// Held as long as this lives.
    _lock: File,
}

impl Folder {
    /// Opens `dir`, made if it is not there, for writing.
    ///
    /// # Errors
    /// `Busy` while another process writes to it, `Io` when it cannot be written to.
    pub fn open(dir: &Path) -> Result<Self> {
        let Some(lock) = files::try_lock(&dir.join(LOCK))? else {
            return Err(Error::busy(format!("another process runs the experiment in `{}`", dir.display()))
                .hint("wait for it, or give this run another folder with --out"));
        };
        let path = dir.join(ROWS);
        cut_half_a_line(&path)?;
        let rows = OpenOptions::new().create(true).append(true).open(&path).at("open", &path)?;
        Ok(Self { dir: dir.to_owned(), rows, _lock: lock })
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Gives `keys` their ids: those that are known keep theirs, others get one that is free.
    ///
    /// # Errors
    /// `Corrupt` when what is written there cannot be read.
    pub fn ids(&self, keys: &[String]) -> Result<Vec<String>> {
        let path = self.dir.join(CELLS);
        let mut known: BTreeMap<String, String> = match path.exists() {
            false => BTreeMap::new(),
            true => serde_json::from_slice(&std::fs::read(&path).at("read", &path)?).map_err(|error| {
                Error::corrupt(format!("`{}`: {error}", path.display()))
                    .hint("remove the folder and run the experiment again; answers come out of the cache")
            })?,
        };
        let mut next = 1;
        let taken: BTreeSet<String> = known.values().cloned().collect();
        for key in keys {
            if known.contains_key(key) {
                continue;
            }
            let free =
                (next..).map(|number| (number, format!("c{number:02}"))).find(|(_, id)| !taken.contains(id));
            let (number, id) = free.unwrap_or_default();
            next = number + 1;
            known.insert(key.clone(), id);
        }
        files::replace(&path, &serde_json::to_vec_pretty(&known).unwrap_or_default())?;
        Ok(keys.iter().map(|key| known[key].clone()).collect())
    }

    /// Adds a row.
    ///
    /// # Errors
    /// `Io` when the disk is full.
    pub fn append(&mut self, row: &Row) -> Result<()> {
        let mut line = serde_json::to_vec(row)
            .map_err(|error| Error::invalid(format!("a row cannot be written: {error}")))?;
        line.push(b'\n');
        self.rows.write_all(&line).at("write", self.dir.join(ROWS))
    }

    /// Makes sure that what was appended is on the disk.
    ///
    /// # Errors
    /// `Io` when it cannot be.
    pub fn sync(&self) -> Result<()> {
        self.rows.sync_all().at("write", self.dir.join(ROWS))
    }

    /// Writes a file beside the rows, whole or not at all.
    ///
    /// # Errors
    /// `Io` when it cannot be written.
    pub fn put(&self, name: &str, bytes: &[u8]) -> Result<()> {
        files::replace(&self.dir.join(name), bytes)
    }
}

/// The rows of a run, one by one; of a row that was made again, the earlier lines too.
///
/// # Errors
/// `NotFound` when there are none; each line may be `Corrupt`.
pub fn rows(dir: &Path) -> Result<impl Iterator<Item = Result<Row>> + use<>> {
    lines(dir)
}

/// Of a row, where it belongs: all that has to be read to know which lines count.
#[derive(Deserialize)]
struct At {
    cell: String,
    item: String,
    #[serde(default)]
    repeat: usize,
}

fn lines<T: DeserializeOwned>(dir: &Path) -> Result<impl Iterator<Item = Result<T>> + use<T>> {
    let path = dir.join(ROWS);
    if !path.exists() {
        return Err(Error::not_found(format!("`{}` holds no run of an experiment", dir.display()))
            .hint("incontext experiment run FILE.toml makes one"));
    }
    let lines = BufReader::new(File::open(&path).at("open", &path)?).lines();
    Ok((1..).zip(lines).map(move |(number, line)| {
        let line = line.at("read", &path)?;
        serde_json::from_str(&line).map_err(|error| {
            Error::corrupt(format!("`{}` line {number}: {error}", path.display()))
                .hint("remove that line; the row is made again when the experiment is resumed")
        })
    }))
}

/// Which line of the rows counts for each place, by number: the last.
///
/// # Errors
/// As [`rows`].
pub fn last(dir: &Path) -> Result<BTreeMap<Place, usize>> {
    let mut last = BTreeMap::new();
    for (number, row) in lines(dir)?.enumerate() {
        let At { cell, item, repeat } = row?;
        last.insert((cell, item, repeat), number);
    }
    Ok(last)
}

/// The rows that count, one by one, in the order in which they came.
///
/// # Errors
/// As [`rows`].
pub fn current(dir: &Path) -> Result<impl Iterator<Item = Result<Row>> + use<>> {
    let counts: BTreeSet<usize> = last(dir)?.into_values().collect();
    Ok(rows(dir)?.enumerate().filter(move |(number, _)| counts.contains(number)).map(|(_, row)| row))
}

fn cut_half_a_line(path: &Path) -> Result<()> {
    if !path.exists() {
        return Ok(());
    }
    let bytes = std::fs::read(path).at("read", path)?;
    let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    if whole < bytes.len() {
        let file = OpenOptions::new().write(true).open(path).at("open", path)?;
        file.set_len(whole as u64).at("shorten", path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(item: &str, output: &str) -> Row {
        Row { cell: "c01".into(), item: item.into(), output: output.into(), ..Row::default() }
    }

    fn outputs(dir: &Path) -> Vec<String> {
        current(dir).unwrap().map(|row| row.unwrap().output).collect()
    }

    #[test]
    fn half_a_line_is_cut_off_and_the_last_of_two_lines_counts() {
        let dir = tempfile::tempdir().unwrap();
        let mut folder = Folder::open(dir.path()).unwrap();
        for (item, output) in [("a", "1"), ("b", "2"), ("a", "3")] {
            folder.append(&row(item, output)).unwrap();
        }
        drop(folder);
        let path = dir.path().join(ROWS);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, [&whole[..], b"{\"cell\": \"c0"].concat()).unwrap();
        let mut folder = Folder::open(dir.path()).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), whole);
        assert_eq!(outputs(dir.path()), ["2", "3"]);
        folder.append(&row("c", "4")).unwrap();
        assert_eq!(outputs(dir.path()), ["2", "3", "4"]);
        assert!(matches!(Folder::open(dir.path()), Err(Error::Busy(_))));
    }

    #[test]
    fn cells_keep_their_ids_when_others_join_them() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        let ids = |keys: &[&str]| {
            folder.ids(&keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>()).unwrap()
        };
        assert_eq!(ids(&["x", "y"]), ["c01", "c02"]);
        assert_eq!(ids(&["z", "y", "w"]), ["c03", "c02", "c04"]);
        assert_eq!(ids(&["x"]), ["c01"]);
    }

    #[test]
    fn a_folder_without_a_run_says_how_to_make_one() {
        let dir = tempfile::tempdir().unwrap();
        let error = rows(dir.path()).err().unwrap();
        assert!(error.advice().unwrap().contains("experiment run"), "{error:?}");
    }
}
