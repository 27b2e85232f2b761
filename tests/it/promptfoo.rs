//! `incontext experiment import`: a configuration of promptfoo becomes an experiment that runs and fails where it should.

use serde_json::{Value, json};

use crate::mock::{Reply, Seen, Server};
use crate::run::{Folder, Ran};

const CONFIG: &str = r#"
description: Capitals
prompts:
  - 'Capital of {{country}}?'
  - file://chat.json
  - { raw: "Tell me, {{ country }}:\nwhat is your capital?", label: asked }
providers:
  - { id: openai:chat:mock, config: { temperature: 0, max_tokens: 20, apiKey: sk-1 } }
defaultTest:
  vars: { style: plain }
  assert:
    - { type: not-icontains, value: language model }
    - { type: llm-rubric, value: 'Names {{capital}}.', provider: openai:chat:judge }
tests:
  - { description: france, vars: { country: France, capital: Paris }, assert: [{ type: equals, value: '{{capital}}' }], metadata: { a: 1 } }
  - file://more.csv
evaluateOptions: { maxConcurrency: 2, showProgressBar: false }
outputPath: out.json
"#;

const CHAT: &str =
    r#"[{"role": "system", "content": "Be {{style}}."}, {"role": "user", "content": "{{country}}?"}]"#;
const CSV: &str = "country,capital,__expected1,__expected2\nItaly,Rome,Rome,\"not-contains: Paris\"\nPeru,Lima,\"contains-any: Lima, Cusco\",latency(60000)\n";

fn folder(config: &str) -> Folder {
    Folder::with(&[("pf.yaml", config), ("chat.json", CHAT), ("more.csv", CSV)])
}

fn run(folder: &Folder, server: &Server, args: &[&str]) -> Ran {
    let mut command = folder.command(&[&["experiment"], args].concat());
    command.env("OPENAI_BASE_URL", &server.url);
    Ran::of(command.output().unwrap())
}

/// Knows two capitals; thinks that of Italy is Paris, but when it is addressed.
fn geographer(request: &Seen) -> Reply {
    let text = request.body["messages"].to_string();
    if request.body["model"] == "judge" {
        return Reply::streamed(&["{\"pass\": true, \"reason\": \"It does.\"}"]);
    }
    let right = text.contains("Tell me");
    Reply::streamed(&[match () {
        () if text.contains("Italy") && right => "Rome",
        () if text.contains("Peru") => "It is Lima.",
        () => "Paris",
    }])
}

fn rows(folder: &Folder, file: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.at(file)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_configuration_becomes_an_experiment_that_ranks_by_what_passed_and_exits_with_100() {
    let folder = folder(CONFIG);
    let server = Server::start(|request, _| geographer(request));
    let imported = run(&folder, &server, &["import", "pf.yaml"]);
    assert_eq!(imported.code, Some(0), "{imported:#?}");
    for note in ["`apiKey` is ignored", "`outputPath` is ignored", "test 1: `metadata` is ignored"] {
        assert!(imported.err.contains(note), "{}", imported.err);
    }
    let toml = std::fs::read_to_string(folder.at("pf/pf.toml")).unwrap();
    assert!(!toml.contains("sk-1") && toml.contains("concurrency = 2"), "{toml}");
    assert_eq!(rows(&folder, "pf/pf.jsonl")[0]["assert"][0]["value"], "Names Paris.");

    let ran = run(&folder, &server, &["run", "pf/pf.toml", "--json"]);
    assert_eq!(ran.code, Some(100), "{ran:#?}");
    let summary = ran.json();
    assert_eq!(summary["metrics"][0]["name"], "passed");
    let passed: Vec<f64> = summary["cells"]
        .as_array()
        .unwrap()
        .iter()
        .map(|cell| (cell["metrics"]["passed"]["mean"].as_f64().unwrap() * 3.0).round())
        .collect();
    assert_eq!(passed, [2.0, 2.0, 3.0]);
    assert_eq!(summary["cells"][0]["assertions_failed"], 2);
    let asked: Vec<String> =
        server.seen().iter().map(|request| request.body["messages"].to_string()).collect();
    let chat = json!([{"role": "system", "content": "Be plain."}, {"role": "user", "content": "France?"}]);
    for wanted in [chat, json!([{"role": "user", "content": "Tell me, Peru:\nwhat is your capital?"}])] {
        assert!(asked.contains(&wanted.to_string()), "{asked:#?}");
    }
    assert!(!asked.iter().any(|asked| asked.contains("assert")), "{asked:#?}");

    let again = run(&folder, &server, &["import", "pf.yaml"]);
    assert!(again.code == Some(1) && again.err.contains("is there already"), "{again:#?}");
    assert_eq!(run(&folder, &server, &["import", "pf.yaml", "--replace"]).code, Some(0));
}

#[test]
fn what_is_not_supported_is_refused_by_name_and_writes_nothing() {
    let server = Server::start(|request, _| geographer(request));
    for (from, to, complaint) in [
        ("openai:chat:mock", "anthropic:messages:x", "provider 1: `anthropic:messages:x` is no chat model"),
        ("type: equals", "type: javascript", "test 1, assertion 1: assertions of the type `javascript`"),
        ("file://chat.json", "file://chat.py", "prompt 2: `file://chat.py` is no file of a kind"),
        ("file://chat.json", "file://nothing.json", "nothing.json"),
        ("Capital of {{country}}?", "{% for x in y %}", "prompt 1: only `{{ name }}` is understood"),
        ("description: Capitals", "extensions: []", "the file: `extensions` is not supported"),
        ("prompts:", "prompts: [", "is no YAML that can be read"),
    ] {
        let folder = folder(&CONFIG.replacen(from, to, 1));
        let ran = run(&folder, &server, &["import", "pf.yaml"]);
        assert_eq!(ran.code, Some(1), "{ran:#?}");
        assert!(ran.err.contains(complaint), "{}", ran.err);
        assert!(!folder.at("pf").exists(), "{to}");
    }
}

#[test]
fn a_row_with_an_assertion_that_is_none_is_named_before_anything_is_asked() {
    let experiment = "task = \"generate\"\ndata = { file = \"d.jsonl\" }\nmatrix = { prompt = [\"p.j2\"], model = [\"openai:mock\"] }\n";
    let prompt = "+++\nname = \"p\"\ntask = \"generate\"\ninputs = [\"input\"]\n+++\n{{ input }}\n";
    let data = "{\"input\": \"a\", \"assert\": []}\n{\"input\": \"b\", \"assert\": [{\"type\": \"contain\", \"value\": \"x\"}]}\n";
    let folder = Folder::with(&[("e.toml", experiment), ("p.j2", prompt), ("d.jsonl", data)]);
    let server = Server::start(|request, _| geographer(request));
    let ran = run(&folder, &server, &["run", "e.toml"]);
    assert_eq!(ran.code, Some(1), "{ran:#?}");
    assert!(
        ran.err.contains("the row `2` of the data: `assert`: no assertion is called `contain`"),
        "{}",
        ran.err
    );
    assert!(ran.err.contains("is it `contains`?"), "{}", ran.err);
    assert_eq!(server.seen().len(), 0);
}
