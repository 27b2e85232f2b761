//! A citation opens at the right place: the file's bytes at its span are its quote, and its lines are the lines of these
//! bytes - whatever the file is written in.

use serde_json::Value;

use crate::defaults;
use crate::run::Folder;

/// Asserts that the answer's citations are true of the files in `folder`, and that the answer refers to each.
pub fn assert_citations_hold(folder: &Folder, answer: &Value) {
    let citations = answer["citations"].as_array().unwrap();
    assert!(!citations.is_empty(), "{answer:#}");
    for (citation, n) in citations.iter().zip(1..) {
        assert_eq!(citation["n"], n, "{answer:#}");
        assert!(answer["answer"].as_str().unwrap().contains(&format!("[{n}]")), "{answer:#}");
        assert_eq!(citation["status"], "verified", "{citation:#}");
        let file = std::fs::read(folder.at(citation["path"].as_str().unwrap())).unwrap();
        let [start, end] = [0, 1].map(|at| citation["bytes"][at].as_u64().unwrap() as usize);
        assert_eq!(
            std::str::from_utf8(&file[start..end]),
            Ok(citation["quote"].as_str().unwrap()),
            "{citation:#}"
        );
        assert!(start < end, "{citation:#}");
        let line_of = |at: usize| 1 + file[..at].iter().filter(|&&byte| byte == b'\n').count() as u64;
        let lines = [0, 1].map(|at| citation["lines"][at].as_u64().unwrap());
        assert_eq!(lines, [line_of(start), line_of(end - 1)], "{citation:#}");
    }
}

/// Asks `question` of a folder that holds `name` with `content` (and something else), and checks the answer.
fn cited(name: &str, content: &str, question: &str) -> Option<Value> {
    defaults::encoder()?;
    let other = "# Chairs\n\nA chair has four legs and a back. Some have arms.\n";
    let folder = Folder::with(&[(name, content), ("other.md", other)]);
    folder.ok(&["ingest", ".", "--quiet"]);
    let answer = folder.ok(&["ask", question, "--answer", "extractive", "--json"]).json();
    assert_citations_hold(&folder, &answer);
    assert_eq!(answer["citations"][0]["path"], name, "{answer:#}");
    Some(answer)
}

fn first_quote(answer: &Value) -> &str {
    answer["citations"][0]["quote"].as_str().unwrap()
}

#[test]
fn markdown_with_letters_of_many_bytes() {
    let text = "---\ntitle: Käse\n---\r\n\r\n# Käse – 奶酪 🧀\r\n\r\nDer „Bergkäse“ kommt aus den Alpen — naïve Köpfe sagen: Emmental.\r\n\r\n\
                ## Reifung 🕰\r\n\r\nThe “Höhlenkäse” cheese ripens for **eleven months** in a sandstone cave 🏔\u{fe0f}. Then it’s brushed \
                with brine.\r\n";
    let Some(answer) = cited("käse.md", text, "How long does the cheese ripen in the cave?") else { return };
    assert!(first_quote(&answer).contains("“Höhlenkäse” cheese ripens for **eleven months**"), "{answer:#}");
    assert_eq!(answer["citations"][0]["lines"], serde_json::json!([11, 11]));
}

#[test]
fn html_with_tags_and_entities_inside_the_sentence() {
    let text = "<!doctype html>\n<html><head><title>Lighthouse</title><script>var x = 'The lamp turns';</script></head>\n<body>\n\
                <h1>The &Eacute;tretat lighthouse</h1>\n<p>The lighthouse lamp turns once every <b>seven\n seconds</b> &amp; is visible \
                for thirty&nbsp;miles.</p>\n<p>It was built in 1894 by&#32;Ren&eacute;.</p>\n</body></html>\n";
    let Some(answer) = cited("light.html", text, "How often does the lamp of the lighthouse turn?") else {
        return;
    };
    let quote = first_quote(&answer);
    assert!(quote.contains("<b>seven\n seconds</b> &amp; is visible"), "{quote}");
    assert!(answer["answer"].as_str().unwrap().contains("every seven seconds & is visible"), "{answer:#}");
    assert_eq!(answer["citations"][0]["lines"], serde_json::json!([5, 6]));
}

#[test]
fn json_lines_with_escapes() {
    let text = concat!(
        r#"{"id": 1, "title": "Owls", "text": "Owls hunt at night.\nThey \"hoot\"."}"#,
        "\n",
        r#"{"id": 2, "title": "The \"Z\u00fcrich\" tram", "text": "The Z\u00fcrich tram no.\u00a04 carries 93 \"seated\" passengers \ud83d\ude8b and 141 standing ones.\tIt is blue."}"#,
        "\n"
    );
    let Some(answer) = cited("facts.jsonl", text, "How many seated passengers does the Zürich tram carry?")
    else {
        return;
    };
    assert!(first_quote(&answer).contains(r#"carries 93 \"seated\" passengers \ud83d\ude8b"#), "{answer:#}");
    assert!(answer["answer"].as_str().unwrap().contains("carries 93 \"seated\" passengers 🚋"), "{answer:#}");
    assert_eq!(answer["citations"][0]["lines"], serde_json::json!([2, 2]));
}

#[test]
fn source_code() {
    let text = "//! Retrying.\n\nuse std::time::Duration;\n\n/// How long to wait before the `n`-th retry: the retry delay doubles each \
                time\n/// and never exceeds thirty seconds — “capped backoff”.\npub fn retry_delay(n: u32) -> Duration {\n    \
                Duration::from_secs(30.min(1 << n))\n}\n\nfn unrelated() -> &'static str {\n    \"naïve\"\n}\n";
    let Some(answer) = cited("src/retry.rs", text, "How does the retry delay grow before the next retry?")
    else {
        return;
    };
    assert!(first_quote(&answer).contains("retry"), "{answer:#}");
}

#[test]
fn several_sentences_of_several_passages_each_have_their_place() {
    let section = |number: usize| {
        let filler =
            "The committee met in the usual room and talked about the weather for a while. ".repeat(12);
        format!(
            "## Meeting {number}\n\n{filler}\n\nThe budget of the harbour in year {number} was {number}00 crowns. {filler}\n\n"
        )
    };
    let text: String = (1..=6).map(section).collect();
    let Some(answer) =
        cited("minutes.md", &format!("# Minutes\n\n{text}"), "What was the budget of the harbour in year 4?")
    else {
        return;
    };
    assert!(
        answer["citations"]
            .as_array()
            .unwrap()
            .iter()
            .any(|c| c["quote"].as_str().unwrap().contains("400 crowns")),
        "{answer:#}"
    );
}

#[test]
fn a_file_that_changed_or_went_since_is_said_to_have() {
    if defaults::encoder().is_none() {
        return;
    }
    let folder = Folder::with(&[("a.md", "# Clocks\n\nThe tower clock strikes thirteen at noon.\n")]);
    folder.ok(&["ingest", "a.md", "--quiet"]);
    let ask = ["ask", "What does the tower clock strike at noon?", "--json"];
    folder.write("a.md", "# Clocks\n\nThe tower clock is silent now, alas, for ever.\n");
    assert_eq!(folder.ok(&ask).json()["citations"][0]["status"], "changed");
    folder.remove("a.md");
    let answer = folder.ok(&ask).json();
    assert_eq!(answer["citations"][0]["status"], "missing");
    assert_eq!(answer["citations"][0]["quote"], "The tower clock strikes thirteen at noon.");
    let shown = folder.ok(&ask[..2]).out;
    assert!(shown.contains("(the file is gone)"), "{shown}");
}
