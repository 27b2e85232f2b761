//! What strangers tried with `incontext tune` and its adapters, and what then had to be mended: the real binary on tiny models.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use candle_core::{Device, Tensor};
use serde_json::{Value, json};

use crate::golden::tiny;
use crate::run::Folder;
use crate::tiny::word;

fn model(family: &str) -> String {
    tiny(family).to_str().unwrap().to_owned()
}

/// Prompts of so many words, each completed by one that depends on the first.
fn rows(count: usize, words: usize) -> String {
    let row = |n: usize| {
        let prompt: Vec<String> = (0..words).map(|at| word(n * (at + 1) % 90)).collect();
        json!({ "prompt": prompt.join(" "), "completion": format!(" {}", word(n % 5 + 200)) })
    };
    (0..count).map(|n| format!("{}\n", row(n))).collect()
}

fn classified(count: usize) -> String {
    let row = |n: usize| {
        let text = [word(n % 3), word(n % 31 + 40)].join(" ");
        let label = ["plants", "stones", "stars"][n % 3];
        json!({ "text": text, "label": label })
    };
    (0..count).map(|n| format!("{}\n", row(n))).collect()
}

fn complaint(folder: &Folder, args: &[&str]) -> String {
    let ran = folder.run(args);
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""), "{ran:#?}");
    assert!(ran.err.contains("hint:"), "{ran:#?}");
    ran.err
}

/// Starts a run and waits until `file` is in its folder.
fn started(folder: &Folder, args: &[&str], run: &str, file: &str) -> std::process::Child {
    let mut child = folder.command(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let awaited = folder.at(&format!(".incontext/runs/{run}/{file}"));
    let start = Instant::now();
    while !awaited.exists() {
        assert!(start.elapsed() < Duration::from_secs(120) && child.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(1));
    }
    child
}

/// Changes the tensors of a file.
fn rewrite(file: &Path, change: impl FnOnce(&mut HashMap<String, Tensor>)) {
    let mut tensors = candle_core::safetensors::load(file, &Device::Cpu).unwrap();
    change(&mut tensors);
    candle_core::safetensors::save(&tensors, file).unwrap();
}

#[test]
fn a_prefix_from_examples_goes_on_after_a_kill_and_leaves_out_what_does_not_fit_behind_them() {
    let model = model("llama");
    // Behind three examples of 14 tokens, of a window of 128, the long row has no place; alone it has.
    let data = format!("{}{}", rows(12, 4), rows(1, 100));
    let folder = Folder::with(&[("data.jsonl", &data), ("demos.jsonl", &rows(3, 12))]);
    let options = ["--init-demos", "demos.jsonl", "--epochs", "60", "--save-every", "5", "--model", &model];
    let tune = |out: &'static str| {
        [&["tune", "prefix", "--data", "data.jsonl", "--out", out], &options[..]].concat()
    };
    let whole = folder.ok(&tune("whole"));
    assert!(whole.err.contains("1 row left out") && whole.err.contains("12 rows"), "{whole:#?}");
    let mut child = started(&folder, &tune("killed"), "killed", incontext::train::CHECKPOINT);
    child.kill().unwrap();
    child.wait().unwrap();
    folder.ok(&["tune", "resume", "killed"]);
    let kept =
        |name: &str| fs::read(folder.at(&format!(".incontext/adapters/{name}/adapter_model.safetensors")));
    assert!(kept("killed").unwrap() == kept("whole").unwrap(), "bit for bit");
    // Everything that a run reads is held against what it read before.
    folder.write("demos.jsonl", &rows(2, 12));
    let said = complaint(&folder, &["tune", "repeat", ".incontext/runs/whole", "--out", "again"]);
    assert!(said.contains("demos.jsonl") && said.contains("is not what the run began with"), "{said}");
    folder.write("demos.jsonl", &rows(20, 12));
    let said = complaint(&folder, &tune("huge"));
    assert!(said.contains("demos.jsonl") && said.contains("no room"), "{said}");
}

#[test]
fn a_prefix_that_begins_as_a_long_text_takes_its_own_room_from_the_window() {
    let data = format!("{}{}", rows(6, 4), rows(1, 90));
    let folder = Folder::with(&[("data.jsonl", &data)]);
    let (text, model) = (vec![word(3); 40].join(" "), model("llama"));
    let args = ["tune", "prefix", "--data", "data.jsonl", "--out", "x", "--steps", "2", "--model", &model];
    let ran = folder.ok(&[&args[..], &["--init-text", &text]].concat());
    assert!(ran.err.contains("1 row left out"), "{ran:#?}");
}

