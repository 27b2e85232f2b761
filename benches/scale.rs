//! How a collection behaves as it grows: writing, searching, memory, and what the graph over many vectors loses.
//!
//! `PASSAGES=FILE cargo bench --bench scale -- 1000 10000 100000 1000000` builds a collection of each size and prints a line for
//! it. FILE is JSON Lines (`{"title": ..., "text": ...}`); without it the user's guide is taken. There are never enough real
//! passages, so chunks are drawn from them: the vector is a real one plus noise a quarter of its length (their cosine is about
//! 0.97), the text the first half of one passage and the second half of
//! another. Questions are titles, embedded as they are. Each size runs in a process of its own, for the sake of its peak memory.
//! `COLLECTIONS=DIR` keeps the collections, and asks those that are there.

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use candle_core::Device;
use incontext::embed::{Embedder, LocalEncoder, Overflow};
use incontext::engine::search::{Mode, Query, search};
use incontext::hub;
use incontext::index::store::Settings;
use incontext::index::{
    Change, Collection, Condition, DocumentMeta, Filter, Patience, Profile, Reader, Store, Writer,
};
use incontext::text::chunk::Chunk;
use incontext::text::document::{Format, Origin};

/// Chunks of one document; batches are as large as those of `ingest`.
const DOCUMENT: usize = 8;
const QUESTIONS: usize = 200;

fn main() {
    common::one_pool();
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    if let [size, vectors] = &words[..]
        && Path::new(vectors).is_file()
    {
        return one(size.parse().expect("a size"), Path::new(vectors));
    }
    let mut sizes: Vec<usize> = words.iter().filter_map(|word| word.parse().ok()).collect();
    if sizes.is_empty() {
        sizes = vec![1_000, 10_000];
    }
    let Some(embedder) = embedder() else {
        println!("skipped: the default encoder is not on this machine");
        return;
    };
    let vectors = tempfile::NamedTempFile::new().expect("a file");
    let real: Vec<f32> = vectors_of(&embedder, &passages()).into_iter().flatten().collect();
    let real: Vec<u8> = real.into_iter().flat_map(f32::to_le_bytes).collect();
    std::fs::write(vectors.path(), real).expect("vectors are written");
    for size in sizes {
        let program = std::env::current_exe().expect("a bench has a file");
        let ran = std::process::Command::new(program).arg(size.to_string()).arg(vectors.path()).status();
        assert!(ran.is_ok_and(|status| status.success()), "the run of {size} failed");
    }
}

fn embedder() -> Option<Embedder> {
    let found = hub::resolve(hub::DEFAULT_ENCODER).ok()?;
    let encoder = LocalEncoder::load("minilm", &found.path, &Device::Cpu).expect("the default encoder loads");
    Some(Embedder::Local(encoder))
}

fn one(size: usize, vectors: &Path) {
    let embedder = embedder().expect("it was there a moment ago");
    let passages = passages();
    let bytes_of_vectors = std::fs::read(vectors).expect("vectors are read");
    let number = |bytes: &[u8]| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    let real = bytes_of_vectors.chunks(4 * embedder.dimension());
    let real: Vec<Vec<f32>> = real.map(|vector| vector.chunks(4).map(number).collect()).collect();
    let temporary = tempfile::tempdir().expect("a folder");
    let folder = std::env::var_os("COLLECTIONS").map_or_else(|| temporary.path().to_owned(), PathBuf::from);
    let dir = folder.join(size.to_string());
    if !dir.exists() {
        build(size, &dir, &passages, &real);
    }
    ask(size, &dir, &passages, &embedder);
}

fn build(size: usize, dir: &Path, passages: &[(String, String)], real: &[Vec<f32>]) {
    // Not what the collection does, but what `embed` needs.
    let before = status("VmRSS:");
    let profile = Profile::default();
    let mut writer = Writer::open(dir, &profile, false, Patience::default()).expect("a collection");
    let mut random = Random(1);
    let mut start = 0;
    let written = seconds(|| {
        while start < size {
            let end = size.min(start + writer.batch_size().expect("reads"));
            let documents = (start..end).step_by(DOCUMENT);
            let batch = documents.map(|first| document(first, end, passages, real, &mut random)).collect();
            writer.apply(batch).expect("a batch is written");
            start = end;
        }
    });
    let finished = seconds(|| writer.finish().expect("the graph is built"));
    println!(
        "{size} chunks: written {:.0} a second, graph {finished:.1} s, {} MB on disk, memory {} MB at most ({before} before)",
        size as f64 / written,
        bytes(dir) / 1_000_000,
        status("VmHWM:"),
    );
}

