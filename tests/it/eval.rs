//! `eval` and `calibrate`: figures that can be worked out by hand, a run file others can read, and complaints with a line.

use std::fs;

use crate::defaults;
use crate::run::Folder;
use crate::tiny;

const CORPUS: &str = "\
{\"_id\": \"tea\", \"title\": \"Green tea\", \"text\": \"Steeped for two minutes.\"}
{\"_id\": \"coffee\", \"text\": \"Coffee is brewed for four minutes.\"}
{\"_id\": 3, \"title\": \"\", \"text\": \"Owls hunt mice at night.\"}
";
const QUERIES: &str = "\
{\"_id\": \"q1\", \"text\": \"How long is green tea steeped?\", \"answers\": [\"two minutes\"]}
{\"_id\": \"q2\", \"text\": \"minutes of brewed coffee\"}
{\"_id\": \"q3\", \"text\": \"Nobody judged this\"}
";
const QRELS: &str = "query-id\tcorpus-id\tscore\nq1\ttea\t1\nq2\ttea\t2\nq2\tcoffee\t0\nq2\t3\t-1\n";

const FILES: [&str; 7] = ["eval", "retrieval", "--corpus", "c.jsonl", "--queries", "q.jsonl", "--qrels"];

fn folder() -> Folder {
    Folder::with(&[("c.jsonl", CORPUS), ("q.jsonl", QUERIES), ("r.tsv", QRELS)])
}

fn with<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&FILES[..], &["r.tsv"], more].concat()
}

#[test]
fn words_are_measured_as_by_hand_and_written_as_a_run() {
    let folder = folder();
    let arguments = with(&["--mode", "lexical", "--run", "out/run.trec", "--json"]);
    let json = folder.ok(&arguments).json();
    let mean = |name: &str| json["results"][0]["metrics"][name]["mean"].as_f64().unwrap();
    // q1 finds tea first; q2 finds coffee, of no use, then tea.
    let expected = [
        ("nDCG@10", (1.0 + 1.0 / 3f64.log2()) / 2.0),
        ("recall@1", 0.5),
        ("recall@5", 1.0),
        ("recall@100", 1.0),
        ("MRR@10", 0.75),
    ];
    for (name, value) in expected {
        assert!((mean(name) - value).abs() < 1e-9, "{name}: {json:#}");
    }
    assert_eq!(json["results"].as_array().unwrap().len(), 1);
    assert_eq!(json["data"]["queries"]["used"], 2);
    assert_eq!(json["data"]["corpus"]["blake3"], blake3::hash(CORPUS.as_bytes()).to_hex().as_str());
    let run = fs::read_to_string(folder.at("out/run.trec")).unwrap();
    let columns: Vec<Vec<&str>> = run.lines().map(|line| line.split(' ').collect()).collect();
    let hits: Vec<_> = columns.iter().map(|c| (c[0], c[1], c[2], c[3], c[5])).collect();
    let tag = "incontext-lexical";
    assert_eq!(
        hits,
        [("q1", "Q0", "tea", "1", tag), ("q2", "Q0", "coffee", "1", tag), ("q2", "Q0", "tea", "2", tag)]
    );
    assert!(columns.iter().all(|c| c[4].parse::<f32>().is_ok_and(|score| score > 0.0)));
}

#[test]
fn all_modes_are_compared_and_a_second_run_says_the_same_from_kept_vectors() {
    let folder = folder();
    let encoder = tiny::encoder(&folder.at("encoder"), 0);
    let encoder = encoder.to_str().unwrap();
    let arguments = with(&["--embedder", encoder, "--json", "--run", "hybrid.trec"]);
    let first = folder.ok(&arguments);
    let json = first.json();
    let modes: Vec<_> = json["results"].as_array().unwrap().iter().map(|result| &result["mode"]).collect();
    assert_eq!(modes, ["dense", "lexical", "hybrid"]);
    assert_eq!(json["comparisons"].as_array().unwrap().len(), 3);
    assert_eq!(json["config"]["fusion"]["method"], "convex");
    assert!(fs::read_to_string(folder.at("hybrid.trec")).unwrap().contains("incontext-hybrid"));

    let kept = || {
        let version = folder.at(".incontext/cache/embeddings/v1");
        let encoder = fs::read_dir(version).unwrap().next().unwrap().unwrap().path();
        fs::read_dir(encoder).unwrap().map(|file| file.unwrap().path()).collect::<Vec<_>>()
    };
    let files = kept();
    assert_eq!(files.len(), 2, "passages and questions");
    assert_eq!(folder.ok(&arguments).out, first.out);
    fs::write(&files[0], &fs::read(&files[0]).unwrap()[..20]).unwrap();
    assert_eq!(folder.ok(&arguments).out, first.out);
    assert_eq!(kept().len(), 2);

    let shown = folder.ok(&with(&["--embedder", encoder, "--fusion", "rrf"])).out;
    for word in ["3 documents, 2 judged questions", "dense", "lexical", "hybrid", "recall@100", "nDCG@10: "] {
        assert!(shown.contains(word), "{shown}");
    }
}

#[test]
fn what_is_wrong_is_said_with_file_and_line() {
    let folder = folder();
    folder.write("bad.jsonl", "{\"_id\": \"q1\", \"text\": \"a\"}\n\n{\"_id\": \"q2\"}\n");
    folder.write("short.tsv", "query-id\tcorpus-id\tscore\nq1\ttea\n");
    folder.write("stranger.tsv", "query-id\tcorpus-id\tscore\nq1\ttea\t1\nq9\ttea\t1\n");
    folder.write("elsewhere.tsv", "query-id\tcorpus-id\tscore\nq1\twine\t1\nq2\tbeer\t1\n");
    folder.write("partly.tsv", "query-id\tcorpus-id\tscore\nq1\ttea\t1\nq1\tbeer\t1\n");
    let complaint = |arguments: &[&str]| {
        let ran = folder.run(arguments);
        assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""), "{ran:#?}");
        ran.err
    };
    let lexical = ["--mode", "lexical"];
    let judged = |qrels: &'static str| complaint(&[&FILES[..], &[qrels], &lexical].concat());
    assert!(judged("none.tsv").contains("cannot read `none.tsv`"));
    assert!(judged("short.tsv").contains("`short.tsv` line 2: 2 columns"));
    assert!(judged("stranger.tsv").contains("`stranger.tsv` line 3: the question `q9` is not in `q.jsonl`"));
    assert!(
        judged("elsewhere.tsv").contains("`elsewhere.tsv` line 2: the document `wine` is not in `c.jsonl`")
    );
    let bad = ["eval", "retrieval", "--corpus", "c.jsonl", "--queries", "bad.jsonl", "--qrels", "r.tsv"];
    assert!(complaint(&bad).contains("`bad.jsonl` line 3: missing field `text`"));
    assert!(complaint(&with(&["--alpha", "1.5", "--mode", "lexical"])).contains("--alpha 1.5"));
    assert!(complaint(&with(&["--alpha", "0.5", "--fusion", "rrf"])).contains("--fusion convex"));

    let partly = folder.ok(&[&FILES[..], &["partly.tsv"], &lexical].concat());
    assert!(partly.err.contains("1 judged documents are not in the corpus"), "{partly:#?}");
    assert!(partly.err.contains("line 3"), "{partly:#?}");
}