#[test]
fn one_process_at_a_time_trains_under_a_name() {
    let (folder, model) = (Folder::with(&[("data.jsonl", &rows(8, 4))]), model("llama"));
    let tune = |method: &'static str, steps: &'static str| {
        [
            "tune",
            method,
            "--data",
            "data.jsonl",
            "--out",
            "x",
            "--steps",
            steps,
            "--save-every",
            "0",
            "--model",
        ]
    };
    let slow = [&tune("lora", "100000")[..], &[&model]].concat();
    let mut child = started(&folder, &slow, "x", "job.json");
    let ran = folder.run(&[&tune("ia3", "2")[..], &[&model]].concat());
    assert!(ran.code == Some(4) && ran.err.contains("another process trains"), "{ran:#?}");
    assert!(!folder.at(".incontext/adapters/x").exists());
    child.kill().unwrap();
    child.wait().unwrap();
    // It left no checkpoint, and the way on is said.
    let said = complaint(&folder, &["tune", "resume", "x"]);
    assert!(said.contains("before its first checkpoint") && said.contains("tune repeat"), "{said}");
}

#[test]
fn a_tensor_of_the_base_that_is_lost_or_strange_is_missed() {
    let (folder, model) = (Folder::with(&[("rows.jsonl", &classified(12))]), model("bert"));
    let args = ["tune", "head", "--data", "rows.jsonl", "--out", "head", "--steps", "2", "--model", &model];
    folder.ok(&args);
    folder.ok(&["adapters", "export", "head", "lost"]);
    rewrite(&folder.at("lost/model.safetensors"), |tensors| {
        tensors.remove("classifier.bias").unwrap();
    });
    let said = complaint(&folder, &["classify", "--adapter", "./lost", &word(1)]);
    assert!(said.contains("lost") && said.contains("lacks the tensor `classifier.bias`"), "{said}");
    folder.ok(&["adapters", "export", "head", "strange"]);
    rewrite(&folder.at("strange/model.safetensors"), |tensors| {
        let one = Tensor::zeros(3, candle_core::DType::F32, &Device::Cpu).unwrap();
        tensors.insert("foo.bar".to_owned(), one);
    });
    let said = complaint(&folder, &["adapters", "import", "strange", "--model", &model]);
    assert!(said.contains("strange") && said.contains("`foo.bar`"), "{said}");
    folder.ok(&["adapters", "export", "head", "whole_numbers"]);
    rewrite(&folder.at("whole_numbers/model.safetensors"), |tensors| {
        let bias = tensors["classifier.bias"].to_dtype(candle_core::DType::I64).unwrap();
        tensors.insert("classifier.bias".to_owned(), bias);
    });
    let said = complaint(&folder, &["adapters", "import", "whole_numbers", "--model", &model]);
    assert!(said.contains("classifier.bias") && said.contains("not floats"), "{said}");
}

#[test]
fn a_merged_classifier_is_a_model_that_tells_the_same_classes() {
    let folder = Folder::with(&[("rows.jsonl", &classified(12))]);
    for family in ["bert", "llama"] {
        let (model, out) = (model(family), format!("merged-{family}"));
        let args = ["tune", "full", "--classify", "--data", "rows.jsonl", "--out", family, "--steps", "3"];
        folder.ok(&[&args[..], &["--model", &model, "--learning-rate", "0.01"]].concat());
        let ran = folder.ok(&["adapters", "merge", family, "--out", &out]);
        assert!(ran.err.contains("incontext classify --model"), "{ran:#?}");
        let asked = |more: &[&str]| {
            folder.ok(&[&["classify", &word(1), "--json"], more].concat()).json()["probabilities"].to_string()
        };
        assert_eq!(asked(&["--model", &out, "--base"]), asked(&["--adapter", family]));
        let config: Value =
            serde_json::from_slice(&fs::read(folder.at(&format!("{out}/config.json"))).unwrap()).unwrap();
        assert_eq!(config["id2label"], json!({ "0": "plants", "1": "stars", "2": "stones" }));
        // What classifies is not what asks.
        let said = complaint(&folder, &["use", family]);
        assert!(said.contains("classifier") && said.contains("classify --adapter"), "{said}");
    }
}

