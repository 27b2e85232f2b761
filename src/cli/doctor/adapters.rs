//! Adapters: the one in use, against the model it would be asked over; others that cannot be read; runs that were broken off.

use super::{Report, quoted};
use crate::adapters::{About, Task, describe, registry::NONE};
use crate::classify::Trained;
use crate::cli::load::{self, check_base};
use crate::cli::settings::{Key, Setting, Settings, Source};
use crate::cli::tuned::{Adapted, chosen};
use crate::engine::rlhf;
use crate::engine::tune::Job;
use crate::error::Result;
use crate::hub;
use crate::train::CHECKPOINT;

pub(super) fn check(settings: &Settings, deep: bool, report: &mut Report) {
    let setting = settings.get(Key::Adapter, None);
    if setting.value != NONE {
        let subject = format!("adapter {} ({})", setting.value, setting.source);
        match fits(&setting, deep, settings) {
            Ok(found) => report.ok(subject, found),
            Err(error) => {
                let without = match setting.source {
                    Source::Variable(name) => format!("unset {name}"),
                    _ => "incontext use base".to_owned(),
                };
                let advice = error.advice().map_or(String::new(), |advice| format!("; {advice}"));
                report.problem(subject, error.to_string(), format!("{without}{advice}"));
            }
        }
    }
    others(&setting.value, settings, report);
    runs(settings, report);
}

/// Whether the adapter is there, can be read, and was made on the weights that are asked.
fn fits(setting: &Setting, deep: bool, settings: &Settings) -> Result<String> {
    let chosen = chosen(settings.get(Key::Model, None), setting.clone(), settings)?;
    let Some(adapter) = &chosen.adapter else { return Ok("none".to_owned()) };
    describe(&adapter.dir)?;
    let model = hub::resolve(&chosen.model)?;
    check_base(adapter, &model)?;
    if deep {
        let device = settings.device(None)?;
        match adapter.about.as_ref().map(|about: &About| about.task) {
            Some(Task::SeqCls) => drop(Trained::load(&model.path, &adapter.dir, &device)?),
            _ => drop(load::generator(&chosen, &device, settings)?),
        }
    }
    Ok(format!("{} over `{}`", if deep { "loads" } else { "fits" }, chosen.model))
}

fn others(used: &str, settings: &Settings, report: &mut Report) {
    let names = match settings.adapters().names() {
        Ok(names) => names,
        Err(error) => return report.error("adapters", &error, "look at the folder's permissions"),
    };
    for name in names.iter().filter(|name| *name != used) {
        let read = Adapted::find(name, settings).and_then(|adapter| describe(&adapter.dir));
        if let Err(error) = read {
            let remove = format!("incontext adapters rm {name}");
            report.problem(format!("adapter {name}"), error.to_string(), remove);
        }
    }
}

/// What was begun and not finished.
fn runs(settings: &Settings, report: &mut Report) {
    let entries = std::fs::read_dir(settings.home.dir().join("runs")).into_iter().flatten().flatten();
    let mut folders: Vec<_> = entries.map(|entry| entry.path()).collect();
    folders.sort();
    for folder in folders.iter().filter(|folder| folder.join(CHECKPOINT).exists()) {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let subject = format!("run {name}");
        if let Ok(job) = rlhf::Job::read(folder) {
            let what = format!("{} on `{}`", job.method.name(), job.model);
            let found = format!("{what}, not finished, unless it is at work just now");
            let go_on = format!("the same incontext rlhf {} --out {name} with --resume", job.method.name());
            report.note(subject, found, Some(go_on));
            continue;
        }
        match Job::read(folder) {
            Ok(job) => {
                let what = format!("{} on `{}`", job.method.name(), job.model);
                let found = format!("{what}, not finished, unless it is at work just now");
                report.note(subject, found, Some(format!("incontext tune resume {name}")));
            }
            Err(error) => {
                let remove = format!("rm -r {}", quoted(&folder.to_string_lossy()));
                report.note(subject, error.to_string(), Some(remove));
            }
        }
    }
}
