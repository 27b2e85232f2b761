//! `incontext optimise`: a planted better wording is found within the budget, and its absence is said.

use serde_json::{Value, json};

use crate::mock::{Reply, Seen, Server};
use crate::run::{Folder, Ran};

/// Films in three splits, of which the even ones are good; two of `train` are in `test` as well.
fn data() -> String {
    let row = |id: String, n: usize, split: &str| {
        let label = if n.is_multiple_of(2) { "good" } else { "bad" };
        json!({ "id": id, "text": format!("film {n}"), "label": label, "split": split }).to_string() + "\n"
    };
    let of = |split: &'static str, range: std::ops::Range<usize>| {
        range.map(move |n| row(format!("{split}-{n}"), n, split)).collect::<String>()
    };
    of("train", 0..12) + &of("dev", 20..60) + &of("test", 10..12) + &of("test", 60..98)
}

const TEMPLATE: &str = "+++\nname = \"mine\"\ntask = \"classify\"\ninputs = [\"input\", \"labels\", \"demos\"]\n[vars.ask]\nchoices = [\"Good or bad?\", \"Well?\", \"So?\"]\n+++\n{{ ask }}\n{% for demo in demos %}{{ demo.input | line }}: {{ demo.output | line }}\n{% endfor %}{{ input | line }}:";

const SEARCH: &str = r#"
task = "classify"
template = "mine.j2"
train = { file = "films.jsonl", split = "train" }
dev = { file = "films.jsonl", split = "dev" }
test = { file = "films.jsonl", split = "test" }
model = "openai:mock"
[search]
calls = 400
"#;

fn folder(search: &str) -> Folder {
    Folder::with(&[("films.jsonl", &data()), ("mine.j2", TEMPLATE), ("films.toml", search)])
}

fn content(request: &Seen) -> String {
    request.body["messages"].as_array().unwrap().last().unwrap()["content"].as_str().unwrap().to_owned()
}

/// Right about every film when it is asked `magic`, else about three of five.
fn critic(request: &Seen, magic: &str) -> Reply {
    let content = content(request);
    let film: usize =
        content.lines().last().unwrap().trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap();
    let wrong = film % 5 < 2 && !content.contains(magic);
    Reply::streamed(&[if film.is_multiple_of(2) != wrong { "good" } else { "bad" }])
}

fn run(folder: &Folder, server: &Server, args: &[&str]) -> Ran {
    let mut command = folder.command(&[&["optimise"], args].concat());
    command.env("OPENAI_BASE_URL", &server.url);
    Ran::of(command.output().unwrap())
}

/// What the file that a search wrote makes of a film.
fn winner(folder: &Folder) -> String {
    let labels = "labels=[\"good\", \"bad\"]";
    let set = ["--set", "input=film 7", "--set-json", labels, "--json"];
    let shown = folder.ok(&[&["prompt", "render", "results/films/films.j2"], &set[..]].concat()).json();
    shown["text"].as_str().unwrap().to_owned()
}

#[test]
fn a_better_wording_is_found_tested_once_and_written_as_a_template() {
    let folder = folder(SEARCH);
    let server = Server::start(|request, _| critic(request, "So?"));
    let ran = run(&folder, &server, &["films.toml", "--json"]);
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    let found = ran.json();
    assert_eq!((&found["better"], &found["winner"]["prompt"]["slots"]["ask"]), (&json!(true), &json!("So?")));
    assert_eq!(
        (&found["start"]["test"]["mean"], &found["winner"]["test"]["mean"]),
        (&json!(0.55), &json!(1.0))
    );
    assert!(found["difference"]["p"].as_f64().unwrap() < 0.001, "{found:#}");
    assert!(ran.err.contains("2 rows of train are not used"), "{}", ran.err);
    let calls = found["calls"].as_u64().unwrap();
    assert!(calls <= 400 && server.seen().len() as u64 <= calls, "{calls} {}", server.seen().len());
    // The file is a template like any other, and needs nothing but the row.
    assert_eq!(winner(&folder), "So?\nfilm 7:");
    assert!(folder.at("results/films/test/report.html").exists());
    // Again, all is known.
    let asked = server.seen().len();
    assert_eq!(run(&folder, &server, &["films.toml", "--json"]).json()["winner"], found["winner"]);
    assert_eq!(server.seen().len(), asked);
}

#[test]
fn where_nothing_is_better_that_is_said_and_no_file_is_written() {
    let folder = folder(SEARCH);
    let server = Server::start(|request, _| critic(request, "Good or bad?"));
    let ran = run(&folder, &server, &["films.toml"]);
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    assert!(ran.out.contains("nothing better than the starting prompt was found"), "{}", ran.out);
    assert!(!folder.at("results/films/films.j2").exists());
}

