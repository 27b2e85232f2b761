//! `incontext tune`, and asking with what came of it: the real binary on a tiny model.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use candle_core::Device;
use incontext::adapters::{AdapterConfig, Prefix, Start};
use incontext::engine::tune::{Data, Source, compile, plain, shown_turns};
use incontext::generate::keys_and_values;
use incontext::models::Model;
use incontext::nn::{Adapter, Params};
use incontext::train::{Event, Row, Rows, Subject, TrainConfig, train};
use serde_json::{Value, json};

use crate::golden::tiny;
use crate::run::Folder;
use crate::tiny::word;

/// Prompts of three words, each completed by one that depends on the first.
fn data(rows: usize) -> String {
    let row = |n: usize| {
        let prompt = [word(n % 7), word(n % 31 + 40), word(n % 13 + 90)].join(" ");
        json!({ "prompt": prompt, "completion": format!(" {}", word(n % 7 + 200)), "split": if n.is_multiple_of(5) { "val" } else { "train" } })
    };
    (0..rows).map(|n| format!("{}\n", row(n))).collect()
}

fn folder() -> Folder {
    Folder::with(&[("data.jsonl", &data(40)), ("demos.jsonl", &data(3))])
}

fn model() -> String {
    tiny("llama").to_str().unwrap().to_owned()
}

/// `tune METHOD` with what every run here shares.
fn tune<'a>(method: &'a str, out: &'a str, more: &[&'a str], model: &'a str) -> Vec<&'a str> {
    [&["tune", method, "--data", "data.jsonl", "--out", out, "--model", model], more].concat()
}

fn adapter(folder: &Folder, name: &str) -> Vec<u8> {
    fs::read(folder.at(&format!(".incontext/adapters/{name}/adapter_model.safetensors"))).unwrap()
}

fn complaint(folder: &Folder, args: &[&str]) -> String {
    let ran = folder.run(args);
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""), "{ran:#?}");
    ran.err
}

#[test]
fn every_method_learns_and_is_asked_by_its_name_and_the_base_stays_as_it_was() {
    let (folder, model) = (folder(), model());
    let asked = |more: &[&str]| {
        let labels = [word(200), word(201), word(202)].join(",");
        let text = [word(1), word(41), word(91)].join(" ");
        let args = [&["classify", &text, "--labels", &labels, "--model", &model, "--json"], more].concat();
        folder.ok(&args).json()["probabilities"].to_string()
    };
    let before = asked(&[]);
    let methods: [(&str, &[&str]); 9] = [
        ("lora", &["--rank", "3", "--alpha", "5"]),
        ("ia3", &[]),
        ("prefix", &["--num-virtual-tokens", "3"]),
        ("soft-prompt", &["--num-virtual-tokens", "3"]),
        ("p-tuning", &["--num-virtual-tokens", "3", "--encoder-hidden-size", "8"]),
        ("houlsby", &["--reduction-factor", "8"]),
        ("pfeiffer", &["--reduction-factor", "8"]),
        ("parallel", &["--reduction-factor", "8"]),
        ("llama-adapter", &["--adapter-len", "3", "--adapter-layers", "2"]),
    ];
    for (method, more) in methods {
        let more = [more, &["--steps", "12", "--learning-rate", "0.02", "--warmup", "0", "--json"]].concat();
        let ran = folder.ok(&tune(method, method, &more, &model));
        let outcome = &ran.json()["outcome"];
        let log = fs::read_to_string(folder.at(&format!(".incontext/runs/{method}/log.jsonl"))).unwrap();
        let first: Value = serde_json::from_str(log.lines().nth(1).unwrap()).unwrap();
        let (first, last) = (first["loss"].as_f64().unwrap(), outcome["loss"].as_f64().unwrap());
        assert!(outcome["steps"] == 12 && last < first, "{method}: from {first} to {last}");
        assert_ne!(asked(&["--adapter", method]), before, "{method} changes what is said");
    }
    assert_eq!(asked(&[]), before);
    folder.ok(&["use", "lora"]);
    assert_eq!(asked(&[]), asked(&["--adapter", "lora"]));
    assert_eq!(asked(&["--base"]), before);
    folder.ok(&["adapters", "rm", "lora"]);
    assert_eq!(asked(&[]), before, "removing what is in use goes back to the base");
    let listed = folder.ok(&["adapters", "list", "--json"]).json();
    assert_eq!(listed.as_array().unwrap().len(), 8);
    // One that is damaged hides none of the others.
    fs::write(folder.at(".incontext/adapters/ia3/adapter_config.json"), "{").unwrap();
    let listed = folder.ok(&["adapters", "list", "--json"]).json();
    let listed = listed.as_array().unwrap();
    let damaged: Vec<&Value> = listed.iter().filter(|row| row["damaged"].is_string()).collect();
    assert!(listed.len() == 8 && damaged.len() == 1 && damaged[0]["name"] == "ia3", "{listed:#?}");
    let modes = folder.ok(&["modes", "--model", &model, "--json"]).json();
    let modes = modes["modes"].as_array().unwrap();
    let of = |name: &str| modes.iter().find(|mode| mode["name"] == name).unwrap();
    assert!(of("ia3")["obstacle"].as_str().unwrap().contains("damaged"), "{modes:#?}");
    assert_eq!(of("prefix")["possible"], true);
}