fn ask(size: usize, dir: &Path, passages: &[(String, String)], embedder: &Embedder) {
    let profile = Profile::default();
    let reopened = seconds(|| {
        drop(Writer::open(dir, &profile, false, Patience::default()).expect("it opens again"));
    });
    let questions: Vec<String> =
        (0..QUESTIONS).map(|at| passages[at * 13 % passages.len()].0.clone()).collect();
    let collection = Collection::open(dir).expect("it is there");
    let fusion = collection.profile().fusion;
    let query = |at: usize| Query::new(&questions[at], Mode::Hybrid, Some(embedder)).expect("embeds");
    let find = |reader: &Reader, query: &Query| {
        let found = search(reader, &fusion, query, 10).expect("finds");
        assert!(!found.hits(reader, 10).expect("reads").is_empty());
    };
    let cold = median(20, |at| find(&collection.read(Patience::default()).expect("reads"), &query(at)));
    let reader = collection.read(Patience::default()).expect("reads");
    let queries: Vec<Query> = (0..QUESTIONS).map(query).collect();
    queries.iter().for_each(|query| find(&reader, query));
    let whole = median(QUESTIONS, |at| find(&reader, &query(at)));
    let embedding = median(QUESTIONS, |at| drop(query(at)));
    let dense = median(QUESTIONS, |at| drop(reader.dense(&queries[at].vector, 100).expect("finds")));
    let lexical = median(QUESTIONS, |at| drop(reader.lexical(&questions[at], 100).expect("finds")));
    drop(reader);
    let condition: Condition = "part>=90".parse().expect("a condition");
    let chosen = collection.only(Filter::new(vec![condition], "/".into(), "/".into()));
    let begun = Instant::now();
    let reader = chosen.read(Patience::default()).expect("reads");
    let choosing = begun.elapsed().as_secs_f64();
    find(&reader, &queries[0]);
    let filtered = median(QUESTIONS, |at| find(&reader, &query(at)));
    drop(reader);
    let [whole, embedding, dense, lexical, cold, filtered, choosing] =
        [whole, embedding, dense, lexical, cold, filtered, choosing].map(|seconds| seconds * 1e3);
    println!(
        "{size} chunks: search {whole:.1} ms (embedding {embedding:.1}, dense {dense:.1}, lexical {lexical:.1}), opened \
         anew {cold:.0} ms; among a tenth {filtered:.1} ms after choosing {choosing:.0} ms; recall@10 {:.3}; opened for \
         writing {reopened:.2} s; memory {} MB",
        recall(dir, &profile, &queries),
        status("VmRSS:"),
    );
}

fn seconds(work: impl FnOnce()) -> f64 {
    let begun = Instant::now();
    work();
    begun.elapsed().as_secs_f64()
}

/// Of the ten nearest by comparing everything, how many the collection finds.
fn recall(dir: &Path, profile: &Profile, queries: &[Query]) -> f64 {
    let folder = std::fs::read_dir(dir.join("vectors")).expect("vectors").flatten().map(|entry| entry.path());
    let folder = folder.into_iter().find(|path| path.is_dir()).expect("one folder of vectors");
    let settings =
        Settings { dimension: profile.embedder.dimension, exact_below: profile.vectors.exact_below };
    let store = Store::edge(&folder, settings).expect("opens");
    let mut found = 0;
    for query in queries {
        let ids = |exact| -> Vec<u64> {
            store.search(&query.vector, 10, exact).expect("finds").iter().map(|hit| hit.0).collect()
        };
        let exact = ids(true);
        found += ids(false).iter().filter(|id| exact.contains(id)).count();
    }
    found as f64 / (10 * queries.len()) as f64
}

