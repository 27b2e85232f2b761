//! `incontext classify`, and demonstrations for `ask`: what is printed, what is learnt from a pool, and what is refused.

use std::io::Write;
use std::process::Stdio;

use serde_json::Value;

use crate::defaults;
use crate::mock::{Reply, Server};
use crate::run::{Folder, Ran};

/// Three of each of two kinds.
const POOL: &str = r#"{"id": "p1", "text": "The parcel came a day early, wonderful.", "label": "praise"}
{"id": "p2", "text": "Friendly people and a quick answer.", "label": "praise"}
{"id": "p3", "text": "I love the new kettle.", "label": "praise"}
{"id": "c1", "text": "The parcel never came.", "label": "complaint"}
{"id": "c2", "text": "Nobody answers the telephone, terrible.", "label": "complaint"}
{"id": "c3", "text": "The kettle leaks and I want my money back.", "label": "complaint"}
"#;

const ROWS: &str = r#"{"id": "a", "text": "The kettle broke after a day.", "label": "complaint"}
{"id": "b", "text": "What a lovely kettle, I love it.", "label": "praise"}
"#;

fn folder() -> Folder {
    Folder::with(&[("pool.jsonl", POOL), ("rows.jsonl", ROWS)])
}

/// What a run that fails says.
fn complaint(folder: &Folder, args: &[&str]) -> String {
    let ran = folder.run(&[&["classify"], args].concat());
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""), "{ran:#?}");
    ran.err.replace(&folder.path().display().to_string(), "[HERE]")
}

