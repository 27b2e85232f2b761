//! `--rerank`: a cross-encoder's scores against PyTorch's, and what the order of hits becomes.

use std::path::Path;

use candle_core::Device;
use incontext::retrieve::rerank::CrossEncoder;
use serde_json::Value;

use crate::golden::tiny;
use crate::run::Folder;
use crate::tiny as model;

const ENCODERS: [&str; 2] = ["cross_encoder", "cross_encoder_two_labels"];

fn pairs(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(tiny(name).join("pairs.json")).unwrap()).unwrap()
}

fn load(dir: &Path) -> incontext::Result<CrossEncoder> {
    CrossEncoder::load("tiny", dir, &Device::Cpu)
}

/// The references are `make_tiny.py`'s; one of the passages is longer than the window.
#[test]
fn scores_equal_the_references_alone_and_together() {
    for name in ENCODERS {
        let (encoder, golden) = (load(&tiny(name)).unwrap(), pairs(name));
        let question = golden["question"].as_str().unwrap();
        let passages: Vec<&str> =
            golden["passages"].as_array().unwrap().iter().map(|passage| passage.as_str().unwrap()).collect();
        let logits = golden["logits"].as_array().unwrap();
        let together = encoder.score(question, &passages).unwrap();
        assert_eq!(together.len(), logits.len());
        for ((passage, score), logits) in passages.iter().zip(together).zip(logits) {
            let number = |at: usize| logits[at].as_f64().unwrap() as f32;
            let reference =
                if logits.as_array().unwrap().len() == 2 { number(1) - number(0) } else { number(0) };
            let alone = encoder.score(question, &[passage]).unwrap()[0];
            for ours in [score, alone] {
                assert!((ours - reference).abs() < 5e-4, "{name}, {passage:?}: {ours} and not {reference}");
            }
        }
        assert!(encoder.score(question, &[]).unwrap().is_empty());
    }
}

#[test]
fn pairs_are_cut_as_the_reference_cuts_them() {
    for name in ENCODERS {
        let golden = pairs(name);
        let tokenizer = incontext::text::tokenizer::Tokenizer::from_dir(&tiny(name)).unwrap();
        let passages: Vec<&str> =
            golden["passages"].as_array().unwrap().iter().map(|passage| passage.as_str().unwrap()).collect();
        let pairs = tokenizer.encode_pairs(golden["question"].as_str().unwrap(), &passages, 64).unwrap();
        let ids: Vec<_> = pairs.iter().map(|pair| Value::from(pair.ids.clone())).collect();
        assert_eq!(Value::from(ids), golden["ids"], "{name}");
        assert!(pairs.iter().all(|pair| pair.types.len() == pair.ids.len()));
        // A question without end leaves room for what stands around the two.
        let long = tokenizer.encode_pairs(&"balo ".repeat(100), &["dami"], 64).unwrap();
        assert_eq!(long[0].ids.len(), 64);
    }
}

#[test]
fn what_is_no_cross_encoder_is_refused_with_what_to_do() {
    let folder = Folder::new();
    let plain = folder.at("plain");
    model::encoder(&plain, 0);
    let mut weights = candle_core::safetensors::load(plain.join("model.safetensors"), &Device::Cpu).unwrap();
    weights.retain(|name, _| !name.starts_with("classifier"));
    candle_core::safetensors::save(&weights, plain.join("model.safetensors")).unwrap();
    for (dir, why) in [
        (tiny("bert"), "it tells 3 classes apart"),
        (tiny("llama"), "it is a generator"),
        (plain, "it has no classification head"),
    ] {
        let error = load(&dir).map(drop).unwrap_err();
        assert!(error.to_string().contains(&format!("`{}`", dir.display())), "{error}");
        assert!(error.to_string().contains(why), "{error}");
        assert!(error.advice().unwrap().contains("sequence classifier"), "{error:?}");
    }
}

/// Thirty notes, an encoder and a cross-encoder, which neither mean anything.
fn library() -> Folder {
    let folder = Folder::new();
    for number in 0..30 {
        let word = |at: usize| model::word(number * 7 + at);
        let words: Vec<String> = (0..6 + number % 5).map(word).collect();
        folder.write(&format!("notes/{number}.md"), &format!("balo {}.\n", words.join(" ")));
    }
    let encoder = model::encoder(&folder.at("tiny"), 0);
    folder.write(".incontext/config.toml", &format!("embedder = \"{}\"\n", encoder.display()));
    folder.write("profile.toml", model::PROFILE);
    folder.ok(&["ingest", "notes", "--profile", "profile.toml", "--quiet"]);
    folder
}

fn paths(hits: &[Value]) -> Vec<&str> {
    hits.iter().map(|hit| hit["path"].as_str().unwrap()).collect()
}