#[test]
fn demonstrations_are_frozen_into_the_winner_and_a_search_without_them_shows_none() {
    let demos = format!("{SEARCH}slots = []\ndemos = [\"none\", \"balanced 2\"]\nsets = 2\n");
    let folder = folder(&demos);
    let server = Server::start(|request, _| critic(request, ": good"));
    let found = run(&folder, &server, &["films.toml", "--json"]).json();
    assert_eq!(found["winner"]["prompt"]["demos"], "balanced 2", "{found:#}");
    let text = winner(&folder);
    assert_eq!((text.matches(": good").count(), text.matches(": bad").count()), (1, 1), "{text}");

    folder.write("films.toml", SEARCH);
    let before = server.seen().len();
    run(&folder, &server, &["films.toml", "--no-cache"]);
    assert!(server.seen()[before..].iter().all(|request| !content(request).contains(": good")));
}

#[test]
fn a_model_may_propose_wordings_and_a_file_may_list_them() {
    let propose = format!(
        "{SEARCH}files = {{ ask = \"more.txt\" }}\npropose = {{ model = \"openai:poet\", slot = \"ask\", count = 2 }}\n"
    );
    let folder = folder(&propose);
    folder.write("more.txt", "Which is it?\n\nTell me!\n");
    let server = Server::start(|request, _| match request.body["model"] == "poet" {
        true => Reply::streamed(&["1. Thumbs up or down?\n2. Your verdict?\n3. One more?\n"]),
        false => critic(request, "Your verdict?"),
    });
    let ran = run(&folder, &server, &["films.toml", "--json"]);
    assert_eq!(ran.json()["winner"]["prompt"]["slots"]["ask"], "Your verdict?", "{ran:#?}");
    assert_eq!(ran.json()["candidates"]["tried"], 7, "{ran:#?}");
}

#[test]
fn what_cannot_be_searched_is_said_at_once() {
    let server = Server::start(|request, _| critic(request, "So?"));
    let complaint = |from: &str, to: &str| {
        let ran = run(&folder(&SEARCH.replace(from, to)), &server, &["films.toml"]);
        assert_eq!(ran.code, Some(1), "{ran:#?}");
        ran.err
    };
    insta::assert_snapshot!([
        complaint("calls = 400", "calls = 60"),
        complaint("calls = 400", "demos = [\"knn 3\"]"),
        complaint("calls = 400", "slots = [\"tone\"]"),
        complaint("calls = 400", "call = 400"),
        complaint("split = \"dev\"", "split = \"test\""),
        complaint("task = \"classify\"", "task = \"qa\""),
    ].concat(), @r#"
    2 rows of train are not used: dev or test has them as well
    error: a budget of 60 calls is too small: testing the start and the winner takes 80
    hint: at least 96 `calls`, or a smaller `limit` under [test]
    error: `films.toml`: `knn 3` shows every question other demonstrations: they cannot be part of a file
    hint: try first, random, balanced or votek; an experiment compares knn and mmr with them
    error: template `classify/mine` has no slot `tone`
    hint: its slots: ask
    error: `films.toml`: line 9: unknown field `call`, expected one of `slots`, `texts`, `files`, `propose`, `demos`, `sets`, `calls`, `minutes`, `seed`
    error: all rows of `dev` are in `test` as well
    hint: a prompt that is chosen on the rows it is tested on looks better than it is: take others
    error: `films.toml`: a search asks no collection
    hint: compare prompts for questions over a collection with an experiment; `task = "generate"` for others
    "#);
    assert_eq!(server.seen().len(), 0);
}

#[test]
fn a_budget_with_no_room_for_all_candidates_tries_some_of_them() {
    let folder = folder(&SEARCH.replace(
        "calls = 400",
        "calls = 180\ntexts = { ask = [\"a?\", \"b?\", \"c?\", \"d?\", \"e?\", \"f?\", \"g?\", \"h?\"] }",
    ));
    let server = Server::start(|request, _| critic(request, "So?"));
    let found: Value = run(&folder, &server, &["films.toml", "--json"]).json();
    let (tried, untried) = (&found["candidates"]["tried"], &found["candidates"]["untried"]);
    assert_eq!(tried.as_u64().unwrap() + untried.as_u64().unwrap(), 11, "{found:#}");
    assert!(untried.as_u64().unwrap() > 0 && found["calls"].as_u64().unwrap() <= 180, "{found:#}");
}