fn json_lines(ran: &Ran) -> Vec<Value> {
    ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn numbers(map: &Value) -> Vec<f64> {
    map.as_object().unwrap().values().map(|value| value.as_f64().unwrap()).collect()
}

#[test]
fn what_is_no_choice_and_no_text_is_refused_before_a_model_is_loaded() {
    let folder = folder();
    for (args, expected) in [
        (&["--labels", "a", "t"][..], "one class, `a`, is no choice"),
        (&["--labels", "a,b,a", "t"], "the class `a` is there twice"),
        (&["--labels", "a=x,b=X", "t"], "two classes are said in the same words"),
        (&["--labels", "a,b", " "], "a text is empty"),
        (&["t"], "there are no labels to choose from"),
        (&["--labels", "a,b", "--calibration", "batch", "t"], "batch calibration goes by many texts"),
        (&["--labels", "a,b", "--pool", "none.jsonl", "t"], "none.jsonl"),
        (&["--labels", "praise,b", "--pool", "pool.jsonl", "t"], "is of the class `complaint`"),
        (&["--labels", "a,b", "--shots", "2", "t"], "nothing to choose demonstrations from"),
        (&["--labels", "a,b", "--model", "openai:m", "--scoring", "acc", "t"], "an endpoint tells no scores"),
        (
            &["--labels", "a,b", "--pool", "pool.jsonl", "--prompt", "qa/plain", "t"],
            "shows no demonstrations",
        ),
    ] {
        let error = complaint(&folder, args);
        assert!(
            error.contains(expected) && error.contains("hint: ") || error.contains("none.jsonl"),
            "{args:?}: {error}"
        );
    }
    assert_eq!(folder.run(&["classify", "--labels", "a,b"]).code, Some(2));
    folder.write("empty.txt", "\n\n");
    assert!(complaint(&folder, &["--labels", "a,b", "-f", "empty.txt"]).contains("there is no text"));
    folder.write("bad.jsonl", "{\"text\": \"t\"}\n");
    assert!(
        complaint(&folder, &["--labels", "a,b", "-f", "bad.jsonl", "--input-field", "x"])
            .contains("line 1: no `x`")
    );
}

#[test]
fn a_text_gets_a_label_and_how_probable_it_is() {
    if defaults::encoder().is_none() || defaults::generator().is_none() {
        return;
    }
    let folder = folder();
    let ran = folder.ok(&[
        "classify",
        "--pool",
        "pool.jsonl",
        "--select",
        "balanced",
        "--shots",
        "4",
        "I love this kettle",
    ]);
    let (label, probability) = ran.out.trim().split_once("  ").unwrap();
    assert!(["praise", "complaint"].contains(&label), "{ran:#?}");
    assert!((0.5..=1.0).contains(&probability.parse::<f64>().unwrap()), "{ran:#?}");
    let one =
        folder.ok(&["classify", "--labels", "P=praise,C=complaint", "--json", "I love this kettle"]).json();
    assert!((numbers(&one["probabilities"]).iter().sum::<f64>() - 1.0).abs() < 1e-9, "{one}");
    assert_eq!(one["log_probabilities"].as_object().unwrap().keys().collect::<Vec<_>>(), ["P", "C"]);
    assert_eq!(one["prompt"]["name"], "classify/plain");
}

#[test]
fn rows_of_a_file_are_classified_in_their_order_and_held_against_what_is_known() {
    if defaults::encoder().is_none() || defaults::generator().is_none() {
        return;
    }
    let folder = folder();
    let args = ["classify", "--pool", "pool.jsonl", "--shots", "3", "-f", "rows.jsonl"];
    let near = folder.ok(&[&args[..], &["--json"]].concat());
    let rows = json_lines(&near);
    assert_eq!(rows.iter().map(|row| row["id"].as_str().unwrap()).collect::<Vec<_>>(), ["a", "b"]);
    // The nearest stands last.
    assert_eq!(rows[1]["prompt"]["demos"].as_array().unwrap().last().unwrap(), "p3", "{near:#?}");
    assert!(near.err.contains("on 2 rows of a known class"), "{near:#?}");
    let plain = folder.ok(&args);
    assert_eq!(plain.out.lines().count(), 2, "{plain:#?}");
    assert!(plain.out.contains("What a lovely kettle, I love it."));

    // A row's own probabilities do not depend on the others, a batch's do, and both come one a row.
    let fixed = ["classify", "--pool", "pool.jsonl", "--select", "balanced", "--json", "-f"];
    let all = json_lines(&folder.ok(&[&fixed[..], &["rows.jsonl"]].concat()));
    folder.write("one.jsonl", ROWS.lines().nth(1).unwrap());
    let alone = json_lines(&folder.ok(&[&fixed[..], &["one.jsonl"]].concat()));
    assert_eq!(all[1]["log_probabilities"], alone[0]["log_probabilities"]);
    let batch = json_lines(&folder.ok(&[&fixed[..], &["rows.jsonl", "--calibration", "batch"]].concat()));
    let p = |rows: &[Value], row: usize| numbers(&rows[row]["probabilities"]);
    let prior = (p(&all, 0)[0] + p(&all, 1)[0]) / 2.0;
    for row in 0..2 {
        let raw = p(&all, row)[0];
        let expected = (raw / prior) / (raw / prior + (1.0 - raw) / (1.0 - prior));
        assert!((p(&batch, row)[0] - expected).abs() < 1e-9, "{batch:?}");
    }
}

#[test]
fn a_text_that_is_too_long_fails_by_itself_and_says_by_how_much() {
    if defaults::encoder().is_none() || defaults::generator().is_none() {
        return;
    }
    let folder = folder();
    folder.write("texts.txt", &format!("short\n{}\nshort again\n", "word ".repeat(9000)));
    let ran = folder.run(&["classify", "--labels", "a,b", "-f", "texts.txt"]);
    assert_eq!(ran.code, Some(1), "{ran:#?}");
    let classes: Vec<&str> = ran.out.lines().map(|line| line.split_whitespace().next().unwrap()).collect();
    assert_eq!((classes.len(), classes[1]), (3, "(failed)"), "{classes:?}");
    assert!(ran.err.contains("too few") && ran.err.contains("1 text has no label"), "{}", ran.err);
}

#[test]
fn standard_input_is_answered_line_by_line() {
    if defaults::encoder().is_none() || defaults::generator().is_none() {
        return;
    }
    let folder = folder();
    let mut command = folder.command(&["classify", "--labels", "praise,complaint", "-f", "-"]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut typed = child.stdin.take().unwrap();
    writeln!(typed, "a lovely kettle").unwrap();
    let mut line = String::new();
    let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
    // The second line is not there yet when the first is answered.
    std::io::BufRead::read_line(&mut out, &mut line).unwrap();
    assert!(line.contains("a lovely kettle"), "{line}");
    drop(typed);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn an_endpoint_writes_and_the_label_it_names_first_counts() {
    let folder = folder();
    let served = |server: &Server, args: &[&str]| {
        let mut command = folder.command(&[&["classify", "--model", "openai:m"], args].concat());
        Ran::of(command.env("OPENAI_BASE_URL", &server.url).output().unwrap())
    };
    let server = Server::start(|_, _| Reply::streamed(&["A Complaint", ", not praise."]));
    let args = ["--labels", "P=praise,C=complaint", "--json", "It leaks."];
    let json = served(&server, &args).json();
    assert_eq!(
        (&json["label"], &json["probability"], &json["probabilities"]),
        (&"C".into(), &Value::Null, &Value::Null)
    );
    assert_eq!(served(&server, &["--labels", "praise,complaint", "It leaks."]).out, "complaint  -\n");
    let ran = served(&server, &["--labels", "x,y", "It leaks."]);
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.err.contains("the model names none of the labels; it says \"A Complaint, not praise.\""),
        "{ran:#?}"
    );
    let ran = served(&server, &["--labels", "x,y", "one", "two"]);
    assert_eq!((ran.code, ran.out.matches("(none)").count()), (Some(1), 2), "{ran:#?}");
    let down = complaint(&folder, &["--labels", "a,b", "--model", "openai:m", "one", "two"]);
    assert!(down.contains("hint: "), "{down}");
}

#[test]
fn a_question_is_asked_with_answered_ones_like_it() {
    if defaults::encoder().is_none() || defaults::generator().is_none() {
        return;
    }
    let tea =
        "# Tea\n\nBlack tea is steeped for four minutes.\n\n# Coffee\n\nCoffee is brewed at 93 degrees.\n";
    let pool = "{\"question\": \"How long does oolong tea need?\", \"answer\": \"Three minutes.\", \"passages\": [\"Oolong needs three minutes.\"]}\n\
                {\"question\": \"Who built the bridge?\", \"answer\": \"Roebling.\"}\n";
    let folder = Folder::with(&[("notes/tea.md", tea), ("answered.jsonl", pool)]);
    folder.ok(&["ingest", "notes", "-q"]);
    let ask = [
        "ask",
        "How long is black tea steeped?",
        "--pool",
        "answered.jsonl",
        "--shots",
        "1",
        "--show-prompt",
    ];
    let ran = folder.ok(&[&ask[..], &["--answer", "generate"]].concat());
    assert!(
        ran.err.contains("How long does oolong tea need?") && ran.err.contains("Oolong needs three minutes."),
        "{ran:#?}"
    );
    assert!(!ran.err.contains("Who built") && !ran.err.contains("Green tea"), "{ran:#?}");
    let ran = folder.ok(&[&ask[..], &["--answer", "extractive"]].concat());
    assert!(ran.err.contains("demonstrations change nothing"), "{ran:#?}");
    for (more, expected) in [
        (
            &["--prompt", "qa/grounded", "--pool", "answered.jsonl"][..],
            "`qa/grounded` shows no demonstrations",
        ),
        (&["--shots", "2"], "nothing to choose demonstrations from"),
        (&["--pool", "nowhere.jsonl"], "nowhere.jsonl"),
    ] {
        let ran = folder.run(&[&["ask", "How long?"], more].concat());
        assert!(ran.code == Some(1) && ran.err.contains(expected), "{ran:#?}");
    }
}

#[test]
fn a_prompt_is_rendered_with_the_demonstrations_that_are_asked_for() {
    if defaults::encoder().is_none() || defaults::generator().is_none() {
        return;
    }
    let folder = folder();
    let render = |more: &[&str]| {
        let args = [
            "prompt",
            "render",
            "classify/plain",
            "--data",
            "rows.jsonl",
            "--id",
            "b",
            "--demos",
            "pool.jsonl",
        ];
        let text = folder.ok(&[&args[..], more].concat()).out;
        let texts = text.lines().filter_map(|line| line.strip_prefix("Text: ")).map(str::to_owned);
        texts.collect::<Vec<_>>()
    };
    assert_eq!(render(&["--shots", "1"])[0], "I love the new kettle.");
    assert_eq!(render(&["--shots", "1", "--select", "first"])[0], "The parcel came a day early, wonderful.");
    assert_eq!(render(&["--select", "none"]).len(), 1);
}
