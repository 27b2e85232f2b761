//! `incontext rlhf`: learning which answer is better, with the real binary on a tiny model.

use std::fs;

use serde_json::{Value, json};

use crate::golden::tiny;
use crate::run::Folder;
use crate::tiny::word;

/// Of two answers the one with a word of the first eleven is better.
fn data(rows: usize) -> String {
    let row = |n: usize| {
        let prompt = [word(n % 7 + 100), word(n % 31 + 140)].join(" ");
        let (good, bad) = (word(n % 11), word(n % 11 + 30));
        json!({ "prompt": prompt, "chosen": format!("{good} {}", word(n % 5 + 60)),
            "rejected": format!("{bad} {}", word(n % 5 + 60)), "split": if n.is_multiple_of(4) { "val" } else { "train" } })
    };
    (0..rows).map(|n| format!("{}\n", row(n))).collect()
}

fn folder() -> Folder {
    Folder::with(&[("judged.jsonl", &data(64))])
}

fn model() -> String {
    tiny("llama").to_str().unwrap().to_owned()
}

fn rlhf<'a>(what: &'a str, out: &'a str, more: &[&'a str], model: &'a str) -> Vec<&'a str> {
    [&["rlhf", what, "--data", "judged.jsonl", "--out", out, "--model", model, "--plain"], more].concat()
}

/// The events of a run of this kind.
fn events(folder: &Folder, run: &str, kind: &str) -> Vec<Value> {
    let log = fs::read_to_string(folder.at(&format!(".incontext/runs/{run}/log.jsonl"))).unwrap();
    let events = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    events.filter(|event| event["event"] == kind).collect()
}

const LEARNING: [&str; 10] = [
    "--steps",
    "40",
    "--learning-rate",
    "0.02",
    "--split",
    "train",
    "--validation-split",
    "val",
    "--rank",
    "4",
];

#[test]
fn a_reward_model_tells_better_answers_it_has_not_seen() {
    let (folder, model) = (folder(), model());
    folder.ok(&rlhf("reward", "judge", &LEARNING, &model));
    let steps = events(&folder, "judge", "step");
    let first = steps[0]["loss"].as_f64().unwrap();
    assert!((first - std::f64::consts::LN_2).abs() < 0.05, "a head of small numbers hardly prefers: {first}");
    let validated = events(&folder, "judge", "validated");
    let right = validated.last().unwrap()["metrics"]["rewards/accuracies"].as_f64().unwrap();
    assert!(right > 0.9, "{right}");
    let about: Value =
        serde_json::from_slice(&fs::read(folder.at(".incontext/adapters/judge/incontext.json")).unwrap())
            .unwrap();
    assert_eq!(about["labels"], json!(["reward"]));
}

#[test]
fn dpo_begins_at_log_2_and_ends_preferring_what_people_did() {
    let (folder, model) = (folder(), model());
    folder.ok(&rlhf("dpo", "policy", &[&LEARNING[..], &["--beta", "0.5"]].concat(), &model));
    let steps = events(&folder, "policy", "step");
    assert!((steps[0]["loss"].as_f64().unwrap() - std::f64::consts::LN_2).abs() < 1e-6, "{}", steps[0]);
    assert_eq!(steps[0]["metrics"]["rewards/margins"], 0.0);
    let right = |event: &Value| event["metrics"]["rewards/accuracies"].as_f64().unwrap();
    let of_last = steps[35..].iter().map(right).sum::<f64>() / 5.0;
    let held_out = right(events(&folder, "policy", "validated").last().unwrap());
    assert!(of_last > 0.9 && held_out > 0.6, "{of_last}, {held_out} of what it has not seen");
    // It goes on writing, and can be gone on from.
    let text = word(101);
    folder.ok(&["generate", &text, "--adapter", "policy", "--model", &model, "--max-tokens", "3"]);
    folder.ok(&rlhf("dpo", "further", &["--from", "policy", "--steps", "2"], &model));
    let steps = events(&folder, "further", "step");
    assert!(
        (steps[0]["loss"].as_f64().unwrap() - std::f64::consts::LN_2).abs() < 1e-6,
        "the reference is where it began"
    );
}

