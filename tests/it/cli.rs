//! What people read: lists, hits and answers, and the exit codes that scripts read.
//!
//! Snapshots hold whole outputs, so that a changed word is a decision and not an accident.

use crate::defaults;
use crate::run::{Folder, lines, without_scores};

/// A few notes about gardens, with words of several alphabets.
pub fn garden() -> Folder {
    let folder = Folder::with(&[
        (
            "notes/tomatoes.md",
            "# Tomatoes\n\n## Watering\n\nTomatoes need about two litres of water a day in summer. Water them in the morning, \
             at the roots.\n\n## Pruning\n\nSide shoots are pinched out every week.\n",
        ),
        (
            "notes/compost.txt",
            "Compost is ready after nine months. It smells of forest soil and crumbles in the hand.\n",
        ),
        (
            "notes/bees.md",
            "# Bees\n\nA honey bee colony survives the winter on twenty kilograms of honey. Élise’s hives stand in the \
             orchard.\n",
        ),
    ]);
    folder.ok(&["ingest", "notes", "--quiet"]);
    folder
}

#[test]
fn a_command_line_that_cannot_be_read_exits_with_2() {
    let folder = Folder::new();
    for args in [
        &["frobnicate"][..],
        &["ask"],
        &["search", "x", "-k", "0"],
        &["ingest"],
        &["search", "x", "--mode", "psychic"],
    ] {
        let ran = folder.run(args);
        assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""), "{ran:#?}");
    }
    insta::assert_snapshot!(folder.shown(&["serach", "tea"]), @r#"
    exit 2
    -- stderr
    error: unrecognized subcommand 'serach'

      tip: a similar subcommand exists: 'search'

    Usage: incontext [OPTIONS] <COMMAND>

    For more information, try '--help'.
    "#);
}

