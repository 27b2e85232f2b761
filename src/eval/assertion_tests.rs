use super::*;

fn assertion(toml: &str) -> Assertion {
    toml::from_str(toml).unwrap()
}

fn refused(toml: &str) -> String {
    toml::from_str::<Assertion>(toml).unwrap_err().message().to_owned()
}

/// Whether it passes, and why.
fn judge(toml: &str, output: &str) -> (bool, String) {
    let grade = |_: &str| Err(Error::invalid("no judge"));
    let Verdict { passed, why } = assertion(toml).verdict(output, 900, &grade).unwrap();
    (passed, why)
}

#[test]
fn outputs_pass_and_fail_for_reasons_a_person_understands() {
    for (toml, output, passed, why) in [
        ("type = 'equals'\nvalue = 'Paris'", "Paris", true, "equals `Paris`"),
        ("type = 'equals'\nvalue = 'Paris'", "Paris\n", false, "is `Paris\\n`, not `Paris`"),
        ("type = 'equals'\nvalue = 'Paris'", "In Paris.", false, "is `In Paris.`, not `Paris`"),
        ("type = 'equals'\nvalue = 42", "42", true, "equals `42`"),
        ("type = 'equals'\nvalue = 1.0", "1", true, "equals `1`"),
        ("type = 'equals'\nvalue = true", "true", true, "equals `true`"),
        ("type = 'contains'\nvalue = 'Paris'", "Not Paris!", true, "contains `Paris`"),
        ("type = 'contains'\nvalue = 'paris'", "Paris", false, "does not contain `paris`"),
        ("type = 'contains'\nvalue = 0", "10", true, "contains `0`"),
        ("type = 'icontains'\nvalue = 'pARIS, ÉTÉ'", "Paris, été", true, "contains `pARIS, ÉTÉ`"),
        ("type = 'contains-all'\nvalue = ['a', 'b', 3]", "a3", false, "does not contain `b`"),
        ("type = 'icontains-all'\nvalue = ['a', 'b']", "AB", true, "contains `a`, `b`"),
        ("type = 'contains-any'\nvalue = ['a', 'b']", "cb", true, "contains `b`"),
        ("type = 'contains-any'\nvalue = ['a', 'b']", "AB", false, "contains none of `a`, `b`"),
        ("type = 'starts-with'\nvalue = 'Yes'", "Yes, it is", true, "starts with `Yes`"),
        ("type = 'starts-with'\nvalue = 'Yes'", " Yes", false, "starts with ` Yes`, not `Yes`"),
        ("type = 'regex'\nvalue = '[0-9]{4}'", "in 1887.", true, "matches `[0-9]{4}`: `1887`"),
        ("type = 'regex'\nvalue = '^a$'", "b\na", false, "does not match `^a$`"),
        ("type = 'latency'\nthreshold = 900", "", true, "took 900 ms, at most 900"),
        ("type = 'latency'\nthreshold = 899.5", "", false, "took 900 ms, more than 899.5"),
        ("type = 'rouge-l'\nvalue = 'a b c d'", "a b c", true, "ROUGE-L is 0.857, at least 0.75"),
        (
            "type = 'rouge-l'\nvalue = ['x', 'a b']\nthreshold = 0.9",
            "a b c",
            false,
            "ROUGE-L is 0.800, below 0.9",
        ),
    ] {
        assert_eq!(judge(toml, output), (passed, why.to_owned()), "{toml} of {output:?}");
        let not = toml.replacen("type = '", "type = 'not-", 1);
        assert_eq!(judge(&not, output), (!passed, why.to_owned()), "{not} of {output:?}");
    }
}

#[test]
fn long_texts_are_shown_by_their_beginning_and_where_they_part() {
    let (long, longer) = ("a".repeat(70), "a".repeat(80));
    let (_, why) = judge(&format!("type = 'equals'\nvalue = '{long}'"), &longer);
    assert_eq!(why, format!("is `{}...`, as it should for 70 characters only", &long[..60]));
}

#[test]
fn json_is_json_and_nothing_near_it() {
    for (toml, output, passed, why) in [
        ("type = 'is-json'", "42", true, "is JSON"),
        ("type = 'is-json'", " \"text\"\n", true, "is JSON"),
        ("type = 'is-json'", "{'a': 1}", false, "is not JSON: key must be a string at line 1 column 2"),
        ("type = 'is-json'", "", false, "is not JSON: EOF while parsing a value at line 1 column 0"),
        ("type = 'is-json'\nrequired = ['a', 'b']", "{\"a\": null}", false, "is JSON without `b`"),
        ("type = 'is-json'\nrequired = ['a']", "[1]", false, "is JSON without `a`"),
        ("type = 'contains-json'", "see ```json\n{\"a\": {}}\n```", true, "contains a JSON object"),
        ("type = 'contains-json'", "{ {no} [1, 2]", false, "contains no JSON object"),
        (
            "type = 'contains-json'\nrequired = ['b']",
            "{\"a\": 1} {\"b\": 1} {}",
            true,
            "contains a JSON object",
        ),
        (
            "type = 'contains-json'\nrequired = ['b']",
            "{\"a\": {\"b\": 1}}",
            false,
            "contains JSON without `b`",
        ),
        (
            "type = 'equals'\nvalue = { a = 1, b = ['x'] }",
            "{\"b\": [\"x\"], \"a\": 1.0}",
            true,
            "is the JSON that was expected",
        ),
        ("type = 'equals'\nvalue = { a = 1 }", "{\"a\": 2}", false, "is `{\"a\": 2}`, not `{\"a\":1}`"),
        (
            "type = 'not-equals'\nvalue = { a = 1 }",
            "a",
            true,
            "is not JSON: expected value at line 1 column 1",
        ),
    ] {
        assert_eq!(judge(toml, output), (passed, why.to_owned()), "{toml} of {output:?}");
    }
}