#[test]
fn what_cannot_be_compared_is_said() {
    let (folder, model) = (folder(), model());
    let complaint = |args: &[&str]| {
        let ran = folder.run(args);
        assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""), "{ran:#?}");
        ran.err
    };
    let mut lines: Vec<String> = data(6).lines().map(str::to_owned).collect();
    lines[2] = json!({ "prompt": "why", "chosen": word(3) }).to_string();
    fs::write(folder.at("judged.jsonl"), lines.join("\n")).unwrap();
    let said = complaint(&rlhf("reward", "judge", &[], &model));
    assert!(said.contains("line 3") && said.contains("no `rejected`"), "{said}");
    lines[2] = json!({ "prompt": "why", "chosen": word(3), "rejected": word(3) }).to_string();
    lines[3] = json!({ "prompt": "why", "chosen": word(3), "rejected": "" }).to_string();
    fs::write(folder.at("judged.jsonl"), lines.join("\n")).unwrap();
    let ran = folder.ok(&rlhf("reward", "judge", &["--steps", "2"], &model));
    assert!(ran.err.contains("1 row left out: two of the answers are the same"), "{}", ran.err);
    assert!(ran.err.contains("1 row left out: an answer is empty"), "{}", ran.err);
    for (more, what) in [
        (&["--beta", "0"][..], "--beta has to be above 0"),
        (&["--label-smoothing", "0.7"], "--label-smoothing"),
        (&["--from", "nobody"], "nobody"),
    ] {
        let said = complaint(&rlhf("dpo", "policy", more, &model));
        assert!(said.contains(what), "{said}");
    }
    let bert = tiny("cross_encoder_two_labels").to_str().unwrap().to_owned();
    assert!(complaint(&rlhf("dpo", "policy", &[], &bert)).contains("writes nothing"));
}

#[test]
fn policies_learn_from_their_own_answers_by_either_way() {
    let (folder, model) = (folder(), model());
    folder.ok(&rlhf("reward", "judge", &LEARNING, &model));
    let prompts: String = (0..12)
        .map(|n| [word(n + 100), word(n + 140)].join(" "))
        .map(|prompt| format!("{}\n", json!({ "prompt": prompt })))
        .collect();
    fs::write(folder.at("prompts.jsonl"), prompts).unwrap();
    let run = |what: &str, out: &str, more: &[&str]| -> Vec<String> {
        let fixed = [
            "rlhf",
            what,
            "--data",
            "prompts.jsonl",
            "--reward",
            "judge",
            "--out",
            out,
            "--model",
            &model,
            "--plain",
        ];
        fixed.iter().chain(more).map(|word| (*word).to_owned()).collect()
    };
    let short = [
        "--updates",
        "4",
        "--max-tokens",
        "3",
        "--held-out",
        "4",
        "--learning-rate",
        "0.01",
        "--rank",
        "4",
        "--json",
    ];
    for (what, more, drawn) in
        [("ppo", &["--prompts", "6"][..], 6.0), ("grpo", &["--prompts", "2", "--num-generations", "4"], 8.0)]
    {
        let args = run(what, what, &[&short[..], more].concat());
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let done = folder.ok(&args).json();
        assert_eq!(done["outcome"]["updates"], 4);
        let held = |when: &str| done["outcome"][when]["divergence"].as_f64().unwrap();
        assert!(held("before") == 0.0 && held("after") != 0.0, "it begins as the reference: {done:#}");
        let read =
            |name: &str| fs::read_to_string(folder.at(&format!(".incontext/runs/{what}/{name}"))).unwrap();
        let metrics: Vec<Value> =
            read("metrics.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(metrics.len(), 4);
        let of = |at: usize, name: &str| metrics[at]["metrics"][name].as_f64().unwrap();
        assert!(of(0, "objective/kl").abs() < 1e-6 && of(3, "objective/kl") != 0.0, "{metrics:#?}");
        assert_eq!(of(1, "episode"), 2.0 * drawn);
        assert!((of(0, "val/ratio") - 1.0).abs() < 0.5);
        assert_eq!(metrics[0]["metrics"]["loss/value"].is_number(), what == "ppo");
        assert!(read("samples.jsonl").lines().count() == 8 && read("samples.jsonl").contains("\"answer\""));
        let text = word(101);
        folder.ok(&["generate", &text, "--adapter", what, "--model", &model, "--max-tokens", "3"]);
    }
    let complaint = |args: Vec<String>| {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let ran = folder.run(&args);
        assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""), "{ran:#?}");
        ran.err
    };
    for (args, what) in [
        (run("ppo", "ppo", &[]), "there is an adapter `ppo` already"),
        (run("ppo", "more", &["--resume"]), "no run `more` was interrupted"),
        (run("grpo", "more", &["--num-generations", "1"]), "--num-generations has to be at least 2"),
        (run("ppo", "more", &["--temperature", "0"]), "--temperature has to be above 0"),
        (run("ppo", "more", &["--held-out", "12"]), "12 are to be held out"),
    ] {
        let said = complaint(args);
        assert!(said.contains(what), "{said}");
    }
    let mut args = run("ppo", "more", &[]);
    args[5] = "ppo".to_owned();
    assert!(complaint(args).contains("gives no score"));
    let mut args = run("ppo", "more", &[]);
    args[9] = tiny("llama_untied").to_str().unwrap().to_owned();
    assert!(complaint(args).contains("of another base"));
}
