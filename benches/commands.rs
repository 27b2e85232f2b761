//! How long whole commands take, from starting the process to its end, and how much memory they hold at most.
//!
//! `cargo bench --bench commands` makes 1,000 Markdown files out of sentences of the user's guide, indexes them once (about
//! two minutes; kept for the next run) and prints one line a case: the median of alternating runs. `docs/benchmarks.md` says
//! what is claimed.

mod common;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

const FILES: usize = 1_000;
/// Each becomes a chunk of its own.
const SECTIONS: usize = 10;
const RUNS: usize = 11;

fn main() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("benchmark-of-commands");
    let incontext = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_incontext"));
        command.args(arguments).current_dir(&folder);
        command
    };
    corpus(&folder.join("documents"));
    let first = run(incontext(&["ingest", "documents", "--quiet"]));
    println!("ingest, first or again: {:.2} s  ({} MB)", first.seconds, first.megabytes);

    let questions = [
        "Why are chunks limited to 254 tokens?",
        "What does the adapter hook of a linear layer do?",
        "How is a collection kept safe when the process is killed?",
    ];
    let cases: [(&str, &[&str]); 4] = [
        ("search, hybrid", &["search", "--mode", "hybrid"]),
        ("ask --answer extractive", &["ask", "--answer", "extractive"]),
        ("ask --answer generate", &["ask", "--answer", "generate"]),
        ("ingest, nothing changed", &["ingest", "documents", "--quiet"]),
    ];
    let mut seen: Vec<Vec<Run>> = cases.iter().map(|_| Vec::new()).collect();
    for round in 0..=RUNS {
        for ((case, arguments), seen) in
            cases.iter().zip(&mut seen).filter(|((case, _), _)| common::is_chosen(case))
        {
            let mut command = incontext(arguments);
            if !case.starts_with("ingest") {
                command.arg(questions[round % questions.len()]);
            }
            let run = run(command);
            // The first brings the files into memory.
            if round > 0 {
                seen.push(run);
            }
        }
    }
    for ((case, _), mut seen) in cases.iter().zip(seen).filter(|(_, seen)| !seen.is_empty()) {
        seen.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
        let most = seen.iter().map(|run| run.megabytes).max().unwrap_or(0);
        let (median, longest) = (seen[seen.len() / 2].seconds, seen[seen.len() - 1].seconds);
        println!("{case}: {:.0} ms  (at most {:.0}; {most} MB)", median * 1e3, longest * 1e3);
    }
}

struct Run {
    seconds: f64,
    /// The most it held; 0 where the system does not tell.
    megabytes: u64,
}

/// # Panics
/// When the command fails; that a question found no answer is no failure.
fn run(mut command: Command) -> Run {
    let start = Instant::now();
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program starts");
    let (code, megabytes) = ended(child);
    let seconds = start.elapsed().as_secs_f64();
    assert!(code == 0 || code == 3, "{command:?} ended with {code}");
    Run { seconds, megabytes }
}

#[cfg(unix)]
fn ended(child: std::process::Child) -> (i32, u64) {
    let (mut status, mut usage) = (0, std::mem::MaybeUninit::<libc::rusage>::zeroed());
    // SAFETY: the process is a child of ours that nobody has waited for, and both places can be written.
    let waited = unsafe { libc::wait4(child.id() as i32, &raw mut status, 0, usage.as_mut_ptr()) };
    assert_eq!(waited, child.id() as i32, "the program can be waited for");
    // SAFETY: all zeros are a valid value, and `wait4` wrote another.
    let usage = unsafe { usage.assume_init() };
    // Kilobytes, but for macOS, which counts bytes.
    let unit = if cfg!(target_os = "macos") { 1 << 20 } else { 1 << 10 };
    (libc::WEXITSTATUS(status), usage.ru_maxrss as u64 / unit)
}

#[cfg(not(unix))]
fn ended(mut child: std::process::Child) -> (i32, u64) {
    (child.wait().expect("the program ends").code().unwrap_or(-1), 0)
}

/// Files of sections of sentences, the same every time.
fn corpus(folder: &Path) {
    let last = folder.join(format!("{:04}.md", FILES - 1));
    if last.exists() {
        return;
    }
    fs::create_dir_all(folder).expect("the folder can be made");
    let sentences = sentences();
    let mut state = 1u64;
    let mut draw = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for file in 0..FILES {
        let mut text = format!("# Case {file}\n");
        for section in 0..SECTIONS {
            write!(text, "\n## Part {section} of case {file}\n\n").expect("a string grows");
            for _ in 0..4 {
                writeln!(text, "{}", sentences[draw(sentences.len())]).expect("a string grows");
            }
        }
        fs::write(folder.join(format!("{file:04}.md")), text).expect("the file can be written");
    }
}

/// Of the guide: 12 to 30 words each.
fn sentences() -> Vec<String> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let mut pages: Vec<PathBuf> = [docs.clone(), docs.join("tuning")]
        .iter()
        .flat_map(|folder| fs::read_dir(folder).expect("the guide is there"))
        .map(|page| page.expect("has a name").path())
        .filter(|page| page.extension().is_some_and(|extension| extension == "md"))
        .collect();
    pages.sort();
    let text: String =
        pages.iter().map(|page| fs::read_to_string(page).expect("a page can be read")).collect();
    let paragraphs =
        text.split("\n\n").filter(|paragraph| paragraph.starts_with(|c: char| c.is_alphabetic()));
    let joined: Vec<String> = paragraphs.map(|paragraph| paragraph.replace('\n', " ")).collect();
    let all = joined.iter().flat_map(|paragraph| paragraph.split_inclusive(". ")).map(str::trim);
    all.filter(|sentence| (12..=30).contains(&sentence.split_whitespace().count()))
        .map(str::to_owned)
        .collect()
}