/// The document whose chunks begin at the `first`-th of all.
fn document(
    first: usize,
    size: usize,
    passages: &[(String, String)],
    real: &[Vec<f32>],
    random: &mut Random,
) -> Change {
    let chunks = (first..size.min(first + DOCUMENT)).map(|at| {
        let (one, other) = (random.below(passages.len()), random.below(passages.len()));
        let (front, back) = (&passages[one].1, &passages[other].1);
        let text = format!("{}{}", &front[..middle(front)], &back[middle(back)..]);
        let vector = noisy(&real[one], random);
        let (ordinal, bytes, header) = ((at - first) as u32, 0..text.len(), passages[one].0.clone());
        let origin = Origin::Same;
        (Chunk { ordinal, header, text, bytes, lines: (1, 9), tokens: 150, origin, source: None }, vector)
    });
    let document = DocumentMeta {
        path: format!("documents/{first:08}.md"),
        hash: format!("{first:x}"),
        size: 8_000,
        mtime: 0,
        format: Format::Markdown,
        title: None,
        fields: BTreeMap::from([("part".to_owned(), (first / DOCUMENT % 100).to_string())]),
    };
    Change::Put { document, chunks: chunks.collect() }
}

fn middle(text: &str) -> usize {
    let half = text.floor_char_boundary(text.len() / 2);
    text[half..].find(' ').map_or(text.len(), |space| half + space)
}

/// `vector` with noise a quarter of its length, of length 1.
fn noisy(vector: &[f32], random: &mut Random) -> Vec<f32> {
    let each = 0.25 / (vector.len() as f32).sqrt();
    let moved: Vec<f32> = vector.iter().map(|x| x + each * random.normal()).collect();
    let length = moved.iter().map(|x| x * x).sum::<f32>().sqrt();
    moved.iter().map(|x| x / length).collect()
}

/// Title and text of each.
fn passages() -> Vec<(String, String)> {
    if let Some(file) = std::env::var_os("PASSAGES") {
        let lines = std::fs::read_to_string(file).expect("PASSAGES can be read");
        let passage = |line: &str| {
            let value: serde_json::Value = serde_json::from_str(line).expect("a line is JSON");
            let part = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
            (part("title"), part("text"))
        };
        return lines.lines().map(passage).filter(|(title, _)| !title.is_empty()).collect();
    }
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let pages = std::fs::read_dir(guide).expect("the guide").flatten().map(|entry| entry.path());
    let mut pages: Vec<_> = pages.filter(|path| path.extension().is_some_and(|end| end == "md")).collect();
    pages.sort();
    let text = |path| std::fs::read_to_string(path).expect("a page can be read");
    let sections = pages.iter().map(text).flat_map(|page: String| {
        let section = |section: &str| {
            let (title, text) = section.split_once('\n').unwrap_or((section, ""));
            (title.trim().to_owned(), text.trim().to_owned())
        };
        page.split("\n## ").skip(1).map(section).collect::<Vec<_>>()
    });
    sections.collect()
}

fn vectors_of(embedder: &Embedder, passages: &[(String, String)]) -> Vec<Vec<f32>> {
    let texts: Vec<String> = passages.iter().map(|(title, text)| format!("{title}\n{text}")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    embedder.embed(&texts, Overflow::Truncate).expect("embeds")
}

/// Seconds in the middle of `runs`.
fn median(runs: usize, mut run: impl FnMut(usize)) -> f64 {
    let mut times: Vec<f64> = (0..runs)
        .map(|at| {
            let begun = Instant::now();
            run(at);
            begun.elapsed().as_secs_f64()
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[runs / 2]
}

fn bytes(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.path() {
            folder if folder.is_dir() => bytes(&folder),
            // What is really there: Qdrant's files have holes.
            file => allocated(&file),
        })
        .sum()
}

#[cfg(unix)]
fn allocated(file: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    file.metadata().map_or(0, |about| about.blocks() * 512)
}

#[cfg(not(unix))]
fn allocated(file: &Path) -> u64 {
    file.metadata().map_or(0, |about| about.len())
}

/// Megabytes this process holds now (`VmRSS:`) or held at most (`VmHWM:`), where the system tells.
fn status(of: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(of));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) / 1000
}

/// xorshift64*, enough for noise.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() >> 33) as usize % end
    }

    /// The sum of twelve uniform ones, which is normal enough.
    fn normal(&mut self) -> f32 {
        (0..12).map(|_| (self.next() >> 40) as f32 / (1u64 << 24) as f32).sum::<f32>() - 6.0
    }
}
