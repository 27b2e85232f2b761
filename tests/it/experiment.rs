//! `incontext experiment`: cells, rows and figures by real processes, over an endpoint that answers as it is told.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::{Value, json};

use crate::mock::{Reply, Seen, Server};
use crate::run::{Folder, Ran};
use crate::tiny;

/// Ten texts, of which the even ones are good.
fn data() -> String {
    let row = |n: usize| {
        let label = if n.is_multiple_of(2) { "good" } else { "bad" };
        json!({ "id": format!("r{n}"), "text": format!("film {n}"), "label": label }).to_string()
    };
    (0..10).map(|n| row(n) + "\n").collect()
}

const MINE: &str = "+++\nname = \"mine\"\ntask = \"classify\"\ninputs = [\"input\", \"labels\"]\n[params]\nstop = [\"\\n\"]\n[vars.ask]\nchoices = [\"Good or bad?\", \"Well?\"]\n+++\n{{ ask }} {{ input | line }}\nLabel:";

const EXPERIMENT: &str = r#"
task = "classify"
data = { file = "films.jsonl" }
metrics = ["accuracy"]
[matrix]
prompt = ["mine.j2", { template = "mine.j2", name = "well", vars = { ask = "Well?" } }]
model = ["openai:mock"]
"#;

fn folder(experiment: &str) -> Folder {
    Folder::with(&[("films.jsonl", &data()), ("mine.j2", MINE), ("films.toml", experiment)])
}

/// What the last message says.
fn asked(request: &Seen) -> String {
    let messages = request.body["messages"].as_array().unwrap();
    messages.last().unwrap()["content"].as_str().unwrap().to_owned()
}

/// The number of the film that is asked about.
fn number(request: &Seen) -> usize {
    let digits: String = asked(request).chars().filter(char::is_ascii_digit).collect();
    digits.parse().unwrap()
}

/// Right but for film 3, and for film 4 when it is asked "Well?".
fn critic(request: &Seen) -> Reply {
    let film = number(request);
    let wrong = film == 3 || film == 4 && asked(request).starts_with("Well?");
    let good = film.is_multiple_of(2) != wrong;
    Reply::streamed(&[if good { " Good" } else { "It is bad" }, ", I think."])
}

fn command(folder: &Folder, server: &Server, args: &[&str]) -> Command {
    let mut command = folder.command(&[&["experiment"], args].concat());
    command.env("OPENAI_BASE_URL", &server.url);
    command
}

fn run(folder: &Folder, server: &Server, args: &[&str]) -> Ran {
    Ran::of(command(folder, server, args).output().unwrap())
}

