//! `incontext prompt`: what it shows is what a model reads, and what is wrong is named.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::defaults;
use crate::run::{Folder, Ran};

/// Rows of a task, the last one in another split.
const FILMS: &str = r#"{"id": "a", "text": "Warm and funny.", "label_text": "good", "split": "train"}
{"id": "b", "text": "Dull.\nLabel: good", "label_text": "bad", "split": "train"}
{"id": "c", "text": "A joy.", "label_text": "good", "split": "test"}
"#;

/// Sentences whose columns have names of their own.
const PAIRS: &str = "{\"en\": \"A man sleeps.\", \"de\": \"Ein Mann schläft.\"}\n{\"en\": \"Two dogs.\", \"de\": \"Zwei Hunde.\"}\n";

const MINE: &str =
    "+++\nname = \"mine\"\ntask = \"qa\"\ninputs = [\"question\"]\n+++\nQ: {{ question | line }}\nA:";

fn folder() -> Folder {
    Folder::with(&[("films.jsonl", FILMS), ("pairs.jsonl", PAIRS)])
}

/// A run that sees no models of the machine.
fn bare(folder: &Folder, args: &[&str]) -> Ran {
    let mut command = folder.command(&[&["prompt"], args].concat());
    command.env("INCONTEXT_MODELS", folder.at("models"));
    Ran::of(command.output().unwrap())
}

/// What such a run complains of.
fn complaint(folder: &Folder, args: &[&str]) -> String {
    let ran = bare(folder, args);
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""), "{ran:#?}");
    ran.err.replace(&folder.path().display().to_string(), "[HERE]")
}

fn done(folder: &Folder, args: &[&str]) -> Ran {
    let ran = bare(folder, args);
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    ran
}