#[test]
fn what_an_adapter_was_taught_is_asked_of_it_without_documents() {
    let (folder, model) =
        (Folder::with(&[("data.jsonl", &rows(20, 1)), ("some.txt", "balo\ndami\n")]), model("llama"));
    // Templates show inputs.
    let pairs = rows(20, 1).replace("\"prompt\"", "\"input\"").replace("\"completion\"", "\"output\"");
    folder.write("pairs.jsonl", &pairs.replace("\": \" ", "\": \"").replace("\":\" ", "\":\""));
    let teach = |out: &str, file: &str, more: &[&str]| {
        let args = ["tune", "lora", "--data", file, "--out", out, "--model", &model];
        let rest = ["--epochs", "60", "--learning-rate", "0.005", "--warmup", "0"];
        folder.ok(&[&args[..], &rest, more].concat());
    };
    teach("turns", "data.jsonl", &[]);
    let asked = |more: &[&str]| folder.ok(&[&["generate", "--max-tokens", "4"], more].concat());
    let written = asked(&["--adapter", "turns", &word(4)]);
    assert!(written.out.trim().starts_with(&word(204)), "{written:#?}");
    let base = asked(&["--model", &model, "--base", &word(4)]);
    assert!(!base.out.contains(&word(204)), "{base:#?}");
    // From now on, and with the model that it was made on.
    folder.ok(&["use", "turns"]);
    assert_eq!(asked(&[&word(4)]).out, written.out);
    let modes = folder.ok(&["modes", "--json"]).json();
    assert_eq!(modes["model"], model);
    assert!(
        modes["modes"]
            .as_array()
            .unwrap()
            .iter()
            .any(|mode| mode["used"] == true && mode["possible"] == true)
    );
    let many = asked(&["--file", "some.txt", "--json"]);
    let many: Vec<Value> = many.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((many.len(), &many[0]["adapter"], &many[1]["input"]), (2, &json!("turns"), &json!("dami")));
    // By a template: it is asked by the same.
    teach("laid", "pairs.jsonl", &["--template", "generate/plain"]);
    let written = asked(&["--adapter", "laid", &word(4), "--json"]).json();
    assert!(written["output"].as_str().unwrap().starts_with(&word(204)), "{written}");
    let said =
        complaint(&folder, &["generate", "--base", "--prompt", "classify/plain", "x", "--model", &model]);
    assert!(said.contains("labels"), "{said}");
}

#[test]
fn rows_that_are_not_what_they_seem_are_named() {
    let (model, long) = (model("llama"), vec![word(7); 140].join(" "));
    let lost = format!("{}\n{}", json!({ "text": word(1) }), classified(4));
    let list = json!([{ "instruction": word(1), "input": "", "output": word(2) }, { "instruction": word(3), "output": word(4) }]);
    let folder = Folder::with(&[
        ("lost.jsonl", &lost),
        (
            "long.jsonl",
            &format!(
                "{}\n{}\n",
                json!({ "input": "balo", "output": "bami" }),
                json!({ "input": "balo", "output": long })
            ),
        ),
        ("list.json", &list.to_string()),
    ]);
    let tune = |file: &'static str, more: &[&'static str]| {
        let args = ["tune", "lora", "--data", file, "--out", "x", "--model", &model, "--steps", "1"];
        [&args.map(str::to_owned)[..], &more.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>()].concat()
    };
    let run = |file, more| {
        let args = tune(file, more);
        complaint(&folder, &args.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let said = run("lost.jsonl", &[]);
    assert!(said.contains("line 1") && said.contains("nothing to learn"), "{said}");
    let said = run("long.jsonl", &["--template", "generate/plain"]);
    assert!(said.contains("row 2") && said.contains("its answer has"), "{said}");
    for (more, expected) in [
        (&["--lora-plus", "0"][..], "--lora-plus"),
        (&["--alpha", "nan"], "alpha"),
        (&["--layers", "0,7"], "is 7, and there is no such layer"),
        (&["--patience", "3"], "held out"),
        (&["--learning-rate=-1"], "--learning-rate"),
    ] {
        let said = run("list.json", more);
        assert!(said.contains(expected), "{more:?}: {said}");
    }
    let args = tune("list.json", &[]);
    let ran = folder.ok(&args.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(ran.err.contains("2 rows"), "a JSON array of rows is read: {ran:#?}");
}
