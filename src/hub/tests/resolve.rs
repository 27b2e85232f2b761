//! Names and paths, without a network.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Instant;

use super::*;
use crate::error::{Error, Result};
use crate::hub::{OFFLINE, State};

fn from_vars(vars: &[(&str, &str)], home: Option<&str>) -> Result<Hub> {
    let find = |name: &str| vars.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value));
    Hub::from_vars(find, home.map(PathBuf::from))
}

#[test]
fn models_live_where_the_environment_says_or_in_the_cache_folder() {
    let root = |vars: &[_]| from_vars(vars, Some("/home/me")).unwrap().root;
    assert_eq!(root(&[]), Path::new("/home/me/.cache/incontext/models"));
    assert_eq!(root(&[("XDG_CACHE_HOME", "/var/cache")]), Path::new("/var/cache/incontext/models"));
    assert_eq!(root(&[("XDG_CACHE_HOME", "relative")]), Path::new("/home/me/.cache/incontext/models"));
    assert_eq!(
        root(&[("XDG_CACHE_HOME", "/var/cache"), ("INCONTEXT_MODELS", "/models")]),
        Path::new("/models")
    );

    let homeless = from_vars(&[], None).unwrap_err();
    assert!(homeless.advice().unwrap().contains("INCONTEXT_MODELS"));
    assert!(from_vars(&[("INCONTEXT_MODELS", "/models")], None).is_ok());
}

#[test]
fn a_mirror_another_cache_and_offline_are_taken_from_the_environment() {
    let vars = [("HF_ENDPOINT", "https://mirror.test/hub/"), ("HF_HOME", "/hf"), ("INCONTEXT_OFFLINE", "1")];
    let hub = from_vars(&vars, Some("/home/me")).unwrap();
    assert_eq!(hub.endpoint, "https://mirror.test/hub");
    assert_eq!(hub.hugging_face.as_deref(), Some(Path::new("/hf/hub")));
    assert!(hub.is_offline());
    let decided: Vec<_> = hub.settings().iter().map(|setting| (setting.name, setting.variable)).collect();
    let hf = [("hub cache", Some("HF_HOME")), ("hub", Some("HF_ENDPOINT")), ("offline", Some(OFFLINE))];
    assert_eq!(decided, [&[("models", None)][..], &hf].concat());
    assert!(!from_vars(&[("INCONTEXT_OFFLINE", "0")], Some("/home/me")).unwrap().is_offline());
}

#[test]
fn a_model_not_pulled_yet_says_how_to_pull_it() {
    let dir = tempfile::tempdir().unwrap();
    let hub = hub(dir.path(), &nobody(), no_client());
    let error = hub.resolve("tiny-encoder").unwrap_err();
    assert!(matches!(error, Error::NotFound(_)));
    assert_eq!(error.advice(), Some("incontext models pull tiny-encoder"));
    assert_eq!(hub.list()[0].state, State::Absent);
    assert!(!hub.root().exists(), "asking must not create anything");
}

#[test]
fn an_unknown_name_gets_a_guess_and_the_names_there_are() {
    let dir = tempfile::tempdir().unwrap();
    let hub = hub(dir.path(), &nobody(), no_client());
    let slip = hub.resolve("tiny-encodr").unwrap_err();
    assert_eq!(slip.to_string(), "no model is called `tiny-encodr`; there are `tiny-encoder`");
    assert_eq!(slip.advice(), Some("did you mean `tiny-encoder`?"));
    let hub_name = hub.pull("someone/Tiny-Encoder", &mut silent).unwrap_err();
    assert_eq!(hub_name.advice(), Some("did you mean `tiny-encoder`?"));
    let path = hub.resolve("./weights.gguf").unwrap_err();
    assert_eq!(path.to_string(), "no file or directory `./weights.gguf`");
    let other = hub.resolve("gpt-4o").unwrap_err();
    assert!(other.advice().unwrap().contains("path"), "{other:?}");
}

