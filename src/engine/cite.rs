//! Citations: where in a file an answer's words stand, and whether they still do.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::{IoContext, Result};
use crate::index::{Home, Passage};
use crate::text::document::{Origin, line_span, line_starts};
use crate::text::load::display_path;

/// A place in a file. `quote` is exactly the file's bytes at `bytes`, as they were when it was ingested. Where the text was
/// taken out of the file (PDF, DOCX, EPUB), `lines` and `bytes` are those of that text.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Citation {
    /// As in the answer: `[n]`.
    pub n: usize,
    /// As seen from where the question was asked.
    pub path: String,
    pub title: Option<String>,
    /// Where the document comes from, if it is the copy of a page or has a field `url`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Where the quote starts, in a format that has pages; from 1, in the order of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page: Option<u32>,
    /// First and last, from 1.
    pub lines: [u32; 2],
    /// Start and end in the file.
    pub bytes: [usize; 2],
    pub quote: String,
    pub score: f32,
    pub status: Status,
}

/// How the paths of an index lead to files, and how a person sees them.
#[derive(Debug, Clone)]
pub struct Places {
    /// What recorded paths are relative to, see [`crate::index::Home::root`].
    pub root: PathBuf,
    /// Where the person stands; shown paths open from there.
    pub here: PathBuf,
}

impl Places {
    /// Of the index in `home`, for a person in the process's current folder.
    ///
    /// # Errors
    /// `Io` when the current folder is gone.
    pub fn of(home: &Home) -> Result<Self> {
        let here = std::env::current_dir().at("enter", ".")?;
        Ok(Self { root: home.root().to_owned(), here })
    }

    pub fn file(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// The recorded `path` as seen from here.
    pub fn shown(&self, path: &str) -> String {
        display_path(&self.file(path), &self.here)
    }
}

/// Whether the file still says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// The file's bytes at the span are the quote; of a file whose text was taken out of it, all bytes are as they were.
    Verified,
    /// The file has changed there since it was ingested; where its text was taken out of it, anywhere.
    Changed,
    /// The file cannot be read.
    Missing,
}

impl Citation {
    /// Cites `range` of the passage's text.
    pub fn new(n: usize, passage: &Passage, range: Range<usize>, score: f32, places: &Places) -> Self {
        let chunk = &passage.chunk;
        let bytes = chunk.source_range(range.clone());
        let quote = chunk.quote(range.clone()).to_owned();
        let lines = lines_within(passage, &bytes);
        let status = status(&places.file(&passage.path), &chunk.origin, &bytes, &quote);
        let page = chunk.page(range.start);
        let (path, title, url) = (places.shown(&passage.path), passage.title.clone(), passage.url.clone());
        Self { n, path, title, url, page, lines, bytes: [bytes.start, bytes.end], quote, score, status }
    }
}

/// The lines of `bytes`, counted from the passage's first line.
fn lines_within(passage: &Passage, bytes: &Range<usize>) -> [u32; 2] {
    let chunk = &passage.chunk;
    let source = chunk.source.as_deref().unwrap_or(&chunk.text);
    let starts = line_starts(source);
    let within = bytes.start - chunk.bytes.start..bytes.end - chunk.bytes.start;
    let (first, last) = line_span(&starts, &within);
    [chunk.lines.0 + first - 1, chunk.lines.0 + last - 1]
}

fn status(file: &Path, origin: &Origin, bytes: &Range<usize>, quote: &str) -> Status {
    let Ok(content) = fs::read(file) else { return Status::Missing };
    let same = match origin {
        Origin::Extracted { file, .. } => blake3::hash(&content).to_hex().as_str() == file,
        Origin::Same | Origin::Pieces(_) => content.get(bytes.clone()) == Some(quote.as_bytes()),
    };
    if same { Status::Verified } else { Status::Changed }
}