#[test]
fn a_run_that_is_killed_goes_on_and_ends_as_if_nothing_had_happened() {
    let (folder, model) = (folder(), model());
    let options = [
        "--rank",
        "3",
        "--dropout",
        "0.1",
        "--epochs",
        "40",
        "--save-every",
        "5",
        "--validation-share",
        "0.2",
    ];
    folder.ok(&tune("lora", "whole", &options, &model));
    let mut child =
        folder.command(&tune("lora", "killed", &options, &model)).stdout(Stdio::null()).spawn().unwrap();
    let checkpoint = folder.at(".incontext/runs/killed").join(incontext::train::CHECKPOINT);
    let start = Instant::now();
    while !checkpoint.exists() {
        assert!(start.elapsed() < Duration::from_secs(120) && child.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!folder.at(".incontext/adapters/killed").exists());
    // Another run of that name would lose it.
    let again = folder.run(&tune("lora", "killed", &options, &model));
    assert!(again.code == Some(1) && again.err.contains("tune resume killed"), "{again:#?}");
    folder.ok(&["tune", "resume", "killed"]);
    assert!(adapter(&folder, "killed") == adapter(&folder, "whole"), "bit for bit");
    assert!(complaint(&folder, &["tune", "resume", "killed"]).contains("is finished"));
}

#[test]
fn a_checkpoint_that_is_cut_in_half_is_refused_and_left_as_it_is() {
    let (folder, model) = (folder(), model());
    let options = ["--epochs", "400", "--save-every", "2"];
    let mut child =
        folder.command(&tune("ia3", "cut", &options, &model)).stdout(Stdio::null()).spawn().unwrap();
    let checkpoint = folder.at(".incontext/runs/cut").join(incontext::train::CHECKPOINT);
    while !checkpoint.exists() {
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let bytes = fs::read(&checkpoint).unwrap();
    fs::write(&checkpoint, &bytes[..bytes.len() / 2]).unwrap();
    let said = complaint(&folder, &["tune", "resume", "cut"]);
    assert!(said.contains("hint:") && said.contains("cut"), "{said}");
    assert_eq!(fs::read(&checkpoint).unwrap().len(), bytes.len() / 2);
}

#[test]
fn a_run_is_done_again_from_its_folder_unless_its_data_has_changed() {
    let (folder, model) = (folder(), model());
    folder.ok(&tune("lora", "first", &["--steps", "4", "--seed", "3", "--sweep-lr"], &model));
    folder.ok(&["tune", "repeat", ".incontext/runs/first", "--out", "second"]);
    assert!(adapter(&folder, "first") == adapter(&folder, "second"));
    for picture in ["loss.svg", "log.jsonl", "job.json"] {
        assert!(folder.at(&format!(".incontext/runs/second/{picture}")).exists(), "{picture}");
    }
    let args = ["tune", "repeat", ".incontext/runs/first", "--out", "second"];
    assert!(complaint(&folder, &args).contains("`second` already"), "an adapter is not written over");
    folder.write("data.jsonl", &data(41));
    let args = ["tune", "repeat", ".incontext/runs/first", "--out", "third"];
    assert!(complaint(&folder, &args).contains("is not what the run began with"));
}

#[test]
fn what_cannot_be_trained_is_said_and_nothing_is_left() {
    let (folder, model) = (folder(), model());
    let long = vec![word(1); 80].join(" ");
    folder.write("empty.jsonl", "");
    folder.write(
        "no_answer.jsonl",
        "{\"prompt\": \"balo\", \"completion\": \"bami\"}\n{\"prompt\": \"balo\"}\n",
    );
    folder.write("long.jsonl", &format!("{}\n", json!({ "prompt": "balo", "completion": long })));
    let with = |file: &'static str, more: &[&'static str]| {
        let args = ["tune", "lora", "--data", file, "--out", "x", "--model", &model, "--restart"];
        let args = [&args, more].concat();
        complaint(&folder, &args)
    };
    for (file, more, expected) in [
        ("empty.jsonl", &[][..], &["is empty", "hint:"][..]),
        ("none.jsonl", &[], &["none.jsonl"]),
        ("no_answer.jsonl", &[], &["line 2", "no `completion`", "hint:"]),
        ("long.jsonl", &["--max-length", "64"], &["line 1", "its answer has", "hint:"]),
        ("data.jsonl", &["--targets", "query"], &["`query`", "matches no linear", "self_attn.q_proj"]),
        ("data.jsonl", &["--targets", "a("], &["no regular expression"]),
        ("data.jsonl", &["--rank", "0"], &["rank 0"]),
        (
            "data.jsonl",
            &["--learning-rate", "1e30", "--steps", "9", "--warmup", "0"],
            &["third in a row", "hint:"],
        ),
        ("data.jsonl", &["--learning-rate=-1"], &["learning_rate"]),
        ("data.jsonl", &["--split", "none"], &["no row of the split `none`"]),
        ("data.jsonl", &["--template", "qa/grounded"], &["shows passages"]),
        ("data.jsonl", &["--template", "nope"], &["nope"]),
    ] {
        let said = with(file, more);
        assert!(expected.iter().all(|part| said.contains(part)), "{file} {more:?}: {said}");
    }
    assert!(!folder.at(".incontext/adapters/x").exists());
    let served = ["tune", "lora", "--data", "data.jsonl", "--out", "x", "--model", "openai:m"];
    assert!(complaint(&folder, &served).contains("text and no weights"));
    for name in ["base", "none", "../x", ""] {
        let args = ["tune", "ia3", "--data", "data.jsonl", "--out", name, "--model", &model];
        assert!(complaint(&folder, &args).contains("cannot name an adapter"), "{name}");
    }
    let encoder = tiny("bert").to_str().unwrap().to_owned();
    folder.write("classes.jsonl", &classified(6));
    let args = ["tune", "llama-adapter", "--data", "classes.jsonl", "--out", "x", "--model", &encoder];
    assert!(complaint(&folder, &args).contains("encoder"));
}

#[test]
fn an_adapter_is_refused_over_another_base_by_name() {
    let (folder, model) = (folder(), model());
    folder.ok(&tune("ia3", "scales", &["--steps", "2"], &model));
    let other = tiny("llama_untied").to_str().unwrap().to_owned();
    let args = ["classify", "balo", "--labels", "bami,banu", "--model", &other, "--adapter", "scales"];
    let said = complaint(&folder, &args);
    assert!(
        said.contains("`scales` was made on") && said.contains(&model) && said.contains("--base"),
        "{said}"
    );
    let args = ["classify", "balo", "--labels", "bami,banu", "--adapter", "nobody"];
    let said = complaint(&folder, &args);
    assert!(said.contains("no adapter `nobody`") && said.contains("there are: scales"), "{said}");
    let said = complaint(&folder, &["use", "nobody"]);
    assert!(said.contains("no adapter `nobody`"), "{said}");
    let modes = folder.ok(&["modes", "--model", &other, "--json"]).json();
    let mode = modes["modes"].as_array().unwrap().iter().find(|mode| mode["name"] == "scales").unwrap();
    assert_eq!(mode["possible"], false);
    let served = folder.ok(&["modes", "--model", "openai:m", "--json"]).json();
    assert_eq!(served["weights"], false);
    assert!(served["modes"][2]["obstacle"].as_str().unwrap().contains("no weights"));
}

#[test]
fn merged_weights_say_what_the_adapter_says() {
    let (folder, model) = (folder(), model());
    for method in ["lora", "ia3"] {
        folder.ok(&tune(method, method, &["--steps", "6", "--learning-rate", "0.02"], &model));
        folder.ok(&["adapters", "merge", method, "--out", &format!("merged-{method}")]);
        let probabilities = |more: &[&str]| -> Vec<f64> {
            let labels = [word(200), word(201), word(202)].join(",");
            let args = [&["classify", "balo bami", "--labels", &labels, "--json"], more].concat();
            let said: Value = folder.ok(&args).json();
            said["probabilities"].as_object().unwrap().values().map(|p| p.as_f64().unwrap()).collect()
        };
        let adapted = probabilities(&["--adapter", method]);
        let merged = probabilities(&["--model", &format!("merged-{method}")]);
        assert!(
            adapted.iter().zip(&merged).all(|(a, b)| (a - b).abs() < 1e-4),
            "{method}: {adapted:?} {merged:?}"
        );
    }
    let said = complaint(&folder, &["adapters", "merge", "lora", "--out", "merged-lora"]);
    assert!(said.contains("is there already"), "{said}");
    folder.ok(&tune("prefix", "prefix", &["--steps", "2"], &model));
    let said = complaint(&folder, &["adapters", "merge", "prefix", "--out", "p"]);
    assert!(said.contains("no weight can express"), "{said}");
}

#[test]
fn an_adapter_is_copied_out_and_brought_in_again() {
    let (folder, model) = (folder(), model());
    folder.ok(&tune("lora", "mine", &["--steps", "3"], &model));
    folder.ok(&["adapters", "export", "mine", "out"]);
    fs::remove_file(folder.at("out/incontext.json")).unwrap();
    folder.ok(&["adapters", "import", "out", "--name", "back", "--model", &model]);
    assert!(adapter(&folder, "mine") == adapter(&folder, "back"));
    assert!(
        complaint(&folder, &["adapters", "import", "out", "--name", "back", "--model", &model])
            .contains("already")
    );
    let shown = folder.ok(&["adapters", "show", "back", "--json"]).json();
    assert_eq!((&shown["method"], &shown["config"]["rank"]), (&json!("lora"), &json!(8)));
}

/// The mean loss that a run begins with.
fn first_loss(model: &Model, adapter: &dyn Adapter, params: &Params, rows: Vec<Row>) -> f64 {
    let still = |name: &str| name.contains("lora_A");
    let subject = Subject { adapter, still: &still, ..Subject::new("test", model, params) };
    let config =
        TrainConfig { batch_size: rows.len(), steps: Some(1), shuffle: false, ..TrainConfig::default() };
    let mut loss = None;
    train(&subject, &Rows::new(rows, Vec::new()), &config, None, &mut |event| {
        if let Event::Step(step) = event {
            loss = Some(step.loss);
        }
        std::ops::ControlFlow::Continue(())
    })
    .unwrap();
    loss.unwrap()
}

#[test]
fn a_prefix_compiled_from_examples_begins_at_the_loss_in_context() {
    let folder = folder();
    for family in ["llama", "gpt2", "qwen3"] {
        let model = Model::load(&tiny(family), &Device::Cpu).unwrap();
        let source = Source {
            tokenizer: model.tokenizer().unwrap(),
            window: 60,
            causal: true,
            parameters: 1,
            documents: None,
        };
        let (data, file) = (Data::default(), folder.at("data.jsonl"));
        let turns = shown_turns(&source, &data, Path::new(&folder.at("demos.jsonl"))).unwrap();
        let asked = plain(&source, &data, &file, None, &[]).unwrap().rows;
        let shown = plain(&source, &data, &file, None, &turns).unwrap().rows;
        let compiled = compile(&asked, &shown).unwrap();
        assert_eq!(compiled.prefix.len(), 12, "{family}: {:?}", shown[0].ids);

        // One parameter that changes nothing, so that there is something to train.
        let mut none = Params::new();
        let config =
            AdapterConfig::Prefix(Prefix { num_virtual_tokens: compiled.prefix.len(), ..Prefix::default() });
        let cache = Prefix::flat(&keys_and_values(&model.transformer, &compiled.prefix).unwrap()).unwrap();
        let start = Start { cache: Some(cache), ..Start::default() };
        let mut params = Params::new();
        let tensors = config.start(&model.transformer, &start).unwrap();
        let variables =
            tensors.iter().map(|(name, t)| (name.clone(), params.insert(name, t).unwrap())).collect();
        let prefix = config.attach(&model.transformer, &variables).unwrap();
        let compiled_loss = first_loss(&model, &*prefix, &params, compiled.rows.clone());

        let lora = AdapterConfig::Lora(Default::default());
        let tensors = lora.start(&model.transformer, &Start::default()).unwrap();
        let variables =
            tensors.iter().map(|(name, t)| (name.clone(), none.insert(name, t).unwrap())).collect();
        let at_base = lora.attach(&model.transformer, &variables).unwrap();
        let in_context = first_loss(&model, &*at_base, &none, shown);
        assert!((compiled_loss - in_context).abs() < 1e-5, "{family}: {compiled_loss} and {in_context}");
        let without = first_loss(&model, &*at_base, &none, asked);
        assert!((without - in_context).abs() > 1e-3, "{family}: the examples say something");
    }
}

/// Texts whose first word tells their class.
fn classified(rows: usize) -> String {
    let row = |n: usize| {
        let text = [word(n % 3), word(n % 31 + 40), word(n % 13 + 90)].join(" ");
        let label = ["plants", "stones", "stars"][n % 3];
        json!({ "text": text, "label": label })
    };
    (0..rows).map(|n| format!("{}\n", row(n))).collect()
}

#[test]
fn a_head_is_trained_alone_with_layers_with_biases_or_with_an_adapter_on_encoders_and_decoders() {
    let folder = Folder::with(&[("rows.jsonl", &classified(48))]);
    for family in ["bert", "distilbert", "xlm_roberta", "llama", "gpt2"] {
        let model = tiny(family).to_str().unwrap().to_owned();
        let methods: [(&str, &str, &[&str]); 5] = [
            ("head", "0.02", &[]),
            ("full", "0.002", &["--top-layers", "1"]),
            ("full", "0.002", &[]),
            ("bitfit", "0.01", &[]),
            ("lora", "0.01", &["--rank", "3"]),
        ];
        for (at, (method, rate, more)) in methods.into_iter().enumerate() {
            if (family, method) == ("llama", "bitfit") {
                continue;
            }
            let name = format!("{family}-{at}");
            let args =
                ["tune", method, "--data", "rows.jsonl", "--out", &name, "--model", &model, "--classify"];
            let rest = ["--epochs", "12", "--warmup", "0", "--schedule", "constant", "--json"];
            let ran = folder.ok(&[&args[..], more, &["--learning-rate", rate], &rest].concat());
            assert_eq!(ran.json()["outcome"]["steps"], 72, "{ran:#?}");
            let log = fs::read_to_string(folder.at(&format!(".incontext/runs/{name}/log.jsonl"))).unwrap();
            let events = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
            let losses: Vec<f64> = events.filter_map(|event| event["loss"].as_f64()).collect();
            let epoch = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
            let (first, last) = (epoch(&losses[..6]), epoch(&losses[losses.len() - 6..]));
            // What random layers make of a text is not for a line to tell apart.
            assert!(last < first || method == "head", "{name} {method} {more:?}: from {first} to {last}");
            let asked = folder.ok(&["classify", "--adapter", &name, "--file", "rows.jsonl", "--json"]);
            let right = asked.out.lines().zip(classified(48).lines().map(str::to_owned).collect::<Vec<_>>());
            let right = right.filter(|(said, row)| {
                let (said, row): (Value, Value) =
                    (serde_json::from_str(said).unwrap(), serde_json::from_str(row).unwrap());
                said["label"] == row["label"]
            });
            let right = right.count();
            assert!(
                right >= 24 || ["head", "bitfit"].contains(&method),
                "{name} {method}: {right} of 48 is better than one in three"
            );
        }
    }
    let llama = tiny("llama").to_str().unwrap().to_owned();
    let args = ["tune", "bitfit", "--data", "rows.jsonl", "--out", "x", "--model", &llama];
    assert!(complaint(&folder, &args).contains("no biases"));
    let args = ["tune", "full", "--data", "rows.jsonl", "--out", "x", "--model", &llama, "--top-layers", "9"];
    assert!(complaint(&folder, &args).contains("of 3"));
    folder.write("one.jsonl", "{\"text\": \"balo\", \"label\": \"a\"}\n");
    let args = ["tune", "head", "--data", "one.jsonl", "--out", "x", "--model", &llama];
    assert!(complaint(&folder, &args).contains("no choice"));
    let args = ["classify", "balo", "--adapter", "bert-0", "--labels", "a,b"];
    assert!(complaint(&folder, &args).contains("labels that it was trained on"));
}