#[test]
fn search_reads_the_first_hits_again_and_says_so() {
    let folder = library();
    let cross = tiny("cross_encoder").display().to_string();
    let search = |more: &[&str]| {
        let args = [&["search", "balo dami", "--json", "-k", "25"][..], more].concat();
        folder.ok(&args).json()["hits"].as_array().unwrap().clone()
    };
    let (before, after) = (search(&[]), search(&["--rerank", &cross]));
    assert!(before.iter().all(|hit| hit.get("relevance").is_none()));
    assert_ne!(paths(&before), paths(&after));
    let (read, behind) = after.split_at(20);
    let scores: Vec<f64> = read.iter().map(|hit| hit["relevance"].as_f64().unwrap()).collect();
    assert!(scores.windows(2).all(|pair| pair[0] >= pair[1]) && scores[0] > scores[19], "{scores:?}");
    assert!(behind.iter().all(|hit| hit.get("relevance").is_none()));
    assert_eq!(paths(behind), paths(&before[20..]));
    assert!(after.iter().zip(1..).all(|(hit, rank)| hit["rank"] == rank));
    let mut both = [paths(&before[..20]), paths(read)];
    both.iter_mut().for_each(|paths| paths.sort_unstable());
    assert_eq!(both[0], both[1]);
    // The score of every hit is the one it was found by.
    let score = |hits: &[Value], path: &str| {
        hits.iter().find(|hit| hit["path"] == path).map(|hit| hit["score"].clone()).unwrap()
    };
    assert!(paths(&after).iter().all(|path| score(&after, path) == score(&before, path)));

    // A few are the best of the first twenty, not the first few in another order.
    let few = folder.ok(&["search", "balo dami", "--json", "-k", "3", "--rerank", &cross]).json();
    assert_eq!(paths(few["hits"].as_array().unwrap()), paths(&after[..3]));
    let told = folder.ok(&["search", "balo dami", "--explain", "-k", "1", "--rerank", &cross]).out;
    assert!(told.contains(&format!("read again: relevance {:.4}", scores[0])), "{told}");
}

#[test]
fn the_setting_may_stand_in_the_folder_and_a_flag_beats_it() {
    let folder = library();
    let cross = tiny("cross_encoder").display().to_string();
    let config = std::fs::read_to_string(folder.at(".incontext/config.toml")).unwrap();
    folder.write(".incontext/config.toml", &format!("{config}rerank = \"{cross}\"\n"));
    let relevance = |more: &[&str]| {
        let args = [&["search", "balo dami", "--json", "-k", "1"][..], more].concat();
        folder.ok(&args).json()["hits"][0].get("relevance").is_some()
    };
    assert!(relevance(&[]) && relevance(&["--mode", "lexical"]));
    assert!(!relevance(&["--rerank", "none"]));
    for (name, complaint) in [("openai:x", "endpoints do not rerank"), ("./tiny", "it tells 3 classes apart")]
    {
        let ran = folder.run(&["search", "balo", "--rerank", name]);
        assert!(ran.code == Some(1) && ran.err.contains(complaint) && ran.err.contains("hint: "), "{ran:#?}");
    }
}

#[test]
fn ask_chat_and_the_evaluations_read_again_too() {
    let folder = library();
    let cross = tiny("cross_encoder").display().to_string();
    let again = |args: &[&str]| -> Vec<String> {
        args.iter().copied().chain(["--rerank", &cross]).map(str::to_owned).collect()
    };
    let ran = folder.run(&again(&["ask", "balo dami?", "--json"]));
    assert!(matches!(ran.code, Some(0 | 3)), "{ran:#?}");
    let refused = folder.run(&["chat", "--rerank", "./tiny"]);
    assert!(refused.err.contains("is no cross-encoder"), "{refused:#?}");
    folder.write("questions.jsonl", "{\"question\": \"balo dami?\", \"answers\": [\"balo\"]}\n");
    folder.ok(&again(&["eval", "qa", "--questions", "questions.jsonl", "--json"]));

    let corpus: String = (0..30)
        .map(|number| format!("{{\"_id\": \"d{number}\", \"text\": \"balo {}\"}}\n", model::word(number)))
        .collect();
    folder.write("c.jsonl", &corpus);
    folder.write("q.jsonl", "{\"_id\": \"q\", \"text\": \"balo\"}\n");
    folder.write("r.tsv", "query-id\tcorpus-id\tscore\nq\td3\t1\n");
    let files = ["eval", "retrieval", "--corpus", "c.jsonl", "--queries", "q.jsonl", "--qrels", "r.tsv"];
    let args = [&files[..], &["--mode", "lexical", "--run", "run.trec", "--json"]].concat();
    let json = folder.ok(&again(&args)).json();
    assert_eq!(json["config"]["rerank"]["reach"], 20, "{json:#}");
    let run = std::fs::read_to_string(folder.at("run.trec")).unwrap();
    let row = |line: &str| {
        let columns: Vec<&str> = line.split(' ').collect();
        (columns[2].to_owned(), columns[4].parse::<f32>().unwrap())
    };
    let rows: Vec<_> = run.lines().map(row).collect();
    assert!(rows.len() == 30 && rows.windows(2).all(|pair| pair[0].1 >= pair[1].1), "{run}");
    // As the cross-encoder itself scores them.
    let texts: Vec<String> =
        rows[..20].iter().map(|(id, _)| format!("balo {}", model::word(id[1..].parse().unwrap()))).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let scores = load(&tiny("cross_encoder")).unwrap().score("balo", &texts).unwrap();
    assert!(scores.windows(2).all(|pair| pair[0] >= pair[1] - 1e-6), "{scores:?}");
}