#[test]
fn fusion_is_fitted_to_judged_questions_and_written_to_the_profile() {
    let folder = Folder::with(&[("tiny.toml", tiny::PROFILE)]);
    let encoder = tiny::encoder(&folder.at("encoder"), 0);
    let encoder = encoder.to_str().unwrap();
    let (mut questions, mut judged) = (String::new(), String::from("query-id\tcorpus-id\tscore\n"));
    for at in 0..12 {
        // Neighbours share words, so that the encoder, whose vectors mean nothing, takes one for another.
        let words = [tiny::word(at), tiny::word(at + 1), tiny::word(at + 40), tiny::word(at)].join(" ");
        folder.write(&format!("notes/{at}.txt"), &words);
        questions += &format!("{{\"_id\": {at}, \"text\": \"{}\"}}\n", tiny::word(at));
        judged += &format!("{at}\tnotes/{at}.txt\t1\n");
    }
    folder.write("q.jsonl", &questions);
    folder.write("r.tsv", &judged);
    folder.write("elsewhere.tsv", &judged.replace("notes/", "other/"));
    folder.ok(&["ingest", "notes", "--embedder", encoder, "--profile", "tiny.toml"]);
    let profile = folder.at(".incontext/collections/default/profile.toml");
    let toml = fs::read_to_string(&profile).unwrap();
    assert!(toml.contains("method = \"convex\"") && toml.contains("scale = \"natural\""), "{toml}");
    // By meaning only, which this encoder has none of.
    fs::write(&profile, toml.replace("alpha = 0.7", "alpha = 1.0")).unwrap();
    let before = fs::read_to_string(&profile).unwrap();
    assert!(before.contains("alpha = 1.0"), "{before}");

    let arguments = ["tune-fusion", "--queries", "q.jsonl", "--qrels", "r.tsv", "--json"];
    let dry = folder.ok(&[&arguments[..], &["--dry-run"]].concat());
    assert_eq!(dry.json()["written"], false);
    assert!(dry.err.contains("12 judged questions say little"), "{dry:#?}");
    assert_eq!(fs::read_to_string(&profile).unwrap(), before);

    let fitted = folder.ok(&arguments).json();
    assert_eq!((&fitted["written"], &fitted["questions"]), (&true.into(), &12.into()), "{fitted:#}");
    assert!(fitted["gain"]["mean"].as_f64().unwrap() > 0.0);
    let alpha = fitted["best"]["alpha"].as_f64().unwrap();
    let shown = folder.ok(&["collections", "show", "--json"]).json();
    assert_eq!(shown["profile"]["fusion"]["alpha"].as_f64().unwrap(), alpha);
    assert!(alpha < 1.0);
    let again = folder.ok(&arguments).json();
    assert_eq!(again["written"], false, "nothing is better than the best: {again:#}");
    let first = folder.ok(&["search", &tiny::word(3), "--json"]).json();
    assert_eq!(first["hits"][0]["path"], "notes/3.txt");

    let elsewhere = folder.run(&["tune-fusion", "--queries", "q.jsonl", "--qrels", "elsewhere.tsv"]);
    assert_eq!(elsewhere.code, Some(1));
    assert!(elsewhere.err.contains("such as `notes/0.txt`"), "{elsewhere:#?}");
}

