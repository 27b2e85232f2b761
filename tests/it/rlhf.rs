//! `incontext rlhf`: learning which answer is better, with the real binary on a tiny model.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::defaults;
use crate::golden::tiny;
use crate::run::{Folder, Ran};
use crate::tiny::word;

/// Of two answers the one with a word of the first eleven is better.
fn data(rows: usize) -> String {
    let row = |n: usize| {
        let prompt = [word(n % 7 + 100), word(n % 31 + 140)].join(" ");
        let (good, bad) = (word(n % 11), word(n % 11 + 30));
        json!({ "prompt": prompt, "chosen": format!("{good} {}", word(n % 5 + 60)),
            "rejected": format!("{bad} {}", word(n % 5 + 60)), "split": if n.is_multiple_of(4) { "val" } else { "train" },
            "source": if n.is_multiple_of(3) { "forum" } else { "desk" } })
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
    // The level of its scores, of the model as it is.
    assert!(about["reward"]["answers"].as_u64().unwrap() > 10 && about["reward"]["policy"].is_null());
    assert!(
        about["reward"]["mean"].is_f64() && about["reward"]["standard_deviation"].as_f64().unwrap() > 0.0
    );

    let eval = ["eval", "reward", "--adapter", "judge", "--data", "judged.jsonl", "--model", &model];
    let more = ["--split", "val", "--by", "source", "--plot", "sure.svg", "--rows", "scores.jsonl", "--json"];
    let told = folder.ok(&[&eval[..], &more].concat()).json();
    let report = &told["report"];
    assert_eq!((&report["all"]["pairs"], &told["data"]["rows"]), (&json!(16), &json!(16)));
    assert_eq!(report["all"]["accuracy"]["mean"].as_f64().unwrap(), right, "as in training");
    assert_eq!(report["groups"][0]["group"], "desk");
    assert_eq!(report["groups"].as_array().unwrap().len(), 2);
    assert!(fs::read_to_string(folder.at("sure.svg")).unwrap().contains("Expected calibration error"));
    let scores = fs::read_to_string(folder.at("scores.jsonl")).unwrap();
    let first: Value = serde_json::from_str(scores.lines().next().unwrap()).unwrap();
    assert!(scores.lines().count() == 16 && first["scores"].as_array().unwrap().len() == 2, "{scores}");
    let shown = folder.ok(&[&eval[..], &["--by", "source"]].concat()).out;
    assert!(
        shown.contains("forum") && shown.contains("accuracy, %") && shown.contains("calibration"),
        "{shown}"
    );

    let complaint = |args: &[&str]| {
        let ran = folder.run(args);
        assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""), "{ran:#?}");
        ran.err
    };
    let said = complaint(&[&eval[..], &["--by", "nobody"]].concat());
    assert!(said.contains("line 1") && said.contains("no `nobody` in it"), "{said}");
    let said = complaint(&["classify", "--adapter", "judge", "--model", &model, &word(3)]);
    assert!(said.contains("gives a score, and tells no classes apart"), "{said}");
    let untaught = ["--steps", "1", "--out", "policy", "--model", &model];
    folder.ok(&[&["rlhf", "dpo", "--data", "judged.jsonl", "--plain"][..], &untaught].concat());
    let said =
        complaint(&["eval", "reward", "--adapter", "policy", "--data", "judged.jsonl", "--model", &model]);
    assert!(said.contains("gives no score"), "{said}");
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
    let answer = json!({ "prompt": word(100), "completion": word(3) });
    fs::write(folder.at("answers.jsonl"), answer.to_string()).unwrap();
    let switches = ["--sft-data", "answers.jsonl", "--whiten-rewards", "--score-at", "after-eos"];
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
    for (what, more, drawn) in [
        ("ppo", &[&["--prompts", "6"][..], &switches].concat()[..], 6.0),
        ("grpo", &["--prompts", "2", "--num-generations", "4"], 8.0),
    ] {
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
        for of_ppo in ["loss/value", "loss/sft"] {
            assert_eq!(metrics[0]["metrics"][of_ppo].is_number(), what == "ppo");
        }
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
        (run("ppo", "more", &["--sft-data", "nothing.jsonl"]), "nothing.jsonl"),
        (run("ppo", "more", &["--least-entropy", "9"]), "has collapsed"),
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

#[test]
fn a_prompt_leaves_room_for_what_the_policy_brings() {
    let (folder, model) = (folder(), model());
    let learned = ["--data", "judged.jsonl", "--model", &model, "--plain", "--steps", "1", "--out"];
    folder.ok(&[&["rlhf", "reward"], &learned[..], &["judge"]].concat());
    fs::write(folder.at("answers.jsonl"), json!({ "prompt": word(1), "completion": word(2) }).to_string())
        .unwrap();
    let begun = ["tune", "prefix", "--data", "answers.jsonl", "--model", &model, "--steps", "1"];
    folder.ok(&[&begun[..], &["--num-virtual-tokens", "20", "--out", "begun"]].concat());
    // The model reads 128 tokens: 110 and an answer of 3 fit, but not beside 20 rows of the prefix.
    let prompts = [5, 110].map(|words| json!({ "prompt": vec![word(1); words].join(" ") }));
    fs::write(folder.at("prompts.jsonl"), prompts.map(|row| format!("{row}\n")).concat()).unwrap();
    let args = ["rlhf", "grpo", "--data", "prompts.jsonl", "--reward", "judge", "--from", "begun", "--plain"];
    let short = ["--updates", "1", "--prompts", "1", "--num-generations", "2", "--max-tokens", "3"];
    let ran = folder.ok(&[&args[..], &short, &["--model", &model, "--out", "policy"]].concat());
    assert!(ran.err.contains("1 prompts left out: they leave no room"), "{}", ran.err);
}

/// What `incontext rlhf rate ARGS` does where a person types `lines`.
fn rate(folder: &Folder, args: &[&str], lines: &str) -> Ran {
    let mut child =
        folder.command(&[&["rlhf", "rate"], args].concat()).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    Ran::of(child.wait_with_output().unwrap())
}

#[test]
fn a_person_ranks_answers_and_a_reward_model_learns_from_the_file() {
    let (folder, model) = (folder(), model());
    let row =
        |n: usize| json!({ "prompt": word(n + 100), "responses": [word(n), word(n + 30), word(n + 60)] });
    let rows: String = (0..4).map(|n| format!("{}\n", row(n))).collect();
    fs::write(folder.at("answers.jsonl"), rows).unwrap();
    let args = ["--answers", "answers.jsonl", "--out", "mine.jsonl"];
    let ran = rate(&folder, &args, "3 1 2\n1 1 2\nnonsense\n2>1>3\ns\nq\n");
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), ""), "{ran:#?}");
    assert!(ran.err.contains("1 stands there twice") && ran.err.contains("`n` is no answer"), "{}", ran.err);
    assert!(ran.err.contains("2 judged, 1 skipped; the same command goes on: mine.jsonl"), "{}", ran.err);
    let read = || -> Vec<Value> {
        let text = fs::read_to_string(folder.at("mine.jsonl")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    // As they were shown: the third was typed first.
    let shown: Vec<&str> = ran.err.lines().filter_map(|line| line.strip_prefix("[3] ")).collect();
    assert_eq!((read().len(), &read()[0]["responses"][0]), (2, &json!(shown[0])));
    assert_eq!(read()[0]["prompt"], word(100));
    // A line that was cut off does not spoil the next, and nothing is asked twice.
    let whole = fs::read_to_string(folder.at("mine.jsonl")).unwrap();
    fs::write(folder.at("mine.jsonl"), whole.trim_end()).unwrap();
    let ran = rate(&folder, &[&args[..], &["--json"]].concat(), "1 2 3\n3 2 1\n");
    assert_eq!(ran.json(), json!({ "out": "mine.jsonl", "rated": 2, "skipped": 0, "known": 2 }));
    assert_eq!(read().len(), 4);
    let reward = ["rlhf", "reward", "--data", "mine.jsonl", "--out", "judge", "--steps", "2", "--plain"];
    folder.ok(&[&reward[..], &["--model", &model, "--scale-prompts", "0"]].concat());

    // Answers that are written for it, two different ones.
    let written = ["--model", &model, "--out", "written.jsonl", "--max-tokens", "4", "--temperature", "2"];
    let question = word(7);
    let ran = rate(&folder, &[&[question.as_str()][..], &written].concat(), "2\n");
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    let line: Value = serde_json::from_str(&fs::read_to_string(folder.at("written.jsonl")).unwrap()).unwrap();
    assert_eq!((&line["prompt"], line["responses"].as_array().unwrap().len()), (&json!(question), 2));
    assert_ne!(line["responses"][0], line["responses"][1]);

    fs::write(folder.at("bad.jsonl"), json!({ "prompt": "a", "responses": ["one"] }).to_string()).unwrap();
    let ran = rate(&folder, &["--answers", "bad.jsonl", "--out", "x.jsonl"], "");
    assert!(
        ran.code == Some(1) && ran.err.contains("line 1") && ran.err.contains("two to nine"),
        "{}",
        ran.err
    );
}

#[test]
fn grounding_is_a_reward_that_nobody_labels() {
    if defaults::encoder().is_none() || defaults::generator().is_none() {
        return;
    }
    let folder = Folder::with(&[
        (
            "work/lease.md",
            "# Lease\n\nThe lease was signed by Peter Olsen. The lease of the office costs 900 euros.\n",
        ),
        ("work/bees.md", "# Bees\n\nA honey bee colony survives the winter on twenty kilograms of honey.\n"),
    ]);
    folder.ok(&["ingest", "work", "--quiet"]);
    let questions = [
        json!({ "question": "Who signed the lease?", "answers": ["Peter Olsen"] }),
        json!({ "question": "What does the lease of the office cost?", "answers": ["900 euros"] }),
        json!({ "question": "Who signed the lease of the bees?", "answers": [] }),
        json!({ "question": "How much honey does a colony need?", "answers": ["seventy barrels"] }),
    ];
    fs::write(folder.at("questions.jsonl"), questions.map(|row| format!("{row}\n")).concat()).unwrap();
    let args = ["rlhf", "grpo", "--data", "questions.jsonl", "-c", "default", "--out", "grounded", "-k", "1"];
    let short = ["--updates", "1", "--prompts", "2", "--num-generations", "2", "--max-tokens", "6", "--json"];
    let ran = folder.ok(&[&args[..], &short].concat());
    assert!(ran.err.contains("1 questions left out: their answers stand in no passage"), "{}", ran.err);
    assert_eq!(ran.json()["outcome"]["updates"], 1);
    let samples = fs::read_to_string(folder.at(".incontext/runs/grounded/samples.jsonl")).unwrap();
    let sample: Value = serde_json::from_str(samples.lines().next().unwrap()).unwrap();
    assert!(sample["sample"]["prompt"].as_str().unwrap().contains("lease"), "{sample:#}");
    let score = sample["sample"]["score"].as_f64().unwrap();
    assert!((-0.5..=1.5).contains(&score), "{score}");
    let about = fs::read_to_string(folder.at(".incontext/adapters/grounded/incontext.json")).unwrap();
    assert!(about.contains("\"template\": \"qa/grounded\""), "asked as it was taught");
    folder.ok(&["ask", "Who signed the lease?", "--adapter", "grounded", "--quiet"]);
    let ran = folder.run(&["rlhf", "grpo", "--data", "questions.jsonl", "--out", "x"]);
    assert!(ran.code == Some(2) && ran.err.contains("--reward"), "{}", ran.err);
}
