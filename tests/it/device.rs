//! `--device`, in a build for the CPU: what works, and what is refused with which words.

use crate::run::{Folder, Ran};
use crate::tiny;

fn golden() -> [String; 2] {
    let folder = format!("{}/tests/golden/tiny/bert", env!("CARGO_MANIFEST_DIR"));
    [folder.clone(), format!("{folder}/io.safetensors")]
}

/// A folder with one collection.
fn folder() -> Folder {
    let folder = Folder::with(&[("notes/a.md", "# balo\n\ndalo falo galo.\n")]);
    tiny::encoder(&folder.at("tiny"), 0);
    folder.write("profile.toml", &tiny::PROFILE.replace("\"tiny\"", "\"./tiny\""));
    folder.ok(&["ingest", "notes", "--profile", "profile.toml", "--device", "cpu"]);
    folder
}

#[test]
fn every_command_that_loads_a_model_takes_the_cpu() {
    let folder = folder();
    folder.ok(&["search", "falo", "--device", "cpu"]);
    assert!(matches!(folder.run(&["ask", "dalo falo?", "--device", "cpu"]).code, Some(0 | 3)));
    let [model, reference] = golden();
    folder.ok(&["verify", "--model", &model, "--reference", &reference, "--device", "cpu"]);
}

#[cfg(not(feature = "cuda"))]
#[test]
fn a_card_this_build_cannot_use_is_refused_and_the_build_that_can_is_named() {
    let folder = folder();
    insta::assert_snapshot!(folder.shown(&["search", "falo", "--device", "cuda"]), @r#"
    exit 1
    -- stderr
    error: this build of incontext cannot compute on `cuda` (flag --device)
    hint: build it with `cargo install --path . --features cuda`, or use `--device cpu`
    "#);
    let [model, reference] = golden();
    for args in [
        &["ingest", "notes", "--device", "cuda"][..],
        &["ask", "dalo falo?", "--device", "cuda"],
        &["verify", "--model", &model, "--reference", &reference, "--device", "cuda"],
    ] {
        let ran = folder.run(args);
        assert!(ran.code == Some(1) && ran.err.contains("--features cuda"), "{args:?}: {ran:#?}");
    }
    let mut search = folder.command(&["search", "falo"]);
    let ran = Ran::of(search.env("INCONTEXT_DEVICE", "cuda").output().unwrap());
    assert!(ran.err.contains("`cuda` (environment variable INCONTEXT_DEVICE)"), "{ran:#?}");

    folder.write(".incontext/config.toml", "device = \"cuda\"\n");
    let ran = folder.run(&["search", "falo"]);
    assert!(ran.code == Some(1) && ran.err.contains("config.toml)"), "{ran:#?}");
    folder.ok(&["search", "falo", "--device", "cpu"]);
}

#[test]
fn what_is_no_device_is_refused_wherever_it_is_written() {
    let folder = folder();
    let ran = folder.run(&["search", "falo", "--device", "gpu"]);
    assert!(ran.code == Some(2) && ran.err.contains("[possible values: cpu, cuda, metal]"), "{ran:#?}");
    folder.write(".incontext/config.toml", "device = \"gpu\"\n");
    let ran = folder.run(&["search", "falo"]);
    assert!(ran.code == Some(1) && ran.err.contains("hint: there are: cpu, cuda, metal"), "{ran:#?}");
}
