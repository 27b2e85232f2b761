//! Model files that are damaged or lie: an error that names the file and, where there is one, the tensor; never a panic,
//! never memory for what a header merely claims.
//!
//! More mutations than usual, and others: `INCONTEXT_MUTATIONS=20` (times as many), `INCONTEXT_MUTATION_SEED=7`.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use candle_core::quantized::gguf_file::{self, Value};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use incontext::embed::{Embedder, LocalEncoder, Overflow};
use incontext::eval::verify::{Tolerance, verify};
use incontext::generate::LocalGenerator;
use incontext::models::{Batch, Model};
use incontext::nn::Pass;
use incontext::nn::Precision;
use incontext::text::document::Format;
use incontext::text::tokenizer::Tokenizer;
use incontext::text::{ground, load};

use crate::run::{Folder, Ran};
use crate::tiny;

/// A GGUF file of a Llama with one layer, eight wide, and a byte-level tokenizer of 24 tokens.
pub fn gguf() -> Vec<u8> {
    let tensor = |rows: usize, columns: usize| {
        let values: Vec<f32> = (0..rows * columns).map(|i| (i as f32 * 0.37).sin()).collect();
        let tensor = Tensor::from_vec(values, (rows, columns), &Device::Cpu).unwrap();
        let tensor = if rows == 1 { tensor.squeeze(0).unwrap() } else { tensor };
        QTensor::quantize(&tensor, GgmlDType::F32).unwrap()
    };
    let shapes = [
        ("token_embd", 24, 8),
        ("output_norm", 1, 8),
        ("blk.0.attn_norm", 1, 8),
        ("blk.0.ffn_norm", 1, 8),
        ("blk.0.attn_q", 8, 8),
        ("blk.0.attn_k", 8, 8),
        ("blk.0.attn_v", 8, 8),
        ("blk.0.attn_output", 8, 8),
        ("blk.0.ffn_gate", 16, 8),
        ("blk.0.ffn_up", 16, 8),
        ("blk.0.ffn_down", 8, 16),
    ];
    let tensors: Vec<(String, QTensor)> = shapes
        .iter()
        .map(|&(name, rows, columns)| (format!("{name}.weight"), tensor(rows, columns)))
        .collect();
    let texts = |texts: Vec<String>| Value::Array(texts.into_iter().map(Value::String).collect());
    let letters: Vec<String> = ('a'..='x').map(|letter| letter.to_string()).collect();
    let numbers = [
        ("block_count", 1),
        ("embedding_length", 8),
        ("attention.head_count", 2),
        ("feed_forward_length", 16),
        ("context_length", 64),
    ];
    let mut metadata: Vec<(String, Value)> =
        numbers.iter().map(|&(key, value)| (format!("llama.{key}"), Value::U32(value))).collect();
    metadata.extend([
        ("general.architecture".to_owned(), Value::String("llama".into())),
        ("general.alignment".to_owned(), Value::U32(32)),
        ("tokenizer.ggml.model".to_owned(), Value::String("gpt2".into())),
        ("tokenizer.ggml.pre".to_owned(), Value::String("smollm".into())),
        ("tokenizer.ggml.tokens".to_owned(), texts(letters)),
        ("tokenizer.ggml.merges".to_owned(), texts(Vec::new())),
    ]);
    let metadata: Vec<(&str, &Value)> = metadata.iter().map(|(key, value)| (&**key, value)).collect();
    let tensors: Vec<(&str, &QTensor)> = tensors.iter().map(|(name, tensor)| (&**name, tensor)).collect();
    let mut bytes = Cursor::new(Vec::new());
    gguf_file::write(&mut bytes, &metadata, &tensors).unwrap();
    bytes.into_inner()
}

/// Loads the model at `path` and runs it once; the error's text when it refuses.
fn attempt(path: &Path) -> Result<(), String> {
    let model = Model::load(path, &Device::Cpu).map_err(|error| error.to_string())?;
    let hidden = model.transformer.forward(&Batch::single(&[1, 2, 3]), Pass::bare());
    hidden.map(drop).map_err(|error| error.to_string())
}

/// The next of a sequence of numbers that look random (splitmix64).
fn random(state: &mut u64) -> usize {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) as usize
}

