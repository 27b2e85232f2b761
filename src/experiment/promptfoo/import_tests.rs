use serde_json::json;

use super::*;

fn of(text: &str) -> Result<Imported> {
    import("pf", text, Path::new(""))
}

const HEAD: &str = "providers: openai:chat:m\nprompts: ['Say {{ question }}']\n";

#[test]
fn yaml_means_what_it_means_in_javascript() {
    let read =
        yaml("a: yes\nb: on\nc: true\nd: ~\ne: 1.5\nf: 07x\ng: &x [p, q]\nh: *x\ni: |\n  two\n  lines\n")
            .unwrap();
    let wanted = json!({"a": "yes", "b": "on", "c": true, "d": null, "e": 1.5, "f": "07x", "g": ["p", "q"],
        "h": ["p", "q"], "i": "two\nlines\n"});
    assert_eq!(read, wanted);
    assert!(yaml("a: [").is_err());
    assert_eq!(yaml("x: &d {a: 1}\ny: {<<: *d, b: 2}").unwrap()["y"], json!({"a": 1, "b": 2}));
}

#[test]
fn prompts_say_what_they_said_whatever_stands_in_them() {
    let text = "{\"a\": {{x}}}\n<|system|>\n{{ x }}{{y}} {";
    let config = json!({ "providers": "openai:m", "prompts": [{ "raw": text, "label": "one" }],
        "tests": [{ "vars": { "x": "1 {% 2", "y": 3.0 } }] });
    // A value is data: what looks like a tag in it is refused, since promptfoo would run it.
    assert!(of(&config.to_string()).unwrap_err().to_string().contains("test 1, var `x`"));
    let imported = of(&config.to_string().replace("1 {% 2", "1 } 2")).unwrap();
    let none = |name: &str| Err(Error::not_found(name.to_owned()));
    let template = Template::parse("p", &imported.prompts[0].1, &none).unwrap();
    let layout = template.render(&imported.rows[0]).unwrap().layout;
    assert_eq!(layout.messages().len(), 1);
    assert_eq!(layout.messages()[0].content, "{\"a\": 1 } 2}\n<|system|>\n1 } 23 {");
}

#[test]
fn lists_are_combined_and_what_is_missing_is_empty() {
    let tests = "tests:\n- {description: d, vars: {question: [a, b], t: [c, d]}}\n- vars: {question: e}\ndefaultTest: {vars: {t: f}}\n";
    let imported = of(&format!("{HEAD}{tests}")).unwrap();
    let ids: Vec<&str> = imported.rows.iter().map(|row| row["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["d", "d (2)", "d (3)", "d (4)", "2"]);
    assert_eq!((&imported.rows[2]["question"], &imported.rows[2]["t"]), (&json!("a"), &json!("d")));
    assert_eq!(imported.rows[4]["t"], "f");
    let imported = of(HEAD).unwrap();
    assert_eq!(imported.rows, [json!({"id": "1", "input": "1", "question_": ""})]);
    assert!(
        imported.notes.iter().any(|note| note.contains("1 tests have no var `question`")),
        "{:?}",
        imported.notes
    );
}

#[test]
fn names_that_mean_something_in_a_row_are_changed_in_rows_and_templates_alike() {
    let config = "providers: openai:m\nprompts: ['{{answer}} {{question}} {{input}}']\ntests:\n- vars: {answer: a, question: q, input: i}\n";
    let imported = of(config).unwrap();
    assert_eq!(imported.rows, [json!({"id": "1", "answer_": "a", "input_": "i", "question": "q"})]);
    assert!(imported.prompts[0].1.ends_with("<|user|>\n{{ answer_ }} {{ question }} {{ input_ }}\n"));
}

#[test]
fn assertions_get_the_vars_of_their_test_and_those_without_vars_are_the_experiments() {
    let config = format!(
        "{HEAD}defaultTest: {{assert: [{{type: is-json}}, {{type: contains, value: '{{{{question}}}}'}}]}}\n\
         tests:\n- vars: {{question: q}}\n  assert: [{{type: not-contains-any, value: 'a, \"b, c\"'}}, {{type: not-latency, threshold: 5}}]\n"
    );
    let imported = of(&config).unwrap();
    let wanted = json!([{"type": "contains", "value": "q"}, {"type": "not-contains-any", "value": ["a", "b, c"]},
        {"type": "latency", "threshold": 5}]);
    assert_eq!(imported.rows[0]["assert"], wanted);
    assert!(imported.experiment.contains("[[assert]]\ntype = \"is-json\"\n"), "{}", imported.experiment);
}

#[test]
fn what_would_change_a_result_is_refused_by_name_and_place() {
    let complaint = |more: &str| of(&format!("{HEAD}{more}")).unwrap_err().to_string();
    let assert =
        |assert: &str| complaint(&format!("tests:\n- vars: {{question: q}}\n  assert: [{{{assert}}}]\n"));
    insta::assert_snapshot!([
        complaint("scenarios: []\n"),
        complaint("tests:\n- {vars: {question: {a: 1}}}\n"),
        complaint("tests:\n- {threshold: 0.5}\n"),
        complaint("tests:\n- {options: {transform: output.trim()}}\n"),
        complaint("tests: file://tests.js\n"),
        assert("type: javascript, value: output"),
        assert("type: contains, value: ''"),
        assert("type: regex, value: '(?=a)'"),
        assert("type: is-json, value: {properties: {}}"),
        assert("type: equals, value: 'x', transform: output"),
        assert("type: equals, value: '{{ question | upper }}'"),
        of("providers: anthropic:claude\nprompts: [a]\n").unwrap_err().to_string(),
        of("providers: openai:embedding:x\nprompts: [a]\n").unwrap_err().to_string(),
        of("providers: [openai:a, {id: openai:b, config: {temperature: 1}}]\nprompts: [a]\n").unwrap_err().to_string(),
        of("providers: openai:a\nprompts: ['{% if x %}']\n").unwrap_err().to_string(),
        of("providers: openai:a\nprompts: ['file://x.py']\n").unwrap_err().to_string(),
    ].join("\n"), @r"
    the file: `scenarios` is not supported
    test 1, var `question`: is neither a text nor a list of texts
    test 1: `threshold` is not supported
    test 1, options: `transform` is not supported
    tests of `file://tests.js`: no file of a kind that is supported
    test 1, assertion 1: assertions of the type `javascript` are not supported
    test 1, assertion 1: assertion `contains`: `value` has to be a text, and not empty
    test 1, assertion 1: assertion `regex`: look-around, including look-ahead and look-behind, is not supported
    test 1, assertion 1: `is-json`: a schema with more than `required` is not supported
    test 1, assertion 1: `transform` is not supported
    test 1, assertion 1: only `{{ name }}` is understood in a template, not `{{ question | upper }}`
    provider 1: `anthropic:claude` is no chat model behind an OpenAI-compatible endpoint
    provider 1: `openai:embedding:x` is no chat model behind an OpenAI-compatible endpoint
    provider 2: its `temperature` or `max_tokens` is not that of the providers before it
    prompt 1: only `{{ name }}` is understood in a template, not `{% if x %}`
    prompt 1: `file://x.py` is no file of a kind that is supported
    ");
}