#[test]
fn a_gguf_file_and_a_model_directory_are_used_where_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let hub = hub(dir.path(), &nobody(), no_client());
    let file = dir.path().join("model.gguf");
    fs::write(&file, b"GGUF\x03\0\0\0").unwrap();
    let model = hub.resolve(file.to_str().unwrap()).unwrap();
    assert_eq!((model.path, model.layout, model.kind), (file, Layout::Gguf, None));

    let folder = dir.path().join("llama");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("config.json"), "{}").unwrap();
    fs::write(folder.join("model-00001-of-00002.safetensors"), "").unwrap();
    let model = hub.resolve(folder.to_str().unwrap()).unwrap();
    assert_eq!((model.path, model.layout), (folder, Layout::Directory));
}

#[test]
fn what_is_no_model_is_refused_with_what_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let hub = hub(dir.path(), &nobody(), no_client());
    let refused = |path: &Path| hub.resolve(path.to_str().unwrap()).unwrap_err();

    let empty = refused(dir.path());
    assert!(empty.to_string().contains("neither config.json nor *.safetensors"), "{empty}");
    fs::write(dir.path().join("config.json"), "{}").unwrap();
    fs::write(dir.path().join("pytorch_model.bin"), "").unwrap();
    assert!(refused(dir.path()).advice().unwrap().contains("safetensors"));
    fs::write(dir.path().join("model.gguf"), "GGU").unwrap();
    assert!(refused(dir.path()).advice().unwrap().contains("model.gguf"));
    assert!(refused(&dir.path().join("model.gguf")).to_string().ends_with("is not a GGUF file"));
}

#[test]
fn resolving_a_pulled_model_takes_no_time_worth_mentioning() {
    let dir = tempfile::tempdir().unwrap();
    let server = good_server();
    let hub = hub(dir.path(), &server.url, no_client());
    hub.pull("tiny-encoder", &mut silent).unwrap();
    let best = (0..20).map(|_| {
        let started = Instant::now();
        hub.resolve("tiny-encoder").unwrap();
        started.elapsed()
    });
    assert!(best.min().unwrap() < Duration::from_millis(5));
}

#[test]
fn a_copied_cache_without_its_stamp_is_verified_again_and_then_trusted() {
    let dir = tempfile::tempdir().unwrap();
    let server = good_server();
    let hub = hub(dir.path(), &server.url, no_client());
    let model = hub.pull("tiny-encoder", &mut silent).unwrap();
    fs::remove_file(model.path.join(".verified.json")).unwrap();
    assert!(matches!(hub.list()[0].state, State::Partial { .. }));
    assert_eq!(hub.resolve("tiny-encoder").unwrap(), model);
    assert_eq!(hub.list()[0].state, State::Ready { path: model.path });
}

#[test]
fn an_audit_finds_damage_that_size_and_date_do_not_show_and_pull_mends_it() {
    let dir = tempfile::tempdir().unwrap();
    let server = good_server();
    let hub = hub(dir.path(), &server.url, no_client());
    let model = hub.pull("tiny-encoder", &mut silent).unwrap();
    assert_eq!(hub.audit("tiny-encoder").unwrap(), Vec::<PathBuf>::new());
    assert_eq!(hub.list()[0].state, State::Ready { path: model.path.clone() });

    let weights = model.path.join("model.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    bytes[0] ^= 1;
    let modified = fs::metadata(&weights).unwrap().modified().unwrap();
    fs::write(&weights, bytes).unwrap();
    fs::File::options().write(true).open(&weights).unwrap().set_modified(modified).unwrap();
    assert!(hub.resolve("tiny-encoder").is_ok(), "resolving does not hash what it knows");
    assert_eq!(hub.audit("tiny-encoder").unwrap(), [weights]);
    assert!(matches!(hub.resolve("tiny-encoder"), Err(Error::Corrupt(_))));
    hub.pull("tiny-encoder", &mut silent).unwrap();
    assert_eq!(hub.audit("tiny-encoder").unwrap(), Vec::<PathBuf>::new());
}
