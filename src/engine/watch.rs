//! Waiting until files may have changed: what the system reports, gathered until it is quiet, and a look once in a while
//! for file systems that report nothing (a network's).
//!
//! It says *that* something may have changed and never what: the next ingest looks for itself, so a report that is lost
//! or says too much costs time and no truth.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};

use crate::error::Error;
use crate::index::Home;

/// How often to look whether to stop, and whether paths that were gone are back.
const TICK: Duration = Duration::from_millis(100);

/// When changes count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// After a change, so long without another.
    pub quiet: Duration,
    /// After a change, however many follow.
    pub at_most: Duration,
    /// Without any.
    pub rescan: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            quiet: Duration::from_millis(400),
            at_most: Duration::from_secs(5),
            rescan: Duration::from_secs(60),
        }
    }
}

/// What a wait ended with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// Something may have changed.
    Changed,
    /// Nothing was reported for long enough to look whether that is true.
    Rescan,
    /// Whoever waited was told to stop.
    Stopped,
}

/// A file or folder that is watched.
struct Target {
    /// From the root, and the same with links followed: systems report either.
    path: PathBuf,
    real: PathBuf,
    is_file: bool,
    watched: bool,
}

/// Watches files and folders until dropped.
pub struct Watch {
    targets: Vec<Target>,
    /// Built data is ours, wherever it lies.
    home: [PathBuf; 2],
    pace: Pace,
    watcher: Option<RecommendedWatcher>,
    events: Receiver<notify::Result<notify::Event>>,
    /// Kept, so that a wait lasts where the system watches nothing.
    _sender: Sender<notify::Result<notify::Event>>,
    trouble: Option<Error>,
}

impl Watch {
    /// Watches `paths` from now on, which need not be there; what happens in `home` is passed over.
    pub fn new(paths: &[PathBuf], home: &Home, pace: Pace) -> Self {
        let (sender, events) = mpsc::channel();
        let watcher = notify::recommended_watcher(sender.clone());
        let home = [absolute(home.dir()), real(home.dir())];
        let targets = paths.iter().map(|path| Target {
            path: absolute(path),
            real: real(path),
            is_file: path.is_file(),
            watched: false,
        });
        let targets = targets.collect();
        let mut watch = Self { targets, home, pace, watcher: None, events, _sender: sender, trouble: None };
        match watcher {
            Ok(watcher) => watch.watcher = Some(watcher),
            Err(error) => watch.trouble = Some(watch.unwatched("the folders", &error)),
        }
        watch.look();
        watch
    }

    /// What keeps changes from being reported, said once: they are then found by looking.
    pub fn trouble(&mut self) -> Option<Error> {
        self.trouble.take()
    }

    /// Waits for a change or, without one, for the pace's `rescan` or `at_most`, whichever is sooner.
    pub fn wait(&mut self, at_most: Option<Duration>, stop: impl Fn() -> bool) -> Wake {
        let start = Instant::now();
        let limit = at_most.map_or(self.pace.rescan, |limit| limit.min(self.pace.rescan));
        let mut changes: Option<(Instant, Instant)> = None;
        loop {
            if stop() {
                return Wake::Stopped;
            }
            let changed = match self.events.recv_timeout(TICK) {
                Ok(report) => self.concerns(report),
                // Its other end is ours, so it stays open.
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => self.look(),
            };
            if changed {
                let now = Instant::now();
                changes = Some((changes.map_or(now, |(first, _)| first), now));
            }
            if let Some((first, last)) = changes
                && (last.elapsed() >= self.pace.quiet || first.elapsed() >= self.pace.at_most)
            {
                return Wake::Changed;
            }
            if changes.is_none() && start.elapsed() >= limit {
                return Wake::Rescan;
            }
        }
    }

    /// Watches what has come (back), and forgets what is gone. Whether there was any such.
    fn look(&mut self) -> bool {
        let mut changed = false;
        for at in 0..self.targets.len() {
            let target = &mut self.targets[at];
            let there = target.path.exists();
            if there == target.watched {
                continue;
            }
            target.watched = there;
            changed = true;
            if !there {
                continue;
            }
            target.is_file = target.path.is_file();
            target.real = real(&target.path);
            // A file that is saved is often another file moved into its place, which only its folder sees.
            let (place, mode) = match (target.is_file, target.path.parent()) {
                (true, Some(folder)) => (folder.to_owned(), RecursiveMode::NonRecursive),
                _ => (target.path.clone(), RecursiveMode::Recursive),
            };
            let watched = self.watcher.as_mut().map_or(Ok(()), |watcher| watcher.watch(&place, mode));
            if let Err(error) = watched {
                self.trouble = Some(self.unwatched(&format!("`{}`", place.display()), &error));
            }
        }
        changed
    }

    fn unwatched(&self, what: &str, error: &notify::Error) -> Error {
        let seconds = self.pace.rescan.as_secs();
        let report =
            format!("cannot watch all of {what} ({error}); what changes is looked for every {seconds} s");
        let error_of_limits = matches!(error.kind, notify::ErrorKind::MaxFilesWatch);
        Error::invalid(report).hint(match error_of_limits {
            true => "the system watches so many folders and no more: raise `fs.inotify.max_user_watches`",
            false => "nothing is lost by it but time",
        })
    }

    /// Whether a report is about what is ingested.
    fn concerns(&mut self, report: notify::Result<notify::Event>) -> bool {
        // A report that was lost may have been about anything.
        let Ok(event) = report else { return true };
        let reads = match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => false,
            EventKind::Access(_) => true,
            EventKind::Remove(_) => {
                // A folder that is made anew under its name is another one, to be watched anew.
                let gone = |target: &&mut Target| event.paths.contains(&target.path);
                self.targets.iter_mut().filter(gone).for_each(|target| target.watched = false);
                false
            }
            _ => false,
        };
        !reads
            && (event.need_rescan()
                || event.paths.is_empty()
                || event.paths.iter().any(|path| self.counts(path)))
    }

    fn counts(&self, path: &Path) -> bool {
        let ours = self.home.iter().any(|home| path.starts_with(home));
        !ours && self.targets.iter().any(|target| target.holds(path))
    }
}

impl Target {
    /// Whether `path` is this or lies in it, and a walk would look at it or go by what it says.
    fn holds(&self, path: &Path) -> bool {
        let inside = path.strip_prefix(&self.path).or_else(|_| path.strip_prefix(&self.real));
        let Ok(inside) = inside else { return false };
        let hidden = |part: &std::ffi::OsStr| part.as_encoded_bytes().starts_with(b".");
        let is_rules =
            matches!(inside.file_name().and_then(|name| name.to_str()), Some(".gitignore" | ".ignore"))
                || inside.ends_with(".git/info/exclude");
        is_rules || !inside.iter().any(hidden)
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| absolute(path))
}