fn rows(folder: &Folder) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.at("results/films/rows.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn cells_are_measured_and_compared_and_nothing_is_asked_twice() {
    let folder = folder(EXPERIMENT);
    let server = Server::start(|request, _| critic(request));
    let ran = run(&folder, &server, &["run", "films.toml", "--json"]);
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    let summary = ran.json();
    assert_eq!((&summary["complete"], &summary["baseline"]), (&json!(true), &json!("c01")));
    let accuracy = |cell: usize| summary["cells"][cell]["metrics"]["accuracy"]["mean"].as_f64().unwrap();
    assert_eq!((accuracy(0), accuracy(1)), (0.9, 0.8));
    let against = &summary["cells"][1]["against"];
    assert_eq!((&against["wins"], &against["losses"], &against["ties"]), (&json!(0), &json!(1), &json!(9)));
    assert_eq!((&against["test"], &against["p"]), (&json!("McNemar"), &json!(1.0)));
    assert_eq!(server.seen().len(), 20);
    for name in ["report.html", "junit.xml", "summary.json", "experiment.toml"] {
        assert!(folder.at("results/films").join(name).exists(), "{name}");
    }

    // Nothing is left to do; in another folder, answers come out of the cache.
    assert_eq!(run(&folder, &server, &["run", "films.toml"]).code, Some(0));
    assert_eq!(run(&folder, &server, &["resume", "results/films"]).code, Some(0));
    assert_eq!(run(&folder, &server, &["run", "films.toml", "-o", "other"]).code, Some(0));
    assert_eq!((server.seen().len(), rows(&folder).len()), (20, 20));
    assert_eq!(run(&folder, &server, &["run", "films.toml", "-o", "fresh", "--no-cache"]).code, Some(0));
    assert_eq!(server.seen().len(), 40);

    let compared = run(&folder, &server, &["compare", "films.toml", "c02", "c01", "--metric", "accuracy"]);
    insta::assert_snapshot!(compared.out, @r"
    c02 against c01, on 10 items:
      accuracy     -10.0 [-30.0, 0.0]  could be luck, 77 items would tell (McNemar, p = 1.000; 0 better, 1 worse, 9 the same)

    They differ on 1 of them:
      r4  film 4
        right: good
        c02: bad (0.00)
        c01: good (1.00)
    ");
    let csv = run(&folder, &server, &["export", "results/films", "-f", "csv"]).out;
    assert!(csv.starts_with("cell,prompt,rows,errors,"), "{csv}");
    assert!(run(&folder, &server, &["view", "films.toml"]).out.contains("80.0"));
}

#[test]
fn a_changed_file_makes_only_what_it_changed() {
    let folder = folder(EXPERIMENT);
    let server = Server::start(|request, _| critic(request));
    run(&folder, &server, &["run", "films.toml", "--no-cache"]);
    folder.write("films.toml", &EXPERIMENT.replace("Well?", "So?"));
    let ran = run(&folder, &server, &["run", "films.toml", "--no-cache", "--json"]);
    assert_eq!(server.seen().len(), 30, "{ran:#?}");
    let ids: Vec<Value> =
        ran.json()["cells"].as_array().unwrap().iter().map(|cell| cell["id"].clone()).collect();
    assert_eq!(ids, ["c01", "c03"]);
    // Another metric is another look at the same rows.
    folder.write("films.toml", &EXPERIMENT.replace("\"accuracy\"]", "\"accuracy\", \"ROUGE-L\"]"));
    let ran = run(&folder, &server, &["run", "films.toml", "--no-cache", "--json"]);
    assert_eq!(server.seen().len(), 30, "{ran:#?}");
    assert_eq!(ran.json()["cells"][0]["metrics"]["ROUGE-L"]["mean"], 0.9);
}

#[test]
fn what_fails_is_said_in_its_row_and_asked_again_when_wanted() {
    let folder = folder(EXPERIMENT);
    let mended = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let is_mended = std::sync::Arc::clone(&mended);
    let server = Server::start(move |request, _| match number(request) {
        7 if !is_mended.load(std::sync::atomic::Ordering::SeqCst) => {
            Reply::error("400 Bad Request", "no sevens")
        }
        _ => critic(request),
    });
    let ran = run(&folder, &server, &["run", "films.toml", "--json"]);
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    assert!(ran.err.contains("2 rows failed"), "{}", ran.err);
    assert_eq!((&ran.json()["cells"][0]["rows"], &ran.json()["cells"][0]["errors"]), (&json!(10), &json!(1)));
    let failed: Vec<Value> = rows(&folder).into_iter().filter(|row| !row["error"].is_null()).collect();
    assert_eq!(failed.len(), 2);
    assert!(failed[0]["error"].as_str().unwrap().contains("no sevens"), "{failed:?}");
    mended.store(true, std::sync::atomic::Ordering::SeqCst);
    let again = run(&folder, &server, &["resume", "films.toml", "--retry-errors", "--json"]);
    assert_eq!(again.json()["cells"][0]["errors"], 0, "{again:#?}");
    assert_eq!(rows(&folder).len(), 22);
}

#[test]
fn an_endpoint_that_answers_nothing_stops_the_run_after_ten_rows() {
    let folder = folder(EXPERIMENT);
    let server = Server::start(|_, _| Reply::error("401 Unauthorized", "no key"));
    let ran = run(&folder, &server, &["run", "films.toml"]);
    assert_eq!(ran.code, Some(1), "{ran:#?}");
    assert!(ran.err.contains("the first 10 rows of `openai:mock` all failed"), "{}", ran.err);
    assert!(rows(&folder).len() < 20);
}

#[test]
fn a_killed_run_goes_on_where_it_was_and_ends_as_one_that_was_never_killed() {
    let whole = folder(EXPERIMENT);
    let slow = |request: &Seen, _| critic(request).pause(std::time::Duration::from_millis(40));
    let server = Server::start(slow);
    run(&whole, &server, &["run", "films.toml", "--no-cache"]);
    let expected = figures(&whole);
    for after in [150, 300] {
        let folder = folder(EXPERIMENT);
        let mut child =
            command(&folder, &server, &["run", "films.toml", "--no-cache", "-q"]).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(after));
        let _ = child.kill();
        let _ = child.wait();
        let ran = run(&folder, &server, &["run", "films.toml", "--no-cache"]);
        assert_eq!(ran.code, Some(0), "{ran:#?}");
        assert_eq!(figures(&folder), expected);
        assert_eq!(rows(&folder).len(), 20, "no row is made twice");
    }
}