/// Notes in a collection of the default encoder, and questions: three that they answer, two that they do not.
fn answering() -> Option<Folder> {
    defaults::encoder()?;
    let folder = Folder::with(&[
        (
            "notes/tea.md",
            "# Tea\n\nGreen tea is steeped for two minutes. Black tea was first sold in London in 1657.\n",
        ),
        (
            "notes/lease.md",
            "# Lease\n\nThe lease of the office was signed by Maria Lang. It costs 900 euros a month.\n",
        ),
        (
            "questions.jsonl",
            "{\"id\": \"steep\", \"question\": \"How long is green tea steeped?\", \"answers\": [\"two minutes\", \"2 min\"]}\n\
             {\"question\": \"Who signed the lease of the office?\", \"answers\": [\"Maria Lang\"]}\n\
             {\"question\": \"When was black tea first sold in London?\", \"answers\": [\"in 1658\"]}\n\n\
             {\"question\": \"How do owls hunt at night?\"}\n\
             {\"question\": \"Who won the world cup in football?\", \"answers\": [\"Maria\"], \"is_impossible\": true}\n",
        ),
    ]);
    folder.ok(&["ingest", "notes", "--quiet"]);
    Some(folder)
}

#[test]
fn answers_are_judged_one_by_one_and_together() {
    let Some(folder) = answering() else { return };
    let arguments = ["eval", "qa", "--questions", "questions.jsonl", "--rows", "rows.jsonl"];
    let json = folder.ok(&[&arguments[..], &["--json"]].concat()).json();
    let scores = &json["scores"];
    let mean = |name: &str| scores[name]["mean"].as_f64().unwrap();
    assert_eq!((scores["questions"].as_u64(), scores["answerable"].as_u64()), (Some(5), Some(3)));
    assert!((mean("contains") - 2.0 / 3.0).abs() < 1e-9, "{json:#}");
    assert_eq!((mean("false_refusals"), mean("refusal_recall")), (0.0, 1.0), "{json:#}");
    assert_eq!(scores["refusal_f1"], 1.0);
    assert_eq!(scores["citation_validity"], 1.0);
    let rows = fs::read_to_string(folder.at("rows.jsonl")).unwrap();
    let rows: Vec<serde_json::Value> = rows.lines().map(|row| serde_json::from_str(row).unwrap()).collect();
    let ids: Vec<&str> = rows.iter().map(|row| row["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["steep", "2", "3", "5", "6"]);
    assert!(rows[0]["answer"].as_str().unwrap().contains("two minutes"), "{}", rows[0]);
    assert_eq!((&rows[0]["contains"], &rows[4]["answered"]), (&true.into(), &false.into()));

    // A file that has changed since: its quotes are no longer what it says.
    folder.write("notes/tea.md", "# Tea\n\nOolong.\n");
    let changed = folder.ok(&[&arguments[..4], &["--json"]].concat()).json();
    assert!(changed["scores"]["citation_validity"].as_f64().unwrap() < 1.0, "{changed:#}");
    let shown = folder.ok(&arguments).out;
    assert!(shown.contains("contains") && shown.contains("66.7 %"), "{shown}");
}

#[test]
fn questions_that_cannot_be_read_are_named_with_their_line() {
    let Some(folder) = answering() else { return };
    folder.write("bad.jsonl", "{\"question\": \"Q?\"}\n\n{\"answers\": [\"x\"]}\n");
    for command in [&["eval", "qa"][..], &["calibrate"]] {
        let ran = folder.run(&[command, &["--questions", "bad.jsonl"]].concat());
        assert_eq!(ran.code, Some(1), "{ran:#?}");
        assert!(ran.err.contains("`bad.jsonl` line 3: no `input` in it"), "{ran:#?}");
    }
}

#[test]
fn a_gate_is_calibrated_only_when_that_decides_better() {
    let Some(folder) = answering() else { return };
    let calibrate = ["calibrate", "--questions", "questions.jsonl"];
    let ran = folder.run(&calibrate);
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    assert!(ran.err.contains("3 answerable and 2 unanswerable questions say little"), "{ran:#?}");
    assert!(ran.err.contains("nothing was changed"), "{ran:#?}");
    assert!(ran.out.contains("AUROC"), "{ran:#?}");
    let profile = folder.at(".incontext/collections/default/profile.toml");
    assert!(!fs::read_to_string(&profile).unwrap().contains("[gate]"));

    // A gate that lets nothing pass is better fitted anew, and the collection answers again.
    let written = fs::read_to_string(&profile).unwrap() + "\n[gate]\nintercept = -30.0\n";
    fs::write(&profile, written).unwrap();
    let ask = ["ask", "How long is green tea steeped?"];
    assert_eq!(folder.run(&ask).code, Some(3));
    let questions = fs::read_to_string(folder.at("questions.jsonl")).unwrap().repeat(20);
    folder.write("many.jsonl", &questions);
    let many = ["calibrate", "--questions", "many.jsonl", "--json"];
    let dry = folder.ok(&[&many[..], &["--dry-run"]].concat()).json();
    assert_eq!((&dry["written"], folder.run(&ask).code), (&false.into(), Some(3)));
    let json = folder.ok(&many).json();
    assert_eq!(json["written"], true, "{json:#}");
    assert_eq!((&json["fitted"]["answerable"], &json["fitted"]["unanswerable"]), (&60.into(), &40.into()));
    assert_eq!(folder.run(&ask).code, Some(0), "{json:#}");
    assert_eq!(folder.run(&["ask", "How do owls hunt at night?"]).code, Some(3));
}
