//! Settings: what cannot be read, what names nothing, and what nobody reads.

use super::{Report, quoted};
use crate::cli::settings::{Key, PROMPTS, Settings, Source, VARIABLES};
use crate::error::Error;

/// `refused` says why `config.toml` cannot be used, if it cannot.
pub(super) fn check(settings: &Settings, refused: Option<&Error>, report: &mut Report) {
    file(settings, refused, report);
    for name in misspelt(std::env::vars_os().filter_map(|(name, _)| name.into_string().ok())) {
        let names: Vec<&str> = VARIABLES.iter().map(|(name, _)| *name).collect();
        let remedy = format!("unset {name}; the names are {}", names.join(", "));
        report.note("environment", format!("{name} is set and nothing reads it"), Some(remedy));
    }
    collection(settings, report);
    prompts(settings, report);
}

fn file(settings: &Settings, refused: Option<&Error>, report: &mut Report) {
    let path = settings.file();
    if let Some(error) = refused {
        let remedy = error.advice().map_or(String::new(), |advice| format!("; {advice}"));
        let remedy = format!("$EDITOR {}{remedy}", quoted(&path.to_string_lossy()));
        return report.problem("settings", error.to_string(), remedy);
    }
    let set: Vec<String> = Key::ALL
        .map(|key| settings.get(key, None))
        .into_iter()
        .filter(|setting| setting.source != Source::Default)
        .map(|setting| format!("{} = {} ({})", setting.name, setting.value, setting.source))
        .collect();
    match (path.exists(), set.is_empty()) {
        (_, false) => report.ok("settings", set.join(", ")),
        (true, true) => report.ok("settings", format!("`{}` sets nothing; defaults", path.display())),
        (false, true) => report.ok("settings", "defaults"),
    }
}

/// Those of `names` that look like ours and are none.
fn misspelt(names: impl Iterator<Item = String>) -> impl Iterator<Item = String> {
    let known = |name: &str| VARIABLES.iter().any(|(ours, _)| *ours == name);
    names.filter(move |name| name.starts_with("INCONTEXT_") && !known(name))
}

/// A collection that was chosen and is not there is as likely a slip as one that is still to be made.
fn collection(settings: &Settings, report: &mut Report) {
    let chosen = settings.get(Key::Collection, None);
    match settings.home.collection(&chosen.value) {
        Err(error) => report.error(format!("collection of {}", chosen.source), &error, "correct the name"),
        Ok(dir) if chosen.source != Source::Default && !dir.exists() => report.note(
            "settings",
            format!("there is no collection `{}` yet ({})", chosen.value, chosen.source),
            Some(format!("incontext ingest PATH -c {}", chosen.value)),
        ),
        Ok(_) => {}
    }
}

/// The template in force, and every one of the person's own.
fn prompts(settings: &Settings, report: &mut Report) {
    let (folder, library) = (settings.home.dir().join(PROMPTS), settings.library());
    let chosen = settings.get(Key::Prompt, None);
    if let Err(error) = library.load(&chosen.value) {
        let subject = format!("prompt {} ({})", chosen.value, chosen.source);
        report.error(subject, &error, "correct the template, or choose another with --prompt");
    }
    let own = match library.list() {
        Ok(listed) => listed.into_iter().filter(|listing| listing.file.is_some()).collect::<Vec<_>>(),
        Err(error) => return report.error("prompts", &error, "look at the folder's permissions"),
    };
    let mut sound = 0;
    for listing in own.iter().filter(|listing| listing.id != chosen.value) {
        match library.load(&listing.id) {
            Ok(_) => sound += 1,
            Err(error) => report.error(format!("prompt {}", listing.id), &error, "correct the template"),
        }
    }
    if sound > 0 {
        let found = format!(
            "{} of your own can be used, from `{}`",
            super::count(sound, "template"),
            folder.display()
        );
        report.ok("prompts", found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_variable_is_found_among_those_of_others() {
        let names = ["INCONTEXT_MODLE", "INCONTEXT_MODEL", "INCONTEXT_OFFLINE", "HOME"].map(str::to_owned);
        assert_eq!(misspelt(names.into_iter()).collect::<Vec<_>>(), ["INCONTEXT_MODLE"]);
    }
}