/// Metrics of every cell but for time.
fn figures(folder: &Folder) -> BTreeMap<String, Value> {
    let text = std::fs::read_to_string(folder.at("results/films/summary.json")).unwrap();
    let summary: Value = serde_json::from_str(&text).unwrap();
    let cell = |cell: &Value| (cell["id"].as_str().unwrap().to_owned(), cell["metrics"]["accuracy"].clone());
    summary["cells"].as_array().unwrap().iter().map(cell).collect()
}

#[test]
fn assertions_that_fail_exit_with_100() {
    let asserts = format!(
        "{EXPERIMENT}\n[[assert]]\ntype = \"not-equals\"\nvalue = \"good\"\n[[require]]\nmetric = \"accuracy\"\nat_least = 0.85\n"
    );
    let folder = folder(&asserts);
    let server = Server::start(|request, _| critic(request));
    let ran = run(&folder, &server, &["run", "films.toml", "--json"]);
    assert_eq!(ran.code, Some(100), "{ran:#?}");
    let summary = ran.json();
    assert_eq!(summary["assertions"][0]["passed"], true);
    assert_eq!(
        (&summary["assertions"][1]["passed"], &summary["assertions"][1]["why"]),
        (&json!(false), &json!("it is 0.800"))
    );
    // Of the five good films both prompts say so, but the second of film 4; of film 3 both say so too.
    assert_eq!(summary["cells"][0]["assertions_failed"], 6);
    let junit = std::fs::read_to_string(folder.at("results/films/junit.xml")).unwrap();
    assert!(junit.contains("<failure"), "{junit}");
}

#[test]
fn a_judge_grades_what_only_a_model_can() {
    let rubric = format!(
        "{EXPERIMENT}\n[run]\njudge = \"openai:judge\"\n[[assert]]\ntype = \"llm-rubric\"\nvalue = \"Is of one word.\"\n"
    );
    let folder = folder(&rubric);
    let server = Server::start(|request, _| match request.body["model"] == "judge" {
        true => Reply::streamed(&["{\"pass\": ", "false, \"reason\": \"Two words.\"}"]),
        false => critic(request),
    });
    let ran = run(&folder, &server, &["run", "films.toml", "--json"]);
    assert_eq!(ran.code, Some(100), "{ran:#?}");
    assert_eq!(ran.json()["cells"][0]["assertions_failed"], 10);
    assert_eq!(rows(&folder)[0]["assertions"][0]["why"], "Two words.");
}

#[test]
fn repeats_are_drawn_apart_and_none_is_answered_by_another() {
    let drawn = format!("{EXPERIMENT}\n[run]\nrepeats = 3\ntemperature = 0.7\n");
    let folder = folder(&drawn);
    let server = Server::start(|request, _| critic(request));
    let ran = run(&folder, &server, &["run", "films.toml", "--json"]);
    assert_eq!(ran.json()["cells"][0]["rows"], 30, "{ran:#?}");
    let seeds: std::collections::BTreeSet<u64> =
        server.seen().iter().map(|request| request.body["seed"].as_u64().unwrap()).collect();
    assert_eq!((server.seen().len(), seeds.len()), (60, 3));
    run(&folder, &server, &["run", "films.toml", "-o", "again"]);
    assert_eq!(server.seen().len(), 60);
}