/// `good` with a few bytes changed among the first `header`, or cut off, or a stretch repeated.
fn mutated(good: &[u8], header: usize, state: &mut u64) -> Vec<u8> {
    const ODD: [u8; 8] = [0, 1, 0x7f, 0x80, 0xff, b'{', b'"', b'-'];
    let mut bytes = good.to_vec();
    let header = header.clamp(1, bytes.len());
    match random(state) % 8 {
        0 => bytes.truncate(random(state) % good.len()),
        1 => {
            let (at, length) = (random(state) % header, random(state) % 40);
            let stretch = bytes[at..(at + length).min(good.len())].to_vec();
            bytes.splice(at..at, stretch);
        }
        2 => {
            let at = random(state) % header;
            bytes.drain(at..(at + 1 + random(state) % 8).min(good.len()));
        }
        _ => {
            for _ in 0..1 + random(state) % 4 {
                let at = random(state) % header;
                bytes[at] = match random(state) % 2 {
                    0 => ODD[random(state) % ODD.len()],
                    _ => bytes[at] ^ 1 << (random(state) % 8),
                };
            }
        }
    }
    bytes
}

/// Runs `cases` mutations of `good` through `check`, which must return, however it does.
fn survives(what: &str, good: &[u8], header: usize, cases: usize, check: impl Fn(&[u8])) {
    let number =
        |variable: &str| std::env::var(variable).ok().map(|value| value.parse::<usize>().expect("a number"));
    let mut state = number("INCONTEXT_MUTATION_SEED").unwrap_or(1) as u64;
    for case in 0..cases * number("INCONTEXT_MUTATIONS").unwrap_or(1) {
        let bytes = mutated(good, header, &mut state);
        let ended = catch_unwind(AssertUnwindSafe(|| check(&bytes)));
        assert!(
            ended.is_ok(),
            "{what}, case {case}: it panicked on {:?}",
            String::from_utf8_lossy(&bytes[..bytes.len().min(400)])
        );
    }
}

#[test]
fn the_gguf_that_is_mutated_is_whole() {
    let folder = Folder::new();
    fs::write(folder.at("m.gguf"), gguf()).unwrap();
    attempt(&folder.at("m.gguf")).unwrap();
    let generator = LocalGenerator::load("m", &folder.at("m.gguf"), &Device::Cpu, Precision::Int8).unwrap();
    assert_eq!(generator.parameters(), 24 * 8 + 4 * 64 + 3 * 128 + 3 * 8);
}

#[test]
fn no_mutation_of_a_gguf_file_makes_it_panic() {
    let folder = Folder::new();
    let (good, path) = (gguf(), folder.at("m.gguf"));
    let header = good.len() - 4 * (24 * 8 + 4 * 64 + 3 * 128 + 3 * 8);
    survives("GGUF", &good, header, 1500, |bytes| {
        fs::write(&path, bytes).unwrap();
        if let Err(said) = attempt(&path) {
            assert!(said.contains("m.gguf"), "the file is named: {said}");
        }
    });
}

#[test]
fn a_gguf_that_lies_about_sizes_is_refused_at_once_with_the_tensors_name() {
    let folder = Folder::new();
    let good = gguf();
    let path = folder.at("m.gguf");
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        fs::write(&path, bytes).unwrap();
        attempt(&path).unwrap_err()
    };
    let after = |bytes: &[u8], text: &str| {
        bytes.windows(text.len()).position(|window| window == text.as_bytes()).unwrap() + text.len()
    };
    let truncated = with(&|bytes| bytes.truncate(good.len() - 700));
    assert!(truncated.contains("m.gguf") && truncated.contains("claims"), "{truncated}");
    // Behind the name: the number of dimensions (4 bytes), then each of them (8 bytes).
    let wide = with(&|bytes| {
        let at = after(bytes, "blk.0.ffn_up.weight") + 4;
        bytes[at..at + 8].fill(0x7f);
    });
    assert!(wide.contains("`blk.0.ffn_up.weight` claims"), "{wide}");
    // Found by fuzzing.
    let empty = with(&|bytes| {
        let at = after(bytes, "blk.0.ffn_up.weight") + 4;
        bytes[at..at + 8].fill(0);
    });
    assert!(empty.contains("`blk.0.ffn_up.weight` claims the impossible shape"), "{empty}");
    let zero = with(&|bytes| {
        let at = after(bytes, "general.alignment") + 4;
        bytes[at..at + 4].fill(0);
    });
    assert!(zero.contains("alignment"), "{zero}");
    for counts in [8..16, 16..24] {
        let many = with(&|bytes| bytes[counts.clone()].fill(0x3f));
        assert!(many.contains("m.gguf"), "{many}");
    }
}