#[test]
fn objects_are_found_wherever_they_stand() {
    let (found, stray) = objects("x {\"a\": \"}\"} {bad {\"b\": {\"c\": 1}} é{}");
    let shown: Vec<String> = found.iter().map(Value::to_string).collect();
    assert_eq!((shown, stray), (["{\"a\":\"}\"}", "{\"b\":{\"c\":1}}", "{}"].map(str::to_owned).to_vec(), 1));
}

#[test]
fn what_is_no_assertion_is_refused_by_name() {
    assert_eq!(
        refused("type = 'not-contain'\nvalue = 'a'"),
        "no assertion is called `contain`; is it `contains`? There are equals, contains, icontains, \
         contains-all, icontains-all, contains-any, icontains-any, starts-with, regex, is-json, contains-json, \
         latency, rouge-l, llm-rubric; each with `not-` before it"
    );
    assert_eq!(
        refused("type = 'equals'\nvalue = 'a'\ntreshold = 1"),
        "unknown field `treshold`, expected one of `type`, `value`, `threshold`, `required`, `weight`"
    );
    for (toml, message) in [
        ("type = 'contains'", "assertion `contains`: `value` is missing"),
        ("type = 'contains'\nvalue = ''", "assertion `contains`: `value` has to be a text, and not empty"),
        (
            "type = 'contains-all'\nvalue = 'a, b'",
            "assertion `contains-all`: `value` has to be a list of texts, none of them empty",
        ),
        (
            "type = 'contains-any'\nvalue = []",
            "assertion `contains-any`: `value` has to be a list of texts, none of them empty",
        ),
        ("type = 'is-json'\nvalue = {}", "assertion `is-json` takes `required`, not `value`"),
        ("type = 'equals'\nvalue = 1\nthreshold = 1", "assertion `equals` takes `value`, not `threshold`"),
        ("type = 'latency'", "assertion `latency`: `threshold` has to be a number of milliseconds"),
        (
            "type = 'rouge-l'\nvalue = 'a'\nthreshold = 75",
            "assertion `rouge-l`: `threshold` 75 has to be between 0 and 1",
        ),
        ("type = 'is-json'\nweight = -1", "assertion `is-json`: `weight` -1 is not 0 or more"),
        ("type = 'regex'\nvalue = '(a'", "assertion `regex`: unclosed group"),
        (
            "type = 'regex'\nvalue = 'a(?=b)'",
            "assertion `regex`: look-around, including look-ahead and look-behind, is not supported",
        ),
    ] {
        assert_eq!(refused(toml), message, "{toml}");
    }
    let json = serde_json::from_str::<Assertion>(r#"{"type": "equals", "value": 1}"#).unwrap();
    assert_eq!(json.to_string(), "equals `1`");
}

#[test]
fn a_rubric_is_judged_by_who_calls_and_turned_round_here() {
    let rubric = assertion("type = 'not-llm-rubric'\nvalue = 'Polite.'");
    let seen = std::cell::RefCell::new(String::new());
    let grade = |rubric: &str| {
        seen.replace(rubric.to_owned());
        Ok(Verdict { passed: true, why: "It is.".into() })
    };
    assert!(rubric.is_graded() && !rubric.verdict("Thanks!", 1, &grade).unwrap().passed);
    assert_eq!(
        (seen.into_inner().as_str(), rubric.to_string().as_str()),
        ("Polite.", "not-llm-rubric `Polite.`")
    );
    let broken = |_: &str| Err(Error::invalid("no judge"));
    assert!(rubric.verdict("Thanks!", 1, &broken).is_err());
}

#[test]
fn weights_say_how_much_a_failure_counts() {
    let verdict = |passed| Verdict { passed, why: String::new() };
    let heavy = assertion("type = 'is-json'\nweight = 3");
    let light = assertion("type = 'is-json'");
    let watched = assertion("type = 'latency'\nthreshold = 1\nweight = 0");
    let (yes, no) = (verdict(true), verdict(false));
    let judged = [(&heavy, &yes), (&light, &no), (&watched, &no)];
    assert_eq!((score(judged), passed(judged)), (0.75, false));
    assert_eq!((score([(&watched, &no)]), passed([(&watched, &no)])), (1.0, true));
}