#[test]
fn what_is_wrong_with_a_file_is_found_before_anything_is_asked() {
    let server = Server::start(|request, _| critic(request));
    let complaint = |experiment: &str, rows: &str| {
        let folder = Folder::with(&[("films.jsonl", rows), ("mine.j2", MINE), ("films.toml", experiment)]);
        let ran = run(&folder, &server, &["run", "films.toml"]);
        assert_eq!(ran.code, Some(1), "{ran:#?}");
        ran.err.replace(&format!("{}/", folder.path().display()), "")
    };
    let with = |from: &str, to: &str| complaint(&EXPERIMENT.replace(from, to), &data());
    insta::assert_snapshot!([
        with("metrics =", "metric ="),
        with("\"accuracy\"", "\"acuracy\""),
        with("films.jsonl", "nothing.jsonl"),
        with("vars = { ask", "vars = { asks"),
        with("\"mine.j2\", {", "\"classify/nothing\", {"),
        with("model = [\"openai:mock\"]", "demos = [\"knn 3\"]"),
        with("model = [\"openai:mock\"]", "k = [1, 2]"),
        complaint(EXPERIMENT, &format!("{}nonsense\n", data())),
        complaint(EXPERIMENT, &data().replace("r4", "r2")),
        complaint(EXPERIMENT, "{\"text\": \"a\", \"label\": \"good\"}\n"),
        complaint(&EXPERIMENT.replace("mine.j2\", {", "translate/plain\", {"), &data()),
    ].concat(), @r#"
    error: `films.toml`: line 4: unknown field `metric`, expected one of `name`, `description`, `task`, `data`, `pool`, `labels`, `values`, `matrix`, `metrics`, `baseline`, `run`, `assert`, `require`
    error: `films.toml`: line 4: no metric `acuracy`; there are: accuracy, macro-F1, exact match, F1, contains, BLEU, chrF, ROUGE-L, JSON valid, field F1, grounded, refusal F1, nDCG@10, recall@10, MRR@10, win rate, passed, ms, tokens
    error: cannot read `nothing.jsonl`: No such file or directory (os error 2)
    error: template `classify/mine` has no slot `asks`
    hint: its slots: `ask`
    error: no template `classify/nothing`
    hint: there are: chat/grounded, chat/standalone, classify/chat, classify/plain, extract/json, generate/chat, generate/plain, optimise/propose, qa/fewshot, qa/grounded, qa/plain, translate/chat, translate/plain
    error: `films.toml`: demonstrations are asked for, and there is no pool
    hint: name a file of examples under `[pool]`
    error: the axis `k` means nothing for the task `classify`
    hint: leave it out
    error: `films.jsonl` line 11: expected ident (column 2)
    hint: a JSON object a line: {"input": "...", "output": "..."}; also `question`, `text`, `answers`, `label`
    error: two rows of `films.jsonl` have the id `r2`
    hint: every id stands for one row
    error: one class, `good`, is no choice
    hint: it takes two: name more labels, or give rows of other classes
    error: template `translate/plain` needs `source`, which is not given
    hint: given: `demos`, `history`, `id`, `input`, `labels`, `passages`, `question`, `text`
    "#);
    assert_eq!(server.seen().len(), 0);
}

#[test]
fn a_plan_says_what_would_be_done_and_does_nothing() {
    let folder = folder(EXPERIMENT);
    let server = Server::start(|request, _| critic(request));
    let ran = run(&folder, &server, &["plan", "films.toml"]);
    insta::assert_snapshot!(ran.out, @r"
    2 cells x 10 rows = 20 answers, measured by accuracy, ms, tokens
      c01  prompt mine.j2  (baseline)
      c02  prompt well
    models: openai:mock
    results: results/films
    ");
    assert!(!folder.at("results").exists());
    assert_eq!(server.seen().len(), 0);
}

#[test]
fn every_task_is_measured_by_what_it_is_about() {
    let server = Server::start(|request, _| {
        let text = request.body["messages"].to_string();
        Reply::streamed(&[match () {
            _ if text.contains("German") => "Ein Mann schläft.",
            _ if text.contains("JSON") => "Here: {\"name\": \"Ada\", \"year\": 1900}",
            _ => "a man sleeps on the grass",
        }])
    });
    let measured = |task: &str, prompt: &str, more: &str, row: Value| {
        let experiment = format!(
            "task = \"{task}\"\ndata = {{ file = \"rows.jsonl\" }}\n{more}\n[matrix]\nprompt = [\"{prompt}\"]\nmodel = [\"openai:mock\"]\n"
        );
        let folder = Folder::with(&[("rows.jsonl", &format!("{row}\n")), ("e.toml", &experiment)]);
        let ran = run(&folder, &server, &["run", "e.toml", "--json"]);
        assert_eq!(ran.code, Some(0), "{ran:#?}");
        let metrics = ran.json()["cells"][0]["metrics"].clone();
        let figure = |name: &str| metrics[name]["mean"].as_f64().map(|mean| (mean * 1000.0).round() / 1000.0);
        ["BLEU", "chrF", "field F1", "JSON valid", "ROUGE-L", "exact match"].map(figure)
    };
    let pair = json!({ "input": "A man sleeps.", "output": "Ein Mann schläft." });
    assert_eq!(
        measured(
            "translate",
            "translate/plain",
            "values = { source = \"English\", target = \"German\" }",
            pair
        ),
        [Some(100.0), Some(100.0), None, None, None, None]
    );
    let facts = json!({ "input": "Ada, 1815.", "output": { "name": "Ada", "year": 1815 } });
    assert_eq!(
        measured("extract", "extract/json", "values = { schema = \"name, year\" }", facts),
        [None, None, Some(0.5), Some(1.0), None, None]
    );
    let scene = json!({ "input": "man, sleep, grass", "output": ["A man sleeps.", "A dog runs."] });
    // Of six words said three are in the reference, which has three: 2 x 3 / 9.
    assert_eq!(
        measured("generate", "generate/plain", "", scene),
        [None, None, None, None, Some(0.667), Some(0.0)]
    );
}

#[test]
fn questions_over_a_collection_are_looked_for_once_and_answered_each_way() {
    let rows = "{\"id\": \"tea\", \"question\": \"How long is green tea steeped?\", \"answer\": \"two minutes\", \"doc_ids\": [\"tea\"]}\n\
         {\"id\": \"cup\", \"question\": \"How much coffee takes a cup?\", \"answer\": \"seven grams\", \"doc_ids\": [\"notes/coffee.md\"]}\n";
    let experiment = "task = \"qa\"\ndata = { file = \"qa.jsonl\" }\nmetrics = [\"contains\", \"recall@10\", \"grounded\"]\n\
         [matrix]\nprompt = [\"qa/grounded\"]\nanswer = [\"extractive\", \"generate\"]\nretrieval = [\"hybrid\", \"lexical\"]\nmodel = [\"openai:mock\"]\n";
    let folder = Folder::with(&[
        ("notes/tea.md", "# Tea\n\nGreen tea is steeped for two minutes."),
        ("notes/coffee.md", "# Coffee\n\nA cup of filter coffee takes seven grams."),
        ("qa.jsonl", rows),
        ("qa.toml", experiment),
        ("profile.toml", tiny::PROFILE),
    ]);
    let encoder = tiny::encoder(&folder.at("tiny"), 0);
    folder.write(".incontext/config.toml", &format!("embedder = \"{}\"\n", encoder.display()));
    folder.ok(&["ingest", "notes", "--profile", "profile.toml"]);
    let server = Server::start(|_, _| Reply::streamed(&["Green tea is steeped for two minutes."]));
    let ran = run(&folder, &server, &["run", "qa.toml", "--json"]);
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    let summary = ran.json();
    assert_eq!((summary["cells"].as_array().unwrap().len(), &summary["complete"]), (4, &json!(true)));
    for cell in summary["cells"].as_array().unwrap() {
        assert_eq!((&cell["rows"], &cell["errors"]), (&json!(2), &json!(0)), "{cell}");
        assert_eq!(cell["metrics"]["recall@10"]["mean"], 1.0, "{cell}");
    }
    let trec = std::fs::read_to_string(folder.at("results/qa/retrieval.trec")).unwrap();
    let runs: std::collections::BTreeSet<&str> =
        trec.lines().filter_map(|line| line.split(' ').nth(5)).collect();
    assert_eq!(runs.len(), 2, "one for each way of looking: {trec}");
}

#[cfg(unix)]
#[test]
fn ctrl_c_keeps_what_is_there_and_says_how_to_go_on() {
    let folder = folder(EXPERIMENT);
    let server = Server::start(|request, _| critic(request).pause(std::time::Duration::from_millis(60)));
    let mut command = command(&folder, &server, &["run", "films.toml", "--no-cache"]);
    let child =
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    // The first row says that the run is under way, however slow the machine.
    let path = folder.at("results/films/rows.jsonl");
    let start = std::time::Instant::now();
    while std::fs::metadata(&path).map_or(0, |file| file.len()) == 0 && start.elapsed().as_secs() < 60 {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let pressed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(pressed.success());
    let ran = Ran::of(child.wait_with_output().unwrap());
    assert_eq!(ran.code, Some(130), "{ran:#?}");
    assert!(ran.err.contains("`incontext experiment resume results/films` goes on"), "{}", ran.err);
    let there = rows(&folder).len();
    assert!(there < 20, "{there}");
    assert_eq!(run(&folder, &server, &["resume", "results/films", "--json"]).json()["complete"], true);
    assert_eq!(rows(&folder).len(), 20);
}
