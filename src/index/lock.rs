//! Who may touch a collection, decided by advisory file locks: the system releases them when a process dies, however
//! it dies.
//!
//! * `write.lock`: exclusive for a whole ingest. The holder writes its name into the file, so that somebody who waits
//!   can be told for whom.
//! * `data.lock`: exclusive while one batch is applied, shared while a reader searches. In front of it stands
//!   `turn.lock`, a turnstile: a writer that waits holds it, so that a stream of readers cannot keep it waiting.
//! * `vectors/<n>.lock`: one opened vector shard at a time (see `edge.rs`).

use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::error::{Error, IoContext, Result};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Shared,
    Exclusive,
}

/// Who holds a lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    pub pid: u32,
    /// As typed, such as `incontext ingest docs/`.
    pub command: String,
    /// Seconds since the Unix epoch.
    pub since: u64,
}

impl Holder {
    fn this_process() -> Self {
        let mut words = std::env::args();
        let program = words.next().unwrap_or_default();
        let program =
            Path::new(&program).file_name().map_or(program.clone(), |n| n.to_string_lossy().into_owned());
        let command = std::iter::once(program).chain(words).collect::<Vec<_>>().join(" ");
        let command = command.chars().filter(|c| !c.is_control()).take(200).collect();
        let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        Self { pid: std::process::id(), command, since }
    }

    /// How long it has held the lock.
    pub fn held(&self) -> Duration {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        now.saturating_sub(Duration::from_secs(self.since))
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} (`{}`, for {} s)", self.pid, self.command, self.held().as_secs())
    }
}

/// Called once when a wait gets long, with whoever is waited for (`None` if it left no name).
pub type Notice<'a> = &'a mut dyn FnMut(Option<&Holder>);

/// How long to wait for a lock, and whom to tell.
pub struct Patience<'a> {
    /// After this, [`Error::Busy`].
    pub limit: Duration,
    /// After this, `notice` is called, once.
    pub notice_after: Duration,
    pub notice: Option<Notice<'a>>,
}

impl Default for Patience<'_> {
    /// A minute, and nobody is told.
    fn default() -> Self {
        Self { limit: Duration::from_secs(60), notice_after: Duration::from_secs(3), notice: None }
    }
}

/// A held lock; dropping it releases it.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Waits for the lock file at `path`, creating it if need be. An exclusive holder's name is left in the file.
    ///
    /// # Errors
    /// [`Error::Busy`] naming the holder when patience runs out; [`Error::Io`] when the file cannot be opened.
    pub(crate) fn acquire(path: &Path, mode: Mode, patience: &mut Patience<'_>) -> Result<Self> {
        let start = Instant::now();
        let mut pause = Duration::from_millis(1);
        loop {
            // Opened anew each time: a collection that was removed meanwhile took its lock file along.
            let mut file = open(path)?;
            let attempt = match mode {
                Mode::Shared => file.try_lock_shared(),
                Mode::Exclusive => file.try_lock(),
            };
            match attempt {
                Ok(()) if is_still_at(&file, path) => {
                    if mode == Mode::Exclusive {
                        sign(&mut file).at("write", path)?;
                    }
                    return Ok(Self { _file: file });
                }
                Ok(()) => continue,
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(source)) => {
                    return Err(Error::io(format!("cannot lock `{}`", path.display()), source)
                        .hint("some network file systems have no locks: keep the index on a local disk"));
                }
            }
            let waited = start.elapsed();
            if waited >= patience.limit {
                let who = holder(&mut file).map_or("another process".into(), |holder| holder.to_string());
                return Err(Error::busy(format!("`{}` is held by {who}", path.display()))
                    .hint("wait until it is done, or stop it"));
            }
            if waited >= patience.notice_after
                && let Some(notice) = patience.notice.take()
            {
                notice(holder(&mut file).as_ref());
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }

    /// The data lock of a collection, through the turnstile.
    pub(crate) fn data(dir: &Path, mode: Mode, patience: &mut Patience<'_>) -> Result<Self> {
        let _turn = Self::acquire(&dir.join("turn.lock"), mode, patience)?;
        Self::acquire(&dir.join("data.lock"), mode, patience)
    }
}