#[test]
fn the_catalogue_is_listed_with_what_is_here() {
    if defaults::encoder().is_none() || defaults::generator().is_none() {
        return;
    }
    let folder = Folder::new();
    let listed = folder.ok(&["models", "list"]).out;
    // The last column is where the model lies.
    let columns = lines(&listed, |line| line.split(" /").next().unwrap_or(line).trim_end());
    insta::assert_snapshot!(columns, @r#"
    all-minilm-l6-v2         encoder     91 MB  Apache-2.0
    smollm2-135m-instruct    generator   98 MB  Apache-2.0
    "#);
    let json = folder.ok(&["models", "list", "--json"]).json();
    for model in json.as_array().unwrap() {
        let name = model["name"].as_str().unwrap();
        let path = folder.run(&["models", "path", name]);
        if path.code == Some(0) {
            assert_eq!(model["state"]["path"], path.out.trim_end());
        }
    }
}

#[test]
fn search_finds_in_three_modes_and_explains_itself() {
    if defaults::encoder().is_none() {
        return;
    }
    let folder = garden();
    let query = "how often should tomatoes be watered";
    let shown = |args: &[&str]| without_scores(&folder.shown(args));
    insta::assert_snapshot!(shown(&["search", query, "--explain"]), @r#"
    exit 0
    -- stdout
     1. #  notes/tomatoes.md:1-5  Tomatoes > Watering
        dense rank 1, score #, share #; lexical rank 1, score #, share #
        # Tomatoes ## Watering Tomatoes need about two litres of water a day in summer. Water them in the morning, at the roots.

     2. #  notes/tomatoes.md:7-9  Tomatoes > Pruning
        dense rank 2, score #, share #; lexical rank 2, score #, share #
        ## Pruning Side shoots are pinched out every week.

     3. #  notes/compost.txt:1
        dense rank 3, score #, share #; lexical not among its candidates
        Compost is ready after nine months. It smells of forest soil and crumbles in the hand.

     4. #  notes/bees.md:1-3  Bees
        dense rank 4, score #, share #; lexical not among its candidates
        # Bees A honey bee colony survives the winter on twenty kilograms of honey. Élise’s hives stand in the orchard.
    "#);
    insta::assert_snapshot!(shown(&["search", query, "--mode", "lexical", "-k", "1"]), @r#"
    exit 0
    -- stdout
     1. #  notes/tomatoes.md:1-5  Tomatoes > Watering
        # Tomatoes ## Watering Tomatoes need about two litres of water a day in summer. Water them in the morning, at the roots.
    "#);
    for mode in ["dense", "lexical", "hybrid"] {
        let found = folder.ok(&["search", query, "--mode", mode, "--json", "-k", "2"]).json();
        assert_eq!((found["query"].as_str(), found["mode"].as_str()), (Some(query), Some(mode)));
        let best = &found["hits"][0];
        assert_eq!(
            (best["rank"].as_u64(), best["path"].as_str()),
            (Some(1), Some("notes/tomatoes.md")),
            "{found:#}"
        );
        assert_eq!(best["legs"]["dense"].is_null(), mode == "lexical", "{best:#}");
        assert_eq!(best["legs"]["lexical"].is_null(), mode == "dense", "{best:#}");
        let [first, last] = [0, 1].map(|end| best["lines"][end].as_u64().unwrap());
        assert!(1 <= first && first <= last, "{best:#}");
    }
}

#[test]
fn the_shares_of_the_legs_add_up_to_the_score() {
    if defaults::encoder().is_none() {
        return;
    }
    let found = garden().ok(&["search", "honey for the winter", "--json"]).json();
    for hit in found["hits"].as_array().unwrap() {
        let share = |leg: &str| hit["legs"][leg]["share"].as_f64().unwrap_or(0.0);
        let (sum, score) = (share("dense") + share("lexical"), hit["score"].as_f64().unwrap());
        assert!((sum - score).abs() < 1e-6, "{hit:#}");
    }
}

#[test]
fn an_answer_is_the_documents_own_sentence_with_its_place() {
    if defaults::encoder().is_none() {
        return;
    }
    let folder = garden();
    let question = "How much honey does a bee colony need for the winter?";
    insta::assert_snapshot!(folder.shown(&["ask", question, "--answer", "extractive"]), @r#"
    exit 0
    -- stdout
    A honey bee colony survives the winter on twenty kilograms of honey. [1]

    [1] notes/bees.md:3  Bees
        | A honey bee colony survives the winter on twenty kilograms of honey.
    "#);
    let answer = folder.ok(&["ask", question, "--json"]).json();
    let keys: Vec<&str> = answer.as_object().unwrap().keys().map(String::as_str).collect();
    insta::assert_snapshot!(keys.join(" "), @"format question answered answer confidence mode fallback citations nearest model adapter prompt tokens ms");
    assert_eq!(answer["format"], 1);
    assert_eq!(answer["mode"], "extractive");
}

#[test]
fn a_question_the_documents_do_not_answer_exits_with_3() {
    if defaults::encoder().is_none() {
        return;
    }
    let folder = garden();
    let question = "Which chess opening did Kasparov prefer against Karpov?";
    insta::assert_snapshot!(folder.shown(&["ask", question]), @r#"
    exit 3
    -- stdout
    Not found in the indexed documents.
      nearest: notes/tomatoes.md:1  Tomatoes > Watering
      nearest: notes/tomatoes.md:7  Tomatoes > Pruning
      nearest: notes/compost.txt:1
    "#);
    let refused = folder.run(&["ask", question, "--json"]);
    assert_eq!(refused.code, Some(3), "{refused:#?}");
    let answer = refused.json();
    assert_eq!(
        (answer["answered"].as_bool(), answer["citations"].as_array().map(Vec::len)),
        (Some(false), Some(0))
    );
    assert!(answer["confidence"].as_f64().unwrap() < 0.5);
    assert!(!answer["nearest"].as_array().unwrap().is_empty());
    insta::assert_snapshot!(folder.shown(&["search", "xylophone", "--mode", "lexical"]), @r#"
    exit 3
    -- stderr
    no passage has anything in common with the query
    "#);
}

#[test]
fn quiet_says_nothing_but_the_result() {
    if defaults::encoder().is_none() {
        return;
    }
    let folder = garden();
    let ran = folder.ok(&["ingest", "notes", "--quiet"]);
    assert_eq!(ran.err, "");
    let ran = folder.run(&["search", "xylophone", "--mode", "lexical", "--quiet"]);
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (Some(3), "", ""));
}

#[test]
fn a_generated_answer_is_grounded_or_says_why_it_is_not_used() {
    if defaults::encoder().is_none() || defaults::generator().is_none() {
        return;
    }
    let folder = garden();
    let ask = [
        "ask",
        "How much honey does a bee colony need for the winter?",
        "--answer",
        "generate",
        "--json",
        "--show-prompt",
    ];
    let ran = folder.ok(&ask);
    assert!(ran.err.contains("<|im_start|>user") && ran.err.contains("twenty kilograms"), "{ran:#?}");
    let answer = ran.json();
    match answer["mode"].as_str() {
        Some("generate") => assert!(answer["fallback"].is_null(), "{answer:#}"),
        Some("extractive") => assert!(!answer["fallback"].as_str().unwrap().is_empty(), "{answer:#}"),
        other => panic!("{other:?}: {answer:#}"),
    }
    assert_eq!(answer["model"], "smollm2-135m-instruct");
    assert_eq!(answer["prompt"]["name"], "qa/grounded");
    assert!(answer["tokens"]["prompt"].as_u64().unwrap() > 50, "{answer:#}");
    super::citations::assert_citations_hold(&folder, &answer);
    let mut again = folder.ok(&ask).json();
    again["ms"] = answer["ms"].clone();
    assert_eq!(again, answer, "greedy decoding repeats itself");
}
