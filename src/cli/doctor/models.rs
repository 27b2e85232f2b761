//! The models in force, and what of the catalogue is here.

use std::path::Path;

use super::machine::{existing, writable};
use super::{Encoders, Report, count};
use crate::bytes::size;
use crate::cli::load;
use crate::cli::settings::{Key, Setting, Settings, Source};
use crate::cli::tuned::Chosen;
use crate::error::Error;
use crate::hub::{self, Hub, State, Status};

pub(super) fn check(settings: &Settings, deep: bool, encoders: &mut Encoders, report: &mut Report) {
    let hub = match Hub::from_env() {
        Ok(hub) => hub,
        Err(error) => return report.error("models", &error, "set INCONTEXT_MODELS to a folder"),
    };
    let (embedder, model) = (settings.get(Key::Embedder, None), settings.get(Key::Model, None));
    for status in hub.list() {
        let chosen = [&embedder, &model].iter().any(|s| s.value.eq_ignore_ascii_case(status.entry.name));
        files(&hub, &status, chosen, deep, report);
    }
    encoder(&embedder, encoders, report);
    generator(&hub, &model, settings, deep, report);
    if hub.is_offline() {
        let found = format!("{} is set: nothing is fetched", hub::OFFLINE);
        report.note("network", found, None);
    }
    folder(hub.root(), report);
}

/// A model of the catalogue: whether its files are what they should be. One that was chosen and is not here is left to
/// whoever wants it.
fn files(hub: &Hub, status: &Status, chosen: bool, deep: bool, report: &mut Report) {
    let name = status.entry.name;
    let subject = format!("model {name}");
    let pull = format!("incontext models pull {name}");
    match &status.state {
        State::Ready { .. } if deep => match hub.audit(name) {
            Ok(wrong) if wrong.is_empty() => {
                report.ok(subject, format!("here, {}, every file hashed again", size(status.entry.size())))
            }
            Ok(wrong) => {
                let wrong: Vec<String> = wrong.iter().map(|file| format!("`{}`", file.display())).collect();
                report.problem(subject, format!("damaged: {}", wrong.join(", ")), pull)
            }
            Err(error) => report.error(subject, &error, &pull),
        },
        State::Ready { .. } => {
            report.ok(subject, format!("here, {}, verified when it came", size(status.entry.size())))
        }
        State::Partial { bytes } => match hub.resolve(name) {
            Ok(_) => report.ok(subject, format!("here, {}, verified now", size(status.entry.size()))),
            Err(Error::NotFound(_)) => {
                let found = format!(
                    "{} of {} fetched; a download was cut short",
                    size(*bytes),
                    size(status.entry.size())
                );
                report.note(subject, found, Some(pull));
            }
            Err(error) => report.error(subject, &error, &pull),
        },
        State::Absent if chosen => {}
        State::Absent => report.note(subject, "not here, and no setting asks for it", None),
    }
}

fn encoder(setting: &Setting, encoders: &mut Encoders, report: &mut Report) {
    let subject = format!("embedder {} ({})", setting.value, setting.source);
    match encoders.get(&setting.value) {
        Ok(embedder) => report.ok(
            subject,
            format!("loads; {} dimensions, reads {} tokens", embedder.dimension(), embedder.window()),
        ),
        Err(error) => report.error(subject, error, "name another with --embedder"),
    }
}

fn generator(hub: &Hub, setting: &Setting, settings: &Settings, deep: bool, report: &mut Report) {
    let subject = format!("generator {} ({})", setting.value, setting.source);
    if load::is_served(&setting.value) {
        return match settings.endpoint() {
            Ok(endpoint) => report.ok(subject, format!("served at {}; not asked", endpoint.base_url())),
            Err(error) => report.error(subject, &error, "see `incontext config show`"),
        };
    }
    match hub.resolve(&setting.value) {
        Ok(model) if !deep => report.ok(subject, format!("`{}`", model.path.display())),
        Ok(_) => match settings
            .device(None)
            .and_then(|on| load::generator(&Chosen::bare(&setting.value), &on, settings))
        {
            Ok(_) => report.ok(subject, "loads"),
            Err(error) => report.error(subject, &error, "name another with --model"),
        },
        Err(Error::NotFound(what)) if setting.source == Source::Default => {
            let found = format!("{what}; only `ask --answer generate` needs it");
            report.note(subject, found, what.hint);
        }
        Err(error) => report.error(subject, &error, "name another with --model"),
    }
}

/// Where models live: whether one could be fetched, and what a fetch that was cut short has left.
fn folder(root: &Path, report: &mut Report) {
    if let Err(why) = writable(existing(root)) {
        let found =
            format!("`{}` cannot be written: {why}; models are used and none can be fetched", root.display());
        report.note("folder of the models", found, Some("name another with INCONTEXT_MODELS".into()));
    }
    let entries = std::fs::read_dir(root).into_iter().flatten().flatten();
    let left = entries.filter(|entry| entry.file_name().to_string_lossy().ends_with(".wheel")).count();
    if left > 0 {
        let found = format!("{} of a package client that was cut short", count(left, "folder"));
        report.note(
            "folder of the models",
            found,
            Some("the next `incontext models pull` removes it".into()),
        );
    }
}