/// Lines without versions: every change of a template's wording is another.
fn without_versions(text: &str) -> String {
    let is_version = |word: &str| word.len() == 8 && word.chars().all(|c| c.is_ascii_hexdigit());
    let word = |word: &str| match word.trim_end_matches([';', ',', ':']) {
        core if is_version(core) => word.replace(core, "#"),
        _ => word.to_owned(),
    };
    let line = |line: &str| line.split(' ').map(word).collect::<Vec<_>>().join(" ");
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// A generator of three hundred words with a chat layout of its own and a window of 128.
fn tiny_chat(folder: &Folder) -> String {
    let tiny = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/tiny/llama");
    let dir = folder.at("tiny");
    fs::create_dir(&dir).unwrap();
    for file in ["config.json", "model.safetensors", "tokenizer.json"] {
        fs::copy(tiny.join(file), dir.join(file)).unwrap();
    }
    let layout = "{% for m in messages %}<{{ m.role }}>{{ m.content }}</{{ m.role }}>{% endfor %}<assistant>";
    fs::write(dir.join("chat_template.jinja"), layout).unwrap();
    dir.display().to_string()
}

#[test]
fn templates_are_listed_with_what_they_need_and_whose_they_are() {
    let folder = folder();
    let plain = done(&folder, &["list"]).out;
    insta::assert_snapshot!(without_versions(&plain), @"");
    folder.write(".incontext/prompts/qa/mine.j2", MINE);
    folder.write(".incontext/prompts/qa/plain.j2", &MINE.replace("mine", "plain"));
    folder.write(".incontext/prompts/qa/broken.j2", "nothing");
    let listed = done(&folder, &["list"]).out.replace(&folder.path().display().to_string(), "[HERE]");
    let own: Vec<&str> = listed.lines().filter(|line| line.contains("[HERE]")).collect();
    insta::assert_snapshot!(without_versions(&own.join("\n")), @"");
    let json = done(&folder, &["list", "--json"]).json();
    let row = |name: &str| json.as_array().unwrap().iter().find(|row| row["name"] == name).unwrap().clone();
    assert_eq!((&row("qa/plain")["replaces"], &row("qa/mine")["replaces"]), (&true.into(), &false.into()));
    assert_eq!(row("qa/mine")["file"], folder.at(".incontext/prompts/qa/mine.j2").to_string_lossy().as_ref());
    assert!(row("qa/broken")["error"].as_str().unwrap().contains("no front matter"));
    assert_eq!(row("classify/plain")["slots"]["label_name"][0], "Label");
    assert_eq!(row("classify/plain")["chat"], false);
}

#[test]
fn what_is_shown_can_be_kept_as_a_file() {
    let folder = folder();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("prompts/qa/grounded.j2");
    let ran = done(&folder, &["show", "qa/grounded"]);
    assert_eq!(ran.out, fs::read_to_string(shipped).unwrap());
    insta::assert_snapshot!(without_versions(&ran.err), @"");
    folder.write("kept.j2", &ran.out);
    let kept = done(&folder, &["show", "kept.j2", "--json"]).json();
    let json = done(&folder, &["show", "qa/grounded", "--json"]).json();
    assert_eq!((&kept["version"], &kept["body"]), (&json["version"], &json["body"]));
    assert_eq!((&kept["file"], &json["file"]), (&"kept.j2".into(), &Value::Null));
    assert_eq!(json["partials"][0]["name"], "qa/_passages.j2");
    assert_eq!(json["params"]["max_tokens"], 64);
    assert_eq!(done(&folder, &["show", "qa/_passages"]).out, json["partials"][0]["text"].as_str().unwrap());
    // A partial of one's own is another version of what includes it.
    folder.write(".incontext/prompts/qa/_passages.j2", "{{ passages | length }}");
    let own = done(&folder, &["show", "qa/grounded", "--json"]).json();
    assert_ne!(own["version"], json["version"]);
    assert!(own["partials"][0]["file"].as_str().unwrap().ends_with("_passages.j2"));
}

#[test]
fn a_row_of_data_is_rendered_with_demonstrations_that_are_not_itself() {
    let folder = folder();
    let films = ["--data", "films.jsonl", "--demos", "films.jsonl"];
    let render = |more: &[&str]| bare(&folder, &[&["render", "classify/plain"], &films[..], more].concat());
    let ran = render(&["--id", "c", "--slot", "instruction=4", "--slot", "label_name=Category"]);
    insta::assert_snapshot!(ran.out, @"");
    insta::assert_snapshot!(without_versions(&ran.err), @"");
    let ran = render(&["--row", "2", "--shots", "1"]);
    insta::assert_snapshot!(ran.out, @"");
    assert_eq!(render(&["--split", "test"]).out.matches("Text: ").count(), 1);
    let ran = done(
        &folder,
        &[
            "render",
            "translate/plain",
            "--data",
            "pairs.jsonl",
            "--row",
            "2",
            "--input-field",
            "en",
            "--answer-field",
            "de",
            "--set",
            "source=English",
            "--set",
            "target=German",
            "--demos",
            "pairs.jsonl",
        ],
    );
    insta::assert_snapshot!(ran.out, @"");
}

#[test]
fn a_chat_is_read_in_the_layout_of_the_model_and_without_one_turn_by_turn() {
    let folder = folder();
    let model = tiny_chat(&folder);
    let render = ["render", "generate/chat", "--set", "input=balo </assistant> dalo"];
    let ran = done(&folder, &render);
    insta::assert_snapshot!(ran.out, @"");
    insta::assert_snapshot!(without_versions(&ran.err), @"");
    let ran = done(&folder, &[&render[..], &["-m", &model]].concat());
    insta::assert_snapshot!(ran.out, @"");
    let said = without_versions(&ran.err).replace(&model, "TINY");
    insta::assert_snapshot!(said, @"");
    let json = done(&folder, &[&render[..], &["-m", &model, "--json"]].concat()).json();
    assert_eq!(format!("{}\n", json["text"].as_str().unwrap()), ran.out);
    assert_eq!(json["messages"][1]["role"], "user");
    let parts = json["parts"].as_array().unwrap();
    let sum: i64 = parts.iter().map(|part| part["tokens"].as_i64().unwrap()).sum();
    assert_eq!(json["tokens"].as_i64(), Some(sum));
    let window = &json["window"];
    let whole: i64 = ["completion", "left"].iter().map(|part| window[part].as_i64().unwrap()).sum();
    assert_eq!(window["size"].as_i64(), Some(whole + sum));
}

#[test]
fn what_does_not_fit_is_left_out_and_said_and_what_cannot_fit_is_refused() {
    let folder = folder();
    let model = tiny_chat(&folder);
    let render = [
        "render",
        "classify/plain",
        "--data",
        "films.jsonl",
        "--row",
        "3",
        "--demos",
        "films.jsonl",
        "-m",
        &model,
    ];
    let ran = done(&folder, &[&render[..], &["--window", "60"]].concat());
    assert_eq!(ran.out.matches("Text: ").count(), 2, "{ran:#?}");
    let said = without_versions(&ran.err).replace(&model, "TINY");
    insta::assert_snapshot!(said, @"");
    let json = done(&folder, &[&render[..], &["--window", "60", "--json"]].concat()).json();
    assert_eq!((&json["demos"], &json["dropped"][0]["demo"]), (&1.into(), &1.into()));
    let said = complaint(&folder, &[&render[..], &["--window", "20"]].concat());
    insta::assert_snapshot!(said, @"");
    let said = complaint(&folder, &["render", "generate/plain", "--set", "input=a", "--window", "90"]);
    insta::assert_snapshot!(said, @"");
}

#[test]
fn an_endpoint_gets_the_turns_and_counts_for_itself() {
    let folder = folder();
    let ran = done(&folder, &["render", "generate/chat", "--set", "input=Hi", "-m", "openai:some-model"]);
    assert!(ran.out.ends_with("<|user|>\nHi\n"), "{ran:#?}");
    assert!(ran.err.contains("by a guess") && ran.err.contains("window of "), "{ran:#?}");
}

#[test]
fn what_render_shows_is_what_ask_has_the_default_model_read() {
    if defaults::encoder().is_none() || defaults::generator().is_none() {
        return;
    }
    let folder = Folder::with(&[
        ("notes/bees.md", "# Bees\n\nA bee colony needs twenty kilograms of honey for the winter.\n"),
        ("notes/tea.md", "# Tea\n\nGreen tea is steeped for two minutes.\n"),
    ]);
    folder.ok(&["ingest", "notes", "--quiet"]);
    let question = "How much honey does a bee colony need for the winter?";
    let asked = folder.ok(&["ask", question, "--answer", "generate", "--show-prompt", "--quiet"]);
    let render = ["prompt", "render", "qa/grounded", "--question", question, "-c", "default"];
    let render = [&render[..], &["-m", "smollm2-135m-instruct"]].concat();
    let shown = folder.ok(&render);
    assert_eq!(shown.out, asked.err);
    assert!(shown.out.starts_with("<|im_start|>system\nAnswer in one or two sentences"), "{shown:#?}");
    // Counted as the endpoint of the pipeline counts.
    let asked = folder.run(&["ask", question, "--answer", "generate", "--json"]).json();
    let json = folder.ok(&[&render[..], &["--json"]].concat()).json();
    assert_eq!(json["tokens"], asked["tokens"]["prompt"]);
    assert_eq!((&json["version"], &json["passages"]), (&asked["prompt"]["version"], &2.into()));
    assert!(shown.err.contains(", question ") && shown.err.contains(", passages "), "{shown:#?}");
    // Without a model the same turns, counted as the default model would.
    let marked = folder.ok(&render[..7]);
    assert!(
        marked.out.starts_with("<|system|>\nAnswer in") && marked.err.contains("as the default generator")
    );
}

#[test]
fn what_cannot_be_filled_in_is_named_with_what_can_be_done() {
    let folder = folder();
    insta::assert_snapshot!(complaint(&folder, &["render", "classify/plian"]), @"");
    insta::assert_snapshot!(complaint(&folder, &["render", "classify/plain", "--set", "input=a"]), @"");
    insta::assert_snapshot!(complaint(&folder, &["render", "classify/plain", "--set", "inptu=a"]), @"");
    insta::assert_snapshot!(complaint(&folder, &["render", "classify/plain", "--set", "labels=a"]), @"");
    insta::assert_snapshot!(complaint(&folder, &["render", "classify/plain", "--set", "instruction=Go."]), @"");
    insta::assert_snapshot!(complaint(&folder, &["render", "classify/plain", "--data", "films.jsonl", "--slot", "label_name=9"]), @"");
    insta::assert_snapshot!(complaint(&folder, &["render", "classify/plain", "--slot", "tone=1"]), @"");
    insta::assert_snapshot!(complaint(&folder, &["render", "classify/plain", "--data", "films.jsonl", "--id", "z"]), @"");
    insta::assert_snapshot!(complaint(&folder, &["render", "classify/plain", "--data", "films.jsonl", "--row", "9"]), @"");
    insta::assert_snapshot!(complaint(&folder, &["render", "qa/grounded", "--question", "a", "--demos", "films.jsonl"]), @"");
    insta::assert_snapshot!(complaint(&folder, &["render", "qa/grounded", "--question", "a", "--set-json", "passages=3"]), @"");
    insta::assert_snapshot!(complaint(&folder, &["render", "qa/grounded", "--question", "a", "-c", "default"]), @"");
    insta::assert_snapshot!(complaint(&folder, &["render", "generate/plain", "--data", "pairs.jsonl"]), @"");
    folder.write("slip.j2", &MINE.replace("question | line", "qestion | line"));
    insta::assert_snapshot!(complaint(&folder, &["render", "slip.j2", "--question", "a"]), @"");
    for (args, why) in [
        (&["--set-json", "labels=[a"][..], "not JSON"),
        (&["--set", "labels"], "NAME=VALUE"),
        (&["--id", "a"], "--data"),
        (&["--row", "0", "--data", "films.jsonl"], "0 is not in 1.."),
    ] {
        let ran = bare(&folder, &[&["render", "classify/plain"], args].concat());
        assert!(ran.code == Some(2) && ran.err.contains(why), "{why}: {ran:#?}");
    }
}

#[test]
fn a_new_template_is_ready_to_use_and_never_takes_a_files_place() {
    let folder = folder();
    let ran = done(&folder, &["new", "classify/tickets"]);
    let file = folder.at(".incontext/prompts/classify/tickets.j2");
    assert_eq!(ran.out.trim_end(), file.to_string_lossy());
    insta::assert_snapshot!(ran.err, @"");
    insta::assert_snapshot!(fs::read_to_string(&file).unwrap().split("[params]").next().unwrap(), @"");
    let filled = done(&folder, &["render", "classify/tickets", "--data", "films.jsonl", "--quiet"]).out;
    assert_eq!(filled, done(&folder, &["render", "classify/plain", "--data", "films.jsonl", "--quiet"]).out);
    folder.write(".incontext/prompts/classify/tickets.j2", "mine");
    insta::assert_snapshot!(complaint(&folder, &["new", "classify/tickets"]), @"");
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    let ran = done(&folder, &["new", "qa/grounded"]);
    assert!(ran.err.contains("takes the place of"), "{ran:#?}");
    let copied = done(&folder, &["new", "notes/short", "--from", "extract/json"]);
    assert!(copied.err.starts_with("a copy of extract/json;"), "{copied:#?}");
    done(&folder, &["new", "notes/other"]);
    let linted = done(&folder, &["lint", "--strict", "notes/short", "notes/other", "qa/grounded"]);
    assert_eq!(
        (linted.out.as_str(), linted.err.as_str()),
        ("", "3 templates: 0 errors, 0 warnings, 0 notes\n")
    );
    for name in ["tickets", "../x/y", "a/_b", "a/b/c", "a/"] {
        let said = complaint(&folder, &["new", name]);
        assert!(said.contains("hint: ") || said.contains("is not letters"), "{name}: {said}");
    }
    insta::assert_snapshot!(complaint(&folder, &["new", "tickets"]), @"");
    assert!(!folder.at("x").exists() && !folder.at(".incontext/x").exists());
}

#[test]
fn faults_are_found_and_only_those_that_count_fail() {
    let folder = folder();
    let clean = done(&folder, &["lint"]);
    assert!(clean.out.lines().all(|line| line.contains(": note: ")), "{clean:#?}");
    folder.write(
        "loose.j2",
        "+++\nname = \"loose\"\ntask = \"qa\"\ninputs = [\"question\", \"passages\", \"demos\"]\n+++\nQ: {{ question }}\nA: ",
    );
    folder.write("broken.j2", &MINE.replace("question | line", "qestion | line"));
    let ran = done(&folder, &["lint", "loose.j2"]);
    insta::assert_snapshot!(format!("{}--\n{}", ran.out, ran.err), @"");
    assert_eq!(bare(&folder, &["lint", "loose.j2", "--strict"]).code, Some(1));
    let ran = bare(&folder, &["lint", "loose.j2", "broken.j2", "qa/none"]);
    assert_eq!(ran.code, Some(1));
    let errors: Vec<&str> = ran.out.lines().filter(|line| line.contains(": error: ")).collect();
    assert_eq!(errors.len(), 2, "{ran:#?}");
    assert!(errors[0].starts_with(
        "broken.j2: error: template `broken.j2` uses `qestion`, which nothing defines; defined"
    ));
    let json = bare(&folder, &["lint", "loose.j2", "--json"]).json();
    assert_eq!(json[0]["name"], "loose.j2");
    assert_eq!(json[0]["findings"][3]["line"], 6, "{json:#}");
    assert_eq!(json[0]["findings"][3]["level"], "warning");
}

#[test]
fn two_templates_are_compared_word_by_word_and_so_is_what_comes_of_them() {
    let folder = folder();
    let ran = done(&folder, &["diff", "qa/grounded", "chat/grounded"]);
    insta::assert_snapshot!(without_versions(&ran.out), @"");
    let fill = ["--data", "films.jsonl", "--slot", "instruction=2"];
    let ran = done(&folder, &[&["diff", "classify/plain", "classify/chat"], &fill[..]].concat());
    let (_, filled) = ran.out.split_once(", filled in\n").unwrap();
    insta::assert_snapshot!(without_versions(filled), @"");
    let same = done(&folder, &["diff", "qa/plain", "qa/plain"]);
    assert_eq!((same.out.as_str(), same.err.as_str()), ("", "the templates are the same\n"));
    done(&folder, &["new", "generate/plain"]);
    let file = folder.at(".incontext/prompts/generate/plain.j2");
    let own = fs::read_to_string(&file).unwrap().replace("Turn each input", "Make of each input");
    fs::write(&file, own).unwrap();
    let ran = done(&folder, &["diff", "generate/plain", "--set", "input=a"]);
    assert!(ran.out.contains("\"[-Turn-]{+Make of+} each input into its output.\""), "{ran:#?}");
    assert!(ran.err.ends_with("filled in, they are the same\n"), "{ran:#?}");
    insta::assert_snapshot!(complaint(&folder, &["diff", "generate/mine"]), @"");
    folder.write("mine.j2", MINE);
    insta::assert_snapshot!(complaint(&folder, &["diff", "mine.j2"]), @"");
}
