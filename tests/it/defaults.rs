//! The default models, fetched when absent. Offline without them, the tests that need them say that they were skipped.

use std::path::PathBuf;

use incontext::hub;

/// Where the model lies, or `None` when it cannot be had and the person asked us to stay offline.
pub fn default_model(name: &str) -> Option<PathBuf> {
    if let Ok(model) = hub::resolve(name) {
        return Some(model.path);
    }
    if std::env::var_os(hub::OFFLINE).is_some_and(|value| value != "0") {
        eprintln!("skipped: `{name}` is not on this machine and {} forbids fetching it", hub::OFFLINE);
        return None;
    }
    let model =
        hub::pull(name, &mut |_| {}).unwrap_or_else(|e| panic!("{name}: {e}\nhint: {:?}", e.advice()));
    Some(model.path)
}

pub fn encoder() -> Option<PathBuf> {
    default_model(hub::DEFAULT_ENCODER)
}

pub fn generator() -> Option<PathBuf> {
    default_model(hub::DEFAULT_GENERATOR)
}