fn open(path: &Path) -> Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).at("open", path)
}

fn sign(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(serde_json::to_string(&Holder::this_process())?.as_bytes())
}

fn holder(file: &mut File) -> Option<Holder> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(4096).read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

#[cfg(unix)]
fn is_still_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(ours), Ok(there)) => (ours.dev(), ours.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

/// Elsewhere an open file cannot be renamed away.
#[cfg(not(unix))]
fn is_still_at(_: &File, _: &Path) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn brief(milliseconds: u64) -> Patience<'static> {
        Patience { limit: Duration::from_millis(milliseconds), ..Patience::default() }
    }

    #[test]
    fn readers_share_and_a_writer_is_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.lock");
        let first = Lock::acquire(&path, Mode::Shared, &mut brief(0)).unwrap();
        let second = Lock::acquire(&path, Mode::Shared, &mut brief(0)).unwrap();
        assert!(matches!(Lock::acquire(&path, Mode::Exclusive, &mut brief(10)), Err(Error::Busy(_))));
        drop((first, second));
        let _writer = Lock::acquire(&path, Mode::Exclusive, &mut brief(0)).unwrap();
        assert!(Lock::acquire(&path, Mode::Shared, &mut brief(0)).is_err());
    }

    #[test]
    fn a_waiter_is_told_the_holder_once_and_then_gets_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("write.lock");
        let held = Lock::acquire(&path, Mode::Exclusive, &mut brief(0)).unwrap();
        let (told, tell) = mpsc::channel();
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                let mut notice = |holder: Option<&Holder>| told.send(holder.cloned()).unwrap();
                let mut patience = Patience {
                    limit: Duration::from_secs(10),
                    notice_after: Duration::from_millis(20),
                    notice: Some(&mut notice),
                };
                Lock::acquire(&path, Mode::Exclusive, &mut patience).map(drop)
            });
            let holder = tell.recv().unwrap().unwrap();
            assert_eq!(holder.pid, std::process::id());
            assert!(!holder.command.is_empty());
            drop(held);
            waiter.join().unwrap().unwrap();
        });
        assert!(tell.try_recv().is_err(), "told once");
    }

    #[test]
    fn whoever_runs_out_of_patience_learns_the_holder() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("write.lock");
        let _held = Lock::acquire(&path, Mode::Exclusive, &mut brief(0)).unwrap();
        let error = Lock::acquire(&path, Mode::Exclusive, &mut brief(5)).unwrap_err();
        assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
    }

    #[test]
    fn a_stream_of_readers_does_not_starve_a_writer() {
        let dir = tempfile::tempdir().unwrap();
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while !done.load(std::sync::atomic::Ordering::Relaxed) {
                        let _shared = Lock::data(dir.path(), Mode::Shared, &mut brief(10_000)).unwrap();
                        std::thread::sleep(Duration::from_millis(3));
                    }
                });
            }
            std::thread::sleep(Duration::from_millis(10));
            for _ in 0..3 {
                let got = Lock::data(dir.path(), Mode::Exclusive, &mut brief(10_000));
                done.store(got.is_err(), std::sync::atomic::Ordering::Relaxed);
                got.unwrap();
            }
            done.store(true, std::sync::atomic::Ordering::Relaxed);
        });
    }

    #[test]
    fn a_lock_file_that_was_moved_away_is_not_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("write.lock");
        let held = Lock::acquire(&path, Mode::Exclusive, &mut brief(0)).unwrap();
        std::fs::rename(&path, dir.path().join("gone.lock")).unwrap();
        let again = Lock::acquire(&path, Mode::Exclusive, &mut brief(0)).unwrap();
        drop((held, again));
    }
}
