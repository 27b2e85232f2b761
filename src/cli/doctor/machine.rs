//! The program, the folder it works in and the space that is left.

use std::path::Path;

use super::Report;
use crate::bytes::size;
use crate::cli::settings::Settings;
use crate::hub::Hub;
use crate::index::SCHEMA_VERSION;

/// Less free space than this and the next ingest may not finish.
const FULL: u64 = 50_000_000;
/// Less than this is worth a word: the default models and a small collection would just fit.
const TIGHT: u64 = 500_000_000;

pub(super) fn check(settings: &Settings, report: &mut Report) {
    program(report);
    home(settings, report);
    let home = settings.home.dir();
    disk("disk of the collections", home, "--home", report);
    if let Ok(hub) = Hub::from_env()
        && !same_disk(existing(hub.root()), existing(home))
    {
        disk("disk of the models", hub.root(), "INCONTEXT_MODELS", report);
    }
}

fn program(report: &mut Report) {
    let version = env!("CARGO_PKG_VERSION");
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let found = format!("incontext {version}, collections of layout {SCHEMA_VERSION}, {threads} threads");
    if cfg!(debug_assertions) {
        let slow = format!("{found}; a debug build, which is many times slower");
        return report.note("program", slow, Some("cargo build --release".into()));
    }
    #[cfg(target_arch = "x86_64")]
    if !std::arch::is_x86_feature_detected!("avx2") {
        let slow = format!("{found}; this processor has no AVX2, so models take several times longer");
        return report.note("program", slow, None);
    }
    report.ok("program", found);
}

fn home(settings: &Settings, report: &mut Report) {
    let dir = settings.home.dir();
    let subject = "folder for built data";
    let source = settings.home().source;
    let elsewhere = "name another folder with --home or INCONTEXT_HOME";
    if !dir.exists() {
        return match writable(existing(dir)) {
            Ok(()) => {
                let found = format!("`{}` is not there yet; the first ingest makes it", dir.display());
                report.note(subject, found, Some("incontext ingest PATH".into()));
            }
            Err(why) => {
                report.problem(subject, format!("`{}` cannot be made: {why}", dir.display()), elsewhere)
            }
        };
    }
    if !dir.is_dir() {
        return report.problem(subject, format!("`{}` is a file", dir.display()), elsewhere);
    }
    match writable(dir) {
        Ok(()) => report.ok(subject, format!("`{}` ({source})", dir.display())),
        Err(why) => report.problem(
            subject,
            format!("`{}` cannot be written: {why}", dir.display()),
            format!(
                "`chmod -R u+rwX {}` if it is yours, or {elsewhere}",
                super::quoted(&dir.to_string_lossy())
            ),
        ),
    }
}

fn disk(subject: &str, dir: &Path, named_by: &str, report: &mut Report) {
    let more = format!("free some space, or name a folder on another disk with {named_by}");
    match free(dir) {
        Err(why) => report.note(subject, format!("free space is not known: {why}"), None),
        Ok(free) if free < FULL => report.problem(subject, format!("{} free", size(free)), more),
        Ok(free) if free < TIGHT => report.note(subject, format!("only {} free", size(free)), Some(more)),
        Ok(free) => report.ok(subject, format!("{} free", size(free))),
    }
}

/// Where the system does not tell, each has a line of its own.
fn same_disk(a: &Path, b: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let device = |path: &Path| std::fs::metadata(path).map(|meta| meta.dev()).ok();
        device(a).is_some() && device(a) == device(b)
    }
    #[cfg(not(unix))]
    {
        a == b
    }
}

fn free(dir: &Path) -> std::io::Result<u64> {
    fs4::available_space(existing(dir))
}

/// `path`, or the nearest folder above it that is there.
pub(super) fn existing(path: &Path) -> &Path {
    path.ancestors().find(|path| path.exists()).unwrap_or(Path::new("."))
}

/// Whether files can be made in the folder `dir`: by making one, since permissions do not tell of read-only disks. The
/// file has no name and is gone at once.
pub(super) fn writable(dir: &Path) -> std::io::Result<()> {
    tempfile::tempfile_in(dir).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_is_not_there_is_judged_by_the_folder_it_would_be_made_in() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(existing(&dir.path().join("a/b/c")), dir.path());
        assert!(free(&dir.path().join("a/b/c")).unwrap() > 0);
        assert!(writable(dir.path()).is_ok());
        assert!(writable(&dir.path().join("a")).is_err());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "looking leaves nothing behind");
    }
}