/// A GGUF file's header: so many tensors and entries, then whatever `rest` is.
#[cfg(target_os = "linux")]
fn header(tensors: u64, entries: u64, rest: &[&[u8]]) -> Vec<u8> {
    let fixed = [&b"GGUF"[..], &3u32.to_le_bytes(), &tensors.to_le_bytes(), &entries.to_le_bytes()];
    [&fixed[..], rest].concat().concat()
}

/// Where a length lies, a byte suffices to claim any amount of memory. 512 MB of addresses hold the program and its threads.
#[cfg(target_os = "linux")]
#[test]
fn no_header_gets_memory_by_claiming_that_it_needs_some() {
    let folder = encoder();
    let reference = format!("{}/tests/golden/tiny/bert/io.safetensors", env!("CARGO_MANIFEST_DIR"));
    let refused = |model: &str, case: &str| {
        let args = ["verify", "--model", model, "--reference", &reference];
        let ran = Ran::of(folder.within(512, &args).output().unwrap());
        assert!(ran.code == Some(1) && ran.err.starts_with("error: "), "{case}: {ran:#?}");
        assert!(!ran.err.contains("panicked"), "{case}: {ran:#?}");
        ran.err
    };
    let (huge, large) = (u64::MAX.to_le_bytes(), (1u64 << 40).to_le_bytes());
    let (one, kind) = (1u64.to_le_bytes(), |kind: u32| kind.to_le_bytes());
    let (byte, text, array) = (kind(0), kind(8), kind(9));
    let cases: [(&str, Vec<u8>); 10] = [
        ("tensors", header(u64::MAX, 0, &[])),
        ("entries", header(0, u64::MAX, &[])),
        ("a key", header(0, 1, &[&huge])),
        ("a long key", header(0, 1, &[&large, b"a"])),
        ("a text", header(0, 1, &[&one, b"a", &text, &large])),
        ("bytes", header(0, 1, &[&one, b"a", &array, &byte, &large])),
        ("texts", header(0, 1, &[&one, b"a", &array, &text, &huge])),
        ("arrays", header(0, 1, &[&one, b"a", &array, &array, &large])),
        ("dimensions", header(1, 0, &[&one, b"a", &kind(u32::MAX), &huge])),
        ("a dimension", header(1, 0, &[&one, b"a", &kind(2), &huge, &large, &kind(0), &[0; 64]])),
    ];
    for (case, bytes) in cases {
        fs::write(folder.at("m.gguf"), bytes).unwrap();
        assert!(refused("./m.gguf", case).contains("m.gguf"), "{case}");
    }

    let weights = folder.at("tiny/model.safetensors");
    let good = fs::read(&weights).unwrap();
    let claims = |header: &str| [&(header.len() as u64).to_le_bytes(), header.as_bytes()].concat();
    let cases: [(&str, Vec<u8>); 5] = [
        ("a header", [&huge, &b"{}"[..]].concat()),
        ("a long header", [&large, &b"{}"[..]].concat()),
        ("a shape", claims(r#"{"a":{"dtype":"F32","shape":[1152921504606846976,16],"data_offsets":[0,0]}}"#)),
        ("an offset", claims(r#"{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,1099511627776]}}"#)),
        ("a negative size", claims(r#"{"a":{"dtype":"F32","shape":[-4],"data_offsets":[0,16]}}"#)),
    ];
    for (case, bytes) in cases {
        fs::write(&weights, bytes).unwrap();
        assert!(refused("./tiny", case).contains("model.safetensors"), "{case}");
    }
    fs::write(&weights, good).unwrap();

    let config = fs::read_to_string(folder.at("tiny/config.json")).unwrap();
    let config: serde_json::Value = serde_json::from_str(&config).unwrap();
    for key in
        ["num_hidden_layers", "hidden_size", "intermediate_size", "vocab_size", "max_position_embeddings"]
    {
        for value in [(1 << 24).into(), u64::MAX.into(), (-1).into(), serde_json::json!(1e300)] {
            let mut config = config.clone();
            config[key] = value;
            folder.write("tiny/config.json", &config.to_string());
            refused("./tiny", &config[key].to_string());
        }
    }
}

/// The length a tokenizer asks to pad to was believed when the first text was read, before padding was switched off.
#[cfg(target_os = "linux")]
#[test]
fn a_tokenizer_that_pads_or_truncates_as_nobody_could_is_read_without_that() {
    let folder = encoder();
    let reference = format!("{}/tests/golden/tiny/bert/io.safetensors", env!("CARGO_MANIFEST_DIR"));
    let good = fs::read_to_string(folder.at("tiny/tokenizer.json")).unwrap();
    let good: serde_json::Value = serde_json::from_str(&good).unwrap();
    let padding = serde_json::json!({ "strategy": { "Fixed": 1u64 << 40 }, "direction": "Right",
        "pad_to_multiple_of": null, "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]" });
    let truncation = serde_json::json!({ "direction": "Right", "max_length": 1, "strategy": "LongestFirst",
        "stride": 5 });
    for (key, value) in [("padding", padding), ("truncation", truncation)] {
        let mut tokenizer = good.clone();
        tokenizer[key] = value;
        folder.write("tiny/tokenizer.json", &tokenizer.to_string());
        let args = ["verify", "--model", "./tiny", "--reference", &reference];
        let ran = Ran::of(folder.within(512, &args).output().unwrap());
        assert_eq!(ran.code, Some(0), "{key}: {ran:#?}");
    }
}

#[test]
fn no_mutation_of_a_reference_makes_verify_panic() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/tiny/bert");
    let good = fs::read(golden.join("io.safetensors")).unwrap();
    let header = 8 + u64::from_le_bytes(good[..8].try_into().unwrap()) as usize;
    let folder = Folder::new();
    let path = folder.at("io.safetensors");
    // Some way into the values, so that ids and masks change as well.
    survives("reference", &good, header + 2000, 150, |bytes| {
        fs::write(&path, bytes).unwrap();
        let _ = verify(&golden, None, &path, &Device::Cpu, Tolerance::default());
    });
}

fn encoder() -> Folder {
    let folder = Folder::new();
    tiny::encoder(&folder.at("tiny"), 0);
    folder
}

#[test]
fn no_mutation_of_a_model_folders_files_makes_it_panic() {
    let folder = encoder();
    for (file, cases) in [("config.json", 400), ("tokenizer.json", 300), ("model.safetensors", 300)] {
        let path = folder.at("tiny").join(file);
        let good = fs::read(&path).unwrap();
        survives(file, &good, good.len().min(4000), cases, |bytes| {
            fs::write(&path, bytes).unwrap();
            if let Ok(encoder) = LocalEncoder::load("tiny", &folder.at("tiny"), &Device::Cpu) {
                let _ = Embedder::Local(encoder).embed(&["balo dalo", ""], Overflow::Truncate);
            }
        });
        fs::write(&path, &good).unwrap();
    }
}

#[test]
fn a_damaged_folder_names_the_file() {
    let folder = encoder();
    let load =
        || LocalEncoder::load("tiny", &folder.at("tiny"), &Device::Cpu).map(drop).unwrap_err().to_string();
    let weights = folder.at("tiny/model.safetensors");
    let good = fs::read(&weights).unwrap();
    for bad in [&good[..good.len() / 2], &[0xff; 64], b"", &good[..5]] {
        fs::write(&weights, bad).unwrap();
        assert!(load().contains("`model.safetensors`"), "{}", load());
    }
    fs::write(&weights, &good).unwrap();
    let config = fs::read_to_string(folder.at("tiny/config.json")).unwrap();
    for (from, to, complaint) in [
        ("\"num_hidden_layers\": ", "\"num_hidden_layers\": 99999999", "num_hidden_layers"),
        ("\"hidden_size\": ", "\"hidden_size\": -", "config.json"),
        ("\"layer_norm_eps\": ", "\"layer_norm_eps\": -", "epsilon"),
    ] {
        assert!(config.contains(from), "{config}");
        folder.write("tiny/config.json", &config.replace(from, to));
        assert!(load().contains(complaint), "{complaint}: {}", load());
    }
    folder.write("tiny/config.json", &config);
    folder.write("tiny/tokenizer.json", "{\"version\":\"1.0\"");
    assert!(load().contains("tokenizer.json"), "{}", load());
}

#[test]
fn a_weight_that_is_no_number_is_named_when_it_first_shows() {
    let folder = encoder();
    let file = folder.at("tiny/model.safetensors");
    let mut tensors: HashMap<String, Tensor> = candle_core::safetensors::load(&file, &Device::Cpu).unwrap();
    let name =
        tensors.keys().find(|name| name.ends_with("layer.0.intermediate.dense.weight")).unwrap().clone();
    for (odd, collection) in [(f32::NAN, "nan"), (f32::INFINITY, "infinite")] {
        let mut values = tensors[&name].flatten_all().unwrap().to_vec1::<f32>().unwrap();
        values[3] = odd;
        let shape = tensors[&name].shape().clone();
        tensors.insert(name.clone(), Tensor::from_vec(values, shape, &Device::Cpu).unwrap());
        candle_core::safetensors::save(&tensors, &file).unwrap();
        folder.write("a.md", "balo dalo");
        folder.write("profile.toml", &tiny::PROFILE.replace("\"tiny\"", "\"./tiny\""));
        let ran = folder.run(&["ingest", "a.md", "--profile", "profile.toml", "-c", collection]);
        assert_eq!(ran.code, Some(1), "{ran:#?}");
        assert!(ran.err.contains(&format!("tensor `{name}` holds values that are not finite")), "{ran:#?}");
    }
}

#[test]
fn wrong_bytes_in_the_model_cache_are_found_by_their_checksum() {
    let folder = Folder::new();
    let dir = folder.at("models/all-minilm-l6-v2");
    fs::create_dir_all(&dir).unwrap();
    // The pinned size, all zeros, no bytes on the disk.
    fs::File::create(dir.join("model.safetensors")).unwrap().set_len(90_868_376).unwrap();
    let ran = folder
        .command(&["models", "path", "all-minilm-l6-v2"])
        .env("INCONTEXT_MODELS", folder.at("models"))
        .output();
    let ran = Ran::of(ran.unwrap());
    assert_eq!(ran.code, Some(1), "{ran:#?}");
    assert!(ran.err.contains("model.safetensors") && ran.err.contains("hint: "), "{ran:#?}");
}

/// A text of each kind with something of everything the kind has.
pub fn texts() -> BTreeMap<&'static str, &'static str> {
    BTreeMap::from([
        (
            "a.md",
            "---\ntitle: balo\n---\n# Ünï\n\n- a\n  - b `c`\n\n> q\n\n```rust\nfn f() {}\n```\n| a | b |\n|---|---|\n| 1 | 2 |\n",
        ),
        (
            "a.html",
            "<title>T</title><h1>balo &eacute;</h1><pre>\n a\n</pre><p>dalo<script>x</script><!-- c --> &#x1F600;",
        ),
        ("a.jsonl", "{\"title\":\"b\\u00e9\",\"text\":\"dalo \\ud83d\\ude00 falo.\"}\n\"x\"\n"),
        ("a.py", "import os\n\ndef f():\n    return 1\n\nclass A:\n    pass\n"),
        ("a.txt", "Dr. Balo paid 3.5 kg. \"Falo?\" he said… 你好。再见！\r\n\r\nGalo [1], halo [2][3].\n"),
    ])
}

#[test]
fn no_mutation_of_texts_makes_loaders_chunker_or_citation_check_panic() {
    let folder = encoder();
    let tokenizer = Tokenizer::from_dir(&folder.at("tiny")).unwrap();
    let limits =
        incontext::text::chunk::Limits { body: 40, max_body: 46, header: 12, total: 60, min: 8, overlap: 6 };
    for (name, good) in &texts() {
        survives(name, good.as_bytes(), good.len(), 400, |bytes| {
            let text = String::from_utf8_lossy(bytes).into_owned();
            if let Ok(document) = load::parse(name, text.clone().into_bytes()) {
                let _ = incontext::text::chunk::chunk(&document, &tokenizer, &limits);
            }
            let evidence =
                |text| ground::Evidence { text, header: "balo", format: Format::Markdown, document: "a.md" };
            let passages = [evidence(good), evidence(&text)];
            ground::ground(&text, "Who wrote balo in 3 days?", &passages);
        });
    }
}

#[test]
fn no_mutation_of_a_prompt_template_makes_it_panic() {
    let good = include_str!("../../prompts/qa/grounded.j2");
    survives("template", good.as_bytes(), good.len(), 600, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let partial = |_: &str| Ok(String::new());
        if let Ok(template) = incontext::prompt::Template::parse("a", &text, &partial) {
            let _ = template.render(&BTreeMap::from([("question", "x")]));
        }
    });
}
