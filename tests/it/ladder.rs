//! Classifiers on features, and the ladder that compares ways of adapting a model: the real binary on tiny models.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::golden::tiny;
use crate::run::{Folder, Ran};
use crate::tiny::word;

fn model(family: &str) -> String {
    tiny(family).to_str().unwrap().to_owned()
}

/// Texts whose first word tells the class.
fn classified(from: usize, count: usize) -> String {
    let row = |n: usize| {
        let text = [word(n % 3), word(n * 7 % 31 + 40), word(n * 5 % 37 + 90)].join(" ");
        let label = ["plants", "stones", "stars"][n % 3];
        json!({ "id": format!("r{n}"), "text": text, "label": label })
    };
    (from..from + count).map(|n| format!("{}\n", row(n))).collect()
}

fn complaint(folder: &Folder, args: &[&str]) -> String {
    let ran = folder.run(args);
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""), "{ran:#?}");
    assert!(ran.err.contains("hint:"), "{ran:#?}");
    ran.err
}

fn json_lines(ran: &Ran) -> Vec<Value> {
    ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn each_classifier_over_features_learns_is_asked_by_its_name_and_can_be_made_again() {
    let folder = Folder::with(&[("rows.jsonl", &classified(0, 90)), ("new.jsonl", &classified(90, 30))]);
    for (family, classifier) in [
        ("bert", "logistic-regression"),
        ("llama", "logistic-regression"),
        ("distilbert", "random-forest"),
        ("bert", "gradient-boosting"),
    ] {
        let (model, name) = (model(family), format!("{family}-{classifier}"));
        let tune = |out: &str| {
            let args =
                ["tune", "features", "--data", "rows.jsonl", "--classifier", classifier, "--model", &model];
            folder.ok(&[&args[..], &["--c", "100", "--out", out, "--json"]].concat()).json()
        };
        let made = tune(&name);
        let outcome = &made["outcome"];
        assert_eq!((&outcome["rows"], &outcome["validation_rows"]), (&json!(90), &json!(0)), "{made:#}");
        assert_eq!(outcome["frequencies"], json!([30, 30, 30]));
        let asked = folder.ok(&["classify", "--model", &name, "--file", "new.jsonl", "--json"]);
        let rows = json_lines(&asked);
        let truth = ["plants", "stones", "stars"];
        let right = (90..120).zip(&rows).filter(|(n, row)| row["label"] == truth[n % 3]).count();
        assert!(right >= 15, "{name}: {right} of 30");
        assert_eq!(rows[0]["adapter"], name.as_str());
        let sum: f64 =
            rows[0]["probabilities"].as_object().unwrap().values().map(|p| p.as_f64().unwrap()).sum();
        assert!((sum - 1.0).abs() < 1e-6);
        // The run's folder makes it again, to the bit.
        folder.ok(&["tune", "repeat", &format!(".incontext/runs/{name}"), "--out", "again"]);
        let kept =
            |name: &str| fs::read(folder.at(&format!(".incontext/adapters/{name}/classifier.json"))).unwrap();
        assert_eq!(kept(&name), kept("again"), "{name}");
        folder.ok(&["adapters", "rm", "again"]);
    }
    let listed = folder.ok(&["adapters", "list"]).out;
    assert_eq!(listed.matches(" features ").count(), 4, "{listed}");
    let shown = folder.ok(&["adapters", "show", "bert-logistic-regression"]).out;
    assert!(
        shown.contains("labels: plants, stars, stones") && shown.contains("trained parameters: 147"),
        "{shown}"
    );
}

#[test]
fn several_classifiers_are_tried_on_rows_that_are_held_out_and_what_misleads_is_said() {
    // One class is rare, and a held-out text is among the others.
    let rare = "{\"text\": \"balo bami\", \"label\": \"rare\"}\n";
    let first = classified(0, 1);
    let folder = Folder::with(&[
        ("rows.jsonl", &format!("{}{rare}", classified(0, 60))),
        ("held.jsonl", &format!("{}{first}", classified(60, 30))),
    ]);
    let model = model("bert");
    let args = ["tune", "features", "--data", "rows.jsonl", "--model", &model, "--out", "best"];
    let tried = ["--classifier", "logistic-regression,random-forest", "--c", "0.01,100"];
    let error = complaint(&folder, &[&args[..], &tried].concat());
    assert!(error.contains("rows that none of them has seen"), "{error}");
    let ran = folder.ok(&[&args[..], &tried, &["--validation", "held.jsonl"]].concat());
    assert_eq!(ran.err.matches("% right").count(), 3, "{ran:#?}");
    assert_eq!(ran.err.matches("<- chosen").count(), 1, "{ran:#?}");
    assert!(ran.err.contains("`rare` has 1 row of 61"), "{ran:#?}");
    assert!(ran.err.contains("1 of 31 rows held out is fitted on as well"), "{ran:#?}");
}

#[test]
fn a_classifier_over_features_is_no_adapter_of_a_model_that_writes_and_a_damaged_one_is_refused() {
    let folder = Folder::with(&[("rows.jsonl", &classified(0, 30))]);
    let bert = model("bert");
    folder.ok(&["tune", "features", "--data", "rows.jsonl", "--model", &bert, "--out", "f"]);
    assert!(complaint(&folder, &["use", "f"]).contains("makes a classifier"));
    assert!(complaint(&folder, &["adapters", "merge", "f", "--out", "m"]).contains("changes nothing in it"));
    let other = model("distilbert");
    let error = complaint(&folder, &["classify", "balo", "--adapter", "f", "--model", &other]);
    assert!(error.contains("was made on"), "{error}");
    folder.ok(&["adapters", "export", "f", "copy"]);
    folder.ok(&["adapters", "import", "copy", "--name", "g", "--model", &bert]);
    let said = |name: &str| folder.ok(&["classify", "balo bami", "--adapter", name]).out;
    assert_eq!(said("f"), said("g"));
    let file = folder.at(".incontext/adapters/g/classifier.json");
    let whole: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    type Damage = fn(&mut Value);
    let damages: [Damage; 4] = [
        |json| json["classifier"]["logistic-regression"]["weights"][0] = json!([1.0]),
        |json| json["classifier"]["logistic-regression"]["bias"] = json!([]),
        |json| json["features"] = json!("0000000000000000"),
        |json| json["window"] = json!(100_000),
    ];
    for damage in damages {
        let mut json = whole.clone();
        damage(&mut json);
        fs::write(&file, json.to_string()).unwrap();
        complaint(&folder, &["classify", "balo", "--adapter", "g"]);
    }
    fs::write(&file, "{").unwrap();
    assert!(complaint(&folder, &["classify", "balo", "--adapter", "g"]).contains("classifier.json"));
}

#[test]
fn what_cannot_be_fitted_is_named() {
    let one = "{\"text\": \"balo\", \"label\": \"a\"}\n";
    let none = "{\"text\": \"balo\"}\n{\"text\": \"bami\", \"label\": \"b\"}\n";
    let empty = "{\"text\": \"\", \"label\": \"a\"}\n{\"text\": \"bami\", \"label\": \"b\"}\n";
    let folder = Folder::with(&[
        ("one.jsonl", one),
        ("none.jsonl", none),
        ("empty.jsonl", empty),
        ("rows.jsonl", &classified(0, 30)),
    ]);
    let model = model("bert");
    for (args, expected) in [
        (&["--data", "one.jsonl"][..], "is no choice"),
        (&["--data", "none.jsonl"], "no choice"),
        (&["--data", "empty.jsonl"], "line 1"),
        (&["--data", "rows.jsonl", "--labels", "plants,stones"], "is none of"),
        (
            &["--data", "rows.jsonl", "--labels", "plants,stones,stars,seas"],
            "no row to fit on is of the class `seas`",
        ),
        (&["--data", "rows.jsonl", "--c", "0"], "C = 0"),
        (&["--data", "rows.jsonl", "--max-length", "9999"], "9999 tokens"),
        (&["--data", "rows.jsonl", "--model", "openai:m"], "behind an endpoint"),
    ] {
        let more = if args.contains(&"openai:m") { vec![] } else { vec!["--model", model.as_str()] };
        let error = complaint(&folder, &[&["tune", "features", "--out", "x"], args, &more].concat());
        assert!(error.contains(expected), "{args:?}: {error}");
    }
    assert!(!folder.at(".incontext/adapters/x").exists());
}

#[test]
fn a_text_longer_than_the_model_reads_leaves_room_for_what_an_adapter_brings() {
    let folder = Folder::with(&[("rows.jsonl", &classified(0, 30))]);
    let model = model("bert");
    let args =
        ["tune", "prefix", "--data", "rows.jsonl", "--model", &model, "--steps", "2", "--out", "begun"];
    folder.ok(&args);
    let long = vec![word(1); 200].join(" ");
    let said = folder.ok(&["classify", "--model", "begun", &long, "--json"]).json();
    assert!(["plants", "stones", "stars"].map(Value::from).contains(&said["label"]), "{said:#}");
}

/// A comparison over tiny models, in a folder of its own.
fn comparison(more: &str) -> Folder {
    let task = format!(
        "task = \"classify\"\nmodel = \"{}\"\nencoder = \"{}\"\n{more}\n\
         [train]\nfile = \"train.jsonl\"\n[test]\nfile = \"test.jsonl\"\n[options]\nall = [\"--steps\", \"6\"]\n",
        model("llama"),
        model("bert")
    );
    Folder::with(&[
        ("task.toml", &task),
        ("train.jsonl", &classified(0, 60)),
        ("test.jsonl", &classified(60, 24)),
    ])
}

fn outcome(folder: &Folder) -> Value {
    serde_json::from_slice(&fs::read(folder.at("results/task/outcome.json")).unwrap()).unwrap()
}

fn changed(path: &Path) -> std::time::SystemTime {
    path.metadata().unwrap().modified().unwrap()
}

#[test]
fn a_ladder_is_climbed_reported_and_not_climbed_twice() {
    let folder = comparison(
        "rungs = [\"zero-shot\", \"few-shot\", \"features\", \"head\", \"encoder lora\", \"lora\"]\ncurve = { rungs = [\"features\"], rows = [20] }",
    );
    let ran = folder.ok(&["compare", "task.toml"]);
    let outcome_ = outcome(&folder);
    let steps = outcome_["steps"].as_array().unwrap();
    let names: Vec<&str> = steps.iter().map(|step| step["name"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        ["zero-shot", "few-shot", "features", "head", "encoder lora", "lora", "features, 20 rows"]
    );
    for step in steps {
        assert_eq!(step["state"]["is"], "measured", "{step:#}");
        let prompted = ["zero-shot", "few-shot"].contains(&step["name"].as_str().unwrap());
        assert_eq!(step["cost"].is_null(), prompted, "{step:#}");
        assert!(
            step["query_ms"].as_f64().unwrap() > 0.0 && step["total_core_seconds"].as_f64().unwrap() > 0.0
        );
    }
    let score = |name: &str| {
        let step = steps.iter().find(|step| step["name"] == name).unwrap();
        step["score"]["mean"].as_f64().unwrap()
    };
    assert!(score("features") > 0.4, "{outcome_:#}");
    assert!(steps[1]["below"]["p"].is_number() && steps[0]["below"].is_null());
    assert!(outcome_["advice"].as_str().unwrap().starts_with("On this task `"));
    assert!(ran.out.contains(outcome_["advice"].as_str().unwrap()) && ran.out.contains("encoder lora"));
    let page = fs::read_to_string(folder.at("results/task/report.html")).unwrap();
    assert!(page.contains("<svg") && page.contains("With fewer rows") && !page.contains("<script"));
    assert!(fs::read_to_string(folder.at("results/task/rows.html")).unwrap().contains("<script"));
    // What was trained is used like anything that was.
    let adapter = "results/task/.incontext/adapters/encoder-lora";
    assert!(folder.ok(&["classify", "balo", "--adapter", adapter]).out.contains("0."));

    let (lora, rows) = (folder.at(adapter), folder.at("results/task/rows.jsonl"));
    let before = (changed(&lora), fs::read(&rows).unwrap());
    let again = folder.ok(&["compare", "task.toml"]);
    assert!(!again.err.contains("training"), "{again:#?}");
    assert_eq!((changed(&lora), fs::read(&rows).unwrap()), before);
    // Another rank for one method trains that one again, and no other.
    let text = fs::read_to_string(folder.at("task.toml")).unwrap();
    folder.write("task.toml", &format!("{text}lora = [\"--rank\", \"2\"]\n"));
    let third = folder.ok(&["compare", "task.toml"]);
    assert_eq!(third.err.matches("training ").count(), 2, "{third:#?}");
    assert!(third.err.contains("training encoder lora") && third.err.contains("training lora"));
}

#[test]
fn a_rung_that_fails_hides_no_other_and_says_why() {
    let folder = comparison("rungs = [\"zero-shot\", \"bitfit\", \"features\"]");
    let ran = folder.run(&["compare", "task.toml"]);
    assert_eq!(ran.code, Some(1), "{ran:#?}");
    let outcome = outcome(&folder);
    let states: Vec<&str> = outcome["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| step["state"]["is"].as_str().unwrap())
        .collect();
    assert_eq!(states, ["measured", "failed", "measured"], "{outcome:#}");
    assert!(ran.out.contains("bitfit failed: ") && ran.out.contains("has no biases"), "{ran:#?}");
}

#[test]
fn a_plan_says_how_long_it_would_take_and_a_budget_leaves_rungs_out() {
    let folder = comparison("rungs = [\"zero-shot\", \"features\", \"encoder lora\", \"lora\"]");
    let plan = folder.ok(&["compare", "task.toml", "--dry-run", "--json"]).json();
    let rungs = plan["rungs"].as_array().unwrap();
    assert_eq!(rungs.len(), 4);
    assert!(
        rungs[0]["minutes_to_train"] == 0.0 && rungs[3]["minutes_to_train"].as_f64().unwrap() > 0.0,
        "{plan:#}"
    );
    assert!(!folder.at("results/task/.incontext/adapters/lora").exists());
    // Nothing but what takes no time at all fits into a tenth of a millisecond.
    let ran = folder.ok(&["compare", "task.toml", "--minutes", "0.000002"]);
    assert_eq!(ran.out.matches("was left out").count(), 4, "{ran:#?}");
    assert!(ran.out.contains("Nothing was measured yet."), "{ran:#?}");
}

#[test]
fn a_climb_that_is_stopped_goes_on_where_it_was() {
    let folder = comparison("rungs = [\"features\", \"lora\"]");
    let text = fs::read_to_string(folder.at("task.toml")).unwrap();
    folder.write("task.toml", &text.replace("\"6\"", "\"400\", \"--save-every\", \"5\""));
    let mut child = folder
        .command(&["compare", "task.toml"])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let awaited = folder.at(&format!("results/task/.incontext/runs/lora/{}", incontext::train::CHECKPOINT));
    let start = std::time::Instant::now();
    while !awaited.exists() {
        assert!(start.elapsed().as_secs() < 120 && child.try_wait().unwrap().is_none());
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    let stop = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(stop.success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let states = |folder: &Folder| -> Vec<String> {
        let outcome = outcome(folder);
        let steps = outcome["steps"].as_array().unwrap().iter();
        steps.map(|step| step["state"]["is"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(states(&folder)[1], "missing");
    let marker = folder.at("results/task/.incontext/runs/lora/marker");
    fs::write(&marker, "").unwrap();
    folder.ok(&["compare", "task.toml"]);
    assert_eq!(states(&folder), ["measured", "measured"]);
    // A run that is begun anew begins in a folder of its own.
    assert!(marker.exists());
}

#[test]
fn what_is_wrong_with_a_comparison_is_named() {
    let folder = comparison("");
    let text = fs::read_to_string(folder.at("task.toml")).unwrap();
    for (from, to, expected) in [
        ("task = \"classify\"", "task = \"clasify\"", "unknown variant"),
        ("\"train.jsonl\"", "\"none.jsonl\"", "none.jsonl"),
        ("[options]", "[optoins]", "line"),
    ] {
        folder.write("task.toml", &text.replace(from, to));
        let ran = folder.run(&["compare", "task.toml"]);
        assert!(ran.code == Some(1) && ran.err.contains(expected), "{ran:#?}");
    }
    folder.write("task.toml", &text);
    assert!(complaint(&folder, &["compare", "task.toml", "--rungs", "lorra"]).contains("`lorra` is no rung"));
    folder.write("test.jsonl", "{\"text\": \"balo\", \"label\": \"seas\"}\n");
    assert!(complaint(&folder, &["compare", "task.toml"]).contains("which no training row is of"));
    folder.write("train.jsonl", "{\"text\": \"balo\", \"label\": \"seas\"}\n");
    assert!(complaint(&folder, &["compare", "task.toml"]).contains("is no choice"));
}

#[test]
fn rungs_that_learn_from_judgements_are_judged_by_what_they_did_not_learn_from() {
    let row = |n: usize| {
        let prompt = [word(n % 7 + 100), word(n % 31 + 140)].join(" ");
        let (good, bad) = (word(n % 11), word(n % 11 + 30));
        json!({ "prompt": prompt, "chosen": format!("{good} {}", word(n % 5 + 60)),
            "rejected": format!("{bad} {}", word(n % 5 + 60)) })
    };
    let rows = |from: usize, to: usize| (from..to).map(|n| format!("{}\n", row(n))).collect::<String>();
    let data = "input = \"prompt\"\nanswer = \"chosen\"\n";
    let task = format!(
        "task = \"generate\"\nmodel = \"{}\"\nrungs = [\"zero-shot\", \"sft\", \"dpo\", \"ppo\"]\nmax_tokens = 3\n\
         [train]\nfile = \"judged.jsonl\"\n{data}[test]\nfile = \"test.jsonl\"\n{data}[preferences]\nfile = \"judged.jsonl\"\n\
         [options]\nall = [\"--steps\", \"4\"]\n\
         ppo = [\"--updates\", \"2\", \"--prompts\", \"4\", \"--max-tokens\", \"3\", \"--least-entropy\", \"0\"]\n",
        model("llama")
    );
    let files = [("task.toml", task.as_str()), ("judged.jsonl", &rows(0, 48)), ("test.jsonl", &rows(48, 60))];
    let folder = Folder::with(&files);
    let ran = folder.ok(&["compare", "task.toml"]);
    let order: Vec<&str> = ran.err.lines().filter_map(|line| line.strip_prefix("training ")).collect();
    assert_eq!(order, ["judge ...", "sft ...", "dpo ...", "reward ...", "ppo ..."]);
    let outcome_ = outcome(&folder);
    assert_eq!(outcome_["metric"]["name"], "win rate");
    let steps = outcome_["steps"].as_array().unwrap();
    for step in steps {
        assert_eq!(step["state"]["is"], "measured", "{step:#}");
        assert!((0.0..=1.0).contains(&step["score"]["mean"].as_f64().unwrap()));
    }
    let spent = |at: usize| steps[at]["cost"]["core_seconds"].as_f64().unwrap();
    assert!(
        spent(2) > spent(1) && spent(3) > spent(1),
        "what comes before is paid for as well: {outcome_:#}"
    );
    assert!(outcome_["remarks"].to_string().contains("it is no person"));
    let again = folder.ok(&["compare", "task.toml"]);
    assert!(!again.err.contains("training"), "{again:#?}");
    let planned = folder.ok(&["compare", "task.toml", "--dry-run", "--out", "elsewhere"]).out;
    assert!(planned.contains("ppo"), "{planned}");

    let text = fs::read_to_string(folder.at("task.toml")).unwrap();
    folder.write("task.toml", &text.replace("[preferences]\nfile = \"judged.jsonl\"\n", ""));
    assert!(
        complaint(&folder, &["compare", "task.toml"]).contains("`sft` wants answers that somebody compared")
    );
    folder.write("task.toml", &text.replace("\"generate\"", "\"classify\"").replace("[\"zero-shot\", ", "["));
    assert!(complaint(&folder, &["compare", "task.toml"]).contains("preferences are for what is written"));
    // A win rate without a comparison: any reward model, under its name.
    let bare = format!(
        "task = \"generate\"\nmetrics = [\"win rate\"]\n\
         data = {{ file = \"test.jsonl\", input = \"prompt\", answer = \"chosen\" }}\n\
         [matrix]\nprompt = [\"generate/plain\"]\nmodel = [\"{}\"]\n[run]\nmax_tokens = 3\n",
        model("llama")
    );
    folder.write("bare.toml", &bare);
    let said = complaint(&folder, &["experiment", "run", "bare.toml"]);
    assert!(said.contains("`win rate` wants a reward model"), "{said}");
    folder.write("bare.toml", &format!("{bare}reward = \"results/task/.incontext/adapters/judge\"\n"));
    assert!(folder.ok(&["experiment", "run", "bare.toml"]).out.contains("win rate"));
}
